"""Works on the pixels of gain maps, which are numbers and not colours: tables, equal bands, other primaries."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Final

from fastproc.worker.vips.library import Image, pyvips

#: A grey picture that went through YCbCr comes back with red, green and blue this far apart at most, in 255ths.
ROUNDING: Final = 2


def translated(image: Image, table: bytes) -> Image:
    """Return the picture of 8 bits with each value replaced by the table's."""
    return image.maplut(pyvips.Image.new_from_memory(table, len(table), 1, 1, "uchar"))


def single_band(image: Image) -> Image:
    """Return one band of a picture in memory whose bands are equal, else the picture."""
    if image.bands == 1:
        return image
    first = image.extract_band(0)
    if any((image.extract_band(n) - first).abs().max() > ROUNDING for n in range(1, image.bands)):
        return image
    return image.extract_band(1).copy(interpretation="b-w")


def three_bands(image: Image) -> Image:
    """Return the picture with a band for each of red, green and blue."""
    return image if image.bands == 3 else image.bandjoin([image, image]).copy(interpretation="srgb")


def in_other_colours(
    image: Image,
    gains: Sequence[Sequence[float]],
    matrix: Sequence[Sequence[float]],
    stops: tuple[float, float],
) -> Image:
    """Return a map of three bands for gains in other primaries: its 0 and its 255 mean these `stops`.

    `gains` has the gain of each of 256 values for each band.
    """
    points = [gain for each in zip(*gains, strict=True) for gain in each]
    table = pyvips.Image.new_from_memory(struct.pack(f"{len(points)}f", *points), 256, 1, 3, "float")
    mixed = image.maplut(table).recomb(pyvips.Image.new_from_array([list(row) for row in matrix]))
    low, high = stops
    least = 2.0**low
    # Gains can come out as nothing or less: `least` stands for those.
    found = (mixed > least).ifthenelse(mixed, least).log() * (255 / (math.log(2) * (high - low)))
    return (found - 255 * low / (high - low)).rint().cast("uchar").copy(interpretation="srgb")
