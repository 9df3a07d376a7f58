"""Sizes and orientations: resampling to exact sizes, turning upright, and what is stored of a part of the picture."""

from __future__ import annotations

from fastproc.worker.vips.library import Image, decoding


def in_memory(image: Image) -> Image:
    """Return the picture, computed. Errors of its source are translated."""
    with decoding():
        return image.copy_memory()


def resized(image: Image, width: int, height: int, exact: tuple[float, float] | None = None) -> Image:
    """Return exactly `width` x `height`, by Lanczos3 (after a box filter where there is much to shrink).

    `exact` is how large a reduced decode would be if libvips had not dropped its last row or column that is not whole:
    stretched over the result instead, 4807 pixels at an eighth are nearly one pixel out at the right.
    Transparent pixels have no colour to mix: with alpha, colours are weighted by it.
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
    """Return the picture turned as an EXIF orientation says. All but 1 and 2 read a stream at random: not streamed."""
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
    """Return left, top, width, height, in the stored picture, of the rows `top` to `bottom` of the upright one.

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
