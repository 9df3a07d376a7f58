"""One worker process: started by exec with an empty environment, watched through a pidfd, its stderr kept short.

Rule 1: the child inherits its socket's end and nothing else: no environment, no descriptor, no terminal.
Rule 2: the exit is told once, after the last messages of the process were read.
Rule 3: where the kernel refuses a step of the start, nothing is left: no descriptor, no child, no callback.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from fastproc.core.fields import fields
from fastproc.ipc import channel, launch
from fastproc.ipc.messages import FromWorker, Settings, Task
from fastproc.supervisor.workers.task import KILLED

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
        self._on_wrong, self._on_exit = on_wrong, on_exit
        self.gone = asyncio.Event()
        self._stderr = bytearray()
        self._window = (0.0, 0)
        self._lingering: asyncio.TimerHandle | None = None
        self._killed = False
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as undo:
            ours, theirs = channel.pair()
            self._channel = channel.SupervisorChannel(ours)
            undo.callback(self._channel.close)
            with theirs:
                self._process, self._errors = _started(theirs.fileno(), settings)
            undo.callback(self._discard)
            self.pid = self._process.pid
            self._channel.listen(on_message, self._channel_ended)
            self._pidfd = os.pidfd_open(self.pid)
            undo.callback(os.close, self._pidfd)
            loop.add_reader(self._pidfd, self._ended)
            undo.callback(loop.remove_reader, self._pidfd)
            loop.add_reader(self._errors, self._read_stderr)
            undo.pop_all()
        log.debug("worker %d has started", slot, extra=fields(slot=slot, pid=self.pid))

    def send(self, task: Task, fds: Sequence[int]) -> None:
        """Give it a task. Raises OSError when it does not take it."""
        self._channel.send(task, fds)

    def stop(self) -> None:
        """Close the channel: the worker ends by itself."""
        self._channel.close()

    def kill(self) -> None:
        """SIGKILL; `on_exit` follows."""
        self._killed = True
        self._process.kill()

    @property
    def threads(self) -> int:
        """How many threads it has; 0 where that cannot be seen."""
        try:
            # man 5 proc: num_threads is the 18th field behind the name, which may hold anything.
            return int(Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[17])
        except (OSError, ValueError, IndexError):
            return 0

    @property
    def rss_bytes(self) -> int:
        """Its resident memory; 0 where that cannot be seen."""
        try:
            # man 5 proc: statm is in pages, the resident ones second.
            return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * resource.getpagesize()
        except (OSError, ValueError, IndexError):
            return 0

    def _discard(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._errors)

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
        loop.remove_reader(self._errors)
        os.close(self._errors)
        self.gone.set()
        self._on_exit(_how(code, ordered=self._killed))

    def _read_stderr(self) -> None:
        try:
            part = os.read(self._errors, 65536)
        except BlockingIOError:
            return
        loop = asyncio.get_running_loop()
        if not part:
            loop.remove_reader(self._errors)
        self._stderr = (self._stderr + part)[-STDERR_TAIL_BYTES:]
        since, count = self._window
        if loop.time() - since > STDERR_WINDOW_S:
            since, count = loop.time(), 0
        self._window = (since, count + len(part))
        if count + len(part) > STDERR_FLOOD_BYTES:
            loop.remove_reader(self._errors)
            self._on_wrong("it floods its stderr")

    @property
    def said(self) -> str:
        """The end of what it wrote to stderr."""
        return self._stderr.decode("utf-8", "replace").strip()


def _started(fd: int, settings: Settings) -> tuple[subprocess.Popen[bytes], int]:
    """Start a worker whose channel is `fd`; return it and the end of its stderr, which the caller closes.

    The pipe is made here: where a descriptor is refused, `subprocess` of Python 3.11 leaks those that it has opened.
    Raises OSError.
    """
    with contextlib.ExitStack() as undo, open(os.devnull, "r+b", buffering=0) as nothing:
        errors, theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        undo.callback(os.close, errors)
        with open(theirs, "wb", buffering=0) as their_errors:
            os.set_blocking(theirs, True)
            process = subprocess.Popen(
                launch.command(fd, settings),
                stdin=nothing,
                stdout=nothing,
                stderr=their_errors,
                env=launch.ENVIRONMENT,
                pass_fds=(fd,),
                # What a terminal sends would end one that has not yet come to ignore it.
                process_group=0,
            )
        undo.pop_all()
    return process, errors


def _how(code: int, *, ordered: bool) -> str:
    if code >= 0:
        return f"exit code {code}"
    if code == -signal.SIGKILL:
        return "SIGKILL" if ordered else KILLED
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
