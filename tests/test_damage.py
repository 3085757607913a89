"""Stores that lost a file, or in which one was cut off or changed: the same values, or one sentence."""

import json
import os
import pickle
import re
import shutil

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

import daskksvd
from daskksvd.embedding.outcomes import Outcome
from daskksvd.embedding.writer import Writer
from daskksvd.naming.store import LABELS, open_labels, save_labels
from daskksvd.stores import DamagedStore
from daskksvd.view.data.atom_index import build_atom_index, open_atom_index

N, D, M = 2500, 6, 8
MODEL = ("name", "architecture", "pooling", "layer", "precision")


@pytest.fixture(scope="module")
def samples():
    return np.random.default_rng(0).standard_normal((N, D))


@pytest.fixture(scope="module")
def result(samples):
    options = {"n_components": M, "n_nonzero_coefs": 2, "max_passes": 2, "whiten": True, "random_state": 0}
    return daskksvd.fit(pd.DataFrame(samples, columns=list("abcdef")), **options)


def write_embeddings(folder, n=40):
    """A folder as `embed` leaves it, of made-up outcomes."""
    rng = np.random.default_rng(5)
    vectors = rng.standard_normal((n, D)).astype("float16")
    vectors[:8] = 0  # one chunk of fill values
    writer = Writer(
        os.fspath(folder),
        {"model": dict.fromkeys(MODEL, "made up"), "source": {"type": "list"}, "form": {}},
        n,
    )
    writer.settle(chunk_rows=8, batch_size=10, thumbnails=32)
    for low in range(writer.begin, n, 10):
        outcomes = [
            Outcome(i, f"image {i}", (), "no image")
            if i % 9 == 4
            else Outcome(i, f"image {i}", (f"caption {i}", "more"), None, vectors[i], b"jpeg" * 3)
            for i in range(low, min(low + 10, n))
        ]
        writer.add(low, min(low + 10, n), outcomes)
    writer.finish()
    writer.close()


def read_result(path):
    found = daskksvd.load(path)
    return found.to_dataset().load().drop_attrs(), json.dumps(found.settings), found.stop_reason


def read_labels(path):
    return open_labels(path).load()


def read_codes(path):
    return daskksvd.open_codes(path).compute(scheduler="threads").todense()


def read_index(path):
    index = open_atom_index(path)
    arrays = [
        index.start,
        index.positive,
        index.magnitude,
        index.nonzeros,
        index.value_count,
        index.value_edge,
    ]
    for atom in range(index.m):
        arrays += [*index.activations(atom), *index.companions(atom)]
    return arrays


def read_embeddings(path):
    found = daskksvd.open_embeddings(path)
    rows = np.concatenate([np.asarray(found.array.compute()).astype(float), found.sample[:, None]], axis=1)
    captions = found.captions.compute().reset_index(drop=True)
    thumbnails = [found._thumbnails[row].tobytes() for row in range(len(found))]
    facts = {name: value for name, value in found.attrs.items() if name != "complete"}
    return rows, list(found.source), captions, found.rejects, thumbnails, json.dumps(facts)


@pytest.fixture(scope="module")
def stores(samples, result, tmp_path_factory):
    """Kinds of stores: where one lies, and how everything in it is read."""
    folder = tmp_path_factory.mktemp("stores")
    result.save(folder / "result.zarr")
    result.write_codes(da.from_array(samples, chunks=(1100, D)), folder / "codes.zarr")
    captions = [f"{'cat' if row[0] > 0 else 'dog'} {'red' if row[1] > 0 else 'blue'}" for row in samples]
    save_labels(daskksvd.label(folder / "codes.zarr", captions), folder / "labels.zarr")
    build_atom_index(folder / "codes.zarr", folder / "index.zarr")
    write_embeddings(folder / "embedded")
    return {
        "result": (folder / "result.zarr", read_result),
        "labels": (folder / "labels.zarr", read_labels),
        "codes": (folder / "codes.zarr", read_codes),
        "index": (folder / "index.zarr", read_index),
        "embeddings": (folder / "embedded", read_embeddings),
    }


KINDS = ["result", "labels", "codes", "index", "embeddings"]


