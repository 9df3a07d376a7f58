"""A decoder's words become the code that is true, and a message that says something."""

from __future__ import annotations

import pytest

from fastproc.core.errors import FileCorrupted, TaskError, UnsupportedFormat, WorkerOutOfMemory
from fastproc.core.gate.judge import judge
from fastproc.core.model import Limits
from fastproc.worker.vips.library import translated
from fastproc.worker.vips.opening import File
from fastproc.worker.vips.resampling import in_memory
from tests import pictures


@pytest.mark.parametrize(
    ("said", "kind", "text"),
    [
        (
            "unable to call jpegload_source\n  VipsJpeg: Bogus marker length\n",
            FileCorrupted,
            "VipsJpeg: Bogus marker length",
        ),
        (
            "unable to copy to memory\n  heif: Memory allocation error (6.0)\n7.0\n",
            WorkerOutOfMemory,
            "heif: Memory allocation error (6.0)",
        ),
        (
            "Error while loading plugin: Support for this compression format has not been built in: JPEG",
            UnsupportedFormat,
            "Error while loading plugin: Support for this compression format has not been built in: JPEG",
        ),
        (
            "unable to call heifload_source\n  heif: Unsupported feature: Unsupported data version: meta (4.2003)",
            FileCorrupted,
            "heif: Unsupported feature: Unsupported data version: meta (4.2003)",
        ),
        (
            "VipsJpeg: Fractional sampling not implemented yet\njpegload_source: load error",
            UnsupportedFormat,
            "VipsJpeg: Fractional sampling not implemented yet",
        ),
        (
            "unable to call pngload_source\n  ",
            FileCorrupted,
            "the decoder refuses the file, and gives no reason",
        ),
        ("unable to copy to memory\n  ", FileCorrupted, "the decoder refuses the file, and gives no reason"),
        ("", FileCorrupted, "the decoder refuses the file, and gives no reason"),
    ],
)
def test_a_decoders_words_are_translated(said: str, kind: type[TaskError], text: str) -> None:
    error = translated(said)
    assert (type(error), error.message) == (kind, text)


def test_a_jpeg_that_libjpeg_has_no_code_for_is_unsupported_and_not_damaged() -> None:
    """Legal sampling that is no whole share of another component's: 3x1 beside 2x1."""
    data = bytearray(pictures.jpeg(subsampling=2))
    components = data.find(b"\xff\xc0") + 10
    data[components + 1], data[components + 4] = 0x31, 0x21
    whole = bytes(data)
    # libvips reads it in place: it must live as long as the pixels.
    file = File(memoryview(whole), judge(whole, Limits(min_side_px=1)), 1)
    with pytest.raises(UnsupportedFormat, match="not implemented"):
        in_memory(file.pixels(1))
