"""Encode progressive JPEG with jpegli: a ctypes binding to the libjpeg-style API in pyjpegli's shared object.

pyjpegli's own `encode` writes baseline files only. Its extension module exports all of jpegli, so the few calls that
a progressive file takes are made directly. The layout of `jpeg_compress_struct` is that of jpeglib.h with
JPEG_LIB_VERSION 62; jpegli itself compares version and size, and `self_test` shows that the result is a picture.

Rule 1: eight bits, RGB in, YCbCr 4:2:0 out, no profile: what is passed in is sRGB already.
Rule 2: jpegli reports an error by calling `error_exit`, which must not return; here it does, after it has noted the
        error, so every call that can fail is followed by a look at the note. Arguments are checked before.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from typing import Any, Final

import pyjpegli

ABI: Final = 62
MAX_SIDE_PX: Final = 65_500
_RGB: Final = 2
#: sizeof(jpeg_error_mgr) is 168; jpegli's own struct is 520 bytes, and allocates the rest itself.
_ERROR_BYTES: Final = 256


class _Scan(ctypes.Structure):
    """jpeg_scan_info: which components, which coefficients, which bits."""

    _fields_ = (
        ("count", ctypes.c_int),
        ("components", ctypes.c_int * 4),
        ("first", ctypes.c_int),
        ("last", ctypes.c_int),
        ("high", ctypes.c_int),
        ("low", ctypes.c_int),
    )


class _Compress(ctypes.Structure):
    """The head of jpeg_compress_struct, up to the last field that is set here, and its whole size."""

    _fields_ = (
        ("error", ctypes.c_void_p),
        ("memory", ctypes.c_void_p),
        ("progress", ctypes.c_void_p),
        ("client_data", ctypes.c_void_p),
        ("is_decompressor", ctypes.c_int),
        ("global_state", ctypes.c_int),
        ("destination", ctypes.c_void_p),
        ("width", ctypes.c_uint),
        ("height", ctypes.c_uint),
        ("bands", ctypes.c_int),
        ("colour_space", ctypes.c_int),
        ("gamma", ctypes.c_double),
        ("precision", ctypes.c_int),
        ("components", ctypes.c_int),
        ("jpeg_colour_space", ctypes.c_int),
        ("component_info", ctypes.c_void_p),
        ("tables", ctypes.c_void_p * 12),
        ("arithmetic", ctypes.c_byte * 48),
        ("scan_count", ctypes.c_int),
        ("scans", ctypes.POINTER(_Scan)),
        ("rest", ctypes.c_byte * 264),
    )


def _scan(components: tuple[int, ...], first: int, last: int) -> _Scan:
    return _Scan(len(components), (ctypes.c_int * 4)(*components), first, last, 0, 0)


#: Coarse first: all DC, the low frequencies of luma, the colours, the rest of luma. Spectral selection alone: jpegli's
#: own scripts refine bits as well, for 2 to 3 % fewer bytes and 40 to 70 % more time (tuning.md, "scan script").
SCRIPT: Final = (_Scan * 5)(
    _scan((0, 1, 2), 0, 0), _scan((0,), 1, 5), _scan((1,), 1, 63), _scan((2,), 1, 63), _scan((0,), 6, 63)
)

_ErrorExit = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class JpegliError(Exception):
    """jpegli refused a call."""


class _Note:
    """The last error that jpegli reported. Module state, because C calls back without a context."""

    raised = False


def _take_note(_cinfo: int) -> None:
    _Note.raised = True


#: Kept for the life of the process: C holds its address.
_error_exit = _ErrorExit(_take_note)


_POINTER = ctypes.POINTER(_Compress)
_SIGNATURES: Final = (
    ("jpegli_std_error", ctypes.c_void_p, (ctypes.c_void_p,)),
    ("jpegli_CreateCompress", None, (_POINTER, ctypes.c_int, ctypes.c_size_t)),
    ("jpegli_mem_dest", None, (_POINTER, ctypes.c_void_p, ctypes.c_void_p)),
    ("jpegli_set_defaults", None, (_POINTER,)),
    ("jpegli_set_quality", None, (_POINTER, ctypes.c_int, ctypes.c_int)),
    ("jpegli_start_compress", None, (_POINTER, ctypes.c_int)),
    ("jpegli_write_scanlines", ctypes.c_uint, (_POINTER, ctypes.c_void_p, ctypes.c_uint)),
    ("jpegli_finish_compress", None, (_POINTER,)),
    ("jpegli_destroy_compress", None, (_POINTER,)),
)


class Jpegli:
    """The encoder. One a process: it keeps the loaded library."""

    def __init__(self) -> None:
        """Raises OSError or AttributeError where the library is not what we know."""
        self._library = ctypes.CDLL(pyjpegli.__file__)
        for name, result, arguments in _SIGNATURES:
            function = getattr(self._library, name)
            function.restype, function.argtypes = result, arguments
        self._free = ctypes.CDLL(None).free
        self._free.argtypes = [ctypes.c_void_p]

    def encode(self, width: int, height: int, strips: Iterable[Any], quality: int) -> bytes:
        """Return a progressive JPEG of `width` x `height` pixels.

        Shapes: strips of whole rows, top to bottom, each a writable buffer of rows x width x 3 bytes, sRGB.
        Raises: JpegliError, and whatever the strips raise.
        """
        if not (1 <= width <= MAX_SIDE_PX and 1 <= height <= MAX_SIDE_PX and 1 <= quality <= 100):
            raise JpegliError(f"{width}x{height} at quality {quality}")
        error, state = (ctypes.c_byte * _ERROR_BYTES)(), _Compress()
        data, size = ctypes.c_void_p(), ctypes.c_ulong()
        self._library.jpegli_std_error(error)
        ctypes.c_void_p.from_buffer(error).value = ctypes.cast(_error_exit, ctypes.c_void_p).value
        state.error = ctypes.addressof(error)
        _Note.raised = False
        self._call("CreateCompress", state, ABI, ctypes.sizeof(_Compress))
        try:
            self._call("mem_dest", state, ctypes.byref(data), ctypes.byref(size))
            self._start(state, width, height, quality)
            for strip in strips:
                self._write(state, strip, 3 * width)
            self._call("finish_compress", state)
            return ctypes.string_at(data.value or 0, size.value)
        finally:
            self._library.jpegli_destroy_compress(state)
            self._free(data)

    def _call(self, name: str, state: _Compress, *arguments: Any) -> None:
        getattr(self._library, f"jpegli_{name}")(state, *arguments)
        if _Note.raised:
            raise JpegliError(f"jpegli_{name} failed")

    def _start(self, state: _Compress, width: int, height: int, quality: int) -> None:
        state.width, state.height, state.bands, state.colour_space = width, height, 3, _RGB
        self._call("set_defaults", state)
        self._call("set_quality", state, quality, 1)
        state.scan_count, state.scans = len(SCRIPT), SCRIPT
        self._call("start_compress", state, 1)

    def _write(self, state: _Compress, strip: Any, row_bytes: int) -> None:
        start, rows = ctypes.addressof(ctypes.c_char.from_buffer(strip)), len(strip) // row_bytes
        addresses = (ctypes.c_void_p * rows)(*range(start, start + rows * row_bytes, row_bytes))
        written = self._library.jpegli_write_scanlines(state, addresses, rows)
        if _Note.raised or written != rows:
            raise JpegliError(f"{written} of {rows} rows were taken")
