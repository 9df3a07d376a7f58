"""`fastproc run` as a process of its own, and what can be seen of it from outside.

Rule 1: the log goes to a file outside every disk that a test fills.
Rule 2: it cannot outlive the thread that started it, however a run ends.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import TypeVar

from fastproc.embedded.child import HOST, dies_with_us, free_ports
from fastproc.embedded.trial.invariants import Process

T = TypeVar("T")
Inside = AbstractContextManager[None]

#: No wait is shorter than this: two cores may have much else to do.
PATIENCE_S = 40.0


def eventually(condition: Callable[[], T], what: Callable[[], object], patience_s: float = PATIENCE_S) -> T:
    """Return the condition's first true value. Raises AssertionError that shows `what`."""
    deadline = time.monotonic() + patience_s
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience_s:g} s: {what()}")
        time.sleep(0.02)
    return found


class Service:
    """A running service; at the block's end it is killed, if it still runs."""

    def __init__(
        self, environment: Mapping[str, str], folder: Path, inside: Callable[[], Inside] = nullcontext
    ) -> None:
        """`inside` makes the block in which it is started and asked: that of another host, for example."""
        self.log = folder / f"service-{time.monotonic_ns()}.log"
        self._inside = inside
        self.port = free_ports(1)[0]
        with self.log.open("wb") as log, inside():
            self._process = subprocess.Popen(
                dies_with_us([sys.executable, "-m", "fastproc", "run"]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**environment, "HTTP_HOST": HOST, "HTTP_PORT": str(self.port)},
                cwd=folder,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> int | None:
        """The exit code; None while it runs."""
        return self._process.poll()

    @property
    def lines(self) -> list[str]:
        """The log."""
        return self.log.read_text(errors="replace").splitlines()

    def wait_ready(self) -> None:
        """Return when it takes jobs. Raises AssertionError when it ends, or takes too long."""

        def serves() -> bool:
            if self.ended is not None:
                raise AssertionError(f"the service has ended: {self.log.read_text(errors='replace')}")
            return any(" serves " in line for line in self.lines)

        eventually(serves, lambda: self.lines)

    def workers(self) -> list[int]:
        """Process ids of the workers."""
        try:
            return [
                int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
            ]
        except OSError:
            return []

    def processes(self) -> list[Process]:
        """The supervisor and its workers, as they are now."""
        return [found for pid in (self.pid, *self.workers()) if (found := _process(pid)) is not None]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the supervisor; one that has ended gets none."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it as a crash would; its workers end with it. May be called in any thread, and does not wait."""
        self._process.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self._process.send_signal(signal.SIGTERM)

    def wait(self, patience_s: float = PATIENCE_S) -> int:
        """Return the exit code. Raises AssertionError where it does not end."""
        try:
            return self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it still runs after {patience_s:g} s: {self.lines[-5:]}") from None

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of an HTTP answer; (0, reason) where there is none."""
        try:
            with (
                self._inside(),
                urllib.request.urlopen(f"http://{HOST}:{self.port}{path}", timeout=5) as answer,
            ):
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def close(self) -> None:
        """End it, if it still runs; a stopped one as well."""
        if self.ended is None:
            for worker in self.workers():
                with suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)
            self._process.kill()
            self._process.wait()


def _process(pid: int) -> Process | None:
    """A process as it is now; None where it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))
        # After the name, which may have spaces; utime and stime are fields 14 and 15. Source: proc(5).
        times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    except OSError:
        return None
    # Private memory: shared memory is the photos', which a budget bounds.
    memory = next((line.split()[1] for line in status.splitlines() if line.startswith("RssAnon:")), "0")
    cpu_s = sum(map(int, times)) / os.sysconf("SC_CLK_TCK")
    return Process(pid, int(memory) * 1024, descriptors, cpu_s)
