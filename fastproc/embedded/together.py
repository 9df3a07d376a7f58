"""Starts and stops several servers side by side, because each takes a while.

Rule 1: enter the block on a thread that lives as long as the servers must (`child`, rule 1).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from fastproc import interruption


class Server(Protocol):
    """What an embedded server can do."""

    def start(self) -> None:
        """Start the process and return at once."""

    def wait_ready(self) -> None:
        """Return when the server can be used. Raises ServerFailed."""

    def drop(self) -> None:
        """End the server, whose data nobody needs any more, as fast as can be; `stop` waits for it."""

    def stop(self) -> None:
        """End the server. Idempotent."""


def begin(server: Server) -> None:
    """Start one server and wait until it is ready. Where that fails or is interrupted, it is ended."""
    try:
        server.start()
        server.wait_ready()
    except BaseException:
        with interruption.held():
            server.stop()
        raise


@contextmanager
def together(*servers: Server) -> Iterator[None]:
    """Start the servers, wait until each is ready; end them, with their data, after the block. Raises ServerFailed."""
    try:
        for server in servers:
            server.start()
        for server in servers:
            server.wait_ready()
        yield
    finally:
        with interruption.held():
            for server in servers:
                server.drop()
            for server in servers:
                server.stop()
