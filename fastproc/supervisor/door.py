"""Bounds the connections of the HTTP server: they would take the descriptors that jobs need.

Rule 1: at most MAX_CONNECTIONS at once; the next one closes the oldest, so that idle ones never lock a probe out.
Rule 2: a connection lives LIFE_S at most, whatever it does or does not send.
Rule 3: one that may stay (a page that is open, an act that takes its time) counts apart, among MAX_STAYING, and the
        next one closes the oldest of those: neither kind can take the other's places.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, cast

#: Probes and scrapers need a few; each takes one descriptor.
MAX_CONNECTIONS: Final = 32
#: An answer takes milliseconds.
LIFE_S: Final = 10.0
#: Pages that people have open; a hidden tab closes its own.
MAX_STAYING: Final = 64


class Door:
    """Lets connections in to protocols that `make` makes."""

    def __init__(
        self,
        make: Callable[[], asyncio.Protocol],
        most: int = MAX_CONNECTIONS,
        life_s: float = LIFE_S,
        most_staying: int = MAX_STAYING,
    ) -> None:
        self._make, self._most, self._most_staying, self.life_s = make, most, most_staying, life_s
        # In the order of their coming.
        self._inside: dict[Connection, asyncio.Transport] = {}
        self._staying: dict[Connection, asyncio.Transport] = {}
        self.turned_out = 0

    def __call__(self) -> asyncio.Protocol:
        """A protocol for a new connection, as `create_server` wants it."""
        return Connection(self, self._make())

    def __len__(self) -> int:
        return len(self._inside) + len(self._staying)

    def come(self, connection: Connection, transport: asyncio.Transport) -> None:
        """A connection was accepted."""
        self._make_room(self._inside, self._most)
        self._inside[connection] = transport

    def stay(self, transport: object) -> None:
        """Let a connection live on, however long that is."""
        for connection, theirs in self._inside.items():
            if theirs is transport:
                self._make_room(self._staying, self._most_staying)
                self._staying[connection] = self._inside.pop(connection)
                connection.live_on()
                return

    def leave(self, connection: Connection) -> None:
        """It is closed."""
        self._inside.pop(connection, None)
        self._staying.pop(connection, None)

    def close(self) -> None:
        """Close every connection."""
        for some in (self._inside, self._staying):
            while some:
                some.pop(next(iter(some))).abort()

    def _make_room(self, some: dict[Connection, asyncio.Transport], most: int) -> None:
        while len(some) >= most:
            some.pop(next(iter(some))).abort()
            self.turned_out += 1


class Connection(asyncio.Protocol):
    """One connection: passes everything on to the protocol behind it."""

    def __init__(self, door: Door, inner: asyncio.Protocol) -> None:
        self._door, self._inner = door, inner
        self._end: asyncio.TimerHandle | None = None

    def live_on(self) -> None:
        """Its life has no end any more."""
        if self._end:
            self._end.cancel()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not inherit from asyncio's.
        accepted = cast(asyncio.Transport, transport)
        self._end = asyncio.get_running_loop().call_later(self._door.life_s, accepted.abort)
        self._inner.connection_made(transport)
        self._door.come(self, accepted)

    def connection_lost(self, exc: Exception | None) -> None:
        self.live_on()
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
