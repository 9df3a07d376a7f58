"""Encodes ThumbHash: shape, transparency and lowest frequencies of a picture in about 25 bytes, for a placeholder.

Source: https://github.com/evanw/thumbhash, js/thumbhash.js (rgbaToThumbHash). One difference: where a detail is zero,
that code hashes its rounding error, this one hashes zero.
"""

from __future__ import annotations

from array import array
from functools import lru_cache
from math import floor
from typing import Final, NamedTuple

from fastproc.worker.digest import dct
from fastproc.worker.vips.projection import Projection

#: Decimals that are not rounding errors.
_DECIMALS: Final = 9


class _Channel(NamedTuple):
    """The mean, the details as shares (0..1) of the largest, and the size of that."""

    mean: float
    details: list[float]
    scale: float


def encode(width: int, height: int, pixels: bytes, alpha: bytes | None = None) -> bytes:
    """Return the hash of `pixels` (R G B R G B ..., sRGB) and their `alpha`, if there is any.

    Cost: 0.1 ms for 32 x 24 pixels, with alpha 0.5.
    """
    if alpha is not None and min(alpha) == 255:
        alpha = None
    limit, longer = (5 if alpha else 7), max(width, height)
    across, down = max(1, _round(limit * width / longer)), max(1, _round(limit * height / longer))
    waves = max(3, across), max(3, down)
    red, green, blue = _sums(width, height, waves, pixels, alpha)
    light = [(r + g + b) / 3 for r, g, b in zip(red, green, blue, strict=True)]
    # Every pair of three waves is among those of the light.
    few = [place for place, pair in enumerate(_pairs(*waves)) if pair in _pairs(3, 3)]
    yellow = [(red[n] + green[n]) / 2 - blue[n] for n in few]
    redness = [red[n] - green[n] for n in few]
    l, p, q = _channel(light), _channel(yellow), _channel(redness)  # noqa: E741  the format's own letter
    landscape = width > height
    head = (
        _round(63 * l.mean)
        | _round(31.5 + 31.5 * p.mean) << 6
        | _round(31.5 + 31.5 * q.mean) << 12
        | _round(31 * l.scale) << 18
        | bool(alpha) << 23
        | (down if landscape else across) << 24
        | _round(63 * p.scale) << 27
        | _round(63 * q.scale) << 33
        | landscape << 39
    ).to_bytes(5, "little")
    if alpha is None:
        return head + _nibbles([*l.details, *p.details, *q.details])
    (transparency,) = _projection(width, height, (5, 5), 1, "uchar").sums(alpha)
    a = _channel([value / (255 * width * height) for value in transparency])
    head += bytes([_round(15 * a.mean) | _round(15 * a.scale) << 4])
    return head + _nibbles([*l.details, *p.details, *q.details, *a.details])


@lru_cache(maxsize=16)
def _projection(width: int, height: int, waves: tuple[int, int], planes: int, format: str) -> Projection:
    across, down = dct.waves(waves[0], width), dct.waves(waves[1], height)
    return Projection(planes, across, down, _pairs(*waves), format=format)


@lru_cache(maxsize=64)
def _pairs(across: int, down: int) -> tuple[tuple[int, int], ...]:
    """Return which products of waves are kept: those below the diagonal."""
    return tuple((x, y) for y in range(down) for x in range(across) if x * down < across * (down - y))


def _sums(
    width: int, height: int, waves: tuple[int, int], pixels: bytes, alpha: bytes | None
) -> list[list[float]]:
    """Return the means of red, green and blue (0..1) times each pair of waves."""
    size = width * height
    if alpha is None:
        found = _projection(width, height, waves, 3, "uchar").sums(dct.planar(pixels))
        return [[value / (255 * size) for value in sums] for sums in found]
    laid = array("d", [value for plane in _on_their_mean(pixels, alpha) for value in plane])
    found = _projection(width, height, waves, 3, "double").sums(memoryview(laid).cast("B"))
    return [[value / size for value in sums] for sums in found]


def _on_their_mean(pixels: bytes, alpha: bytes) -> list[list[float]]:
    """Return red, green and blue as 0..1, transparent pixels blended with the mean colour of the opaque ones."""
    channels = [[value / 255 for value in pixels[channel::3]] for channel in range(3)]
    opaque = [value / 255 for value in alpha]
    total = sum(opaque) or 1.0
    laid = []
    for values in channels:
        mean = sum(share * value for share, value in zip(opaque, values, strict=True)) / total
        laid.append([mean * (1 - s) + s * value for s, value in zip(opaque, values, strict=True)])
    return laid


def _channel(sums: list[float]) -> _Channel:
    mean, *kept = (round(value, _DECIMALS) for value in sums)
    scale = max(map(abs, kept))
    details = [0.5 + 0.5 / scale * value for value in kept] if scale else kept
    return _Channel(mean, details, scale)


def _round(value: float) -> int:
    """Return the nearest whole number, half up, as JavaScript rounds."""
    return floor(round(value, _DECIMALS) + 0.5)


def _nibbles(shares: list[float]) -> bytes:
    values = [_round(15 * share) for share in shares]
    pairs = zip(values[::2], [*values[1::2], 0], strict=False)
    return bytes(low | high << 4 for low, high in pairs)
