"""Ends a command from outside, by Ctrl-C, SIGTERM or a terminal that closes: at once, in one line, all put away.

Rule 1: before a command is at work (imports, settings) nothing has to be put away: the process ends on the spot.
Rule 2: at work, its task is cancelled: between two steps, or within one that computes or waits in this thread (a
        picture that is painted, a server that is waited for). Each second again, because libraries lose cancellations;
        `once` for a command that cleans up for longer, which the second signal cuts short.
Rule 3: what must not be left half done (a server that is started, a folder that is removed) is `held`.
Rule 4: the exit code is 128 and the signal's number, as a shell counts it.
Rule 5: signals that are ignored stay so: a shell has SIGINT ignored in what it starts in the background, and `nohup`
        SIGHUP. `fastproc run` has its own answer to signals from when it serves (`commands.run`).
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Task

_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: Seconds after which a task that still runs is cancelled again, and that the tasks beside it have to end.
_AGAIN_S: Final = 1.0


class _Attended:
    """What is known of the command that runs: its task, the signal that came, and what waits for a held block."""

    def __init__(self) -> None:
        self.task: Task[Any] | None = None
        self.once = False
        self.is_service = False
        self.number = 0
        self.held = 0
        self.waiting = 0


_now = _Attended()


def install(*, is_service: bool = False) -> None:
    """Let signals end this process as above. To be called before anything slow is imported.

    `is_service`: the last words are a line of its log.
    """
    _now.is_service = is_service
    for number in _ENDING:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _came)


@contextmanager
def attended(task: Task[Any], *, once: bool) -> Iterator[None]:
    """Let signals cancel this task, the command's own, during the block."""
    _now.task, _now.once, _now.number = task, once, 0
    try:
        yield
    finally:
        _now.task = None


def came() -> bool:
    """Whether a signal has cancelled the command."""
    return _now.number != 0


@contextmanager
def held() -> Iterator[None]:
    """Let a signal wait until the block ends. In other threads than the main one nothing is interrupted anyway."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _now.held += 1
    try:
        yield
    finally:
        _now.held -= 1
        if _now.waiting and not _now.held:
            number, _now.waiting = _now.waiting, 0
            _came(number)


def end(loop: AbstractEventLoop) -> NoReturn:
    """End the process, after the tasks beside the command's had a moment: threads of libraries may hang, so no more."""
    import asyncio

    if left := asyncio.all_tasks(loop):
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.wait(left, timeout=_AGAIN_S))
    _leave(_now.number)


def _came(number: int, _frame: object = None) -> None:
    if _now.held:
        _now.waiting = number
    elif _now.task is None:
        _leave(number)
    else:
        _cancel(_now.task, number)


def _cancel(task: Task[Any], number: int) -> None:
    import asyncio
    import logging

    is_first, _now.number = not _now.number, number
    # What is torn down in a hurry has much to say, and nothing that anybody needs.
    logging.disable()
    loop = task.get_loop()
    if not _now.once:
        loop.call_later(_AGAIN_S, _again, number)
    if is_first and asyncio.current_task(loop) is task:
        raise asyncio.CancelledError
    task.cancel()
    loop.call_soon_threadsafe(lambda: None)  # It may sleep.


def _again(number: int) -> None:
    if _now.task is not None and not _now.task.done():
        _cancel(_now.task, number)


def _leave(number: int) -> NoReturn:
    # A terminal has written `^C` where this line begins.
    beginning = "\r" if sys.stderr.isatty() else ""
    words = f"exit {128 + number} ({signal.Signals(number).name})"
    line = _logged(words) if _now.is_service else f"fastproc: {words}"
    # A terminal that has closed, or a pipe that nobody reads, takes no words: the code is the same.
    # RuntimeError: the signal came while it was being written to.
    with suppress(OSError, RuntimeError):
        sys.stdout.flush()
    with suppress(OSError):
        if select.select([], [2], [], 0)[1]:
            os.write(2, f"{beginning}{line}\n".encode())
    os._exit(128 + number)


def _logged(words: str) -> str:
    """The words as `terminal.logs` would write them, which may not be imported yet."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
    about = {"time": f"{now}Z", "level": "info", "logger": "fastproc"}
    if os.environ.get("LOG_FORMAT", "").strip().lower() == "json":
        return json.dumps({**about, "message": words})
    return " ".join(f"{name}={value}" for name, value in about.items()) + f' message="{words}"'
