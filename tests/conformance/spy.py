"""Between a worker and its server: listens to the commands that concern a queue, or swallows replies."""

from __future__ import annotations

import asyncio
import re
import socket
import uuid
from collections import Counter
from collections.abc import Mapping
from typing import Self

from fastproc.bullmq.scripts import Script

_EVALSHA = re.compile(r'"evalsha" "([0-9a-f]{40})"', re.IGNORECASE)


class Spy:
    """The commands between entry and exit in which the queue's name stands, one line each; not those inside scripts."""

    def __init__(self, port: int, queue: str) -> None:
        self._port, self._queue = port, queue
        self.lines: list[str] = []

    def __enter__(self) -> Self:
        self._socket = socket.create_connection(("127.0.0.1", self._port))
        self._reader = self._socket.makefile("r", encoding="utf-8", errors="replace")
        self._socket.sendall(b"MONITOR\r\n")
        assert self._reader.readline().startswith("+OK")
        return self

    def __exit__(self, *_: object) -> None:
        end = uuid.uuid4().hex
        with socket.create_connection(("127.0.0.1", self._port)) as other:
            other.sendall(f"ECHO {end}\r\n".encode())
            for line in self._reader:
                if end in line:
                    break
                if f":{self._queue}:" in line and " lua]" not in line:
                    self.lines.append(line.rstrip())
        self._reader.close()
        self._socket.close()

    async def after(self, seconds: float) -> None:
        """Listen for so long."""
        await asyncio.sleep(seconds)

    def calls(self, commands: Mapping[str, Script]) -> Counter[str]:
        """How often each script was called."""
        names = {script.sha1: name for name, script in commands.items()}
        found = (_EVALSHA.search(line) for line in self.lines)
        return Counter(names.get(match[1], "another script") for match in found if match)


class Deaf:
    """Passes everything on between clients and the server, until it is told to swallow the replies of some."""

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._said: dict[int, bytes] = {}
        self._swallowed: set[int] = set()

    async def __aenter__(self) -> Self:
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(self._client, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def swallow(self, command: bytes) -> None:
        """From now on swallow the replies of the connections that have sent the command last."""
        # The command comes through a socket.
        while not any(command in said for said in self._said.values()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        self._swallowed.update(number for number, said in self._said.items() if command in said)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        number = len(self._tasks)
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass_on(reader, server_writer, number, to_server=True))
                both.create_task(self._pass_on(server_reader, writer, number, to_server=False))
        finally:
            for each in (writer, server_writer):
                each.close()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int, *, to_server: bool
    ) -> None:
        while data := await reader.read(65_536):
            if to_server:
                self._said[number] = data
            if to_server or number not in self._swallowed:
                writer.write(data)
        writer.close()
