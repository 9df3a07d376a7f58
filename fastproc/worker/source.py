"""The photo that all stages share: opened once, decoded as rarely as its outputs allow, every result kept.

Rule 1: `base` is the one reduced decode that thumbnails, statistics and the integrity check share; it reads the whole
        file. Where a stage has announced a reader of every pixel (`share`), that decode is at full size if the plan
        says so, and serves it too. Else `stream` decodes once more, at full size: never for HEIC, once for each slice
        of a large turned picture.
Rule 2: every picture returned is upright, of 8 bits, sRGB or (grey photos) of one band. It has an alpha band only if
        the photo has one and the service's renditions of that kind keep it. `stream` is to be read once.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any

from msgspec import structs

from fastproc.core.errors import FileCorrupted
from fastproc.core.header import Header
from fastproc.core.model import Options
from fastproc.core.plan import decoding, fit
from fastproc.worker.colour.conversion import Conversion, decide
from fastproc.worker.description import Description
from fastproc.worker.opened import OpenedPhoto
from fastproc.worker.shared_read import Reader, SharedRead
from fastproc.worker.vips import colours
from fastproc.worker.vips.library import Image
from fastproc.worker.vips.opening import Traits
from fastproc.worker.vips.resampling import in_memory, resized, scaled_copy, stored_window, upright
from fastproc.worker.vips.strips import Picture, Slices

#: Least side of the base, where thumbnails are smaller or none are wanted: enough for statistics.
SMALLEST_BASE_PX = 128
#: Most bytes of a picture that must be turned that are held at once: 33 megapixels are still held whole.
MAX_SLICE_BYTES = 100 << 20
#: Enough to rank colours: ten times as many take ten times as long and give the same order.
SAMPLE_PIXELS = 2048


class Source:
    """One photo. `warnings` are findings that do not fail it."""

    def __init__(self, data: memoryview, header: Header, options: Options) -> None:
        """Raises FileCorrupted, UnsupportedFormat, WorkerOutOfMemory."""
        self.header, self.size, self._whole_file = header, len(data), data
        self._options = options
        self._side_px = max([SMALLEST_BASE_PX, *(spec.side_px for spec in options.thumbnails)])
        self._photo = OpenedPhoto(data, header, options, self._side_px)
        self.warnings = self._photo.warnings
        traits = self._photo.traits
        #: What the file says of its photo in words and numbers.
        self.description = Description(data, header.format, traits, options, self.warnings.append)
        self._orientation = self.description.orientation if traits.orientation is None else None
        formats = {options.format_of(spec) for spec in options.thumbnails}
        self._base_opaque, self._stream_opaque = formats <= {"jpeg"}, options.optimize_format == "jpeg"
        self._sizes_made: dict[tuple[int, int], Image] = {}
        self._shared: SharedRead | None = None

    @property
    def decodes(self) -> int:
        """How often pixels were decoded."""
        return self._photo.decodes

    @property
    def data(self) -> memoryview:
        """The file that is decoded: of a raw file its preview."""
        return self._photo.data

    @property
    def traits(self) -> Traits:
        """What is known of the pixels; with an orientation that the decoder does not find."""
        traits = self._photo.traits
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
            decoded = self._divided(self._shared) if self._shared else self._reduced()
        except FileCorrupted as error:
            self._photo.reopen(error)
            self._shared = None
            return self._finished(self._reduced())
        # Before anything else is done with libvips, which clears its log now and then.
        self._photo.check(self._shared.said if self._shared else "")
        return self._fitted(decoded) if self._shared else self._finished(decoded)

    def _finished(self, stored: Image) -> Image:
        return in_memory(self._to_srgb(upright(stored, self.traits.orientation)))

    def share(self, stage: str, reader: Reader | None) -> None:
        """Let the decode for `base` serve the stage's reader too, as the plan says, if it serves no other yet."""
        if reader is None or self._shared:
            return
        photo = self._photo
        how = decoding(photo.reduction, self._slices(), photo.size_bytes, by_strips=reader.by_strips)
        if how == "by strips":
            self._shared = SharedRead(stage, reader)
        elif how == "in memory":
            photo.keep()

    def read(self, reader: Reader) -> Any:
        """Return what a reader makes of the picture at full size, by the decode for `base` where that is shared.

        Raises: what the reader raises, and as `base`.
        """
        if self._shared and self._shared.reader == reader:
            _ = self.base
        # Unless the file had to be opened again.
        if self._shared and self._shared.reader == reader:
            return self._shared.made()
        return reader(self.stream(by_strips=reader.by_strips))

    @property
    def shared_with(self) -> str:
        """The stage whose reader shares the decode for `base`; or ""."""
        return self._shared.stage if self._shared else ""

    @property
    def shared_s(self) -> float:
        """How many seconds its reader has taken so far."""
        return self._shared.seconds if self._shared else 0.0

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
        traits = self.traits
        pixels = self._photo.pixels(self._photo.reduction)
        reduced = resized(
            colours.opaque(pixels) if self._base_opaque else pixels,
            *fit(traits.width, traits.height, self._side_px),
            (traits.width / self._photo.reduction, traits.height / self._photo.reduction),
        )
        return in_memory(reduced)

    def _divided(self, shared: SharedRead) -> Image:
        """Decode the picture at full size for `shared`, and return it upright, divided, in memory. Raises as `base`."""
        return shared.run(self.stream(), self._photo.reduction)

    def _fitted(self, divided: Image) -> Image:
        width, height = self.sides
        exact = (width / self._photo.reduction, height / self._photo.reduction)
        return in_memory(resized(divided, *fit(width, height, self._side_px), exact))

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
        slices = self._slices() if by_strips else 1
        return Slices((width, height), slices, self._turned) if slices > 1 else self._turned(0, height)

    def _slices(self) -> int:
        """Return in how many parts the picture at full size is decoded where it is read by strips."""
        width, height = self.sides
        turned = (self.traits.orientation or 1) > 2 and self.header.format != "heic"
        return -(-3 * width * height // MAX_SLICE_BYTES) if turned else 1

    def _turned(self, top: int, bottom: int) -> Image:
        """Return these rows of the upright picture at full size, in memory."""
        traits = self.traits
        stored = (traits.width, traits.height)
        orientation = traits.orientation or 1
        rows = self._pixels().crop(*stored_window(orientation, stored, top, bottom))
        return self._to_srgb(upright(in_memory(rows), orientation))

    def _pixels(self) -> Image:
        pixels = self._photo.pixels(1)
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
