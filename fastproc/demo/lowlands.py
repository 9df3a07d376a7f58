"""Demo scenes of sea, desert, city and fields: a wrong orientation is easy to see in these as well."""

from __future__ import annotations

import math
from random import Random

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from fastproc.demo.paint import (
    Size,
    below,
    clouds,
    curve,
    fractal,
    glow,
    gradient,
    mix,
    reflect,
    ridge_line,
    texture,
)
from fastproc.demo.terrain import ranges


def sea(size: Size, rng: Random) -> Image.Image:
    """A sun going down over a moving sea, its light a path on the waves."""
    width, height = size
    canvas = gradient(
        size, [(0, (38, 44, 92)), (0.3, (176, 84, 106)), (0.5, (250, 150, 82)), (0.56, (255, 206, 120))]
    )
    clouds(canvas, round(height * 0.54), (92, 48, 84), 0.66, rng)
    horizon = round(height * 0.56)
    sun = (round(width * 0.38), round(height * 0.5))
    glow(canvas, sun, height // 2, (255, 190, 110), 2.0)
    glow(canvas, sun, height // 11, (255, 248, 214), 0.3)
    water = gradient(
        (width, height - horizon), [(0, (214, 124, 96)), (0.25, (112, 66, 96)), (1, (22, 26, 58))]
    )
    rows, cols = water.height, width
    far = fractal((cols, rows), (18, 90), 3, rng)
    near = fractal((cols, rows), (5, 14), 5, rng)
    depth = Image.linear_gradient("L").resize((cols, rows))
    waves = Image.composite(near, far, depth)
    water = texture(water, waves, 1.0)
    path = Image.new("L", (cols, rows))
    ImageDraw.Draw(path).polygon(
        [
            (sun[0] - width // 28, 0),
            (sun[0] + width // 28, 0),
            (sun[0] + width // 7, rows),
            (sun[0] - width // 7, rows),
        ],
        fill=255,
    )
    path = (
        path.resize((cols // 8, rows // 8)).filter(ImageFilter.GaussianBlur(width / 320)).resize((cols, rows))
    )
    water.paste((255, 214, 146), (0, 0), ImageChops.multiply(path, curve(waves, 0.48, 0.72)))
    canvas.paste(water, (0, horizon))
    boat(ImageDraw.Draw(canvas), (round(width * 0.7), horizon + height // 40), height // 9)
    return canvas


def boat(draw: ImageDraw.ImageDraw, keel: tuple[int, int], mast: int) -> None:
    """Draw a sailing boat as a silhouette."""
    x, y = keel
    dark = (26, 18, 34)
    hull = [(-0.42, -0.1), (0.5, -0.12), (0.36, 0.03), (-0.34, 0.03)]
    draw.polygon([(x + a * mast, y + b * mast) for a, b in hull], fill=dark)
    draw.polygon([(x, y - mast), (x + mast * 0.44, y - mast * 0.2), (x, y - mast * 0.17)], fill=(58, 34, 48))
    draw.polygon(
        [
            (x - mast * 0.04, y - mast * 0.9),
            (x - mast * 0.34, y - mast * 0.2),
            (x - mast * 0.04, y - mast * 0.2),
        ],
        fill=dark,
    )
    draw.line([(x, y - mast), (x, y)], fill=dark, width=max(1, mast // 50))


def dunes(size: Size, rng: Random) -> Image.Image:
    """Sand dunes with one side in shadow, under a plain sky."""
    width, height = size
    canvas = gradient(size, [(0, (38, 104, 170)), (0.42, (170, 204, 216)), (0.5, (238, 222, 190))])
    ripples = fractal(size, (14, 150), 3, rng)
    for near, peak in ((0.0, 0.82), (0.2, 0.3), (0.45, 0.68), (0.7, 0.14), (1.0, 0.9)):
        base, swing = height * (0.5 + 0.44 * near), height * (0.1 + 0.13 * near)
        line = [base - swing * slope(x / width - peak) for x in range(width + 1)]
        sand = mix((242, 206, 160), (222, 138, 64), near)
        top = min(line) / height
        far, deep = mix(sand, (255, 240, 210), 0.4), mix(sand, (90, 40, 20), 0.35)
        fill = texture(
            gradient(size, [(top, far), (top + 0.3, sand), (1.3, deep)]), ripples, 0.1 + 0.25 * near
        )
        dark = lee(size, (round(peak * width), round(base - swing)), near)
        fill.paste(mix(mix(sand, (66, 28, 48), 0.75), (190, 170, 170), 0.3 * (1 - near)), (0, 0), dark)
        canvas.paste(fill, (0, 0), below(size, line))
    return canvas


def slope(away: float) -> float:
    """A dune's height 0..1 at a distance from its peak, in parts of the width: long to windward, steep to lee."""
    return math.exp(-((abs(away) / (0.26 if away < 0 else 0.17)) ** 1.25)) + 0.06 * math.sin(9 * away)


def lee(size: Size, peak: tuple[int, int], near: float) -> Image.Image:
    """A mask of the side away from the sun: a winding edge runs from the peak towards the viewer."""
    width, height = size
    fall, reach = height * (0.3 + 0.35 * near), width * (0.1 + 0.1 * near)
    steps = [i / 60 for i in range(61)]
    edge = [(peak[0] + reach * (math.sin(5.2 * t) * t - 0.9 * t), peak[1] + fall * t) for t in steps]
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).polygon([*edge, (width, edge[-1][1]), (width, 0), (peak[0], 0)], fill=255)
    across = (
        Image.linear_gradient("L").rotate(90).point([round(235 * (1 - v / 255) ** 1.2) for v in range(256)])
    )
    fade = Image.new("L", size, 235)
    start, length = peak[0] - round(reach), round(width * (0.3 + 0.2 * near))
    fade.paste(across.resize((length, height)), (start, 0))
    fade.paste(0, (start + length, 0, max(width, start + length), height))
    down = gradient(
        size, [(0, (255, 255, 255)), (peak[1] / height, (255, 255, 255)), (edge[-1][1] / height, (0, 0, 0))]
    )
    return ImageChops.multiply(ImageChops.multiply(mask, fade), down.getchannel(0))


def city(size: Size, rng: Random) -> Image.Image:
    """Towers with lit windows after sunset, and their lights in the river."""
    height = size[1]
    canvas = gradient(
        size, [(0, (22, 30, 68)), (0.4, (98, 70, 122)), (0.6, (232, 128, 110)), (0.68, (250, 176, 124))]
    )
    clouds(canvas, round(height * 0.55), (200, 110, 130), 0.5, rng)
    shore = round(height * 0.7)
    for layer in range(3):
        towers(canvas, shore, layer / 2, rng)
    reflect(canvas, shore, (16, 20, 44), 0.35, 0.05, rng)
    return canvas


def towers(canvas: Image.Image, shore: int, near: float, rng: Random) -> None:
    """Draw a row of towers on the shore; the near ones have lit windows."""
    draw = ImageDraw.Draw(canvas)
    unit = max(3, canvas.width // 260)
    body = mix((150, 92, 116), (20, 22, 42), near**0.7)
    lights = ((255, 214, 140), (255, 236, 190), (250, 180, 110), (190, 214, 255))
    x = -rng.randrange(8) * unit
    while x < canvas.width:
        across = rng.randint(9, 20) * unit
        middle = 1 - abs(x / canvas.width - 0.55) * 1.3
        top = shore - round(
            canvas.height * (0.08 + 0.4 * rng.random() ** 1.6 * middle * (1.15 - 0.45 * near))
        )
        draw.rectangle([x, top, x + across, shore], fill=mix(body, (0, 0, 0), rng.uniform(0, 0.3)))
        if rng.random() < 0.3:
            draw.rectangle([x + across // 2, top - 9 * unit, x + across // 2 + unit // 3, top], fill=body)
        for wy in range(top + 2 * unit, shore - 2 * unit, 3 * unit):
            for wx in range(x + unit, x + across - unit, 2 * unit):
                if rng.random() < 0.12 + 0.26 * near:
                    light = mix(body, rng.choice(lights), rng.uniform(0.35, 1) * (0.45 + 0.55 * near))
                    draw.rectangle([wx, wy, wx + unit - 1, wy + round(1.4 * unit)], fill=light)
        x += across + rng.randrange(3) * unit


def meadow(size: Size, rng: Random) -> Image.Image:
    """Poppies on a green hill under summer clouds."""
    width, height = size
    canvas = gradient(size, [(0, (40, 112, 196)), (0.5, (176, 214, 240)), (1, (176, 214, 240))])
    clouds(canvas, round(height * 0.52), (255, 255, 255), 0.7, rng)
    ranges(canvas, (150, 184, 206), (84, 128, 108), layers=3, top=0.4, bottom=0.52, rng=rng, rough=0.36)
    line = [height * (0.53 - 0.03 * y) for y in ridge_line(width, 0.3, 2, rng)]
    grass = gradient(size, [(0.5, (148, 170, 84)), (0.62, (98, 140, 54)), (1, (38, 76, 26))])
    grass = texture(grass, fractal(size, (90, 26), 3, rng), 0.8)
    canvas.paste(grass, (0, 0), below(size, line))
    draw = ImageDraw.Draw(canvas)
    for at in sorted(rng.random() ** 2 for _ in range(900)):
        x, y = rng.randrange(width), height * (0.55 + 0.47 * at)
        r = height * (0.002 + 0.02 * at) * rng.uniform(0.7, 1.2)
        red = mix((226, 44, 30), (150, 14, 20), rng.random())
        draw.line(
            [(x, y), (x + r * rng.uniform(-0.6, 0.6), y + 4 * r)],
            fill=(52, 92, 34),
            width=max(1, round(r / 5)),
        )
        for dx, dy, shade in ((-0.5, 0.1, 0.12), (0.5, 0.05, 0.0), (0, -0.25, -0.1)):
            petal = mix(red, (255, 110, 70) if shade < 0 else (90, 0, 10), abs(shade) * 2)
            draw.ellipse(
                [x + (dx - 0.7) * r, y + (dy - 0.55) * r, x + (dx + 0.7) * r, y + (dy + 0.6) * r], fill=petal
            )
        draw.ellipse([x - r * 0.2, y - r * 0.12, x + r * 0.2, y + r * 0.2], fill=(36, 16, 24))
    return canvas
