"""Cut a square from the middle of the photo: a worked example of a stage that makes a rendition.

Rule 1: a stage reads `work` and returns facts and renditions. It opens no file and no socket: its process has neither.
Rule 2: what it needs is imported here, at the top. After the worker's warm-up the jail lets nothing be loaded.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

from fastproc.worker.stage import Encoded, StageResult, Work

#: As in PIPELINE and in the entry point.
NAME: Final = "square"


class Settings(Struct, frozen=True):
    """What an operator may set: STAGE_SQUARE_SIDE_PX, STAGE_SQUARE_QUALITY. Every field has a default."""

    side_px: Annotated[int, Meta(ge=16, le=2000, description="side of the square")] = 320
    quality: Annotated[int, Meta(ge=1, le=100, description="its quality on mozjpeg's scale")] = 80


def run(work: Work) -> StageResult:
    """Return a square of `side_px`, or smaller where the photo is: it is never enlarged.

    Raises: FileCorrupted if the photo's pixels cannot be read; the photo then fails with that code.
    """
    settings: Settings = work.settings
    # The one reduced decode that all stages share, upright and sRGB. Its longer side fits the largest thumbnail.
    base = work.source.base
    shorter = min(base.width, base.height)
    side = min(settings.side_px, shorter)
    # A size at which the shorter side is `side`, resampled from the next larger picture that a stage asked for.
    width = round(base.width * side / shorter)
    height = round(base.height * side / shorter)
    picture = work.source.fitted(width, height)
    square = picture.crop((width - side) // 2, (height - side) // 2, side, side)
    format = work.options.thumbnail_format
    rendition = Encoded(
        name="square",
        width=side,
        height=side,
        data=work.encoders.encode(square, format, settings.quality),
        content_type=f"image/{format}",
    )
    kept = round(side * side / (width * height), 3)
    return StageResult({"side": side, "kept": kept}, (rendition,))
