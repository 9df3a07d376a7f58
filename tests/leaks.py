"""What a process holds open, so that a test can say that nothing was left."""

from __future__ import annotations

import gc
import os
import time
from contextlib import suppress
from pathlib import Path

#: Opened once and kept, by libraries: no leak.
KEPT = ("/dev/urandom", "/dev/null")


def open_files() -> dict[int, str]:
    """Return this process's descriptors and what they refer to."""
    found: dict[int, str] = {}
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # The descriptor of this very listing is gone by now.
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return {number: target for number, target in found.items() if target not in KEPT}


def children() -> set[int]:
    """Return the process ids of this process's living children.

    The kernel's own list: to search all processes of the system takes milliseconds, for each of thousands of tests.
    """
    found = {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}
    for thread in os.listdir("/proc/self/task"):
        with suppress(OSError):  # The thread has ended meanwhile.
            found |= {int(pid) for pid in Path(f"/proc/self/task/{thread}/children").read_text().split()}
    return {pid for pid in found if not _ended(pid)}


def _ended(pid: int) -> bool:
    """Whether the process is gone, or a zombie that waits for its parent to ask."""
    try:
        # The name in parentheses may hold anything, a parenthesis too.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


class Held:
    """A snapshot of descriptors and children; `grown` tells what came since and did not go."""

    def __init__(self) -> None:
        self._files = open_files()
        self._children = children()

    def grown(self, patience_s: float = 1.0) -> list[str]:
        """Return one line a leak, after waiting up to `patience_s` for what is on its way out."""
        deadline = time.monotonic() + patience_s
        while (found := self._grown()) and time.monotonic() < deadline:
            gc.collect()
            time.sleep(0.02)
        return found

    def _grown(self) -> list[str]:
        files = open_files()
        # Numbers are reused and servers restarted, so what counts is how many there are; the names say which.
        more = len(files) - len(self._files)
        fresh = [
            f"fd {number}: {files[number]}" for number in files if self._files.get(number) != files[number]
        ]
        alive = children()
        born = [f"child process {pid}" for pid in alive - self._children]
        return (fresh if more > 0 else []) + (born if len(alive) > len(self._children) else [])
