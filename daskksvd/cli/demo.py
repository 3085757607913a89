"""``daskksvd demo``: the main job from end to end, on images whose concepts are known."""

import contextlib
import logging
import os
import shlex
import signal
import textwrap
import time

import click

from .shared import aligned, at_terminal

EXAMPLES = """\b
Examples:
  daskksvd demo
  daskksvd demo --n-samples 50000 --workers 4 --out big-demo
  daskksvd demo --n-components 256 --n-nonzero-coefs 8 --overwrite
"""
POSITIVE = click.IntRange(1)

SHOWN = 12
"""Atoms whose names are printed."""


@click.command("demo", short_help="See the whole job done on drawn scenes.", epilog=EXAMPLES)
@click.option("--out", "-o", default="demo-output", metavar="DIR", help="Directory to make.")
@click.option("--n-samples", "n", type=POSITIVE, metavar="N", default=5_000, help="Scenes to draw.")
@click.option("--n-components", "m", type=POSITIVE, metavar="M", default=256, help="Atoms to learn.")
@click.option("--n-nonzero-coefs", "k", type=POSITIVE, metavar="K", default=8, help="Most atoms in a scene.")
@click.option("--workers", type=POSITIVE, metavar="N", default=2, help="Worker processes to start.")
@click.option("--random-state", "seed", default=0, metavar="SEED", help="Seed of the scenes and the fit.")
@click.option("--overwrite", is_flag=True, help="Replace what an earlier demo left in DIR.")
def demo_command(out, n, m, k, workers, seed, overwrite):
    """Do the whole job on a small world of images, offline.

    Draws scenes (coloured things, their number, size, place and doing) with
    captions, runs a small Vision Transformer over them that is part of daskksvd,
    starts a small Dask cluster on this machine, learns a dictionary of the
    vectors, codes all scenes, names the atoms with words of the captions, and
    makes a page to look at: report.html in DIR.

    It takes about a minute on two cores, and half a minute more where kernels are not
    compiled yet.
    """
    from ..coding.store import open_codes
    from ..datasets import make_scenes
    from ..embedding import embed
    from ..evaluation.recovery import names_right
    from ..fitting.fit import fit
    from ..fitting.result import load
    from ..naming.labels import label
    from ..naming.store import LABELS, save_labels
    from ..naming.table import as_text, label_table
    from ..view.page.report import report

    names = ("scenes", "result.zarr", "codes.zarr", "report.html")
    scenes, dictionary, codes, page = paths = [os.path.join(out, name) for name in names]
    if m > n:
        raise ValueError(f"--n-components={m} is above --n-samples={n}")
    check_paths(paths, overwrite)
    world, bars = make_scenes(n, random_state=seed), at_terminal()
    click.echo(
        f"A world of scenes with {len(world.concepts)} concepts, and captions. The task: find the concepts,\n"
        "given nothing but the vectors that a Vision Transformer makes of the images, and\n"
        "then say in words of the captions what was found.\n"
    )
    start = time.perf_counter()
    with contextlib.ExitStack() as stack:
        with step(f"1. Draw {n:,} scenes and embed them, with their captions"):
            store = embed(
                world, scenes, model="scenes", thumbnails=world.size, overwrite=overwrite, progress=bars
            )
        with step(f"2. Start a Dask cluster on this machine, worker processes: {workers}"):
            client = stack.enter_context(local_cluster(workers))
        with step(f"3. Learn {m:,} atoms of {store.array.shape[1]} numbers, in several passes"):
            settings = {"n_components": m, "n_nonzero_coefs": k, "whiten": 0.25, "random_state": seed}
            result = fit(scenes, client=client, callbacks=[tell_pass], **settings)
        with step("4. Save the dictionary, and write all scenes as sparse codes"):
            result.save(dictionary, overwrite=overwrite)
            result.write_codes(scenes, codes, client=client, overwrite=overwrite, progress=bars)
        with step("5. Name the atoms with words of the captions"):
            labels = label(codes, scenes, client=client, progress=bars)
            save_labels(labels, LABELS.beside(dictionary), overwrite=overwrite)
        with step("6. Load everything from disk again and compare with the truth"):
            result = load(dictionary)
            found = result.evaluate(scenes, client=client, progress=bars)
            truth = world.truth()[store.sample]
            first = [str(word) for word in labels.top_word.values[:, 0]]
            right = names_right(open_codes(codes).compute(), first, truth, world.concepts, world.words)
    with step("7. Make a page of it"):
        report(dictionary, page, codes=codes, embeddings=scenes, overwrite=overwrite, progress=bars)
    named = right[right["name"] != ""]
    lines = {
        "embeddings": f"{len(store):,} x {store.array.shape[1]}, {store.attrs['n_captions']:,} captions",
        "variance explained": f"{1 - found['fvu']:.1%} by {found['mean_nonzeros']:.1f} atoms a scene",
        "atoms with a name": f"{len(named):,} of {m:,}",
        "names that are right": f"{named['right'].sum():,}: the atom follows the concept that the word says",
        "seconds": f"{time.perf_counter() - start:.1f}, of which {result.settings['seconds']:.1f} learning",
    }
    table = label_table(labels).head(SHOWN)[["atom", "uses", "words", "phi", "q_value"]]
    click.echo(
        f"\nWhat came out\n{aligned(lines, indent=2)}\n\n"
        f"The {len(table)} surest of them (phi: correlation of the first word with the use of the atom)\n"
        f"{textwrap.indent(as_text(table), '  ')}\n\n"
        f"Look at it\n"
        f"  {os.path.abspath(page)}\n\n"
        f"What to try next\n"
        f"  daskksvd words {shlex.quote(dictionary)} boat\n"
        f"  daskksvd view {shlex.quote(dictionary)} --embeddings {shlex.quote(scenes)}\n"
        f"  daskksvd info {shlex.quote(dictionary)}\n\n"
        f"In Python\n"
        f"  import daskksvd\n"
        f"  scenes = daskksvd.open_embeddings({scenes!r})\n"
        f"  result = daskksvd.load({dictionary!r})\n"
        f"  codes = daskksvd.open_codes({codes!r})\n"
        f"  scenes.thumbnail(0), scenes.captions.head(), codes[:5].compute()"
    )


