"""The whole terminal for a view that changes, and how a person or a signal ends it at once.

Rule 1: whatever ends the view, the terminal is as it was: the main screen, the cursor, the echo of keys.
Rule 2: a frame is written in one go over the one before, so that nothing flickers; another size is drawn at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import termios
import tty
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

#: Returns the lines of a view that is so many columns wide.
Draw = Callable[[int], Sequence[Text]]
#: Keys that end a view; Ctrl-C comes as a signal, and as a byte where a terminal sends none.
ENDING = b"qQ\x03"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Screen:
    """The alternate screen. Made and used within a running loop."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._live = Live(console=self._console, screen=True, auto_refresh=False, redirect_stderr=False)
        self._draw: Draw = lambda width: []

    def __enter__(self) -> Screen:
        self._live.start()
        asyncio.get_running_loop().add_signal_handler(signal.SIGWINCH, self._redraw)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGWINCH)
        self._live.stop()

    def show(self, draw: Draw) -> None:
        """Show a view in place of the one before."""
        self._draw = draw
        self._redraw()

    def _redraw(self) -> None:
        width, height = self._console.size
        found = self._draw(width)[:height]
        self._live.update(Group(*found), refresh=True)


@contextlib.asynccontextmanager
async def interruptible(*, keys: bool = True) -> AsyncIterator[asyncio.Event]:
    """Give an event that is set when a key (where there is a terminal) or a signal ends what the block does."""
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    # One that is ignored (`nohup`) stays so.
    heard = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.getsignal(number) for number in heard}
    for number in heard:
        loop.add_signal_handler(number, stopped.set)
    with _pressed(loop, stopped) if keys and sys.stdin.isatty() else contextlib.nullcontext():
        try:
            yield stopped
        finally:
            for number in heard:
                loop.remove_signal_handler(number)
                signal.signal(number, before[number])


@contextlib.contextmanager
def _pressed(loop: asyncio.AbstractEventLoop, stopped: asyncio.Event) -> Iterator[None]:
    """Hear keys one by one, without their echo."""
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal, termios.TCSANOW)

    def read() -> None:
        found = os.read(terminal, 64)
        if not found or set(found) & set(ENDING):
            stopped.set()

    loop.add_reader(terminal, read)
    try:
        yield
    finally:
        loop.remove_reader(terminal)
        termios.tcsetattr(terminal, termios.TCSANOW, before)
