"""Splits what a client sends to S3 or Redis into whole requests or commands, so that a fault can hit one exactly.

What goes to another server is passed on as it comes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from msgspec import Struct


class Message(Struct, frozen=True):
    """One request or command: its bytes, and the words by which a rule knows it.

    The words are `PUT /bucket/key` of a request, and the arguments of a command with spaces between them.
    """

    data: bytes
    words: bytes


class Wire(Protocol):
    """What one direction of one connection sends."""

    #: Sent after a message, so that its reply says that the message was done; empty where each has its own answer.
    probe: bytes
    #: What the answer contains once the message was done.
    done: bytes

    def feed(self, data: bytes) -> Iterator[Message]:
        """Yield the messages that are complete with these bytes."""


class Requests:
    """HTTP requests whose bodies have a length."""

    probe = b""
    done = b"\r\n\r\n"

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> Iterator[Message]:
        """Yield the requests that are complete with these bytes."""
        self._held += data
        while (end := self._held.find(b"\r\n\r\n") + 4) >= 4:
            head = self._held[:end]
            lengths = [
                line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
            ]
            whole = end + int(lengths[0] if lengths else 0)
            if len(self._held) < whole:
                return
            message, self._held = self._held[:whole], self._held[whole:]
            yield Message(message, head.partition(b" HTTP/")[0])


class Stream:
    """Bytes of any protocol: a message is what arrives at once."""

    probe = b""
    done = b""

    def feed(self, data: bytes) -> Iterator[Message]:
        """Yield the bytes."""
        yield Message(data, data)


class Commands:
    """Redis commands, in the form of arrays that every client sends."""

    _MARK = b"seen-by-the-proxy"
    probe = b"*2\r\n$4\r\nECHO\r\n$%d\r\n%s\r\n" % (len(_MARK), _MARK)
    done = _MARK

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> Iterator[Message]:
        """Yield the commands that are complete with these bytes."""
        self._held += data
        while found := self._first():
            words, end = found
            message, self._held = self._held[:end], self._held[end:]
            yield Message(message, b" ".join(words))

    def _first(self) -> tuple[list[bytes], int] | None:
        """The arguments of the first command and where it ends; None while it is not complete."""
        at = self._held.find(b"\r\n") + 2
        if at < 2:
            return None
        words = []
        for _ in range(int(self._held[1 : at - 2])):
            start = self._held.find(b"\r\n", at) + 2
            if start < 2:
                return None
            at = start + int(self._held[at + 1 : start - 2]) + 2
            if at > len(self._held):
                return None
            words.append(self._held[start : at - 2])
        return words, at
