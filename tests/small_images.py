"""Pictures in every format, and files that are none."""

import io
import os
import struct
import zlib

import numpy as np
import PIL.Image
import pytest

from daskksvd.embedding.errors import ImageError
from daskksvd.embedding.images import decode


def picture(width=48, height=32):
    """A picture that looks different whichever way it is turned."""
    y, x = np.mgrid[:height, :width]
    red, green = x * 255 // (width - 1), y * 255 // (height - 1)
    blue = ((x < width // 3) & (y < height // 2)) * 200
    return np.stack([red, green, blue], axis=-1).astype(np.uint8)


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    if isinstance(image, np.ndarray):
        image = PIL.Image.fromarray(image)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(image):
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


def png(width, height, depth, color, data, extra=b""):
    """A PNG file with a header of our own."""

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def reason(image, **options):
    with pytest.raises(ImageError) as caught:
        decode(image, **options)
    text = str(caught.value)
    assert text and "\n" not in text and len(text) < 300
    return text


def hostile(folder):
    """Write every kind of bad file, and say what is wrong with each."""
    good = encoded(picture(), "PNG")
    jpeg = encoded(picture(200, 150), "JPEG")
    raster = zlib.compress(bytes(3751 * 1_000), 9) * 30
    files = {
        "empty.jpg": (b"", "empty"),
        "text.jpg": (b"this is no image, it only says so\n" * 50, "none of the formats"),
        "page.jpg": (b"<!DOCTYPE html><html>404</html>", "none of the formats"),
        "drawing.svg": (b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>", "none of the"),
        "script.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 90 90\nshowpage\n", "none of the"),
        "document.png": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "none of the formats"),
        "icon.ico": (encoded(PIL.Image.fromarray(picture()), "ICO"), "none of the formats"),
        "wmf.wmf": (b"\xd7\xcd\xc6\x9a" + bytes(100), "none of the formats"),
        "zip.png": (b"PK\x03\x04" + bytes(200), "none of the formats"),
        "one.png": (encoded(np.zeros((1, 1, 3), np.uint8), "PNG"), "too small: 1 x 1"),
        "one.gif": (encoded(np.zeros((1, 1), np.uint8), "GIF"), "too small: 1 x 1"),
        "line.png": (encoded(np.zeros((1, 9000), np.uint8), "PNG"), "too small: 9000 x 1"),
        "huge-header.png": (png(2**31 - 1, 2**31 - 1, 8, 2, b""), "bomb"),
        "bomb.png": (png(30_000, 30_000, 1, 0, raster), "bomb: 30000 x 30000"),
        "bomb.gif": (b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + good, "."),
        "bomb.bmp": (encoded(picture(), "BMP")[:18] + struct.pack("<ii", 2**30, 2**30) + bytes(99), "."),
        "nothing.png": (png(0, 0, 8, 2, b""), "."),
        "header-only.png": (good[:33], "cannot be decoded"),
        "half.png": (good[: len(good) // 2], "cannot be decoded"),
        "half.jpg": (jpeg[: len(jpeg) // 2], "cannot be decoded"),
        "half.gif": (encoded(PIL.Image.fromarray(picture()), "GIF")[:700], "cannot be decoded"),
        "half.webp": (encoded(picture(), "WEBP")[:80], "cannot be decoded"),
        "half.tif": (encoded(picture(), "TIFF")[:900], "cannot be decoded"),
        "half.avif": (encoded(picture(), "AVIF")[:200], "cannot be decoded"),
        "half.jp2": (encoded(picture(), "JPEG2000")[:200], "cannot be decoded"),
        "half.ppm": (encoded(picture(), "PPM")[:200], "cannot be decoded"),
        "checksum.png": (good[:60] + b"\xff" + good[61:], "cannot be decoded"),
        "scans.jpg": (many_scans(), "in 100[0-9] scans"),
        "zeros.jpg": (b"\xff\xd8\xff" + bytes(4000), "cannot be decoded"),
    }
    for name, (data, _) in files.items():
        (folder / name).write_bytes(data)
    (folder / "folder.jpg").mkdir()
    (folder / "dangling.jpg").symlink_to("nowhere.jpg")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    found = {name: wanted for name, (_, wanted) in files.items()}
    found |= {"folder.jpg": "no regular file", "dangling.jpg": "no such file", "loop.jpg": "cannot be read"}
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.jpg")
        found["pipe.jpg"] = "no regular file"
    return found


def many_scans():
    """A progressive JPEG whose last scan is repeated."""
    data = encoded(np.zeros((2_000, 2_000), np.uint8), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * 1_000 + data[-2:]
