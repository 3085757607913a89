"""Decoding: right colours from every mode, and what is refused."""

import io
import warnings
import zlib

import numpy as np
import PIL.Image
import pytest
from PIL import ImageCms
from small_images import encoded, picture, pixels, png, reason

from daskksvd.embedding.errors import ImageError
from daskksvd.embedding.images import decode, thumbnail


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_pixels_of_lossless_formats_come_back(kind, tmp_path):
    data = encoded(picture(), kind)
    assert np.array_equal(pixels(decode(data)), picture())
    path = tmp_path / "image.bin"  # the contents count, not the name
    path.write_bytes(data)
    assert np.array_equal(pixels(decode(path)), picture())
    assert np.array_equal(pixels(decode(str(path))), picture())


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "JPEG2000", "AVIF"])
def test_pixels_of_lossy_formats_come_close(kind):
    assert np.abs(pixels(decode(encoded(picture(), kind, quality=95))) - picture()).mean() < 8


def test_a_decoded_image_is_a_new_one():
    image = PIL.Image.fromarray(picture())
    found = decode(image)
    found.putpixel((0, 0), (1, 2, 3))
    assert np.array_equal(np.asarray(image), picture())


def test_grey_and_black_and_white():
    grey = picture()[:, :, 0]
    assert np.array_equal(pixels(decode(encoded(grey, "PNG"))), np.stack([grey] * 3, -1))
    bits = PIL.Image.fromarray(grey > 100)
    assert bits.mode == "1"
    wanted = np.stack([(grey > 100) * 255] * 3, -1)
    assert np.array_equal(pixels(decode(encoded(bits, "PNG"))), wanted)
    assert np.array_equal(pixels(decode(encoded(bits, "TIFF"))), wanted)


def on_white(rgb, alpha):
    share = alpha[:, :, None] / 255
    return rgb * share + 255 * (1 - share)


def test_transparency_is_laid_on_white():
    rgb = picture()
    alpha = np.linspace(0, 255, 32 * 48).reshape(32, 48).astype(np.uint8)
    rgba = np.dstack([rgb, alpha])
    for kind in ("PNG", "TIFF"):
        assert np.abs(pixels(decode(encoded(rgba, kind))) - on_white(rgb, alpha)).max() <= 1
    la = PIL.Image.merge("LA", [PIL.Image.fromarray(rgb[:, :, 0]), PIL.Image.fromarray(alpha)])
    grey = np.stack([rgb[:, :, 0]] * 3, -1)
    assert np.abs(pixels(decode(encoded(la, "PNG"))) - on_white(grey, alpha)).max() <= 1
    premultiplied = PIL.Image.fromarray(rgba).convert("RGBa")
    near = np.abs(pixels(decode(premultiplied)) - on_white(rgb, alpha))
    assert near.max() <= 2


def test_palettes_with_and_without_transparency():
    palette = PIL.Image.fromarray(picture()).quantize(16)
    wanted = pixels(palette.convert("RGB"))
    assert np.array_equal(pixels(decode(encoded(palette, "PNG"))), wanted)
    index = palette.getpixel((0, 0))
    clear = np.asarray(palette) == index
    for kind, options in (("PNG", {"transparency": index}), ("GIF", {"transparency": index})):
        found = pixels(decode(encoded(palette, kind, **options)))
        assert np.array_equal(found[clear], np.full((clear.sum(), 3), 255))
        assert np.array_equal(found[~clear], wanted[~clear])
    some = bytes([255] * 15 + [128])  # a table of transparencies, as PNG has it
    found = pixels(decode(encoded(palette, "PNG", transparency=some)))
    half = np.asarray(palette) == 15
    assert np.abs(found[half] - (wanted[half] * 128 + 255 * 127) / 255).max() <= 1
    assert np.array_equal(found[~half], wanted[~half])


def test_a_colour_that_means_transparent():
    rgb = picture()
    rgb[:8, :8] = (9, 8, 7)
    found = pixels(decode(encoded(rgb, "PNG", transparency=(9, 8, 7))))
    assert (found[:8, :8] == 255).all()
    assert np.array_equal(found[8:], rgb[8:])


def test_cmyk_also_as_adobe_writes_it():
    rgb = picture()
    cmyk = PIL.Image.fromarray(rgb).convert("CMYK")
    assert np.abs(pixels(decode(encoded(cmyk, "TIFF"))) - rgb).max() <= 1
    jpeg = encoded(cmyk, "JPEG", quality=95)
    assert b"Adobe" in jpeg  # and so its values are inverted
    assert np.abs(pixels(decode(jpeg)) - rgb).mean() < 8


