"""Opens a HEIF file's primary picture: its sides, its metadata, its pixels.

Rule 1: every object of libheif is released by the Python object that holds it. A plane's pixels are read in place and
        keep their picture alive.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import byref, c_char_p, c_int, c_ubyte, c_uint, c_void_p
from typing import Any, Final

from msgspec import Struct

from fastproc.worker.libheif import decoder_warnings
from fastproc.worker.libheif.library import LIBRARY, HeifError, check

#: heif_colorspace and heif_chroma: RGB by channels side by side (8 bits, and 16 little-endian), grey by planes.
RGB: Final = 1
MONOCHROME: Final = 2
INTERLEAVED: Final = {(3, 1): 10, (4, 1): 11, (3, 2): 14, (4, 2): 15}
#: heif_channel.
LUMA, ALPHA, ALL = 0, 6, 10
#: Where convert_hdr_to_8bit, strict_decoding and decoder_id are in heif_decoding_options, and the version with all.
_TO_8_BIT, _STRICT, _DECODER, _OPTIONS_VERSION = 40, 41, 48, 4
_MAX_BLOCKS: Final = 64


class Plane(Struct, frozen=True):
    """A channel's pixels in place: `pixels` holds `height` rows of `row_bytes`; `bits` of each sample are used."""

    pixels: Any
    width: int
    height: int
    row_bytes: int
    bits: int


class _Owned:
    """A pointer of libheif's that is released with its Python object."""

    def __init__(self, pointer: int | None, release: Callable[[int], None]) -> None:
        if not pointer:
            raise HeifError("Memory allocation error")
        self.pointer, self._release = pointer, release

    def __del__(self) -> None:
        if hasattr(self, "pointer"):
            self._release(self.pointer)


class Picture:
    """The primary picture of a HEIF file. `sides` are as displayed: libheif applies the container's transforms."""

    def __init__(self, data: bytes) -> None:
        """Raises HeifError."""
        self._data = data
        self._context = _Owned(LIBRARY.heif_context_alloc(), LIBRARY.heif_context_free)
        context = self._context.pointer
        # One process a core.
        LIBRARY.heif_context_set_max_decoding_threads(context, 0)
        check(LIBRARY.heif_context_read_from_memory_without_copy(context, data, len(data), None))
        found = c_void_p()
        check(LIBRARY.heif_context_get_primary_image_handle(context, byref(found)))
        self._handle = _Owned(found.value, LIBRARY.heif_image_handle_release)
        handle = self._handle.pointer
        self.sides: tuple[int, int] = (
            LIBRARY.heif_image_handle_get_width(handle),
            LIBRARY.heif_image_handle_get_height(handle),
        )
        self.has_alpha = bool(LIBRARY.heif_image_handle_has_alpha_channel(handle))
        self.bits: int = LIBRARY.heif_image_handle_get_luma_bits_per_pixel(handle)
        space, chroma = c_int(), c_int()
        check(
            LIBRARY.heif_image_handle_get_preferred_decoding_colorspace(handle, byref(space), byref(chroma))
        )
        self.grey = space.value == MONOCHROME

    def profile(self) -> bytes | None:
        """Return the ICC profile. Raises HeifError."""
        handle = self._handle.pointer
        size = LIBRARY.heif_image_handle_get_raw_color_profile_size(handle)
        if not size:
            return None
        held = ctypes.create_string_buffer(size)
        check(LIBRARY.heif_image_handle_get_raw_color_profile(handle, held))
        return held.raw

    def metadata(self, kind: bytes, content_type: bytes = b"") -> bytes | None:
        """Return the first metadata block of that kind (`Exif`, `mime`) and content type. Raises HeifError."""
        handle, ids = self._handle.pointer, (c_uint * _MAX_BLOCKS)()
        count = LIBRARY.heif_image_handle_get_list_of_metadata_block_IDs(handle, kind, ids, _MAX_BLOCKS)
        for block in ids[:count]:
            named = LIBRARY.heif_image_handle_get_metadata_content_type(handle, block)
            if content_type and named != content_type:
                continue
            size = LIBRARY.heif_image_handle_get_metadata_size(handle, block)
            held = ctypes.create_string_buffer(size)
            check(LIBRARY.heif_image_handle_get_metadata(handle, block, held))
            return held.raw
        return None

    def decoded(self, *, wide: bool, strict: bool) -> tuple[Plane, ...]:
        """Return the pixels: one plane of colours side by side, or one of grey and, with alpha, one of alpha.

        Samples have one byte, or two (little-endian) where the picture has more than 8 bits and is to stay `wide`, or
        is grey. A `strict` decode fails where any part of the picture is missing. Raises: HeifError.
        """
        options = _Owned(LIBRARY.heif_decoding_options_alloc(), LIBRARY.heif_decoding_options_free)
        if ctypes.string_at(options.pointer, 1)[0] < _OPTIONS_VERSION:
            raise HeifError("this libheif is too old to decode strictly")
        fields = (c_ubyte * (_STRICT + 1)).from_address(options.pointer)
        fields[_TO_8_BIT], fields[_STRICT] = not wide, strict
        c_char_p.from_address(options.pointer + _DECODER).value = decoder_warnings.NAME
        bands, sample_bytes = (4 if self.has_alpha else 3), (2 if wide and self.bits > 8 else 1)
        chroma = 0 if self.grey else INTERLEAVED[bands, sample_bytes]
        made = c_void_p()
        check(
            LIBRARY.heif_decode_image(
                self._handle.pointer, byref(made), MONOCHROME if self.grey else RGB, chroma, options.pointer
            )
        )
        image = _Owned(made.value, LIBRARY.heif_image_release)
        channels = ((LUMA, ALPHA) if self.has_alpha else (LUMA,)) if self.grey else (ALL,)
        return tuple(_plane(image, channel) for channel in channels)


def _plane(image: _Owned, channel: int) -> Plane:
    row = c_int()
    start = LIBRARY.heif_image_get_plane_readonly(image.pointer, channel, byref(row))
    if not start:
        raise HeifError("a channel of the picture is missing")
    height = LIBRARY.heif_image_get_height(image.pointer, channel)

    class Pixels(c_ubyte * (row.value * height)):  # type: ignore[misc]
        owner = image

    return Plane(
        pixels=Pixels.from_address(start),
        width=LIBRARY.heif_image_get_width(image.pointer, channel),
        height=height,
        row_bytes=row.value,
        bits=LIBRARY.heif_image_get_bits_per_pixel_range(image.pointer, channel),
    )
