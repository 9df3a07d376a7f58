"""Connections to S3 servers: opened, verified, kept for a while after a request, and never used by two at once.

Rule 1: one that is taken again was silent since: whatever came meanwhile, the end included, makes it useless.
Rule 2: none is kept for longer than `keep_s`.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections import deque
from typing import Any

import aiohappyeyeballs

from fastproc.core.errors import ConfigError

#: Seconds that the addresses of a name are believed. As aiohttp.
_ADDRESSES_S = 10.0
#: Seconds to the try of the next address of a name. Source: RFC 8305, "Connection Attempt Delay".
_NEXT_ADDRESS_S = 0.25

_Addresses = list[tuple[int, int, int, str, Any]]


class Connection:
    """A socket that is connected to a server (scheme, host, port). `sock` does not block."""

    def __init__(self, sock: socket.socket, server: Server) -> None:
        self.sock, self.server = sock, server
        self.unused_since = 0.0

    def is_silent(self) -> bool:
        """Whether nothing came, not even the end. TLS's own messages do not count."""
        try:
            self.sock.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        return False

    def has_more(self) -> bool:
        """Whether bytes are there that nobody asked for."""
        try:
            return bool(self.sock.recv(1))
        except OSError:  # Those that say that nothing is there are among them.
            return False

    def close(self) -> None:
        """End it at once: what was not sent is not sent any more."""
        self.sock.close()


Server = tuple[str, str, int]


class Connections:
    """The connections of one event loop."""

    def __init__(self, keep_s: float, authorities: tuple[str, str] | None) -> None:
        """`authorities`: a file of certificates to trust, and its variable. Raises ConfigError."""
        self._keep_s = keep_s
        self._tls = _trusting(*authorities) if authorities else None
        self._unused: dict[Server, deque[Connection]] = {}
        self._addresses: dict[Server, tuple[float, _Addresses]] = {}
        self._sweep: asyncio.TimerHandle | None = None

    def unused(self, server: Server) -> Connection | None:
        """Take one that is there, the last used first."""
        there = self._unused.get(server)
        while there:
            connection = there.pop()
            if connection.unused_since + self._keep_s > time.monotonic() and connection.is_silent():
                return connection
            connection.close()
        return None

    async def open(self, server: Server) -> socket.socket:
        """Connect to it, without TLS. Raises OSError."""
        sock = await aiohappyeyeballs.start_connection(
            await self._addresses_of(server), happy_eyeballs_delay=_NEXT_ADDRESS_S, interleave=1
        )
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        except OSError:
            sock.close()
            raise
        return sock

    def secured(self, sock: socket.socket, server: Server) -> ssl.SSLSocket:
        """The socket with TLS around it; the handshake is to be made."""
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls.wrap_socket(sock, server_hostname=server[1], do_handshake_on_connect=False)

    def keep(self, connection: Connection) -> None:
        """It may be used again."""
        connection.unused_since = time.monotonic()
        self._unused.setdefault(connection.server, deque()).append(connection)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(self._keep_s, self._drop_old)

    def close(self) -> None:
        """Close those that nobody uses. Idempotent."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for there in self._unused.values():
            while there:
                there.pop().close()

    def _drop_old(self) -> None:
        self._sweep = None
        oldest = time.monotonic() - self._keep_s
        left = [there for there in self._unused.values() if there]
        for there in left:
            while there and there[0].unused_since <= oldest:
                there.popleft().close()
        begins = [there[0].unused_since for there in left if there]
        if begins:
            left_s = min(begins) - oldest
            self._sweep = asyncio.get_running_loop().call_later(left_s + 0.01, self._drop_old)

    async def _addresses_of(self, server: Server) -> _Addresses:
        until, found = self._addresses.get(server, (0.0, []))
        if until < time.monotonic():
            loop = asyncio.get_running_loop()
            found = [*await loop.getaddrinfo(server[1], server[2], type=socket.SOCK_STREAM)]
            self._addresses[server] = time.monotonic() + _ADDRESSES_S, found
        return found


def _trusting(file: str, variable: str) -> ssl.SSLContext:
    """Return a context that trusts the authorities of a file, and no others. Raises ConfigError."""
    try:
        return ssl.create_default_context(cafile=file)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError.
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError([f"{variable}: cannot read certificates from {file!r} ({said})"]) from None
