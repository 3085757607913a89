"""Words of atoms by a text encoder, on disk: a plain Zarr group that xarray reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...stores import Store, Variable

if TYPE_CHECKING:
    import os

    import xarray as xr

SIDES = ("+", "-")
"""The sides of an atom: samples with positive, and with negative coefficients."""

TOKENS = Store(
    kind="tokens",
    format="daskksvd.tokens",
    version=1,
    variables={
        "word": Variable(
            ("atom", "side", "slot"), ("string",), "words of a side, the best first; empty where fewer"
        ),
        "weight": Variable(
            ("atom", "side", "slot"), ("float64",), "what a coefficient of 1 adds to the weight of the word"
        ),
        "uses": Variable(("atom", "side"), ("int64",), "samples with captions that use the side"),
        "vector": Variable(
            ("atom", "side", "encoding"),
            ("float32",),
            "what a coefficient of 1 adds to the encoding of the captions",
            optional=True,
        ),
        "vocabulary": Variable(("entry",), ("string",), "words that were chosen from", optional=True),
    },
    refusal="not words of atoms by a text encoder",
    suffix="-tokens",
)


def save_tokens(mapping: xr.Dataset, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Save words of atoms as a Zarr group that `xarray.open_zarr` reads too.

    Parameters
    ----------
    mapping : xarray.Dataset
        From `map_tokens` or `words_from_encoder`.
    path : str or path
    overwrite : bool
        Whether words that are there may be replaced.

    Raises
    ------
    FileExistsError, TypeError, ValueError
        If something is there that may not be replaced, or ``mapping`` is none.
    """
    missing = [
        name
        for name, variable in TOKENS.variables.items()
        if not variable.optional and name not in getattr(mapping, "data_vars", ())
    ]
    if missing:
        raise TypeError(
            f"mapping is a {type(mapping).__name__} without {', '.join(missing)}; it must be what "
            "naming.map_tokens returned"
        )
    chunks = {name: mapping[name].shape for name in TOKENS.variables if name in mapping}
    TOKENS.save(mapping, path, overwrite, chunks)


def open_tokens(path: str | os.PathLike[str]) -> xr.Dataset:
    """Open words of atoms that `save_tokens` saved.

    Parameters
    ----------
    path : str or path
        Of the words, or of the result beside which they lie.

    Returns
    -------
    xarray.Dataset

    Raises
    ------
    FileNotFoundError, ValueError
        If there are none.
    DamagedStore
        If a file is missing or is not what was written.
    """
    from ...fitting.saving import RESULT

    if RESULT.is_at(path):
        path = TOKENS.beside(path)
    opened = TOKENS.open(path)
    opened.verify()
    found = opened.dataset()
    # as map_tokens gives them: NumPy's own strings of variable length are no objects
    return found.assign(
        {name: found[name].astype(object) for name in ("word", "vocabulary") if name in found}
    )
