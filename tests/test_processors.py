"""Kernels compiled for a processor of which nothing is known code the same."""

import os
import subprocess
import sys

import numpy as np
import reference
from numpy.testing import assert_allclose
from reference import products_of

from daskksvd.coding import code_rows

PROGRAM = """
import sys
import numpy as np
from reference import products_of
from daskksvd.coding import code_rows, how
from daskksvd.rows import Transform

assert how.processor().ways == ()
atoms, rows = (np.load(path) for path in sys.argv[1:3])
codes = code_rows(rows, products_of(atoms, 4))
np.savez(sys.argv[3], indices=codes.indices, values=codes.values)
"""


def test_generic(tmp_path):
    rng = np.random.default_rng(0)
    atoms = reference.unit_atoms(rng, 200, 60).astype("f4")
    rows = rng.standard_normal((100, 60)).astype("f2")  # of half precision, for which LLVM calls its runtime
    for name, array in (("atoms", atoms), ("rows", rows)):
        np.save(tmp_path / f"{name}.npy", array)
    environment = {
        **os.environ,
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CPU_FEATURES": "",
        "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path]),
    }
    paths = [str(tmp_path / name) for name in ("atoms.npy", "rows.npy", "codes.npz")]
    subprocess.run([sys.executable, "-c", PROGRAM, *paths], env=environment, check=True)
    found, ours = np.load(tmp_path / "codes.npz"), code_rows(rows, products_of(atoms, 4))
    alike = (found["indices"] == ours.indices).all(axis=1)
    assert alike.mean() > 0.98  # up to ties
    assert_allclose(found["values"][alike], ours.values[alike], atol=1e-5)
