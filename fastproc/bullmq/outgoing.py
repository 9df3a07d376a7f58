"""Commands that wait to be sent, and when the next batch of them is due.

Most of what a command costs, here and in Redis, is the write in which it travels. So a command that nobody waits for is
lazy: it waits for the next one that is not, LINGER_S at most.

Rule 1: commands are sent in their order, lazy or not.
Rule 2: a command whose caller has gone is not sent.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from fastproc.bullmq.protocol import Arg
from fastproc.core.errors import QueueUnavailable

#: Commands of one batch at most, so that a long queue does not make one giant write.
MAX_BATCH = 256
#: Longest wait of a lazy command for others to travel with. tuning.md
LINGER_S = 0.008

#: Returns a command, asked when it is sent.
Make = Callable[[], Sequence[Arg]]
#: A command that is sent, and the future that brings its reply.
Call = tuple[Sequence[Arg], asyncio.Future[Any]]


class Outgoing:
    """The line of commands, in the loop that is running when it is made."""

    def __init__(self) -> None:
        # Asking for the running loop each time would be a system call each time (Python 3.11).
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[Sequence[Arg] | Make, asyncio.Future[Any]]] = deque()
        self._due = asyncio.Event()
        self._linger: asyncio.TimerHandle | None = None

    def add(self, command: Sequence[Arg] | Make, *, lazy: bool) -> asyncio.Future[Any]:
        """Put a command at the end; return the future that brings its reply."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.append((command, future))
        if not lazy:
            self._due.set()
        elif self._linger is None and not self._due.is_set():
            self._linger = self._loop.call_later(LINGER_S, self._due.set)
        return future

    def refused(self, error: QueueUnavailable) -> asyncio.Future[Any]:
        """Return the future of a command that will not be sent."""
        future: asyncio.Future[Any] = self._loop.create_future()
        end(future, error)
        return future

    async def due(self) -> None:
        """Wait until a batch is due."""
        await self._due.wait()

    def fill(self, batch: deque[Call]) -> None:
        """Move what is to be sent now into the batch, lazy commands too."""
        self._stop_lingering()
        while self._waiting and len(batch) < MAX_BATCH:
            command, future = self._waiting.popleft()
            if not future.done():
                batch.append((command() if callable(command) else command, future))
        if not self._waiting:
            self._due.clear()

    def close(self, error: QueueUnavailable) -> None:
        """End everything that waits. Idempotent."""
        self._stop_lingering()
        while self._waiting:
            end(self._waiting.popleft()[1], error)

    def _stop_lingering(self) -> None:
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None


def end(future: asyncio.Future[Any], outcome: Any) -> None:
    """Give the future its outcome, where its caller still waits."""
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
        # A caller that has gone must not make the loop complain about an exception never retrieved.
        future.exception()
    else:
        future.set_result(outcome)
