"""Images of any kind as RGB, or one line about why not.

What is decoded was measured first: the header tells the size, and Pillow's
settings, which belong to the whole process, are left as they are.
"""

import io
import os
import stat

import numpy as np

from .errors import ImageError, one_line

IMAGE_PIXELS = 89_478_485
"""Most pixels of an image that is decoded: where Pillow begins to warn. Decoded
and made RGB it takes 8 to 16 bytes a pixel, as JPEG 2000 24: 2.1 GB at most."""

IMAGE_SIDE = 8
"""Fewer pixels than this on a side show nothing that a caption names; tracking
pixels and spacers are 1 x 1."""

IMAGE_BYTES = 256 * 2**20
"""Longest image file that is read; also the longest member of a shard."""

JPEG_SCANS = 16
"""Scans of a progressive JPEG of the most pixels; smaller ones may have more. Each
passes over all pixels, even an empty one, and encoders write about 10."""

DRAFT_SIDE = 4
"""A JPEG is decoded at 1/2, 1/4 or 1/8 of its size as long as its shorter side
stays this many times what the model needs: averaging comes first anyway."""

THUMBNAIL_QUALITY = 85
"""JPEG quality of thumbnails: they are looked at, not computed with."""

THUMBNAIL_BYTES = 8192
"""Most bytes of one stored thumbnail. A JPEG of 128 x 128 takes 3-6 kB; one that
is larger is compressed further."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
"""Raster formats with a signature, read by decoders of Pillow. Not those that run
an interpreter (EPS, WMF) or hold images of another size than they say (ICO)."""

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT = (b"tRNS", b"eXIf", b"acTL", b"fcTL", b"fdAT")
"""Chunks that may be left out, and are not: transparency, orientation, animation."""


def decode(image, *, max_pixels=IMAGE_PIXELS, min_side=IMAGE_SIDE, target=None):
    """Decode an image to RGB.

    Parameters
    ----------
    image : bytes, path, PIL.Image.Image or ndarray
        A path must name a regular file. An array is H x W or H x W x 1, 3 or 4,
        uint8 or float in [0, 1].
    max_pixels : int
        Width times height at most, by the header, before anything is decoded.
    min_side : int
        Pixels on each side at least.
    target : int, optional
        Pixels that the shorter side will be scaled down to later. JPEGs that are much larger
        are decoded smaller, never below four times that.

    Returns
    -------
    PIL.Image.Image
        RGB, upright (EXIF orientation applied). Of an animation the first frame;
        transparency on white; more than 8 bits a channel scaled down. ICC profiles
        are ignored.

    Raises
    ------
    ImageError
        With the reason in one line, whatever is wrong with the image.
    """
    try:
        if isinstance(image, np.ndarray):
            opened = _from_array(image, max_pixels)
        elif hasattr(image, "convert") and hasattr(image, "getbands"):
            opened = image
        else:
            data = image if isinstance(image, bytes) else read_file(image)
            return _decode_file(data, max_pixels, min_side, target)
        _check_size(*opened.size, max_pixels, min_side)
        opened.load()
        return _to_rgb(_upright(opened, in_place=False))
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise anything on damaged data
        raise ImageError(f"cannot be decoded ({one_line(error)})") from error


def _decode_file(data, max_pixels, min_side, target):
    opened = None
    try:
        opened = _open(data)
        _check_size(*opened.size, max_pixels, min_side)
        _prepare(opened, data, max_pixels, target)
        opened.load()
    except ImageError:
        raise
    except Exception:
        # Pillow refuses a PNG for a long profile or text, or a damaged one, which say nothing of the pixels
        bare = without_notes(data)
        if bare is None:
            raise
        return _decode_file(bare, max_pixels, min_side, target)
    return _to_rgb(_upright(opened, in_place=True))


def without_notes(data):
    """A PNG without profiles, texts and the like, or None if it has none or is no PNG."""
    if not data.startswith(_PNG):
        return None
    parts, place = [_PNG], len(_PNG)
    while place + 12 <= len(data):
        end = place + 12 + int.from_bytes(data[place : place + 4], "big")
        kind = data[place + 4 : place + 8]
        if kind[:1].isupper() or kind in _PNG_KEPT:
            parts.append(data[place:end])
        place = end
    parts.append(data[place:])
    bare = b"".join(parts)
    return bare if len(bare) < len(data) else None


def read_file(path, max_bytes=IMAGE_BYTES):
    """The bytes of a regular file that is not too long.

    Directories, pipes and devices are refused, and not waited for.

    Raises
    ------
    ImageError
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ImageError("is no regular file")
        # a pipe that takes the file's place in between must not block either
        with open(path, "rb", opener=_open_at_once) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise ImageError("is no regular file")
            if found.st_size > max_bytes:
                raise ImageError(f"has {found.st_size} bytes; at most {max_bytes} are read")
            # one more, to see whether it grows; not `max_bytes`, for which memory would be set aside
            data = file.read(found.st_size + 1)
    except FileNotFoundError as error:
        raise ImageError("there is no such file") from error
    except (OSError, ValueError, TypeError) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise ImageError(f"cannot be read ({reason})") from error
    if len(data) > found.st_size:
        raise ImageError("grew while it was read")
    return data


