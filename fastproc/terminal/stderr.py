"""Writes lines to stderr and waits for no reader: a terminal that was stopped, or a log collector, holds no job up.

Rule 1: a line goes out at once where there is room for it. Else it waits in memory, and a thread writes what waits.
Rule 2: what does not fit there is dropped, and `on_dropped` is told how many lines, when stderr takes some again.
Rule 3: a stderr that is broken (a closed pipe, a full disk) takes nothing, and nobody else notices.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Callable
from typing import Final

#: What a pipe that can be written to takes without a wait. Source: man 7 pipe, PIPE_BUF.
AT_ONCE_BYTES: Final = select.PIPE_BUF
#: Lines that wait: a minute of `debug` under load; less than one photo.
MAX_WAITING_BYTES: Final = 1 << 20
#: What waits when the process ends has so long.
LAST_S: Final = 1.0


class Stderr:
    """Lines for descriptor `fd`. One caller at a time; `on_dropped` is called by the thread."""

    def __init__(self, fd: int, on_dropped: Callable[[int], None]) -> None:
        self._fd, self._on_dropped = fd, on_dropped
        self._room = select.poll()
        self._room.register(fd, select.POLLOUT)
        # One that has room for some bytes waits in the write of more; a pipe that has room has it for a line.
        self._is_terminal = os.isatty(fd)
        # A signal may log while its thread does.
        self._lock = threading.RLock()
        self._waiting: list[bytes] = []
        self._waiting_bytes = self._dropped = 0
        self._thread: threading.Thread | None = None

    def write(self, line: bytes) -> None:
        """Write the line, now or later."""
        if self._thread is None and len(line) <= AT_ONCE_BYTES and self._has_room():
            with contextlib.suppress(OSError):
                os.write(self._fd, line)
            return
        with self._lock:
            if self._waiting_bytes + len(line) > MAX_WAITING_BYTES:
                self._dropped += 1
                return
            self._waiting.append(line)
            self._waiting_bytes += len(line)
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_waiting, name="log", daemon=True)
                self._thread.start()

    def flush(self) -> None:
        """Wait a moment until nothing waits any more."""
        if thread := self._thread:
            thread.join(LAST_S)

    def _has_room(self) -> bool:
        # A pipe that nobody reads any more is not waited for either: the write fails at once.
        return not self._is_terminal and bool(self._room.poll(0))

    def _write_waiting(self) -> None:
        while lines := self._taken():
            with contextlib.suppress(OSError):
                for line in lines:
                    _write_all(self._fd, line)
            with self._lock:
                self._waiting_bytes -= sum(map(len, lines))
                dropped, self._dropped = self._dropped, 0
            if dropped:
                self._on_dropped(dropped)

    def _taken(self) -> list[bytes]:
        with self._lock:
            lines, self._waiting = self._waiting, []
            if not lines:
                self._thread = None
            return lines


def _write_all(fd: int, line: bytes) -> None:
    left = memoryview(line)
    while left:
        try:
            left = left[os.write(fd, left) :]
        except BlockingIOError:
            # Whoever shares it has set O_NONBLOCK on it.
            select.select([], [fd], [])
