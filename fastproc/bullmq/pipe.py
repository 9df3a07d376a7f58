"""The connection that pipelines: commands issued in the same moment travel together, and replies come in order.

Rule 1: nothing is sent twice here. A command that may have been sent and was not answered ends in QueueUnavailable,
        "outcome unknown"; its caller finds out. A command that was not sent yet waits for the next connection.
Rule 2: a lost connection is made again when there is something to send; attempts back off, go on without end, and
        are logged once, not each.
Rule 3: a server that answers that it is the wrong one (a replica, another node's keys) is left for where Redis is now.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Sequence
from typing import Any

from fastproc.bullmq.address import REPLY_TIMEOUT_S, Connect
from fastproc.bullmq.connection import CONNECTION_ERRORS, Connection, ReplyError
from fastproc.bullmq.protocol import Arg
from fastproc.core.errors import QueueUnavailable

log = logging.getLogger(__name__)

BACKOFF_S, BACKOFF_MAX_S = 0.05, 2.0
#: Pause of a caller between two tries of what got no reply; the connection itself backs off.
RETRY_PAUSE_S = 0.2
#: Commands of one batch at most, so that a long queue does not make one giant write.
MAX_BATCH = 256


class Pipe:
    """Pipelines commands over one connection, which one task owns.

    While a batch is under way the next one gathers, so the busier the service is, the fewer round trips and system
    calls a command costs. `connected` is for readiness; `reconnects` counts the times the connection came back.
    """

    def __init__(self, connect: Connect, greeting: Sequence[Sequence[Arg]] = ()) -> None:
        """`greeting` is sent first on every new connection; its replies must not be errors."""
        self._connect = connect
        self._greeting = greeting
        self._waiting: deque[tuple[Sequence[Arg], asyncio.Future[Any]]] = deque()
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._connection: Connection | None = None
        self._wrong_server = False
        self.connected = False
        self.reconnects = 0

    async def open(self) -> None:
        """Connect for the first time: one attempt. Raises QueueUnavailable with the reason."""
        try:
            await self._greet()
        except (*CONNECTION_ERRORS, ReplyError) as error:
            raise QueueUnavailable(str(error) or type(error).__name__) from error
        self._task = asyncio.create_task(self._run(), name="redis-pipe")

    def call(self, *command: Arg) -> asyncio.Future[Any]:
        """Send a command soon; the future brings its reply.

        Raises (from the future): ReplyError, or QueueUnavailable when the reply never came.
        """
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self._task is None or self._task.done():
            future.set_exception(QueueUnavailable("the connection is closed"))
        else:
            self._waiting.append((command, future))
            self._wanted.set()
        return future

    async def close(self) -> None:
        """Drop the connection; what waits ends in QueueUnavailable. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._leave()
        while self._waiting:
            _end(self._waiting.popleft()[1], QueueUnavailable("the connection is closed"))

    async def _run(self) -> None:
        while True:
            await self._wanted.wait()
            if not self.connected:
                await self._reconnect()
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_BATCH))]
            if not self._waiting:
                self._wanted.clear()
            if batch:
                await self._exchange(batch)

    async def _exchange(self, batch: list[tuple[Sequence[Arg], asyncio.Future[Any]]]) -> None:
        done, connection = 0, self._connection
        assert connection is not None
        try:
            async with asyncio.timeout(REPLY_TIMEOUT_S):
                await connection.send(command for command, _ in batch)
                for _, future in batch:
                    reply = await self._read(connection)
                    done += 1
                    _end(future, reply)
            if self._wrong_server:
                log.warning("redis: the server is no longer the primary that holds our keys")
                await self._leave()
        except CONNECTION_ERRORS as error:
            await self._leave()
            log.warning("redis: connection lost: %s", str(error) or type(error).__name__)
            for _, future in batch[done:]:
                _end(future, QueueUnavailable(f"no reply: {str(error) or 'timed out'}"))
        except asyncio.CancelledError:
            for _, future in batch[done:]:
                _end(future, QueueUnavailable("the connection was closed before the reply"))
            raise

    async def _read(self, connection: Connection) -> Any:
        """Return the next reply, or the ReplyError that it is: only its own command fails of it."""
        try:
            return await connection.read()
        except ReplyError as error:
            self._wrong_server |= error.wrong_server
            return error

    async def _reconnect(self) -> None:
        pause, logged = BACKOFF_S, False
        while True:
            try:
                await self._greet()
            except (*CONNECTION_ERRORS, ReplyError) as error:
                if not logged:
                    log.warning("redis: cannot connect, trying again: %s", str(error) or type(error).__name__)
                    logged = True
                # Jitter, so that a fleet does not come back in step.
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(pause * 2, BACKOFF_MAX_S)
            else:
                self.reconnects += 1
                log.info("redis: connected again")
                return

    async def _greet(self) -> None:
        """Connect anew and send the greeting; nothing stays open when that fails."""
        await self._leave()
        try:
            async with asyncio.timeout(REPLY_TIMEOUT_S):
                connection = self._connection = await self._connect()
                await connection.open()
                await connection.send(self._greeting)
                for _ in self._greeting:
                    await connection.read()
        except BaseException:
            await self._leave()
            raise
        self.connected = True

    async def _leave(self) -> None:
        self.connected = self._wrong_server = False
        if self._connection is not None:
            await self._connection.drop()
            self._connection = None


def _end(future: asyncio.Future[Any], outcome: Any) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
        # A caller that has gone must not make the loop complain about an exception never retrieved.
        future.exception()
    else:
        future.set_result(outcome)
