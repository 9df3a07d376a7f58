"""Describes a picture's colours in numbers: the dominant colour, the brightness."""

from __future__ import annotations

from collections import Counter
from typing import Final

#: 16 steps a channel distinguish two colours (sharp's stats has as many).
_STEP: Final = bytes(value >> 4 for value in range(256))
#: Weights of Rec. 709, for the signal.
_LUMA: Final = (0.2126, 0.7152, 0.0722)


def dominant(pixels: bytes) -> tuple[int, int, int]:
    """Return the mean of the colours in the fullest of 4096 bins, as red, green, blue. `pixels` is R G B R G B ..."""
    steps = pixels.translate(_STEP)
    bins = list(zip(steps[0::3], steps[1::3], steps[2::3], strict=True))
    fullest, count = Counter(bins).most_common(1)[0]
    colours = zip(pixels[0::3], pixels[1::3], pixels[2::3], strict=True)
    members = [colour for colour, bin_ in zip(colours, bins, strict=True) if bin_ == fullest]
    red, green, blue = (round(sum(channel) / count) for channel in zip(*members, strict=True))
    return red, green, blue


def brightness(pixels: bytes) -> float:
    """Return the mean luma, 0 (black) to 1 (white)."""
    return round(3 * sum(weight * sum(pixels[n::3]) for n, weight in enumerate(_LUMA)) / len(pixels) / 255, 4)
