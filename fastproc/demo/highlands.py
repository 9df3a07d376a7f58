"""Demo scenes of mountains, forests and northern skies. In each a wrong orientation is easy to see."""

from __future__ import annotations

import math
from random import Random

from PIL import Image, ImageChops, ImageDraw

from fastproc.demo.paint import (
    Size,
    Stops,
    below,
    clouds,
    curve,
    fractal,
    glow,
    gradient,
    mix,
    per_column,
    reflect,
    ridge_line,
    texture,
)
from fastproc.demo.terrain import firs, peaks, ranges


def dawn(size: Size, rng: Random) -> Image.Image:
    """Ridge behind ridge in the first light."""
    width, height = size
    sky: Stops = [
        (0, (52, 74, 118)),
        (0.25, (150, 128, 150)),
        (0.42, (244, 178, 128)),
        (0.55, (255, 222, 170)),
    ]
    canvas = gradient(size, sky)
    clouds(canvas, height // 2, (255, 196, 160), 0.55, rng)
    sun = (round(width * 0.66), round(height * 0.37))
    glow(canvas, sun, height // 2, (255, 226, 170), 1.8)
    glow(canvas, sun, height // 13, (255, 252, 232), 0.3)
    ranges(canvas, (250, 196, 150), (30, 34, 58), layers=6, top=0.36, bottom=0.92, rng=rng)
    line = [height * (0.94 - 0.05 * y) for y in ridge_line(width, 0.42, 3, rng)]
    firs(canvas, line, height // 6, (17, 20, 34), 90, rng)
    canvas.paste((17, 20, 34), (0, 0), below(size, line))
    return canvas


def lake(size: Size, rng: Random) -> Image.Image:
    """Mountains and forest mirrored in still water, midday."""
    width, height = size
    canvas = gradient(size, [(0, (44, 104, 176)), (0.45, (168, 206, 232)), (0.6, (224, 234, 236))])
    clouds(canvas, round(height * 0.5), (255, 255, 255), 0.62, rng)
    peaks(canvas, height * 0.36, height * 0.2, rng)
    ranges(canvas, (150, 176, 190), (46, 74, 62), layers=3, top=0.44, bottom=0.6, rng=rng, rough=0.4)
    shore = round(height * 0.62)
    line = [shore - height * (0.012 + 0.01 * y) for y in ridge_line(width, 0.5, 6, rng)]
    firs(canvas, line, height // 11, (24, 50, 40), 260, rng)
    canvas.paste((30, 54, 42), (0, 0), below(size, line))
    reflect(canvas, shore, (26, 66, 84), 0.25, 0.02, rng)
    return canvas


def winter(size: Size, rng: Random) -> Image.Image:
    """Snowy peaks over dark firs."""
    width, height = size
    canvas = gradient(size, [(0, (28, 82, 158)), (0.55, (150, 194, 230)), (1, (210, 226, 240))])
    clouds(canvas, round(height * 0.45), (250, 250, 255), 0.5, rng)
    peaks(canvas, height * 0.42, height * 0.23, rng)
    for part, haze in ((0.66, 0.55), (0.76, 0.3), (0.88, 0.0)):
        line = [height * (part - 0.035 * y) for y in ridge_line(width, 0.4, 4, rng)]
        colour = mix((18, 36, 42), (150, 180, 204), haze)
        firs(canvas, line, round(height * (0.1 + 0.12 * (part - 0.6) / 0.28)), colour, 130, rng)
        snow = texture(
            Image.new("RGB", size, mix((236, 242, 250), colour, haze)), fractal(size, (9, 30), 4, rng), 0.3
        )
        canvas.paste(snow, (0, 0), below(size, [y + height * 0.02 for y in line]))
    return canvas


def pines(size: Size, rng: Random) -> Image.Image:
    """A tall forest in fog, the near trees dark."""
    width, height = size
    canvas = gradient(size, [(0, (206, 216, 210)), (0.5, (228, 228, 206)), (1, (150, 168, 150))])
    glow(canvas, (round(width * 0.62), round(height * 0.2)), round(height * 0.5), (255, 246, 214), 1.4)
    for layer in range(6):
        near = layer / 5
        line = [height * (0.44 + 0.52 * near - 0.03 * y) for y in ridge_line(width, 0.45, 3, rng)]
        colour = mix((198, 210, 200), (16, 36, 32), near**0.9)
        firs(canvas, line, round(height * (0.16 + 0.42 * near)), colour, round(46 - 34 * near), rng)
        canvas.paste(mix(colour, (210, 216, 196), 0.15), (0, 0), below(size, line))
        fog = curve(fractal(size, (2, 7), 4, rng), 0.45, 1.3)
        canvas.paste((222, 226, 212), (0, 0), fog.point([round(v * 0.75 * (1 - near)) for v in range(256)]))
    return canvas


def night(size: Size, rng: Random) -> Image.Image:
    """The Milky Way over a dark ridge with firs."""
    width, height = size
    canvas = gradient(
        size, [(0, (6, 10, 26)), (0.55, (20, 34, 66)), (0.85, (60, 72, 100)), (1, (110, 96, 96))]
    )
    band = Image.linear_gradient("L").point(
        [round(255 * math.sin(math.pi * v / 255) ** 4) for v in range(256)]
    )
    side = math.isqrt(width * width + height * height)
    band = band.resize((side, side // 2)).rotate(62, expand=True, resample=Image.Resampling.BILINEAR)
    left, top = (band.width - width) // 2, (band.height - height) // 2
    milky = ImageChops.multiply(
        band.crop((left, top, left + width, top + height)), fractal(size, (5, 7), 6, rng)
    )
    canvas.paste((196, 186, 214), (0, 0), milky.point([round(v * 0.75) for v in range(256)]))
    dust = milky.tobytes()
    draw = ImageDraw.Draw(canvas)
    for _ in range(2600):
        x, y = rng.randrange(width), rng.randrange(round(height * 0.85))
        if rng.random() < 0.45 + dust[y * width + x] / 150:
            r = width / 1500 * (0.35 + 1.2 * rng.random() ** 9)
            light = mix((150, 170, 220), (255, 250, 240), rng.random())
            draw.ellipse([x - r, y - r, x + r, y + r], fill=light)
    line = [height * (0.88 - 0.05 * y) for y in ridge_line(width, 0.45, 3, rng)]
    firs(canvas, line, height // 4, (5, 8, 14), 34, rng)
    canvas.paste((5, 8, 14), (0, 0), below(size, line))
    return canvas


def aurora(size: Size, rng: Random) -> Image.Image:
    """Green curtains of light over snow hills."""
    width, height = size
    canvas = gradient(size, [(0, (6, 10, 30)), (0.6, (12, 40, 62)), (0.75, (26, 70, 84))])
    draw = ImageDraw.Draw(canvas)
    for _ in range(900):
        x, y, r = (
            rng.randrange(width),
            rng.randrange(round(height * 0.7)),
            width / 1600 * (0.4 + rng.random() ** 8),
        )
        draw.ellipse([x - r, y - r, x + r, y + r], fill=mix((90, 110, 160), (255, 255, 255), rng.random()))
    for low, light in ((0.5, 0.9), (0.62, 0.75), (0.4, 0.6)):
        canvas = ImageChops.screen(canvas, curtain(size, low, light, rng))
    shore = round(height * 0.74)
    ranges(canvas, (40, 92, 100), (150, 190, 200), layers=2, top=0.66, bottom=0.74, rng=rng)
    reflect(canvas, shore, (8, 26, 40), 0.3, 0.03, rng)
    return canvas


def curtain(size: Size, low: float, light: float, rng: Random) -> Image.Image:
    """One curtain, RGB on black: rays that end sharply near the part `low` of the height, fading upwards."""
    width, height = size
    rays = fractal((width, 8), (9, 1), 6, rng).resize(size)
    rays = rays.point([round((40 + 215 * (v / 255) ** 1.5) * light) for v in range(256)])
    fade = gradient(
        size,
        [
            (0, (0, 0, 0)),
            (low - 0.42, (0, 0, 0)),
            (low - 0.16, (90, 90, 90)),
            (low - 0.02, (255, 255, 255)),
            (low + 0.02, (0, 0, 0)),
        ],
    )
    tint = gradient(
        size,
        [
            (0, (120, 40, 170)),
            (low - 0.3, (110, 60, 180)),
            (low - 0.14, (40, 200, 130)),
            (low, (120, 255, 150)),
            (1, (0, 0, 0)),
        ],
    )
    lit = ImageChops.multiply(tint, ImageChops.multiply(fade, Image.merge("RGB", (rays, rays, rays))))
    phase, waves = rng.uniform(0, 6), rng.uniform(0.7, 1.4)
    return per_column(
        lit,
        max(1, width // 800),
        lambda x: round(
            height
            * (
                0.07 * math.sin(phase + waves * math.tau * x / width)
                + 0.025 * math.sin(3 * phase + 23 * x / width)
            )
        ),
    )
