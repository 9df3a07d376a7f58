"""What the server's clock says at a moment of ours: the end of a job's lock is told to the server in its own time.

Rule 1: our moments are monotonic. No clock of one host is compared with another's: each knows how far the server's is
        ahead of its own, and neither has to be right.
Rule 2: it is read anew in each transaction, so that drift and steps of the server's clock do not add up, and on each
        connection: another server has another clock.
Rule 3: a moment comes out at most as late as it is, and earlier by at most the time that the answer took.
"""

from __future__ import annotations

import time
from typing import Any, Final
from weakref import WeakKeyDictionary

import psycopg

from fastproc.backends.postgresql_link import Connection

NOW: Final = b"SELECT extract(epoch FROM clock_timestamp())::float8"


class ServerClock:
    """How far the clock of the server behind each connection is ahead of the monotonic clock."""

    def __init__(self) -> None:
        self._ahead_s: WeakKeyDictionary[Connection, float] = WeakKeyDictionary()

    async def know(self, connection: Connection) -> None:
        """Read the clock, where that was not done on this connection. Raises psycopg.Error."""
        if connection not in self._ahead_s:
            await self.read(connection, await connection.execute(NOW))

    async def read(self, connection: Connection, answer: psycopg.AsyncCursor[tuple[Any, ...]]) -> float:
        """Take the answer to `NOW`, which has just come; return it. Raises psycopg.Error."""
        row = await answer.fetchone()
        assert row is not None
        now = float(row[0])
        # By the moment of the answer: the server has read its clock before.
        self._ahead_s[connection] = now - time.monotonic()
        return now

    def at(self, connection: Connection, moment: float) -> float:
        """The server's time (seconds since 1970) at a monotonic moment."""
        return self._ahead_s[connection] + moment
