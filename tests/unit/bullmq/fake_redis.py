"""A server that speaks just enough of Redis' protocol for a test to decide what it answers, and when it goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from redis.asyncio.connection import Connection as RawConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from fastproc.bullmq.connection import Connection

Command = list[bytes]
#: What to answer: bytes of the protocol, b"" for silence, None to hang up.
Answer = Callable[[Command], bytes | None]


def echo(command: Command) -> bytes:
    """Answer with the command's last word."""
    return b"$%d\r\n%s\r\n" % (len(command[-1]), command[-1])


class FakeRedis:
    """Answers by `answer`, and remembers every command, by connection."""

    def __init__(self) -> None:
        self.answer: Answer = echo
        self.sessions: list[list[Command]] = []
        self.port = 0
        self._writers: list[asyncio.StreamWriter] = []

    @property
    def commands(self) -> list[Command]:
        """All commands but those by which redis-py introduces itself."""
        return [each for session in self.sessions for each in session]

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            for writer in self._writers:
                writer.close()
            await asyncio.sleep(0)

    async def connect(self) -> Connection:
        """A connection to this server, as `address` makes them."""
        return Connection(
            RawConnection(
                host="127.0.0.1", port=self.port, protocol=2, socket_timeout=None, retry=Retry(NoBackoff(), 0)
            )
        )

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        session: list[Command] = []
        self.sessions.append(session)
        try:
            while line := await reader.readline():
                command = []
                for _ in range(int(line[1:])):
                    size = int((await reader.readline())[1:])
                    command.append((await reader.readexactly(size + 2))[:-2])
                if command[0] == b"CLIENT":
                    writer.write(b"+OK\r\n")
                    continue
                session.append(command)
                reply = self.answer(command)
                if reply is None:
                    break
                writer.write(reply)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()
