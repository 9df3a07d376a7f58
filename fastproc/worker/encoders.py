"""Choose the JPEG encoder: the first of the table that is installed and passes its self-test.

Rule 1: an encoder takes an sRGB picture of 8 bits (in memory or a stream) and a quality of mozjpeg's scale, and gives
        a progressive JPEG without metadata.
Rule 2: what was chosen, and why not what stands before it, is said once, at start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fastproc.worker import image, jpegli
from fastproc.worker.image import Image

#: At the same number jpegli's small pictures are a little larger than mozjpeg's where quality is low. Measured over the
#: mix: 3 % smaller at 85, at 80 with one step less, at 75 with two, at 60 with five, each with 0.1 to 0.4 dB more than
#: mozjpeg (tuning.md, "jpegli quality").
_EQUAL_FROM: Final = 85
_STEPS_A_STEP: Final = 0.2
#: A self-test's mean square error at quality 90: 40 is 32 dB, a broken layout gives thousands.
_MAX_ERROR: Final = 40.0


#: Takes a picture and a quality, returns the file's bytes.
JpegEncoder = Callable[[Image, int], bytes]


class Choice:
    """The encoder in use and the sentence about it."""

    def __init__(self, encode: JpegEncoder, words: str) -> None:
        self.encode, self.words = encode, words


def choose() -> Choice:
    """Return the best encoder that works here. Raises RuntimeError if none does."""
    refused = []
    for name, make in _TABLE:
        try:
            encode = make()
            _self_test(encode)
        except Exception as error:  # whatever an encoder's loading or first use raises, the next one may work
            refused.append(f"{name}: {error}")
            continue
        return Choice(encode, f"{name} (not {'; '.join(refused)})" if refused else name)
    raise RuntimeError(f"no JPEG encoder works: {'; '.join(refused)}")


def jpegli_quality(quality: int) -> int:
    """Return the jpegli quality whose files are no larger than mozjpeg's at `quality`."""
    return max(1, quality - round(max(0, _EQUAL_FROM - quality) * _STEPS_A_STEP))


def _jpegli() -> JpegEncoder:
    encoder = jpegli.Jpegli()

    def encode(picture: Image, quality: int) -> bytes:
        return encoder.encode(picture.width, picture.height, image.strips(picture), jpegli_quality(quality))

    return encode


def _mozjpeg() -> JpegEncoder:
    return image.mozjpeg


def _self_test(encode: JpegEncoder) -> None:
    """Raises ValueError unless a small picture comes back progressive, of its size, and looking the same."""
    picture = image.ramp()
    error, progressive = image.difference(picture, encode(picture, 90))
    if not progressive:
        raise ValueError("the file is not progressive")
    if error > _MAX_ERROR:
        raise ValueError(f"the picture differs by {error:.0f}")


_TABLE: Final[tuple[tuple[str, Callable[[], JpegEncoder]], ...]] = (
    ("jpegli", _jpegli),
    ("mozjpeg", _mozjpeg),
)
