"""Connections to Redis: one that pipelines whatever is asked at the same moment, one that blocks for a marker.

Rule 1: nothing is ever sent twice here. A command that was sent and not answered ends in QueueUnavailable, "outcome
        unknown"; who asked finds out. A command that was not sent yet waits for the next connection.
Rule 2: redis-py's own retries and its default socket timeout are off: they resend, which would lose jobs.
Rule 3: reconnects back off, never give up, and say so once, not at every try.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from fastproc.bullmq.protocol import Arg
from fastproc.config import RedisConfig
from fastproc.core.errors import QueueUnavailable

log = logging.getLogger(__name__)

Connect = Callable[[], AbstractConnection]

CONNECT_TIMEOUT_S = 5.0
#: Longest wait for the replies of one batch. Redis answers in microseconds; what takes longer is gone or frozen.
REPLY_TIMEOUT_S = 15.0
BACKOFF_S, BACKOFF_MAX_S = 0.05, 2.0
#: Commands of one batch at most, so that a long queue does not make one giant write.
MAX_BATCH = 256


class ReplyError(QueueUnavailable):
    """Redis answered the command with an error; nothing of it was done, unless a script failed half-way."""


def connector(config: RedisConfig, client_name: str | None = None) -> Connect:
    """Return a maker of connections as the configuration says. Raises ValueError for a URL that cannot be read."""
    kind: type[AbstractConnection] = Connection
    arguments: dict[str, Any] = {"host": config.host, "port": config.port, "password": config.password}
    if config.url:
        arguments = dict(parse_url(config.url))
        kind = arguments.pop("connection_class", Connection)
    if kind is not UnixDomainSocketConnection:
        arguments |= {"socket_keepalive": True}
    arguments |= {
        "socket_timeout": None,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
        "client_name": client_name,
        "protocol": 2,
    }
    return lambda: kind(**arguments)


def plain_client(config: RedisConfig) -> Redis:
    """Return redis-py's own client, for commands that may be slow and rare: status, adding jobs by hand."""
    if config.url:
        return Redis.from_url(config.url, socket_timeout=REPLY_TIMEOUT_S, protocol=2)
    return Redis(
        host=config.host,
        port=config.port,
        password=config.password,
        socket_timeout=REPLY_TIMEOUT_S,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        protocol=2,
    )


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
        self.connected = False
        self.reconnects = 0

    async def open(self) -> None:
        """Connect for the first time. Raises QueueUnavailable (with the reason) instead of trying for ever."""
        self._connection = self._connect()
        try:
            await self._greet()
        except (RedisError, OSError, ReplyError) as error:
            await self._connection.disconnect(nowait=True)
            raise QueueUnavailable(str(error)) from error
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
            await self._connection.disconnect(nowait=True)
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
        done = 0
        try:
            async with asyncio.timeout(REPLY_TIMEOUT_S):
                packed = [part for command, _ in batch for part in self._connection.pack_command(*command)]
                await self._connection.send_packed_command(packed, check_health=False)
                for _, future in batch:
                    reply = await self._read()
                    done += 1
                    _end(future, reply)
        except (RedisError, OSError, TimeoutError) as error:
            self.connected = False
            await self._connection.disconnect(nowait=True)
            log.warning("redis: connection lost: %s", error or type(error).__name__)
            for _, future in batch[done:]:
                _end(future, QueueUnavailable(f"no reply: {error or 'timed out'}"))
        except asyncio.CancelledError:
            for _, future in batch[done:]:
                _end(future, QueueUnavailable("the connection was closed before the reply"))
            raise

    async def _read(self) -> Any:
        try:
            return await self._connection.read_response(disable_decoding=True, disconnect_on_error=False)
        except ResponseError as error:
            return ReplyError(f"{type(error).__name__}: {error}" if not str(error) else _words(error))

    async def _reconnect(self) -> None:
        pause, said = BACKOFF_S, False
        while True:
            try:
                await self._greet()
            except (RedisError, OSError, ReplyError, TimeoutError) as error:
                await self._connection.disconnect(nowait=True)
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
        async with asyncio.timeout(REPLY_TIMEOUT_S):
            await self._connection.connect()  # type: ignore[no-untyped-call]
            packed = [part for command in self._greeting for part in self._connection.pack_command(*command)]
            if packed:
                await self._connection.send_packed_command(packed, check_health=False)
            for _ in self._greeting:
                reply = await self._read()
                if isinstance(reply, ReplyError):
                    raise reply
        self.connected = True


class Waiter:
    """The connection that blocks for a marker; its name is what BullMQ's `getWorkers` finds."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._connection = connect()

    async def wait(self, marker: str, timeout_s: float) -> int | None:
        """Return the score (ms) of the marker popped, or None after `timeout_s` seconds without one.

        Cancelling drops the connection: a command left behind could pop a marker for nobody.
        Raises: QueueUnavailable.
        """
        connection = self._connection
        try:
            # Redis' own timeout ends the wait; ours only catches a connection that has died in silence.
            async with asyncio.timeout(timeout_s + CONNECT_TIMEOUT_S):
                await connection.connect()  # type: ignore[no-untyped-call]
                await connection.send_command("BZPOPMIN", marker, f"{timeout_s:.3f}", check_health=False)
                reply = await connection.read_response(disable_decoding=True)
        except (RedisError, OSError, TimeoutError) as error:
            await connection.disconnect(nowait=True)
            raise QueueUnavailable(f"no reply: {error or 'timed out'}") from error
        except asyncio.CancelledError:
            await connection.disconnect(nowait=True)
            raise
        return int(float(reply[2])) if reply else None

    async def close(self) -> None:
        """Drop the connection. Idempotent."""
        await self._connection.disconnect(nowait=True)


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
