"""Loads libvips as a worker needs it: loaders outside the allow list blocked, no cache, one thread, errors translated.

Rule 1: a loader is called by the name of the format that the gate found: libvips never guesses. Every loader outside
        the allow list is blocked too (SVG and TIFF are built in, and would be found by content).
Rule 2: libvips' errors are translated here: lack of memory is WORKER_OUT_OF_MEMORY, the rest UNSUPPORTED_FORMAT or
        FILE_CORRUPTED.
Rule 3: what libvips forgives it writes to its error log, where it stays: the log is read and cleared after a decode
        (`remarks`), before anything else can write to it.
Rule 4: only this file imports pyvips.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from fastproc.core.errors import FileCorrupted, UnsupportedFormat, WorkerOutOfMemory

# libvips reads these once, when it is loaded. One process a core: one thread for pixels, and no temporary files.
os.environ.setdefault("VIPS_CONCURRENCY", "1")
os.environ.setdefault("VIPS_DISC_THRESHOLD", "100g")

# The other files import it from here, so that it is never loaded without the lines above and below.
import pyvips as pyvips

#: A lazy picture of libvips, or one in memory. (pyvips has no annotations.)
Image = Any

#: Format -> libvips' loader.
LOADERS: Final = {
    "jpeg": "jpegload",
    "png": "pngload",
    "webp": "webpload",
    "gif": "gifload",
    "avif": "heifload",
}
_NO_MEMORY: Final = ("out of memory", "insufficient memory", "cannot allocate", "memory allocation")
_UNSUPPORTED: Final = ("unsupported", "not supported")
#: What libjpeg says of bytes that are no marker of this file: the gate has seen the file's real ones.
_DAMAGE: Final = ("unsupported marker type", "unsupported jpeg process")

pyvips.cache_set_max(0)
pyvips.operation_block_set("VipsForeignLoad", True)
for _family in ("Jpeg", "Png", "Webp", "Heif", "Nsgif"):
    pyvips.operation_block_set(f"VipsForeignLoad{_family}", False)


def version() -> str:
    """Return libvips' version, such as `8.18.7`."""
    return f"{pyvips.version(0)}.{pyvips.version(1)}.{pyvips.version(2)}"


def remarks() -> str:
    """Return what libvips has written to its error log since the last call, and clear the log; "" for nothing."""
    text = pyvips.ffi.string(pyvips.vips_lib.vips_error_buffer()).decode("utf-8", "replace")
    pyvips.vips_lib.vips_error_clear()
    return str(text).strip()


@contextmanager
def decoding() -> Iterator[None]:
    """Translate libvips' errors while it reads a source, by rule 2.

    Raises: WorkerOutOfMemory, UnsupportedFormat, FileCorrupted."""
    try:
        yield
    except pyvips.Error as error:
        # Some errors of libheif end in a line with only a number.
        lines = [line.strip() for line in str(error).splitlines() if any(map(str.isalpha, line))]
        text = lines[-1] if lines else "libvips gave no reason"
        if any(sign in str(error).lower() for sign in _NO_MEMORY):
            raise WorkerOutOfMemory(text) from None
        damaged = any(sign in str(error).lower() for sign in _DAMAGE)
        if not damaged and any(sign in str(error).lower() for sign in _UNSUPPORTED):
            raise UnsupportedFormat(text) from None
        raise FileCorrupted(text) from None
