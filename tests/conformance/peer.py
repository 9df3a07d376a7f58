"""The Python end of peer.js: the official BullMQ of three majors, in a Node process of its own."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import subprocess
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
#: Longest that an operation may take.
PATIENCE_S = 20.0


class PeerError(Exception):
    """The official library threw; the message is its own."""


class Peer:
    """One Node process. Methods may be called from any event loop, so that one process serves a whole session.

    `folder` has the program, and the packages that it drives; `words` are the program's arguments.
    """

    def __init__(self, *words: str | int, folder: Path = HERE, program: str = "peer.js") -> None:
        command = ["node", program, *map(str, words)]
        self._process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._ids = itertools.count()
        self._waiting: dict[int, Future[Any]] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    async def __call__(self, op: str, **command: Any) -> Any:
        """Do one operation of peer.js. Raises PeerError with the library's message."""
        async with asyncio.timeout(PATIENCE_S):
            return await asyncio.wrap_future(self._send(op, command))

    def wait(self, op: str, **command: Any) -> Any:
        """The same, from outside a loop."""
        return self._send(op, command).result(PATIENCE_S)

    def kill(self) -> None:
        """End the process as a crash does."""
        self._process.kill()
        self.close()

    def close(self) -> None:
        """End the process and wait for it. Idempotent."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        try:
            self._process.wait(3)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(3)
        self._process.stdout.close()

    def _send(self, op: str, command: dict[str, Any]) -> Future[Any]:
        assert self._process.stdin
        number = next(self._ids)
        future = self._waiting[number] = Future()
        self._process.stdin.write(json.dumps({"id": number, "op": op, **command}) + "\n")
        self._process.stdin.flush()
        return future

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            answer = json.loads(line)
            future = self._waiting.pop(answer["id"])
            if future.cancelled():
                continue
            if "error" in answer:
                future.set_exception(PeerError(answer["error"]))
            else:
                future.set_result(answer["ok"])
        for future in self._waiting.values():
            future.set_exception(PeerError("the Node process has ended"))


def missing(folder: Path = HERE) -> str:
    """What is not there of Node and the packages, or an empty text."""
    if not shutil.which("node"):
        return "Node is not installed"
    wanted = json.loads((folder / "package.json").read_text())["dependencies"]
    if not all((folder / "node_modules" / name).is_dir() for name in wanted):
        return "the packages are not installed: scripts/node"
    return ""


def require(folder: Path = HERE) -> None:
    """Skip the test where Node or the packages are missing; in CI that is a failure (tests/skips.py)."""
    if why := missing(folder):
        pytest.skip(why)
