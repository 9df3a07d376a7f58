"""One connection to Redis: all that we use of redis-py's own class, and its error replies as our errors.

Rule 1: the calls that redis-py does not document (`send_packed_command`, `read_response` with its switches,
        `disconnect(nowait)`) are made here and nowhere else. They were tried with redis-py 7.4.0, 8.0.1 and
        8.1.0, each with hiredis; a newer major version must be tried before it is allowed.
Rule 2: hiredis packs commands: redis-py's own code took 40 % of the queue's CPU.
Rule 3: nothing is sent twice: redis-py's health checks are off here, and its retries where the connection is made
        (`address`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as ConnectionLost

from fastproc.bullmq.protocol import Arg
from fastproc.core.errors import QueueRefused

#: What ends a connection, or keeps it from being made. Time-outs are OSErrors.
CONNECTION_ERRORS = (RedisError, OSError)

#: Of uvloop's RuntimeError: "unable to perform operation on <TCPTransport ...>; the handler is closed".
_CLOSED = "the handler is closed"
#: Codes that redis-py strips from the message, by its classes; the first that fits counts.
_STRIPPED: tuple[tuple[type[ResponseError], str], ...] = (
    (NoScriptError, "NOSCRIPT"),
    (ReadOnlyError, "READONLY"),
    (NoPermissionError, "NOPERM"),
    (OutOfMemoryError, "OOM"),
    (MovedError, "MOVED"),
    (AskError, "ASK"),
    (TryAgainError, "TRYAGAIN"),
    (MasterDownError, "MASTERDOWN"),
    (ClusterDownError, "CLUSTERDOWN"),
)
#: Where in a script the error arose, at the end of a message.
_WHERE = re.compile(r" script: [^:]*@user_script.*", re.DOTALL)
#: Codes of a server that refuses before anything was done: a script too is refused at its first write, never later.
#: Source: Valkey src/script.c scriptVerifyWriteCommandAllow, scriptVerifyOOM; src/server.c processCommand.
_NOTHING_DONE = frozenset({code for _, code in _STRIPPED} | {"MISCONF", "NOREPLICAS", "BUSY"})


def lacks_right(error: Exception) -> bool:
    """Whether Redis refuses for a right that the user does not have, which lasts until an operator gives it."""
    return str(error).startswith("NOPERM")


class ReplyError(QueueRefused):
    """Redis answered the command with an error. The message begins with Redis' code.

    `wrong_server`: the server is not, or no longer, the primary that holds our keys. `command`: what was refused.
    """

    command: Sequence[Arg] = ()

    def __init__(self, message: str, *, in_part: bool = False, wrong_server: bool = False) -> None:
        super().__init__(message, in_part=in_part)
        self.wrong_server = wrong_server


class Connection:
    """A connection, made from one of redis-py's that is not connected yet. One task uses it at a time."""

    def __init__(self, raw: AbstractConnection) -> None:
        self._raw = raw

    async def open(self) -> None:
        """Connect and log in; does nothing when connected. Raises CONNECTION_ERRORS."""
        try:
            await self._raw.connect()  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            raise _lost(error) from error

    async def send(self, commands: Iterable[Sequence[Arg]]) -> None:
        """Write the commands in one go. Raises CONNECTION_ERRORS."""
        # The stub of hiredis means a tuple of any length.
        packed = [pack_command(tuple(command)) for command in commands]  # type: ignore[arg-type]
        if not packed:
            return
        try:
            await self._raw.send_packed_command(packed, check_health=False)
        except RuntimeError as error:
            raise _lost(error) from error

    async def read(self) -> Any:
        """Return the next reply; its texts are bytes. Raises ReplyError; CONNECTION_ERRORS."""
        try:
            return await self._raw.read_response(disable_decoding=True, disconnect_on_error=False)
        except ResponseError as error:
            message = _message(error)
            in_part = message.partition(" ")[0] not in _NOTHING_DONE
            wrong_server = isinstance(error, MovedError | ReadOnlyError | ClusterDownError)
            raise ReplyError(message, in_part=in_part, wrong_server=wrong_server) from None
        except RuntimeError as error:
            raise _lost(error) from error

    async def drop(self) -> None:
        """Disconnect without waiting for anything."""
        await self._raw.disconnect(nowait=True)


def _lost(error: RuntimeError) -> Exception:
    """Return ConnectionLost for uvloop's error at the use of a socket that was just reset; any other is returned."""
    return ConnectionLost(f"the connection is gone: {error}") if _CLOSED in str(error) else error


def _message(error: ResponseError) -> str:
    # Scripts add their name and line, which tells an operator nothing.
    message = _WHERE.sub("", str(error))
    code = next((code for kind, code in _STRIPPED if isinstance(error, kind)), "")
    return f"{code} {message}" if code and not message.startswith(code) else message
