"""The demo's picture with an alpha channel: a hot-air balloon on a transparent background."""

from __future__ import annotations

import math
from itertools import pairwise
from random import Random

from PIL import Image, ImageDraw

from fastproc.demo.paint import Colour, Size, glow, mix

#: Red, cream, amber, cream, blue, cream, ... around the balloon.
GORES: tuple[Colour, ...] = ((206, 52, 46), (246, 234, 208), (240, 156, 44), (246, 234, 208), (34, 104, 140))


def balloon(size: Size, rng: Random) -> Image.Image:
    """A hot-air balloon: RGBA, transparent around it."""
    width, height = size[0] * 2, size[1] * 2
    x, y, r = width / 2, height * 0.37, height * 0.33
    canvas = Image.new("RGBA", (width, height), (150, 90, 60, 0))
    draw = ImageDraw.Draw(canvas)
    count = 14
    turn = rng.uniform(0.1, 0.4)
    angles = [
        min(math.pi / 2, max(-math.pi / 2, math.pi * (i + turn) / count - math.pi / 2))
        for i in range(-1, count + 1)
    ]
    for gore, (left, right) in enumerate(pairwise(angles)):
        shade = 1 - 0.62 * abs(math.sin((left + right) / 2 + 0.5)) ** 2.2
        colour = mix((40, 20, 40), GORES[gore % len(GORES)], shade)
        outline = [*meridian(x, y, r, math.sin(left)), *reversed(meridian(x, y, r, math.sin(right)))]
        draw.polygon(outline, fill=(*colour, 255))
    mouth, basket = y + r * 1.42, height * 0.95
    for dx in (-0.15, -0.06, 0.06, 0.15):
        draw.line(
            [(x + dx * r, mouth), (x + dx * r * 0.75, basket - r * 0.2)],
            fill=(60, 44, 36, 255),
            width=height // 300,
        )
    draw.rounded_rectangle(
        [x - r * 0.13, basket - r * 0.22, x + r * 0.13, basket], r * 0.03, fill=(138, 92, 50, 255)
    )
    for row in range(1, 5):
        draw.rectangle(
            [x - r * 0.13, basket - r * 0.05 * row, x + r * 0.13, basket - r * 0.05 * row + r * 0.012],
            fill=(104, 66, 34, 255),
        )
    draw.rectangle(
        [x - r * 0.145, basket - r * 0.24, x + r * 0.145, basket - r * 0.2], fill=(84, 52, 28, 255)
    )
    lit = canvas.copy()
    glow(lit, (round(x - r * 0.35), round(y - r * 0.35)), round(r * 0.9), (255, 255, 255), 1.3)
    lit.putalpha(canvas.getchannel("A"))
    return Image.blend(canvas, lit, 0.6).reduce(2)


def meridian(x: float, y: float, r: float, at: float) -> list[tuple[float, float]]:
    """A seam of a balloon centred on (x, y), from crown to mouth; `at` -1..1 is its place across."""
    dome = [
        (x + at * r * math.sin(t), y - r * math.cos(t)) for t in (math.pi / 2 * i / 40 for i in range(41))
    ]
    cone = [
        (x + at * r * (0.15 + 0.85 * math.cos(math.pi / 2 * s**1.25)), y + 1.42 * r * s)
        for s in (i / 40 for i in range(1, 41))
    ]
    return dome + cone