def test_other_colour_spaces():
    rgb = picture()
    image = PIL.Image.fromarray(rgb)
    assert np.abs(pixels(decode(image.convert("YCbCr"))) - rgb).max() <= 3
    assert np.abs(pixels(decode(image.convert("HSV"))) - rgb).max() <= 12
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    image = ImageCms.applyTransform(image, ImageCms.buildTransform(srgb, lab, "RGB", "LAB"))
    assert image.mode == "LAB"
    for found in (decode(image), decode(encoded(image, "TIFF"))):
        assert np.abs(pixels(found) - rgb).mean() < 4  # of 8 bits a channel
    # by the definition of L*: half as light is 119 of 255, without colour
    middle = PIL.Image.new("LAB", (16, 16), (128, 128, 128))
    assert np.abs(pixels(decode(middle)) - 119).max() <= 2


def test_sixteen_bits_are_scaled_to_eight():
    deep = np.linspace(0, 65535, 32 * 48).reshape(32, 48).astype(np.uint16)
    for kind in ("PNG", "TIFF"):
        found = pixels(decode(encoded(deep, kind)))
        assert np.abs(found[:, :, 0] - deep / 257).max() <= 0.51
    assert found.min() == 0 and found.max() == 255
    big = PIL.Image.frombytes("I;16B", (48, 32), deep.astype(">u2").tobytes())
    assert np.array_equal(pixels(decode(big)), found)


def test_integers_and_floats_are_scaled_by_what_they_hold():
    ramp = np.linspace(0, 1, 32 * 48).reshape(32, 48)
    wanted = ramp * 255
    for top in (1, 255):
        found = decode(PIL.Image.fromarray((ramp * top).astype(np.float32)))
        assert np.abs(pixels(found)[:, :, 0] - wanted).max() <= 0.51
    for top in (255, 65535, 2**30):
        values = (ramp * top).astype(np.int32)
        found = pixels(decode(encoded(PIL.Image.fromarray(values), "TIFF")))[:, :, 0]
        assert np.abs(found - wanted).max() <= 1.1
    below = PIL.Image.fromarray((ramp * 8 - 5).astype(np.float32))
    assert np.abs(pixels(decode(below))[:, :, 0] - wanted).max() <= 0.51
    assert "not finite" in reason(PIL.Image.fromarray(np.full((16, 16), np.nan, np.float32)))
    assert (pixels(decode(PIL.Image.fromarray(np.full((16, 16), -3, np.int32)))) == 0).all()