def same(one, other):
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, (xr.Dataset, xr.DataArray)):
        return one.identical(other)
    if isinstance(one, pd.DataFrame):
        return one.equals(other)
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    return one == other


def damages(path, seed, flips):
    """Ways to damage a file: names, and what each makes of its content."""
    rng = np.random.default_rng(seed)
    content = path.read_bytes()
    yield "deleted", None
    yield "half", content[: len(content) // 2]
    yield "empty", b""
    yield "one byte less", content[:-1]
    for place in rng.integers(0, len(content), flips) if content else ():
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(rng.integers(8))
        yield f"bit of byte {place}", bytes(flipped)


def files_of(store):
    """Files that hold what was stored: not those that only a run that goes on reads."""
    paths = sorted(path for path in store.rglob("*") if path.is_file())
    return [
        path
        for path in paths
        if not {"journal", "progress.json", ".lock"} & set(path.relative_to(store).parts)
    ]


def outcome(read, path, expected):
    """``"same"``, the sentence, or what is wrong."""
    try:
        found = read(path)
    except (ValueError, FileNotFoundError) as error:
        text = str(error)
        told = (
            type(error) in (ValueError, FileNotFoundError, DamagedStore)
            and "\n" not in text
            and "path=" in text
        )
        return text if told or type(error) is DamagedStore else f"WRONG {type(error).__name__}: {text}"
    except Exception as error:
        return f"WRONG {type(error).__name__}: {error}"
    return "same" if same(found, expected) else "WRONG values"


def campaign(store, read, copy, flips, every=1):
    """Damage each file in turn; what came of each."""
    expected = read(store)
    shutil.copytree(store, copy)
    found = {}
    for number, path in enumerate(files_of(copy)):
        if number % every:
            continue
        content = path.read_bytes()
        for how, damaged in damages(path, number, flips):
            path.unlink() if damaged is None else path.write_bytes(damaged)
            found[path.relative_to(copy).as_posix(), how] = outcome(read, copy, expected)
            path.write_bytes(content)
    assert same(read(copy), expected)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_is_damaged_gives_the_same_values_or_one_sentence(kind, stores, tmp_path):
    store, read = stores[kind]
    every = 4 if kind == "result" else 3 if kind == "labels" else 1
    found = campaign(store, read, tmp_path / "copy", 2, every)
    wrong = {place: text for place, text in found.items() if text.startswith("WRONG")}
    assert not wrong, wrong
    noticed = sum(text != "same" for text in found.values())
    # a record that is lost is not needed to read what is there
    assert noticed >= len(found) - 1, {place: text for place, text in found.items() if text == "same"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_lost_or_changed_chunk_is_named(kind, stores, tmp_path):
    store, read = stores[kind]
    shutil.copytree(store, tmp_path / "copy")
    chunks = [path for path in files_of(tmp_path / "copy") if "c" in path.parts and path.name != "zarr.json"]
    for path in chunks[:: max(1, len(chunks) // 5)]:
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(DamagedStore, match="is missing") as caught:
            read(tmp_path / "copy")
        assert str(path) in str(caught.value)
        path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
        with pytest.raises(DamagedStore) as caught:
            read(tmp_path / "copy")
        assert str(path) in str(caught.value) and str(pickle.loads(pickle.dumps(caught.value))) == str(
            caught.value
        )
        path.write_bytes(content)


@pytest.mark.parametrize("name", ["zarr.json", "embeddings/zarr.json", "source/zarr.json"])
@pytest.mark.parametrize("how", ["deleted", "half", "changed"])
def test_whoever_reads_embeddings_names_a_damaged_file(name, how, stores, tmp_path):
    path, _ = stores["embeddings"]
    shutil.copytree(path, tmp_path / "copy")
    file = tmp_path / "copy" / "embeddings.zarr" / name
    content = file.read_bytes()
    if how == "deleted":
        file.unlink()
    else:
        file.write_bytes(
            content[: len(content) // 2] if how == "half" else content.replace(b"zarr_format", b"zarr_formas")
        )
    with pytest.raises(DamagedStore, match=re.escape(os.fspath(file))):
        daskksvd.open_embeddings(tmp_path / "copy")
    with pytest.raises(DamagedStore, match=re.escape(os.fspath(file))):
        daskksvd.fit(tmp_path / "copy", n_components=4, n_nonzero_coefs=1)


def test_a_chunk_in_the_place_of_another_is_noticed(stores, tmp_path):
    store, read = stores["codes"]
    shutil.copytree(store, tmp_path / "copy")
    shutil.copy(
        tmp_path / "copy" / "values" / "c" / "0" / "0", tmp_path / "copy" / "values" / "c" / "1" / "0"
    )
    with pytest.raises(DamagedStore, match=r"values/c/1/0' is changed"):
        read(tmp_path / "copy")


def test_what_is_lost_after_opening_is_noticed_when_it_is_read(stores, tmp_path):
    store, _ = stores["codes"]
    shutil.copytree(store, tmp_path / "copy")
    codes = daskksvd.open_codes(tmp_path / "copy")
    (tmp_path / "copy" / "indices" / "c" / "1" / "0").unlink()
    codes[:1000].compute()
    with pytest.raises(DamagedStore, match=r"indices/c/1/0' is missing"):
        codes.compute()


def test_what_was_written_anew_is_not_mixed_with_what_was_opened(stores, samples, result, tmp_path):
    path = tmp_path / "codes.zarr"
    result.write_codes(samples, path)
    before = daskksvd.open_codes(path)
    values = before.compute()
    result.write_codes(samples[::-1], path, overwrite=True)
    with pytest.raises(DamagedStore, match="was written anew since it was opened"):
        before.compute()
    after = daskksvd.open_codes(path)
    assert after.name != before.name and (after.compute() != values).any()


def test_stores_of_plain_zarr_stay_readable(stores):
    for kind in ("result", "labels", "codes", "index"):
        group = zarr.open_group(stores[kind][0], mode="r")
        for name, array in group.arrays():
            codecs = [codec["name"] for codec in array.metadata.to_dict()["codecs"]]
            assert codecs[-1] == "crc32c" and array.nchunks_initialized == array.nchunks, name
            array[...]
    assert set(LABELS.variables) < set(xr.open_zarr(stores["labels"][0], consolidated=False).variables)


def as_before(store):
    """Make a store one of an earlier version: without its record, and without checksums."""
    shutil.rmtree(store / "closing_record")
    for name, array in list(zarr.open_group(store).arrays()):
        values, attributes = array[...], dict(array.attrs)
        options = {
            "shape": array.shape,
            "chunks": array.chunks,
            "dtype": str if array.dtype == object else array.dtype,  # strings are objects with NumPy 1
            "fill_value": array.fill_value,
        }
        shutil.rmtree(store / name)
        again = zarr.open_group(store).create_array(
            name, dimension_names=array.metadata.dimension_names, attributes=attributes,
            config={"write_empty_chunks": name in ("indices", "values", "embeddings")}, **options,
        )  # fmt: skip
        again[...] = values


@pytest.mark.parametrize("kind", KINDS)
def test_stores_of_earlier_versions_open_and_lost_chunks_of_codes_are_noticed(kind, stores, tmp_path):
    store, read = stores[kind]
    expected = read(store)
    shutil.copytree(store, tmp_path / "copy")
    inner = tmp_path / "copy" / ("embeddings.zarr" if kind == "embeddings" else "")
    as_before(inner)
    assert same(read(tmp_path / "copy"), expected)
    required = {"result": "dictionary/c/0/0", "codes": "indices/c/1/0", "embeddings": "source/c/1"}.get(kind)
    if required:
        (inner / required).unlink()
        with pytest.raises(DamagedStore, match=f"{required}' is missing"):
            read(tmp_path / "copy")


def test_a_store_that_grew_is_whole_again(tmp_path):
    write_embeddings(tmp_path / "grown", 20)
    first = read_embeddings(tmp_path / "grown")
    write_embeddings(tmp_path / "grown", 40)
    write_embeddings(tmp_path / "at once", 40)
    grown, whole = read_embeddings(tmp_path / "grown"), read_embeddings(tmp_path / "at once")
    assert same(grown[:5], whole[:5]) and len(first[0]) < len(grown[0])
    assert daskksvd.open_embeddings(tmp_path / "grown").group.store.digest is not None
