"""Bounds the connections of the HTTP server: they would take the descriptors that jobs need.

Rule 1: at most MAX_CONNECTIONS at once; the next one closes the oldest, so that idle ones never lock a probe out.
Rule 2: a connection lives LIFE_S at most, whatever it does or does not send.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, cast

#: Probes and scrapers need a few; each takes one descriptor.
MAX_CONNECTIONS: Final = 32
#: An answer takes milliseconds.
LIFE_S: Final = 10.0


class Door:
    """Lets connections in to protocols that `make` makes."""

    def __init__(
        self, make: Callable[[], asyncio.Protocol], most: int = MAX_CONNECTIONS, life_s: float = LIFE_S
    ) -> None:
        self._make, self._most, self.life_s = make, most, life_s
        # In the order of their coming.
        self._inside: dict[Connection, asyncio.Transport] = {}
        self.turned_out = 0

    def __call__(self) -> asyncio.Protocol:
        """A protocol for a new connection, as `create_server` wants it."""
        return Connection(self, self._make())

    def __len__(self) -> int:
        return len(self._inside)

    def come(self, connection: Connection, transport: asyncio.Transport) -> None:
        """A connection was accepted."""
        while len(self._inside) >= self._most:
            oldest = next(iter(self._inside))
            self._inside.pop(oldest).abort()
            self.turned_out += 1
        self._inside[connection] = transport

    def leave(self, connection: Connection) -> None:
        """It is closed."""
        self._inside.pop(connection, None)

    def close(self) -> None:
        """Close every connection."""
        while self._inside:
            self._inside.pop(next(iter(self._inside))).abort()


class Connection(asyncio.Protocol):
    """One connection: passes everything on to the protocol behind it."""

    def __init__(self, door: Door, inner: asyncio.Protocol) -> None:
        self._door, self._inner = door, inner
        self._end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not inherit from asyncio's.
        accepted = cast(asyncio.Transport, transport)
        self._end = asyncio.get_running_loop().call_later(self._door.life_s, accepted.abort)
        self._inner.connection_made(transport)
        self._door.come(self, accepted)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._end:
            self._end.cancel()
        self._door.leave(self)
        self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()
