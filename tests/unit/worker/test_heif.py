"""What libheif hands over becomes a picture of 8 bits, whatever its mode; a fake, since nothing here writes HEVC."""

from __future__ import annotations

import numpy as np
import pytest

from fastproc.core.errors import UnsupportedFormat
from fastproc.worker import heif


class Opened(list):
    """As pi_heif opens a file of one picture."""

    primary_index = 0


class Picture:
    """A decoded picture of that mode, with padded rows."""

    has_alpha = False

    def __init__(self, mode: str, samples: np.ndarray, bits: int) -> None:
        height, width, bands = samples.shape
        padded = np.zeros((height, width + 3, bands), samples.dtype)
        padded[:, :width] = samples
        self.mode, self.size, self.data = mode, (width, height), padded.tobytes()
        self.stride = padded.strides[0]
        self.info = {"bit_depth": bits, "icc_profile": None, "exif": None}


def opened(monkeypatch: pytest.MonkeyPatch, picture: Picture) -> heif.File:
    monkeypatch.setattr(heif.pi_heif, "open_heif", lambda *_, **__: Opened([picture]))
    return heif.File(memoryview(b"a file"))


@pytest.mark.parametrize(
    ("mode", "bands", "bits", "space"),
    [
        ("L", 1, 8, "b-w"),
        ("LA", 2, 8, "b-w"),
        ("RGB", 3, 8, "srgb"),
        ("RGBA", 4, 8, "srgb"),
        ("RGB", 3, 10, "rgb16"),
        ("I;16", 1, 10, "grey16"),
        ("L;16", 1, 12, "grey16"),
        ("LA;16", 2, 12, "grey16"),
    ],
)
def test_every_mode_is_a_picture_of_eight_bits(
    monkeypatch: pytest.MonkeyPatch, mode: str, bands: int, bits: int, space: str
) -> None:
    wide = mode.endswith(";16")
    values = np.arange(5 * 4 * bands).reshape(4, 5, bands) * (0x0203 if wide else 2)
    file = opened(monkeypatch, Picture(mode, values.astype("<u2" if wide else "u1"), bits))
    assert (file.traits.space, file.traits.channels) == (space, bands)
    assert file.traits.depth == ("uchar" if bits == 8 else "ushort")
    picture = file.pixels(1)
    assert (picture.width, picture.height, picture.bands, picture.format) == (5, 4, bands, "uchar")
    shown = np.frombuffer(picture.write_to_memory(), "u1").reshape(4, 5, bands)
    assert np.array_equal(shown, values >> 8 if wide else values)


def test_a_mode_that_nobody_knows_is_a_format_that_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnsupportedFormat, match="Q;99"):
        opened(monkeypatch, Picture("Q;99", np.zeros((2, 2, 1), "u1"), 8))
