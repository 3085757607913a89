"""Words of atoms by a text encoder, from the command line: the same as from Python, and plain errors."""

import json
import re
import shutil

import click
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import daskksvd
from daskksvd import cli
from daskksvd.cli.tokens import rows_of
from daskksvd.datasets import make_scenes
from daskksvd.naming import map_tokens, open_tokens, save_labels

N, M = 500, 16


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """A result of drawn scenes, with codes, labels and captions."""
    folder = tmp_path_factory.mktemp("tokens")
    scenes, rng = make_scenes(N, random_state=5), np.random.default_rng(0)
    truth = scenes.truth().astype(np.float32)
    samples = truth @ rng.standard_normal((truth.shape[1], 24)).astype(np.float32)
    result = daskksvd.fit(
        samples, n_components=M, n_nonzero_coefs=3, center=True, max_passes=2, random_state=0
    )
    result.save(folder / "fit.zarr")
    result.write_codes(samples, folder / "fit-codes.zarr")
    np.save(folder / "samples.npy", samples)
    captions = [scenes.captions(row) for row in range(N)]
    pd.DataFrame({"row": np.arange(N), "captions": captions}).to_parquet(folder / "captions.parquet")
    save_labels(daskksvd.label(folder / "fit-codes.zarr", captions), folder / "fit-labels.zarr")
    (folder / "few.txt").write_text("ball\nsnow\nred\nboat\n")
    return folder


def run(*arguments, code=0):
    found = CliRunner().invoke(cli.main, [str(argument) for argument in arguments], catch_exceptions=False)
    assert found.exit_code == code, found.output
    assert "Traceback" not in found.output
    return found.output


@pytest.fixture(scope="module")
def encodings(stores):
    out = stores / "encodings.zarr"
    output = run("embed-captions", stores / "captions.parquet", out, "--model", "scenes", "--n-rows", N, "-q")
    assert f"{N} x " in output and "encoded, 0 blank, 0 of no row" in output
    return out


def test_captions_are_embedded_as_from_python(stores, encodings, tmp_path):
    expected = daskksvd.embed_captions(
        stores / "captions.parquet", tmp_path / "e.zarr", model="scenes", n=N
    ).array.compute()
    np.testing.assert_array_equal(daskksvd.open_encodings(encodings).array.compute(), expected)


def test_words_are_those_of_map_tokens(stores, encodings):
    output = run("tokens", stores / "fit.zarr", stores / "captions.parquet", "--encoder", "scenes")
    found = open_tokens(stores / "fit.zarr")  # beside the result
    expected = map_tokens(stores / "fit-codes.zarr", stores / "captions.parquet", "scenes", random_state=0)
    assert (found.word.values == expected.word.values).all() and "held_out" not in found.attrs
    atom = int(expected.uses.sum("side").values.argmax())
    line = next(line for line in output.splitlines() if line.split()[:1] == [str(atom)])
    assert expected.word.values[atom, 0, 0] in line
    # the kind of store that it is
    assert "tokens" in run("info", stores / "fit-tokens.zarr") and "ok" in run(
        "check", stores / "fit-tokens.zarr"
    )
    shutil.rmtree(stores / "fit-tokens.zarr")


def test_scores_are_of_the_other_half_and_kept(stores, encodings, tmp_path):
    out = tmp_path / "t.zarr"
    output = run(
        "tokens", stores / "fit-codes.zarr", stores / "captions.parquet", "--encoder", "scenes",
        "--encodings", encodings, "--score", "--n-words", 3, "--n-slots", 4,
        "--template", "a picture of {}", "--out", out, "--best", 3,
    )  # fmt: skip
    found = open_tokens(out)
    held = json.loads(found.attrs["held_out"])
    ways = held["ways"]
    assert held["n_train"] == held["n_scored"] == N // 2 and found.attrs["n"] == N // 2
    assert ways["words of atoms"]["r2"] > 3 * ways["words of shuffled atoms"]["r2"]
    assert ways["mean caption"]["r2"] == 0
    assert found.sizes["slot"] == 3 and json.loads(found.attrs["template"])[0][0] == "a picture of {}"
    for way, figures in ways.items():
        line = next(line for line in output.splitlines() if line.startswith(f"{way} "))
        assert f"{figures['median_rank']:.0f}" in line.split()[-1]


