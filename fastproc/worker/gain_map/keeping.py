"""Finds a JPEG's gain map, decodes it within the photo's own limits, and turns it as the photo is turned.

Rule 1: nothing of the map's file is passed on: its pixels are decoded and encoded anew, its numbers are read and
        written anew. So it can neither carry metadata, nor bytes that no decoder has seen.
Rule 2: its header is judged as a photo's, and it may not have more pixels than the photo. Whatever is wrong with it
        is a `NotKept`, and never the photo's fault; lack of memory is the worker's.
Rule 3: the copy is sRGB, and gains are numbers of linear light in one space. A gain for all colours alike is right in
        every space, because white is white in all of them: M ((s + k) g - h) = (M s + k) g - h for a matrix M whose
        rows have the sum 1. Gains for red, green and blue of another space become M g: exact where the photo is grey,
        as in its lights, and 0.01 to 0.02 stops off in the mean (tuning.md, "gain map").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from msgspec import Struct, structs

from fastproc.core.errors import FileCorrupted, ImageError
from fastproc.core.gate import multi_picture
from fastproc.core.gate.jpeg import first_scan
from fastproc.core.gate.judge import judge
from fastproc.core.gate.segments import XMP_SIGN, segments
from fastproc.core.header import Header
from fastproc.core.model import Limits
from fastproc.worker.colour import profile
from fastproc.worker.colour.conversion import Conversion
from fastproc.worker.gain_map import dialects, xmp
from fastproc.worker.gain_map.dialects import Meaning
from fastproc.worker.gain_map.numbers import Channel, Gain, NotKept, checked, gains
from fastproc.worker.vips import maps
from fastproc.worker.vips.library import Image
from fastproc.worker.vips.opening import File, Traits
from fastproc.worker.vips.resampling import in_memory, upright

#: Bytes a pixel of the photo that the map's decoder may take: of a map as large as the photo, sequential or progressive
#: with halved colours. A copy takes 6.3 (core/admission.py), and is encoded before.
DECODED_BYTES_A_PIXEL: Final = 3
#: Of the photo's pixels: a larger map is decoded at half its sides. Telephones write a quarter and a sixteenth (Ultra
#: HDR recommends that), programs as many as the photo has, which would take as much work as the photo (tuning.md, "gain
#: map"). A little more, because sides are rounded.
LARGEST_SHARE: Final = 0.26
#: libultrahdr refuses a map whose shape differs by more than 1 %; a side may be rounded besides.
_SHAPE: Final = 0.01
#: Gains of other primaries can come out as nothing or less; a stop under the least gain is as good.
_STOPS_BELOW: Final = 1.0


class GainMap(Struct, frozen=True):
    """A map's picture, upright, of one band or three, computed from pixels in memory; and what its pixels mean."""

    picture: Image
    gain: Gain


def read(data: memoryview, header: Header, traits: Traits, conversion: Conversion, limits: Limits) -> GainMap:
    """Return the gain map of a JPEG; `conversion` makes its picture sRGB. Raises NotKept, WorkerOutOfMemory."""
    if conversion.hdr:
        raise NotKept("the picture is HDR itself, and was tone mapped")
    (start, end), meaning = find(data, traits.exif)
    try:
        picture, own_profile = _decoded(data[start:end], header, limits)
    except ImageError as error:
        raise NotKept(f"it cannot be decoded: {error.message or error.code}") from None
    gain = meaning.gain
    if meaning.table:
        picture = maps.translated(picture, meaning.table)
    if len(gain.channels) == 1:
        picture = maps.single_band(picture)
    if picture.bands > 1 or len(gain.channels) > 1:
        space = conversion.profile if gain.in_base_colours or not own_profile else own_profile
        if traits.space != "srgb":
            raise NotKept("it has gains for each colour, and the photo has other colours")
        picture, gain = _for_srgb(maps.three_bands(picture), gain, space)
    return GainMap(upright(picture, traits.orientation), gain)


