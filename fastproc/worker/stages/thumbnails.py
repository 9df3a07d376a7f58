"""Small copies, each made from the next larger one."""

from __future__ import annotations

from typing import Final

from fastproc.worker.stage import Encoded, StageResult, Work

NAME: Final = "thumbnails"


def run(work: Work) -> StageResult:
    """Raises FileCorrupted."""
    made: dict[str, Encoded] = {}
    for target in sorted(work.plan.thumbnails, key=lambda target: -target.width * target.height):
        picture = work.source.fitted(target.width, target.height)
        made[target.name] = Encoded(
            name=target.name,
            width=target.width,
            height=target.height,
            data=work.encoders.encode(picture, target.format, target.quality),
            content_type=f"image/{target.format}",
        )
    return StageResult({"count": len(made)}, tuple(made[target.name] for target in work.plan.thumbnails))
