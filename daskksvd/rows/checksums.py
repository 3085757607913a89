"""A checksum of every chunk, by which a checkpoint knows its rows again."""

import functools

import numpy as np

from ..execution import Blueprint
from ..stores.keys import crc32c

_BLOCK = 4096
"""Rows looked at together, so that a chunk that must be copied is not copied whole."""


def checksum(rows):
    """CRC-32C of the bytes of some rows, in their own dtype."""
    value = 0
    for start in range(0, len(rows), _BLOCK):
        block = np.ascontiguousarray(rows[start : start + _BLOCK])
        value = crc32c(block.reshape(-1).view(np.uint8), value)
    return value


class _Checked:
    """A job that takes checksums of what it reads."""

    def __init__(self, job):
        self.job = job
        self.found = []

    def read(self, inputs, **named):
        for piece, rows in self.job.read(inputs, **named):
            self.found.append(checksum(rows))
            yield piece, rows


def with_checksums(blueprint):
    """A blueprint that also returns the checksums of the pieces, a uint32 array in their order."""
    chunk = functools.partial(_checked_chunk, blueprint.chunk)
    chunk.__name__ = blueprint.chunk.__name__  # names its tasks
    return Blueprint(chunk, functools.partial(_checked_combine, blueprint.combine))


def run_checksums(reader, jobs):
    """Checksums of the pieces of some jobs, a uint32 array."""
    return reader.reduce(Blueprint(_checksums_job, np.concatenate), jobs)


def _checksums_job(job, inputs):
    return np.array([checksum(rows) for _, rows in job.read(inputs)], np.uint32)


def _checked_chunk(chunk, job, *arguments):
    job = _Checked(job)
    part = chunk(job, *arguments)
    return part, np.array(job.found, np.uint32)


def _checked_combine(combine, pairs):
    parts, found = zip(*pairs, strict=True)
    return combine(list(parts)), np.concatenate(found)
