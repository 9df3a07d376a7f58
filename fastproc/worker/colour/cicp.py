"""The code points of ITU-T H.273: which primaries and which curves they name.

Rule 1: a curve makes light of a signal, both 0 to 1. BT.709's and BT.2020's (1, 6, 14, 15) are their own formula, as in
        H.273, in ICC profiles of that name and in Firefox and Safari; Chromium takes sRGB's for them.
Rule 2: PQ and HLG are no curves here: their light has no white (`tone`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

#: Light for a signal; both 0 to 1.
Curve = Callable[[float], float]
Point = tuple[float, float]
#: x and y of white, red, green and blue.
Chromaticities = tuple[Point, Point, Point, Point]

UNSPECIFIED: Final = 2
BT709: Final = 1
SRGB: Final = 13
PQ: Final = 16
HLG: Final = 18

_D65: Final = (0.3127, 0.3290)
_C: Final = (0.310, 0.316)
#: H.273, table 2.
PRIMARIES: Final[dict[int, Chromaticities]] = {
    1: (_D65, (0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    4: (_C, (0.670, 0.330), (0.210, 0.710), (0.140, 0.080)),
    5: (_D65, (0.640, 0.330), (0.290, 0.600), (0.150, 0.060)),
    6: (_D65, (0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),
    7: (_D65, (0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),
    8: (_C, (0.681, 0.319), (0.243, 0.692), (0.145, 0.049)),
    9: (_D65, (0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    10: ((1 / 3, 1 / 3), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0)),
    11: ((0.314, 0.351), (0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    12: (_D65, (0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    22: (_D65, (0.630, 0.340), (0.295, 0.605), (0.155, 0.077)),
}


def srgb(signal: float) -> float:
    """Source: IEC 61966-2-1."""
    return signal / 12.92 if signal <= 0.04045 else math.pow((signal + 0.055) / 1.055, 2.4)


def srgb_signal(light: float) -> float:
    """Return sRGB's signal for light, the inverse of `srgb`."""
    return light * 12.92 if light <= 0.0031308 else 1.055 * math.pow(light, 1 / 2.4) - 0.055


def gamma(exponent: float) -> Curve:
    """Return the curve of a plain exponent."""
    return lambda signal: math.pow(signal, exponent)


def _bt709(signal: float) -> float:
    return signal / 4.5 if signal < 0.081243 else math.pow((signal + 0.099297) / 1.099297, 1 / 0.45)


def _smpte240(signal: float) -> float:
    return signal / 4 if signal < 0.0913 else math.pow((signal + 0.1115) / 1.1115, 1 / 0.45)


def _logarithmic(decades: float) -> Curve:
    return lambda signal: math.pow(10, decades * (signal - 1)) if signal > 0 else 0.0


def _cinema(signal: float) -> float:
    return min(1.0, 52.37 / 48 * math.pow(signal, 2.6))


#: H.273, table 3, but for PQ and HLG.
CURVES: Final[dict[int, Curve]] = {
    1: _bt709,
    4: gamma(2.2),
    5: gamma(2.8),
    6: _bt709,
    7: _smpte240,
    8: gamma(1.0),
    9: _logarithmic(2.0),
    10: _logarithmic(2.5),
    11: _bt709,
    12: _bt709,
    13: srgb,
    14: _bt709,
    15: _bt709,
    17: _cinema,
}