def test_embeddings_that_bring_captions_are_the_ceiling(stores, tmp_path):
    """If they have a row a sample."""
    made = str(tmp_path / "made")
    daskksvd.embed(make_scenes(60, random_state=1), made, model="scenes")
    result = daskksvd.fit(made, n_components=8, n_nonzero_coefs=2, max_passes=1, random_state=0)
    result.save(tmp_path / "r.zarr")
    result.write_codes(made, tmp_path / "r-codes.zarr")
    output = run("tokens", tmp_path / "r.zarr", made, "--encoder", "scenes", "--score")
    assert re.search("^ridge on embeddings  ", output, re.M)
    assert f"daskksvd view {tmp_path}/r.zarr --embeddings {made}" in output
    assert rows_of(made, 61) is None and rows_of(str(stores / "captions.parquet"), 60) is None


def test_options_reach_map_tokens(stores, encodings, tmp_path):
    few, restricted, named, tokens = (tmp_path / f"{name}.zarr" for name in "abcd")
    given = ["tokens", stores / "fit.zarr", stores / "captions.parquet", "--encoder", "scenes"]
    given += ["--encodings", encodings, "--best", 0]
    run(*given, "--vocabulary", stores / "few.txt", "--method", "greedy", "--n-slots", 2, "--out", few)
    found = open_tokens(few)
    assert set(found.word.values.ravel()) <= {"", "ball", "snow", "red", "boat"}
    assert found.attrs["method"] == "greedy" and found.attrs["n_slots"] == 2
    run(*given, "--vocabulary", "tokens", "--score", "--out", tokens)
    assert open_tokens(tokens).attrs["n_tried"] > 20
    run(*given, "--significant-only", "--out", restricted)
    run(*given, "--method", "labels", "--out", named)
    labels = daskksvd.open_labels(stores / "fit-labels.zarr")
    words, majority = open_tokens(named).word.values, np.where(labels.orientation.values > 0, 0, 1)
    assert (words[np.arange(M), majority, 0] == labels.top_word.values[:, 0]).all()
    assert set(open_tokens(restricted).word.values.ravel()) <= {"", *labels.word.values}


def test_a_store_of_words_is_replaced_when_asked(stores, encodings, tmp_path):
    given = ["tokens", stores / "fit.zarr", stores / "captions.parquet", "--encoder", "scenes"]
    given += ["--encodings", encodings, "--out", tmp_path / "t.zarr"]
    run(*given)
    assert "exists already" in run(*given, code=2)
    run(*given, "--overwrite", "--n-slots", 1)
    assert open_tokens(tmp_path / "t.zarr").attrs["n_slots"] == 1


def test_every_option_says_what_it_does():
    for command in (cli.tokens_command, cli.embed_captions_command):
        assert all(option.help for option in command.params if isinstance(option, click.Option))


@pytest.mark.parametrize(
    "arguments, words",
    [
        (
            "tokens fit.zarr captions.parquet --encoder scenes --method greedy --n-words 2",
            "--n-words=2 goes with",
        ),
        ("tokens fit.zarr captions.parquet --encoder scenes --template photo", "must have one {}"),
        (
            "tokens fit.zarr captions.parquet --encoder scenes --score --method labels",
            "--score does not go with",
        ),
        ("tokens fit.zarr captions.parquet --encoder scenes --vocabulary no.txt", "there is no such file"),
        (
            "tokens fit.zarr captions.parquet --encoder scenes --out fit.zarr --overwrite",
            "not words of atoms",
        ),
        (
            "tokens fit-codes.zarr captions.parquet --encoder scenes --codes fit-codes.zarr",
            "one of them is enough",
        ),
        ("tokens fit.zarr nowhere.csv --encoder scenes", "there is no such path"),
        ("tokens nowhere.zarr captions.parquet --encoder scenes", "there is no such path"),
        ("tokens fit.zarr captions.parquet --encoder scenes --encodings fit.zarr", "not one of encodings"),
        ("embed-captions nowhere.csv unmade.zarr --model scenes", "there is no such path"),
        ("embed-captions captions.parquet fit.zarr --model scenes", "exists"),
        ("view fit.zarr --pretrained openai", "--pretrained is of the weights of --encoder; name that"),
        ("view fit.zarr --encoder scenes --pretrained openai", "goes with open_clip models"),
    ],
)
def test_refusals(arguments, words, stores, monkeypatch):
    monkeypatch.chdir(stores)
    if arguments.startswith("tokens") and "--out" not in arguments:
        arguments += " --out unmade.zarr"
    output = run(*arguments.split(), code=2)
    assert words in " ".join(output.split()), output
    assert not (stores / "unmade.zarr").exists()
