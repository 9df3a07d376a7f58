"""Every call to libvips: opening, decoding, resampling, colours, statistics, saving. Nothing else imports pyvips.

Rule 1: a loader is called by the name of the format that the gate found: libvips never guesses, and every loader
        outside the allow list is blocked all the same (SVG and TIFF are built in, and reachable by content).
Rule 2: pixels are read with fail_on=error (but for a tolerant `File`), passed to the loader itself: libvips 8.18 drops
        that argument of thumbnail_buffer and thumbnail_source, and half a photo becomes a success. "warning" refuses
        camera files.
Rule 3: the source is read in place and streamed; fields of untrusted files are asked for by name, never listed.
Rule 4: what libvips says is translated here: memory is WORKER_OUT_OF_MEMORY, the rest FILE_CORRUPTED.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from msgspec import Struct

from fastproc.core.errors import FileCorrupted, UnsupportedFormat, WorkerOutOfMemory
from fastproc.core.model import Header
from fastproc.worker.colour import is_srgb

# libvips reads these once, when it is loaded. One process a core: no threads of its own, and no temporary files.
os.environ.setdefault("VIPS_CONCURRENCY", "1")
os.environ.setdefault("VIPS_DISC_THRESHOLD", "100g")

import pyvips

#: A lazy picture of libvips, or one in memory. (pyvips has no annotations.)
Image = Any

_LOADERS: Final = {
    "jpeg": "jpegload",
    "png": "pngload",
    "webp": "webpload",
    "gif": "gifload",
    "avif": "heifload",
}
_SAVERS: Final = {
    "jpeg": "jpegsave",
    "png": "pngsave",
    "webp": "webpsave",
    "gif": "gifsave",
    "avif": "heifsave",
}
#: Formats whose sides the gate knows for sure; the other containers may crop, turn or grow the picture.
_EXACT: Final = ("jpeg", "png")
#: Interpretations of one band, with alpha or without.
_GREY: Final = ("b-w", "grey16")
_PROFILE: Final = "icc-profile-data"
_NO_MEMORY: Final = ("out of memory", "insufficient memory", "cannot allocate", "memory allocation")
_UNSUPPORTED: Final = ("unsupported", "not supported")
#: Rows in one strip of a streaming decode: 0.4 MB of a 12-megapixel photo, which fits the cache (tuning.md, "strip").
STRIP_ROWS: Final = 32

pyvips.cache_set_max(0)
pyvips.operation_block_set("VipsForeignLoad", True)
for _family in ("Jpeg", "Png", "Webp", "Heif", "Nsgif"):
    pyvips.operation_block_set(f"VipsForeignLoad{_family}", False)


class Traits(Struct, frozen=True, kw_only=True):
    """What a file's header says about its pixels, in sharp's words. `orientation` is None where none is to apply."""

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


def version() -> str:
    return f"{pyvips.version(0)}.{pyvips.version(1)}.{pyvips.version(2)}"


@contextmanager
def decoding() -> Iterator[None]:
    """Translate what libvips says while it reads a source. Raises the errors of rule 4."""
    try:
        yield
    except pyvips.Error as error:
        # Some errors of libheif end in a line of nothing but a number.
        lines = [line.strip() for line in str(error).splitlines() if any(map(str.isalpha, line))]
        text = lines[-1] if lines else "libvips gave no reason"
        if any(sign in str(error).lower() for sign in _NO_MEMORY):
            raise WorkerOutOfMemory(text) from None
        if any(sign in str(error).lower() for sign in _UNSUPPORTED):
            raise UnsupportedFormat(text) from None
        raise FileCorrupted(text) from None


class File:
    """An encoded photo as libvips opens it: its traits, and its pixels as a stream that can be read once."""

    def __init__(self, data: memoryview, header: Header, reduction: int, *, tolerant: bool = False) -> None:
        """`reduction` is what the first decode divides both sides by. Raises FileCorrupted and its like.

        A tolerant one reads on where data is missing or damaged: what cannot be decoded is grey or black.
        """
        self._data, self._header = data, header
        self._fail_on = "none" if tolerant else "error"
        self._reduction = reduction
        self._opened: Image | None = self._open(reduction)
        self.traits = _traits(self._opened, header)

    def pixels(self, reduction: int) -> Image:
        """Return the picture as stored, divided by `reduction`, to be read once from top to bottom."""
        opened = self._opened if reduction == self._reduction else None
        self._opened = None
        return opened or self._open(reduction)

    def _open(self, reduction: int) -> Image:
        options: dict[str, Any] = {"shrink": reduction} if self._header.format == "jpeg" else {}
        loader = getattr(pyvips.Image, f"{_LOADERS[self._header.format]}_source")
        with decoding():
            source = pyvips.Source.new_from_memory(self._data)
            opened = loader(source, access="sequential", fail_on=self._fail_on, **options)
        self._check(opened.width, opened.height, reduction)
        return opened

    def _check(self, width: int, height: int, reduction: int) -> None:
        """Refuse a picture that is not the one which the gate has judged, where the gate's view is the only one."""
        wide, high = self._header.width, self._header.height
        # libjpeg rounds reduced sides up, libvips drops a last row or column that is not whole.
        near = (wide - width * reduction, high - height * reduction)
        if self._header.format in _EXACT and not all(abs(rest) < reduction for rest in near):
            raise FileCorrupted(f"the header says {wide}x{high}, the decoder {width}x{height}")


