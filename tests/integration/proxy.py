"""A proxy that cuts a connection at a given command, before the server gets it or before its reply comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

Cut = Literal["request", "reply"]


class Proxy:
    """Forwards to a server; `cut` breaks the next connections that send `word`."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._word, self._cut, self._times = b"", "", 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.cuts = 0

    def cut(self, side: Cut, word: bytes, times: int = 1) -> None:
        self._word, self._cut, self._times = word, side, times

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        try:
            yield listener.sockets[0].getsockname()[1]
        finally:
            listener.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._host, self._port)
        back = asyncio.ensure_future(self._pump(far_reader, writer))
        try:
            while part := await reader.read(1 << 20):
                if self._times and self._word in part:
                    self._times -= 1
                    self.cuts += 1
                    back.cancel()
                    if self._cut == "reply":
                        far_writer.write(part)
                        await far_reader.read(1)  # The server has answered, so it has done it.
                    return
                far_writer.write(part)
                await far_writer.drain()
        finally:
            back.cancel()
            await asyncio.gather(back, return_exceptions=True)
            for each in (writer, far_writer):
                each.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while part := await reader.read(1 << 20):
            writer.write(part)
            await writer.drain()
