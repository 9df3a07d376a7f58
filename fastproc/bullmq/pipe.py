"""The connection that pipelines: commands issued in the same moment travel together, and replies come in order.

Rule 1: nothing is sent twice here. A command that may have been sent and was not answered ends in QueueUnavailable,
        "outcome unknown"; its caller finds out. A command that was not sent yet waits for the next connection, or is
        dropped when its caller has gone.
Rule 2: a lost connection is made again when there is something to send; attempts back off, and go on without end.
Rule 3: a server that answers that it is the wrong one (a replica, another node's keys) is left for where Redis is now,
        not more often than every LEAVE_EVERY_S.
Rule 4: no exception ends the task that owns the connection but its cancellation: what nobody expected costs the
        connection and the commands under way, as a lost connection does.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from fastproc.bullmq.address import REPLY_TIMEOUT_S, Connect
from fastproc.bullmq.connection import CONNECTION_ERRORS, Connection, ReplyError
from fastproc.bullmq.outage import Outage
from fastproc.bullmq.outgoing import Call, Make, Outgoing, end
from fastproc.bullmq.protocol import Arg
from fastproc.core.errors import QueueRefused, QueueUnavailable
from fastproc.core.pause import pause_s

log = logging.getLogger(__name__)

BACKOFF_S, BACKOFF_MAX_S = 0.05, 2.0
#: A server that stays the wrong one is asked again and again meanwhile; a new connection costs ten scripts.
LEAVE_EVERY_S = 2.0


class Pipe:
    """Pipelines commands over one connection, which one task owns.

    While a batch is under way the next one gathers, so the busier the service is, the fewer round trips and system
    calls a command costs. `outage` knows whether it works; `reconnects` counts the times the connection came back.
    """

    def __init__(self, connect: Connect, greeting: Sequence[Sequence[Arg]] = ()) -> None:
        """`greeting` is sent first on every new connection; its replies must not be errors."""
        self._connect = connect
        self._greeting = greeting
        self._outgoing = Outgoing()
        self._task: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._connection: Connection | None = None
        #: When the batch under way was sent, and the timer that looks after it.
        self._sent_at: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._late = False
        self._failures = 0
        self._left_at = -LEAVE_EVERY_S
        self.outage = Outage()
        self.reconnects = 0

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._connection is not None

    async def open(self) -> None:
        """Connect for the first time: one attempt. Raises QueueUnavailable with the reason."""
        try:
            self._connection = await self._greeted()
        except (*CONNECTION_ERRORS, ReplyError) as error:
            raise QueueUnavailable(_words(error)) from error
        self._task = asyncio.create_task(self._run(), name="redis-pipe")

    def call(self, *command: Arg, lazy: bool = False) -> asyncio.Future[Any]:
        """Send a command soon; the future brings its reply. A `lazy` one may wait for others (`outgoing`).

        Raises (from the future): QueueRefused (a ReplyError, or the pipe is closed), or QueueUnavailable when the
        reply never came.
        """
        return self._add(command, lazy=lazy)

    def call_late(self, make: Make) -> asyncio.Future[Any]:
        """Send the command that `make` returns when its turn has come, lazily; the future is as that of `call`."""
        return self._add(make, lazy=True)

    async def close(self) -> None:
        """Drop the connection; what waits ends in QueueUnavailable. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._leave()
        if self._timer is not None:
            self._timer.cancel()
        self._outgoing.close(QueueRefused("the connection is closed"))

    def _add(self, command: Sequence[Arg] | Make, *, lazy: bool) -> asyncio.Future[Any]:
        if self._task is None or self._task.done():
            return self._outgoing.refused(QueueRefused("the connection is closed"))
        return self._outgoing.add(command, lazy=lazy)

    async def _run(self) -> None:
        while True:
            await self._outgoing.due()
            batch: deque[Call] = deque()
            try:
                connection = self._connection or await self._reconnected()
                self._outgoing.fill(batch)
                if batch:
                    await self._exchange(connection, batch)
            except asyncio.CancelledError:
                _fail(batch, "the connection was closed before the reply")
                raise
            except Exception as error:
                _fail(batch, f"no reply: {_words(error)}")
                await self._lose(error)

    async def _exchange(self, connection: Connection, batch: deque[Call]) -> None:
        """Send the batch and hand out the replies; what is left in the batch got none. Raises what breaks."""
        wrong_server = ""
        self._sent_at = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(REPLY_TIMEOUT_S, self._look)
        try:
            await connection.send(command for command, _ in batch)
            while batch:
                try:
                    reply = await connection.read()
                except ReplyError as error:
                    # Only its own command fails of it.
                    error.command = batch[0][0]
                    reply = error
                    wrong_server = str(error) if error.wrong_server else wrong_server
                end(batch.popleft()[1], reply)
        except asyncio.CancelledError:
            late, self._late = self._late, False
            if late and self._task is not None and self._task.uncancel() == 0:
                raise TimeoutError from None
            raise
        finally:
            self._sent_at = None
        if not wrong_server:
            self._failures = 0
            self.outage.passed("connection")
        elif time.monotonic() - self._left_at >= LEAVE_EVERY_S:
            self._left_at = time.monotonic()
            self.outage.failed(
                "connection", f"this server is not the primary that has our keys: {wrong_server}"
            )
            await self._leave()

    def _look(self) -> None:
        """End a batch that waits for too long. One timer for all: one for each would be a quarter of a batch's cost."""
        self._timer = None
        if self._sent_at is None or self._task is None:
            return
        left_s = self._sent_at + REPLY_TIMEOUT_S - self._loop.time()
        if left_s > 0:
            self._timer = self._loop.call_later(left_s, self._look)
        else:
            self._late = True
            self._task.cancel()

    async def _reconnected(self) -> Connection:
        # The first attempt is made at once. Jitter, so that a fleet does not come back in step.
        if self._failures > 1:
            await asyncio.sleep(pause_s(self._failures - 1, BACKOFF_S, BACKOFF_MAX_S, random.random()))
        connection = self._connection = await self._greeted()
        self.reconnects += 1
        return connection

    async def _greeted(self) -> Connection:
        """Connect anew and send the greeting; nothing stays open when that fails."""
        async with asyncio.timeout(REPLY_TIMEOUT_S):
            connection = await self._connect()
            try:
                await connection.open()
                await connection.send(self._greeting)
                for _ in self._greeting:
                    await connection.read()
            except BaseException:
                await connection.drop()
                raise
        return connection

    async def _lose(self, error: Exception) -> None:
        self._failures += 1
        if not isinstance(error, (*CONNECTION_ERRORS, ReplyError)):
            log.error("redis: unexpected on the connection", exc_info=error)
        self.outage.failed("connection", _words(error))
        await self._leave()

    async def _leave(self) -> None:
        connection, self._connection = self._connection, None
        try:
            if connection is not None:
                await connection.drop()
        except Exception:
            # Rule 4. It is not used again in any case.
            log.exception("redis: a connection could not be dropped")


def _words(error: Exception) -> str:
    return str(error) or ("timed out" if isinstance(error, TimeoutError) else type(error).__name__)


def _fail(batch: deque[Call], why: str) -> None:
    while batch:
        end(batch.popleft()[1], QueueUnavailable(why))
