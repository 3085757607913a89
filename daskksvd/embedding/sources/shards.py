"""WebDataset shards: tar files in which members of one name make a sample."""

import bz2
import contextlib
import gzip
import json
import lzma
import os
import re
import tarfile

from ...constants import CAPTION_BYTES, IMAGE_BYTES, STATE_EVERY
from ..errors import one_line
from ..images import OTHER_SUFFIXES, SUFFIXES
from .base import Failure, Item, Source, clean_captions, valid_text
from .columns import find_captions
from .listing import fingerprint

ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")

_TEXTS = (".txt", ".cap", ".caption")
_KEY = re.compile(r"((?:.*/)?[^/.]+)(\.[^/]*)")
_COMPRESSED = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ", lzma.open))


class ShardSource(Source):
    """Samples of WebDataset shards, shard after shard.

    Parameters
    ----------
    paths : list of str
        Of tar files, also of compressed ones.
    n_samples : int, optional

    Notes
    -----
    Consecutive members that are called the same up to the first dot are a
    sample. Its image is the first member that is named like one. Its captions
    are the lines of .txt, .cap and .caption members or, without these, what a
    .json member has under a name for captions. Where a shard is damaged, an
    element of its own says that the rest of it is lost, and the next is read.
    """

    def __init__(self, paths, n_samples=None):
        super().__init__(n_samples)
        self._paths = [os.path.abspath(path) for path in paths]
        for path in self._paths:
            if not os.path.isfile(path):
                raise FileNotFoundError(f"source names the shard {path!r}; there is no such file")

    def identity(self):
        names = [valid_text(os.path.basename(path)) for path in self._paths]
        sizes = [os.path.getsize(path) for path in self._paths]
        return {"kind": "shards", "names": names, "files": fingerprint(zip(names, sizes, strict=True))}

    def _read(self, start, state):
        # the next sample is the one after `done` samples behind `offset` of that shard
        position, first, offset, done = 0, 0, 0, 0
        if state is not None:
            first, offset, done = (int(state[1][name]) for name in ("shard", "offset", "done"))
            position = state[0] + 1 - done
        for number in range(first, len(self._paths)):
            name = valid_text(os.path.basename(self._paths[number]))
            samples = _samples(self._paths[number], offset, start - position)
            for done, sample in enumerate(samples, 1):
                if position >= start:
                    yield Item(
                        position,
                        f"{name}::{sample.key}" if sample.key else name,
                        sample.image,
                        sample.captions(),
                        self._state(position, number, offset, done, sample.end),
                    )
                position += 1
            offset = 0

    def _state(self, position, shard, offset, done, end):
        if position % STATE_EVERY != STATE_EVERY - 1:
            return None
        if end is None:
            return {"shard": shard, "offset": offset, "done": done}
        return {"shard": shard, "offset": end, "done": 0}


def _samples(path, offset, skip):
    """Samples of a shard from a byte of it on; the first ``skip`` without their contents."""
    sample = problem = None
    last = -1
    try:
        with _open(path, offset) as (tar, blocks, seekable):
            while (member := tar.next()) is not None:
                tar.members.clear()  # or it keeps them all
                if member.offset <= last:  # a negative size leads back, and round and round
                    raise ValueError("a header of negative size")
                last = member.offset
                key, suffix = _name(member.name)
                if member.isdir() or os.path.basename(member.name).startswith("._"):  # of macOS, no file
                    continue
                if sample is None or key != sample.key:
                    if sample is not None:
                        yield sample.until(member.offset if seekable else None)
                        skip -= 1
                    sample = _Sample(key)
                if skip <= 0:
                    sample.add(suffix, member, tar.fileobj)
            problem = blocks.ending()
    except Exception as error:  # decompressors and tarfile raise anything on damaged data
        problem = one_line(error)
    if sample is not None:
        yield sample
    if problem:
        yield _Sample("", Failure(f"the shard is damaged ({problem}); the rest of it is lost"))


class _Sample:
    """What was read of a sample; ``end`` is where the next one begins, if known."""

    def __init__(self, key, image=None):
        self.key = key
        self.end = None
        self._image = image
        self._texts = []
        self._json = []
        self._others = []

    @property
    def image(self):
        if self._image is None:
            return Failure(f"the sample has no image, only {', '.join(self._others[:8]) or 'nothing'}")
        return self._image

    def captions(self):
        if self._texts:
            return tuple(caption for text in self._texts for caption in clean_captions(text.split("\n")))
        found = []
        for text in self._json:
            try:
                values = json.loads(text)
            except (ValueError, RecursionError):
                continue
            if isinstance(values, dict):
                found += [clean_captions(values[name]) for name in find_captions(list(values))]
        return tuple(caption for captions in found for caption in captions)

    def until(self, end):
        self.end = end
        return self

    def add(self, suffix, member, file):
        """Take in a member, whose contents come next in the file."""
        self._others.append(valid_text(suffix or "a file without ending"))
        if suffix.endswith((*SUFFIXES, *OTHER_SUFFIXES)):
            if self._image is None:
                self._image = _contents(member, file, IMAGE_BYTES)
        elif suffix.endswith((*_TEXTS, ".json")):
            data = _contents(member, file, CAPTION_BYTES)
            if not isinstance(data, Failure):
                texts = self._json if suffix.endswith(".json") else self._texts
                texts.append(data.decode("utf-8-sig", "replace"))


def _contents(member, file, longest):
    """The bytes of a member, or why they are not there."""
    if not member.isfile() or member.issparse():
        return Failure("is no regular file in the shard")
    if member.size > longest:
        return Failure(f"has {member.size} bytes; at most {longest} are read")
    file.seek(member.offset_data)
    data = file.read(member.size)
    if len(data) < member.size:
        return Failure(f"the shard ends after {len(data)} of its {member.size} bytes")
    return data


def _name(name):
    """Key and suffix of a member's name; the suffix is all from the first dot."""
    name = name.removeprefix("./")
    match = _KEY.fullmatch(name)
    if match is None:
        return valid_text(name), os.path.basename(name).lower()
    return valid_text(match[1]), match[2].lower()


@contextlib.contextmanager
def _open(path, offset):
    """A tar file at a byte, its `_Blocks`, and whether one can seek in it."""
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open(path, "rb"))
        magic = file.read(8)
        file.seek(offset)
        decompress = next((opener for mark, opener in _COMPRESSED if magic.startswith(mark)), None)
        if decompress is not None:
            file = stack.enter_context(decompress(file))
        blocks = _Blocks(file)
        tar = stack.enter_context(tarfile.TarFile(fileobj=blocks, mode="r"))
        yield tar, blocks, decompress is None


class _Blocks:
    """A file for `tarfile` that refuses absurd headers and remembers the last one.

    A compressed header may claim to be of any length, and `tarfile` would read
    it whole. And `tarfile` takes a damaged header for the end of the archive.
    """

    def __init__(self, file):
        self._file = file
        self._last = None
        self.seek = file.seek
        self.tell = file.tell

    def read(self, size):
        if not 0 <= size <= IMAGE_BYTES:
            raise ValueError(f"a header of {size} bytes")
        data = self._file.read(size)
        if size == tarfile.BLOCKSIZE:
            self._last = data
        return data

    def ending(self):
        """What is wrong with the end of the archive, or None."""
        if self._last == bytes(tarfile.BLOCKSIZE):
            return None
        return (
            "there is no header where one must be"
            if self._last
            else "it has no end mark and may be cut short"
        )
