"""A scripted S3 server: each request is answered by a function that writes what it likes. For what no real one does."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable

from fastproc.config.s3 import S3Config

Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


class Scripted:
    """A server of one answer. `requests` holds the heads that came, `bodies` their bodies, as far as they came."""

    #: Whether an answer waits for the request's body.
    reads_bodies = True

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.bodies: list[bytes] = []
        self.answer: Answer
        self._server: asyncio.Server
        self._open: set[asyncio.Task[None]] = set()

    async def start(self, host: str = "127.0.0.1", secure: ssl.SSLContext | None = None) -> S3Config:
        """Raises OSError where there is no such address."""
        self._server = await asyncio.start_server(self._serve, host, 0, ssl=secure)
        return S3Config(endpoint=host, port=self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.requests.append(head)
                for line in head.lower().split(b"\r\n"):
                    if self.reads_bodies and line.startswith(b"content-length:"):
                        self.bodies.append(await reader.readexactly(int(line[15:])))
                await self.answer(head, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            return
        finally:
            self._open.discard(task)
            writer.close()


def says(*parts: bytes, then_close: bool = False) -> Answer:
    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"".join(parts))
        if then_close:
            writer.close()

    return answer


def error(status: int, code: str, message: str = "so it is") -> Answer:
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
    return says(b"HTTP/1.1 %d Whatever\r\nContent-Length: %d\r\n\r\n" % (status, len(body)), body)
