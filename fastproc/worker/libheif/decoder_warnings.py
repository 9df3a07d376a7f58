"""Hears what libde265 warns of: it goes on over damaged data, counts warnings, and libheif never asks for them.

Rule 1: its plug-in for libheif is registered a second time, under our name, with one function of ours, which reads the
        warnings before the decoder is freed. A decode that names this plug-in is heard.
Rule 2: what stays unheard: data whose damage looks like an early end of the picture. (Grids are whole or refused.)
Source: libheif's heif_plugin.h and decoder_libde265.cc, of version 1.23; libde265's de265.h.
"""

from __future__ import annotations

import ctypes
from ctypes import byref, c_char_p, c_int, c_void_p
from typing import Any, Final

from fastproc.worker.libheif.library import LIBRARY, check

#: The plug-in's name, for heif_decoding_options.
NAME: Final = b"libde265-heard"
#: Warnings that mean lost pixels: a parameter out of range, a slice that ends early, blocks outside the picture,
#: headers that are wrong or name what is not there, a part that does not end where it should.
LOST: Final = frozenset({8, 1002, 1004, 1007, 1009, 1010, 1017, 1020, 1021})
#: Where plugin_api_version, free_decoder and id_name are in heif_decoder_plugin; what version 5 has, and its size.
_API, _FREE, _ID, _API_VERSION, _PLUGIN_BYTES = 0, 48, 80, 5, 144
_HEVC: Final = 1

_heard: Final[list[str]] = []


def heard() -> str:
    """Return what the decoder has passed over since the last call, where pixels are missing; or ""."""
    said = _heard[0] if _heard else ""
    _heard.clear()
    return said


def _listen() -> tuple[Any, Any]:
    """Register libde265's plug-in under our name; return it and its function, which must live as long as the process.

    Raises: ImportError if it is another kind of plug-in than the one that was tried.
    """
    found = c_void_p()
    count = LIBRARY.heif_get_decoder_descriptors(_HEVC, byref(found), 1)
    # A descriptor is the plug-in itself.
    if count < 1 or c_int.from_address(found.value or 0).value < _API_VERSION:
        raise ImportError("libheif's decoder for HEVC is none that was tried")
    plugin = ctypes.create_string_buffer(ctypes.string_at(found.value or 0, _PLUGIN_BYTES))
    at = ctypes.addressof(plugin)
    function = ctypes.CFUNCTYPE(None, c_void_p)
    free = function(c_void_p.from_address(at + _FREE).value or 0)

    def heard(decoder: int) -> None:
        # Its first field is libde265's own context.
        context = c_void_p.from_address(decoder).value
        while code := LIBRARY.de265_get_warning(context):
            if code in LOST:
                _heard.append(LIBRARY.de265_get_error_text(code).decode("ascii", "replace"))
        free(decoder)

    callback = function(heard)
    c_int.from_address(at + _API).value = _API_VERSION
    c_char_p.from_address(at + _ID).value = NAME
    c_void_p.from_address(at + _FREE).value = ctypes.cast(callback, c_void_p).value
    check(LIBRARY.heif_register_decoder_plugin(at))
    return plugin, callback


_LISTENER: Final = _listen()
