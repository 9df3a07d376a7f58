"""Converts colours: to sRGB through the embedded profile, onto white, and to plain bytes."""

from __future__ import annotations

import math
from typing import Final

from fastproc.worker.colour import is_srgb
from fastproc.worker.vips.library import Image, pyvips

#: Interpretations of one band, with alpha or without.
_GREY: Final = ("b-w", "grey16")


def opaque(image: Image) -> Image:
    """Return the picture on white, without alpha."""
    if not image.hasalpha():
        return image
    white = 65535 if image.format == "ushort" else 255
    return image.flatten(background=[white])


def to_srgb(image: Image, profile: bytes | None) -> Image:
    """Return 8 bits of sRGB, or of grey if the picture is grey; through the embedded profile if that is not sRGB.

    Alpha is kept. A profile that the colour engine refuses is dropped. Cost: tuning.md "sRGB only where needed".
    """
    grey = image.interpretation in _GREY
    if profile and not is_srgb(profile):
        try:
            image = image.icc_transform("srgb", embedded=True, intent="perceptual", depth=8)
        except pyvips.Error:
            image = image.copy()
    if image.interpretation == "cmyk":
        # CMYK without a profile gets libvips' press profile, as in sharp. (`colourspace` has no black of ink on paper.)
        image = image.icc_transform("srgb", input_profile="cmyk", intent="perceptual", depth=8)
    wanted, bands = ("b-w", 1) if grey else ("srgb", 3)
    if image.interpretation != wanted:
        image = image.colourspace(wanted)
    if image.bands > bands + image.hasalpha():
        image = image.extract_band(0, n=bands)
    return image if image.format == "uchar" else image.cast("uchar")


def rgb_bytes(image: Image) -> bytes:
    """Return the pixels of an sRGB or grey picture in memory, on white, R G B R G B ... row by row."""
    image = opaque(image)
    return bytes((image if image.bands == 3 else image.colourspace("srgb")).write_to_memory())


def alpha_bytes(image: Image) -> bytes | None:
    """Return the alpha of a picture in memory, row by row; None if it has none."""
    return bytes(image.extract_band(image.bands - 1).write_to_memory()) if image.hasalpha() else None


def sampled(image: Image, pixels: int) -> bytes:
    """Return about `pixels` pixels of a picture in memory, on a grid, in the form of `rgb_bytes`."""
    step = max(1, math.isqrt(image.width * image.height // pixels))
    return rgb_bytes(image.subsample(min(step, image.width), min(step, image.height)))
