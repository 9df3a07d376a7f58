"""Says whether a picture of a stage can be encoded: encoders would convert some others silently, and spoil colours."""

from __future__ import annotations

from typing import Final, get_args

from fastproc.core.model import Format
from fastproc.worker.vips.library import pyvips
from fastproc.worker.vips.strips import Striped

#: Some operations of libvips leave sRGB as "multiband".
_SPACES: Final = ("srgb", "rgb", "b-w", "multiband")
_MOST_BANDS: Final = 4


def problem(picture: object, format: str, quality: object) -> str:
    """Return what is wrong with what shall be encoded, "" where nothing is. No pixel is computed."""
    if format not in get_args(Format):
        return f"there is no encoder for {format!r}, but for {', '.join(get_args(Format))}"
    if type(quality) is not int or not 1 <= quality <= 100:
        return f"the quality is {quality!r}, not a whole number from 1 to 100"
    if isinstance(picture, Striped):
        return ""
    if not isinstance(picture, pyvips.Image):
        return f"the picture to encode is {type(picture).__name__}, not an Image of pyvips"
    kind, space, bands = picture.format, picture.interpretation, picture.bands
    if kind != "uchar" or space not in _SPACES or bands > _MOST_BANDS:
        return (
            f"the picture to encode is {space} of {bands} bands, {kind}; sRGB or grey of 8 bits is expected"
        )
    return ""
