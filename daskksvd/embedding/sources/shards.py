"""WebDataset shards: tar files in which members of one name make a sample."""

import bz2
import contextlib
import gzip
import lzma
import os
import tarfile
from typing import NamedTuple

from ...captions.files.text import Decoder
from ..errors import one_line, printable
from ..images import IMAGE_BYTES, looks_like_image
from .base import STATE_EVERY, Failure, Item, Source, valid_text
from .captions import CAPTION_BYTES
from .listing import fingerprint
from .samples import MOST, Group, parse

ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")

_COMPRESSED = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ", lzma.open))


class ShardSource(Source):
    """Samples of WebDataset shards, shard after shard.

    Parameters
    ----------
    paths : list of str
        Of tar files, also of compressed ones.
    folder : str, optional
        What they are called relative to; by default each is called by the last part of its path.
    n_samples : int, optional

    Notes
    -----
    Consecutive members that are called the same up to the first dot are a
    sample, unless dots are part of its name: see `samples`. Its captions
    are the lines of .txt, .cap and .caption members or, where these are blank, what a
    .json member has under a name for captions. Every image is an element, a
    second one of a sample too. Where a shard is damaged, an
    element of its own says that the rest of it is lost, and the next is read.
    """

    def __init__(self, paths, folder=None, n_samples=None):
        super().__init__(n_samples)
        self._paths = [os.path.abspath(path) for path in paths]
        folder = None if folder is None else os.path.abspath(folder)
        self._names = [
            valid_text(os.path.basename(path) if folder is None else os.path.relpath(path, folder))
            for path in self._paths
        ]
        for path in self._paths:
            if not os.path.isfile(path):
                raise FileNotFoundError(f"source names the shard {path!r}; there is no such file")

    def identity(self):
        sizes = [os.path.getsize(path) for path in self._paths]
        files = fingerprint(zip(self._names, sizes, strict=True))
        return {"kind": "shards", "names": self._names, "files": files}

    def _read(self, start, state):
        # the next sample is the one after `done` samples behind `offset` of that shard
        position, first, offset, done = 0, 0, 0, 0
        if state is not None:
            first, offset, done = (int(state[1][name]) for name in ("shard", "offset", "done"))
            position = state[0] + 1 - done
        for number in range(first, len(self._paths)):
            name = self._names[number]
            samples = _samples(self._paths[number], offset, start - position)
            for done, found in enumerate(samples, 1):
                if position >= start:
                    place = found.place or (offset, done)
                    yield Item(
                        position,
                        f"{name}::{found.key}" if found.key else name,
                        found.image,
                        found.captions,
                        self._state(position, number, *place),
                        found.lost,
                        found.missing,
                    )
                position += 1
            offset = 0

    def _state(self, position, shard, offset, done):
        if position % STATE_EVERY != STATE_EVERY - 1:
            return None
        return {"shard": shard, "offset": offset, "done": done}


def _samples(path, offset, skip):
    """Samples of a shard from a byte of it on, each with its place.

    The first ``skip`` are without their contents. A place is where the next sample is found: a byte
    and how many samples come before it there, both None in a compressed shard.
    """
    group, begin, last, problem = Group(), offset, -1, None
    decoder = Decoder(f"the shard {path!r}", "texts")
    try:
        with _open(path, offset) as (tar, blocks, seekable):
            while (found := tar.next()) is not None:
                tar.members.clear()  # or it keeps them all
                if found.offset <= last:  # a negative size leads back, and round and round
                    raise ValueError("a header of negative size")
                last = found.offset
                if found.isdir():
                    continue
                member = _member(found, tar.fileobj, skip < MOST)
                if member is None:
                    continue
                if not group.takes(member):
                    end = found.offset if seekable else None
                    for element in _elements(group, begin, end, decoder):
                        yield element
                        skip -= 1
                    group, begin = Group(), found.offset
                group.add(member)
            problem = blocks.ending()
    except Exception as error:  # decompressors and tarfile raise anything on damaged data
        problem = one_line(error)
    yield from _elements(group, begin, None, decoder)
    decoder.tell()
    if problem:
        yield _Element("", Failure(f"the shard is damaged ({problem}); the rest of it is lost"))


class _Element(NamedTuple):
    """A sample, or an image that it does not use; ``place`` is where the next one is found, if known."""

    key: str
    image: object
    captions: tuple = ()
    lost: int = 0
    missing: str | None = None
    place: tuple | None = None


def _elements(group, begin, end, decoder):
    """The samples of a group, and behind each its further images."""
    found = []
    for sample in group.samples() if group else ():
        found.append((sample.key, sample.image, *sample.texts(decoder)))
        for member in sample.further:
            reason = f"is a further image of the sample {sample.key}, of which one is used"
            found.append((member.name, Failure(printable(reason)), (), 0, None))
    for done, element in enumerate(found, 1):
        place = None if end is None else (end, 0) if done == len(found) else (begin, done)
        yield _Element(*element, place)


def _member(found, file, wanted):
    """A member with its contents, if they are wanted and of use; None for notes of macOS."""
    member = parse(found.name)
    notes = os.path.basename(found.name).startswith("._")
    if notes or not member.kind:
        if looks_like_image(_begin(found, file)):
            member = member._replace(kind="image")
        elif notes:
            return None
    if not member.kind or not wanted:
        return member
    longest = IMAGE_BYTES if member.kind == "image" else CAPTION_BYTES
    return member._replace(content=_contents(found, file, longest))


def _begin(found, file):
    """The first bytes of a regular member."""
    if not found.isfile() or found.issparse():
        return b""
    file.seek(found.offset_data)
    return file.read(min(16, found.size))


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
