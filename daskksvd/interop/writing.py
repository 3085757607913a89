"""A dictionary and its encoder to files of other packages."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from ..arguments import choice
from ..machine.files import absolute, exists, replaced, written_whole
from .layouts import overcomplete, saelens, saev, visaebench
from .parts import Autoencoder, Rows, latents, linear_parts, map_parts, pursuit_parts

if TYPE_CHECKING:
    from ..coding import OneShot, SparseCoder

Format: TypeAlias = Literal["saelens", "overcomplete", "saev", "visaebench"]
Architecture: TypeAlias = Literal["pursuit", "matching_pursuit", "topk", "jumprelu"]

ARCHITECTURES: dict[str, tuple[str, ...]] = {
    "saelens": ("topk", "jumprelu", "matching_pursuit", "pursuit"),
    "overcomplete": ("matching_pursuit", "topk"),
    "saev": ("topk", "jumprelu"),
    "visaebench": ("topk", "jumprelu"),
}

_WRITERS: dict[str, Callable[[str, str, Autoencoder, dict[str, Any]], None]] = {
    "saelens": saelens.write,
    "overcomplete": overcomplete.write,
    "saev": saev.write,
    "visaebench": visaebench.write,
}

FOLDERS = ("saelens", "visaebench")
"""Formats that are folders; the others are files."""


OWN_FILES = {saelens.CONFIG, saelens.WEIGHTS, visaebench.CONFIG, visaebench.WEIGHTS}
"""What folders of exports hold."""


def export(
    coder: SparseCoder,
    encoder: OneShot | None,
    format: str,
    path: str | os.PathLike[str],
    architecture: str | None = None,
    rows: Rows = "raw",
    metadata: dict[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """What `daskksvd.Result.export` does.

    Raises
    ------
    ValueError
        If the format cannot hold it; the message says what can.
    FileExistsError
        If something is there that may not be replaced.
    """
    choice("format", format, get_args(Format))
    allowed = ARCHITECTURES[format]
    if architecture is None:
        architecture = "matching_pursuit" if encoder is None and "matching_pursuit" in allowed else allowed[0]
    choice("architecture", architecture, allowed, f"for format={format!r}")
    choice("rows", rows, get_args(Rows))
    metadata = _checked(metadata)
    place = absolute(path)
    if exists(place) and not overwrite:
        raise FileExistsError(f"path={place!r} exists; pass overwrite=True to replace it")
    if exists(place) and os.path.isdir(place) != (format in FOLDERS):
        kind = "folder" if format in FOLDERS else "file"
        raise FileExistsError(f"path={place!r} exists and is no {kind}; format={format!r} writes a {kind}")
    if exists(place) and os.path.isdir(place) and not (saelens.is_at(place) or visaebench.is_at(place)):
        raise FileExistsError(f"path={place!r} is a folder of something else; name another path")
    if exists(place) and os.path.isdir(place) and (others := sorted(set(os.listdir(place)) - OWN_FILES)):
        raise FileExistsError(
            f"path={place!r} has {others[0]!r} beside the files of an export, which would go with the rest; "
            "name another path"
        )
    if architecture == "pursuit":
        _write_pursuit(place, coder, encoder, rows, metadata)
        return
    parts = _parts(coder, encoder, format, architecture, rows)
    writing = written_whole if format in FOLDERS else replaced
    with writing(place) as inner:
        _WRITERS[format](inner, architecture, parts, metadata)


def _parts(coder, encoder, format, architecture, rows):
    """The arrays that an architecture takes, or why there are none."""
    if architecture == "matching_pursuit":
        otherwise = "" if format == "overcomplete" else ", or export architecture='pursuit' or 'topk'"
        return pursuit_parts(coder, rows, format, otherwise)
    if encoder is None:
        raise ValueError(
            f"architecture={architecture!r} takes an encoder, and none was fitted; call fit_encoder first"
        )
    if architecture == "topk" and (coder.target.rtol > 0 or coder.target.threshold > 0):
        raise ValueError(
            "architecture='topk' keeps the same number of every row, and the result codes until rtol="
            f"{coder.target.rtol:g} or threshold={coder.target.threshold:g} is met; pass "
            "architecture='jumprelu'"
        )
    return linear_parts(coder, encoder, rows)


def _write_pursuit(place, coder, encoder, rows, metadata):
    """A folder of SAELens for the class of `daskksvd.interop.saelens`."""
    if rows != "raw":
        raise ValueError("rows='transformed' goes with formats that do not transform; 'pursuit' does")
    decoder, offset, matrix = map_parts(coder)
    m, d = decoder.shape
    extra = coder.target._asdict()
    if encoder is not None:
        metadata = {saelens.MEAN_COUNT: latents(coder.target, encoder), **metadata}
    tensors = {"W_dec": decoder, "b_dec": offset, "to_coding": matrix}
    with written_whole(place) as inner:
        saelens.write_folder(inner, saelens.PURSUIT, (d, m), extra, tensors, metadata)


def _checked(metadata):
    """Metadata as a dict that JSON holds."""
    if metadata is None:
        return {}
    if not isinstance(metadata, dict) or not all(isinstance(name, str) for name in metadata):
        raise TypeError(f"metadata is {metadata!r}; it must be a dict with names of text")
    try:
        json.dumps(metadata)
    except (TypeError, ValueError) as error:
        raise TypeError(f"metadata has a value that JSON does not hold ({error})") from error
    return metadata
