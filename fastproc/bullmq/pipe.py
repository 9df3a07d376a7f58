"""Connections to Redis: one that pipelines whatever is asked at the same moment, one that blocks for a marker.

Rule 1: nothing is ever sent twice here. A command that was sent and not answered ends in QueueUnavailable, "outcome
        unknown"; who asked finds out. A command that was not sent yet waits for the next connection.
Rule 2: reconnects back off, never give up, and say so once, not at every try.
Rule 3: a server that says that it is not the right one any more (replica, moved) is left for where Redis is now.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Sequence
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ClusterDownError, MovedError, ReadOnlyError, RedisError, ResponseError

from fastproc.bullmq.address import CONNECT_TIMEOUT_S, REPLY_TIMEOUT_S, Connect
from fastproc.bullmq.protocol import Arg
from fastproc.core.errors import QueueUnavailable

log = logging.getLogger(__name__)

BACKOFF_S, BACKOFF_MAX_S = 0.05, 2.0
#: Commands of one batch at most, so that a long queue does not make one giant write.
MAX_BATCH = 256


class ReplyError(QueueUnavailable):
    """Redis answered the command with an error; nothing of it was done, unless a script failed half-way."""


class Pipe:
    """Commands issued in the same moment travel together; replies come in order.

    One task owns the connection. While a batch is under way the next one gathers, so the busier the service is, the
    fewer round trips and system calls a command costs.
    """

    def __init__(self, connect: Connect, greeting: Sequence[Sequence[Arg]] = ()) -> None:
        """`greeting` is sent first on every new connection; its replies must not be errors."""
        self._connect = connect
        self._greeting = greeting
        self._waiting: deque[tuple[Sequence[Arg], asyncio.Future[Any]]] = deque()
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._connection: AbstractConnection | None = None
        self._wrong_server = False
        self.connected = False
        self.reconnects = 0

    async def open(self) -> None:
        """Connect for the first time. Raises QueueUnavailable (with the reason) instead of trying for ever."""
        try:
            await self._greet()
        except (RedisError, OSError, ReplyError) as error:
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
                packed = [part for command, _ in batch for part in connection.pack_command(*command)]
                await connection.send_packed_command(packed, check_health=False)
                for _, future in batch:
                    reply = await self._read(connection)
                    done += 1
                    _end(future, reply)
            if self._wrong_server:
                log.warning("redis: the server is not the primary of our keys any more")
                await self._leave()
        except (RedisError, OSError, TimeoutError) as error:
            await self._leave()
            log.warning("redis: connection lost: %s", error or type(error).__name__)
            for _, future in batch[done:]:
                _end(future, QueueUnavailable(f"no reply: {error or 'timed out'}"))
        except asyncio.CancelledError:
            for _, future in batch[done:]:
                _end(future, QueueUnavailable("the connection was closed before the reply"))
            raise

    async def _read(self, connection: AbstractConnection) -> Any:
        try:
            return await connection.read_response(disable_decoding=True, disconnect_on_error=False)
        except ResponseError as error:
            self._wrong_server |= isinstance(error, MovedError | ReadOnlyError | ClusterDownError)
            return ReplyError(_words(error))

    async def _reconnect(self) -> None:
        pause, said = BACKOFF_S, False
        while True:
            try:
                await self._greet()
            except (RedisError, OSError, ReplyError) as error:
                if not said:
                    log.warning("redis: cannot connect, trying again: %s", error)
                    said = True
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
                await connection.connect()  # type: ignore[no-untyped-call]
                packed = [part for command in self._greeting for part in connection.pack_command(*command)]
                if packed:
                    await connection.send_packed_command(packed, check_health=False)
                for reply in [await self._read(connection) for _ in self._greeting]:
                    if isinstance(reply, ReplyError):
                        raise reply
        except BaseException:
            await self._leave()
            raise
        self.connected = True

    async def _leave(self) -> None:
        self.connected = self._wrong_server = False
        if self._connection is not None:
            await self._connection.disconnect(nowait=True)
            self._connection = None


class Waiter:
    """The connection that blocks for a marker; its name is what BullMQ's `getWorkers` finds."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._connection: AbstractConnection | None = None

    async def wait(self, marker: str, timeout_s: float) -> int | None:
        """Return the score (ms) of the marker popped, or None after `timeout_s` seconds without one.

        Cancelling drops the connection: a command left behind could pop a marker for nobody.
        Raises: QueueUnavailable.
        """
        try:
            # Redis' own timeout ends the wait; ours only catches a connection that has died in silence.
            async with asyncio.timeout(timeout_s + CONNECT_TIMEOUT_S):
                connection = self._connection = self._connection or await self._connect()
                await connection.connect()  # type: ignore[no-untyped-call]
                await connection.send_command("BZPOPMIN", marker, f"{timeout_s:.3f}", check_health=False)
                reply = await connection.read_response(disable_decoding=True)
        except (RedisError, OSError, TimeoutError) as error:
            await self.close()
            raise QueueUnavailable(f"no reply: {error or 'timed out'}") from error
        except asyncio.CancelledError:
            await self.close()
            raise
        return int(float(reply[2])) if reply else None

    async def close(self) -> None:
        """Drop the connection. Idempotent."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)


def _words(error: ResponseError) -> str:
    # redis-py strips the code of errors that it has a class for; NOSCRIPT must stay recognisable.
    return f"NOSCRIPT {error}" if type(error).__name__ == "NoScriptError" else str(error)


def _end(future: asyncio.Future[Any], outcome: Any) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
        # A caller that has gone must not make the loop complain about an exception never retrieved.
        future.exception()
    else:
        future.set_result(outcome)
