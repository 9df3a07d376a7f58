"""Checks that the photo is whole and of the declared type. The gate has checked its header; this checks the pixels."""

from __future__ import annotations

from typing import Final

from fastproc.core.errors import MimeMismatch
from fastproc.worker.stage import StageResult, Work

NAME: Final = "validation"

#: Other names that clients use for a format after `image/`.
_ALIASES: Final = {
    "jpg": "jpeg",
    "jpe": "jpeg",
    "pjpeg": "jpeg",
    "x-jpeg": "jpeg",
    "x-jpg": "jpeg",
    "x-citrix-jpeg": "jpeg",
    "jfif": "jpeg",
    # A JPEG with further ones behind it, as cameras write: the first is the photo.
    "mpo": "jpeg",
    "x-png": "png",
    "x-citrix-png": "png",
    "apng": "png",
    "vnd.mozilla.apng": "png",
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
    # Reading every pixel is the integrity check; thumbnails and statistics use the same pixels, so nothing is wasted.
    _ = work.source.base
    return StageResult({"format": found, "mimeType": f"image/{found}", "size": work.source.size})


def declared_format(content_type: str | None) -> str | None:
    """Return the format that a content type names, or None if it names no picture format."""
    kind, _, name = (content_type or "").partition(";")[0].strip().lower().partition("/")
    if kind != "image" or not name or name == "*":
        return None
    return _ALIASES.get(name, name)
