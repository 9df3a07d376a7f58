"""One supervisor process as the master sees it: started by exec, asked over its link, watched through a pidfd.

Rule 1: its end is told once, after the last message that it sent was read.
Rule 2: it inherits the environment (it reads the same settings), standard error, and its end of the link; no other
        descriptor.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from typing import Final

from fastproc.core.control import Order
from fastproc.core.shares import Share
from fastproc.ipc import link
from fastproc.ipc.errands import Done, Errand, What
from fastproc.ipc.link import Ask, Kept, OutageTold, Serving, Stop, Told

log = logging.getLogger(__name__)

#: An answer takes a millisecond or two. Probes of orchestrators wait 2 or 3 s (deploy, Dockerfile).
ANSWER_S: Final = 1.0

#: Returns the argv of the supervisor with this share whose link is this descriptor.
Command = Callable[[int, Share], list[str]]


class SupervisorProcess:
    """A running supervisor. `told`: what it told last."""

    def __init__(
        self,
        share: Share,
        command: Command,
        on_serving: Callable[[], None],
        on_outage: Callable[[OutageTold], None] = lambda told: None,
        on_kept: Callable[[Sequence[Order]], None] = lambda orders: None,
    ) -> None:
        """Spawn it. `on_outage` hears of outages, `on_kept` of orders that it has obeyed. Raises OSError."""
        self._on_serving, self._on_outage, self._on_kept = on_serving, on_outage, on_kept
        self._link: link.Link[link.FromSupervisor] | None = None
        self._stop: Stop | None = None
        self._early: Sequence[Order] = ()
        self._asked: asyncio.Future[Told | None] | None = None
        self._errands: dict[int, asyncio.Future[Done | None]] = {}
        self._numbers = itertools.count(1)
        self.told: Told | None = None
        self._gone = asyncio.Event()
        with contextlib.ExitStack() as undo:
            self._end, theirs = link.pair()
            undo.callback(self._end.close)
            with theirs:
                argv = command(theirs.fileno(), share)
                # A process group of its own: what a terminal sends reaches the master alone, which passes it on once.
                self._process = subprocess.Popen(
                    argv, stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(),), process_group=0
                )
            undo.callback(self._process.wait)
            undo.callback(self._process.kill)
            self.pid = self._process.pid
            self._pidfd = os.pidfd_open(self.pid)
            asyncio.get_running_loop().add_reader(self._pidfd, self._ended)
            undo.pop_all()

    async def run(self) -> int:
        """Read what it tells, until its process has ended; return the exit code, negative for a signal."""
        self._link = await link.master_end(self._end)
        self.keep(self._early)
        if self._stop:
            self._link.send(self._stop)
        try:
            while (message := await self._link.receive()) is not None:
                self._hear(message)
        except ValueError as error:
            log.error(
                "supervisor with pid %d: a message that cannot be read (%s); it is killed", self.pid, error
            )
            self.kill()
        await self._gone.wait()
        self._answered(None)
        for errand in self._errands.values():
            if not errand.done():
                errand.set_result(None)
        await self._link.close()
        return self._process.wait()

    async def ask(self) -> Told | None:
        """Return what it tells now; None where it does not answer, or does not yet."""
        if self._link is None or self._gone.is_set():
            return None
        if self._asked is None:
            self._asked = asyncio.get_running_loop().create_future()
            self._link.send(Ask())
        try:
            async with asyncio.timeout(ANSWER_S):
                return await asyncio.shield(self._asked)
        except TimeoutError:
            return None

    async def run_errand(self, what: What, within_s: float) -> Done | None:
        """Return its answer; None where it does not answer in that time, or does not yet."""
        if self._link is None or self._gone.is_set():
            return None
        number = next(self._numbers)
        answer: asyncio.Future[Done | None] = asyncio.get_running_loop().create_future()
        self._errands[number] = answer
        self._link.send(Errand(number, what))
        try:
            async with asyncio.timeout(within_s):
                return await answer
        except TimeoutError:
            return None
        finally:
            del self._errands[number]

    def stop(self, *, hurry: bool) -> None:
        """Tell it to stop. Repeated, it changes nothing but the hurry."""
        self._stop = Stop(hurry)
        if self._link and not self._gone.is_set():
            self._link.send(self._stop)

    def keep(self, orders: Sequence[Order]) -> None:
        """Tell it orders that hold, as soon as it can hear."""
        self._early = orders
        if self._link and orders and not self._gone.is_set():
            self._link.send(Kept(tuple(orders)))

    def kill(self) -> None:
        """SIGKILL; its end follows. Its workers see the end of their channel."""
        self._process.kill()

    def _hear(self, message: link.FromSupervisor) -> None:
        match message:
            case Serving():
                self._on_serving()
            case OutageTold():
                self._on_outage(message)
            case Kept(orders=orders):
                self._on_kept(orders)
            case Told():
                self.told = message
                self._answered(message)
            case Done(number=number) if (errand := self._errands.get(number)) and not errand.done():
                errand.set_result(message)

    def _answered(self, told: Told | None) -> None:
        if self._asked and not self._asked.done():
            self._asked.set_result(told)
        self._asked = None

    def _ended(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._gone.set()


def how(code: int) -> str:
    """Return the words for an exit code."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
