"""`plan_embed`: the bytes and hours that images will take."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..arguments import integer
from ..execution.threads import usable_cores
from .facts import check_share, facts_of
from .images import THUMBNAIL_BYTES
from .models import TEXTS_ONLY, cached_encoder, check_spec
from .models.threads import threads_kept

if TYPE_CHECKING:
    from typing import Literal

    from .layout import Tokens
    from .models.base import Pooling, Precision

PLAN_IMAGES = 8
"""Images of the pass that is timed, on a processor; after one that warms up."""

PLAN_SIDE = (375, 500)
"""Height and width of the images that are made up for it, as photographs of the web have."""


class EmbedPlan(NamedTuple):
    """What `daskksvd.embed` will take; printed, a few lines.

    Attributes
    ----------
    n_images, rows, n_features : int
        Of the store: images, rows, and numbers of a row.
    dtype : str
    n_bytes : int
        Of vectors, and of thumbnails at most.
    image_seconds : float
        Of one thread, or of a graphics card, for an image: preprocessing and forward pass.
    n_threads : int
        Images worked on side by side.
    seconds : float
        Of all images, where servers and disks keep up.
    """

    n_images: int
    rows: int
    n_features: int
    dtype: str
    n_bytes: int
    image_seconds: float
    n_threads: int
    seconds: float

    def __str__(self) -> str:
        from dask.utils import format_bytes

        divisor, unit = (3600, "hours") if self.seconds >= 3600 else (60, "minutes")
        return (
            f"{self.n_images:,} images: {self.rows:,} rows x {self.n_features:,} {self.dtype}, "
            f"{format_bytes(self.n_bytes)}\n{self.seconds / divisor:,.1f} {unit} here: "
            f"{1000 * self.image_seconds:,.0f} ms an image, {self.n_threads} at a time"
        )


def plan_embed(
    n_images: int,
    *,
    model: str | os.PathLike[str],
    pretrained: str | None = None,
    revision: str | None = None,
    pooling: Pooling = "pooled",
    layer: int | Sequence[int] | None = None,
    tokens: Tokens | None = None,
    patch_share: float = 1.0,
    resize: int | Literal[False] | None = None,
    dtype: Literal["float16", "float32"] = "float16",
    thumbnails: int | None = None,
    precision: Precision = "auto",
    device: str = "auto",
) -> EmbedPlan:
    """Say what `embed` would take for so many images, after timing a few that are made up.

    Parameters
    ----------
    n_images : int
    model, pretrained, revision, pooling, layer, tokens, patch_share, resize, dtype, thumbnails, precision, \
device
        As for `embed`.

    Returns
    -------
    EmbedPlan

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of those allowed.

    Notes
    -----
    Not in it: fetching, reading and decoding images, which goes on beside the model (some 6 ms of a
    core an image), and captions.
    """
    integer("n_images", n_images, 1)
    spec = check_spec(
        model, pretrained=pretrained, revision=revision, pooling=pooling, layer=layer, resize=resize,
        precision=precision, device=device, tokens=tokens,
    )  # fmt: skip
    if spec.library in TEXTS_ONLY:
        raise ValueError(f"model={os.fspath(model)!r} encodes sentences, not images")
    if dtype not in ("float16", "float32"):
        raise ValueError(f"dtype={dtype!r}; it must be 'float16' or 'float32'")
    check_share(spec.tokens, patch_share, 0)
    encoder = cached_encoder(spec)
    facts = facts_of(encoder)
    layout = facts.layout(spec.tokens, patch_share, 0)
    each = 1 if layout is None else layout.rows_per_image
    on_processor = encoder.device.type == "cpu"
    seconds = _image_seconds(encoder, PLAN_IMAGES if on_processor else facts.batch, on_processor)
    n_threads = usable_cores() if on_processor else 1
    n_bytes = n_images * (each * facts.d * np.dtype(dtype).itemsize + (THUMBNAIL_BYTES if thumbnails else 0))
    return EmbedPlan(
        n_images, n_images * each, facts.d, dtype, n_bytes, seconds, n_threads, n_images * seconds / n_threads
    )


def _image_seconds(encoder, batch, on_processor):
    """Seconds of an image: of the time of this thread on a processor, by the clock elsewhere."""
    from PIL import Image

    clock = time.thread_time if on_processor else time.perf_counter
    shape = encoder.shape[1:] if encoder.shape and not encoder.resizes else PLAN_SIDE
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 256, (*shape, 3), np.uint8)) for _ in range(batch)]
    with threads_kept(1 if on_processor else None):
        encoder.encode([encoder.prepare(images[0])])
        began = clock()
        encoder.encode([encoder.prepare(image) for image in images])
        return (clock() - began) / batch
