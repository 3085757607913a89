"""From paths or objects to a `View`: what is there is found, what is missing is missed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import xarray as xr

from ...coding.store import CODES, open_codes
from ...fitting.result import load
from ...machine.files import absolute, exists
from ...naming.store import LABELS, check_labels, open_labels
from ...naming.tokens.mapping import is_mapping
from ...naming.tokens.store import TOKENS, open_tokens
from ...stores import beside
from ...tracking.parts import shows_parts
from .atom_index import ATOM_INDEX, build_atom_index, open_atom_index
from .captions import CaptionsByRow
from .images import open_images
from .patches import open_patches
from .turning import Space
from .turning_patches import PatchSpace
from .view import View

if TYPE_CHECKING:
    from ...captions.by_sample import CaptionsLike
    from ...coding.inputs import CodesLike
    from ...embedding.store import Embeddings
    from ...embedding.texts import EncoderLike
    from ...fitting.result import Result


@shows_parts("index of atoms")
def open_view(
    result: Result | str | os.PathLike[str],
    *,
    codes: CodesLike | None = None,
    labels: xr.Dataset | str | os.PathLike[str] | None = None,
    embeddings: Embeddings | str | os.PathLike[str] | None = None,
    captions: CaptionsLike | None = None,
    images: str | os.PathLike[str] | Sequence[Any] | None = None,
    scores: xr.Dataset | str | os.PathLike[str] | None = None,
    tokens: xr.Dataset | str | os.PathLike[str] | None = None,
    encoder: EncoderLike | None = None,
    fetch: bool = False,
    progress: bool = False,
) -> View:
    """Open a result to be looked at, with what explains it.

    Parameters
    ----------
    result : Result or path
        What `daskksvd.fit` returned or `Result.save` saved.
    codes : path, dask.array.Array, sparse.COO, SciPy sparse or dense array, optional
        Codes of the samples, n x m. Beside a saved result ``RESULT-codes.zarr``
        or ``codes.zarr`` is found. An index of them by atom is made beside
        them, once; that of codes that are no path stays in memory.
    labels : xarray.Dataset or path, optional
        From `daskksvd.label`; ``RESULT-labels.zarr`` is found.
    embeddings : Embeddings or path, optional
        What `daskksvd.embed` made of the same samples: captions, thumbnails
        and where images came from.
    captions : anything `daskksvd.label` takes, optional
        In place of those of the embeddings.
    images : path, or sequence of images, optional
        Folder in which the images lie as the embeddings name them, or the captions, by row or in the
        order of the rows; or images
        (or paths, or captioned scenes) by sample. Wins over thumbnails.
    scores : xarray.Dataset or path, optional
        From `evaluation.score_labels`; ``RESULT-scores.zarr`` is found.
    tokens : xarray.Dataset or path, optional
        Words by a text encoder, from `naming.map_tokens`; ``RESULT-tokens.zarr`` is found.
    encoder : str, path, TextEncoder or callable, optional
        The text side of the contrastive model that the embeddings are of, to say which words are near
        when an atom is turned; see `daskksvd.embed_texts`. Of patches the model that they are of, by its
        name or folder: images are run through it with atoms turned.
    fetch : bool
        Whether images that are only known by their URL may be fetched from
        the network.
    progress : bool
        Whether to show a bar of the samples that are put into an index of atoms, the first time that codes
        are looked at.

    Returns
    -------
    View

    Raises
    ------
    FileNotFoundError, TypeError, ValueError
        If something named is not there, or belongs to another dictionary.
    """
    path = None
    if isinstance(result, (str, os.PathLike)):
        path, result = absolute(result), load(result)
    elif not hasattr(result, "dictionary") or not hasattr(result, "history"):
        raise TypeError(
            f"result is a {type(result).__name__}; it must be a daskksvd.Result, or the path of a saved one"
        )
    m = result.dictionary.shape[0]
    embeddings = _embeddings(embeddings)
    codes = _beside(codes, path, CODES)
    labels = _labels(_beside(labels, path, LABELS), m)
    if scores is None and path is not None and exists(beside(path, "-scores")):
        scores = beside(path, "-scores")
    scores = _scores(scores, m)
    tokens = _tokens(_beside(tokens, path, TOKENS), m)
    index = patches = None
    if codes is not None:
        patches, codes = open_patches(codes, embeddings)
        index = _index(codes, m)
    n = _rows(index, embeddings)
    sample_ids = None if embeddings is None else embeddings.sample
    if captions is None and embeddings is not None and embeddings.attrs["n_captions"]:
        captions = embeddings.path
    if captions is not None:
        captions = CaptionsByRow(captions, sample_ids, embeddings, n)
    names = None
    if isinstance(images, (str, os.PathLike)) and captions is not None and embeddings is None:
        names = captions.names_by_row(os.fspath(images), n)
    return View(
        result,
        index=index,
        labels=labels,
        captions=captions,
        images=open_images(images, embeddings, sample_ids, fetch=fetch, names=names),
        scores=scores,
        tokens=tokens,
        patches=patches,
        space=_space(embeddings, patches, n, result, encoder),
        n=n,
        name=None if path is None else os.path.basename(path.rstrip("/")).removesuffix(".zarr"),
    )


def _beside(value, result, store):
    """What was given, or the path of what lies beside the result, if anything does."""
    if value is not None or result is None:
        return value
    return store.found_beside(result)


def _index(codes, m):
    """The index of codes by atom: that beside them, or a new one."""
    if not isinstance(codes, (str, os.PathLike)):
        return build_atom_index(codes, n_components=m)
    path = ATOM_INDEX.beside(codes)
    index = open_atom_index(path, codes) if exists(path) else None
    if index is not None and index.m == m:
        return index
    found = open_codes(codes).shape[1]
    if found != m:
        raise ValueError(f"codes={os.fspath(codes)!r} are of {found} atoms; the dictionary has {m}")
    return build_atom_index(codes, n_components=m)


def _labels(labels, m) -> xr.Dataset | None:
    if labels is None:
        return None
    if isinstance(labels, (str, os.PathLike)):
        labels = open_labels(labels)
    check_labels(labels, m)
    return labels


def _tokens(tokens, m) -> xr.Dataset | None:
    if tokens is None:
        return None
    if isinstance(tokens, (str, os.PathLike)):
        tokens = open_tokens(tokens)
    if not is_mapping(tokens):
        raise TypeError(
            f"tokens is a {type(tokens).__name__}; it must be what naming.map_tokens returned, or its path"
        )
    if tokens.sizes["atom"] != m:
        raise ValueError(f"tokens are of {tokens.sizes['atom']} atoms; the dictionary has {m}")
    return tokens[["word", "weight", "uses"]].load()


def _scores(scores, m) -> xr.Dataset | None:
    if scores is None:
        return None
    if isinstance(scores, (str, os.PathLike)):
        if not exists(scores):
            raise FileNotFoundError(f"scores={os.fspath(scores)!r}: there is no such path")
        scores = xr.open_zarr(absolute(scores), consolidated=False, chunks=None)
    missing = [name for name in ("word", "correlation", "q_value") if name not in scores]
    if missing:
        raise TypeError(f"scores have no {missing[0]}; they must be what evaluation.score_labels returned")
    if scores.sizes["atom"] != m:
        raise ValueError(f"scores are of {scores.sizes['atom']} atoms; the dictionary has {m}")
    return scores


def _embeddings(embeddings) -> Embeddings | None:
    if isinstance(embeddings, (str, os.PathLike)):
        from ...embedding import open_embeddings  # takes long, and few need it

        return open_embeddings(embeddings)
    if embeddings is not None and not hasattr(embeddings, "thumbnail"):
        raise TypeError(
            f"embeddings is a {type(embeddings).__name__}; it must be a daskksvd.Embeddings, or the folder "
            "that daskksvd.embed made"
        )
    return embeddings


def _space(embeddings, patches, n, result, encoder) -> Space | None:
    """Vectors in which atoms are turned, of whole samples or of patches: those that the dictionary is of."""
    array = getattr(embeddings, "array", None)
    if array is None or array.shape[1] != result.dictionary.shape[1]:
        return None
    if patches is not None and encoder is None:
        return PatchSpace(embeddings)
    if patches is not None:
        from .running import patch_model  # takes long, and few need it

        return PatchSpace(embeddings, patch_model(encoder, embeddings))
    if array.shape[0] != n:
        return None
    if encoder is None:
        return Space(array)
    from .running import text_model  # takes long, and few need it

    return Space(array, text_model(encoder, embeddings).encode)


def _rows(index, embeddings):
    """Samples, if anything tells."""
    n = None if embeddings is None else getattr(embeddings, "n_images", None) or len(embeddings)
    if index is not None and n not in (None, index.n):
        raise ValueError(f"embeddings has {n:,} samples, codes have {index.n:,}; they must be of the same")
    return index.n if index is not None else n
