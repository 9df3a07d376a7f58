"""Listens to the commands that concern a queue, by MONITOR."""

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
