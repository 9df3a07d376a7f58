"""A server that looks like S3 and keeps one photo in memory: where a real store would be a simulation's bottleneck.

Every read of a key that ends in .jpg is answered with the photo; what is written is forgotten. `--delay-ms`: each
answer comes so much later, as from a store that is far away. It knows no signatures and no checksums, so it costs
the service less than a real store does: measure costs a job with SeaweedFS, and what only the number of workers or the
distance decides with this one.

    python bench/memory_store.py PHOTO [--port 9000] [--delay-ms 20]
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import cast

import needs
import uvloop

_MISSING = b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>NoSuchKey</Code><Message>no</Message></Error>'
_HEAD = b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n"


class Connection(asyncio.Protocol):
    """One client: requests that follow each other, answered in order."""

    def __init__(self, photo: bytes, delay_s: float) -> None:
        self._photo, self._delay_s = photo, delay_s
        self._head = bytearray()
        self._left, self._answer = 0, b""
        self._out: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way out."""
        # uvloop's transports are none of asyncio's classes.
        self._out = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Read heads, skip bodies."""
        while data or not self._left:
            if not self._left:
                self._head += data
                end = self._head.find(b"\r\n\r\n")
                if end < 0:
                    return
                head, data = bytes(self._head[:end]), bytes(self._head[end + 4 :])
                self._head.clear()
                self._left, self._answer = _length(head), self._reply(head)
            skipped = min(self._left, len(data))
            self._left, data = self._left - skipped, data[skipped:]
            if self._left:
                return
            asyncio.get_running_loop().call_later(self._delay_s, self._send, self._answer)
            if not data:
                return

    def _send(self, answer: bytes) -> None:
        if self._out and not self._out.is_closing():
            self._out.write(answer)

    def _reply(self, head: bytes) -> bytes:
        method, path, _ = head.split(b" ", 2)
        if method == b"PUT":
            return _HEAD % (b"200 OK", 0, b'ETag: "0"\r\n')
        if not path.partition(b"?")[0].endswith(b".jpg"):
            return _HEAD % (b"404 Not Found", len(_MISSING), b"Content-Type: application/xml\r\n") + _MISSING
        described = b'ETag: "1"\r\nContent-Type: image/jpeg\r\n'
        return _HEAD % (b"200 OK", len(self._photo), described) + (self._photo if method == b"GET" else b"")


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def serve(photo: bytes, port: int, delay_s: float) -> None:
    """Serve until the process ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(photo, delay_s), "127.0.0.1", port)
    await server.serve_forever()


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(description="One photo in memory, behind what looks like S3.")
    parser.add_argument("photo", type=Path)
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--delay-ms", type=float, default=0.0, help="before each answer")
    args = parser.parse_args()
    uvloop.run(serve(needs.photo(args.photo).read_bytes(), args.port, args.delay_ms / 1000))


if __name__ == "__main__":
    main()
