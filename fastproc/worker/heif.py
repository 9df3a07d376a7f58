"""Decodes HEIC (HEVC), which libvips' wheel cannot, with pi_heif. Nothing else imports pi_heif.

Rule 1: libheif applies the container's rotation and mirroring; the EXIF orientation is not applied again.
Rule 2: one decode serves every stage: HEVC is the slowest decoder here.
"""

from __future__ import annotations

from typing import Any, Final

import pi_heif
from pi_heif import options

from fastproc.core.errors import FileCorrupted, UnsupportedFormat, WorkerOutOfMemory
from fastproc.worker.vips.library import Image
from fastproc.worker.vips.opening import Traits, from_memory

# One process a core; of a container's contents only the picture is needed.
options.DECODE_THREADS = 1
options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False

#: libheif also says "unsupported" or "memory" about things that only a damaged file has: undefined box versions,
#: properties that are cut short, sizes beyond its own limits.
_DAMAGE: Final = ("data version", "could not parse", "Security limit")
#: (colour, more than 8 bits) -> libvips' name.
_SPACES: Final = {
    (True, False): "srgb",
    (True, True): "rgb16",
    (False, False): "b-w",
    (False, True): "grey16",
}
_FAILURES: Final = (ValueError, EOFError, SyntaxError, RuntimeError, OSError, IndexError, KeyError, TypeError)


def version() -> str:
    return str(pi_heif.libheif_version())


class File:
    """An encoded photo, opened by libheif. It has the Protocol `source.EncodedPhoto`, as `vips.opening.File` has."""

    def __init__(self, data: memoryview) -> None:
        """Raises FileCorrupted, UnsupportedFormat, WorkerOutOfMemory."""
        try:
            opened = pi_heif.open_heif(bytes(data), convert_hdr_to_8bit=True)
            self._picture = opened[opened.primary_index]
            width, height = self._picture.size
        except _FAILURES as error:
            raise _translated(error) from None
        found: dict[str, Any] = self._picture.info
        self._pixels: Image | None = None
        self.traits = Traits(
            width=width,
            height=height,
            space=_SPACES[len(self._picture.mode) > 2, found["bit_depth"] > 8],
            channels=len(self._picture.mode),
            depth="uchar" if found["bit_depth"] <= 8 else "ushort",
            has_alpha=self._picture.has_alpha,
            profile=found.get("icc_profile"),
            exif=found.get("exif"),
        )

    def pixels(self, reduction: int) -> Image:
        """Return the picture in memory, at full size: HEVC decoders cannot reduce. Raises as the constructor."""
        if self._pixels is None:
            try:
                data = self._picture.data
            except _FAILURES as error:
                raise _translated(error) from None
            width, height = self._picture.size
            bands = len(self._picture.mode)
            padded = from_memory(data, (self._picture.stride // bands, height), bands, self.traits.profile)
            self._pixels = padded.crop(0, 0, width, height)
        return self._pixels

    def forgiven(self) -> str:
        """As `vips.opening.File.forgiven`."""
        return ""


def _translated(error: Exception) -> FileCorrupted | UnsupportedFormat | WorkerOutOfMemory:
    text = str(error).strip() or type(error).__name__
    if any(sign in text for sign in _DAMAGE):
        return FileCorrupted(text)
    if "emory" in text:
        return WorkerOutOfMemory(text)
    return UnsupportedFormat(text) if "nsupported" in text else FileCorrupted(text)