def _traits(opened: Image, header: Header) -> Traits:
    whole = header.format in _EXACT
    orientation = _field(opened, "orientation")
    return Traits(
        width=header.width if whole else opened.width,
        height=header.height if whole else opened.height,
        space=opened.interpretation,
        channels=opened.bands,
        depth=opened.format,
        has_alpha=bool(opened.hasalpha()),
        # libvips gives one pixel a millimetre where the file says nothing (as sharp reads it).
        density=round(opened.xres * 25.4) if opened.xres > 1 else None,
        orientation=orientation if orientation in range(1, 9) else None,
        subsampling=_field(opened, "jpeg-chroma-subsample"),
        # What libvips counts in an AVIF are pictures beside each other; the gate has counted those of a sequence.
        frames=header.frames
        if header.format == "avif"
        else max(header.frames, _field(opened, "n-pages") or 1),
        profile=_field(opened, _PROFILE),
        exif=_field(opened, "exif-data"),
    )


def _field(opened: Image, name: str) -> Any:
    return opened.get(name) if opened.get_typeof(name) else None


def from_memory(pixels: bytes, sides: tuple[int, int], bands: int, profile: bytes | None) -> Image:
    """Return 8-bit pixels (rows without padding) as a picture with its profile; the bytes are used in place."""
    picture = pyvips.Image.new_from_memory(pixels, *sides, bands, "uchar")
    picture = picture.copy(interpretation="srgb" if bands > 2 else "b-w")
    if profile:
        picture.set_type(pyvips.GValue.blob_type, _PROFILE, profile)
    return picture


def in_memory(image: Image) -> Image:
    """Return the picture, computed. Errors of its source are translated."""
    with decoding():
        return image.copy_memory()


def resized(image: Image, width: int, height: int, exact: tuple[float, float] | None = None) -> Image:
    """Return exactly `width` x `height`, by Lanczos3 (after a box filter where there is much to shrink).

    `exact` is how large a reduced decode would be if libvips had not dropped its last row or column that is not whole:
    stretched over the result instead, 4807 pixels at an eighth are nearly one pixel out at the right.
    Transparent pixels have no colour to mix: with alpha, colours are weighted by it.
    """
    if not image.hasalpha() or (image.width, image.height) == (width, height):
        return _scaled(image, width, height, exact)
    return _scaled(image.premultiply(), width, height, exact).unpremultiply().rint().cast(image.format)


