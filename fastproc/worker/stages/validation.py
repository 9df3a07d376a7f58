"""Is the photo whole, and what it was said to be? The gate has judged its header before; this judges the rest."""

from __future__ import annotations

from typing import Final

from fastproc.core.errors import MimeMismatch
from fastproc.worker.stage import StageResult, Work

NAME: Final = "validation"

#: Names that clients give to a format besides `image/` and its own.
_ALIASES: Final = {
    "jpg": "jpeg",
    "pjpeg": "jpeg",
    "jfif": "jpeg",
    "x-png": "png",
    "apng": "png",
    "heif": "heic",
    "heic-sequence": "heic",
    "heif-sequence": "heic",
    "avif-sequence": "avif",
}


def run(work: Work) -> StageResult:
    """Raises MimeMismatch, FileCorrupted."""
    declared = declared_format(work.content_type)
    found = work.source.header.format
    if declared is not None and declared != found:
        raise MimeMismatch(f"declared as {declared[:40]}, but the content is {found}")
    # Reading every pixel is the integrity check, and not wasted: thumbnails and statistics use the same pixels.
    _ = work.source.base
    return StageResult({"format": found, "mimeType": f"image/{found}", "size": work.source.size})


def declared_format(content_type: str | None) -> str | None:
    """Return the format that a content type names, or None where it says nothing about pictures."""
    kind, _, name = (content_type or "").partition(";")[0].strip().lower().partition("/")
    if kind != "image" or not name or name == "*":
        return None
    return _ALIASES.get(name, name)
