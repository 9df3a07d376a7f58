"""A command on a real terminal: what it writes, and what the keyboard of that terminal does to it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

PATIENCE_S = 40.0
#: A start of Python with its site takes 0.01 to 0.02 s; the clock ticks every 0.01.
_START_CPU_S = 0.03
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A process that a terminal of `columns` controls, as a shell starts it in the foreground."""

    def __init__(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str], columns: int = 80
    ) -> None:
        self._ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self._raw = b""
        # setsid: the terminal becomes the session's; a shell that runs in the background has SIGINT ignored.
        self.process = subprocess.Popen(
            ["setsid", "--ctty", "env", "--default-signal=INT,HUP", *command],
            stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=dict(environment),
        )  # fmt: skip
        os.close(theirs)
        self._wait_for_program(command[0])

    @property
    def said(self) -> str:
        """What was written so far, without escape sequences."""
        return _ESCAPES.sub("", self._raw.decode(errors="replace")).replace("\r\n", "\n")

    def wait_for(self, words: str) -> None:
        """Read until the words were written. Raises AssertionError."""
        deadline = time.monotonic() + PATIENCE_S
        while words not in self.said:
            assert time.monotonic() < deadline, self.said
            assert self._read(0.1) or self.process.poll() is None, self.said

    def press_ctrl_c(self) -> int:
        """Press the keys; return how many characters were written before."""
        os.write(self._ours, b"\x03")
        return len(self.said)

    def wait(self) -> int:
        """Read to the end; return the exit code."""
        deadline = time.monotonic() + PATIENCE_S
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.said
            self._read(0.02)
        while self._read(0.0):
            pass
        return self.process.returncode

    def _wait_for_program(self, program: str) -> None:
        """Return when the terminal's keys reach it."""
        while Path(f"/proc/{self.process.pid}/cmdline").read_bytes().split(b"\0")[0] != program.encode():
            time.sleep(0.001)
        # Before the interpreter has started by itself, Ctrl-C is no matter of ours. Counted in CPU: on a busy machine
        # that start takes long.
        deadline = time.monotonic() + PATIENCE_S
        while (
            self.process.poll() is None and psutil.Process(self.process.pid).cpu_times().user < _START_CPU_S
        ):
            assert time.monotonic() < deadline, "it does not start"
            time.sleep(0.001)

    def hang_up(self) -> int:
        """Close the terminal, as its window does; return the exit code."""
        os.close(self._ours)
        return self.process.wait(PATIENCE_S)

    def close(self) -> None:
        """End it, whatever it does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        os.close(self._ours)

    def _read(self, patience_s: float) -> bool:
        if not select.select([self._ours], [], [], patience_s)[0]:
            return False
        with contextlib.suppress(OSError):  # Nobody has the other end open any more.
            came = os.read(self._ours, 65_536)
            self._raw += came
            return bool(came)
        return False


def processes_of(folder: Path) -> list[str]:
    """The command lines of processes whose TMPDIR is this folder: a command's, and those of all that it started."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"TMPDIR={folder}".encode() in (each / "environ").read_bytes().split(b"\0"):
                found.append((each / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return found
