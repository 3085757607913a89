"""The commands that encode and that say what a store holds."""

import json
import os
import re

import numpy as np
import pytest
import zarr
from small_cli import M, error_of, make_samples, run, run_fit, write_stores

import daskksvd


@pytest.fixture(scope="module")
def samples():
    return make_samples()


@pytest.fixture(scope="module")
def stores(samples, tmp_path_factory):
    return write_stores(tmp_path_factory.mktemp("stores"), samples)


# ------------------------------------------------------------------- encode


def test_encode_equals_python(stores, samples, tmp_path):
    out = tmp_path / "codes.zarr"
    output = run("encode", stores / "result.zarr", stores / "samples.npy", "--out", out)
    assert "3.00 a sample" in output
    expected = daskksvd.load(stores / "result.zarr").encode(samples).compute(scheduler="synchronous")
    found = daskksvd.open_codes(out).compute(scheduler="synchronous")
    np.testing.assert_array_equal(found.todense(), expected.todense())


def test_encode_by_one_product(stores, samples, tmp_path):
    out = tmp_path / "codes.zarr"
    arguments = ("encode", stores / "result.zarr", stores / "samples.zarr", "--out", out)
    message = error_of(run(*arguments, "--method", "oneshot", code=2))
    assert "has no linear encoder, which --method oneshot takes; pass --samples" in message
    assert "--samples goes with --method oneshot" in error_of(run(*arguments, "--samples", "x", code=2))
    run(*arguments, "--method", "oneshot", "--samples", stores / "samples.zarr")
    result = daskksvd.load(stores / "result.zarr").fit_encoder(samples)
    expected = result.encode(samples, method="oneshot").compute().todense()
    np.testing.assert_allclose(daskksvd.open_codes(out).compute().todense(), expected, atol=1e-5)


def test_encode_errors(stores, samples, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result, store = stores / "result.zarr", stores / "samples.zarr"
    assert "no such path" in error_of(run("encode", "nowhere", store, "--out", "c.zarr", code=2))
    assert "group.zarr" in error_of(run("encode", stores / "group.zarr", store, "--out", "c.zarr", code=2))
    np.save("narrow.npy", samples[:, :5])
    assert "5 features" in error_of(run("encode", result, "narrow.npy", "--out", "c.zarr", code=2))
    assert not os.path.exists("c.zarr")
    bad = samples.copy()
    bad[-1, 0] = np.inf
    np.save("bad.npy", bad)
    message = error_of(run("encode", result, "bad.npy", "--out", "c.zarr", code=2))
    assert "row 1999" in message
    assert not os.path.exists("c.zarr")
    run("encode", result, store, "--out", "c.zarr")
    assert "exists already" in error_of(run("encode", result, store, "--out", "c.zarr", code=2))
    assert "row 1999" in error_of(run("encode", result, "bad.npy", "--out", "c.zarr", "--overwrite", code=2))
    assert daskksvd.open_codes("c.zarr").shape == (2000, M)  # the old codes are still there
    del zarr.open_group("c.zarr").attrs["complete"]
    assert "Not complete" in run("info", "c.zarr")
    run("encode", result, store, "--out", "c.zarr", "--overwrite")
    message = error_of(run("encode", result, store, "--out", result, "--overwrite", code=2))
    assert "not one of codes" in message
    assert daskksvd.load(result).dictionary.shape == (M, 16)


def test_interrupted_encode(stores, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("daskksvd.fitting.result.Result.write_codes", interrupted)
    more = (stores / "result.zarr", stores / "samples.zarr", "--out", tmp_path / "c.zarr")
    assert "Interrupted" in run("encode", *more, code=130)


# --------------------------------------------------------------------- info


def test_info_on_a_result(stores):
    path = stores / "result.zarr"
    found = json.loads(run("info", path, "--json"))
    result = daskksvd.load(path)
    assert found["kind"] == "result"
    assert (found["n_components"], found["n_features"]) == result.dictionary.shape
    assert found["settings"] == result.settings
    assert [row["pass"] for row in found["history"]] == result.history["pass"].values.tolist()
    for name in ("relative_error", "fvu", "used_atoms", "kind"):
        assert [row[name] for row in found["history"]] == result.history[name].values.tolist()
    assert found["history"][0]["holdout_error"] is None
    text = run("info", path)
    last = float(result.history.relative_error[-1])
    assert re.search(rf"^ +3 +\w+ +{last:.4f} ", text, re.MULTILINE)
    assert "held out" not in text


def test_info_on_codes(stores, tmp_path):
    result = daskksvd.load(stores / "result.zarr")
    result.write_codes(str(stores / "samples.zarr"), tmp_path / "c.zarr")
    found = json.loads(run("info", tmp_path / "c.zarr", "--json"))
    assert found["kind"] == "codes"
    assert found["shape"] == [2_000, M]
    codes = daskksvd.open_codes(tmp_path / "c.zarr").compute(scheduler="synchronous")
    assert found["mean_nonzeros"] == codes.nnz / 2_000
    assert f"{codes.nnz / 2_000:.2f} a sample" in run("info", tmp_path / "c.zarr")


def test_info_on_a_checkpoint(stores, tmp_path):
    checkpoint = tmp_path / "checkpoint"
    run_fit(stores / "samples.zarr", tmp_path / "r.zarr", "--checkpoint", checkpoint, "--holdout", 0.1)
    found = json.loads(run("info", checkpoint, "--json"))
    assert found["kind"] == "checkpoint"
    assert found["finished"]
    assert found["samples"]["shape"] == [2_000, 16]
    assert found["settings"]["random_state"] == 1
    assert found["history"] == json.loads(run("info", tmp_path / "r.zarr", "--json"))["history"]
    text = run("info", checkpoint)
    assert "finished" in text
    assert "held out" in text


def test_info_on_samples(stores, tmp_path):
    for name in ("samples.zarr", "samples.npy", "group.zarr"):
        found = json.loads(run("info", stores / name, "--json"))
        assert found["kind"] == "samples"
        assert found["shape"] == [2_000, 16]
        assert found["dtype"] == "float32"
        assert "2,000 x 16" in run("info", stores / name)
    np.save(tmp_path / "flat.npy", np.zeros(3))
    assert "cannot be used" in run("info", tmp_path / "flat.npy")


def test_info_errors(tmp_path):
    assert "no such file" in error_of(run("info", tmp_path / "nowhere", code=2))
    assert "neither" in error_of(run("info", tmp_path, code=2))
    (tmp_path / "text").write_text("text")
    assert "neither" in error_of(run("info", tmp_path / "text", code=2))
    zarr.open_group(tmp_path / "empty.zarr", mode="w")
    assert "0 two-dimensional arrays" in error_of(run("info", tmp_path / "empty.zarr", code=2))
