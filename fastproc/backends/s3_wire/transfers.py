"""What one connection moves next, in steps that never wait: the mover's thread takes them when the socket is ready.

Rule 1: a step takes the transfer's lock, and after `is_over` it does nothing: once that is set with the lock held,
        nothing is read into the target, or sent, any more.
Rule 2: a step moves at most `STEP_BYTES`, so that whoever waits for the lock waits for less than a millisecond.
Rule 3: an answer that comes before the request was sent whole ends the sending: the server has decided.
Rule 4: no view of the caller's memory outlives its transfer.
"""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

from fastproc.backends.s3_wire import heads

#: Most that a step moves: a tenth of a millisecond of copying.
STEP_BYTES = 1 << 20
#: What is asked for with an answer's head: a small photo whole, and of a large one little that is copied twice.
FIRST_BYTES = 32 << 10
#: One record of TLS; what is shorter is sent in one.
_RECORD_BYTES = 16 << 10

#: What looks at the pieces of a body.
Seen = Callable[[memoryview], None]

_IN, _OUT = select.EPOLLIN, select.EPOLLOUT


def unseen(piece: memoryview) -> None:
    """Nobody looks at what came."""


class Transfer(ABC):
    """One thing that a socket does. `wants`: what it waits for; `error`: why it failed; `moved_at`: its last byte.

    `paced_at`: when the last piece of the least rate was complete.
    """

    wants = _IN
    is_sent = True

    def __init__(self, sock: socket.socket) -> None:
        self.sock, self.fd = sock, sock.fileno()
        self.lock = threading.Lock()
        self.is_over = False
        self.error: Exception | None = None
        self.ended: asyncio.Future[None]
        self.moved_at, self.paced_at = time.monotonic(), 0.0
        self._unsent: list[memoryview] = []

    def step(self, events: int) -> bool:
        """Move what can be moved now; return whether the transfer has ended."""
        try:
            return self._step(events)
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError):
            self.wants = _IN | (self.wants & _OUT)
        except ssl.SSLWantWriteError:
            self.wants = _IN | _OUT
        except Exception as error:
            self.error = error
            return True
        return False

    def let_go(self) -> None:
        """Let the caller's memory go."""
        for view in self._unsent:
            view.release()
        self._unsent = []

    @abstractmethod
    def _step(self, events: int) -> bool:
        """Move what can be moved; raise what the socket raises."""


class Handshake(Transfer):
    """TLS's beginning."""

    wants = _OUT

    def _step(self, events: int) -> bool:
        assert isinstance(self.sock, ssl.SSLSocket)
        self.wants = _IN
        self.sock.do_handshake()
        return True


class Ask(Transfer):
    """A request is sent, and the head of its answer read. `came`: that head, `head_bytes` long, and what followed."""

    wants = _OUT | _IN
    is_sent = False

    def __init__(self, sock: socket.socket, head: bytes, body: bytes | memoryview = b"") -> None:
        super().__init__(sock)
        self.came = bytearray()
        self.head_bytes = 0
        self._is_secure = isinstance(sock, ssl.SSLSocket)
        if self._is_secure and len(head) + len(body) <= _RECORD_BYTES:
            head, body = head + bytes(body), b""
        self._unsent = [memoryview(head), *([memoryview(body)] if len(body) else [])]
        self._broken: OSError | None = None

    def _step(self, events: int) -> bool:
        if self._unsent and not self._broken:
            if events & ~_OUT and self._receive():
                return True
            self._send()
            if not self._broken:
                return False  # The next step reads: nothing can have come yet.
        return self._receive()

    def _send(self) -> None:
        try:
            if self._is_secure:
                with self._unsent[0][:STEP_BYTES] as part:
                    sent = self.sock.send(part)
            else:
                sent = self.sock.sendmsg(self._unsent)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except OSError as error:
            self._broken = error  # The server may have said why.
            return
        self.moved_at = time.monotonic()
        while self._unsent and sent >= len(self._unsent[0]):
            view = self._unsent.pop(0)
            sent -= len(view)
            view.release()
        if self._unsent:
            view, self._unsent[0] = self._unsent[0], self._unsent[0][sent:]
            view.release()
        else:
            self.is_sent, self.wants = True, _IN

    def _receive(self) -> bool:
        try:
            part = self.sock.recv(FIRST_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            if self._unsent and not self._broken:
                return False  # There is still something to send.
            raise
        except OSError as error:
            raise self._broken or error from None
        if not part:
            raise self._broken or ConnectionResetError("the server closed the connection without an answer")
        self.moved_at = time.monotonic()
        self.came += part
        self.head_bytes = heads.end_of(self.came)
        if (self.head_bytes or len(self.came)) > heads.MAX_HEAD_BYTES:
            raise heads.Malformed(f"the head of the answer has more than {heads.MAX_HEAD_BYTES} bytes")
        return self.head_bytes > 0


class Room(NamedTuple):
    """Where bytes go: from `at` on, until `enough` are there."""

    target: memoryview
    at: int
    enough: int


class Fill(Transfer):
    """A body, or a part of it, is read into memory, until there is enough or the end comes (`is_eof`)."""

    def __init__(self, sock: socket.socket, room: Room, pace_bytes: int, seen: Seen) -> None:
        """`seen` is called with each piece that came, while it is in the cache."""
        super().__init__(sock)
        self.at, self._target, self._enough, self._seen = room.at, room.target, room.enough, seen
        self._pace_bytes, self._next = pace_bytes, room.at + pace_bytes
        self.is_eof = False

    def _step(self, events: int) -> bool:
        most = self.at + STEP_BYTES
        while True:
            with self._target[self.at :] as room:
                count = self.sock.recv_into(room, min(len(room), STEP_BYTES))
                if count:
                    with room[:count] as piece:
                        self._seen(piece)
            self.at += count
            self.moved_at = time.monotonic()
            if self.at >= self._next:
                self._next, self.paced_at = self.at + self._pace_bytes, self.moved_at
            self.is_eof = count == 0
            if self.is_eof or self.at >= self._enough:
                return True
            # What OpenSSL has already taken from the socket, no poll tells.
            if not isinstance(self.sock, ssl.SSLSocket) or (self.at >= most and not self.sock.pending()):
                return False
