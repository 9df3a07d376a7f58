"""Bounds what a call costs by counts that no busy machine changes: lines of fastproc, bytes that Python allocates.

Rule 1: only lines of Python are counted, and each turn of a loop is some. What one call into C takes is not seen, but
        for the memory that it asks Python for.
"""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import fastproc

OURS = str(Path(fastproc.__file__).parent)


@contextmanager
def at_most(lines: int) -> Iterator[None]:
    """Fail where the block executes more lines, also where it raises; the name of the costly file is shown."""
    executed: dict[str, int] = {}

    def line(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            file = frame.f_code.co_filename
            executed[file] = executed.get(file, 0) + 1
        return line

    def function(frame: FrameType, event: str, _: Any) -> Any:
        return line if frame.f_code.co_filename.startswith(OURS) else None

    before = sys.gettrace()
    sys.settrace(function)
    try:
        yield
    finally:
        sys.settrace(before)
        assert sum(executed.values()) <= lines, f"{sum(executed.values())} lines: {executed}"


@contextmanager
def memory_at_most(size: int) -> Iterator[None]:
    """Fail where the block holds more bytes at one time."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= size, f"{peak} bytes"
