"""Resamples to exact sizes, turns upright, and finds the stored part for a part of the upright picture."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from fastproc.worker.vips.library import Image, decoding, pyvips
from fastproc.worker.vips.repeated import Repeated, computed

#: How many times too large a picture may be for the box filter that comes before Lanczos3: it is cheap but not exact.
#: libvips' own value is 2. tuning.md "resampling".
BOX_GAP: Final = 3.0
#: Pictures of at most so many bytes are scaled by pipelines that are kept, and so many of them are: those of five
#: shapes of photos, 2 MB (tuning.md, "kept pipelines").
KEPT_BYTES: Final = 256 << 10
KEPT: Final = 16


def in_memory(image: Image) -> Image:
    """Return the picture, computed. Errors of its source are translated (`library.decoding`)."""
    with decoding():
        return image.copy_memory()


def resized(image: Image, width: int, height: int, exact: tuple[float, float] | None = None) -> Image:
    """Return exactly `width` x `height`, by Lanczos3 (after a box filter where it shrinks by more than 2 * BOX_GAP).

    `exact` is the size of a reduced decode if libvips did not drop an incomplete last row or column: without it, the
    rest is stretched over the result, and 4807 pixels at an eighth are shifted by nearly one pixel at the right. It is
    a side divided by a power of two.
    Transparent pixels have no colour of their own: with alpha, colours are weighted by it.
    """
    if not image.hasalpha() or (image.width, image.height) == (width, height):
        return _scaled(image, width, height, exact)
    return _scaled(image.premultiply(), width, height, exact).unpremultiply().rint().cast(image.format)


def scaled_copy(image: Image, width: int, height: int) -> Image:
    """Return a picture of 8 bits that is in memory at another size, in memory: `resized`, but quick for small ones."""
    sides, bands = (image.width, image.height), image.bands
    if sides == (width, height):
        return image
    if sides[0] * sides[1] * bands > KEPT_BYTES:
        return in_memory(resized(image, width, height))
    pipeline = _kept((*sides, bands), image.interpretation, width, height)
    made = pyvips.Image.new_from_memory(pipeline.run(computed(image, sides)), width, height, bands, "uchar")
    # What JPEGs say of the density is that of the photo.
    return made.copy(interpretation=image.interpretation, xres=image.xres, yres=image.yres)


@lru_cache(maxsize=KEPT)
def _kept(shape: tuple[int, int, int], interpretation: str, width: int, height: int) -> Repeated:
    return Repeated(
        shape, lambda picture: resized(picture.copy(interpretation=interpretation), width, height)
    )


def _scaled(image: Image, width: int, height: int, exact: tuple[float, float] | None) -> Image:
    """Return the picture resampled.

    libvips rounds sizes and moves the picture by half of what it rounded away: a quarter of a pixel is 10 to 18 points
    of SSIMULACRA2. So an incomplete pixel is completed on a canvas of several times the size, of which the first part
    is used; only that part is computed. Rows come first: a canvas that is wider as well would be copied at full height.
    """
    wide, high = exact or (image.width, image.height)
    if (wide, high) == (image.width, image.height):
        return image if (wide, high) == (width, height) else _resampled(image, width, height)
    whole, times = high.as_integer_ratio()
    canvas = image.embed(0, 0, image.width, whole, extend="copy")
    rows = _resampled(canvas, image.width, times * height).crop(0, 0, image.width, height)
    whole, times = wide.as_integer_ratio()
    canvas = rows.embed(0, 0, whole, height, extend="copy")
    return _resampled(canvas, times * width, height).crop(0, 0, width, height)


def _resampled(image: Image, width: int, height: int) -> Image:
    return image.resize(width / image.width, vscale=height / image.height, kernel="lanczos3", gap=BOX_GAP)


def upright(image: Image, orientation: int | None) -> Image:
    """Return the picture turned by an EXIF orientation. All but 1 and 2 read at random: they need it in memory."""
    match orientation:
        case 2:
            return image.fliphor()
        case 3:
            return image.rot180()
        case 4:
            return image.flipver()
        case 5:
            return image.rot90().fliphor()
        case 6:
            return image.rot90()
        case 7:
            return image.rot270().fliphor()
        case 8:
            return image.rot270()
    return image


def stored_window(
    orientation: int, sides: tuple[int, int], top: int, bottom: int
) -> tuple[int, int, int, int]:
    """Return left, top, width, height, in the stored picture, of the upright picture's rows `top` to `bottom`.

    `sides` are the stored width and height.
    """
    width, height = sides
    match orientation:
        case 3 | 4:
            return 0, height - bottom, width, bottom - top
        case 5 | 6:
            return top, 0, bottom - top, height
        case 7 | 8:
            return width - bottom, 0, bottom - top, height
    return 0, top, width, bottom - top
