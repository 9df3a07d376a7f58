"""Where the main thread's CPU goes: its stacks, sampled by its own CPU clock, in the raw form of flame graphs.

A sampler that looks from outside (py-spy) goes by the clock on the wall: a loop that waits in the kernel fills two
thirds of its picture, and what wakes another process looks dear on a busy machine. Here a signal comes for each tick of
CPU that the thread has used (1 ms asked for; a kernel of 250 Hz gives 4 ms). Time in a library or in the kernel counts
for the Python line that called it; uvloop's own for the callback that it runs next.

    with sampled(Path("stacks")): ...      each line is `outer;inner;innermost COUNT`
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

#: man 2 timer_create: CLOCK_THREAD_CPUTIME_ID, SIGEV_THREAD_ID. Python has neither.
_THREAD_CPU, _TO_THREAD = 3, 4
_PERIOD_NS = 1_000_000


class _Event(ctypes.Structure):
    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signal", ctypes.c_int),
        ("how", ctypes.c_int),
        ("thread", ctypes.c_int),
        ("rest", ctypes.c_int * 11),  # The kernel's is 64 bytes long.
    )


class _Interval(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_long) for name in ("every_s", "every_ns", "first_s", "first_ns"))


@contextlib.contextmanager
def sampled(file: Path) -> Iterator[None]:
    """Sample the main thread, which calls this, while the block runs; then write the file. Raises OSError."""
    stacks: Counter[str] = Counter()
    signal.signal(signal.SIGPROF, lambda _number, frame: stacks.update((_stack(frame),)))
    # glibc before 2.34 has these functions in a library of their own.
    libc, timer = ctypes.CDLL("librt.so.1", use_errno=True), ctypes.c_void_p()
    event = _Event(signal=signal.SIGPROF, how=_TO_THREAD, thread=threading.get_native_id())
    _check(libc.timer_create(_THREAD_CPU, ctypes.byref(event), ctypes.byref(timer)))
    every = _Interval(0, _PERIOD_NS, 0, _PERIOD_NS)
    _check(libc.timer_settime(timer, 0, ctypes.byref(every), None))
    try:
        yield
    finally:
        _check(libc.timer_delete(timer))
        file.write_text("".join(f"{stack} {count}\n" for stack, count in stacks.items()))


def _check(code: int) -> None:
    if code:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _stack(frame: FrameType | None) -> str:
    names = []
    while frame is not None:
        code = frame.f_code
        file = code.co_filename
        inside = next((file[len(path) + 1 :] for path in _PATHS if file.startswith(f"{path}/")), file)
        names.append(f"{code.co_qualname} ({inside}:{frame.f_lineno})")
        frame = frame.f_back
    return ";".join(reversed(names))


#: The longest first, so that a file is named by what is imported.
_PATHS = sorted({str(Path(__file__).parents[1]), *filter(None, sys.path)}, key=len, reverse=True)
