"""From items to outcomes, batch by batch and in order: on this machine, or on a cluster.

A batch is a range of places in the source, the same in every run and wherever it
is computed; what is rejected leaves it smaller.
"""

import itertools
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from ..constants import CLUSTER_AHEAD, EMBED_AHEAD, FETCH_THREADS, THUMBNAIL_BYTES
from ..running.threads import usable_cores
from .errors import Rejected, one_line
from .images import thumbnail
from .loading import load
from .models import cached_encoder
from .sources import Url
from .writer import Outcome


class Options(NamedTuple):
    """How items are loaded and stored; travels to workers.

    Attributes
    ----------
    dtype : str
        Of the vectors in the store.
    captions_required : bool
        Whether an image without a caption is rejected.
    thumbnails : int or None
        Longest side, in pixels.
    allow_private, timeout : bool, float
        See `fetch.fetch`.
    max_pixels : int
        See `images.decode`.
    """

    dtype: str
    captions_required: bool
    thumbnails: int | None
    allow_private: bool
    timeout: float
    max_pixels: int


class Prepared(NamedTuple):
    """An item that is ready for the model, or the reason why it is not."""

    pixels: np.ndarray | None
    thumbnail: bytes | None
    reason: str | None


def prepare(item, encoder, options):
    """Load, decode and preprocess one item; never raises for what the item is like."""
    if options.captions_required and not item.captions:
        return Prepared(None, None, "there is no caption")
    try:
        image = load(
            item,
            allow_private=options.allow_private,
            timeout=options.timeout,
            max_pixels=options.max_pixels,
            target=encoder.image_size,
        )
        small = None if options.thumbnails is None else small_jpeg(image, options.thumbnails)
        return Prepared(encoder.prepare(image), small, None)
    except Rejected as error:
        return Prepared(None, None, str(error))
    except Exception as error:  # whatever a processor makes of an odd image must not end a long run
        return Prepared(None, None, f"cannot be prepared: {one_line(error)}")


def small_jpeg(image, side):
    """A thumbnail that fits its place in the store."""
    while True:
        found = thumbnail(image, side)
        if len(found) <= THUMBNAIL_BYTES:
            return found
        side = side * 3 // 4


def outcomes_of(items, prepared, encoder, options):
    """Run the model on what could be prepared.

    Returns
    -------
    list of Outcome
        One for each item.
    """
    vectors = encoder.encode([one.pixels for one in prepared if one.reason is None])
    largest = np.finfo(options.dtype).max
    found, row = [], iter(vectors)
    for item, one in zip(items, prepared, strict=True):
        reason, vector = one.reason, None
        if reason is None:
            vector = next(row)
            if not np.isfinite(vector).all() or np.abs(vector).max() > largest:
                reason, vector = f"its vector has values that {options.dtype} cannot hold", None
            else:
                vector = vector.astype(options.dtype)
        found.append(Outcome(item.position, item.source, item.captions, reason, vector, one.thumbnail))
    return found


def batches_of(items, size):
    """Lists of items that begin at multiples of ``size``, whatever the first position is."""
    for _, batch in itertools.groupby(items, lambda item: item.position // size):
        yield list(batch)


def run_here(batches, encoder, options):
    """Yield ``(items, outcomes)``: items are prepared by threads while the model works.

    Parameters
    ----------
    batches : iterable of list of Item
    encoder : models.Encoder
    options : Options
    """
    with (
        ThreadPoolExecutor(usable_cores(), "daskksvd-decode") as decoding,
        ThreadPoolExecutor(FETCH_THREADS, "daskksvd-fetch") as fetching,
        ThreadPoolExecutor(1, "daskksvd-read") as reading,
    ):

        def start(item):
            pool = fetching if isinstance(item.image, Url) else decoding
            return pool.submit(prepare, item, encoder, options)

        batches = iter(batches)
        following = reading.submit(next, batches, None)
        waiting = deque()
        try:
            while True:
                while len(waiting) < EMBED_AHEAD and following is not None:
                    if waiting and not following.done():
                        break
                    items = following.result()
                    if items is None:
                        following = None
                        break
                    following = reading.submit(next, batches, None)
                    waiting.append((items, [start(item) for item in items]))
                if not waiting:
                    return
                items, handles = waiting.popleft()
                prepared = [handle.result() for handle in handles]
                yield items, outcomes_of(items, prepared, encoder, options)
        finally:
            for pool in (reading, decoding, fetching):
                pool.shutdown(wait=False, cancel_futures=True)


def run_on_cluster(batches, spec, options, client):
    """The same by tasks of a cluster; every worker loads the model once.

    Parameters
    ----------
    batches : iterable of list of Item
    spec : models.ModelSpec
    options : Options
    client : distributed.Client
    """
    slots = sum(client.nthreads().values()) or 1
    waiting = deque()
    try:
        for items in batches:
            # only what is to be loaded travels; random names, as the same items may come again
            future = client.submit(embed_batch, items, spec, options, pure=False, retries=2)
            waiting.append(([item._replace(image=None) for item in items], future))
            if len(waiting) >= CLUSTER_AHEAD * slots:
                items, future = waiting.popleft()
                yield items, future.result()
        while waiting:
            items, future = waiting.popleft()
            yield items, future.result()
    finally:
        client.cancel([future for _, future in waiting])


def embed_batch(items, spec, options):
    """What a worker does with a batch."""
    encoder = cached_encoder(spec)
    urls = any(isinstance(item.image, Url) for item in items)
    with ThreadPoolExecutor(FETCH_THREADS if urls else 2) as pool:
        prepared = list(pool.map(lambda item: prepare(item, encoder, options), items))
    return outcomes_of(items, prepared, encoder, options)
