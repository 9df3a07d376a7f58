"""The head of a request as bytes, and the head of an answer as values. Nothing is sent or received here.

Rule 1: llhttp (`httptools`) reads what a server says, as strictly as it does unless told otherwise; what it does not
        take is `Malformed`.
Rule 2: a body's end is known before its first byte is taken: by its length, by chunks, or by the connection's end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import httptools

#: More than that is no head of an S3 server's answer. S3 itself sends at most 8 KiB of metadata and headers.
MAX_HEAD_BYTES = 64 << 10

#: An interim answer, after which another one follows; 101 is not one that was asked for.
_INTERIM = re.compile(rb"HTTP/1\.\d 1(?!01)\d\d[ \r]")


class Malformed(Exception):
    """The server's answer is no HTTP."""


class Headers(Mapping[str, str]):
    """Headers by their names, whatever the case in which they were sent. A repeated one is joined by commas.

    Kept as bytes: of the ten or more that an answer has, two or three are read.
    """

    def __init__(self) -> None:
        self._sent: dict[bytes, bytes] = {}

    def add(self, name: bytes, value: bytes) -> None:
        """One line of the head."""
        key = name.lower()
        before = self._sent.get(key)
        self._sent[key] = value if before is None else b"%s, %s" % (before, value)

    def __getitem__(self, name: str) -> str:
        return self._sent[name.lower().encode("latin-1")].decode("utf-8", "surrogateescape")

    def __iter__(self) -> Iterator[str]:
        return (name.decode("latin-1") for name in self._sent)

    def __len__(self) -> int:
        return len(self._sent)


def request(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    """The head of a request. Raises ValueError for a header that would be more than one line."""
    lines = [f"{method} {target} HTTP/1.1", *[f"{name}: {value}" for name, value in headers.items()], "", ""]
    head = "\r\n".join(lines)
    if head.count("\n") != len(lines) - 1 or head.count("\r") != len(lines) - 1 or "\0" in head:
        raise ValueError("a header has a line's end in it")
    return head.encode()


def end_of(came: bytearray) -> int:
    """Where the head of a final answer ends in what came; 0 where it has not yet. Drops interim answers."""
    while (end := came.find(b"\r\n\r\n")) >= 0:
        if not _INTERIM.match(came):
            return end + 4
        del came[: end + 4]
    return 0


class Head:
    """An answer's head, and the reader of its chunks. `length`: None where it is not announced."""

    def __init__(self, head: bytes) -> None:
        """Raises Malformed."""
        self.headers = Headers()
        self._chunks: list[bytes] = []
        self._is_complete = self.is_ended = self.is_kept = False
        #: For llhttp: it is called with each header.
        self.on_header = self.headers.add
        self._parser = httptools.HttpResponseParser(self)
        self._feed(head)
        if not self._is_complete:
            raise Malformed("the head of the answer has no end")
        self.status = self._parser.get_status_code()
        self.is_chunked = self.headers.get("Transfer-Encoding", "").lower() == "chunked"
        length = self.headers.get("Content-Length")
        self.length = int(length) if length is not None and not self.is_chunked else None
        if self.status in (204, 304):
            self.length = 0

    def chunked(self, part: bytes) -> list[bytes]:
        """What a part of a body in chunks holds; `is_ended` tells whether it was the last. Raises Malformed."""
        self._chunks = []
        self._feed(part)
        return self._chunks

    def _feed(self, part: bytes) -> None:
        try:
            self._parser.feed_data(part)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise Malformed(f"the answer is no HTTP ({error or type(error).__name__})") from None

    def on_headers_complete(self) -> None:
        """For llhttp."""
        self._is_complete = True
        # Not later: llhttp forgets it with the end of an empty body.
        self.is_kept = self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        """For llhttp."""
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        """For llhttp."""
        self.is_ended = True