def check_paths(paths, overwrite):
    """Refuse to touch what is there, unless asked to and the demo made it."""
    from ..embedding import open_embeddings

    there = [path for path in paths if os.path.exists(path)]
    if there and not overwrite:
        raise FileExistsError(f"{', '.join(there)} exist; pass --overwrite, or name another directory")
    if paths[0] in there:
        try:
            made = open_embeddings(paths[0]).attrs["data"].get("type") == "Scenes"
        except (FileNotFoundError, ValueError):
            made = False
        if not made:
            raise FileExistsError(f"{paths[0]} was not made by the demo; name another directory")


@contextlib.contextmanager
def step(title):
    """Tells what begins, and how long it took."""
    click.echo(f"{title} ...")
    start = time.perf_counter()
    yield
    click.echo(f"   {time.perf_counter() - start:.1f} s")


@contextlib.contextmanager
def local_cluster(n):
    """A client of worker processes of one thread each."""
    from distributed import Client, LocalCluster
    from distributed.system import MEMORY_LIMIT

    quiet = {"dashboard_address": "127.0.0.1:0", "silence_logs": logging.CRITICAL}
    cluster = LocalCluster(n_workers=n, threads_per_worker=1, memory_limit=MEMORY_LIMIT // n, **quiet)
    with cluster, Client(cluster) as client:
        client.run(ignore_interrupts)
        yield client


def ignore_interrupts():
    """Leave Ctrl-C, which a terminal sends to all, to the process that started the workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def tell_pass(event):
    """Callback that says how each pass went."""
    from ..tracking import PassFinished

    if isinstance(event, PassFinished):
        click.echo(f"   pass {event.index + 1} ({event.kind}): relative error {event.relative_error:.4f}")
