"""`fastproc top` in a real terminal (a pty): the whole screen, any size, and an end that leaves it as it was."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator

import pytest

from fastproc.embedded.valkey import Valkey
from tests.integration.service import PATIENCE_S

ENTER, LEAVE, HIDE, SHOW = (b"\x1b[?" + code for code in (b"1049h", b"1049l", b"25l", b"25h"))


class Terminal:
    """`fastproc top` in a terminal of so many columns and rows; `said` is all that it wrote."""

    def __init__(self, environment: dict[str, str], columns: int = 80, rows: int = 24) -> None:
        self.end, theirs = pty.openpty()
        self.resize(columns, rows)
        self.before = termios.tcgetattr(self.end)
        self.process = subprocess.Popen(
            # A suite that runs in a shell's background has SIGINT ignored, and so would have what it starts.
            ["env", "--default-signal=INT", sys.executable, "-m", "fastproc", "top"],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={"TERM": "xterm-256color", **environment},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        self.said = b""

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.end, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def until(self, words: bytes, *, after: int = 0) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while words not in self.said[after:]:
            assert time.monotonic() < deadline, self.said[after:]
            if select.select([self.end], [], [], 0.1)[0]:
                self.said += os.read(self.end, 65536)

    def ended(self) -> int:
        """Read to the end; return the exit code."""
        deadline = time.monotonic() + PATIENCE_S
        # The kernel says so when nobody has the other end any more.
        with contextlib.suppress(OSError):
            while time.monotonic() < deadline:
                if select.select([self.end], [], [], 0.1)[0]:
                    self.said += os.read(self.end, 65536)
        return self.process.wait(1.0)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.end)


@pytest.fixture
def environment(valkey: Valkey, unique: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "REDIS_HOST": valkey.host,
        "REDIS_PORT": str(valkey.port),
        "QUEUE_NAME": unique,
    }


@pytest.fixture
def terminal(environment: dict[str, str]) -> Iterator[Terminal]:
    opened = Terminal(environment)
    yield opened
    opened.close()


@pytest.mark.parametrize("how", ["q", "ctrl-c", "sigterm"])
def test_it_ends_at_once_and_leaves_the_terminal_as_it_was(terminal: Terminal, how: str) -> None:
    terminal.until(b"no service is running")
    assert ENTER in terminal.said
    # A frame is written over the one before: the screen is not cleared in between.
    frames = terminal.said.split(ENTER)[1]
    assert b"\x1b[2J" not in frames.split(b"no service is running", 1)[1]
    if how == "sigterm":
        terminal.process.send_signal(signal.SIGTERM)
    else:
        os.write(terminal.end, b"q" if how == "q" else b"\x03")
    assert terminal.ended() == 0
    assert terminal.said.count(LEAVE) == 1
    assert terminal.said.rfind(SHOW) > terminal.said.rfind(HIDE)
    assert b"Traceback" not in terminal.said
    assert termios.tcgetattr(terminal.end) == terminal.before


def test_another_size_is_drawn_at_once(terminal: Terminal) -> None:
    terminal.until(b"no service is running")
    terminal.resize(60, 10)
    seen = len(terminal.said)
    terminal.process.send_signal(signal.SIGWINCH)
    # In 80 columns the remedy is broken elsewhere.
    terminal.until(b"look at its log", after=seen)
    os.write(terminal.end, b"q")
    assert terminal.ended() == 0


def test_redis_that_is_away_is_said_and_it_goes_on(environment: dict[str, str]) -> None:
    terminal = Terminal({**environment, "REDIS_PORT": "1"})
    try:
        terminal.until(b"it is tried again")
        seen = len(terminal.said)
        terminal.until(b"it is tried again", after=seen)
        os.write(terminal.end, b"q")
        assert terminal.ended() == 0
    finally:
        terminal.close()


def test_a_terminal_that_cannot_move_its_cursor_gets_one_frame_as_text(environment: dict[str, str]) -> None:
    terminal = Terminal({**environment, "TERM": "dumb"})
    try:
        assert terminal.ended() == 0
        assert b"no service is running" in terminal.said
        assert b"\x1b" not in terminal.said
    finally:
        terminal.close()
