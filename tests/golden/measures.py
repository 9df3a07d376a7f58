"""Measures the difference of two pictures: colour difference as people see it, and structural similarity.

Both are written out here, so that no measure shares code with what it measures; `test_measures.py` checks them against
published values.
"""

from __future__ import annotations

import numpy as np

#: Pixels as an array of rows x columns x 3, 8-bit sRGB.
Pixels = np.ndarray

#: Bytes from which on a picture is sampled.
MANY = 200_000
#: IEC 61966-2-1, linear light to XYZ, white D65.
_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]],
    np.float32,
)
_WHITE = _TO_XYZ.sum(axis=1)
_LINEAR = np.array(
    [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in np.arange(256) / 255], np.float32
)
#: Wang et al. 2004: a Gaussian of 11 taps and sigma 1.5, and the two constants for 8 bits.
_TAPS = np.exp(-((np.arange(11, dtype=np.float32) - 5) ** 2) / (2 * 1.5**2))
_TAPS /= _TAPS.sum()
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def lab(pixels: Pixels) -> np.ndarray:
    """Return CIE L*a*b* (D65) of sRGB pixels."""
    share = (_LINEAR[pixels] @ _TO_XYZ.T) / _WHITE
    f = np.where(share > (6 / 29) ** 3, np.cbrt(share), share * ((29 / 6) ** 2 / 3) + 4 / 29)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def ciede2000(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the difference of each pair of L*a*b* colours; side by side, 1 is just visible.

    Source: Sharma, Wu, Dalal, "The CIEDE2000 Color-Difference Formula", 2005, equations 2 to 22.
    """
    (l1, a1, b1), (l2, a2, b2) = np.moveaxis(first, -1, 0), np.moveaxis(second, -1, 0)
    c7 = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    g = 1.5 - 0.5 * np.sqrt(c7 / (c7 + 25.0**7))
    a1, a2 = a1 * g, a2 * g
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.degrees(np.arctan2(b1, a1)) % 360, np.degrees(np.arctan2(b2, a2)) % 360
    grey = c1 * c2 == 0
    turn = np.where(grey, 0, (h2 - h1 + 180) % 360 - 180)
    turn = np.where(h2 - h1 == 180, 180, turn)
    dl, dc, dh = l2 - l1, c2 - c1, 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn) / 2)
    light, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    far = np.abs(h1 - h2) > 180
    hue = np.where(grey, h1 + h2, (h1 + h2 + np.where(far, np.where(h1 + h2 < 360, 360, -360), 0)) / 2)
    t = (
        1
        - 0.17 * np.cos(np.radians(hue - 30))
        + 0.24 * np.cos(np.radians(2 * hue))
        + 0.32 * np.cos(np.radians(3 * hue + 6))
        - 0.20 * np.cos(np.radians(4 * hue - 63))
    )
    sl = 1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2)
    sc, sh = 1 + 0.045 * chroma, 1 + 0.015 * chroma * t
    c7 = chroma**7
    rt = -2 * np.sqrt(c7 / (c7 + 25.0**7)) * np.sin(np.radians(60 * np.exp(-(((hue - 275) / 25) ** 2))))
    return np.sqrt((dl / sl) ** 2 + (dc / sc) ** 2 + (dh / sh) ** 2 + rt * (dc / sc) * (dh / sh))


def colour_difference(first: Pixels, second: Pixels) -> tuple[float, float]:
    """Return the mean CIEDE2000 of the pixels and its 95th percentile.

    In large pictures every second pixel of every second row is used: as good a mean in a quarter of the time.
    """
    step = 2 if first.size > MANY else 1
    found = ciede2000(lab(first[::step, ::step]), lab(second[::step, ::step]))
    return float(found.mean()), float(np.percentile(found, 95))


def ssim(first: Pixels, second: Pixels) -> float:
    """Return the mean structural similarity of the luma of two pictures; 1 means equal. Tiny ones are padded."""
    one, two = (_luma(pixels) for pixels in (first, second))
    m1, m2 = _blur(one), _blur(two)
    v1, v2, both = _blur(one * one) - m1 * m1, _blur(two * two) - m2 * m2, _blur(one * two) - m1 * m2
    like = ((2 * m1 * m2 + _C1) * (2 * both + _C2)) / ((m1 * m1 + m2 * m2 + _C1) * (v1 + v2 + _C2))
    return float(like.mean())


def _luma(pixels: Pixels) -> np.ndarray:
    luma = pixels @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    lacking = [(0, max(0, 11 - side)) for side in luma.shape]
    return np.pad(luma, lacking, mode="edge")


def _blur(plane: np.ndarray) -> np.ndarray:
    for _ in range(2):
        rows = len(plane) - 10
        plane = sum(tap * plane[at : at + rows] for at, tap in enumerate(_TAPS)).T
    return plane
