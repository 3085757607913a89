"""Passes over captions that go on where a killed process left them."""

import contextlib
import hashlib
import json
import os
import time
import warnings

import numpy as np

from ..captions.partitions import compute_all
from ..execution import make_executor
from ..execution.executor import TREE_FAN_IN
from ..machine.files import absolute, replaced
from ..stores.checkpoint import load_checkpoint
from ..tracking.parts import parts_counted

KIND = "label"
ENDING, PARTIAL = ".label-checkpoint", ".partial"
"""What the names end with of checkpoints that the command makes, and of those not whole yet."""

SAVE_SECONDS = 10
"""Seconds after which what is counted is saved again: what a kill loses, at most, beside the parts
that were being counted."""


class OtherCheckpoint(ValueError):
    """The checkpoint is of other data or settings."""


class Progress:
    """What `label` has counted, kept in a file.

    Parameters
    ----------
    path : path
        The checkpoint file; made, or gone on from.
    identity : dict
        Plain values that say what is counted, and how.

    Raises
    ------
    OtherCheckpoint, ValueError, OSError
        If the file is of something else, or cannot be written.
    """

    def __init__(self, path, identity):
        self.path, self._identity = check_path(path), json.loads(json.dumps(identity))
        self._done, self._saved, self._failed = {}, time.monotonic(), False
        found = load_checkpoint(self.path)
        if found is None:
            return
        header, arrays = found
        if header.get("kind") != KIND:
            raise ValueError(f"checkpoint={self.path!r} is not one of label; name another path")
        for name, value in self._identity.items():
            if header["identity"].get(name) != value:
                raise OtherCheckpoint(
                    f"checkpoint={self.path!r} is of other {name}; remove it to start anew, or "
                    "name another path"
                )
        for name, (token, done, levels) in header["passes"].items():
            kept = {key: value for key, value in arrays.items() if key.split(":")[0] == name}
            self._done[name] = [token, done, levels, kept]

    def reduce(self, name, blueprint, parts, client, worker_timeout=None, token=""):
        """What `counting.tree` makes of delayed parts, saved on the way.

        Every node of that tree is the sum of its parts from left to right, so
        the sums begun on each of its levels are all that has to be kept.

        Parameters
        ----------
        name : str
            Of the pass, without ``:``.
        blueprint : (combine, pack, unpack)
            Adds a list of values; makes a dict of arrays of one, and it of these.
        parts : list of delayed
        client : distributed.Client or None
        worker_timeout : float, optional
        token : str
            What this pass depends on beside the identity.
        """
        combine, pack, unpack = blueprint
        begun, done = self._begun(name, token, len(parts), unpack)
        try:
            threads = n_threads(client, worker_timeout)
            with parts_counted(len(parts)) as tick:
                if tick is not None:
                    tick(done)
                while done < len(parts):
                    level, stops, units = next_units(parts, done, 2 * threads, combine)
                    for stop, value in zip(stops, compute_all(units, client, worker_timeout), strict=True):
                        add(begun, value, level, stop, len(parts), combine)
                    if tick is not None:
                        tick(stops[-1] - done)
                    done = stops[-1]
                    self._keep(name, token, done, begun, pack)
                    if time.monotonic() - self._saved > SAVE_SECONDS:
                        self.save()
        except BaseException as error:
            if self._done:
                self.save()
            if self._done and not self._failed:
                error.add_note(f"What was counted is in {self.path}; the same call goes on from there")
            raise
        return begun[-1]

    def _begun(self, name, token, n_parts, unpack):
        """Sums begun on each level of the tree, and parts in them."""
        begun = [None] * n_levels(n_parts)
        kept_token, done, levels, arrays = self._done.get(name, (None, 0, [], {}))
        if kept_token != token:
            return begun, 0
        for level in levels:
            prefix = f"{name}:{level}:"
            begun[level] = unpack(
                {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}
            )
        return begun, done

    def _keep(self, name, token, done, begun, pack):
        levels = [level for level, value in enumerate(begun) if value is not None]
        arrays = {f"{name}:{level}:{key}": it for level in levels for key, it in pack(begun[level]).items()}
        self._done[name] = [token, done, levels, arrays]

    def save(self):
        """Write what is counted; if that fails, say so once, and go on."""
        header = {
            "format": 1,
            "kind": KIND,
            "identity": self._identity,
            "passes": {name: kept[:3] for name, kept in self._done.items()},
        }
        arrays = {key: value for kept in self._done.values() for key, value in kept[3].items()}
        text = np.frombuffer(json.dumps(header).encode(), np.uint8)
        try:
            # named, so that the next run writes over what a kill leaves
            with (
                replaced(self.path, temporary=partial(self.path)) as temporary,
                open(temporary, "wb") as file,
            ):
                os.chmod(temporary, 0o600)
                np.savez(file, header=text, **arrays)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            if not self._failed:
                warnings.warn(
                    f"checkpoint={self.path!r} could not be written ({error}); label goes on without it",
                    stacklevel=4,
                )
            self._failed = True
        self._saved = time.monotonic()


