"""One connection to Redis: all that we use of redis-py's own class, and its error replies as our errors.

Rule 1: the calls that redis-py does not document (`pack_command`, `send_packed_command`, `read_response` with its
        switches, `disconnect(nowait)`) are made here and nowhere else. They were tried with redis-py 7.4.0, 8.0.1 and
        8.1.0, each with hiredis; a newer major version must be tried before it is allowed.
Rule 2: nothing is sent twice: redis-py's health checks are off here, and its retries where the connection is made
        (`address`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    ClusterDownError,
    MovedError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from fastproc.bullmq.protocol import Arg
from fastproc.core.errors import QueueUnavailable

#: What ends a connection, or keeps it from being made. Time-outs are OSErrors.
CONNECTION_ERRORS = (RedisError, OSError)


class ReplyError(QueueUnavailable):
    """Redis answered the command with an error; nothing of it was done, unless a script failed half-way.

    `wrong_server`: the server is not, or no longer, the primary that holds our keys.
    """

    def __init__(self, message: str, *, wrong_server: bool = False) -> None:
        super().__init__(message)
        self.wrong_server = wrong_server


class Connection:
    """A connection, made from one of redis-py's that is not connected yet. One task uses it at a time."""

    def __init__(self, raw: AbstractConnection) -> None:
        self._raw = raw

    async def open(self) -> None:
        """Connect and log in; does nothing when connected. Raises CONNECTION_ERRORS."""
        await self._raw.connect()  # type: ignore[no-untyped-call]

    async def send(self, commands: Iterable[Sequence[Arg]]) -> None:
        """Write the commands in one go. Raises CONNECTION_ERRORS."""
        packed = [part for command in commands for part in self._raw.pack_command(*command)]
        if packed:
            await self._raw.send_packed_command(packed, check_health=False)

    async def read(self) -> Any:
        """Return the next reply; its texts are bytes. Raises ReplyError; CONNECTION_ERRORS."""
        try:
            return await self._raw.read_response(disable_decoding=True, disconnect_on_error=False)
        except ResponseError as error:
            wrong_server = isinstance(error, MovedError | ReadOnlyError | ClusterDownError)
            raise ReplyError(_message(error), wrong_server=wrong_server) from None

    async def drop(self) -> None:
        """Disconnect without waiting for anything."""
        await self._raw.disconnect(nowait=True)


def _message(error: ResponseError) -> str:
    # redis-py strips the code of errors that it has a class for; NOSCRIPT must stay recognisable.
    return f"NOSCRIPT {error}" if isinstance(error, NoScriptError) else str(error)
