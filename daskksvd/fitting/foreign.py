"""Dictionaries of other packages as results."""

from __future__ import annotations

import os

import numpy as np

from ..arguments import flag, integer
from ..coding import OneShot, SparsityTarget
from ..interop.reading import read
from ..machine.files import absolute
from ..rows import Transform
from ..tracking.history import HistoryRecorder
from .result import Result

IMPORTED = "imported"
"""Why learning stopped, of what was learned elsewhere."""

ANTIPODAL = 1e-5
"""Latents whose decoders add up to less than this part of their norms are the two sides of one atom."""


def from_sae(
    path: str | os.PathLike[str], *, n_nonzero_coefs: int | None = None, nonnegative: bool = False
) -> Result:
    """The dictionary of a sparse autoencoder, to code with by pursuit, to name and to look at.

    Atoms are the rows of its decoder, of unit norm, in their order; rows are centred by its decoder bias.
    Its encoder comes along where its codes are those of the atoms, for ``method="oneshot"``: the norms of
    the decoder are its gains. A decoder ``[D; -D]``, as `Result.export` writes, becomes D with signs.

    Parameters
    ----------
    path : str or path
        A folder of SAELens (``cfg.json``, ``sae_weights.safetensors``) or ViSAEBench (``config.json``,
        ``model.safetensors`` or ``sae.pt``), a file of saev, or a state_dict of overcomplete or of
        ViSAEBench's names (``.pt``, ``.safetensors``). Pickled code is never run.
    n_nonzero_coefs : int, optional
        Most nonzeros a row; by default as the file says.
    nonnegative : bool
        Whether coefficients are positive only, as those of autoencoders are. Signed pursuit has less error.

    Returns
    -------
    Result
        With an empty history, stopped by ``"imported"``.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or what it holds is no dictionary; the message says what was found.
    ImportError
        If PyTorch or safetensors is not installed.
    """
    if n_nonzero_coefs is not None:
        n_nonzero_coefs = integer("n_nonzero_coefs", n_nonzero_coefs, 1)
    nonnegative = flag("nonnegative", nonnegative)
    place = absolute(path)
    found = read(place)
    norms = np.linalg.norm(found.decoder.astype(np.float64), axis=1)
    if not (norms > 0).all():
        raise ValueError(
            f"path={place!r} has {int((norms == 0).sum())} latents whose decoder is zero (first: "
            f"{int(np.argmin(norms))}); atoms must have a direction"
        )
    decoder, encoder = found.decoder / norms[:, None], None
    scores = found.scores()  # latent by latent
    m = len(decoder)
    signed = not nonnegative and _has_sides(decoder, norms)
    if signed:
        m //= 2
        decoder = decoder[:m]
    if scores is not None and (nonnegative or (signed and _has_sides(scores))):
        encoder = OneShot(scores[:m, :-1].copy(), scores[:m, -1].copy(), norms[:m], found.threshold)
    k = n_nonzero_coefs or found.k
    if k is None:
        raise ValueError(f"path={place!r} does not say how many latents are active; pass n_nonzero_coefs=")
    settings = {
        "n_components": len(decoder),
        "n_nonzero_coefs": min(k, *decoder.shape),
        "nonnegative": nonnegative,
        "imported_from": {"path": place, **found.about},
    }
    mean = found.offset.astype(np.float64) if found.offset.any() else None
    return Result(
        decoder.astype(np.float32),
        Transform(mean),
        SparsityTarget(settings["n_nonzero_coefs"], nonnegative=nonnegative),
        HistoryRecorder().to_dataset(),
        IMPORTED,
        settings,
        encoder=None if encoder is None else encoder.cast(np.float32),
    )


def _has_sides(vectors, norms=None):
    """Whether the second half of some vectors is the negative of the first; of nothing it is not."""
    m, odd = divmod(len(vectors), 2)
    if odd or m == 0:
        return False
    sums = np.abs(vectors[:m] + vectors[m:]).max(axis=1)
    alike = norms is None or np.allclose(norms[:m], norms[m:], rtol=ANTIPODAL)
    return bool(alike and (sums <= ANTIPODAL * np.maximum(np.abs(vectors[:m]).max(axis=1), 1e-30)).all())
