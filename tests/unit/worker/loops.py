"""Placeholders, hash and dominant colour in plain Python, a loop for each sum: what the quick ones must equal.

Source: the first versions of `fastproc.worker.digest`, `stages.phash` and `colour.statistics`, which were compared with
other people's encoders.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from statistics import median

from fastproc.worker.digest import blurhash

Table = list[list[float]]


def waves(count: int, size: int, phase: float = 0.5) -> list[list[float]]:
    return [[math.cos(math.pi / size * n * (place + phase)) for place in range(size)] for n in range(count)]


def project(values: Sequence[float], across: Table, down: Table) -> Table:
    """For each wave of `down` a list by `across`."""
    width = len(across[0])
    rows = [values[start : start + width] for start in range(0, len(values), width)]
    partial = [[sum(a * b for a, b in zip(row, wave, strict=True)) for row in rows] for wave in across]
    return [[sum(a * b for a, b in zip(column, wave, strict=True)) for column in partial] for wave in down]


def blur(width: int, height: int, pixels: bytes, across: int, down: int) -> str:
    channels = []
    for channel in range(3):
        linear = [blurhash._LINEAR[value] for value in pixels[channel::3]]
        table = project(linear, waves(across, width, 0.0), waves(down, height, 0.0))
        sums = [value for row in table for value in row]
        channels.append([value * (2 if n else 1) / (width * height) for n, value in enumerate(sums)])
    return blurhash.written(channels, across, down)


def thumb(width: int, height: int, pixels: bytes, alpha: bytes | None = None) -> bytes:
    if alpha is not None and min(alpha) == 255:
        alpha = None
    red, green, blue = _on_their_mean(pixels, alpha)
    limit, longer = (5 if alpha else 7), max(width, height)
    across, down = max(1, _round(limit * width / longer)), max(1, _round(limit * height / longer))
    light = [(r + g + b) / 3 for r, g, b in zip(red, green, blue, strict=True)]
    yellow = [(r + g) / 2 - b for r, g, b in zip(red, green, blue, strict=True)]
    redness = [r - g for r, g in zip(red, green, strict=True)]
    l_mean, l_details, l_scale = _channel(light, width, height, max(3, across), max(3, down))
    p_mean, p_details, p_scale = _channel(yellow, width, height, 3, 3)
    q_mean, q_details, q_scale = _channel(redness, width, height, 3, 3)
    head = (
        _round(63 * l_mean)
        | _round(31.5 + 31.5 * p_mean) << 6
        | _round(31.5 + 31.5 * q_mean) << 12
        | _round(31 * l_scale) << 18
        | bool(alpha) << 23
        | (down if width > height else across) << 24
        | _round(63 * p_scale) << 27
        | _round(63 * q_scale) << 33
        | (width > height) << 39
    ).to_bytes(5, "little")
    details = [*l_details, *p_details, *q_details]
    if alpha is not None:
        a_mean, a_details, a_scale = _channel([value / 255 for value in alpha], width, height, 5, 5)
        head += bytes([_round(15 * a_mean) | _round(15 * a_scale) << 4])
        details += a_details
    halves = [_round(15 * share) for share in details]
    pairs = zip(halves[::2], [*halves[1::2], 0], strict=False)
    return head + bytes(low | high << 4 for low, high in pairs)


def _on_their_mean(pixels: bytes, alpha: bytes | None) -> Table:
    channels = [[value / 255 for value in pixels[channel::3]] for channel in range(3)]
    if alpha is None:
        return channels
    opaque = [value / 255 for value in alpha]
    total = sum(opaque) or 1.0
    laid = []
    for values in channels:
        mean = sum(share * value for share, value in zip(opaque, values, strict=True)) / total
        laid.append([mean * (1 - s) + s * value for s, value in zip(opaque, values, strict=True)])
    return laid


def _channel(
    values: Sequence[float], width: int, height: int, across: int, down: int
) -> tuple[float, list[float], float]:
    table = project(values, waves(across, width), waves(down, height))
    mean, *kept = [
        round(table[y][x] / (width * height), 9)
        for y in range(down)
        for x in range(across)
        if x * down < across * (down - y)
    ]
    scale = max(map(abs, kept))
    return mean, [0.5 + 0.5 / scale * value for value in kept] if scale else kept, scale


def _round(value: float) -> int:
    return math.floor(round(value, 9) + 0.5)


def perceptual(pixels: bytes) -> str:
    """Of 32 x 32 pixels."""
    channels = zip(pixels[0::3], pixels[1::3], pixels[2::3], strict=True)
    grey = [(19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16 for red, green, blue in channels]
    lowest = waves(8, 32)
    values = [round(value, 3) for row in project(grey, lowest, lowest) for value in row]
    middle = median(values)
    return f"{int(''.join('1' if value > middle else '0' for value in values), 2):016x}"


def dominant(pixels: bytes) -> tuple[int, ...]:
    colours = list(zip(pixels[0::3], pixels[1::3], pixels[2::3], strict=True))
    bins = [tuple(value >> 4 for value in colour) for colour in colours]
    fullest, count = Counter(bins).most_common(1)[0]
    members = [colour for colour, bin_ in zip(colours, bins, strict=True) if bin_ == fullest]
    return tuple(round(sum(channel) / count) for channel in zip(*members, strict=True))
