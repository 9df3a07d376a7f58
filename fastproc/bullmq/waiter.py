"""The connection that blocks until the queue's marker announces a job.

Rule 1: one wait at a time, and the connection is dropped with a wait that was cancelled or failed: a command that is
        left behind could pop a marker for nobody.
Rule 2: Redis' own time-out ends a wait. Ours is longer, and only finds a connection that has died silently.
Rule 3: the connection has the worker's name, by which BullMQ's `getWorkers` finds it, also while nothing waits. The
        name is optional: where Redis refuses it (an ACL), the connection works without it.
"""

from __future__ import annotations

import asyncio
import logging

from fastproc.bullmq.address import CONNECT_TIMEOUT_S, Connect
from fastproc.bullmq.connection import CONNECTION_ERRORS, Connection, ReplyError
from fastproc.bullmq.protocol import Arg
from fastproc.core.errors import QueueUnavailable

log = logging.getLogger(__name__)


class Waiter:
    """Waits for `marker`, a key, over a connection with the name `client_name`."""

    def __init__(self, connect: Connect, marker: str, client_name: str) -> None:
        self._connect, self._marker, self._client_name = connect, marker, client_name
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()
        self._said_nameless = False

    async def wait(self, timeout_s: float) -> int | None:
        """Return the score (ms) of the marker popped, or None after `timeout_s` seconds without one.

        Raises: QueueUnavailable.
        """
        async with self._turn:
            reply = await self._ask(
                timeout_s + CONNECT_TIMEOUT_S, "BZPOPMIN", self._marker, f"{timeout_s:.3f}"
            )
        return int(float(reply[2])) if reply else None

    async def tend(self) -> None:
        """Unless a wait is under way: connect where there is no connection, and find out whether it still lives."""
        if self._turn.locked():
            return
        async with self._turn:
            try:
                await self._ask(CONNECT_TIMEOUT_S, "PING")
            except QueueUnavailable as error:
                log.debug("redis: the waiting connection is not there: %s", error)

    async def close(self) -> None:
        """Drop the connection. Idempotent."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.drop()

    async def _ask(self, timeout_s: float, *command: Arg) -> list[bytes] | bytes | None:
        try:
            async with asyncio.timeout(timeout_s):
                connection = self._connection or await self._named()
                await connection.send([command])
                return await connection.read()  # type: ignore[no-any-return]
        except (*CONNECTION_ERRORS, ReplyError) as error:
            await self.close()
            raise QueueUnavailable(f"no reply: {str(error) or 'timed out'}") from error
        except BaseException:
            await self.close()
            raise

    async def _named(self) -> Connection:
        connection = self._connection = await self._connect()
        await connection.open()
        await connection.send([("CLIENT", "SETNAME", self._client_name)])
        try:
            await connection.read()
        except ReplyError as error:
            if not self._said_nameless:
                self._said_nameless = True
                log.info(
                    "redis: the connection has no name, so dashboards do not show this worker: %s", error
                )
        return connection
