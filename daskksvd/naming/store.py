"""Labels on disk: a plain Zarr group that xarray reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ..fitting.saving import RESULT
from ..machine.files import absolute, exists
from ..stores import Store, Variable
from .resuming import discard

if TYPE_CHECKING:
    import os

    import xarray as xr

_CHUNK_ATOMS = 512
"""Atoms in one stored chunk: looking one up reads a few megabytes."""

LABELS = Store(
    kind="labels",
    format="daskksvd.labels",
    version=1,
    variables={
        "correlation": Variable(
            ("word", "atom"),
            ("float64",),
            "Pearson correlation of the word with the use of the atom, of either sign",
        ),
        "phi": Variable(
            ("word", "atom"),
            ("float64",),
            "Pearson correlation of the word with the use of the atom's majority side",
        ),
        "weighted_correlation": Variable(
            ("word", "atom"), ("float64",), "the same with the absolute coefficient in place of use"
        ),
        "joint": Variable(("word", "atom"), ("int64",), "samples with the word that use the majority side"),
        "lift": Variable(("word", "atom"), ("float64",), "joint samples over those expected by chance"),
        "shrunk_lift": Variable(("word", "atom"), ("float64",), "lift with samples added to both counts"),
        "pmi": Variable(("word", "atom"), ("float64",), "pointwise mutual information, bits"),
        "f1": Variable(
            ("word", "atom"),
            ("float64",),
            "harmonic mean of precision and recall of the word as told by the atom",
        ),
        "g": Variable(("word", "atom"), ("float64",), "signed root of the likelihood ratio G^2"),
        "p_value": Variable(
            ("word", "atom"), ("float64",), "chance of as many joint samples or more, one-sided"
        ),
        "q_value": Variable(
            ("word", "atom"), ("float64",), "false discovery rate (Benjamini-Hochberg) over all pairs tested"
        ),
        "minority_joint": Variable(
            ("word", "atom"), ("int64",), "samples with the word that use the minority side"
        ),
        "minority_phi": Variable(("word", "atom"), ("float64",), "phi of the minority side"),
        "minority_g": Variable(("word", "atom"), ("float64",), "g of the minority side"),
        "minority_q_value": Variable(
            ("word", "atom"), ("float64",), "q_value of the minority side; NaN where it has too few uses"
        ),
        "word_count": Variable(("word",), ("int64",), "samples with the word"),
        "use_count": Variable(("atom",), ("int64",), "samples that use the atom"),
        "orientation": Variable(
            ("atom",), ("int64",), "sign of most coefficients of the atom, its majority side"
        ),
        "atom_count": Variable(("atom",), ("int64",), "samples that use the majority side"),
        "minority_count": Variable(("atom",), ("int64",), "samples that use the minority side"),
        "atom_q_value": Variable(
            ("atom",),
            ("float64",),
            "false discovery rate of the atom having any word (Simes, Benjamini-Hochberg)",
        ),
        "significant": Variable(("atom",), ("bool",), "whether the atom has a significant word"),
        "top_word": Variable(
            ("atom", "rank"),
            ("string",),
            "significant words of the majority side, best first; empty where fewer",
        ),
        "specific_word": Variable(
            ("atom",), ("string",), "of its other significant words the one of largest shrunk lift"
        ),
        "minority_word": Variable(("atom", "rank"), ("string",), "significant words of the minority side"),
    },
    refusal="not labels of daskksvd",
    suffix="-labels",
)


def save_labels(labels: xr.Dataset, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Save labels as a Zarr group that `xarray.open_zarr` reads too; removes their checkpoint.

    Parameters
    ----------
    labels : xarray.Dataset
        From `label`.
    path : str or path
    overwrite : bool
        Whether labels that are there may be replaced.

    Raises
    ------
    FileExistsError, TypeError, ValueError
        If something is there that may not be replaced, or ``labels`` are none.
    """
    check_labels(labels)
    sizes = {**labels.sizes, "atom": min(labels.sizes["atom"], _CHUNK_ATOMS)}
    chunks = {name: tuple(sizes[dim] for dim in labels[name].dims) for name in LABELS.variables}
    LABELS.save(labels, path, overwrite, chunks)
    if "checkpoint" in labels.encoding:  # which is of no more use
        discard(labels.encoding.pop("checkpoint"))


def open_labels(path: str | os.PathLike[str]) -> xr.Dataset:
    """Open labels that `save_labels` saved; values are read when needed.

    Parameters
    ----------
    path : str or path
        Of the labels, or of the result beside which they lie.

    Returns
    -------
    xarray.Dataset

    Raises
    ------
    FileNotFoundError, ValueError
        If there are no labels.
    DamagedStore
        If a file is missing or is not what was written, now or when values are read.
    """
    path = absolute(path)
    if RESULT.is_at(path):
        beside = LABELS.beside(path)
        if not exists(beside):
            raise FileNotFoundError(f"path={path!r} is a result without labels: there is no {beside!r}")
        path = beside
    opened = LABELS.open(path)
    opened.verify()
    return opened.dataset(lazy=True)


def check_labels(labels: object, m: int | None = None, owner: str = "the dictionary") -> None:
    """Refuse what `label` did not make, or labels of other atoms.

    Parameters
    ----------
    labels : object
    m : int, optional
        Atoms that labels must be of.
    owner : str
        What has these atoms.

    Raises
    ------
    TypeError, ValueError
    """
    missing = [name for name in LABELS.variables if name not in getattr(labels, "data_vars", ())]
    if missing:
        raise TypeError(
            f"labels is a {type(labels).__name__} without {', '.join(missing[:3])}; it must be what "
            "daskksvd.label returned"
        )
    found = cast("xr.Dataset", labels).sizes["atom"]
    if m not in (None, found):
        raise ValueError(f"labels are of {found} atoms, and {owner} of {m}; they do not belong together")
