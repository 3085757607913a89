"""How products are made is settled once, by what every processor is fast at."""

import dataclasses
import types

import dask.array as da
import numba
import numpy as np
import pytest
import reference
from numpy.testing import assert_array_equal
from reference import products_of

import daskksvd
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


def test_a_checkpoint_goes_on_as_it_was_begun(monkeypatch, tmp_path):
    """Also on a processor that has no instruction for it, and would choose another way."""
    array = daskksvd.datasets.make_planted(3_000, 24, 48, 3, random_state=0).array.compute()
    settings = {"n_components": 48, "n_nonzero_coefs": 3, "random_state": 1, "max_passes": 3, "tol": 0}
    monkeypatch.setattr(how, "choose_products", lambda *arguments: "amx")
    whole = daskksvd.fit(array, **settings)

    def stop(event):
        if isinstance(event, daskksvd.tracking.PassFinished):
            raise daskksvd.StopFit

    daskksvd.fit(array, checkpoint=tmp_path / "kept", callbacks=[stop], **settings)
    monkeypatch.setattr(how, "choose_products", lambda *arguments: PLAIN)
    monkeypatch.setattr(rounded, "native", lambda way: False)
    resumed = daskksvd.fit(array, checkpoint=tmp_path / "kept", **settings)
    assert_array_equal(resumed.dictionary, whole.dictionary)
    assert not np.array_equal(daskksvd.fit(array, **settings).dictionary, whole.dictionary)


def test_all_workers_are_asked(monkeypatch):
    executor = types.SimpleNamespace(everywhere=lambda function: {"one": XEON, "other": LAPTOP})
    assert how.settled(coder_of(1_200, 600, 10), executor).how == how.How(PLAIN)
    executor = types.SimpleNamespace(everywhere=lambda function: {"one": XEON, "other": XEON})
    assert how.settled(coder_of(1_200, 600, 10), executor).how == how.How("amx")


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ({"one": how.Answer("cuda:0"), "other": how.Answer(None, "it is gone")}, "on other .it is gone."),
        ({"one": how.Answer("cuda:0"), "other": how.Answer("cuda:1")}, "they have different ones"),
        ({}, "they have different ones"),
    ],
)
def test_a_device_that_not_all_workers_have(answers, why):
    coder = dataclasses.replace(coder_of(12, 6, 2), how=how.How(PLAIN))
    executor = types.SimpleNamespace(everywhere=lambda function, name: answers)
    with pytest.warns(RuntimeWarning, match=why):
        assert how.settled(coder, executor, "cuda").how.device is None
    alike = types.SimpleNamespace(everywhere=lambda function, name: dict.fromkeys("ab", how.Answer("cuda:0")))
    assert how.settled(coder, alike, "cuda").how.device == "cuda:0"


def test_lazy_codes_in_other_processes():
    """Products made in one process are used in others, which have to ask for their registers themselves."""
    rng = np.random.default_rng(0)
    atoms = reference.unit_atoms(rng, 512, 256).astype("f4")
    rows = da.from_array(rng.standard_normal((200, 256)).astype("f4"), chunks=(100, 256))
    codes = SparseCoder(atoms, Transform(), SparsityTarget(4)).encode(rows)
    here = codes.compute(scheduler="sync").todense()
    assert_array_equal(codes.compute(scheduler="processes", num_workers=2).todense(), here)
