"""TLS for servers that have none: certificates of a made authority, and a listener in front."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trustme

HOST = "127.0.0.1"


def context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    """A server's context with a certificate for these names."""
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(made)
    return made


@asynccontextmanager
async def front(context: ssl.SSLContext, behind: int) -> AsyncIterator[int]:
    """A TLS listener in front of a plain server: yields its port. (The packaged servers have none of their own.)"""
    pumps: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while part := await reader.read(65536):
                writer.write(part)
                await writer.drain()
        except OSError:
            return
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def both() -> None:
            far_reader, far_writer = await asyncio.open_connection(HOST, behind)
            await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

        task = asyncio.ensure_future(both())
        pumps.add(task)
        task.add_done_callback(pumps.discard)

    listener = await asyncio.start_server(accept, HOST, 0, ssl=context)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        for task in list(pumps):
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        await asyncio.sleep(0.05)  # TLS transports close a moment after their writers.