def _scaled(image: Image, width: int, height: int, exact: tuple[float, float] | None) -> Image:
    wide, high = exact or (image.width, image.height)
    whole = (int(wide + 0.5), int(high + 0.5))
    if whole != (image.width, image.height):
        image = image.embed(0, 0, *whole, extend="copy")
    if (wide, high) == (width, height):
        return image
    made = image.resize(width / wide, vscale=height / high, kernel="lanczos3")
    if (made.width, made.height) == (width, height):
        return made
    return image.resize(width / image.width, vscale=height / image.height, kernel="lanczos3")


def opaque(image: Image) -> Image:
    """Return the picture on white, without alpha."""
    if not image.hasalpha():
        return image
    white = 65535 if image.format == "ushort" else 255
    return image.flatten(background=[white])


def upright(image: Image, orientation: int | None) -> Image:
    """Return the picture turned as an EXIF orientation says. All but 1 and 2 read a stream at random: not streamed."""
    match orientation:
        case 2:
            return image.fliphor()
        case 3:
            return image.rot180()
        case 4:
            return image.flipver()
        case 5:
            return image.rot90().fliphor()
        case 6:
            return image.rot90()
        case 7:
            return image.rot270().fliphor()
        case 8:
            return image.rot270()
    return image


def behind(orientation: int, sides: tuple[int, int], top: int, bottom: int) -> tuple[int, int, int, int]:
    """Return left, top, width and height of what is stored of the rows `top` to `bottom` of the upright picture."""
    width, height = sides
    match orientation:
        case 3 | 4:
            return 0, height - bottom, width, bottom - top
        case 5 | 6:
            return top, 0, bottom - top, height
        case 7 | 8:
            return width - bottom, 0, bottom - top, height
    return 0, top, width, bottom - top


def to_srgb(image: Image, profile: bytes | None) -> Image:
    """Return 8 bits of sRGB, or of grey where the picture is; through the embedded profile if that is not sRGB.

    Alpha is kept. A profile that the colour engine refuses is dropped. Cost: tuning.md "sRGB only where needed".
    """
    grey = image.interpretation in _GREY
    if profile and not is_srgb(profile):
        try:
            image = image.icc_transform("srgb", embedded=True, intent="perceptual", depth=8)
        except pyvips.Error:
            image = image.copy()
    if image.interpretation == "cmyk":
        # Ink without a profile is taken for libvips' press, as sharp takes it. (`colourspace` has no black of paper.)
        image = image.icc_transform("srgb", input_profile="cmyk", intent="perceptual", depth=8)
    wanted, bands = ("b-w", 1) if grey else ("srgb", 3)
    if image.interpretation != wanted:
        image = image.colourspace(wanted)
    if image.bands > bands + image.hasalpha():
        image = image.extract_band(0, n=bands)
    return image if image.format == "uchar" else image.cast("uchar")


