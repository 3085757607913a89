"""The job from end to end by one command."""

import re
import subprocess
import sys

import numpy as np
import pytest
from small_cli import error_of, run

import daskksvd

TINY = ("--n-samples", "400", "--n-components", "48", "--n-nonzero-coefs", "3")


def test_demo(tmp_path):
    """The job from end to end, as a user runs it: a process that starts worker processes."""
    out = tmp_path / "demo"
    done = subprocess.run(
        [sys.executable, "-m", "daskksvd", "demo", "--out", str(out), "--workers", "1", *TINY],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    store = daskksvd.open_embeddings(out / "scenes")
    scenes = daskksvd.datasets.make_scenes(400, random_state=0)
    captions = store.captions.compute()
    assert captions["caption"].tolist() == [text for i in range(400) for text in scenes.captions(i)]
    assert captions["sample"].tolist() == [i for i in range(400) for _ in scenes.captions(i)]
    result = daskksvd.load(out / "result.zarr")
    assert result.dictionary.shape == (48, store.array.shape[1])
    codes = daskksvd.open_codes(out / "codes.zarr")
    assert codes.shape == (400, 48)
    # the share reported is that of the stores
    rows = store.array.compute().astype(np.float64)
    left = rows - result.decode(codes).compute(scheduler="synchronous")
    explained = 1 - (left**2).sum() / ((rows - rows.mean(0)) ** 2).sum()
    [told] = re.findall(r"variance explained +([\d.]+)% by ([\d.]+) atoms", done.stdout)
    assert float(told[0]) == pytest.approx(100 * explained, abs=0.1) and float(told[1]) == 3

    assert "exist; pass --overwrite" in error_of(run("demo", "--out", out, *TINY, code=2))


def test_demo_leaves_other_stores_alone(tmp_path):
    (tmp_path / "scenes").mkdir()
    (tmp_path / "scenes" / "thesis.txt").write_text("mine")
    message = error_of(run("demo", "--out", tmp_path, *TINY, "--overwrite", code=2))
    assert "not made by the demo" in message
    assert (tmp_path / "scenes" / "thesis.txt").read_text() == "mine"
    message = error_of(run("demo", "--out", tmp_path / "new", *TINY, "--n-components", 500, code=2))
    assert "--n-components=500" in message
    assert not (tmp_path / "new").exists()
