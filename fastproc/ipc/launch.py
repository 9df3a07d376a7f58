"""How a worker process is started: its command line and its whole environment."""

from __future__ import annotations

import sys
from typing import Final

import msgspec

from fastproc.ipc.messages import Settings

#: A worker's whole environment: none of our settings, only what must be set before the process starts.
ENVIRONMENT: Final = {
    # One process a core: libvips must compute in one thread (tuning.md, "libvips threads").
    "VIPS_CONCURRENCY": "1",
    # glibc gives each thread an arena of its own, which in a worker is memory that is never used again.
    "MALLOC_ARENA_MAX": "2",
    "LC_ALL": "C.UTF-8",
}


def command(fd: int, settings: Settings) -> list[str]:
    """Return the argv of a worker whose channel is descriptor `fd`.

    -I: no user site, no current directory on the path, no PYTHON* variables: a worker imports what is installed.
    """
    return [
        sys.executable,
        "-I",
        "-m",
        "fastproc.worker.main",
        str(fd),
        msgspec.json.encode(settings).decode(),
    ]
