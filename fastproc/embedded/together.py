"""Starts and stops several servers side by side, because each takes a while.

Rule 1: enter the block on a thread that lives as long as the servers must (`child`, rule 1).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Server(Protocol):
    """What an embedded server can do."""

    def start(self) -> None:
        """Start the process and return at once."""

    def wait_ready(self) -> None:
        """Return when the server can be used. Raises ServerFailed."""

    def terminate(self) -> None:
        """Ask the server to end."""

    def stop(self) -> None:
        """End the server. Idempotent."""


@contextmanager
def together(*servers: Server) -> Iterator[None]:
    """Start all the servers, wait until each is ready, and stop them at the end of the block. Raises ServerFailed."""
    try:
        for server in servers:
            server.start()
        for server in servers:
            server.wait_ready()
        yield
    finally:
        for server in servers:
            server.terminate()
        for server in servers:
            server.stop()
