"""Decodes HEIC (HEVC), which libvips' wheel cannot, with libheif.

Rule 1: libheif applies the container's rotation and mirroring; the EXIF orientation is not applied again.
Rule 2: one decode serves every stage: HEVC is the slowest decoder here.
Rule 3: what libheif refuses is a damaged file, unless it says that it cannot decode such a kind at all: the gate has
        estimated the memory before, so that its "memory" is a limit of its own which only absurd numbers reach.
Rule 4: a picture with a part that is missing is refused, and damage that the decoder passes over is told (`forgiven`).
        A tolerant file is decoded as far as it goes.
"""

from __future__ import annotations

from typing import Final

from fastproc.core.errors import ImageError, UnsupportedFormat, WorkerOutOfMemory
from fastproc.worker.libheif import decoder_warnings, library
from fastproc.worker.libheif.library import HeifError
from fastproc.worker.libheif.picture import Picture
from fastproc.worker.vips.library import Image, translated
from fastproc.worker.vips.opening import Traits, from_planes

#: (colour, more than 8 bits) -> libvips' name.
_SPACES: Final = {
    (True, False): "srgb",
    (True, True): "rgb16",
    (False, False): "b-w",
    (False, True): "grey16",
}
#: libheif's words where the picture is coded in another way than the decoder which it must use can read.
_OTHER_CODEC: Final = "No decoder with that ID found"
#: Before the EXIF block itself: the offset of its TIFF header (ISO/IEC 23008-12, annex A.2.1).
_EXIF_OFFSET_BYTES: Final = 4


def versions() -> dict[str, str]:
    """Return the versions of libheif and of its HEVC decoder, as they say themselves."""
    return {"libheif (HEIC)": library.version(), "libde265": library.libde265_version()}


class File:
    """An encoded photo, opened by libheif. It has the Protocol `opened.EncodedPhoto`, as `vips.opening.File` has."""

    def __init__(self, data: memoryview, *, wide: bool = False, tolerant: bool = False) -> None:
        """A `wide` one keeps more than 8 bits. Raises FileCorrupted, UnsupportedFormat, WorkerOutOfMemory."""
        self._wide, self._strict = wide, not tolerant
        self._pixels: Image | None = None
        decoder_warnings.heard()  # There may still be words about the photo before.
        try:
            self._picture = Picture(bytes(data))
            self.traits = _traits(self._picture)
        except HeifError as error:
            raise _translated(error) from None

    def pixels(self, reduction: int) -> Image:
        """Return the picture in memory, at full size: HEVC decoders cannot reduce. Raises as the constructor."""
        if self._pixels is None:
            try:
                planes = self._picture.decoded(wide=self._wide, strict=self._strict)
            except HeifError as error:
                raise _translated(error) from None
            bands = 1 if self._picture.grey else self.traits.channels
            self._pixels = from_planes([(plane, bands) for plane in planes], wide=self._wide)
        return self._pixels

    def forgiven(self, said: str = "") -> str:
        """As `vips.opening.File.forgiven`."""
        return decoder_warnings.heard()


def _traits(picture: Picture) -> Traits:
    width, height = picture.sides
    deep = picture.bits > 8
    exif = _metadata(picture, b"Exif")
    return Traits(
        width=width,
        height=height,
        space=_SPACES[not picture.grey, deep],
        channels=(1 if picture.grey else 3) + picture.has_alpha,
        depth="ushort" if deep else "uchar",
        has_alpha=picture.has_alpha,
        profile=picture.profile(),
        exif=_tiff(exif) if exif else None,
        xmp=_metadata(picture, b"mime", b"application/rdf+xml"),
    )


def _metadata(picture: Picture, kind: bytes, content_type: bytes = b"") -> bytes | None:
    """Return the block; None for one that libheif cannot give: words about a photo never fail it."""
    try:
        return picture.metadata(kind, content_type)
    except HeifError:
        return None


def _tiff(block: bytes) -> bytes:
    """Return the EXIF block from where its header says that the TIFF begins."""
    return block[_EXIF_OFFSET_BYTES + int.from_bytes(block[:_EXIF_OFFSET_BYTES]) :]


def _translated(error: HeifError) -> ImageError | WorkerOutOfMemory:
    if _OTHER_CODEC in str(error):
        return UnsupportedFormat("a HEIF file whose picture is not coded as HEVC")
    return translated(str(error).strip() or type(error).__name__)
