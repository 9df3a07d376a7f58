"""Brushes for pictures that look like photos: gradients, fractal noise, ridges, water, glow, film grain.

Rule 1: Pillow only; every random number comes from the `Random` that the caller seeds, so a picture is the same
        on every machine. (`Image.effect_noise` is not used: it draws from the C library's shared generator.)
Rule 2: a brush changes the canvas it is given or returns a mask; lengths are pixels, colours RGB 0..255.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from random import Random

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

Colour = tuple[int, int, int]
Size = tuple[int, int]
#: (position 0..1 from the top, colour), in order.
Stops = Sequence[tuple[float, Colour]]

BICUBIC = Image.Resampling.BICUBIC


def mix(a: Colour, b: Colour, t: float) -> Colour:
    """The colour `t` (0..1) of the way from `a` to `b`."""
    red, green, blue = (round(x + (y - x) * t) for x, y in zip(a, b, strict=True))
    return red, green, blue


def gradient(size: Size, stops: Stops) -> Image.Image:
    """A vertical gradient through `stops`, RGB."""
    width, height = size
    column = Image.new("RGB", (1, height))
    pixels: list[Colour] = []
    for y in range(height):
        at = y / max(1, height - 1)
        after = next((i for i, (stop, _) in enumerate(stops) if stop >= at), len(stops) - 1)
        low, high = stops[max(0, after - 1)], stops[after]
        span = high[0] - low[0]
        pixels.append(mix(low[1], high[1], min(1.0, (at - low[0]) / span) if span else 1.0))
    column.putdata(pixels)
    return column.resize((width, height), Image.Resampling.NEAREST)


def noise(size: Size, rng: Random) -> Image.Image:
    """White noise, L, uniform over 0..255."""
    width, height = size
    return Image.frombytes("L", size, rng.randbytes(width * height))


def fractal(size: Size, cells: tuple[int, int], octaves: int, rng: Random) -> Image.Image:
    """Fractal noise, L, stretched to 0..255; the coarsest octave has `cells` lumps across and down.

    Drawn at half size: nobody sees the difference, and a quarter of the pixels takes a quarter of the time.
    """
    half = (max(2, size[0] // 2), max(2, size[1] // 2))
    across, down = cells
    total = noise((across + 2, down + 2), rng).resize(half, BICUBIC)
    for octave in range(1, octaves):
        grid = (min(half[0], across << octave) + 2, min(half[1], down << octave) + 2)
        total = Image.blend(total, noise(grid, rng).resize(half, BICUBIC), 0.5 ** (octave * 0.8 + 0.2))
    return ImageOps.autocontrast(total, cutoff=0.5).resize(size, Image.Resampling.BILINEAR)


def curve(image: Image.Image, low: float, high: float, power: float = 1.0) -> Image.Image:
    """Map L values so that `low` (0..1) becomes black and `high` white, by `power` between them."""
    table = [
        round(255 * min(1.0, max(0.0, (value / 255 - low) / (high - low))) ** power) for value in range(256)
    ]
    return image.point(table)


def relief(height: Image.Image, offset_px: int) -> Image.Image:
    """The height map (L) lit from the upper left, L around 128: it makes noise look like rock or snow."""
    moved = ImageChops.offset(height, offset_px, offset_px)
    return ImageChops.subtract(height, moved, 0.5, 128)


def texture(canvas: Image.Image, grey: Image.Image, strength: float) -> Image.Image:
    """The canvas with `grey` (L around 128) laid over it in soft light: dark and bright parts change least."""
    flat = grey.point([round(128 + (value - 128) * strength) for value in range(256)])
    return ImageChops.soft_light(canvas, Image.merge("RGB", (flat, flat, flat)))


def ridge_line(width: int, roughness: float, bumps: int, rng: Random) -> list[float]:
    """Heights -1..1 for each x of 0..width, by midpoint displacement starting with `bumps` points.

    `roughness` near 0.5 gives crags, near 0.3 hills.
    """
    heights = [rng.uniform(-1, 1) for _ in range(bumps + 1)]
    swing = 1.0
    while len(heights) < width:
        swing *= roughness
        finer: list[float] = []
        for left, right in pairwise(heights):
            finer += [left, (left + right) / 2 + rng.uniform(-swing, swing)]
        heights = [*finer, heights[-1]]
    top, bottom = max(heights), min(heights)
    step = (len(heights) - 1) / width
    return [2 * (heights[int(x * step)] - bottom) / (top - bottom) - 1 for x in range(width + 1)]


def below(size: Size, line: Sequence[float]) -> Image.Image:
    """A mask, L: white below the line, whose y values in pixels are given for each x."""
    mask = Image.new("L", size)
    outline = [(x, round(y)) for x, y in enumerate(line)]
    ImageDraw.Draw(mask).polygon([(0, size[1]), *outline, (size[0], size[1])], fill=255)
    return mask


def glow(canvas: Image.Image, centre: tuple[int, int], radius: int, colour: Colour, power: float) -> None:
    """Paint a round light that fades to nothing at `radius`; the higher `power`, the smaller its bright centre."""
    light = ImageOps.invert(Image.radial_gradient("L"))
    # The gradient reaches its last value in the corners, so it is cut at the largest circle that fits the square.
    light = curve(light, 1 - 1 / math.sqrt(2), 1.0, power).resize((2 * radius, 2 * radius), BICUBIC)
    canvas.paste(colour, (centre[0] - radius, centre[1] - radius), light)


def clouds(canvas: Image.Image, bottom: int, colour: Colour, cover: float, rng: Random) -> None:
    """Lay clouds over the top `bottom` pixels, thinner towards the horizon; `cover` 0..1."""
    size = (canvas.width, bottom)
    mask = curve(fractal(size, (3, 5), 6, rng), 1 - cover, 1.1, 1.4)
    fade = Image.linear_gradient("L").point([min(255, 3 * (255 - v)) for v in range(256)]).resize(size)
    canvas.paste(colour, (0, 0), ImageChops.multiply(mask, fade))


def conifer(
    draw: ImageDraw.ImageDraw, foot: tuple[int, int], height: int, colour: Colour, rng: Random
) -> None:
    """Draw a fir with its foot at `foot`; its branches are uneven and hang down."""
    x, y = foot
    levels = max(6, min(26, height // 9))
    left: list[tuple[float, float]] = []
    right: list[tuple[float, float]] = []
    for level in range(1, levels + 1):
        at = y - height * (1 - level / levels * 0.94)
        reach = height * 0.19 * (level / levels) ** 0.85
        for side, sign in ((left, -1), (right, 1)):
            out = reach * rng.uniform(0.7, 1.15)
            side += [(x + sign * out, at + height * 0.018), (x + sign * out * 0.42, at - height * 0.006)]
    draw.polygon([(x, y - height), *right, *reversed(left)], fill=colour)
    draw.rectangle([x - height // 90, y - height // 12, x + height // 90, y], fill=colour)


def reflect(canvas: Image.Image, shore: int, tint: Colour, depth: float, ripple: float, rng: Random) -> None:
    """Fill everything below `shore` with the mirrored upper part, rippled, mixed `depth` (0..1) with `tint`.

    `ripple` is how far, as a part of the water's height, a row near the viewer is displaced.
    """
    width, rows = canvas.width, canvas.height - shore
    mirror = ImageOps.flip(canvas.crop((0, max(0, shore - rows), width, shore)))
    if mirror.height < rows:
        mirror = mirror.resize((width, rows))
    step = max(1, rows // 400)
    phase, sway = 0.0, 0.0
    for row in range(0, rows, step):
        near = row / rows
        phase += 2.0 / (1 + 9 * near)
        sway = 0.7 * sway + 0.3 * rng.uniform(-1, 1)
        shift = ripple * rows * near * (0.6 * math.sin(phase) + sway)
        source = min(rows - step, max(0, round(row + shift)))
        strip = mirror.crop((0, source, width, source + step))
        canvas.paste(ImageChops.offset(strip, round(shift / 3), 0), (0, shore + row))
    water = canvas.crop((0, shore, width, canvas.height))
    waves = fractal(water.size, (6, 60), 3, rng)
    water = Image.blend(
        water, gradient(water.size, [(0, mix(tint, (128, 128, 128), 0.15)), (1, tint)]), depth
    )
    canvas.paste(texture(water, waves, 0.35), (0, shore))


def grain(canvas: Image.Image, strength: float, rng: Random) -> Image.Image:
    """The finished photo: softened by a lens, given film grain (`strength` 0.1 to 0.5) and darker corners."""
    soft = canvas.filter(ImageFilter.BoxBlur(canvas.width / 4000))
    dark = Image.radial_gradient("L").point([round(128 - 46 * (value / 255) ** 2.4) for value in range(256)])
    shade = dark.resize(canvas.size, Image.Resampling.BILINEAR)
    speckle = noise(canvas.size, rng).filter(ImageFilter.BoxBlur(0.6))
    fine = speckle.point([round(128 + (value - 128) * strength) for value in range(256)])
    both = ImageChops.add(shade, fine, 1, -128)
    return ImageChops.soft_light(soft, Image.merge("RGB", (both, both, both)))


def per_column(canvas: Image.Image, step: int, shift: Callable[[int], int]) -> Image.Image:
    """The canvas with each strip of `step` columns moved down by `shift(x)` pixels, wrapping around."""
    moved = Image.new(canvas.mode, canvas.size)
    for x in range(0, canvas.width, step):
        strip = canvas.crop((x, 0, min(canvas.width, x + step), canvas.height))
        moved.paste(ImageChops.offset(strip, 0, shift(x)), (x, 0))
    return moved
