"""One worker process: started by exec with an empty environment, watched through a pidfd, its stderr kept short.

Rule 1: the child inherits its socket's end and nothing else: no environment, no descriptor, no terminal.
Rule 2: the exit is told once, after the last messages of the process were read.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
from collections.abc import Callable, Sequence

from fastproc.ipc import channel, launch
from fastproc.ipc.messages import FromWorker, Settings, Task

log = logging.getLogger(__name__)

#: What is kept of a worker's stderr, for the log line of its death.
STDERR_TAIL_BYTES = 4096
#: A worker that writes more than this to stderr in one window is killed: reading it takes the service's own time.
STDERR_FLOOD_BYTES = 1 << 20
STDERR_WINDOW_S = 10.0
#: Between a worker's closed channel and its exit, in seconds; SIGKILL takes 2 to 5 ms here.
LINGER_S = 1.0


class WorkerProcess:
    """A running worker of slot `slot`."""

    def __init__(
        self,
        slot: int,
        settings: Settings,
        on_message: Callable[[FromWorker], None],
        on_wrong: Callable[[str], None],
        on_exit: Callable[[str], None],
    ) -> None:
        """Spawn it. `on_wrong` hears of a broken protocol, `on_exit` how the process ended. Raises OSError."""
        self._slot, self._on_exit = slot, on_exit
        ours, theirs = channel.pair()
        with theirs:
            self._process = subprocess.Popen(
                launch.command(theirs.fileno(), settings),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=launch.ENVIRONMENT,
                pass_fds=(theirs.fileno(),),
            )
        self.pid = self._process.pid
        self.gone = asyncio.Event()
        self._stderr = bytearray()
        self._window = (0.0, 0)
        self._channel = channel.SupervisorChannel(ours)
        self._on_wrong = on_wrong
        self._lingering: asyncio.TimerHandle | None = None
        self._channel.listen(on_message, self._channel_ended)
        loop = asyncio.get_running_loop()
        self._pidfd = os.pidfd_open(self.pid)
        loop.add_reader(self._pidfd, self._ended)
        assert self._process.stderr is not None
        os.set_blocking(self._process.stderr.fileno(), False)
        loop.add_reader(self._process.stderr.fileno(), self._read_stderr)

    def send(self, task: Task, fds: Sequence[int]) -> None:
        """Give it a task. Raises OSError when it does not take it."""
        self._channel.send(task, fds)

    def stop(self) -> None:
        """Close the channel: the worker ends by itself."""
        self._channel.close()

    def kill(self) -> None:
        """SIGKILL; `on_exit` follows."""
        self._process.kill()

    def _channel_ended(self, wrong: str) -> None:
        if wrong:
            self._on_wrong(wrong)
            return
        # The end comes a moment before the process is gone, whose way to end says more. Only the supervisor may
        # close the channel of a process that lives on.
        loop = asyncio.get_running_loop()
        self._lingering = loop.call_later(LINGER_S, self._on_wrong, "it closed its channel and lives on")

    def _ended(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        # What it said before it died counts: a task may be done already.
        self._channel.drain()
        self._channel.close()
        if self._lingering:
            self._lingering.cancel()
        code = self._process.wait()
        self._read_stderr()
        assert self._process.stderr is not None
        loop.remove_reader(self._process.stderr.fileno())
        self._process.stderr.close()
        how = _how(code)
        if code:
            words = f"; it said: {self.said}" if self.said else ""
            log.warning("worker %d (pid %d): %s%s", self._slot, self.pid, how, words)
        self.gone.set()
        self._on_exit(how)

    def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        try:
            part = os.read(self._process.stderr.fileno(), 65536)
        except BlockingIOError:
            return
        loop = asyncio.get_running_loop()
        if not part:
            loop.remove_reader(self._process.stderr.fileno())
        self._stderr = (self._stderr + part)[-STDERR_TAIL_BYTES:]
        since, count = self._window
        if loop.time() - since > STDERR_WINDOW_S:
            since, count = loop.time(), 0
        self._window = (since, count + len(part))
        if count + len(part) > STDERR_FLOOD_BYTES:
            loop.remove_reader(self._process.stderr.fileno())
            self._on_wrong("it floods its stderr")

    @property
    def said(self) -> str:
        """The end of what it wrote to stderr."""
        return self._stderr.decode("utf-8", "replace").strip()


def _how(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    hint = ", perhaps the container is out of memory" if code == -signal.SIGKILL else ""
    try:
        return f"{signal.Signals(-code).name}{hint}"
    except ValueError:
        return f"signal {-code}"
