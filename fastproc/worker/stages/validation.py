"""Checks that the photo is whole and of the declared type. The gate has checked its header; this checks the pixels."""

from __future__ import annotations

import re
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
#: Names of raw files after `image/`, with the maker's name or without. Source: shared-mime-info, subclasses of x-dcraw.
_RAW: Final = re.compile(
    r"(x-)?(raw|dcraw|dng|cr2|cr3|nef|nrw|arw|sr2|raf|orf|rw2|rwl|pef|srw|3fr)"
    r"|x-(adobe|canon|nikon|sony|fuji|fujifilm|olympus|panasonic|leica|pentax|ricoh|samsung|hasselblad|epson|kodak"
    r"|mamiya|leaf|phaseone)-[a-z0-9]+"
)
#: What clients call a raw file that they know as a TIFF.
_ALSO_RAW: Final = ("tiff", "x-tiff")


def run(work: Work) -> StageResult:
    """Raises MimeMismatch, FileCorrupted."""
    declared = declared_format(work.content_type)
    found = work.source.header.format
    is_tiff = found == "raw" and declared in _ALSO_RAW
    if declared is not None and declared != found and not is_tiff:
        raise MimeMismatch(f"declared as {declared[:40]}, but the content is {found}")
    # Reading every pixel is the integrity check; thumbnails and statistics use the same pixels, so nothing is wasted.
    _ = work.source.base
    return StageResult({"format": found, "mimeType": f"image/{found}", "size": work.source.size})


def declared_format(content_type: str | None) -> str | None:
    """Return the format that a content type names, or None if it names no picture format."""
    kind, _, name = (content_type or "").partition(";")[0].strip().lower().partition("/")
    if kind != "image" or not name or name == "*":
        return None
    return "raw" if _RAW.fullmatch(name) else _ALIASES.get(name, name)
