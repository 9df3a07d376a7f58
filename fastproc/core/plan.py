"""Decide what to make from a photo: sizes, the decoder's reduction, whether to optimise. Geometry only, no pixels.

Rule 1: sizes are as displayed (orientation applied); a thumbnail fits its square, keeps the aspect ratio, is never
        enlarged and never thinner than one pixel.
Rule 2: the decoder reduces as far as it can and still gives the largest thumbnail's size; the rest is resampled.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from fastproc.core.model import Format, Header, Options

#: What a JPEG decoder can divide by while it decodes (libjpeg scales 8x8 blocks to 4x4, 2x2, 1x1).
JPEG_REDUCTIONS: Final = (8, 4, 2)
#: Least pixels of the shorter side after a reduced decode: rounding then shifts a row by less than 1/16 of a pixel.
THINNEST_PX: Final = 16

#: Seconds that any task may take, and that each megapixel adds. The slowest output, an optimised copy in AVIF, takes
#: 0.29 s a megapixel on an idle core, a decode 0.03 s; hosts may be slow or busy.
BASE_S: Final = 30.0
S_PER_MEGAPIXEL: Final = 2.0


class Target(Struct, frozen=True):
    """One picture to make: its name, its size in pixels as displayed, its quality (mozjpeg's scale), its format."""

    name: str
    width: int
    height: int
    quality: int
    format: Format = "jpeg"


class Plan(Struct, frozen=True, kw_only=True):
    """What to make from one photo of `width` x `height` pixels, as displayed.

    `thumbnails` are in the order of the options; `optimized` is None where the source is small enough already.
    """

    width: int
    height: int
    thumbnails: tuple[Target, ...]
    optimized: Target | None


def fit(width: int, height: int, side_px: int) -> tuple[int, int]:
    """Return the size that fits a square of `side_px`.

    The longer side becomes `side_px`, the other is rounded to the nearest pixel, half up; a picture that fits
    already keeps its size.
    Source: sharp resize(fit=inside, withoutEnlargement).
    """
    longer = max(width, height)
    if longer <= side_px:
        return width, height
    return (
        max(1, (2 * width * side_px + longer) // (2 * longer)),
        max(1, (2 * height * side_px + longer) // (2 * longer)),
    )


def reduction(header: Header, side_px: int) -> int:
    """Return the divisor of both sides for the decoder that leaves at least `side_px` on the longer side.

    Some decoders round the quotient down: a thin picture would lose whole rows, so its shorter side stays at
    THINNEST_PX or more. Only JPEG decoders can reduce.
    Cost: tuning.md "shrink-on-load".
    """
    if header.format != "jpeg":
        return 1
    longer, shorter = max(header.width, header.height), min(header.width, header.height)
    return next((by for by in JPEG_REDUCTIONS if longer >= by * side_px and shorter >= by * THINNEST_PX), 1)


def make_plan(options: Options, width: int, height: int, source_bytes: int) -> Plan:
    """Return the plan for a photo of `width` x `height` pixels as displayed, whose file has `source_bytes`."""
    thumbnails = tuple(
        Target(spec.name, *fit(width, height, spec.side_px), spec.quality, options.format_of(spec))
        for spec in options.thumbnails
    )
    large = source_bytes > options.optimize_threshold_bytes
    copy = Target("optimized", width, height, options.optimize_quality, options.optimize_format)
    return Plan(
        width=width,
        height=height,
        thumbnails=thumbnails,
        optimized=copy if large else None,
    )


def allowance_s(pixels: int, limit_s: float) -> float:
    """Return the seconds that a task over a photo of so many pixels (0: not known yet) may take, at most `limit_s`."""
    return min(limit_s, BASE_S + S_PER_MEGAPIXEL * max(0, pixels) / 1e6)
