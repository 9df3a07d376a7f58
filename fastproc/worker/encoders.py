"""Choose how each format is written: the first of its encoders that is installed and passes a self-test here.

Rule 1: a quality is on mozjpeg's scale, whatever the format, so that the same number looks the same; the tables below
        translate it.
Rule 2: a picture is sRGB of 8 bits, or grey, in memory or a stream; its alpha is kept if the format has alpha, else
        it is laid on white. Files have no profile, and no metadata but the XMP packet that they are given; JPEGs are
        progressive, up to a size.
Rule 3: which encoder was chosen, and why not an earlier one, is reported once, at start (`Encoders.description`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final, Protocol

from msgspec import Struct

from fastproc.core.model import Format, Options
from fastproc.worker import jpeg_segments
from fastproc.worker.vips import pictures, samples, savers
from fastproc.worker.vips.colours import opaque
from fastproc.worker.vips.library import Image
from fastproc.worker.vips.strips import strips
from fastproc.worker.xmp.writing import packet

#: Up to this many pixels on the longer side jpegli's adaptive quantisation is off: in a small picture every pixel is
#: seen. At mozjpeg's bytes that is worth 4 points of SSIMULACRA2 at 150 pixels, 1 at 300, nothing at 600.
SMALL_PX: Final = 400
#: mozjpeg's quality -> jpegli's with no more bytes and no lower score, mean of the mix, by the longer side: up to
#: SMALL_PX, up to 1000 pixels, above (bench/kernels.py; tuning.md, "jpegli quality").
_SMALL: Final = ((1, 1), (60, 46), (70, 61), (75, 67), (80, 75), (85, 81), (92, 90), (100, 100))
_MIDDLE: Final = ((1, 1), (60, 57), (75, 74), (85, 85), (100, 100))
_LARGE: Final = ((1, 1), (75, 75), (85, 86), (92, 92), (100, 100))
_MIDDLE_PX: Final = 1000
#: mozjpeg's quality -> the other's with the same SSIMULACRA2, mean of thumbnails of the mix (tuning.md, "equal looks").
_WEBP: Final = ((1, 1), (40, 36), (60, 61), (75, 80), (80, 84), (85, 87), (92, 92), (100, 100))
_AVIF: Final = ((1, 1), (40, 42), (60, 50), (75, 60), (80, 65), (85, 71), (92, 81), (100, 100))
#: The same for grey by jpegli, which spends more bytes on luma alone; 6 % fewer bytes than mozjpeg's at each point.
_GREY: Final = ((1, 1), (60, 42), (75, 62), (80, 70), (85, 77), (92, 86), (100, 100))
#: The largest picture that jpegli writes progressive. All its coefficients are held for that: 200 MB for this size, the
#: largest of common cameras; a picture of 100 megapixels would take 450 (tuning.md, "progressive up
#: to"). mozjpeg writes every size progressive.
PROGRESSIVE_PIXELS: Final = 48_000_000
#: Encoders that read a picture once from top to bottom, and accept `Striped` pictures too.
_BY_STRIPS: Final = ("jpegli",)
#: A self-test's mean square error at quality 90: 40 is 32 dB, a broken layout gives thousands.
_MAX_ERROR: Final = 40.0


class Encode(Protocol):
    """Takes a picture, a quality, and what XMP is to say of it (rdf:Description elements); returns the file's bytes."""

    def __call__(self, picture: Image, quality: int, said: Sequence[str] = (), /) -> bytes: ...


class Encoder(Struct, frozen=True):
    """How one format is written here, and why so (`description`). `by_strips`: it accepts `strips.Striped` too."""

    format: Format
    encode: Encode
    description: str
    by_strips: bool = False


