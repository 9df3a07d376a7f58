"""A server that takes connections and says nothing."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from fastproc.embedded.child import HOST


@contextmanager
def silent() -> Iterator[int]:
    """Listen during the block; yield the port. The kernel takes the connections, nobody reads from them."""
    with socket.create_server((HOST, 0), backlog=16) as server:
        yield server.getsockname()[1]
