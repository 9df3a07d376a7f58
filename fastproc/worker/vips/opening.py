"""Opens an encoded photo with libvips: what its header says about the pixels, and the pixels as a stream.

Rule 1: pixels are read with fail_on=error (except in a tolerant `File`), passed to the loader itself: libvips 8.18
        ignores that argument of thumbnail_buffer and thumbnail_source, so half a photo would succeed. "warning"
        would refuse good camera files; which of a decoder's warnings mean missing pixels, `forgiven` says.
Rule 2: the source is read in place and streamed; fields of untrusted files are read by name, never listed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, Protocol

from msgspec import Struct

from fastproc.core.errors import FileCorrupted, ImageError
from fastproc.core.gate.tiles import tiles
from fastproc.core.header import Header
from fastproc.worker.vips.library import LOADERS, Image, decoding, pyvips, remarks

#: Formats whose sides the gate knows exactly; the other containers may crop, turn or enlarge the picture.
_EXACT: Final = ("jpeg", "png")
_PROFILE: Final = "icc-profile-data"
#: libjpeg-turbo's warnings: data that ended before its pixels (in none of 701 camera files that were tried), and codes
#: that mean no pixel.
_MISSING: Final = re.compile(r"premature end of (?:data segment|JPEG)|bad (?:Huffman|arithmetic) code")
#: Data that no pixel needed, before any marker but the last: cameras pad a little, lost bytes leave thousands.
_EXTRANEOUS: Final = re.compile(r"(\d+) extraneous bytes before marker 0x(?!d9)")
MANY_BYTES: Final = 1000


class Traits(Struct, frozen=True, kw_only=True):
    """What a file's header says about its pixels, in sharp's words. `orientation` is None if none is to be applied."""

    width: int
    height: int
    space: str
    channels: int
    depth: str
    has_alpha: bool
    density: int | None = None
    orientation: int | None = None
    subsampling: str | None = None
    frames: int = 1
    profile: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None


class File:
    """An encoded photo as libvips opens it: its traits, and its pixels as a stream that can be read once."""

    def __init__(self, data: memoryview, header: Header, reduction: int, *, tolerant: bool = False) -> None:
        """`reduction` is the first decode's divisor of both sides. Raises the errors of `library.decoding`.

        A `tolerant` one reads on after missing or damaged data: what cannot be decoded is grey or black.
        """
        self._data, self._header = data, header
        self._fail_on = "none" if tolerant else "error"
        self._reduction = reduction
        remarks()  # The log may still hold words about the photo before.
        self._opened: Image | None = self._open(reduction)
        self.traits = _traits(self._opened, header)

    def pixels(self, reduction: int) -> Image:
        """Return the picture as stored, divided by `reduction`, to be read once from top to bottom.

        Raises: as the constructor.
        """
        opened = self._opened if reduction == self._reduction else None
        self._opened = None
        opened = opened or self._open(reduction)
        return _one_band(opened) if self._header.grey else opened

    def forgiven(self, said: str = "") -> str:
        """Return what the decoder let pass of what has been read since the last call, where pixels are missing; or "".

        `said` is what was found in libvips' log before. Raises: WorkerOutOfMemory.
        Cost:   an AVIF that is put together of several parts is decoded a second time.
        """
        said = f"{said}\n{remarks()}".strip()
        if self._header.format == "jpeg":
            return _lost_by_libjpeg(said)
        return _refused_part(self._data) if self._header.format == "avif" else ""

    def _open(self, reduction: int) -> Image:
        options: dict[str, Any] = {"shrink": reduction} if self._header.format == "jpeg" else {}
        loader = getattr(pyvips.Image, f"{LOADERS[self._header.format]}_source")
        with decoding():
            source = pyvips.Source.new_from_memory(self._data)
            opened = loader(source, access="sequential", fail_on=self._fail_on, **options)
        self._check(opened.width, opened.height, reduction)
        return opened

    def _check(self, width: int, height: int, reduction: int) -> None:
        """Refuse a picture whose sides differ from the gate's, for formats where the gate knows them exactly."""
        wide, high = self._header.width, self._header.height
        # libjpeg rounds reduced sides up, libvips drops an incomplete last row or column.
        near = (wide - width * reduction, high - height * reduction)
        if self._header.format in _EXACT and not all(abs(rest) < reduction for rest in near):
            raise FileCorrupted(f"the header says {wide}x{high}, the decoder {width}x{height}")


