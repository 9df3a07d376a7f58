"""Strips: every row once, in order; few of them for a small picture, small ones for a large."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest
import pyvips

from fastproc.worker.vips.strips import FILL_ROWS, STRIP_BYTES, STRIP_ROWS, strips


@pytest.mark.parametrize(
    ("width", "height", "bands", "count"),
    [
        (160, 120, 3, 1),
        (600, 450, 3, 4),
        (600, 436, 1, 1),
        (4000, 100, 3, 4),
        (1, 1, 3, 1),
        (100_000, 33, 3, 2),
    ],
)
def test_strips_are_the_rows_of_the_picture(width: int, height: int, bands: int, count: int) -> None:
    pixels = random.Random(1).randbytes(width * height * bands)
    picture = pyvips.Image.new_from_memory(pixels, width, height, bands, "uchar")
    found = [bytes(strip) for strip in strips(picture)]
    assert b"".join(found) == pixels
    assert len(found) == count
    assert all(len(strip) % (width * bands) == 0 for strip in found)
    assert all(len(strip) <= max(STRIP_BYTES, STRIP_ROWS * width * bands) for strip in found)


@pytest.mark.parametrize("height", [FILL_ROWS, FILL_ROWS + 1, 3 * FILL_ROWS])
def test_a_file_that_is_decoded_in_order_comes_whole(height: int) -> None:
    noise = pyvips.Image.gaussnoise(300, height, mean=128, sigma=40).cast("uchar").pngsave_buffer()
    whole = pyvips.Image.pngload_buffer(noise).write_to_memory()
    assert b"".join(map(bytes, strips(pyvips.Image.pngload_buffer(noise, access="sequential")))) == whole


#: Prints by how many kB the peak of resident memory rises while 10 megapixels are decoded.
DECODE = """
from pathlib import Path
from fastproc.worker.main import keep_memory
from fastproc.worker.vips.library import pyvips
from fastproc.worker.vips.strips import strips

def peak_kb():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])

keep_memory(128 << 20)
photo = pyvips.Image.black(8000, 1200, bands=3).copy(interpretation="srgb").jpegsave_buffer()
before = peak_kb()
assert sum(map(len, strips(pyvips.Image.jpegload_buffer(photo, access="sequential")))) == 8000 * 1200 * 3
print(peak_kb() - before)
"""


def test_decoding_a_large_photo_takes_the_memory_of_the_rows_that_libvips_keeps() -> None:
    """Of 512 rows it is 12 MB. Where gaps are left between them (glibc before 2.38) it is 50."""
    rise_kb = int(subprocess.check_output([sys.executable, "-I", "-c", DECODE]))
    assert rise_kb < 32 << 10
