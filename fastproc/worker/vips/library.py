"""Loads libvips as a worker needs it: loaders outside the allow list blocked, no cache, one thread, errors translated.

Rule 1: a loader is called by the name of the format that the gate found: libvips never guesses. Every loader outside
        the allow list is blocked too (SVG and TIFF are built in, and would be found by content).
Rule 2: libvips' errors are translated here: lack of memory is WORKER_OUT_OF_MEMORY, the rest UNSUPPORTED_FORMAT or
        FILE_CORRUPTED.
Rule 3: what libvips forgives it writes to its error log, where it stays: the log is read and cleared after a decode
        (`remarks`), before anything else can write to it. To make any operation clears it.
Rule 4: only this file imports pyvips.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, Final

from fastproc.core.errors import FileCorrupted, ImageError, UnsupportedFormat, WorkerOutOfMemory

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
    "jxl": "jxlload",
}
_NO_MEMORY: Final = ("out of memory", "insufficient memory", "cannot allocate", "memory allocation")
_UNSUPPORTED: Final = ("unsupported", "not supported", "not implemented", "has not been built in")
#: What libvips says before the decoder's own words, and alone where the decoder has none: which call of ours it was.
_OUR_CALLS: Final = ("unable to call ", "unable to copy to memory", "unable to write to memory")
#: Libraries also say "unsupported" and "memory" of what only a damaged file has: libjpeg of bytes that are no marker of
#: this file, whose real ones the gate has seen; libheif of undefined box versions, of properties that are cut short,
#: and of sizes that are not those of the header which the gate has judged.
_DAMAGE: Final = (
    "unsupported marker type",
    "unsupported jpeg process",
    "data version",
    "could not parse",
    "security limit",
)

#: In this order.
_KINDS: Final[tuple[tuple[type[ImageError | WorkerOutOfMemory], tuple[str, ...]], ...]] = (
    (FileCorrupted, _DAMAGE),
    (WorkerOutOfMemory, _NO_MEMORY),
    (UnsupportedFormat, _UNSUPPORTED),
)

pyvips.cache_set_max(0)
pyvips.operation_block_set("VipsForeignLoad", True)
for _family in ("Jpeg", "Png", "Webp", "Heif", "Nsgif"):
    pyvips.operation_block_set(f"VipsForeignLoad{_family}", False)


def allow(formats: Collection[str]) -> None:
    """Let libvips read JPEG XL where it is among the formats: unlike the others it is off by default, so it is shut."""
    if "jxl" in formats and "jxl" in readable():
        pyvips.operation_block_set("VipsForeignLoadJxl", False)


def readable() -> tuple[str, ...]:
    """Return the formats that this libvips has a loader for, allowed or not. Not every build has one for JPEG XL."""
    return tuple(
        name for name, loader in LOADERS.items() if pyvips.type_find("VipsOperation", f"{loader}_source")
    )


def version() -> str:
    """Return libvips' version, such as `8.18.7`."""
    return f"{pyvips.version(0)}.{pyvips.version(1)}.{pyvips.version(2)}"


def remarks() -> str:
    """Return what libvips has written to its error log since the last call, and clear the log; "" for nothing."""
    text = logged()
    pyvips.vips_lib.vips_error_clear()
    return text


def logged() -> str:
    """Return what is in libvips' error log, and leave it there."""
    text = pyvips.ffi.string(pyvips.vips_lib.vips_error_buffer()).decode("utf-8", "replace")
    return str(text).strip()


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage().removeprefix("VIPS: "))


@contextmanager
def warned() -> Iterator[list[str]]:
    """Collect what libvips warns of meanwhile: some faults it passes over, and only writes to GLib's log."""
    log, collector = logging.getLogger("pyvips"), _Collector()
    log.addHandler(collector)
    passed_on, log.propagate = log.propagate, False
    try:
        yield collector.lines
    finally:
        log.removeHandler(collector)
        log.propagate = passed_on


@contextmanager
def decoding() -> Iterator[None]:
    """Translate libvips' errors while it reads a source, by rule 2.

    Raises: WorkerOutOfMemory, UnsupportedFormat, FileCorrupted."""
    try:
        yield
    except pyvips.Error as error:
        raise translated(str(error)) from None


def translated(said: str) -> ImageError | WorkerOutOfMemory:
    """Return the error that a decoder's words mean, for libvips, and for libheif without it."""
    # Some errors of libheif end in a line with only a number.
    lines = [line.strip() for line in said.splitlines() if any(map(str.isalpha, line))]
    lines = [line for line in lines if not line.startswith(_OUR_CALLS)]
    last = lines[-1] if lines else "the decoder refuses the file, and gives no reason"
    # The line that decides is the one to show: threads of libvips write in any order.
    for kind, signs in _KINDS:
        for line in reversed(lines):
            if any(sign in line.lower() for sign in signs):
                return kind(line)
    return FileCorrupted(last)
