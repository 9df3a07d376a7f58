"""Colours by the formulas of ITU and IEC, written with NumPy from the recommendations and not from fastproc's code.

Signals and light are arrays whose last axis is red, green, blue; 0 to 1, or cd/m2 where a name says nits.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Array = np.ndarray
D65, D50 = (0.3127, 0.3290), (0.34567, 0.35850)
#: ITU-T H.273, table 2: white, red, green, blue.
PRIMARIES = {
    1: (D65, (0.64, 0.33), (0.30, 0.60), (0.15, 0.06)),
    5: (D65, (0.64, 0.33), (0.29, 0.60), (0.15, 0.06)),
    6: (D65, (0.63, 0.34), (0.31, 0.595), (0.155, 0.07)),
    9: (D65, (0.708, 0.292), (0.17, 0.797), (0.131, 0.046)),
    12: (D65, (0.68, 0.32), (0.265, 0.69), (0.15, 0.06)),
}


def _bt709(v: Array) -> Array:
    return np.where(v < 0.0812, v / 4.5, ((v + 0.0993) / 1.0993) ** (1 / 0.45))


#: ITU-T H.273, table 3: light of a signal.
CURVES: dict[int, Callable[[Array], Array]] = {
    1: _bt709,
    4: lambda v: v**2.2,
    5: lambda v: v**2.8,
    6: _bt709,
    8: lambda v: v,
    13: lambda v: np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4),
    14: _bt709,
    15: _bt709,
}


def xyz(primaries: tuple) -> Array:
    """The matrix from linear light to XYZ (SMPTE RP 177)."""
    columns = [np.array([x / y, 1, (1 - x - y) / y]) for x, y in primaries]
    matrix = np.stack(columns[1:], axis=1)
    return matrix * np.linalg.solve(matrix, columns[0])


def between(source: tuple) -> Array:
    """The matrix to linear sRGB; both have the white of D65."""
    return np.linalg.inv(xyz(PRIMARIES[1])) @ xyz(source)


def shown(light: Array, primaries: tuple = PRIMARIES[1]) -> Array:
    """The levels, 0 to 255, that an sRGB screen shows for light of these primaries."""
    light = np.clip(light @ between(primaries).T, 0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def pq_nits(v: Array) -> Array:
    """BT.2100, table 4."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    root = v ** (1 / m2)
    return 10_000 * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)


def pq_signal(nits: Array | float) -> Array:
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    root = (np.asarray(nits) / 10_000) ** m1
    return ((c1 + c2 * root) / (1 + c3 * root)) ** m2


def hlg_nits(v: Array) -> Array:
    """BT.2100, table 5, on a screen of 1,000 cd/m2: the system gamma is 1.2."""
    a = 0.17883277
    b, c = 1 - 4 * a, 0.5 - a * np.log(4 * a)
    scene = np.where(v <= 0.5, v**2 / 3, (np.exp((v - c) / a) + b) / 12)
    luminance = scene @ np.array([0.2627, 0.6780, 0.0593])
    return 1000 * scene * luminance[..., None] ** 0.2


def to_sdr(nits: Array, peak: float = 1000.0, white: float = 203.0) -> Array:
    """Light for an ordinary screen: BT.2390's EETF on the brightest primary, all three in proportion."""
    brightest = np.max(nits, axis=-1, keepdims=True)
    top = pq_signal(peak)
    e, most = np.minimum(pq_signal(brightest) / top, 1), pq_signal(white) / top
    knee = 1.5 * most - 0.5
    t = (e - knee) / (1 - knee)
    spline = (
        (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * most
    )
    mapped = pq_nits(np.where(e < knee, e, spline) * top)
    return nits * mapped / np.maximum(brightest, 1e-9) / white
