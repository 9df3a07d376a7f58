"""Converts colours: to sRGB by a profile or by tone mapping, onto white, and to plain bytes."""

from __future__ import annotations

import math
from typing import Final

from fastproc.worker.colour import profile
from fastproc.worker.colour.conversion import Conversion
from fastproc.worker.vips import hdr
from fastproc.worker.vips.library import Image, pyvips, warned
from fastproc.worker.vips.repeated import computed

#: Interpretations of one band, with alpha or without.
_GREY: Final = ("b-w", "grey16")
_PROFILE: Final = "icc-profile-data"
#: Black and the whole range of narrow-range video, of 255 (ITU-R BT.709, 4.6).
_LIMITED: Final = (16, 219)


def opaque(image: Image) -> Image:
    """Return the picture on white, without alpha."""
    if not image.hasalpha():
        return image
    white = 65535 if image.format == "ushort" else 255
    return image.flatten(background=[white])


def to_srgb(image: Image, conversion: Conversion) -> tuple[Image, str]:
    """Return 8 bits of sRGB, or of grey if the picture is grey, and a warning if its profile was dropped, or "".

    Alpha is kept. A profile that the colour engine refuses is dropped. Cost: tuning.md "sRGB only where needed".
    """
    grey, warning = image.interpretation in _GREY, ""
    if conversion.limited:
        image = _expanded(image)
    if conversion.hdr:
        image = hdr.to_srgb(image, conversion.hdr)
    elif conversion.profile:
        image, refused = _by_profile(image, conversion.profile)
        warning = f"the colour profile could not be used: {refused}" if refused else ""
    if image.interpretation == "cmyk":
        # CMYK without a profile gets libvips' press profile, as in sharp. (`colourspace` has no black of ink on paper.)
        image = image.icc_transform("srgb", input_profile="cmyk", intent="perceptual", depth=8)
    wanted, bands = ("b-w", 1) if grey else ("srgb", 3)
    if image.interpretation != wanted:
        image = image.colourspace(wanted)
    if image.bands > bands + image.hasalpha():
        # Of a grey picture that was converted in colour, and of pictures with more than one extra band.
        image = image.extract_band(0, n=bands)
    return image if image.format == "uchar" else image.cast("uchar"), warning


def _by_profile(image: Image, found: bytes) -> tuple[Image, str]:
    """Return the picture through the profile and "", or as it is and why the colour engine refuses the profile."""
    source = image.copy()
    if image.interpretation in _GREY and profile.bands(found) == 3:
        # Photo editors leave an RGB profile in grey pictures: its curve counts.
        grey, rest = image.extract_band(0), image.bands - 1
        rgb = grey.bandjoin([grey, grey]).copy(interpretation="rgb16" if image.format == "ushort" else "srgb")
        source = rgb.bandjoin(image.extract_band(1, n=rest)) if rest else rgb
    source.set_type(pyvips.GValue.blob_type, _PROFILE, found)
    refused = ""
    for intent in ("perceptual", "relative", "saturation"):
        with warned() as lines:
            try:
                converted = source.icc_transform("srgb", embedded=True, intent=intent, depth=8)
            except pyvips.Error as error:
                lines.append(_reason(error))
        if not lines:
            return converted, ""
        # libvips goes on with a profile of its own, as if the numbers were sRGB already.
        refused = refused or lines[-1]
    return image, refused


def _expanded(image: Image) -> Image:
    """Return a picture of narrow range in the full one."""
    black, whole = _LIMITED
    scale = 256 if image.format == "ushort" else 1
    most = 65535 if image.format == "ushort" else 255
    colours = image.bands - image.hasalpha()
    times = [most / (whole * scale)] * colours + [1.0] * (image.bands - colours)
    plus = [-black * most / whole] * colours + [0.0] * (image.bands - colours)
    return image.linear(times, plus).rint().cast(image.format).copy(interpretation=image.interpretation)


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def srgb_profile() -> bytes:
    """Return libvips' own profile of sRGB, 480 bytes, for files that must have one."""
    return bytes(pyvips.Image.profile_load("srgb"))


def rgb_bytes(image: Image) -> bytes:
    """Return the pixels of a small sRGB or grey picture, on white, R G B R G B ... row by row."""
    image = opaque(image)
    pixels = bytes(computed(image, (image.width, image.height)))
    if image.bands == 3:
        return pixels
    equal = bytearray(3 * len(pixels))
    equal[0::3] = equal[1::3] = equal[2::3] = pixels
    return bytes(equal)


def alpha_bytes(image: Image) -> bytes | None:
    """Return the alpha of a small picture, row by row; None if it has none."""
    if not image.hasalpha():
        return None
    return bytes(computed(image.extract_band(image.bands - 1), (image.width, image.height)))


def sampled(image: Image, pixels: int) -> bytes:
    """Return about `pixels` pixels of a picture in memory, on a grid, in the form of `rgb_bytes`."""
    width, height = image.width, image.height
    step = max(1, math.isqrt(width * height // pixels))
    return rgb_bytes(image.subsample(min(step, width), min(step, height)) if step > 1 else image)
