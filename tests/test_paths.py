"""Every path of ours may have ``~``, or be a ``file://`` URL; folders may be read-only."""

import os
import pathlib
import stat
import warnings

import numpy as np
import pytest
from click.testing import CliRunner

import daskksvd
from daskksvd.cli import main
from daskksvd.naming.store import open_labels, save_labels
from daskksvd.view.data.atom_index import build_atom_index, open_atom_index
from daskksvd.view.data.opening import open_view

QUICK = {"n_components": 6, "n_nonzero_coefs": 2, "max_passes": 2, "random_state": 0}


@pytest.fixture(scope="module")
def samples():
    return np.random.default_rng(0).standard_normal((200, 5))


@pytest.fixture(params=["~/", "file://", "file://localhost"])
def prefix(request, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return request.param if request.param == "~/" else f"{request.param}{tmp_path}/"


def test_all_functions_take_such_paths(prefix, samples, tmp_path):
    np.save(tmp_path / "samples.npy", samples)
    result = daskksvd.fit(prefix + "samples.npy", checkpoint=prefix + "fit.ckpt", **QUICK)
    again = daskksvd.fit(prefix + "samples.npy", checkpoint=prefix + "fit.ckpt", **QUICK)
    assert (again.dictionary.values == result.dictionary.values).all()
    result.save(prefix + "r.zarr")
    assert (daskksvd.load(prefix + "r.zarr").dictionary.values == result.dictionary.values).all()
    result.save(prefix + "r.zarr", overwrite=True)
    result.write_codes(prefix + "samples.npy", prefix + "r-codes.zarr")
    codes = daskksvd.open_codes(prefix + "r-codes.zarr").compute().todense()
    assert (codes == result.encode(samples).compute().todense()).all()
    captions = ["cat" if row[0] > 0 else "dog" for row in samples]
    save_labels(daskksvd.label(prefix + "r-codes.zarr", captions), prefix + "r-labels.zarr")
    assert open_labels(prefix + "r.zarr").sizes["atom"] == 6
    view = open_view(prefix + "r.zarr")
    assert view.index.n == 200 and view.labels is not None
    assert open_atom_index(prefix + "r-codes-atoms.zarr", prefix + "r-codes.zarr").m == 6
    expected = ["fit.ckpt", "r-codes-atoms.zarr", "r-codes.zarr", "r-labels.zarr", "r.zarr", "samples.npy"]
    assert sorted(os.listdir(tmp_path)) == expected


def test_all_commands_take_such_paths(prefix, samples, tmp_path):
    def run(*arguments):
        found = CliRunner().invoke(main, list(arguments))
        assert found.exit_code == 0, found.output

    np.save(tmp_path / "samples.npy", samples)
    some = ("-m", "6", "-k", "2", "--max-passes", "2", "--checkpoint", prefix + "fit.ckpt")
    run("fit", prefix + "samples.npy", "--out", prefix + "r.zarr", *some)
    run("encode", prefix + "r.zarr", prefix + "samples.npy", "--out", prefix + "r-codes.zarr")
    for name in ("r.zarr", "r-codes.zarr", "samples.npy", "fit.ckpt"):
        run("info", prefix + name)
        run("check", prefix + name)
    assert sorted(os.listdir(tmp_path)) == ["fit.ckpt", "r-codes.zarr", "r.zarr", "samples.npy"]


def test_a_checkpoint_at_a_url_is_refused(samples):
    with pytest.raises(ValueError, match="checkpoint='s3://bucket/fit' is a URL; it must be the path of a"):
        daskksvd.fit(samples, checkpoint="s3://bucket/fit", **QUICK)


@pytest.fixture
def read_only(tmp_path, monkeypatch):
    """Make a folder in which nothing can be made; of root, who may do all, by a refusal of ours."""
    original = os.makedirs

    def makedirs(name, *arguments, **options):
        if pathlib.Path(name).parent == tmp_path and not os.path.exists(name):
            raise PermissionError(13, "Permission denied", str(name))
        original(name, *arguments, **options)

    def shut():
        os.chmod(tmp_path, stat.S_IRUSR | stat.S_IXUSR)
        monkeypatch.setattr(os, "makedirs", makedirs)

    yield shut
    os.chmod(tmp_path, stat.S_IRWXU)


def test_a_read_only_folder_is_viewed(samples, read_only, tmp_path):
    result = daskksvd.fit(samples, **QUICK)
    result.save(tmp_path / "r.zarr")
    result.write_codes(samples, tmp_path / "r-codes.zarr")
    expected = build_atom_index(daskksvd.open_codes(tmp_path / "r-codes.zarr"))
    read_only()
    with pytest.warns(UserWarning, match="cannot be written to") as warned:
        view = open_view(tmp_path / "r.zarr")
    assert len(warned) == 1 and "r-codes-atoms.zarr" in str(warned[0].message)
    for atom in range(6):
        for found, right in zip(view.index.activations(atom), expected.activations(atom), strict=True):
            np.testing.assert_allclose(found, right, rtol=1e-6)
    folder = pathlib.Path(view.index._arrays["row"].array.store._store.root)
    assert folder.exists()
    del view
    assert sorted(os.listdir(tmp_path)) == ["r-codes.zarr", "r.zarr"]
    for write in (lambda: result.save(tmp_path / "x"), lambda: result.write_codes(samples, tmp_path / "x")):
        with pytest.raises(PermissionError, match=r"x' cannot be written to: Permission denied"):
            write()


def test_an_index_is_made_again_of_codes_that_were_written_anew_and_if_it_is_damaged(samples, tmp_path):
    result = daskksvd.fit(samples, **QUICK)
    result.save(tmp_path / "r.zarr")
    result.write_codes(samples, tmp_path / "r-codes.zarr")
    index = tmp_path / "r-codes-atoms.zarr"
    first = open_view(tmp_path / "r.zarr").index.activations(1)
    stamp = (index / "zarr.json").stat().st_mtime_ns
    open_view(tmp_path / "r.zarr")
    assert (index / "zarr.json").stat().st_mtime_ns == stamp
    changed = samples.copy()
    changed[7] *= -1  # of all samples one
    result.write_codes(changed, tmp_path / "r-codes.zarr", overwrite=True)
    assert open_atom_index(index, tmp_path / "r-codes.zarr") is None
    again = open_view(tmp_path / "r.zarr")
    codes = daskksvd.open_codes(tmp_path / "r-codes.zarr").compute().todense()
    rows, values = again.index.activations(1)
    np.testing.assert_allclose(codes[rows, 1], values, rtol=1e-6)
    assert len(first[0]) == len(rows)
    next((index / "row" / "c").rglob("0")).unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows, _ = open_view(tmp_path / "r.zarr").index.activations(1)
    assert len(rows) == len(values)
