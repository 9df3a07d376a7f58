"""The connection that blocks until the queue's marker tells of a job.

Rule 1: one wait at a time, and the connection is dropped with a wait that was cancelled or failed: a command that is
        left behind could pop a marker for nobody.
Rule 2: Redis' own time-out ends a wait. Ours is longer, and only finds a connection that has died without a word.
"""

from __future__ import annotations

import asyncio

from fastproc.bullmq.address import CONNECT_TIMEOUT_S, Connect
from fastproc.bullmq.connection import CONNECTION_ERRORS, Connection, ReplyError
from fastproc.core.errors import QueueUnavailable


class Waiter:
    """Waits for `marker`, a key. BullMQ's `getWorkers` finds a worker by the name of this connection."""

    def __init__(self, connect: Connect, marker: str) -> None:
        self._connect, self._marker = connect, marker
        self._connection: Connection | None = None

    async def wait(self, timeout_s: float) -> int | None:
        """Return the score (ms) of the marker popped, or None after `timeout_s` seconds without one.

        Raises: QueueUnavailable.
        """
        try:
            async with asyncio.timeout(timeout_s + CONNECT_TIMEOUT_S):
                connection = self._connection = self._connection or await self._connect()
                await connection.open()
                await connection.send([("BZPOPMIN", self._marker, f"{timeout_s:.3f}")])
                reply = await connection.read()
        except (*CONNECTION_ERRORS, ReplyError) as error:
            await self.close()
            raise QueueUnavailable(f"no reply: {str(error) or 'timed out'}") from error
        except asyncio.CancelledError:
            await self.close()
            raise
        return int(float(reply[2])) if reply else None

    async def close(self) -> None:
        """Drop the connection. Idempotent."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.drop()
