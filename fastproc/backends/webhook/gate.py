"""Decides which addresses webhooks are sent to: a receiver's name must not lead into our own network.

Rule 1: each socket is made for one address, which is judged then (`core.addresses`): whatever a name leads to, and
        whatever it led to a moment ago, there is no way round.
Rule 2: a name is looked up in a thread of its own, which nothing waits for at the end: the threads of the event loop
        belong to the stores, and a name server may hang for long.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from fastproc.core import addresses

AddressInfo = tuple[Any, Any, int, str, Any]
#: As `socket.getaddrinfo`, for streams.
Lookup = Callable[[str, int], Sequence[AddressInfo]]


class NotAllowed(OSError):
    """An address that must not be connected to."""


def lookup(host: str, port: int) -> Sequence[AddressInfo]:
    """Ask the system's resolver. Raises OSError."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


class Gate:
    """Makes sockets to allowed addresses, and looks names up."""

    def __init__(self, *, allow_private: bool, look_up: Lookup = lookup) -> None:
        self._allow_private, self._look_up = allow_private, look_up

    def socket(self, info: AddressInfo) -> socket.socket:
        """Return a socket for the address. Raises NotAllowed, OSError."""
        if why := self.refusal(str(info[4][0])):
            raise NotAllowed(errno.EACCES, why)
        return socket.socket(family=info[0], type=info[1], proto=info[2])

    def refusal(self, address: str) -> str:
        """Return why an address may not be connected to, or ""."""
        return addresses.refusal(address, allow_private=self._allow_private)

    async def addresses(self, host: str, port: int) -> list[str]:
        """Return the addresses of a host. Raises OSError."""
        return [str(info[4][0]) for info in await self.look_up(host, port)]

    async def look_up(self, host: str, port: int) -> Sequence[AddressInfo]:
        """Look a name up, in a thread. Raises OSError."""
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Sequence[AddressInfo]] = loop.create_future()

        def finish(result: Sequence[AddressInfo], error: OSError | None) -> None:
            if found.done():
                return
            if error is None:
                found.set_result(result)
            else:
                found.set_exception(error)

        def work() -> None:
            result: Sequence[AddressInfo] = ()
            error: OSError | None = None
            try:
                result = self._look_up(host, port)
            except (OSError, UnicodeError) as failure:
                error = OSError(errno.EHOSTUNREACH, f"the name cannot be looked up: {failure}")
            # A loop that has ended meanwhile does not want it any more.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(finish, result, error)

        threading.Thread(target=work, name="webhook-lookup", daemon=True).start()
        return await found


class Resolver(AbstractResolver):
    """Looks names up through the gate; who asks for a name that is being looked up waits for the same answer."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._underway: dict[tuple[str, int], asyncio.Task[Sequence[AddressInfo]]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        key = host, port
        asked = self._underway.get(key)
        if asked is None:
            asked = self._underway[key] = asyncio.create_task(self._gate.look_up(host, port))
            asked.add_done_callback(lambda task: self._done(key, task))
        infos = await asyncio.shield(asked)
        return [
            ResolveResult(
                hostname=host,
                host=str(info[4][0]),
                port=int(info[4][1]),
                family=info[0],
                proto=info[2],
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for info in infos
        ]

    async def close(self) -> None:
        for task in list(self._underway.values()):
            task.cancel()

    def _done(self, key: tuple[str, int], task: asyncio.Task[Sequence[AddressInfo]]) -> None:
        self._underway.pop(key, None)
        if not task.cancelled():
            task.exception()  # Who asked may have gone.