def check_path(path):
    """The path of a checkpoint, refused before any work if no file can be there."""
    path = absolute(path)
    parent = os.path.dirname(path)
    if "://" in path:
        raise ValueError(f"checkpoint={path!r} is a URL; it must be the path of a file on this machine")
    if os.path.isdir(path):
        raise ValueError(f"checkpoint={path!r} is a directory; it must be the path of a file")
    if not os.path.isdir(parent) or not os.access(parent, os.W_OK | os.X_OK):
        raise PermissionError(f"checkpoint={path!r}: {parent!r} is not a directory that can be written to")
    return path


def partial(path):
    """Where a checkpoint is written before it takes its place."""
    return path + PARTIAL


def discard(path):
    """Remove a checkpoint, and what a killed process left of one."""
    for name in (path, partial(path)):
        with contextlib.suppress(FileNotFoundError):
            os.remove(name)


def n_threads(client, worker_timeout):
    """Threads that count: the workers' of a client, or of this machine."""
    if client is None:
        return os.cpu_count() or 1
    with contextlib.closing(make_executor(client, worker_timeout=worker_timeout)) as executor:
        return sum(threads for _, threads, _ in executor.memory()) or 1


def n_levels(n_parts):
    """Levels of the tree that `counting.tree` makes of so many parts."""
    levels = 1
    while n_parts > TREE_FAN_IN:
        n_parts, levels = -(-n_parts // TREE_FAN_IN), levels + 1
    return levels


def next_units(parts, done, number, combine):
    """What is to be counted next, about as many parts as asked for: none begins before all others have ended.

    Returns
    -------
    level : int
        Of the tree, to which the values are to be added.
    stops : list of int
        Parts that are done after each.
    units : list of delayed
    """
    import dask

    if done % TREE_FAN_IN or len(parts) <= TREE_FAN_IN or number < TREE_FAN_IN:
        stop = min(len(parts), done + max(4, number), (done // TREE_FAN_IN + 1) * TREE_FAN_IN)
        return 0, list(range(done + 1, stop + 1)), parts[done:stop]
    combined = dask.delayed(combine, pure=False)
    starts = range(done, min(len(parts), done + number), TREE_FAN_IN)
    stops = [min(len(parts), start + TREE_FAN_IN) for start in starts]
    return 1, stops, [combined(parts[start:stop]) for start, stop in zip(starts, stops, strict=True)]


def add(begun, value, level, stop, n_parts, combine):
    """Add the value of what ends before part ``stop`` to the sums begun; what is whole goes a level up."""
    for at in range(level, len(begun)):
        begun[at] = combine([value] if begun[at] is None else [begun[at], value])
        whole = stop % TREE_FAN_IN ** (at + 1) == 0 or stop == n_parts
        if at == len(begun) - 1 or not whole:
            return
        value, begun[at] = begun[at], None


def identity_of(value, name):
    """Text that says what an argument is; of a path, also when its files changed last."""
    import dask

    if not isinstance(value, (str, os.PathLike)):
        try:
            with dask.config.set({"tokenize.ensure-deterministic": True}):
                return dask.base.tokenize(value)
        except Exception as error:
            raise TypeError(
                f"{name} is a {type(value).__name__} that a later run cannot know again, so checkpoint= "
                "cannot be used; give a path, or arrays"
            ) from error
    path = absolute(value)
    lines = [path]
    for folder, folders, files in os.walk(path):
        folders.sort()
        lines += [
            f"{os.path.join(folder, name)} {stamp(os.path.join(folder, name))}" for name in sorted(files)
        ]
    if os.path.isfile(path):
        lines.append(stamp(path))
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()


def stamp(path):
    """Size and time of a file, as text."""
    found = os.stat(path)
    return f"{found.st_size} {found.st_mtime_ns}"


def tokenizer_identity(tokenizer):
    """Plain values that say what a tokenizer does."""
    kind = type(tokenizer)
    words = sorted(tokenizer.stop_words), sorted(getattr(tokenizer, "exceptions", None) or {})
    text = json.dumps([f"{kind.__module__}.{kind.__qualname__}", tokenizer.settings(), *words], default=str)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
