"""How products are made is settled once, by what every processor is fast at."""

import numba
import numpy as np
import pytest
import reference
from reference import products_of

from daskksvd.coding import SparseCoder, SparsityTarget, how
from daskksvd.coding.how import PLAIN, Processor, choose_products
from daskksvd.kernels import rounded
from daskksvd.rows import Transform

ZEN, XEON, COOPER, LAPTOP = (
    Processor("znver5", ("avx512",)),
    Processor("emeraldrapids", ("amx", "avx512")),
    Processor("cooperlake", ("avx512",)),
    Processor("haswell", ()),
)


def coder_of(m, d, k, dtype="f4", pursuit="omp"):
    atoms = reference.unit_atoms(np.random.default_rng(5), m, d).astype(dtype)
    return SparseCoder(atoms, Transform(), SparsityTarget(k, pursuit=pursuit))


@pytest.mark.parametrize(
    ("processors", "chosen"),
    [
        ([ZEN], "avx512"),
        ([XEON], "amx"),
        ([COOPER], PLAIN),  # it has the instruction, and BLAS is twice as fast
        ([LAPTOP], PLAIN),
        ([XEON, XEON], "amx"),
        ([XEON, ZEN], PLAIN),
        ([ZEN, LAPTOP], PLAIN),
    ],
)
def test_the_fastest_way_of_all(processors, chosen):
    assert choose_products(coder_of(1_200, 600, 10), processors) == chosen


@pytest.mark.parametrize(
    ("dtype", "width", "pursuit"), [("f8", 4, "omp"), ("f4", 4, "mp"), ("f4", 100, "omp")]
)
@pytest.mark.parametrize("processor", [ZEN, XEON])
def test_where_full_products_stay(dtype, width, pursuit, processor):
    assert choose_products(coder_of(600, 300, width, dtype, pursuit), [processor]) == PLAIN


def test_what_was_chosen_is_done():
    atoms = reference.unit_atoms(np.random.default_rng(6), 600, 300).astype("f4")
    assert products_of(atoms, 4, how=PLAIN).packed is None
    assert products_of(atoms, 4, how="amx").packed.way == "amx"
    assert products_of(atoms, 4, how="avx512").packed.way == "avx512"


def test_processors_chosen_by_the_user_have_none(monkeypatch):
    monkeypatch.setattr(numba.config, "CPU_NAME", "generic")
    assert rounded.native_ways() == ()
    assert how.processor().fast_ways == ()


def test_an_llvm_that_does_not_compile_it_is_not_asked(monkeypatch):
    monkeypatch.setattr(rounded.llvmlite.binding, "llvm_version_info", (15, 0, 7))
    assert rounded.native_ways() == ()
