"""How a worker process is started: its command line and its whole environment."""

from __future__ import annotations

import sys
from typing import Final

import msgspec

from fastproc.ipc.messages import Settings

#: All that a worker's environment holds: nothing of ours, only what must be said before the process begins.
ENVIRONMENT: Final = {
    # One process a core: libvips must not start threads of its own (tuning.md, "libvips threads").
    "VIPS_CONCURRENCY": "1",
    # glibc gives each thread an arena of its own, which for a worker is memory never used again.
    "MALLOC_ARENA_MAX": "2",
    "LC_ALL": "C.UTF-8",
}


def command(fd: int, settings: Settings) -> list[str]:
    """Return the argv of a worker that talks on descriptor `fd`.

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
