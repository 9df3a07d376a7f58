"""Decodes HEIC (HEVC), which libvips' wheel cannot, with pi_heif. Nothing else imports pi_heif.

Rule 1: libheif applies the container's rotation and mirroring; the EXIF orientation is not applied again.
Rule 2: one decode serves every stage: HEVC is the slowest decoder here.
Rule 3: what libheif refuses is a damaged file, unless it says that it cannot decode such a kind at all: the gate has
        estimated the memory before, so that its "memory" is a limit of its own which only absurd numbers reach.
"""

from __future__ import annotations

from typing import Any, Final

import pi_heif
from pi_heif import options

from fastproc.core.errors import ImageError, UnsupportedFormat, WorkerOutOfMemory
from fastproc.worker.vips.library import Image, translated
from fastproc.worker.vips.opening import Traits, from_memory

# One process a core; of a container's contents only the picture is needed.
options.DECODE_THREADS = 1
options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False

#: pi_heif's mode -> number of bands, bytes of each sample.
_MODES: Final = {
    "L": (1, 1),
    "LA": (2, 1),
    "La": (2, 1),
    "RGB": (3, 1),
    "RGBA": (4, 1),
    "RGBa": (4, 1),
    "I;16": (1, 2),
    "L;16": (1, 2),
    "LA;16": (2, 2),
    "La;16": (2, 2),
    "RGB;16": (3, 2),
    "RGBA;16": (4, 2),
    "RGBa;16": (4, 2),
}
#: (colour, more than 8 bits) -> libvips' name.
_SPACES: Final = {
    (True, False): "srgb",
    (True, True): "rgb16",
    (False, False): "b-w",
    (False, True): "grey16",
}
_FAILURES: Final = (ValueError, EOFError, SyntaxError, RuntimeError, OSError, IndexError, KeyError, TypeError)


def versions() -> dict[str, str]:
    """Return the versions of libheif and of its HEVC decoders, as they say themselves."""
    said = pi_heif.libheif_info()
    decoders = {name: str(words).rpartition(" ")[2] for name, words in said["decoders"].items()}
    return {"libheif (HEIC)": str(said["libheif"]), **decoders}


class File:
    """An encoded photo, opened by libheif. It has the Protocol `source.EncodedPhoto`, as `vips.opening.File` has."""

    def __init__(self, data: memoryview, *, wide: bool = False) -> None:
        """A `wide` one keeps more than 8 bits. Raises FileCorrupted, UnsupportedFormat, WorkerOutOfMemory."""
        self._wide = wide
        try:
            opened = pi_heif.open_heif(bytes(data), convert_hdr_to_8bit=not wide)
            self._picture = opened[opened.primary_index]
            width, height = self._picture.size
        except _FAILURES as error:
            raise _translated(error) from None
        if self._picture.mode not in _MODES:
            raise UnsupportedFormat(f"HEIC of kind {self._picture.mode}")
        self._bands, self._sample_bytes = _MODES[self._picture.mode]
        found: dict[str, Any] = self._picture.info
        self._pixels: Image | None = None
        self.traits = Traits(
            width=width,
            height=height,
            space=_SPACES[self._bands > 2, found["bit_depth"] > 8],
            channels=self._bands,
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
            row = self._picture.stride // (self._bands * self._sample_bytes)
            padded = from_memory(data, (row, height), self._bands, self._sample_bytes, wide=self._wide)
            self._pixels = padded.crop(0, 0, width, height)
        return self._pixels

    def forgiven(self) -> str:
        """As `vips.opening.File.forgiven`."""
        return ""


def _translated(error: Exception) -> ImageError | WorkerOutOfMemory:
    return translated(str(error).strip() or type(error).__name__)