def looks_like_image(prefix):
    """Whether the first 16 bytes of a file are those of one of `FORMATS`."""
    openers = _openers()
    return any(openers[name][1](prefix) is True for name in FORMATS if name in openers)


def thumbnail(image, side):
    """A small JPEG of an RGB image.

    Parameters
    ----------
    image : PIL.Image.Image
        RGB; it is left as it is.
    side : int
        Pixels of its longer side at most.

    Returns
    -------
    bytes
    """
    if max(image.size) > side:
        scale = side / max(image.size)
        size = tuple(max(1, round(length * scale)) for length in image.size)
        image = image.resize(size, reducing_gap=3.0)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=THUMBNAIL_QUALITY)
    return buffer.getvalue()


def _open_at_once(path, flags):
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check_size(width, height, max_pixels, min_side):
    if width * height > max_pixels:
        raise ImageError(f"decompression bomb: {width} x {height} pixels; at most {max_pixels} are decoded")
    if min(width, height) < min_side:
        raise ImageError(f"too small: {width} x {height} pixels; at least {min_side} are needed on each side")


def _openers():
    import PIL.Image

    PIL.Image.init()
    return PIL.Image.OPEN


def _open(data):
    """Read the header. Pillow's own `open` would warn of a large one, or refuse it."""
    if not data:
        raise ImageError("is empty")
    openers = _openers()
    for name in FORMATS:
        if name not in openers:
            continue
        factory, accept = openers[name]
        answer = accept(data[:16])
        if isinstance(answer, str):  # a format that this build of Pillow lacks
            raise ImageError(answer)
        if answer:
            return factory(io.BytesIO(data), "")
    raise ImageError(f"is in none of the formats {', '.join(FORMATS)}")


def _prepare(image, data, max_pixels, target):
    """Keep what a JPEG costs within bounds."""
    if image.format not in ("JPEG", "MPO"):
        return
    # in coded data 0xFF is always followed by 0 or a restart mark
    scans = data.count(b"\xff\xda")
    width, height = image.size
    if scans * width * height > JPEG_SCANS * max_pixels:
        raise ImageError(f"decompression bomb: a JPEG of {width} x {height} pixels in {scans} scans")
    if target is not None:
        scale = target * DRAFT_SIDE / min(image.size)
        if scale < 1:
            mode = image.mode if image.mode in ("L", "RGB") else None
            image.draft(mode, tuple(-int(-length * scale // 1) for length in image.size))


def _upright(image, in_place):
    """Turn as the EXIF orientation says; a damaged one says nothing."""
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image, in_place=in_place) or image
    except Exception:  # anything can be in there, and it is not the image; what is turned in place stays so
        return image


def _to_rgb(image):
    """The loaded image as a new RGB image."""
    mode = image.mode
    if mode.startswith("I") or mode == "F":
        return _from_numbers(np.asarray(image), mode)
    if mode == "LAB":
        return _from_lab(image)
    if mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        return _on_white(image)
    if mode == "RGBX":  # its fourth channel is no colour
        return image.convert("RGB")
    return image.copy() if mode == "RGB" else image.convert("RGB")


def _on_white(image):
    import PIL.Image

    if image.mode != "RGBA":
        image = image.convert("RGBA")
    white = PIL.Image.new("RGB", image.size, "white")
    white.paste(image, mask=image.getchannel("A"))
    return white


def _from_lab(image):
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.applyTransform(image, ImageCms.buildTransform(lab, srgb, "LAB", "RGB"))


def _from_numbers(values, mode):
    """Grey values of more than 8 bits.

    Those of 16 bits range over all 16. Where nothing says what white is (32 bits,
    floats) it is the first of 1 (floats), 255 and 65535 that no value exceeds,
    or else the values are spread from least to largest.
    """
    import PIL.Image

    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise ImageError("has values that are not finite")
    tops = (65535,) if mode.startswith("I;16") else (1, 255) if mode == "F" else (255, 65535)
    top = next((top for top in tops if low >= 0 and high <= top), None)
    if top is None:
        values, top = values - np.float32(low), (high - low) or 1.0
    grey = np.empty(values.shape, np.uint8)
    for row, target in zip(values, grey, strict=True):  # no second copy in floats
        target[:] = np.rint(row * np.float32(255 / top))
    return PIL.Image.fromarray(grey).convert("RGB")


def _from_array(array, max_pixels):
    import PIL.Image

    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))) or 0 in array.shape:
        raise ImageError(f"is an array of shape {array.shape}; it must be H x W or H x W x 1, 3 or 4")
    _check_size(array.shape[1], array.shape[0], max_pixels, 1)
    if array.dtype.kind == "f":
        low, high = float(array.min()), float(array.max())
        if not (low >= 0 and high <= 1):
            raise ImageError(f"is an array of floats from {low:g} to {high:g}; they must be in [0, 1]")
        array = np.rint(array.astype(np.float32) * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise ImageError(f"is an array of {array.dtype}; it must be uint8, or float in [0, 1]")
    return PIL.Image.fromarray(np.ascontiguousarray(array))
