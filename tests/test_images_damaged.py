"""Decoding: one line about everything that is no image, within memory."""

import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_images import encoded, hostile, picture, reason

from daskksvd.embedding.errors import ImageError, Rejected
from daskksvd.embedding.images import decode, read_file


def test_every_hostile_file_is_refused_in_one_line(tmp_path):
    for name, wanted in hostile(tmp_path).items():
        with pytest.raises(ImageError, match=wanted) as caught:
            decode(tmp_path / name)
        assert "\n" not in str(caught.value), name
    assert "no regular file" in reason("/dev/zero") if os.path.exists("/dev/zero") else True
    assert "cannot be read" in reason("a\0b.jpg")
    assert "no such file" in reason(tmp_path / "none.jpg")
    assert reason(3.5) and reason(None)


def test_long_files_are_not_read(tmp_path):
    path = tmp_path / "long.png"
    with open(path, "wb") as file:
        file.truncate(300 * 2**20)  # no disk is used
    assert "bytes; at most" in reason(path)
    small = tmp_path / "small.png"
    small.write_bytes(encoded(picture(), "PNG"))
    size = small.stat().st_size
    assert len(read_file(small, max_bytes=size)) == size
    with pytest.raises(ImageError, match=f"{size} bytes; at most {size - 1}"):
        read_file(small, max_bytes=size - 1)


def test_a_reason_is_what_is_recorded():
    assert issubclass(ImageError, Rejected)
    import pickle

    error = pickle.loads(pickle.dumps(ImageError("it is too small")))  # from a worker
    assert str(error) == "it is too small" and isinstance(error, ImageError)


# --- damage --------------------------------------------------------------------------

ENCODED = {
    kind: encoded(picture(), kind)
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
}


def attempt(data):
    """Decode, or be refused; nothing else may happen."""
    try:
        assert decode(data).mode == "RGB"
    except ImageError as error:
        assert str(error) and "\n" not in str(error)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ENCODED)
def test_files_cut_anywhere(kind):
    data = ENCODED[kind]
    for length in sorted({*range(0, 64), *range(64, len(data), max(1, len(data) // 60))}):
        attempt(data[:length])
    # half a picture is no picture, in every format
    reason(data[: len(data) // 2])


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(ENCODED)), st.data())
def test_files_with_wrong_bytes(kind, draw):
    data = bytearray(ENCODED[kind])
    for _ in range(draw.draw(st.integers(1, 8))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    attempt(bytes(data))


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(ENCODED)), st.integers(2, 40), st.binary(max_size=400))
def test_a_header_and_then_noise(kind, kept, noise):
    attempt(ENCODED[kind][:kept] + noise)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200))
def test_noise(noise):
    attempt(noise)


# --- memory -------------------------------------------------------------------------------


def test_refusing_costs_no_memory(tmp_path):
    names = hostile(tmp_path)
    decode(encoded(picture(), "PNG"))  # what is loaded once
    tracemalloc.start()
    for name in names:
        reason(tmp_path / name)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * 2**20


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads VmHWM, which Linux has")
def test_bombs_and_large_images_keep_within_memory(tmp_path):
    """The process's own peak, since decoders do not allocate through Python."""
    hostile(tmp_path)
    large = np.zeros((4_000, 6_000, 3), np.uint8)
    (tmp_path / "zz-large.jpg").write_bytes(encoded(large, "JPEG"))
    code = """
import os, sys
from daskksvd.embedding.errors import ImageError
from daskksvd.embedding.images import decode

def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) // 1024

decode(os.path.join(sys.argv[1], "zz-small.png"))
before = peak()
for name in sorted(os.listdir(sys.argv[1])):
    try:
        image = decode(os.path.join(sys.argv[1], name), target=224)
    except ImageError:
        pass
print(peak() - before, *image.size)
"""
    (tmp_path / "zz-small.png").write_bytes(encoded(picture(), "PNG"))
    os.rename(tmp_path / "zz-large.jpg", tmp_path / "zzz-large.jpg")
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    grown, width, height = map(int, done.stdout.split())
    assert (width, height) == (1_500, 1_000)  # a quarter: the shorter side stays above 4 x 224
    # whole, it would be 24 million pixels of 4 bytes, twice
    assert grown < 64
