"""PNG files with much, or nonsense, besides their pixels."""

import io
import os
import zlib

import numpy as np
import PIL.Image
import pytest

from daskksvd.embedding.errors import ImageError
from daskksvd.embedding.images import decode, without_notes

MARK = b"\x89PNG\r\n\x1a\n"


def chunk(kind, data, damaged=False):
    check = zlib.crc32(kind + data) ^ damaged
    return len(data).to_bytes(4, "big") + kind + data + check.to_bytes(4, "big")


def picture(mode="RGB"):
    rng = np.random.default_rng(0)
    return PIL.Image.fromarray(rng.integers(0, 256, (20, 30, len(mode)), np.uint8), mode)


def plain(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def with_chunks(data, *chunks, last=False):
    """Chunks behind the header, or before the end."""
    place = len(data) - 12 if last else len(MARK) + 25
    return data[:place] + b"".join(chunks) + data[place:]


NOISE = os.urandom(2_000_000)
NOTES = {
    "profile of 2 MB": chunk(b"iCCP", b"big\0\0" + zlib.compress(NOISE)),
    "profile of 2 MB of zeros": chunk(b"iCCP", b"big\0\0" + zlib.compress(bytes(2_000_000))),
    "long text": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(NOISE)),
    "long international text": chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(NOISE)),
    "much text": b"".join(chunk(b"tEXt", b"k%d\0" % k + b"x" * 1_000_000) for k in range(70)),
    "damaged profile": chunk(b"iCCP", b"x\0\0no zlib"),
    "profile with a wrong sum": chunk(b"iCCP", b"x\0\0" + zlib.compress(b"y"), damaged=True),
    "text with a wrong sum": chunk(b"tEXt", b"a\0b", damaged=True),
    "odd chunk": chunk(b"caBX", NOISE, damaged=True),
}


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("note", NOTES)
def test_notes_are_no_matter(note, last):
    image = picture()
    found = decode(with_chunks(plain(image), NOTES[note], last=last))
    np.testing.assert_array_equal(np.asarray(found), np.asarray(image))


def test_what_shows_is_kept():
    """Transparency and orientation."""
    image = picture("RGBA")
    image.putalpha(0)
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    big = NOTES["profile of 2 MB"]
    found = decode(with_chunks(plain(image, exif=exif), big))
    assert found.size == (20, 30) and (np.asarray(found) == 255).all()
    grey = plain(picture().convert("P"), transparency=bytes(256))
    np.testing.assert_array_equal(np.asarray(decode(with_chunks(grey, big))), np.asarray(decode(grey)))


def test_what_is_damaged_is_still_rejected():
    data = plain(picture())
    for broken in (data[:-40], with_chunks(data[:-40], NOTES["long text"])):
        with pytest.raises(ImageError, match="cannot be decoded"):
            decode(broken)
    with pytest.raises(ImageError, match="decompression bomb"):
        decode(with_chunks(data, NOTES["profile of 2 MB"]), max_pixels=100)
    assert without_notes(data) is None and without_notes(b"no PNG") is None
