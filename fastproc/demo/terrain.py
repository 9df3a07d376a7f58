"""Parts of landscapes that several scenes share: ranges in haze, rows of firs, snowy peaks."""

from __future__ import annotations

from random import Random

from PIL import Image, ImageChops, ImageDraw

from fastproc.demo.paint import (
    Colour,
    Size,
    below,
    conifer,
    curve,
    fractal,
    gradient,
    mix,
    relief,
    ridge_line,
    texture,
)


def ranges(
    canvas: Image.Image,
    haze: Colour,
    rock: Colour,
    *,
    layers: int,
    top: float,
    bottom: float,
    rng: Random,
    rough: float = 0.5,
) -> None:
    """Stack mountain ranges from `top` to `bottom` (parts of the height), the far ones fade into `haze`."""
    width, height = canvas.size
    ground = fractal(canvas.size, (14, 12), 5, rng)
    lit = relief(ground, max(1, width // 500))
    for layer in range(layers):
        near = (layer + 0.4) / layers
        base = height * (top + (bottom - top) * near)
        swing = height * 0.075 * (1.25 - 0.6 * near)
        line = [base - swing * y for y in ridge_line(width, rough, 4 + layer, rng)]
        colour = mix(haze, rock, near**1.1)
        foot = mix(colour, haze, 0.5 - 0.2 * near)
        # Only the visible band is painted: the sky above is finished, and the nearer range hides what is below.
        start, end = (
            round(min(line)),
            round(min(height, max(line) + height * 0.16) if layer + 1 < layers else height),
        )
        band = (width, end - start)
        fill = gradient(band, [(0, colour), (0.34 * height / band[1], foot)])
        fill = texture(fill, lit.crop((0, start, width, end)), 0.3 * near)
        canvas.paste(fill, (0, start), below(band, [y - start for y in line]))


def firs(
    canvas: Image.Image, line: list[float], tallest: int, colour: Colour, count: int, rng: Random
) -> None:
    """Plant `count` conifers along a line, small ones first."""
    draw = ImageDraw.Draw(canvas)
    for rank in sorted(rng.uniform(0.35, 1) for _ in range(count)):
        x = rng.randrange(canvas.width)
        conifer(draw, (x, round(line[x] + tallest * 0.1)), round(tallest * rank), colour, rng)


def slanted(size: Size, rng: Random) -> Image.Image:
    """Rock, L: streaks that run down the slopes, to the left here and to the right there."""
    width, height = size
    margin = round(height * 0.3)
    upright = fractal((width + 2 * margin, height), (26, 9), 6, rng)
    left, right = (
        upright.transform(size, Image.Transform.AFFINE, (1, lean, margin - lean * height / 2, 0, 1, 0))
        for lean in (0.6, -0.6)
    )
    return Image.composite(left, right, curve(fractal(size, (9, 3), 2, rng), 0.4, 0.6))


def peaks(canvas: Image.Image, base: float, swing: float, rng: Random) -> None:
    """Raise one range of snowy peaks: `base` is their middle, `swing` half their height, in pixels."""
    width, height = canvas.size
    line = [base - swing * y for y in ridge_line(width, 0.52, 5, rng)]
    rock = slanted(canvas.size, rng)
    lit = relief(rock, max(2, width // 300))
    low = min(1.0, (base + swing * 1.6) / height)
    fill = gradient(canvas.size, [(0, (96, 104, 122)), (low, (120, 132, 140))])
    snowline = gradient(canvas.size, [((base - swing) / height, (235, 235, 235)), (low, (30, 30, 30))])
    patches = ImageChops.add(snowline.getchannel(0), rock, 1.0, -128)
    fill.paste((240, 244, 250), (0, 0), curve(patches, 0.38, 0.55))
    canvas.paste(texture(fill, lit, 1.6), (0, 0), below(canvas.size, line))