class Slices:
    """A picture too large to be held, to be read once from top to bottom: its rows are made when their turn comes.

    It has an opaque `Image`'s face as far as `strips` and their readers look.
    """

    def __init__(self, sides: tuple[int, int], count: int, make: Callable[[int, int], Image]) -> None:
        """`make(top, bottom)` returns those rows, in memory."""
        self.width, self.height = sides
        self._rows, self._make = -(-self.height // count), make
        self._first: Image | None = make(0, min(self._rows, self.height))
        self.bands: int = self._first.bands

    def hasalpha(self) -> bool:
        return False

    def pieces(self) -> Iterator[Image]:
        """Yield the picture in pieces, each in memory and gone before the next is made."""
        piece, self._first = self._first, None
        for top in range(0, self.height, self._rows):
            if piece is None:
                piece = self._make(top, min(top + self._rows, self.height))
            yield piece
            piece = None


def strips(image: Image | Slices) -> Iterator[Any]:
    """Yield the picture's rows from top to bottom, as writable buffers of at most STRIP_ROWS rows."""
    if isinstance(image, Slices):
        for piece in image.pieces():
            yield from strips(piece)
            del piece
        return
    region = pyvips.Region.new(image)
    for top in range(0, image.height, STRIP_ROWS):
        with decoding():
            yield region.fetch(0, top, image.width, min(STRIP_ROWS, image.height - top))


def colours(image: Image) -> bytes:
    """Return the pixels of an sRGB or grey picture in memory, on white, R G B R G B ... row by row."""
    image = opaque(image)
    return bytes((image if image.bands == 3 else image.colourspace("srgb")).write_to_memory())


def alpha(image: Image) -> bytes | None:
    """Return the alpha of a picture in memory, row by row, None where it has none."""
    return bytes(image.extract_band(image.bands - 1).write_to_memory()) if image.hasalpha() else None


def sampled(image: Image, pixels: int) -> bytes:
    """Return about so many pixels of a picture in memory, on a grid, as `colours` does."""
    step = max(1, math.isqrt(image.width * image.height // pixels))
    return colours(image.subsample(min(step, image.width), min(step, image.height)))


def mozjpeg(image: Image, quality: int) -> bytes:
    """Return a progressive JPEG by libvips' mozjpeg: trellis and its quantisation table, no search for scans."""
    with decoding():
        saved: bytes = image.jpegsave_buffer(
            Q=quality,
            interlace=True,
            optimize_coding=True,
            trellis_quant=True,
            overshoot_deringing=True,
            quant_table=3,
            subsample_mode="on",
            keep="none",
        )
    return saved


def webp(image: Image, quality: int) -> bytes:
    """Return a WebP, with alpha if the picture has it. More effort: tuning.md, "WebP and AVIF effort"."""
    with decoding():
        return bytes(image.webpsave_buffer(Q=quality, effort=2, keep="none"))


def avif(image: Image, quality: int) -> bytes:
    """Return an AVIF, with alpha if the picture has it. More effort: tuning.md, "WebP and AVIF effort"."""
    if image.get_typeof("orientation"):
        # It was applied; libvips writes it into the container, whatever it was told to keep.
        image = image.copy()
        image.remove("orientation")
    with decoding():
        return bytes(image.heifsave_buffer(compression="av1", Q=quality, effort=1, bitdepth=8, keep="none"))


def ramp() -> Image:
    """Return a small picture with every kind of slope, for self-tests and for warming up."""
    ramp = pyvips.Image.xyz(96, 64)
    return (
        (ramp.bandjoin(ramp[0] + ramp[1]) * [2, 3, 1]).cast("uchar").copy(interpretation="srgb").copy_memory()
    )


def difference(picture: Image, encoded: bytes, format: str = "jpeg") -> tuple[float, bool]:
    """Return the mean square error of an encoded picture, and whether it is progressive. Raises FileCorrupted."""
    with decoding():
        read = getattr(pyvips.Image, f"{_LOADERS[format]}_buffer")(encoded, fail_on="error").copy_memory()
        if format != "jpeg" and picture.bands == 1:
            read = read.extract_band(0)  # WebP has no grey
        if (read.width, read.height, read.bands) != (picture.width, picture.height, picture.bands):
            raise FileCorrupted(f"{read.width}x{read.height} of {read.bands} bands came back")
        return ((read - picture) ** 2).avg(), bool(
            read.get_typeof("jpeg-multiscan") and read.get("jpeg-multiscan")
        )


def samples() -> Iterator[tuple[str, bytes]]:
    """Yield a small picture in every format that libvips can write here: what a worker warms up with."""
    for name, saver in _SAVERS.items():
        options: dict[str, Any] = {"compression": "av1", "effort": 0} if name == "avif" else {}
        yield name, getattr(ramp(), f"{saver}_buffer")(**options)
    yield "progressive", ramp().jpegsave_buffer(interlace=True)
    for profile in ("p3", "cmyk"):
        yield profile, ramp().icc_transform(profile, input_profile="srgb").jpegsave_buffer(profile=profile)