def test_the_orientation_is_applied():
    """As the EXIF specification has it: which side the first row and column are."""
    stored = picture()
    seen = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.transpose(1, 0, 2),
        6: np.rot90(stored, -1),
        7: stored[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(stored),
    }
    for orientation, wanted in seen.items():
        exif = PIL.Image.Exif()
        exif[0x0112] = orientation
        for kind in ("PNG", "TIFF"):
            found = pixels(decode(encoded(stored, kind, exif=exif)))
            assert np.array_equal(found, wanted), (kind, orientation)
        for kind in ("JPEG", "WEBP", "AVIF"):
            found = pixels(decode(encoded(stored, kind, exif=exif, quality=95)))
            assert np.abs(found - wanted).mean() < 8, (kind, orientation)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_damaged_or_odd_exif_turns_nothing():
    data = encoded(picture(), "JPEG", exif=b"Exif\0\0" + b"MM\0\x2a" + b"\xff" * 20, quality=95)
    assert np.abs(pixels(decode(data)) - picture()).mean() < 8
    for odd in (0, 9, 60000):
        exif = PIL.Image.Exif()
        exif[0x0112] = odd
        assert np.array_equal(pixels(decode(encoded(picture(), "PNG", exif=exif))), picture())


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF", "TIFF"])
def test_of_an_animation_the_first_frame_counts(kind):
    frames = [PIL.Image.new("RGB", (32, 24), colour) for colour in ("red", "lime", "blue")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    with PIL.Image.open(io.BytesIO(data)) as image:
        assert image.n_frames == 3
    assert np.abs(pixels(decode(data)) - (255, 0, 0)).max() <= 4


def test_two_pictures_in_one_jpeg():
    frames = [PIL.Image.fromarray(picture()), PIL.Image.new("RGB", (32, 24), "blue")]
    data = encoded(frames[0], "MPO", save_all=True, append_images=frames[1:], quality=95)
    assert np.abs(pixels(decode(data)) - picture()).mean() < 8


def test_what_follows_an_image_does_not_matter():
    data = encoded(picture(), "PNG")
    assert np.array_equal(pixels(decode(data + b"PK\x03\x04 also a zip file" * 100)), picture())


def test_wide_images_are_decoded():
    wide = np.zeros((1_000, 20_000, 3), np.uint8)
    wide[:, 10_000:] = (10, 200, 30)
    found = decode(encoded(wide, "PNG", compress_level=1))
    assert found.size == (20_000, 1_000)
    assert found.getpixel((19_999, 999)) == (10, 200, 30)


# --- arrays and images in memory --------------------------------------------------


def test_arrays():
    rgb = picture()
    assert np.array_equal(pixels(decode(rgb)), rgb)
    assert np.array_equal(pixels(decode(rgb[::-1])), rgb[::-1])  # not contiguous
    grey = np.stack([rgb[:, :, 0]] * 3, -1)
    assert np.array_equal(pixels(decode(rgb[:, :, 0])), grey)
    assert np.array_equal(pixels(decode(rgb[:, :, :1])), grey)
    alpha = np.full((32, 48, 1), 51, np.uint8)
    found = pixels(decode(np.concatenate([rgb, alpha], -1)))
    assert np.abs(found - on_white(rgb, alpha[:, :, 0])).max() <= 1
    for dtype in (np.float16, np.float32, np.float64):
        assert np.abs(pixels(decode((rgb / 255).astype(dtype))) - rgb).max() <= 1


@pytest.mark.parametrize(
    "array, found",
    [
        (np.zeros((3, 32, 32), np.uint8), r"shape \(3, 32, 32\)"),
        (np.zeros((32, 32, 2), np.uint8), r"shape \(32, 32, 2\)"),
        (np.zeros(32, np.uint8), r"shape \(32,\)"),
        (np.zeros((0, 32, 3), np.uint8), r"shape \(0, 32, 3\)"),
        (np.zeros((32, 32), np.int64), "int64"),
        (np.zeros((32, 32), bool), "bool"),
        (np.zeros((32, 32), complex), "complex"),
        (np.array([["a", "b"]]), "U1"),
        (np.full((32, 32), 1.5), "from 1.5 to 1.5"),
        (np.full((32, 32), np.nan), "from nan"),
        (np.zeros((4, 32, 3), np.uint8), "too small: 32 x 4"),
    ],
)
def test_arrays_that_are_no_images(array, found):
    with pytest.raises(ImageError, match=found):
        decode(array)


def test_an_image_that_was_closed_and_one_whose_file_is_gone(tmp_path):
    path = tmp_path / "image.png"
    path.write_bytes(encoded(picture(), "PNG"))
    image = PIL.Image.open(path)
    image.close()
    assert reason(image)
    path.write_bytes(encoded(picture(), "PNG")[:100])
    with PIL.Image.open(path) as image:
        assert reason(image)


# --- what is refused ---------------------------------------------------------------


def test_bounds_are_those_that_were_given():
    image = PIL.Image.new("RGB", (100, 50))
    assert decode(encoded(image, "PNG"), max_pixels=5_000, min_side=50).size == (100, 50)
    text = reason(encoded(image, "PNG"), max_pixels=4_999)
    assert "decompression bomb" in text and "100 x 50" in text and "4999" in text
    text = reason(encoded(image, "PNG"), min_side=51)
    assert "too small" in text and "100 x 50" in text and "51" in text
    assert "bomb" in reason(image, max_pixels=4_999) and "bomb" in reason(np.asarray(image), max_pixels=4_999)


def test_pillow_is_left_as_it_was():
    from PIL import ImageFile

    before = PIL.Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters)
    bomb = png(12_000, 12_000, 1, 0, zlib.compress(bytes(100)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a bomb is refused in words, not with a warning
        assert "decompression bomb" in reason(bomb)
    assert before == (PIL.Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))


def test_limits_above_pillows_own_hold():
    bomb = png(
        30_000, 6_000, 1, 0, zlib.compress(bytes(3751 * 6_000))
    )  # 180 million, more than Pillow's error
    assert decode(bomb, max_pixels=200_000_000).size == (30_000, 6_000)


def test_large_jpegs_are_decoded_smaller_but_not_too_small():
    large = picture(1_600, 1_200)
    data = encoded(large, "JPEG", quality=95)
    assert decode(data).size == (1_600, 1_200)
    for target, size in ((150, (800, 600)), (151, (1_600, 1_200)), (75, (400, 300)), (16, (200, 150))):
        found = decode(data, target=target)
        assert found.size == size
        shrunk = PIL.Image.fromarray(large).resize(size, PIL.Image.Resampling.BOX)
        assert np.abs(pixels(found) - np.asarray(shrunk)).mean() < 4
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    assert decode(encoded(large, "JPEG", exif=exif), target=75).size == (300, 400)
    assert decode(encoded(large, "PNG", compress_level=1), target=75).size == (1_600, 1_200)
    grey = encoded(large[:, :, 0], "JPEG", quality=95)
    assert np.abs(pixels(decode(grey, target=75))[150, 200] - 127).max() < 4
    cmyk = encoded(PIL.Image.fromarray(large).convert("CMYK"), "JPEG", quality=95)
    assert np.abs(pixels(decode(cmyk, target=75)) - pixels(decode(data, target=75))).mean() < 4


# --- thumbnails -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "size, wanted", [((400, 300), (128, 96)), ((30, 900), (4, 128)), ((90, 60), (90, 60))]
)
def test_thumbnails(size, wanted):
    image = PIL.Image.new("RGB", size, (200, 100, 50))
    with PIL.Image.open(io.BytesIO(thumbnail(image, 128))) as small:
        assert small.format == "JPEG" and small.size == wanted
        assert np.abs(np.asarray(small).astype(int) - (200, 100, 50)).max() <= 4
    assert image.size == size
