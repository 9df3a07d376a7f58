"""Shows HDR pictures (PQ, HLG) on an ordinary screen: light, tone mapping, sRGB's primaries, sRGB's curve.

Rule 1: highlights are compressed by one gain a pixel, from its brightest primary: hues stay, nothing turns grey.
Rule 2: what is outside sRGB's colours is cut off, as the colour engine does.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from fastproc.worker.colour import cicp, tone
from fastproc.worker.colour.conversion import Hdr
from fastproc.worker.vips.library import Image, pyvips

#: Places of the table of gains.
_POINTS: Final = 1 << 12


def to_srgb(image: Image, how: Hdr) -> Image:
    """Return 8 bits of sRGB for a picture of signals, with 8 or 16 bits, in colour or grey. Alpha is kept."""
    colours = image.bands - image.hasalpha()
    signal = image.extract_band(0, n=colours) if colours < image.bands else image
    light = _light(signal, how)
    brightest = light if colours == 1 else light[0].bandrank([light[1], light[2]], index=2)
    place = (brightest * (tone.WHITE_NITS / tone.PQ_NITS)) ** 0.25 * (_POINTS - 1)
    light = light * (place.rint().cast("ushort").maplut(_gains(tone.peak_light(how.peak_nits))))
    if colours > 1:
        light = light.recomb(pyvips.Image.new_from_array([list(row) for row in how.to_srgb]))
    else:
        light = light.bandjoin([light, light])
    shown = light.copy(interpretation="scrgb").colourspace("srgb")
    if colours == image.bands:
        return shown
    alpha = image.extract_band(image.bands - 1)
    return shown.bandjoin(alpha if alpha.format == "uchar" else (alpha >> 8).cast("uchar"))


def _light(signal: Image, how: Hdr) -> Image:
    """Return the light of each primary, in units of the reference white."""
    bits = 16 if signal.format == "ushort" else 8
    light = signal.maplut(_curve(how.transfer, bits))
    if how.transfer == cicp.PQ:
        return light
    # HLG stores the scene; the screen's own gamma (OOTF) depends on the luminance.
    weights = pyvips.Image.new_from_array([list(how.weights)])
    luminance = light if signal.bands == 1 else light.recomb(weights)
    return light * (luminance ** (tone.HLG_GAMMA - 1) * (tone.PEAK_NITS / tone.WHITE_NITS))


@lru_cache(maxsize=4)
def _curve(transfer: int, bits: int) -> Image:
    most = (1 << bits) - 1
    light = tone.pq_light if transfer == cicp.PQ else tone.hlg_scene_light
    return _table(light(n / most) for n in range(most + 1))


@lru_cache(maxsize=8)
def _gains(peak: float) -> Image:
    return _table(tone.gains(peak, _POINTS))


def _table(values: Iterable[float]) -> Image:
    numbers = array("f", values)
    return pyvips.Image.new_from_memory(numbers.tobytes(), len(numbers), 1, 1, "float")
