"""Resamples to exact sizes, turns upright, and finds the stored part for a part of the upright picture."""

from __future__ import annotations

from fastproc.worker.vips.library import Image, decoding


def in_memory(image: Image) -> Image:
    """Return the picture, computed. Errors of its source are translated (`library.decoding`)."""
    with decoding():
        return image.copy_memory()


def resized(image: Image, width: int, height: int, exact: tuple[float, float] | None = None) -> Image:
    """Return exactly `width` x `height`, by Lanczos3 (after a box filter where it shrinks much).

    `exact` is the size of a reduced decode if libvips did not drop an incomplete last row or column: without it, the
    rest is stretched over the result, and 4807 pixels at an eighth are shifted by nearly one pixel at the right.
    Transparent pixels have no colour of their own: with alpha, colours are weighted by it.
    """
    if not image.hasalpha() or (image.width, image.height) == (width, height):
        return _scaled(image, width, height, exact)
    return _scaled(image.premultiply(), width, height, exact).unpremultiply().rint().cast(image.format)


def _scaled(image: Image, width: int, height: int, exact: tuple[float, float] | None) -> Image:
    wide, high = exact or (image.width, image.height)
    whole = (int(wide + 0.5), int(high + 0.5))
    if whole != (image.width, image.height):
        image = image.embed(0, 0, *whole, extend="copy")
    if (wide, high) == (width, height):
        return image
    made = image.resize(width / wide, vscale=height / high, kernel="lanczos3")
    if (made.width, made.height) == (width, height):
        return made
    return image.resize(width / image.width, vscale=height / image.height, kernel="lanczos3")


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
