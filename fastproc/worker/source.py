"""The photo that all stages share: opened once, decoded as rarely as its outputs allow, every result kept.

Rule 1: `base` is the one reduced decode that thumbnails, statistics and the integrity check share; it reads the whole
        file. `stream` decodes once more, at full size, for stages that need every pixel: never for HEIC, once for
        each slice of a large turned picture.
Rule 2: every picture returned is upright, of 8 bits, sRGB or (grey photos) of one band. It has an alpha band only if
        the photo has one and the service's renditions of that kind keep it. `stream` is to be read once.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any, Protocol

from msgspec import structs

from fastproc.core.colours import HDR_TRANSFERS
from fastproc.core.errors import FileCorrupted
from fastproc.core.gate import truncation
from fastproc.core.header import Header
from fastproc.core.model import Options
from fastproc.core.plan import fit, reduction
from fastproc.worker import heif, preview
from fastproc.worker.colour.conversion import Conversion, decide
from fastproc.worker.description import Description
from fastproc.worker.vips import colours, opening
from fastproc.worker.vips.library import Image
from fastproc.worker.vips.opening import Traits
from fastproc.worker.vips.resampling import in_memory, resized, scaled_copy, stored_window, upright
from fastproc.worker.vips.strips import Picture, Slices

#: Least side of the base, where thumbnails are smaller or none are wanted: enough for statistics.
SMALLEST_BASE_PX = 128
#: Most bytes of a picture that must be turned that are held at once: 33 megapixels are still held whole.
MAX_SLICE_BYTES = 100 << 20
_ENDS_EARLY = "the file ends early"
#: Enough to rank colours: ten times as many take ten times as long and give the same order.
SAMPLE_PIXELS = 2048


class EncodedPhoto(Protocol):
    """A photo that a decoder has opened: `vips.opening.File`, or `heif.File` for what libvips cannot read."""

    @property
    def traits(self) -> Traits:
        """What the header says about the pixels."""

    def pixels(self, reduction: int) -> Image:
        """Return the picture as stored, divided by `reduction` where the decoder can. Raises FileCorrupted."""

    def forgiven(self) -> str:
        """Return what the decoder let pass of the pixels that were read, where some are missing; or ""."""


class Source:
    """One photo. `decodes` counts how often its pixels were decoded; `warnings` are findings that do not fail it."""

    def __init__(self, data: memoryview, header: Header, options: Options) -> None:
        """Raises FileCorrupted, UnsupportedFormat, WorkerOutOfMemory."""
        self.header, self.size, self._whole_file = header, len(data), data
        # What is decoded: the file itself, or the preview in a raw file.
        self._picture, self._data = header, data
        self.decodes = 0
        # The gate passed it, so the policy allows it.
        self.warnings: list[str] = [] if header.whole else [_ENDS_EARLY]
        if header.preview:
            self._picture, self._data = preview.as_jpeg(header, header.preview, data)
            self.warnings += preview.warnings(header, header.preview)
        self._options = options
        self._side_px = max([SMALLEST_BASE_PX, *(spec.side_px for spec in options.thumbnails)])
        self._reduction = reduction(self._picture, self._side_px, options.thumbnail_decode)
        try:
            self._file: EncodedPhoto = self._open()
        except FileCorrupted as error:
            self._file = self._reopened(error)
        #: What the file says of its photo in words and numbers.
        self.description = Description(data, header.format, self._file.traits, options, self.warnings.append)
        self._orientation = self.description.orientation if self._file.traits.orientation is None else None
        formats = {options.format_of(spec) for spec in options.thumbnails}
        self._base_opaque, self._stream_opaque = formats <= {"jpeg"}, options.optimize_format == "jpeg"
        self._sizes_made: dict[tuple[int, int], Image] = {}

    @property
    def data(self) -> memoryview:
        """The file that is decoded: of a raw file its preview."""
        return self._data

    @property
    def traits(self) -> Traits:
        """What is known of the pixels; with an orientation that the decoder does not find."""
        traits = self._file.traits
        return traits if self._orientation is None else structs.replace(traits, orientation=self._orientation)

    @property
    def sides(self) -> tuple[int, int]:
        """Width and height as displayed."""
        traits = self.traits
        turned = (traits.orientation or 1) >= 5
        return (traits.height, traits.width) if turned else (traits.width, traits.height)

    @cached_property
    def base(self) -> Image:
        """The whole picture in memory, reduced to fit the largest thumbnail's square.

        Raises: FileCorrupted if any pixel of the file is missing or damaged, unless INTEGRITY tolerates it.
        Cost:   tuning.md "shrink-on-load".
        """
        try:
            stored = self._reduced()
        except FileCorrupted as error:
            self._file = self._reopened(error)
            stored = self._reduced()
        else:
            # Before anything else is done with libvips, which clears its log now and then.
            if forgiven := self._file.forgiven():
                self._tolerate(FileCorrupted(forgiven))
        turned = upright(stored, self.traits.orientation)
        return in_memory(self._to_srgb(turned))

    @cached_property
    def conversion(self) -> Conversion:
        """What makes the photo's colours sRGB."""
        tag, traits = self.header.colour, self.traits
        # Of YCbCr in HEIF files libheif expands the range itself.
        narrow = tag is not None and not tag.full_range and (self.header.grey or self.header.format == "png")
        found = decide(traits.profile, tag, grey=traits.channels < 3 or self.header.grey, limited=narrow)
        self._warn(found.warning)
        if self.header.profiled and not traits.profile:
            self._warn("the colour profile could not be used: its decoder refused it")
        return found

    def _to_srgb(self, picture: Image) -> Image:
        converted, warning = colours.to_srgb(picture, self.conversion)
        self._warn(warning)
        return converted

    def _warn(self, warning: str) -> None:
        if warning and warning not in self.warnings:
            self.warnings.append(warning)

    def _reduced(self) -> Image:
        """Decode the picture as stored, reduced, into memory. Raises as `base`."""
        self.decodes += 1
        traits = self.traits
        pixels = self._file.pixels(self._reduction)
        reduced = resized(
            colours.opaque(pixels) if self._base_opaque else pixels,
            *fit(traits.width, traits.height, self._side_px),
            (traits.width / self._reduction, traits.height / self._reduction),
        )
        return in_memory(reduced)

    def _open(self, *, tolerant: bool = False) -> EncodedPhoto:
        if self.header.format == "heic":
            tag = self.header.colour
            wide = tag is not None and tag.transfer in HDR_TRANSFERS
            return heif.File(self._data, wide=wide, tolerant=tolerant)
        file = opening.File(self._data, self._picture, self._reduction, tolerant=tolerant)
        if found := self.header.preview:
            file.traits = preview.as_container_says(file.traits, found, self._whole_file)
        return file

    def _reopened(self, error: FileCorrupted) -> EncodedPhoto:
        """Return the file, opened to tolerate damage, and add a warning. Raises `error` if INTEGRITY forbids it."""
        self._tolerate(error)
        return self._open(tolerant=True)

    def _tolerate(self, error: FileCorrupted) -> None:
        """Add warnings for damage that INTEGRITY tolerates. Raises `error` where it does not."""
        policy = self._options.integrity
        early = policy != "strict" and truncation.ends_early(self._data, self._picture)
        if not (early or policy == "lenient"):
            raise error
        if early and _ENDS_EARLY not in self.warnings:
            self.warnings.append(_ENDS_EARLY)
        self.warnings.append(f"parts of the picture are missing: {error.message}")

    def fitted(self, width: int, height: int) -> Image:
        """Return the picture in memory at a size of the plan, made from the next larger one that was made before."""
        fitted = scaled_copy(self._nearest(width, height), width, height)
        self._sizes_made[width, height] = fitted
        return fitted

    def _nearest(self, width: int, height: int) -> Image:
        larger = [sides for sides in self._sizes_made if sides[0] >= width and sides[1] >= height]
        return self._sizes_made[min(larger)] if larger else self.base

    def stream(self, *, by_strips: bool = False) -> Picture:
        """Return the picture at full size, lazily; a turned one in memory, because it cannot be read in order.

        A large turned one, read `by_strips`, is decoded several times; each time one slice of it is kept.
        Units: memory is 3 bytes a pixel if turned, at most MAX_SLICE_BYTES by strips; a few rows if not turned.
        Raises: as `base`, while it is read.
        """
        traits, (width, height) = self.traits, self.sides
        orientation = traits.orientation or 1
        if orientation <= 2 or self.header.format == "heic":
            whole: Picture = self._to_srgb(upright(self._pixels(), orientation))
            return whole
        slices = -(-3 * width * height // MAX_SLICE_BYTES) if by_strips else 1
        return Slices((width, height), slices, self._turned) if slices > 1 else self._turned(0, height)

    def _turned(self, top: int, bottom: int) -> Image:
        """Return these rows of the upright picture at full size, in memory."""
        traits = self.traits
        stored = (traits.width, traits.height)
        orientation = traits.orientation or 1
        rows = self._pixels().crop(*stored_window(orientation, stored, top, bottom))
        return self._to_srgb(upright(in_memory(rows), orientation))

    def _pixels(self) -> Image:
        pixels = self._file.pixels(1)
        if self.header.format != "heic":
            self.decodes += 1
        return colours.opaque(pixels) if self._stream_opaque else pixels

    @property
    def exif(self) -> dict[str, Any]:
        """The EXIF fields that may be published, {} if there are none or they cannot be read."""
        return self.description.exif

    def stretched(self, width: int, height: int) -> Image:
        """Return the picture in memory at a small size of any shape: the aspect ratio is not kept."""
        return scaled_copy(self._nearest(width, height), width, height)

    def sha256(self) -> str:
        """Return the digest of the original file, in hexadecimal digits."""
        return hashlib.sha256(self._whole_file).hexdigest()

    @cached_property
    def sample(self) -> bytes:
        """A few thousand pixels from all over the picture, R G B R G B ..., for statistics."""
        return colours.sampled(self.base, SAMPLE_PIXELS)
