"""``daskksvd demo``: the main job from end to end, on samples whose dictionary is known."""

import contextlib
import logging
import math
import os
import shlex
import signal
import time

import click

from .shared import aligned

MARK = "daskksvd.demo"
"""Attribute of a sample store that the demo made, and so may replace."""

EXAMPLES = """\b
Examples:
  daskksvd demo
  daskksvd demo --n-samples 1000000 --workers 4 --out big-demo
  daskksvd demo --noise 0.2 --overwrite
"""
POSITIVE, NOT_NEGATIVE = click.IntRange(1), click.FloatRange(0)


@click.command("demo", short_help="See the whole job done on made-up data.", epilog=EXAMPLES)
@click.option("--out", "-o", default="demo-output", metavar="DIR", help="Directory to make.")
@click.option("--n-samples", "n", type=POSITIVE, metavar="N", default=100_000, help="Samples to make.")
@click.option("--n-features", "d", type=POSITIVE, metavar="D", default=128, help="Numbers a sample.")
@click.option("--n-components", "m", type=POSITIVE, metavar="M", default=256, help="Hidden atoms.")
@click.option("--n-nonzero-coefs", "k", type=POSITIVE, metavar="K", default=5, help="Atoms in every sample.")
@click.option("--noise", type=NOT_NEGATIVE, metavar="R", default=0.05, help="Noise relative to signal.")
@click.option("--workers", type=POSITIVE, metavar="N", default=2, help="Worker processes to start.")
@click.option("--random-state", "seed", default=0, metavar="SEED", help="Seed of the samples and the fit.")
@click.option("--overwrite", is_flag=True, help="Replace what an earlier demo left in DIR.")
def demo_command(out, n, d, m, k, noise, workers, seed, overwrite):
    """Do the whole job on made-up data, where the right answer is known.

    Makes samples that are sums of a few hidden atoms plus noise, stores them
    in a Zarr array, starts a small Dask cluster on this machine, learns a
    dictionary, saves it, codes all samples, loads everything again and compares
    with the truth. Leaves samples.zarr, result.zarr and codes.zarr in DIR to
    look at: about 30 MB with the default sizes.

    It takes well under a minute; the first run compiles, and takes longer.
    """
    from ..datasets import make_planted, recovered_atoms
    from ..learning.fit import fit
    from ..result import load

    if k > min(d, m) or m > n:
        raise ValueError(
            f"--n-nonzero-coefs={k} is above --n-features={d} or --n-components={m}, or that is above "
            f"--n-samples={n}"
        )
    paths = [os.path.join(out, f"{name}.zarr") for name in ("samples", "result", "codes")]
    check_paths(paths, overwrite)
    samples, dictionary, codes = paths
    click.echo(
        f"Every sample is a weighted sum of {k} out of {m:,} hidden atoms (unit vectors of {d:,}\nnumbers), "
        f"plus {noise:.0%} noise. The task: find the atoms, given nothing but the samples.\n"
    )
    start = time.perf_counter()
    with contextlib.ExitStack() as stack:
        with step(f"1. Start a Dask cluster on this machine, worker processes: {workers}"):
            client = stack.enter_context(local_cluster(workers))
        with step(f"2. Make {n:,} samples and store them in a Zarr array"):
            # making a chunk takes 8 m bytes a row
            layout = {"chunks": min(max(n // 10, 1_000), 30_000), "dtype": "float16"}
            planted = make_planted(n, d, m, k, noise=noise, random_state=seed, **layout)
            store_samples(planted.array, samples)
        with step(f"3. Learn {m:,} atoms, in several passes over the store"):
            settings = {"n_components": m, "n_nonzero_coefs": k, "random_state": seed}
            result = fit(samples, client=client, callbacks=[tell_pass], **settings)
        with step("4. Save the dictionary, and write all samples as sparse codes"):
            result.save(dictionary, overwrite=overwrite)
            result.write_codes(samples, codes, client=client, overwrite=overwrite)
        with step("5. Load everything from disk again and compare with the truth"):
            result = load(dictionary)
            error = relative_error(result, samples, codes)
            found = recovered_atoms(result.dictionary.values, planted.dictionary)
    # the share k / d of the noise lies in the span of a row's atoms, and is represented with the signal
    floor = noise / math.sqrt(1 + noise**2) * math.sqrt(1 - k / d)
    lines = {
        "atoms found": f"{round(found * m):,} of {m:,} (within 18 degrees of the true direction)",
        "relative error": f"{error:.4f} (noise alone leaves about {floor:.4f})",
        "passes": f"{result.history.sizes['pass']} (stopped by {result.stop_reason})",
        "seconds": f"{time.perf_counter() - start:.1f}, of which {result.settings['seconds']:.1f} learning",
    }
    click.echo(
        f"\nWhat came out\n{aligned(lines, indent=2)}\n\n"
        f"What to try next\n"
        f"  daskksvd info {shlex.quote(dictionary)}\n"
        f"  daskksvd fit {shlex.quote(samples)} -m {m} -k {k} --holdout 0.1 --out again.zarr\n\n"
        f"In Python\n"
        f"  import daskksvd\n"
        f"  result = daskksvd.load({dictionary!r})\n"
        f"  codes = daskksvd.open_codes({codes!r})\n"
        f"  result.decode(codes[:5]).compute()"
    )


def check_paths(paths, overwrite):
    """Refuse to touch what is there, unless asked to and the demo made it."""
    import zarr

    there = [path for path in paths if os.path.exists(path)]
    if there and not overwrite:
        raise FileExistsError(f"{', '.join(there)} exist; pass --overwrite, or name another directory")
    if paths[0] in there and MARK not in zarr.open(paths[0], mode="r").attrs:
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


def store_samples(array, path):
    """Write a Dask array to a Zarr array whose chunks are the array's own."""
    import dask.array as da
    import zarr

    layout = {"shape": array.shape, "chunks": array.chunksize, "dtype": array.dtype}
    target = zarr.create_array(os.path.abspath(path), **layout, overwrite=True, attributes={MARK: True})
    da.store(array, target, lock=False)  # one task writes one chunk


def relative_error(result, samples, codes):
    """``||Y - X D|| / ||Y||`` of the samples on disk and the codes on disk."""
    import dask.array as da

    from ..coding.store import open_codes

    codes = open_codes(codes)
    samples = da.from_zarr(os.path.abspath(samples)).rechunk((codes.chunks[0], -1)).astype("float64")
    left = samples - result.decode(codes)
    return float(da.sqrt((left**2).sum() / (samples**2).sum()).compute())


def tell_pass(event):
    """Callback that says how each pass went."""
    from ..tracking import PassFinished

    if isinstance(event, PassFinished):
        click.echo(f"   pass {event.index + 1} ({event.kind}): relative error {event.relative_error:.4f}")
