"""An HTTP server in a thread that takes what a library posts to it: reports, spans."""

from __future__ import annotations

import gzip
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Collecting(ABC):
    """Answers with `status`, after `slow_s` seconds. `address`: host and port."""

    def __init__(self) -> None:
        self.status, self.slow_s = 200, 0.0
        self._closed = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                outer._closed.wait(outer.slow_s)
                outer.take(self.path, self.headers, body)
                self.send_response(outer.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.address = f"127.0.0.1:{self._server.server_address[1]}"

    @abstractmethod
    def take(self, path: str, headers: Mapping[str, str], body: bytes) -> None:
        """Keep a request; called from a thread of its own."""

    def close(self) -> None:
        """Answer what waits, then end."""
        self._closed.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
