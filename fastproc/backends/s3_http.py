"""One HTTP request to an S3 server: sent once, timed, and with its signature in no message.

Rule 1: one request a call. Nothing here sends again: a server that dies of a request is not asked for it twice.
Rule 2: an upload announces its length, and an answer that comes before all of it was sent confirms nothing.
Rule 3: no redirect is followed and no encoding is undone.
Rule 4: every wait has an end: for a connection, for a byte, for the head, for the whole, and a body that has begun must
        come at a least rate (`s3_times`). Only the wait for admission is not the server's.
Rule 5: no message holds a signature: none is made of a URL, and what a server wrote stays out of it.
Rule 6: what is cancelled has ended when `await` returns: its transfer is stopped, its connection closed, and nothing
        writes into memory that by then holds another photo.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from msgspec import Struct

from fastproc import __version__
from fastproc.backends.s3_links import Links
from fastproc.backends.s3_signing import Signed
from fastproc.backends.s3_times import Late, Timer
from fastproc.backends.s3_times import Timeouts as Timeouts  # For who makes a store with times of its own.
from fastproc.backends.s3_wire import heads
from fastproc.backends.s3_wire.connections import Connection
from fastproc.backends.s3_wire.transfers import Ask, Fill, Handshake, Room, Seen, Transfer, unseen
from fastproc.core.errors import SourceTooLarge, StorageUnavailable

#: What the kernel says where this host has no descriptor or memory for a connection.
NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})

#: Most of a body in chunks, or of one without a length, that is taken at a time.
_PART_BYTES = 64 << 10


class Request(Struct, frozen=True):
    """What is sent, and where `to`; `named` is what messages call the object, `signed_by` the access key."""

    method: str
    to: Signed
    named: str
    headers: Mapping[str, str]
    body: bytes | memoryview | None = None
    signed_by: str = ""


class Exchange:
    """A request and its answer; what goes wrong until the block's end is StorageUnavailable."""

    _connection: Connection | None = None
    _head: heads.Head
    _is_whole = False
    _where = ""
    _seen: Seen = staticmethod(unseen)

    def __init__(self, links: Links, request: Request) -> None:
        self._links, self._request = links, request
        self._timer = Timer(links.timeouts, has_body=request.body is not None)
        self._rest = b""

    async def __aenter__(self) -> Self:
        places = self._links.places
        if places.locked():
            try:
                await self._timer.wait_for(places)
            except Late as error:
                raise self._unavailable(error) from None
        else:
            await places.acquire()
        try:
            await self._ask()
        except (OSError, Late, heads.Malformed) as error:
            self._end(is_whole=False)
            raise self._unavailable(error) from None
        except BaseException:
            self._end(is_whole=False)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(is_whole=error is None and self._is_whole)
        if isinstance(error, OSError | Late | heads.Malformed):
            raise self._unavailable(error) from None

    @property
    def status(self) -> int:
        return self._head.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._head.headers

    @property
    def signed_by(self) -> str:
        """The access key of the request."""
        return self._request.signed_by

    async def read_into(self, target: memoryview, seen: Seen) -> int:
        """Read the body into `target`; return its size. Raises SourceTooLarge, with no byte past the limit written.

        `seen` is called with every piece that lies there, in their order, maybe in another thread.
        """
        self._timer.body()
        self._seen = seen
        return await self._read(target)

    async def _read(self, target: memoryview) -> int:
        head, size = self._head, min(len(self._rest), self._left_of(target))
        if head.is_chunked:
            return await self._read_chunks(target)
        target[:size] = self._rest[:size]
        self._see(target, 0, size)
        self._rest = self._rest[size:]
        enough = self._left_of(target)
        if size < enough:
            with target[:enough] as room:
                fill = self._fill(room, size, enough, self._seen)
                await self._move(fill)
            size = fill.at
            if size < enough and head.length is not None:
                raise ConnectionResetError(f"{size} of {head.length} bytes came")
        if head.length is not None and size == head.length and self._goes_on():
            raise heads.Malformed(f"more came than the {size} bytes that were announced")
        self._is_whole = size == head.length
        return size

    async def read(self, most: int) -> bytes:
        """The beginning of a body whose end need not be known: a refusal's words."""
        room = memoryview(bytearray(most))
        try:
            size = await self._read(room)
        except SourceTooLarge:
            self._is_whole, size = False, most
        return bytes(room[:size])

    def _goes_on(self) -> bool:
        """Whether the server has sent more behind the body's end: then its length was not true."""
        assert self._connection is not None
        return bool(self._rest) or self._connection.has_more()

    def _left_of(self, target: memoryview) -> int:
        length = self._head.length
        return len(target) if length is None else min(length, len(target))

    async def _read_chunks(self, target: memoryview) -> int:
        part, size = self._rest, 0
        room = memoryview(bytearray(_PART_BYTES))
        while True:
            for piece in self._head.chunked(part):
                end = size + len(piece)
                if end > len(target):
                    target[size:] = piece[: len(target) - size]
                    raise SourceTooLarge(f"{self._request.named} has more than {len(target)} bytes")
                target[size:end] = piece
                self._see(target, size, end)
                size = end
            if self._head.is_ended:
                self._is_whole = True
                return size
            fill = self._fill(room, 0, 1)
            await self._move(fill)
            self._timer.came(size)
            if fill.is_eof:
                raise ConnectionResetError("the connection was closed before the body's end")
            part = bytes(room[: fill.at])

    def _see(self, target: memoryview, start: int, end: int) -> None:
        if end > start:
            with target[start:end] as piece:
                self._seen(piece)

    def _fill(self, target: memoryview, at: int, enough: int, seen: Seen = unseen) -> Fill:
        assert self._connection is not None
        pace_bytes = self._links.timeouts.pace_bytes
        return Fill(self._connection.sock, Room(target, at, enough), pace_bytes, seen)

    async def _move(self, transfer: Transfer) -> None:
        await self._links.move(transfer, self._timer)

    async def _ask(self) -> None:
        request = self._request
        headers = {"Host": request.to.host, "Accept": "*/*", "Accept-Encoding": "identity"}
        headers |= {"User-Agent": f"fastproc/{__version__}", **request.headers}
        if request.body is not None:
            headers["Content-Length"] = str(len(request.body))
        head = heads.request(request.method, request.to.target, headers)
        connection = self._links.connections.unused(request.to.server) or await self._connect()
        self._connection = connection
        ask = Ask(connection.sock, head, request.body or b"")
        await self._move(ask)
        self._head = heads.Head(bytes(ask.came[: ask.head_bytes]))
        self._rest = bytes(ask.came[ask.head_bytes :])
        self._is_whole = ask.is_sent and self._head.length == 0 and not self._rest
        if not ask.is_sent:
            self._head.is_kept = False
            if self.status < 300:
                raise heads.Malformed(f"it answered {self.status} before the whole upload was sent")

    async def _connect(self) -> Connection:
        connections, server = self._links.connections, self._request.to.server
        self._where = f"cannot connect to {server[1]}:{server[2]}: "
        async with self._timer.connecting():
            sock = await connections.open(server)
        try:
            if server[0] == "https":
                sock = connections.secured(sock, server)
                await self._move(Handshake(sock))
        except BaseException:
            sock.close()
            raise
        self._where = ""
        return Connection(sock, server)

    def _end(self, is_whole: bool) -> None:
        self._links.places.release()
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if is_whole and self._head.is_kept:
            self._links.connections.keep(connection)
        else:
            connection.close()

    def _unavailable(self, error: Exception) -> StorageUnavailable:
        """What the error is to callers."""
        words = " ".join(f"{self._where}{error}".split())[:300] or type(error).__name__
        unavailable = StorageUnavailable(f"{self._request.method} {self._request.named}: {words}")
        unavailable.of_host = getattr(error, "errno", None) in NO_ROOM
        return unavailable
