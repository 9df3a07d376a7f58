"""Decide what to make from a photo: sizes, the decoder's reduction, whether to optimise. Geometry only, no pixels.

Rule 1: sizes are as displayed (orientation applied); a thumbnail fits its square, keeps the aspect ratio, is never
        enlarged and never thinner than one pixel.
Rule 2: the decoder reduces as far as THUMBNAIL_DECODE allows, and never below the largest thumbnail's size; the rest
        is resampled.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from fastproc.core.header import Header
from fastproc.core.model import Format, Options, ThumbnailDecode

#: What a JPEG decoder can divide by while it decodes (libjpeg scales 8x8 blocks to 4x4, 2x2, 1x1).
JPEG_REDUCTIONS: Final = (8, 4, 2)
#: Least pixels of the shorter side after a reduced decode: rounding then shifts a row by less than 1/16 of a pixel.
THINNEST_PX: Final = 16


#: Largest picture that is held in memory between its base and its copy: 8 megapixels in colour. With it a task takes no
#: more than `core.admission` expects.
HELD_BYTES: Final = 24 << 20
#: For the base and a reader of every pixel: one decode at full size, whose strips or whose pixels serve both; or two.
Decoding = Literal["by strips", "in memory", "twice"]


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


def decoding(by: int, slices: int, size_bytes: int, *, by_strips: bool) -> Decoding:
    """Return how a photo is decoded for its base and for a reader of the picture at full size, which has `size_bytes`.

    Where a decoder would divide by more than 1 for the base, strips are divided on their way to a reader of strips:
    that costs a fraction of a decode. Elsewhere the base is resampled from all pixels, which a small picture's memory
    can hold. A picture that is decoded anew for each of several slices has no one decode.
    Cost: tuning.md "one decode".
    """
    if slices > 1:
        return "twice"
    if by > 1:
        return "by strips" if by_strips else "twice"
    return "in memory" if size_bytes <= HELD_BYTES else "twice"


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
