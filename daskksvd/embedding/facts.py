"""What a store needs to know of a model, asked of it here or on a worker."""

import os
from typing import NamedTuple

from ..arguments import integer, number
from ..machine.files import absolute
from .layout import Layout, drawn_patches
from .models import cached_encoder


def check_share(tokens, patch_share, seed):
    """Refuse a share of patches that is none, or goes with no patches."""
    number("patch_share", patch_share, 0, 1, "a share of the patches, more than 0 and at most 1")
    if not patch_share:
        raise ValueError("patch_share=0; it must be a share of the patches, more than 0 and at most 1")
    if patch_share != 1 and tokens is None:
        raise ValueError(f"patch_share={patch_share} goes with tokens='patches' or 'cls+patches'")
    integer("random_state", seed, 0)


class Facts(NamedTuple):
    """What a store needs to know of a model.

    Attributes
    ----------
    identity : dict
    d, batch : int
        Numbers of a vector, and images of a forward pass.
    grid, frame
        See `models.Encoder`.
    """

    identity: dict
    d: int
    batch: int
    grid: tuple[int, int] | None
    frame: dict | None

    def layout(self, tokens, patch_share, seed):
        """Which tokens are rows; None where an image is one."""
        if tokens is None:
            return None
        n_patches = drawn_patches(self.grid, patch_share)
        drawn = n_patches < self.grid[0] * self.grid[1]
        return Layout(self.grid, n_patches, tokens != "patches", seed if drawn else 0, self.frame)


def facts_of(encoder):
    """`Facts` of a loaded model."""
    return Facts(encoder.identity(), encoder.d, encoder.default_batch(), encoder.grid, encoder.frame)


def ask_workers(executor, source, spec):
    """What `describe_encoder` says on a worker.

    Refuses a path of this machine that workers do not see: every image would be rejected.
    """
    try:
        if isinstance(source, (str, os.PathLike)) and os.path.exists(source):
            executor.check_path(absolute(source), "source")
        return executor.retrying(lambda: executor.gather([executor.submit(describe_encoder, spec)])[0])
    except KeyboardInterrupt:
        executor.cancel()
        raise


def describe_encoder(spec):
    """What the driver needs to know of a model that workers have."""
    return facts_of(cached_encoder(spec))
