"""Runs one server as a child process that cannot outlive its owner: ports, log, readiness, end.

Rule 1: the kernel kills the child when its owner dies, however that happens (PDEATHSIG). Linux ties that to the
        *thread* that called `spawn`, so call it on a thread that lives as long as the server must.
Rule 2: the child writes to a log in its own folder; a failure shows the end of that log.
Rule 3: Ctrl-C does not reach it: it has a session of its own, and its owner ends it when what uses it has ended.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from fastproc import interruption
from fastproc.core.errors import FastprocError

HOST = "127.0.0.1"

#: Asks the kernel for SIGKILL when the parent dies, then becomes the server. A program and not `preexec_fn`, which
#: is unsafe where threads run. The comparison finds out whether the parent died before the request.
_LAUNCH = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9);"
    "os.getppid() == int(sys.argv[1]) and os.execv(sys.argv[2], sys.argv[2:])"
)

#: Another process can take a port between our check and the server's bind; a third collision in a row is not chance.
_TRIES = 3


def dies_with_us(command: list[str]) -> list[str]:
    """Return the command line by which a program is ended when the thread that starts it ends (rule 1)."""
    return [sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid()), *command]


class ServerFailed(FastprocError):
    """An embedded server did not start. The message ends with the last lines of its log."""


class Child:
    """One server process: started, watched until ready, ended."""

    def __init__(self, folder: Path, name: str, *, end: signal.Signals = signal.SIGTERM) -> None:
        """`end` is the signal by which the server is asked to end."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder.resolve()
        self.log = self.folder / f"{name}.log"
        self._name, self._end = name, end
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The server's process id; 0 when it does not run."""
        return self._process.pid if self._process else 0

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def spawn(self, command: list[str], env: dict[str, str]) -> None:
        """Start the command and return at once."""
        with self.log.open("ab") as log, interruption.held():
            self._process = subprocess.Popen(
                dies_with_us(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=env,
                start_new_session=True,
            )

    def wait_until(self, ready: Callable[[], bool], respawn: Callable[[], None], timeout_s: float) -> None:
        """Poll `ready`; if the child ends, `respawn` it, at most twice. Raises ServerFailed, with the child stopped."""
        deadline = time.monotonic() + timeout_s
        tries = 1
        while not ready():
            if not self.alive:
                if tries == _TRIES:
                    raise self._failure(f"ended while starting, {_TRIES} times")
                tries += 1
                respawn()
            if time.monotonic() > deadline:
                self.stop(grace_s=0)
                raise self._failure(f"was not ready within {timeout_s:.0f} s")
            time.sleep(0.01)

    def _failure(self, why: str) -> ServerFailed:
        tail = self.log.read_text(errors="replace").splitlines()[-15:]
        return ServerFailed("\n  ".join([f"{self._name} {why}; the end of {self.log}:", *tail]))

    def terminate(self) -> None:
        """Ask the process to end."""
        if self._process and self.alive:
            self._process.send_signal(self._end)
            # A test may have stopped it (SIGSTOP): it would never act on another signal.
            self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL; `stop` waits for its end."""
        if self._process:
            self._process.kill()

    def stop(self, grace_s: float) -> None:
        """End the process, by SIGKILL after `grace_s`. Idempotent."""
        if self._process is None:
            return
        self.terminate()
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


_dice = random.SystemRandom()
_given: set[int] = set()


def free_ports(count: int) -> list[int]:
    """Return different loopback ports that nobody listens on.

    They are below the kernel's ephemeral range (from 32768), where any outgoing connection may take a port at any time.
    None is given twice: a server that is starting does not listen yet. The choice is the system's: processes whose
    dice have the same seed would all find the same ports.
    """
    found: set[int] = set()
    while len(found) < count:
        port = _dice.randrange(10_240, 32_768)
        if port in _given:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            found.add(port)
            _given.add(port)
    return list(found)


def packaged_binary(package: str, path: str, *, or_on_path: str) -> str:
    """Return the path of a program: `path` in an installed package, else the one on PATH. Raises ServerFailed."""
    for installed in metadata.distributions(name=package):
        for file in installed.files or ():
            if file.match(path):
                return os.path.realpath(str(file.locate()))
    if found := shutil.which(or_on_path):
        return found
    raise ServerFailed(f"{or_on_path} was not found: pip install {package} (or 'fastproc[demo]')")
