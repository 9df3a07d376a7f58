"""Loads libheif, and libde265 with it: the functions that are called, with their types.

Rule 1: the library is the one that the extension of the package pi-heif-decoder is linked with; another one is never
        looked for.
Source: libheif's headers heif_context.h, heif_decoding.h, heif_image_handle.h, heif_metadata.h, heif_plugin.h, of
        version 1.23; libde265's de265.h.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_int, c_size_t, c_uint, c_void_p
from importlib.util import find_spec
from typing import Any, Final


class HeifError(Exception):
    """What libheif says of a file or of itself."""


class Error(ctypes.Structure):
    """heif_error."""

    _fields_ = (("code", c_int), ("detail", c_int), ("message", c_char_p))


_SIGNATURES: Final[tuple[tuple[str, Any, tuple[Any, ...]], ...]] = (
    ("heif_init", Error, (c_void_p,)),
    ("heif_get_version", c_char_p, ()),
    ("heif_context_alloc", c_void_p, ()),
    ("heif_context_free", None, (c_void_p,)),
    ("heif_context_set_max_decoding_threads", None, (c_void_p, c_int)),
    ("heif_context_read_from_memory_without_copy", Error, (c_void_p, c_void_p, c_size_t, c_void_p)),
    ("heif_context_get_primary_image_handle", Error, (c_void_p, POINTER(c_void_p))),
    ("heif_image_handle_release", None, (c_void_p,)),
    ("heif_image_handle_get_width", c_int, (c_void_p,)),
    ("heif_image_handle_get_height", c_int, (c_void_p,)),
    ("heif_image_handle_has_alpha_channel", c_int, (c_void_p,)),
    ("heif_image_handle_get_luma_bits_per_pixel", c_int, (c_void_p,)),
    (
        "heif_image_handle_get_preferred_decoding_colorspace",
        Error,
        (c_void_p, POINTER(c_int), POINTER(c_int)),
    ),
    ("heif_image_handle_get_raw_color_profile_size", c_size_t, (c_void_p,)),
    ("heif_image_handle_get_raw_color_profile", Error, (c_void_p, c_void_p)),
    (
        "heif_image_handle_get_list_of_metadata_block_IDs",
        c_int,
        (c_void_p, c_char_p, POINTER(c_uint), c_int),
    ),
    ("heif_image_handle_get_metadata_content_type", c_char_p, (c_void_p, c_uint)),
    ("heif_image_handle_get_metadata_size", c_size_t, (c_void_p, c_uint)),
    ("heif_image_handle_get_metadata", Error, (c_void_p, c_uint, c_void_p)),
    ("heif_decoding_options_alloc", c_void_p, ()),
    ("heif_decoding_options_free", None, (c_void_p,)),
    ("heif_decode_image", Error, (c_void_p, POINTER(c_void_p), c_int, c_int, c_void_p)),
    ("heif_get_decoder_descriptors", c_int, (c_int, POINTER(c_void_p), c_int)),
    ("heif_register_decoder_plugin", Error, (c_void_p,)),
    ("de265_get_warning", c_int, (c_void_p,)),
    ("de265_get_error_text", c_char_p, (c_int,)),
    ("de265_get_version", c_char_p, ()),
    ("heif_image_get_width", c_int, (c_void_p, c_int)),
    ("heif_image_get_height", c_int, (c_void_p, c_int)),
    ("heif_image_get_bits_per_pixel_range", c_int, (c_void_p, c_int)),
    ("heif_image_get_plane_readonly", c_void_p, (c_void_p, c_int, POINTER(c_int))),
    ("heif_image_release", None, (c_void_p,)),
)


def _load() -> Any:
    extension = find_spec("_pi_heif")
    if extension is None or extension.origin is None:
        raise ImportError("the package pi-heif-decoder is not installed")
    # Symbols of the libraries that it is linked with are found through it.
    library = ctypes.CDLL(extension.origin)
    for name, result, arguments in _SIGNATURES:
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    library.heif_init(None)
    return library


LIBRARY: Final = _load()


def check(error: Error) -> None:
    """Raises HeifError for an error."""
    if error.code:
        raise HeifError((error.message or b"").decode("utf-8", "replace") or f"error {error.code}")


def version() -> str:
    """Return libheif's version, such as `1.23.4`."""
    return str(LIBRARY.heif_get_version().decode())


def libde265_version() -> str:
    """Return the version of the decoder for HEVC."""
    return str(LIBRARY.de265_get_version().decode())