def find(data: memoryview, exif: bytes | None) -> tuple[multi_picture.Place, Meaning]:
    """Return where the map of a JPEG is, and what it means. `exif` is the photo's. Raises NotKept."""
    for places in (multi_picture.indexed(data), multi_picture.searched(data, first_scan(data))):
        for start, end in places:
            if meaning := dialects.meaning(*_said(data, start), exif):
                return (start, end), meaning
    raise NotKept("it is not in the file")


def _said(data: memoryview, start: int) -> tuple[bytes | None, xmp.Properties]:
    """Return what the picture at `start` says of itself: in ISO's segment, and in its XMP packet, the first of each."""
    iso: bytes | None = None
    packet: bytes | None = None
    for marker, begin, end in segments(data, start):
        head = bytes(data[begin : begin + len(XMP_SIGN)])
        if marker == 0xE2 and iso is None and head.startswith(dialects.ISO):
            iso = bytes(data[begin + len(dialects.ISO) : end])
        elif marker == 0xE1 and packet is None and head == XMP_SIGN:
            packet = bytes(data[begin + len(XMP_SIGN) : end])
    return iso, xmp.properties(packet) if packet else {}


def _decoded(data: memoryview, photo: Header, limits: Limits) -> tuple[Image, bytes | None]:
    """Return the map's pixels in memory, and its profile. Raises ImageError, NotKept, WorkerOutOfMemory."""
    own = judge(data, structs.replace(limits, formats=("jpeg",), min_side_px=1))
    _check_sizes(own, photo)
    reduction = 2 if own.width * own.height > LARGEST_SHARE * photo.width * photo.height else 1
    file = File(data, own, reduction)
    picture = in_memory(file.pixels(reduction))
    if forgiven := file.forgiven():
        raise FileCorrupted(forgiven)
    if picture.bands not in (1, 3):
        raise NotKept(f"it has {picture.bands} channels")
    return picture, file.traits.profile


def _check_sizes(own: Header, photo: Header) -> None:
    """Raises NotKept for a map that is too large for its photo, or of another shape."""
    pixels = photo.width * photo.height
    if own.width * own.height > pixels:
        raise NotKept("it has more pixels than the photo")
    if own.decoded_bytes > DECODED_BYTES_A_PIXEL * pixels:
        raise NotKept("its decoder would take too much memory")
    difference = abs(own.width * photo.height - own.height * photo.width)
    if difference > _SHAPE * own.width * photo.height + max(photo.width, photo.height):
        raise NotKept("it has another shape than the photo")


def _for_srgb(picture: Image, gain: Gain, space: bytes | None) -> tuple[Image, Gain]:
    """Return a map of three bands whose gains are for the space of a profile, so that it fits an sRGB picture.

    Raises NotKept.
    """
    if not space or profile.is_srgb(space):
        return picture, gain
    matrix = profile.to_srgb(space)
    offsets = {(channel.base_offset, channel.alternate_offset) for channel in gain.channels}
    if matrix is None or len(offsets) > 1:
        raise NotKept("it has gains for each colour of a space that cannot be converted to sRGB")
    channels = gain.channels * (3 // len(gain.channels))
    low, high = _range(channels, matrix)
    made = maps.in_other_colours(picture, [gains(channel) for channel in channels], matrix, (low, high))
    base, alternate = offsets.pop()
    channel = Channel(minimum=low, maximum=high, base_offset=base, alternate_offset=alternate)
    return made, checked([channel], (gain.base_headroom, gain.alternate_headroom))


def _range(channels: Sequence[Channel], matrix: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Return the least and the most stops that the map has after the matrix: of what can be, not of what is there."""
    extremes = [(2.0**channel.minimum, 2.0**channel.maximum) for channel in channels]
    most = max(
        sum(factor * (high if factor > 0 else low) for factor, (low, high) in zip(row, extremes, strict=True))
        for row in matrix
    )
    low = min(channel.minimum for channel in channels) - _STOPS_BELOW
    return low, max(math.log2(most), low + _STOPS_BELOW)
