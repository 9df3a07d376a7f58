"""Encode JPEG, progressive or not, with jpegli: a ctypes binding to the libjpeg-style API in pyjpegli's shared object.

pyjpegli's own `encode` writes only baseline files. Its extension module exports all of jpegli, so the few calls that
a progressive file needs are made directly. The layout of `jpeg_compress_struct` is that of jpeglib.h with
JPEG_LIB_VERSION 62 on 64-bit Linux; the self-test of `encoders` shows that the result is a picture.

Rule 1: eight bits; RGB in, YCbCr 4:2:0 out; grey in, grey out; no profile: what is passed in is sRGB already.
Rule 2: jpegli's error handler must not return, and Python cannot jump over C: an error of jpegli's ends the process,
        with its reason on stderr. So a version that was not tried, or a struct of another size, is refused before
        the first call, and arguments and rows are counted here; what remains is the lack of memory.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable, Iterable
from importlib import metadata
from typing import Any, Final

import pyjpegli

ABI: Final = 62
MAX_SIDE_PX: Final = 65_500
#: Bands -> J_COLOR_SPACE.
_COLOUR_SPACES: Final = {1: 1, 3: 2}
#: Versions of pyjpegli whose struct is the one below, 520 bytes; pyproject.toml allows no other.
TRIED_VERSIONS: Final = ("0.3.2",)
#: More than sizeof(jpeg_error_mgr), which is 168.
_ERROR_BYTES: Final = 256
#: "Compare the third argument with 520", as jpegli_CreateCompress does to the size that it is given, on each machine.
#: The instruction is among its first 64 bytes in the wheels for Python 3.11 and 3.13.
_COMPARISONS: Final[dict[str, Callable[[int], bytes]]] = {
    "x86_64": lambda size: b"\x48\x81\xfa" + size.to_bytes(4, "little"),
    "aarch64": lambda size: (0xF100005F | size << 10).to_bytes(4, "little"),
}
_ENTRY_BYTES: Final = 64


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
        ("raw_data", ctypes.c_int),
        ("arithmetic_coding", ctypes.c_int),
        ("optimize_coding", ctypes.c_int),
        ("rest", ctypes.c_byte * 252),
    )


def _scan(components: tuple[int, ...], first: int, last: int) -> _Scan:
    return _Scan(len(components), (ctypes.c_int * 4)(*components), first, last, 0, 0)


#: Coarse first: DC, low frequencies of luma, colours, the rest of luma. Only spectral selection: jpegli's own scripts
#: refine bits too, which takes a third more time for 0.3 to 1 % fewer bytes (tuning.md, "scan script").
SCRIPT: Final = (_Scan * 7)(
    *(_scan((component,), 0, 0) for component in (0, 1, 2)),
    _scan((0,), 1, 8),
    _scan((1,), 1, 63),
    _scan((2,), 1, 63),
    _scan((0,), 9, 63),
)


GREY_SCRIPT: Final = (_Scan * 3)(_scan((0,), 0, 0), _scan((0,), 1, 8), _scan((0,), 9, 63))


#: All in one scan: only the tokens are held until the end, 1.3 bytes a pixel, where a progressive file takes 4.5;
#: the file has 2 % more bytes (tuning.md, "progressive up to").
SEQUENTIAL: Final = {3: (_Scan * 1)(_scan((0, 1, 2), 0, 63)), 1: (_Scan * 1)(_scan((0,), 0, 63))}
PROGRESSIVE: Final[dict[int, Any]] = {3: SCRIPT, 1: GREY_SCRIPT}


class JpegliError(Exception):
    """The library, the arguments or the rows cannot be used."""


_POINTER = ctypes.POINTER(_Compress)
_SIGNATURES: Final = (
    ("jpegli_std_error", ctypes.c_void_p, (ctypes.c_void_p,)),
    ("jpegli_CreateCompress", None, (_POINTER, ctypes.c_int, ctypes.c_size_t)),
    ("jpegli_mem_dest", None, (_POINTER, ctypes.c_void_p, ctypes.c_void_p)),
    ("jpegli_set_defaults", None, (_POINTER,)),
    ("jpegli_set_quality", None, (_POINTER, ctypes.c_int, ctypes.c_int)),
    ("jpegli_enable_adaptive_quantization", None, (_POINTER, ctypes.c_int)),
    ("jpegli_start_compress", None, (_POINTER, ctypes.c_int)),
    ("jpegli_write_scanlines", ctypes.c_uint, (_POINTER, ctypes.c_void_p, ctypes.c_uint)),
    ("jpegli_finish_compress", None, (_POINTER,)),
    ("jpegli_destroy_compress", None, (_POINTER,)),
)


def _check_size(library: ctypes.CDLL) -> None:
    """Raises JpegliError where the library's jpeg_compress_struct is not as large as ours.

    The library compares the sizes itself, but ends the process where they differ. So its comparison is read, not run.
    """
    comparison = _COMPARISONS.get(platform.machine())
    if comparison is None:
        raise JpegliError(f"it was never tried on {platform.machine()}")
    entry = ctypes.string_at(
        ctypes.cast(library.jpegli_CreateCompress, ctypes.c_void_p).value or 0, _ENTRY_BYTES
    )
    if comparison(ctypes.sizeof(_Compress)) not in entry:
        raise JpegliError(f"its jpeg_compress_struct is not known to be of {ctypes.sizeof(_Compress)} bytes")


class Jpegli:
    """The encoder, one for each process: it keeps the loaded library."""

    def __init__(self) -> None:
        """Raises JpegliError, OSError or AttributeError if the library is not one that was tested."""
        self.version = metadata.version("pyjpegli")
        if self.version not in TRIED_VERSIONS:
            raise JpegliError(f"version {self.version} was never tried, only {', '.join(TRIED_VERSIONS)}")
        library = ctypes.CDLL(pyjpegli.__file__)
        for name, result, arguments in _SIGNATURES:
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
        _check_size(library)
        self._library = library
        self._free = ctypes.CDLL(None).free
        self._free.argtypes = [ctypes.c_void_p]

    def encode(
        self,
        sides: tuple[int, int],
        bands: int,
        strips: Iterable[Any],
        quality: int,
        *,
        progressive: bool = True,
        adaptive: bool = True,
    ) -> bytes:
        """Return a JPEG of `sides` (width and height) pixels; `adaptive` saves bytes where the eye sees less.

        Shapes: strips of whole rows, top to bottom, each a writable buffer of rows x width x bands bytes: sRGB or grey.
        Raises: JpegliError, and whatever the strips raise.
        """
        width, height = sides
        if (
            not all(1 <= side <= MAX_SIDE_PX for side in sides)
            or not 1 <= quality <= 100
            or bands not in (1, 3)
        ):
            raise JpegliError(f"{width}x{height} of {bands} bands at quality {quality}")
        library, error, state = self._library, (ctypes.c_byte * _ERROR_BYTES)(), _Compress()
        data, size = ctypes.c_void_p(), ctypes.c_ulong()
        state.error = library.jpegli_std_error(error)
        library.jpegli_CreateCompress(state, ABI, ctypes.sizeof(state))
        try:
            library.jpegli_mem_dest(state, ctypes.byref(data), ctypes.byref(size))
            self._begin(state, sides, bands, quality)
            library.jpegli_enable_adaptive_quantization(state, adaptive)
            script = (PROGRESSIVE if progressive else SEQUENTIAL)[bands]
            state.scan_count, state.scans = len(script), ctypes.cast(script, ctypes.POINTER(_Scan))
            library.jpegli_start_compress(state, 1)
            missing = height
            for strip in strips:
                missing -= self._write(state, strip, bands * width, missing)
            if missing:
                raise JpegliError(f"{missing} of {height} rows are missing")
            library.jpegli_finish_compress(state)
            return ctypes.string_at(data.value or 0, size.value)
        finally:
            library.jpegli_destroy_compress(state)
            self._free(data)

    def _begin(self, state: _Compress, sides: tuple[int, int], bands: int, quality: int) -> None:
        library = self._library
        (state.width, state.height), state.bands, state.colour_space = sides, bands, _COLOUR_SPACES[bands]
        library.jpegli_set_defaults(state)
        library.jpegli_set_quality(state, quality, 1)
        state.optimize_coding = 1

    def _write(self, state: _Compress, strip: Any, row_bytes: int, missing: int) -> int:
        rows, rest = divmod(len(strip), row_bytes)
        if rest or rows > missing:
            raise JpegliError(
                f"a strip of {len(strip)} bytes where {missing} rows of {row_bytes} are missing"
            )
        start = ctypes.addressof(ctypes.c_char.from_buffer(strip))
        addresses = (ctypes.c_void_p * rows)(*range(start, start + rows * row_bytes, row_bytes))
        written: int = self._library.jpegli_write_scanlines(state, addresses, rows)
        if written != rows:
            raise JpegliError(f"{written} of {rows} rows were taken")
        return rows
