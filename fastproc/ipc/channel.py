"""Sends and receives one packet at a time, with descriptors: the two ends of a worker's socket.

Rule 1: AF_UNIX SOCK_SEQPACKET: the kernel keeps packets whole and reports the other side's death as end of file.
Rule 2: the worker's end blocks and uses only poll, recvmsg and sendmsg, which are all that its jail allows. asyncio is
        the supervisor's: a worker never loads it (4 MB).
Rule 3: the supervisor's end trusts nothing: a packet too long, not decodable, or with descriptors is a ProtocolError.
"""

from __future__ import annotations

import array
import contextlib
import select
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from fastproc.ipc.messages import (
    MAX_MESSAGE_BYTES,
    FromWorker,
    Task,
    decode_from_worker,
    decode_to_worker,
    encode,
)

if TYPE_CHECKING:
    import asyncio

#: Most descriptors in one packet: an output lane and a few source lanes. Linux itself allows 253.
MAX_DESCRIPTORS = 8


#: As plain numbers: `&` with a flag of `socket` is Python code of the enum module, a fifth of a packet's receipt.
_TRUNCATED, _LOST_DESCRIPTORS = int(socket.MSG_TRUNC), int(socket.MSG_CTRUNC)

#: Where the supervisor's ends receive a packet, which is decoded before the next one: memory of this size a packet is
#: four fifths of what its receipt costs.
_PACKET = memoryview(bytearray(MAX_MESSAGE_BYTES))


class ProtocolError(Exception):
    """The other side sent something that no healthy worker sends."""


def pair() -> tuple[socket.socket, socket.socket]:
    """Return the two ends, supervisor's first. Neither is inherited by a child process by default. Raises OSError."""
    with contextlib.ExitStack() as undo:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        undo.callback(ours.close)
        undo.callback(theirs.close)
        for end in (ours, theirs):
            # A message must fit into the buffers whole; the system's default is 208 KiB, but it can be set lower.
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * MAX_MESSAGE_BYTES)
        undo.pop_all()
    return ours, theirs


class WorkerChannel:
    """The worker's end: blocking."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)

    def is_quiet(self, wait_ms: int) -> bool:
        """Wait for a task or the end of the channel; return whether neither came within so many milliseconds."""
        return not self._poll.poll(wait_ms)

    def receive(self) -> tuple[Task, list[int]] | None:
        """Return the next task with its descriptors, or None when the supervisor has closed the channel."""
        space = socket.CMSG_SPACE(MAX_DESCRIPTORS * array.array("i").itemsize)
        packet, ancillary, _flags, _ = self._socket.recvmsg(MAX_MESSAGE_BYTES, space, socket.MSG_CMSG_CLOEXEC)
        if not packet:
            return None
        fds = array.array("i")
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
        return decode_to_worker(packet), list(fds)

    def send(self, message: FromWorker) -> None:
        """Raises ValueError for a message over MAX_MESSAGE_BYTES; OSError when the supervisor is gone."""
        self._socket.sendmsg([encode(message)])


class SupervisorChannel:
    """The supervisor's end of one worker: calls callbacks from the running event loop."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def listen(self, on_message: Callable[[FromWorker], None], on_end: Callable[[str], None]) -> None:
        """Call `on_message` for each message, then `on_end` once: with "" at end of file, or with what was wrong."""
        self._on_message, self._on_end = on_message, on_end
        # Imported here: see rule 2.
        import asyncio

        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._readable)

    def send(self, task: Task, fds: Sequence[int]) -> None:
        """Send a task. Raises OSError when the worker is gone or does not read."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self._socket.sendmsg([encode(task)], rights)

    def drain(self) -> None:
        """Read what a dead worker sent before it died. Call it before `close`, so that no last message is lost."""
        while not self._closed and self._readable():
            pass

    def close(self) -> None:
        """Close without further callbacks: a live worker sees end of file. Idempotent."""
        if not self._closed:
            self._closed = True
            if self._loop:
                self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    def _readable(self) -> bool:
        try:
            message = self._receive()
        except BlockingIOError:
            return False
        except (ProtocolError, OSError) as error:
            self._finish(str(error))
            return False
        if message is None:
            self._finish("")
            return False
        self._on_message(message)
        return True

    def _receive(self) -> FromWorker | None:
        try:
            size, _, flags, _ = self._socket.recvmsg_into([_PACKET])
        except ConnectionResetError:
            # It died before it read its task: an end like any other; the process's exit status says more.
            return None
        if flags & _LOST_DESCRIPTORS:
            # There was no buffer for descriptors, so the kernel has closed them.
            raise ProtocolError("it sent descriptors")
        if flags & _TRUNCATED:
            raise ProtocolError(f"it sent a message over {MAX_MESSAGE_BYTES} bytes")
        if not size:
            return None
        try:
            return decode_from_worker(_PACKET[:size])
        except (ValueError, RecursionError) as error:
            raise ProtocolError(f"it sent a message that cannot be read: {error}") from None

    def _finish(self, wrong: str) -> None:
        self.close()
        self._on_end(wrong)