class Encoders:
    """The encoders in use, each chosen when its format is first asked for."""

    def __init__(self) -> None:
        self._chosen: dict[Format, Encoder] = {}

    def encode(self, picture: Image, format: Format, quality: int, said: Sequence[str] = ()) -> bytes:
        """Return the picture as a file; if XMP is to say something, with a packet of these descriptions.

        Raises: FileCorrupted if it is a stream that fails; ValueError for what is no picture as rule 2 has it.
        """
        if wrong := pictures.problem(picture, format, quality):
            raise ValueError(wrong)
        return self.of(format).encode(picture, quality, said)

    def of(self, format: Format) -> Encoder:
        """Raises RuntimeError if no encoder for the format works here."""
        if format not in self._chosen:
            self._chosen[format] = choose(format)
        return self._chosen[format]

    def description(self, options: Options) -> dict[str, str]:
        """Return which encoders each purpose uses, and why. Raises RuntimeError if a format cannot be written."""
        formats = {
            "thumbnails": [options.format_of(spec) for spec in options.thumbnails],
            "optimization": [options.optimize_format],
        }
        return {
            purpose: ", ".join(self.of(format).description for format in dict.fromkeys(wanted))
            for purpose, wanted in formats.items()
            if wanted and purpose in options.stages
        }


def choose(format: Format) -> Encoder:
    """Return the best encoder of a format that works here. Raises RuntimeError if none does."""
    refused = []
    for name, make in _TABLE[format]:
        try:
            encode = make()
            _self_test(format, encode)
        except (
            Exception
        ) as error:  # whatever loading or first use of an encoder raises, the next one may work
            refused.append(f"{name}: {error}")
            continue
        description = f"{format} by {name}" + (f" (not {'; '.join(refused)})" if refused else "")
        return Encoder(format, encode, description, name in _BY_STRIPS)
    raise RuntimeError(f"no encoder for {format} works here: {'; '.join(refused)}")


def jpegli_quality(quality: int, longer_px: int) -> int:
    """Return the jpegli quality for a picture of that size whose file looks like mozjpeg's at `quality`."""
    table = _SMALL if longer_px <= SMALL_PX else _MIDDLE if longer_px <= _MIDDLE_PX else _LARGE
    return translated(quality, table)


def translated(quality: int, table: Sequence[tuple[int, int]]) -> int:
    """Return the quality on another scale: linear between the table's points."""
    for (low, from_), (high, to) in pairwise(table):
        if quality <= high:
            return round(from_ + (to - from_) * (quality - low) / (high - low))
    return table[-1][1]


def _jpegli() -> Encode:
    # Imported here: an installation without it still has mozjpeg.
    from fastproc.worker import jpegli

    encoder = jpegli.Jpegli()

    def encode(picture: Image, quality: int, said: Sequence[str] = (), /) -> bytes:
        solid = opaque(picture)
        sides, bands = (solid.width, solid.height), solid.bands
        own = translated(quality, _GREY) if bands == 1 else jpegli_quality(quality, max(sides))
        progressive = sides[0] * sides[1] <= PROGRESSIVE_PIXELS
        # The table for grey was made with it on.
        adaptive = bands == 1 or max(sides) > SMALL_PX
        made = encoder.encode(sides, bands, strips(solid), own, progressive=progressive, adaptive=adaptive)
        return _saying(made, said)

    return encode


def _mozjpeg() -> Encode:
    return lambda picture, quality, said=(): _saying(savers.mozjpeg(opaque(picture), quality), said)


def _libwebp() -> Encode:
    return lambda picture, quality, said=(): savers.webp(picture, translated(quality, _WEBP), _packet(said))


def _libaom() -> Encode:
    return lambda picture, quality, said=(): savers.avif(picture, translated(quality, _AVIF), _packet(said))


def _saying(jpeg: bytes, said: Sequence[str]) -> bytes:
    return jpeg_segments.inserted(jpeg, [jpeg_segments.xmp(said)]) if said else jpeg


def _packet(said: Sequence[str]) -> bytes:
    return packet(said) if said else b""


def _self_test(format: Format, encode: Encode) -> None:
    """Raises ValueError unless small pictures, in colour and grey, are decoded to the same size and look."""
    for picture in (samples.ramp(), samples.ramp().extract_band(0).copy(interpretation="b-w")):
        error, progressive = samples.difference(picture, encode(picture, 90), format)
        if format == "jpeg" and not progressive:
            raise ValueError("the file is not progressive")
        if error > _MAX_ERROR:
            raise ValueError(f"the picture differs by {error:.0f}")


_TABLE: Final[dict[Format, tuple[tuple[str, Callable[[], Encode]], ...]]] = {
    "jpeg": (("jpegli", _jpegli), ("mozjpeg", _mozjpeg)),
    "webp": (("libwebp", _libwebp),),
    "avif": (("libaom", _libaom),),
}
