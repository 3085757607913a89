"""From items to outcomes, batch by batch and in order: on this machine, or on a cluster.

A batch is a range of places in the source, the same in every run and wherever it
is computed; what is rejected leaves it smaller.
"""

import contextlib
import itertools
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from ..execution import in_flight, in_order
from ..execution.threads import usable_cores
from .errors import Rejected, one_line
from .fetch import fetch
from .images import THUMBNAIL_BYTES, thumbnail
from .layout import Layout
from .loading import load
from .models import cached_encoder
from .models.threads import one_thread, threads_kept
from .outcomes import Outcome
from .sources import Failure, Url

EMBED_AHEAD = 3
"""Batches that are decoded ahead of the model."""

FETCH_THREADS = 32
"""Images fetched from URLs side by side: they wait for servers, not for cores."""

FETCH_AHEAD = 1024
"""Images fetched ahead, compressed as they come: one slow server holds up none of them."""

CLUSTER_AHEAD = 2
"""Batches sent ahead to each thread of a cluster."""


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
    layout : Layout or None
        Which tokens are rows; None where an image is one.
    """

    dtype: str
    captions_required: bool
    thumbnails: int | None
    allow_private: bool
    timeout: float
    max_pixels: int
    layout: Layout | None = None


class Prepared(NamedTuple):
    """An item that is ready for the model, or the reason why it is not."""

    pixels: np.ndarray | None
    thumbnail: bytes | None
    reason: str | None
    size: tuple[int, int] | None = None


def fetched(item, options):
    """The item with what its URL gives in place of it."""
    try:
        image = fetch(item.image, allow_private=options.allow_private, timeout=options.timeout)
    except Rejected as error:
        image = Failure(str(error))
    return item._replace(image=image)


def prepare(item, encoder, options):
    """Load and preprocess one item; never raises for what the item is like."""
    if isinstance(item.image, Failure):
        return Prepared(None, None, item.image.reason)
    if options.captions_required and not item.captions:
        why = f": {item.missing}" if item.missing else ""
        return Prepared(None, None, f"there is no caption{why}")
    try:
        image = load(
            item,
            allow_private=options.allow_private,
            timeout=options.timeout,
            max_pixels=options.max_pixels,
            target=encoder.short_side,
        )
        small = None if options.thumbnails is None else small_jpeg(image, options.thumbnails)
        pixels = encoder.prepare(image)
        if encoder.shape not in (None, pixels.shape):
            what = (
                "is not what it reads:" if encoder.grid is None else "is another grid of patches than that of"
            )
            raise Rejected(
                f"it is {pixels.shape[2]} x {pixels.shape[1]} pixels as the model sees it, which {what} "
                f"{encoder.shape[2]} x {encoder.shape[1]}"
            )
        # of others their shape tells what the model sees
        sized = options.layout is not None and not encoder.resizes
        return Prepared(pixels, small, None, image.size if sized else None)
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
                if options.layout is not None:
                    vector = options.layout.chosen(vector, item.position)
                vector = vector.astype(options.dtype)
        found.append(
            Outcome(
                item.position, item.source, item.captions, reason, vector, one.thumbnail, item.lost, one.size
            )
        )
    return found


def batches_of(items, size):
    """Lists of items that begin at multiples of ``size``, whatever the first position is."""
    for _, batch in itertools.groupby(items, lambda item: item.position // size):
        yield list(batch)


def run_here(batches, encoder, options):
    """Yield ``(items, outcomes)``: images are fetched and decoded while the model works.

    On a processor the model works on as many batches as there are cores, on one
    thread each: threads that share a batch wait for one another at every step,
    and spin while something else has their core.

    Parameters
    ----------
    batches : iterable of list of Item
    encoder : models.Encoder
    options : Options
    """
    cores = usable_cores()
    workers = cores if encoder.device.type == "cpu" else 1
    with contextlib.ExitStack() as stack:

        def pool(threads, name, start=None):
            made = ThreadPoolExecutor(threads, f"daskksvd-{name}", start)
            stack.callback(made.shutdown, wait=False, cancel_futures=True)
            return made

        stack.enter_context(threads_kept())
        reading, fetching, decoding = pool(1, "read"), pool(FETCH_THREADS, "fetch"), pool(cores, "decode")
        modelling = pool(workers, "model", one_thread if workers > 1 else None)

        def begin(items):
            """Start fetching what has to be."""
            return [
                fetching.submit(fetched, item, options) if worth_fetching(item, options) else item
                for item in items
            ]

        def ready(item):
            return prepare(item.result() if isinstance(item, Future) else item, encoder, options)

        def finish(items, handles):
            return outcomes_of(items, [handle.result() for handle in handles], encoder, options)

        batches = begun_ahead(batches, begin)
        following = reading.submit(next, batches, None)
        waiting = deque()
        while following is not None or waiting:
            # no more is decoded than the model will soon ask for
            full = len(waiting) >= workers + EMBED_AHEAD
            if waiting and (full or following is None or not following.done()):
                items, outcomes = waiting.popleft()
                yield items, outcomes.result()
                continue
            found = following.result()
            following = None if found is None else reading.submit(next, batches, None)
            if found is not None:
                items, begun = found
                handles = [decoding.submit(ready, one) for one in begun]
                # the source may have pixels in hand: they are not kept twice
                names = [item._replace(image=None) for item in items]
                waiting.append((names, modelling.submit(finish, items, handles)))


def worth_fetching(item, options):
    """Whether there is a URL to fetch, and the image would be used."""
    return isinstance(item.image, Url) and bool(item.captions or not options.captions_required)


def begun_ahead(batches, begin):
    """Yield batches with what ``begin`` returns for each, which is called further ahead for URLs.

    What servers send is small and may take long: one that is slow must not hold up others.
    """
    ahead = deque()
    for items in batches:
        ahead.append((items, begin(items)))
        urls = any(isinstance(item.image, Url) for item in items)
        while ahead and (not urls or sum(len(items) for items, _ in ahead) >= FETCH_AHEAD):
            yield ahead.popleft()
    yield from ahead


def run_on_cluster(batches, spec, options, executor):
    """The same by tasks of a cluster; every worker loads the model once.

    Parameters
    ----------
    batches : iterable of list of Item
    spec : models.ModelSpec
    options : Options
    executor : execution.Executor
        Stays open.
    """
    ahead = in_flight(executor, CLUSTER_AHEAD)
    done = in_order(
        executor, batches, lambda items: executor.submit(embed_batch, items, spec, options), ahead
    )
    for items, outcomes in done:
        yield [item._replace(image=None) for item in items], outcomes


def embed_batch(items, spec, options):
    """What a worker does with a batch."""
    encoder = cached_encoder(spec)
    with contextlib.ExitStack() as stack:
        if encoder.device.type == "cpu":
            # as here; a worker has a thread a core, and the vectors are the same, bit for bit
            stack.enter_context(threads_kept())
            one_thread()
        return outcomes_of(items, prepared_batch(items, encoder, options), encoder, options)


def prepared_batch(items, encoder, options):
    """Fetch, decode and prepare the images of a batch."""
    if any(isinstance(item.image, Url) for item in items):
        with ThreadPoolExecutor(FETCH_THREADS) as pool:
            return list(pool.map(lambda item: prepare(item, encoder, options), items))
    return [prepare(item, encoder, options) for item in items]
