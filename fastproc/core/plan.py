"""Decide what to make from a photo: sizes, the decoder's reduction, whether to optimise. Geometry only, no pixels.

Rule 1: sizes are as displayed (orientation applied); a thumbnail fits its square, keeps the aspect ratio, is never
        enlarged and never thinner than one pixel.
Rule 2: the decoder reduces as far as THUMBNAIL_DECODE allows, and never below the largest thumbnail's size; the rest
        is resampled.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from fastproc.core.header import Header
from fastproc.core.model import Format, Options, ThumbnailDecode

#: What a JPEG decoder can divide by while it decodes (libjpeg scales 8x8 blocks to 4x4, 2x2, 1x1).
JPEG_REDUCTIONS: Final = (8, 4, 2)
#: Least pixels of the shorter side after a reduced decode: rounding then shifts a row by less than 1/16 of a pixel.
THINNEST_PX: Final = 16


class DecodeRule(Struct, frozen=True):
    """How far a decoder may reduce.

    `margin` is how many times the largest thumbnail's longer side must be left. `lost` is how much of a thumbnail's
    pixel may be missing at the right and bottom edges: a decoder drops the row or column that it cannot fill.
    """

    margin: float
    lost: float


#: tuning.md "shrink-on-load". At a margin of 1 less than one pixel of the thumbnail is lost, whatever the size.
DECODE_RULES: Final[dict[ThumbnailDecode, DecodeRule]] = {
    "fast": DecodeRule(margin=1.0, lost=1.0),
    "balanced": DecodeRule(margin=1.5, lost=0.25),
    "best": DecodeRule(margin=3.0, lost=0.1),
}

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


def reduction(header: Header, side_px: int, decode: ThumbnailDecode) -> int:
    """Return the largest divisor of both sides for the decoder that `decode` allows for a thumbnail of `side_px`.

    Neither side becomes smaller than the thumbnail's. The decoder rounds the quotient down: a thin picture would lose
    whole rows, so its shorter side stays at THINNEST_PX or more. Only JPEG decoders can reduce.
    Cost: tuning.md "shrink-on-load".
    """
    if header.format != "jpeg":
        return 1
    rule = DECODE_RULES[decode]
    longer, shorter = max(header.width, header.height), min(header.width, header.height)
    thinnest = max(THINNEST_PX, fit(longer, shorter, side_px)[1])

    def allowed(by: int) -> bool:
        dropped = max(header.width % by, header.height % by)
        enough = longer >= rule.margin * by * side_px and shorter >= by * thinnest
        return enough and dropped * side_px <= rule.lost * longer

    return next(filter(allowed, JPEG_REDUCTIONS), 1)


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
