"""Words for atoms from the command line: the same as from Python, and plain errors."""

import inspect

import click
import networkx as nx
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from click.testing import CliRunner
from distributed import Client, LocalCluster

import daskksvd
from daskksvd import cli
from daskksvd.captions.words.tokens import Tokenizer
from daskksvd.naming.store import open_labels
from daskksvd.naming.table import label_table

N, M = 1200, 12
WORDS = ["dog", "cat", "horse", "boat", "car", "tree", "snow", "air", "hair", "leaf", "lake", "bird"]


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """A folder with samples, a result, captions, and what `daskksvd embed` would make of them."""
    folder = tmp_path_factory.mktemp("labels")
    rng = np.random.default_rng(0)
    atoms = np.linalg.qr(rng.standard_normal((16, 16)))[0][:M]
    used = np.argsort(rng.random((N, M)), axis=1)[:, :2]
    codes = np.zeros((N, M))
    np.put_along_axis(codes, used, rng.uniform(1, 2, (N, 2)), axis=1)
    samples = codes @ atoms + 0.01 * rng.standard_normal((N, 16))
    zarr.save_array(folder / "samples.zarr", samples)
    result = daskksvd.fit(samples, n_components=M, n_nonzero_coefs=2, random_state=0, init=atoms)
    result.save(folder / "result.zarr")
    result.save(folder / "coded.zarr")
    result.write_codes(samples, folder / "coded-codes.zarr")
    captions = [f"a {WORDS[one]} and the {WORDS[two]}" for one, two in used]
    table = pd.DataFrame({"sample": np.arange(N) * 3 + 7, "row": range(N), "caption": captions})
    (folder / "made" / "captions").mkdir(parents=True)
    table.to_parquet(folder / "made" / "captions" / "rows-0.parquet")
    zarr.open_group(folder / "made" / "embeddings.zarr", mode="w")["embeddings"] = samples
    table[["sample", "caption"]].assign(sample=range(N)).to_csv(folder / "captions.csv", index=False)
    table[["sample", "caption"]].to_parquet(folder / "by-id.parquet")
    np.save(folder / "ids.npy", table["sample"].to_numpy())
    (folder / "words.txt").write_text("dogs\n\nCat\nhot dog\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def expected(stores):
    return daskksvd.label(stores / "coded-codes.zarr", stores / "captions.csv")


def run(*arguments, code=0):
    found = CliRunner().invoke(cli.main, [str(argument) for argument in arguments], catch_exceptions=False)
    assert found.exit_code == code, found.output
    assert "Traceback" not in found.output
    return found.output


def assert_same(path, expected):
    xr.testing.assert_allclose(open_labels(path).load(), expected, rtol=1e-9)


def test_codes_beside_the_result(stores, expected):
    output = run("label", stores / "coded.zarr", stores / "captions.csv")
    assert_same(stores / "coded-labels.zarr", expected)
    assert "12 atoms (100%) have a significant word" in output and "1,200 with captions" in output
    first = label_table(expected).iloc[0]
    line = next(line for line in output.splitlines() if line.split()[:1] == [str(first.atom)])
    assert first.words in line and f"{first.phi:.3f}" in line
    assert "left out" not in output


@pytest.mark.parametrize("how", ["folder of embed", "samples", "codes"])
def test_codes_from_elsewhere(how, stores, expected, tmp_path):
    arguments = {
        "folder of embed": [stores / "made"],
        "samples": [stores / "captions.csv", "--samples", stores / "samples.zarr"],
        "codes": [stores / "captions.csv", "--codes", stores / "coded-codes.zarr"],
    }[how]
    run("label", stores / "result.zarr", *arguments, "--out", tmp_path / "l.zarr")
    assert_same(tmp_path / "l.zarr", expected)


def test_captions_by_ids(stores, expected, tmp_path):
    output = run(
        "label", stores / "coded.zarr", stores / "by-id.parquet", "--sample-ids", stores / "ids.npy",
        "--out", tmp_path / "l.zarr",
    )  # fmt: skip
    assert_same(tmp_path / "l.zarr", expected)
    # without ids they are taken as rows, and what does not fit is said
    output = run("label", stores / "coded.zarr", stores / "by-id.parquet", "--out", tmp_path / "m.zarr")
    [warning] = [line for line in output.splitlines() if line.startswith("Warning: ")]
    assert "lines of captions are of no row" in warning and "UserWarning" not in output
    assert "left out" in output and "lines of unknown samples" in output


def test_options_reach_label(stores, tmp_path):
    out, table, graph = tmp_path / "l.zarr", tmp_path / "t.csv", tmp_path / "g.graphml"
    options = "--min-df 30 --max-df 0.5 --occurrence share --missing empty --rank-by phi --top 2 --alpha 0.01"
    output = run(
        "label", stores / "coded.zarr", stores / "captions.csv", "--out", out, "--table", table, "--graph",
        graph, "--best", 3, "--min-uses", 30, "--min-joint", 8, "--language", "de", *options.split(),
    )  # fmt: skip
    found = daskksvd.label(
        stores / "coded-codes.zarr", stores / "captions.csv", min_df=30, max_df=0.5, occurrence="share",
        missing="empty", rank_by="phi", top=2, alpha=0.01, min_uses=30, min_joint=8, tokenizer="de",
    )  # fmt: skip
    assert_same(out, found)
    assert open_labels(out).attrs == found.attrs
    assert pd.read_csv(table).words.tolist() == label_table(found).words.tolist()
    assert len(nx.read_graphml(graph)) == found.sizes["word"] + M
    assert sum(line.split()[1:2] in (["+"], ["-"]) for line in output.splitlines()) == 3


def test_word_lists_from_files(stores, tmp_path):
    (tmp_path / "p.txt").write_text("tree boat\n")
    arguments = [
        "--vocabulary",
        stores / "words.txt",
        "--phrases",
        tmp_path / "p.txt",
        "--out",
        tmp_path / "l.zarr",
    ]
    run("label", stores / "coded.zarr", stores / "captions.csv", *arguments)
    old = ["--words", *arguments[1:], "--overwrite"]
    told = run("label", stores / "coded.zarr", stores / "captions.csv", *old)
    assert "--words is now --vocabulary" in told
    tokenizer = Tokenizer(phrases=["tree boat", "hot dog"])
    found = daskksvd.label(
        stores / "coded-codes.zarr",
        stores / "captions.csv",
        vocabulary=["dog", "cat", "hot dog"],
        tokenizer=tokenizer,
    )
    assert_same(tmp_path / "l.zarr", found)


def test_options_agree_with_label():
    arguments = ["result", "captions"]
    values = cli.label_command.make_context("label", arguments).params
    for name, parameter in inspect.signature(daskksvd.label).parameters.items():
        if name in values and name not in ("words", "codes", "captions", "phrases", "max_df"):
            assert values[name] == parameter.default, name
    extra = "result out table graph best language as_written segment samples scheduler overwrite"
    missing = set(inspect.signature(daskksvd.label).parameters) - set(values)
    assert missing == {"tokenizer", "client", "test", "checkpoint", "progress"}
    assert set(values) - set(inspect.signature(daskksvd.label).parameters) == set(extra.split())
    assert all(isinstance(option, click.Parameter) for option in cli.label_command.params)


def test_words_and_atoms(stores, expected):
    run("label", stores / "coded.zarr", stores / "captions.csv", "--overwrite")
    atom = int(np.flatnonzero(expected.top_word.values[:, 0] == "leaf")[0])
    output = run("words", stores / "coded.zarr", "Leaves", "--top", 2)
    lines = output.splitlines()
    assert lines[0].split()[:4] == ["atom", "side", "uses", "words"] and len(lines) == 3
    assert lines[1].split()[0] == str(atom)
    output = run("atom", stores / "coded-labels.zarr", atom, "--top", 4)
    assert "words  leaf" in output and f"of {N:,} samples" in output
    assert output.splitlines()[-4].split()[0] == "leaf"


def test_overwrite(stores, tmp_path):
    out = tmp_path / "l.zarr"
    run("label", stores / "coded.zarr", stores / "captions.csv", "--out", out)
    assert "exists already" in run(
        "label", stores / "coded.zarr", stores / "captions.csv", "--out", out, code=2
    )
    run("label", stores / "coded.zarr", stores / "captions.csv", "--out", out, "--overwrite", "--top", 1)
    assert open_labels(out).sizes["rank"] == 1
    table = tmp_path / "no" / "folder" / "t.csv"
    run(
        "label",
        stores / "coded.zarr",
        stores / "captions.csv",
        "--out",
        tmp_path / "m.zarr",
        "--table",
        table,
    )
    assert table.exists()


def test_on_a_cluster(stores, expected, tmp_path):
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False),
    ):
        arguments = ["--scheduler", cluster.scheduler_address, "--out", tmp_path / "l.zarr"]
        run("label", stores / "result.zarr", stores / "made", *arguments)
    assert_same(tmp_path / "l.zarr", expected)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            "label result.zarr captions.csv",
            "there is no {folder}/result-codes.zarr, nor codes.zarr in its folder",
        ),
        ("label coded.zarr nowhere.csv", "there is no such path"),
        ("label samples.zarr captions.csv", "is no Zarr group"),
        ("label coded.zarr captions.csv --codes samples.zarr", "is no Zarr group"),
        ("label coded.zarr captions.csv --codes coded-codes.zarr --samples samples.zarr", "were both given"),
        ("label coded.zarr captions.csv --language xx", "language='xx'; it must be one of"),
        (
            "label coded.zarr captions.csv --vocabulary nowhere.txt",
            "--vocabulary nowhere.txt: there is no such file",
        ),
        ("label coded.zarr captions.csv --vocabulary ids.npy", "is no text in UTF-8"),
        ("label coded.zarr captions.csv --min-df x", "neither a number of samples nor a share"),
        ("label coded.zarr captions.csv --min-df 2.5", "--min-df=2.5; it must be a number of samples"),
        ("label coded.zarr captions.csv --rank-by x", "--rank-by='x'; it must be one of"),
        ("label coded.zarr captions.csv --table t.doc", "it must end with .csv or .parquet or .txt"),
        ("label coded.zarr captions.csv --graph g.png", "it must end with .graphml or .json"),
        ("label coded.zarr captions.csv --sample-ids words.txt", "neither a .npy file nor a Zarr array"),
        ("label coded.zarr captions.csv --out coded.zarr --overwrite", "not labels"),
        ("words result.zarr dog", "a result without labels"),
        ("words samples.zarr dog", "is no Zarr group"),
        ("atom nowhere.zarr 1", "there is no such path"),
        ("atom coded.zarr one", "not a valid integer"),
    ],
)
def test_refusals(arguments, words, stores, monkeypatch):
    monkeypatch.chdir(stores)
    if arguments.startswith("label") and "--out" not in arguments:
        arguments += " --out unmade.zarr"
    output = run(*arguments.split(), code=2)
    assert words.format(folder=stores) in " ".join(output.split()), output
    assert not (stores / "unmade.zarr").exists()


def test_refusals_of_lookups(stores):
    run("label", stores / "coded.zarr", stores / "captions.csv", "--overwrite")
    assert "--traceback" not in run("words", stores / "coded.zarr", "zebra", code=2)
    assert "word='dgo' is not among the 12 words counted" in run(
        "words", stores / "coded.zarr", "dgo", code=2
    )
    assert "atom=12; it must be an atom from 0 to 11" in run("atom", stores / "coded.zarr", 12, code=2)
