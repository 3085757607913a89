"""What stores say that they are: other programs, and later versions of this one, know them by it."""

import dask.array as da
import numpy as np
import stores_page
import xarray as xr
import zarr

import daskksvd
from daskksvd.cli.checking import check
from daskksvd.coding.store import CODES
from daskksvd.embedding.store import EMBEDDINGS
from daskksvd.fitting.saving import RESULT
from daskksvd.joint.saving import JOINT
from daskksvd.naming.store import LABELS
from daskksvd.view.data.atom_index import ATOM_INDEX, build_atom_index


def test_names_of_formats_stay():
    assert RESULT.format == "daskksvd.result"
    assert CODES.format == "daskksvd.codes"
    assert JOINT.format == "daskksvd.joint"
    assert LABELS.format == "daskksvd.labels"
    assert ATOM_INDEX.format == "daskksvd.atom_index"
    assert EMBEDDINGS.format == "daskksvd.embeddings"


def test_stores_say_their_kind_and_check_knows_it(tmp_path):
    samples = np.random.default_rng(0).standard_normal((300, 8)).astype("float32")
    result = daskksvd.fit(samples, n_components=12, n_nonzero_coefs=2, max_passes=1, random_state=0)
    result.save(tmp_path / "result.zarr")
    result.write_codes(da.from_array(samples), tmp_path / "codes.zarr")
    build_atom_index(tmp_path / "codes.zarr")
    kinds = {"result.zarr": "result", "codes.zarr": "codes", "codes-atoms.zarr": "index of atoms"}
    for name, kind in kinds.items():
        attributes = dict(zarr.open_group(tmp_path / name, mode="r").attrs)
        assert attributes["format"] == {"index of atoms": "daskksvd.atom_index"}.get(kind, f"daskksvd.{kind}")
        assert check(tmp_path / name).kind == kind


def test_the_page_of_stores_says_what_is_declared():
    assert stores_page.PAGE.read_text() == stores_page.page()


def test_what_is_written_is_what_is_declared(tmp_path):
    samples = np.random.default_rng(0).standard_normal((300, 8)).astype("float32")
    options = {"n_components": 12, "n_nonzero_coefs": 2, "max_passes": 1, "random_state": 0}
    result = daskksvd.consensus(samples, n_fits=2, whiten=0.25, **options).fit_encoder(samples)
    result.save(tmp_path / "result.zarr")
    result.write_codes(samples, tmp_path / "codes.zarr")
    build_atom_index(tmp_path / "codes.zarr")
    joint = daskksvd.fit_joint(samples, samples[:, :4], texts_as="predicted", whiten=0.25, **options)
    joint.save(tmp_path / "joint.zarr")
    captions = ["a red dog", "a cat on the grass", "a red cat"] * 100
    daskksvd.naming.save_labels(
        daskksvd.label(result.encode(samples), captions), tmp_path / "result-labels.zarr"
    )
    for store, path in (
        (RESULT, tmp_path / "result.zarr"),
        (JOINT, tmp_path / "joint.zarr"),
        (CODES, tmp_path / "codes.zarr"),
        (LABELS, LABELS.beside(tmp_path / "result.zarr")),
        (ATOM_INDEX, ATOM_INDEX.beside(tmp_path / "codes.zarr")),
    ):
        found = xr.open_zarr(path, consolidated=False, decode_times=False)
        for name, variable in store.variables.items():
            if store is JOINT and variable.optional and name not in found:  # words, costs
                continue
            kind = "string" if found[name].dtype.kind in "TUO" else str(found[name].dtype)
            assert found[name].dims == variable.dims and kind in variable.dtypes, name
