"""Chooses the walk through a file by its format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fastproc.core.gate.reading import Buffer
from fastproc.worker.containers import gif, heif, jpeg, png, webp
from fastproc.worker.containers.contents import Contents

_WALKS: Final[dict[str, Callable[[Buffer], Contents]]] = {
    "jpeg": jpeg.contents,
    "png": png.contents,
    "webp": webp.contents,
    "gif": gif.contents,
    "heic": heif.contents,
    "avif": heif.contents,
}


def contents(data: Buffer, format: str) -> Contents:
    """Return what describes the photo, within the bounds of each walk; nothing for other formats."""
    walk = _WALKS.get(format)
    return walk(data) if walk else Contents()
