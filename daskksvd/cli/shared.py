"""What several commands need: options, checks of --out, the cluster, and text."""

import asyncio
import contextlib
import logging
import os
import sys
from pathlib import Path

import click

CONNECT_SECONDS = 10
"""Longest wait for a scheduler to answer, and for it to have a worker."""

SCHEDULER = click.Option(
    ["--scheduler"],
    metavar="ADDRESS",
    help="Run on the Dask cluster whose scheduler is at ADDRESS, such as tcp://10.0.0.5:8786. Its workers "
    "must have daskksvd and see the same files under the same paths. Without it: threads of this process.",
)
MISSING_CHUNKS = click.Option(
    ["--missing-chunks"],
    type=click.Choice(["error", "fill"]),
    default="error",
    help="What to do where chunks of a Zarr array were never written: refuse them, or read its fill value.",
)
WORKER_TIMEOUT = click.Option(
    ["--worker-timeout"],
    type=float,
    default=300.0,
    metavar="SECONDS",
    help="With --scheduler: how long to wait for workers that are gone before it ends; inf: for ever.",
)
DEVICE = click.Option(
    ["--device"],
    metavar="NAME",
    show_default="processors",
    help="Code on a graphics card, by PyTorch: cuda, cuda:1 and so on, or auto for one where there is one.",
)
WEIGHTS = [
    click.Option(["--pretrained"], metavar="TAG|FILE", help="For open_clip: the weights."),
    click.Option(["--revision"], metavar="REV", help="Commit, tag or branch of the model."),
]
"""Of a model that is named by another option."""

OVERWRITE = click.Option(["--overwrite"], is_flag=True, help="Replace a store of the same kind at --out.")


def check_out(out, overwrite):
    """Refuse an output that exists or cannot be made, before any work is done for it."""
    from ..machine.files import absolute, exists

    if exists(out) and not overwrite:
        raise FileExistsError(f"--out {out} exists already; name another path, or pass --overwrite")
    if "://" in absolute(out):
        return
    parent = next(path for path in Path(absolute(out)).parents if path.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise PermissionError(f"--out {out}: {parent} is not a directory that can be written to")


def at_terminal():
    """Whether somebody sees a bar."""
    return sys.stderr.isatty()


@contextlib.contextmanager
def connected(address):
    """A client of the scheduler at ``address``, or None without one."""
    if address is None:
        yield None
        return
    from distributed import Client

    # asked first, as a client fails in many ways where something else listens
    kind = asyncio.run(listener(address))
    if kind != "Scheduler":
        raise ValueError(f"{address} is the address of a Dask {kind}, not of a scheduler")
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with Client(address, timeout=CONNECT_SECONDS) as client:
        try:
            client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        except TimeoutError:
            raise ValueError(
                f"the scheduler at {address} has no workers; start some with: dask worker {address}"
            ) from None
        yield client


async def listener(address):
    """Which part of Dask answers at an address: ``"Scheduler"``, if all is well."""
    from distributed.core import rpc

    try:
        async with asyncio.timeout(CONNECT_SECONDS), rpc(address, timeout=CONNECT_SECONDS) as remote:
            return (await remote.identity())["type"]
    except Exception as error:
        why = f" ({error})" if isinstance(error, ValueError) else ""
        raise ValueError(
            f"no Dask scheduler answered at {address} within {CONNECT_SECONDS} s{why}; "
            "check the address (tcp://HOST:PORT) and that the scheduler is running"
        ) from error


@contextlib.contextmanager
def telling_compilation():
    """Say once why it takes long, where kernels are compiled in this process."""
    from numba.core import event

    class Once(event.Listener):
        told = False

        def on_start(self, event):
            if not self.told:
                self.told = True
                click.echo("Compiling for this processor, the first time only: some seconds", err=True)

        def on_end(self, event):
            pass

    with event.install_listener("numba:compile", Once()):
        yield


def aligned(lines, indent=0):
    """Names and values of a dict in two columns."""
    width = max(map(len, lines))
    return "\n".join(f"{' ' * indent}{name:{width}}  {value}" for name, value in lines.items())


def counted(counts):
    """Images or captions of a source as text: what was seen is stored or rejected."""
    if counts["seen"] is None:
        return f"{counts['stored']:,} stored"
    return "{seen:,} seen: {stored:,} stored, {rejected:,} rejected".format(**counts)


def disk_bytes(path):
    """Bytes of all files under a directory; None for a URL."""
    if "://" in path:
        return None
    return sum(f.stat().st_size for f in Path(path).rglob("*") if f.is_file())
