"""`embed`: from captioned images to a store of vectors; `embed_texts`."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..arguments import flag, integer, number
from ..execution import WORKER_TIMEOUT, WorkersLost, make_executor
from ..machine.files import absolute, telling_disk_full
from ..tracking.parts import shows_parts
from .facts import ask_workers, check_share, facts_of
from .images import IMAGE_PIXELS
from .models import TEXTS_ONLY, cached_encoder, check_spec, check_text_spec, forget_encoder
from .opening import open_embeddings
from .pipeline import Options, batches_of, run_here, run_on_cluster
from .sources import open_source
from .store import read_rejects
from .texts import TEXT_BATCH, check_texts
from .writer import Writer

if TYPE_CHECKING:
    from distributed import Client

    from .layout import Tokens
    from .models.base import Pooling, Precision
    from .store import Embeddings

EMBED_CHUNK_BYTES = 16 * 2**20
"""Size aimed at for one chunk of embeddings; the store grows by whole chunks."""

EMBED_LEAST_ROWS = 1024
"""Rows of a chunk at least, as a store of few images may grow."""


def embed(
    source: str | os.PathLike[str] | Iterable[Any],
    out: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str],
    pretrained: str | None = None,
    revision: str | None = None,
    pooling: Pooling = "pooled",
    layer: int | Sequence[int] | None = None,
    tokens: Tokens | None = None,
    patch_share: float = 1.0,
    random_state: int = 0,
    resize: int | Literal[False] | None = None,
    captions: str | os.PathLike[str] | None = None,
    split: str | None = None,
    config: str | None = None,
    data_revision: str | None = None,
    image_column: str | None = None,
    url_column: str | None = None,
    caption_columns: str | Sequence[str] | None = None,
    n_samples: int | None = None,
    captions_required: bool = True,
    dtype: Literal["float16", "float32"] = "float16",
    thumbnails: int | None = None,
    batch_size: int | None = None,
    chunk_rows: int | None = None,
    precision: Precision = "auto",
    device: str = "auto",
    allow_private: bool = False,
    timeout: float = 10.0,
    max_pixels: int = IMAGE_PIXELS,
    client: Client | None = None,
    worker_timeout: float | None = WORKER_TIMEOUT,
    overwrite: bool = False,
    progress: bool = False,
) -> Embeddings:
    """Run a Vision Transformer over captioned images, into a store that `fit` reads.

    A run that was stopped, by whatever, goes on where it was when it is called
    again with the same arguments. What cannot be embedded is listed with the
    reason in the store's ``rejects``, and never ends a run.

    Parameters
    ----------
    source : str, path or iterable
        A Hugging Face data set, by name or folder; a folder of images; tar
        shards (WebDataset), as a file, a pattern or a list; or an iterable of
        ``(image, caption)`` or ``(image, captions)``, with images as files, bytes,
        URLs, arrays or PIL images.
    out : str or path
        Folder to write: ``embeddings.zarr``, ``captions``, ``rejects``. See
        `open_embeddings`.
    model : str or path
        A model of transformers by hub id or folder, ``"open_clip:ARCHITECTURE"``,
        or ``"scenes"``, the small one that is part of this package.
    pretrained : str, optional
        For open_clip: tag or file of the weights.
    revision : str, optional
        Commit, tag or branch of the model.
    pooling : {"pooled", "cls", "mean", "cls+mean"}
        One vector an image: what the model itself makes of it, the class token,
        the mean of the patches, or both side by side.
    layer : int, optional
        A hidden layer, 0 for what enters the first block, negative from the end.
        By default the output, after the last normalisation. Of several, from one forward pass, the
        vectors stand side by side; `Embeddings.layer` gives those of one.
    tokens : {"patches", "cls", "cls+patches"}, optional
        Rows that are tokens, those of an image after one another: its patches, the class token, or that
        and then the patches. Captions, thumbnails and rejects stay those of images.
    patch_share : float
        Share of an image's patches that become rows, drawn at random for every image.
    random_state : int
        Seed of the draw.
    resize : int or False, optional
        Short side in pixels to resize to before the crop; False where images
        are prepared already. By default what the model says.
    captions : str or path, optional
        File with captions (csv, tsv, txt, jsonl, json, parquet) of a folder of images. Without it
        files beside the images are read, ``a.txt`` or ``a.json`` for ``a.jpg``.
    split, config, data_revision : str, optional
        Of a Hugging Face data set; the split is ``"train"`` by default.
    image_column, url_column : str, optional
    caption_columns : str or list of str, optional
        Found by name and content where not given.
    n_samples : int, optional
        Stop after so many elements of the source. With more, a store grows.
    captions_required : bool
        Whether an image without a caption is rejected.
    dtype : {"float16", "float32"}
        Of the stored vectors.
    thumbnails : int, optional
        Keep JPEGs with this longest side, in pixels (16 to 256).
    batch_size : int, optional
        Elements of one forward pass; by default as memory allows.
    chunk_rows : int, optional
        Images of a chunk of the store; about 16 MB by default.
    precision : {"auto", "float32", "bfloat16", "float16"}
        Of matrix products: half on graphics cards by default. On processors with
        bfloat16 instructions ``"bfloat16"`` takes half the time.
    device : str
        ``"cpu"``, ``"cuda:1"`` and so on; the fastest there is by default.
    allow_private : bool
        Whether URLs may lead to addresses that are not public.
    timeout : float
        Seconds to wait for a server.
    max_pixels : int
        Images with more are rejected.
    client : distributed.Client, optional
        Embed on its workers. They load the model once each.
    worker_timeout : float, optional
        Seconds to wait for workers that are gone; see `daskksvd.fit`.
    overwrite : bool
        Whether to begin anew where ``out`` has a store already.
    progress : bool
        Whether to show a bar with images a second and time left.

    Returns
    -------
    Embeddings

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of those allowed, or ``out`` was begun with others.
    FileNotFoundError, FileExistsError, PermissionError
        If there is no such source, or ``out`` cannot be written.
    OSError
        If the disk is full; what was done is kept.
    """
    spec = check_spec(
        model,
        pretrained=pretrained,
        revision=revision,
        pooling=pooling,
        layer=layer,
        resize=resize,
        precision=precision,
        device=device,
        tokens=tokens,
    )
    if spec.library in TEXTS_ONLY:
        raise ValueError(f"model={os.fspath(model)!r} encodes sentences, not images; see embed_texts")
    if dtype not in ("float16", "float32"):
        raise ValueError(f"dtype={dtype!r}; it must be 'float16' or 'float32'")
    if thumbnails is not None and not 16 <= integer("thumbnails", thumbnails, 16) <= 256:
        raise ValueError(f"thumbnails={thumbnails}; it must be 16 to 256 pixels")
    for name, value in (("batch_size", batch_size), ("chunk_rows", chunk_rows), ("n_samples", n_samples)):
        if value is not None:
            integer(name, value, 1)
    options = Options(
        dtype,
        flag("captions_required", captions_required),
        thumbnails,
        flag("allow_private", allow_private),
        number("timeout", timeout, 0, 3600, "seconds, more than 0", open_ends=True),
        integer("max_pixels", max_pixels, 1),
    )
    check_share(spec.tokens, patch_share, random_state)
    flag("overwrite", overwrite)
    path = absolute(out)
    if "://" in path:
        raise ValueError(f"out={path!r} is a URL; it must be a folder of a local or mounted file system")
    found = open_source(
        source,
        captions=captions,
        split=split,
        config=config,
        revision=data_revision,
        image_column=image_column,
        url_column=url_column,
        caption_columns=caption_columns,
        n_samples=n_samples,
    )
    if captions_required and not found.has_captions:
        hint = found.captions_hint or "name them with captions"
        raise ValueError(f"source has no captions; {hint}, or pass captions_required=False")
    with contextlib.ExitStack() as stack:
        encoder = executor = None
        if client is None:
            encoder = cached_encoder(spec)
            facts = facts_of(encoder)
        else:
            executor = stack.enter_context(
                contextlib.closing(make_executor(client, worker_timeout=worker_timeout))
            )
            executor.at_close(forget_encoder, spec)  # it is large, and nobody else on the cluster uses it
            facts = ask_workers(executor, source, spec)
        form = {
            "dtype": dtype,
            "thumbnails": thumbnails,
            "captions_required": captions_required,
            "max_pixels": max_pixels,
        }
        layout = facts.layout(spec.tokens, patch_share, random_state)
        if layout is not None:
            form["tokens"] = layout.attributes()
            options = options._replace(layout=layout)
        each = facts.d * (1 if layout is None else layout.rows_per_image)  # numbers of an image
        identity = {"model": facts.identity, "source": found.identity(), "form": form}
        with telling_disk_full(path):
            writer = Writer(path, identity, n_samples, overwrite, layout)
        try:
            if not writer.complete:
                need_space(path, found, writer, each, dtype, thumbnails)
                with telling_disk_full(path):
                    chosen = writer.settle(
                        batch_size=batch_size or facts.batch,
                        chunk_rows=chunk_rows or default_chunk_rows(each, dtype, found.n),
                        thumbnails=thumbnails,
                    )
                for name, value in (("batch_size", batch_size), ("chunk_rows", chunk_rows)):
                    if value is not None and chosen[name] != value:
                        raise ValueError(
                            f"{name}={value}, but out={path!r} was begun with {chosen[name]}; go on with that"
                        )
                batches = batches_of(found.items(writer.begin, writer.state), chosen["batch_size"])
                if client is None:
                    done = run_here(batches, encoder, options)
                else:
                    done = run_on_cluster(batches, spec, options, executor)
                with Bar(progress, found.n, writer) as bar:
                    for items, outcomes in done:
                        states = [(item.position, item.state) for item in items if item.state is not None]
                        with telling_disk_full(path):
                            writer.add(
                                items[0].position,
                                items[-1].position + 1,
                                outcomes,
                                states[-1] if states else None,
                            )
                        bar.update(len(items))
                with telling_disk_full(path):
                    writer.finish()
            rows, rejected = writer.rows, writer.rejected
        except (KeyboardInterrupt, OSError, WorkersLost) as error:
            error.add_note(f"What was embedded is kept in {path}; the same call goes on from there")
            raise
        finally:
            writer.close()
    if not rows:
        reasons = read_rejects(path)["reason"]
        why = f"; the first of {rejected} rejects: {reasons.iloc[0]}" if rejected else ": it is empty"
        raise ValueError(f"source gave no image that could be embedded{why}")
    return open_embeddings(path)


def default_chunk_rows(d, dtype, n):
    """A power of two: chunks of about 16 MB, or of all rows where there are few."""
    rows = max(1, EMBED_CHUNK_BYTES // (d * np.dtype(dtype).itemsize))
    if n is not None:
        rows = min(rows, 2 * max(n, EMBED_LEAST_ROWS) - 1)
    return 2 ** int(np.log2(rows))


def need_space(path, source, writer, d, dtype, thumbnails):
    """Refuse to begin what the disk cannot hold."""
    from dask.utils import format_bytes

    if source.n is None:
        return
    rows = max(0, source.n - writer.begin)
    need = rows * (d * np.dtype(dtype).itemsize + (4096 if thumbnails else 0))
    free = shutil.disk_usage(path).free
    if need > free:
        raise OSError(
            f"out={path!r} has {format_bytes(free)} free, and {rows:,} images take about "
            f"{format_bytes(need)}; free some space, or name a folder on another disk"
        )


class Bar:
    """Images a second and time left, in the terminal or the notebook."""

    def __init__(self, shown, n, writer):
        self._bar, self._writer = None, writer
        if shown:
            from tqdm.auto import tqdm

            self._bar = tqdm(total=n, initial=writer.begin, unit=" images", dynamic_ncols=True)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self._bar is not None:
            self._bar.close()

    def update(self, count):
        """``count`` more elements are done."""
        if self._bar is not None:
            if self._writer.rejected:
                self._bar.set_postfix_str(f"{self._writer.rejected:,} rejected", refresh=False)
            self._bar.update(count)


@shows_parts("texts", " texts")
def embed_texts(
    texts: Sequence[str],
    *,
    model: str | os.PathLike[str],
    pretrained: str | None = None,
    revision: str | None = None,
    batch_size: int = TEXT_BATCH,
    precision: Precision = "auto",
    device: str = "auto",
    progress: bool = False,
) -> np.ndarray:
    """Vectors of texts: words, or captions.

    Parameters
    ----------
    texts : sequence of str
    model : str or path
        A CLIP model as for `embed`, whose texts share the space of its pooled images,
        or a sentence encoder, ``"sentence_transformers:NAME_OR_FOLDER"``; or a language model of
        transformers, ``"transformers_text:NAME_OR_FOLDER"``, of which the mean of the tokens is taken. A
        folder alone says of itself which of them it is.
    pretrained, revision, precision, device
        As for `embed`.
    batch_size : int
    progress : bool
        Whether to show a bar of the texts that are done.

    Returns
    -------
    numpy.ndarray
        (texts, e) float32.

    Raises
    ------
    TypeError, ValueError
        If ``texts`` are no strings, or the model reads no text.
    """
    texts = check_texts(texts)
    integer("batch_size", batch_size, 1)
    spec = check_text_spec(
        model, pretrained=pretrained, revision=revision, precision=precision, device=device
    )
    return cached_encoder(spec).encode_texts(texts, batch_size)
