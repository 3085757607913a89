"""What autoencoder packages keep, as arrays: a linear encoder and decoder, or atoms for matching pursuit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from ..coding import OneShot, SparseCoder, SparsityTarget

Rows: TypeAlias = Literal["raw", "transformed"]


class Autoencoder(NamedTuple):
    """A linear encoder and decoder on rows ``y`` of d features, s latents, none of them negative.

    ``scores = (y - offset) @ encoder + bias``, and ``y ~ chosen scores @ decoder + offset``.

    Attributes
    ----------
    decoder : (s, d) float array
    offset : (d,) float array
    encoder : (d, s) float array or None
        None where the package has none, as with matching pursuit.
    bias : (s,) float array or None
    k : int or None
        Latents that are kept.
    threshold : float
        Scores above it are kept, where that is the rule.
    about : dict
        What else the file says of itself, as it says it.
    """

    decoder: np.ndarray
    offset: np.ndarray
    encoder: np.ndarray | None = None
    bias: np.ndarray | None = None
    k: int | None = None
    threshold: float = 0.0
    about: dict[str, Any] = {}  # noqa: RUF012  never changed

    def scores(self) -> np.ndarray | None:
        """Encoder and bias latent by latent, (s, d + 1), None without them."""
        if self.encoder is None or self.bias is None:
            return None
        return np.vstack([self.encoder, self.bias]).T


def sides(values: np.ndarray, coder: SparseCoder) -> np.ndarray:
    """Arrays by atom (m, ...), or by side of an atom (2 m, ...) where codes have signs."""
    return values if coder.target.nonnegative else np.concatenate([values, -values])


def linear_parts(coder: SparseCoder, encoder: OneShot, rows: Rows) -> Autoencoder:
    """An encoder fitted by `Result.fit_encoder` with all preprocessing folded in.

    Scores of an atom's two sides are each other's negatives, and so are what they add to a row: no more
    than one of the two is positive. Gains lie in the decoder, so that scores choose as they are.

    Parameters
    ----------
    coder : SparseCoder
    encoder : OneShot
    rows : {"raw", "transformed"}
        Whether it is for rows as they are, or for rows as ``coder.transformed`` makes them.
    """
    weights = encoder.weights.astype(np.float64)
    decoder, offset = _decoder(coder, rows)
    if rows == "raw":
        weights = weights @ _to_coding(coder).T
    gained = decoder * encoder.gains.astype(np.float64)[:, None]
    return Autoencoder(
        _single(sides(gained, coder)),
        _single(offset),
        _single(sides(weights, coder).T),
        _single(sides(encoder.bias.astype(np.float64), coder)),
        latents(coder.target, encoder),
        encoder.threshold,
    )


def latents(target: SparsityTarget, encoder: OneShot | None) -> int:
    """Latents of a row, on average: fewer than most where the code of a row may end sooner."""
    early = target.rtol > 0 or target.threshold > 0
    if not early or encoder is None or math.isnan(encoder.mean_nonzeros):
        return target.n_nonzero_coefs
    return max(1, round(encoder.mean_nonzeros))


def pursuit_parts(coder: SparseCoder, rows: Rows, package: str, otherwise: str) -> Autoencoder:
    """Atoms for the matching pursuit of another package, ``[D; -D]`` for codes with signs.

    Raises
    ------
    ValueError
        If its pursuit cannot do what the coder does; ``otherwise`` says what can.
    """
    target = coder.target
    if rows == "raw" and coder.transform.scale is not None:
        raise ValueError(
            f"result codes scaled or whitened rows, which the matching pursuit of {package} cannot; "
            f"pass rows='transformed', and it rows of result.coder.transformed(rows){otherwise}"
        )
    if target.rtol > 0 or target.threshold > 0:
        raise ValueError(
            f"result codes until rtol={target.rtol:g} or threshold={target.threshold:g} is met, which the "
            f"matching pursuit of {package} does not know; code with n_nonzero_coefs alone{otherwise}"
        )
    decoder, offset = _decoder(coder, rows)
    return Autoencoder(_single(sides(decoder, coder)), _single(offset), k=target.n_nonzero_coefs)


def map_parts(coder: SparseCoder) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Decoder (m, d), offset (d,), and what centred rows are multiplied with to be coded (d, d'); float32."""
    return (*map(_single, _decoder(coder, "raw")), _single(_to_coding(coder)))


def _decoder(coder, rows):
    """What codes are multiplied with, and what is added; float64."""
    d = coder.dictionary.shape[1]
    if rows == "transformed":
        return coder.dictionary.astype(np.float64), np.zeros(d)
    transform = coder.transform
    decoder = transform._replace(mean=None).undo(coder.dictionary.astype(np.float64))
    return decoder, np.zeros(d) if transform.mean is None else transform.mean


def _to_coding(coder):
    """The matrix (d, d') of the transform, float64."""
    transform = coder.transform
    d = coder.dictionary.shape[1]
    matrix = np.eye(d) if transform.basis is None else transform.basis.astype(np.float64)
    return matrix if transform.scale is None else matrix / transform.scale


def _single(values):
    return np.ascontiguousarray(values, np.float32)
