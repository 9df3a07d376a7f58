"""The link between the master and a supervisor: one message a frame, over a pair of sockets that a child inherits.

Rule 1: end of file is the other side's death: a supervisor whose master is gone ends, and needs no signal for it.
Rule 2: a frame is its length, in four bytes of the network's order, and a msgspec (MessagePack) message. A packet
        (`channel`) would be too short: metrics grow with workers.
Rule 3: what an operator has changed goes both ways: a supervisor tells what it has obeyed, and one that is started
        again is told, since it was not there. An order that is older than what it knows changes nothing.
Rule 4: what an operator asks and orders on the page goes over it too: `errands`.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Final, Generic, TypeVar

import msgspec
from msgspec import Struct

from fastproc.core.control import Order
from fastproc.ipc.errands import Done, Errand

#: Metrics of a supervisor have some 10 kB, and 1 kB more a worker.
MAX_FRAME_BYTES: Final = 16 << 20
_LENGTH_BYTES: Final = 4


class Ask(Struct, frozen=True, tag="ask"):
    """To a supervisor: tell how you do."""


class Stop(Struct, frozen=True, tag="stop"):
    """To a supervisor: take no more jobs, and end; `hurry`: without those in hand."""

    hurry: bool


class Serving(Struct, frozen=True, tag="serving"):
    """To the master: jobs are taken from now on."""


class Kept(Struct, frozen=True, tag="kept"):
    """Both ways: orders that hold until the service ends, the newest of each kind."""

    orders: tuple[Order, ...]


class Told(Struct, frozen=True, tag="told"):
    """To the master: the answers of /health (and whether it fails), /ready and /metrics."""

    failing: bool
    health: dict[str, Any]
    conditions: dict[str, bool]
    problems: dict[str, str]
    metrics: bytes


class OutageTold(Struct, frozen=True, tag="outage"):
    """To the master: a line about an outage, with its fields and since when it lasts (seconds since 1970)."""

    logger: str
    words: str
    fields: dict[str, Any]
    since: float


ToSupervisor = Ask | Stop | Kept | Errand
FromSupervisor = Serving | Told | Kept | OutageTold | Done

T = TypeVar("T")


def pair() -> tuple[socket.socket, socket.socket]:
    """Return the two ends. Neither is inherited by a child process by default. Raises OSError."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)


class Link(Generic[T]):
    """One end, which receives messages of kind T."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, decoder: msgspec.msgpack.Decoder[T]
    ) -> None:
        self._reader, self._writer, self._decoder = reader, writer, decoder

    def send(self, message: ToSupervisor | FromSupervisor) -> None:
        """Send it; to one that is gone it is lost."""
        data = msgspec.msgpack.encode(message)
        self._writer.write(len(data).to_bytes(_LENGTH_BYTES, "big") + data)

    async def receive(self) -> T | None:
        """Return the next message, None when the other side is gone. Raises ValueError for what is no message."""
        try:
            length = int.from_bytes(await self._reader.readexactly(_LENGTH_BYTES), "big")
            if length > MAX_FRAME_BYTES:
                raise ValueError(f"a frame of {length} bytes")
            return self._decoder.decode(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def close(self) -> None:
        """Send what was given, then close. Idempotent."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            # The other side was gone first.
            return


async def master_end(end: socket.socket) -> Link[FromSupervisor]:
    """Open the master's end."""
    decoder: msgspec.msgpack.Decoder[FromSupervisor] = msgspec.msgpack.Decoder(FromSupervisor)
    return Link(*await asyncio.open_unix_connection(sock=end, limit=MAX_FRAME_BYTES), decoder)


async def supervisor_end(fd: int) -> Link[ToSupervisor]:
    """Open a supervisor's end, descriptor `fd`, which no worker may inherit."""
    end = socket.socket(fileno=fd)
    end.set_inheritable(False)
    decoder: msgspec.msgpack.Decoder[ToSupervisor] = msgspec.msgpack.Decoder(ToSupervisor)
    return Link(*await asyncio.open_unix_connection(sock=end), decoder)