def _lost_by_libjpeg(said: str) -> str:
    """Source: libjpeg-turbo jerror.h, JWRN_HIT_MARKER, JWRN_HUFF_BAD_CODE, JWRN_EXTRANEOUS_DATA."""
    extra = _EXTRANEOUS.search(said)
    lost = extra is not None and int(extra[1]) >= MANY_BYTES
    return said.splitlines()[-1] if lost or _MISSING.search(said) else ""


def _refused_part(data: memoryview) -> str:
    """Return why a part of an AVIF cannot be decoded: in the whole libheif leaves it green."""
    for part in tiles(data):
        try:
            with decoding():
                # The first pixel decodes the part.
                pyvips.Image.heifload_buffer(part, fail_on="error").crop(0, 0, 1, 1).copy_memory()
        except ImageError as error:
            return error.message
    return ""


def _one_band(opened: Image) -> Image:
    """Return a picture that is coded without colour, which libheif gives in three equal bands, as grey."""
    grey = opened.extract_band(0)
    if opened.hasalpha():
        grey = grey.bandjoin(opened.extract_band(opened.bands - 1))
    return grey.copy(interpretation="grey16" if opened.format == "ushort" else "b-w")


def _traits(opened: Image, header: Header) -> Traits:
    whole = header.format in _EXACT
    # A JPEG XL is upright when it is decoded, whatever its EXIF says (ISO/IEC 18181-2).
    orientation = None if header.format == "jxl" else _field(opened, "orientation")
    return Traits(
        width=header.width if whole else opened.width,
        height=header.height if whole else opened.height,
        space=opened.interpretation,
        channels=opened.bands,
        depth=opened.format,
        has_alpha=bool(opened.hasalpha()),
        # libvips gives one pixel a millimetre if the file has no density (sharp reads it in the same way).
        density=round(opened.xres * 25.4) if opened.xres > 1 else None,
        orientation=orientation if orientation in range(1, 9) else None,
        subsampling=_field(opened, "jpeg-chroma-subsample"),
        # In an AVIF libvips counts the separate pictures; the gate has counted the frames of a sequence.
        frames=header.frames
        if header.format == "avif"
        else max(header.frames, _field(opened, "n-pages") or 1),
        profile=_field(opened, _PROFILE),
        exif=_field(opened, "exif-data"),
        xmp=_field(opened, "xmp-data") if header.format == "avif" else None,
    )


def _field(opened: Image, name: str) -> Any:
    return opened.get(name) if opened.get_typeof(name) else None


class Rows(Protocol):
    """Rows of pixels in memory: `pixels` has `height` rows of `row_bytes`, `bits` of each sample are used."""

    @property
    def pixels(self) -> Any: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def row_bytes(self) -> int: ...
    @property
    def bits(self) -> int: ...


def from_planes(planes: Sequence[tuple[Rows, int]], *, wide: bool = False) -> Image:
    """Return planes, each with its number of bands, as one picture: of 8 bits, or of 16 if it is to stay `wide`.

    Rows of 8 bits are used in place. Samples of more bits have two bytes, little-endian.
    """
    parts = [_from_rows(rows, bands, wide) for rows, bands in planes]
    picture = parts[0].bandjoin(parts[1:]) if len(parts) > 1 else parts[0]
    deep = picture.format == "ushort"
    names = ("grey16", "rgb16") if deep else ("b-w", "srgb")
    return picture.copy(interpretation=names[picture.bands > 2])


def _from_rows(rows: Rows, bands: int, wide: bool) -> Image:
    sample_bytes = 2 if rows.bits > 8 else 1
    # A row's padding need not be whole pixels, so that the samples are cut out before they become bands.
    sides = (rows.row_bytes // sample_bytes, rows.height)
    samples = pyvips.Image.new_from_memory(rows.pixels, *sides, 1, ("uchar", "ushort")[sample_bytes - 1])
    picture = samples.crop(0, 0, rows.width * bands, rows.height).bandfold(factor=bands)
    if sample_bytes == 1:
        return picture
    if wide:
        return (picture << 16 - rows.bits).cast("ushort")
    return (picture >> rows.bits - 8).cast("uchar")
