"""The two ends of a worker's socket, against each other and against a hostile other side."""

from __future__ import annotations

import array
import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from fastproc.core.model import Report
from fastproc.ipc.channel import MAX_DESCRIPTORS, SupervisorChannel, WorkerChannel, pair
from fastproc.ipc.messages import MAX_MESSAGE_BYTES, Done, Failed, Progress, Ready, Task, encode


class Received:
    """What a supervisor's channel has received so far."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.ends: list[str] = []
        self._more = asyncio.Event()

    def message(self, message: Any) -> None:
        self.messages.append(message)
        self._more.set()

    def ended(self, how: str) -> None:
        self.ends.append(how)
        self._more.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                self._more.clear()
                await self._more.wait()

    async def end(self) -> str:
        await self.until(lambda: bool(self.ends))
        return self.ends[0]


@pytest.fixture
async def ends() -> AsyncIterator[tuple[SupervisorChannel, socket.socket, Received]]:
    """A listening supervisor's channel, the raw socket of the other side, and what was received."""
    ours, theirs = pair()
    channel, received = SupervisorChannel(ours), Received()
    channel.listen(received.message, received.ended)
    with theirs:
        yield channel, theirs, received
    channel.close()


#: A healthy message but for one fact, which is a bomb: facts are any JSON, so the type does not stop it.
MARKED = encode(Done(report=Report(width=1, height=1, format="x", facts={"metadata": {"x": "MARK"}})))
DEEP = MARKED.replace(b"\xa4MARK", b"\x91" * 100_000 + b"\xc0")
#: A map whose key is a map: no Python value has that shape.
MAP_AS_KEY = MARKED.replace(b"\xa4MARK", b"\x81\x80\x01")

Ends = tuple[SupervisorChannel, socket.socket, Received]


async def test_messages_come_whole_and_in_order(ends: Ends) -> None:
    _, theirs, received = ends
    sent = [Progress(stage=f"s{n}") for n in range(20)]
    for message in sent:
        theirs.send(encode(message))
    await received.until(lambda: len(received.messages) == 20)
    assert received.messages == sent
    assert received.ends == []


async def test_a_worker_gets_its_task_with_the_descriptors_in_their_order(ends: Ends) -> None:
    channel, theirs, _ = ends
    files = [os.memfd_create(f"test-{n}") for n in range(MAX_DESCRIPTORS)]
    for n, fd in enumerate(files):
        os.write(fd, bytes([n]))
    task = Task(lane=1, size=5, fresh=tuple(range(MAX_DESCRIPTORS)))
    channel.send(task, files)
    channel.send(Task(lane=1, size=6), [])
    worker = WorkerChannel(os.dup(theirs.fileno()))
    got = worker.receive()
    assert got is not None
    assert got[0] == task
    assert [os.pread(fd, 1, 0) for fd in got[1]] == [bytes([n]) for n in range(MAX_DESCRIPTORS)]
    assert [os.get_inheritable(fd) for fd in got[1]] == [False] * MAX_DESCRIPTORS
    assert worker.receive() == (Task(lane=1, size=6), [])
    for fd in [*files, *got[1]]:
        os.close(fd)
    worker._socket.close()


async def test_a_worker_knows_whether_a_task_or_the_end_has_come(ends: Ends) -> None:
    channel, theirs, _ = ends
    worker = WorkerChannel(os.dup(theirs.fileno()))
    assert worker.is_quiet(1)
    channel.send(Task(lane=1, size=5), [])
    assert not worker.is_quiet(0)
    worker.receive()
    assert worker.is_quiet(0)
    channel.close()
    assert not worker.is_quiet(0)
    worker._socket.close()


async def test_the_largest_message_fits(ends: Ends) -> None:
    _, theirs, received = ends
    report = Report(width=1, height=1, format="jpeg", facts={"metadata": {"x": "y" * 150_000}})
    worker = WorkerChannel(os.dup(theirs.fileno()))
    worker.send(Done(report=report))
    worker._socket.close()
    await received.until(lambda: bool(received.messages))
    assert received.messages == [Done(report=report)]


async def test_a_worker_sees_the_end_when_the_supervisor_closes(ends: Ends) -> None:
    channel, theirs, received = ends
    worker = WorkerChannel(os.dup(theirs.fileno()))
    channel.close()
    channel.close()
    assert worker.receive() is None
    with pytest.raises(BrokenPipeError):
        worker.send(Progress(stage="x"))
    worker._socket.close()
    await asyncio.sleep(0)
    assert received.ends == []


async def test_the_end_of_the_other_side_is_reported_once_and_after_its_last_message(ends: Ends) -> None:
    _, theirs, received = ends
    theirs.send(encode(Progress(stage="last")))
    theirs.close()
    assert await received.end() == ""
    await asyncio.sleep(0.01)
    assert received.messages == [Progress(stage="last")]
    assert received.ends == [""]


async def test_an_end_before_a_task_was_read_is_an_end_like_any_other(ends: Ends) -> None:
    channel, theirs, received = ends
    channel.send(Task(lane=1, size=1), [])
    theirs.close()  # The kernel reports "connection reset" if something was left unread.
    assert await received.end() == ""


async def test_draining_reads_what_a_dead_worker_sent_before(ends: Ends) -> None:
    channel, theirs, received = ends
    for n in range(5):
        theirs.send(encode(Progress(stage=str(n))))
    theirs.close()
    channel.drain()
    assert [message.stage for message in received.messages] == ["0", "1", "2", "3", "4"]
    assert received.ends == [""]


async def test_draining_a_quiet_channel_returns_at_once(ends: Ends) -> None:
    channel, _, received = ends
    channel.drain()
    assert received.ends == received.messages == []


@pytest.mark.parametrize(
    ("packet", "complaint"),
    [
        (b"\xc1", "cannot be read"),
        (b"\x91" * 100_000, "cannot be read"),
        (DEEP, "cannot be read"),
        (MAP_AS_KEY, "cannot be read"),
        (b"x" * (MAX_MESSAGE_BYTES + 1), "a message over"),
        (encode(Task(lane=1, size=1)), "cannot be read"),
    ],
    ids=["no msgpack", "nested bomb", "a bomb inside a fact", "a map as a key", "too long", "a task"],
)
async def test_what_no_healthy_worker_sends_ends_the_channel_with_a_reason(
    ends: Ends, packet: bytes, complaint: str
) -> None:
    _, theirs, received = ends
    theirs.send(packet)
    theirs.send(encode(Progress(stage="too late")))
    assert complaint in await received.end()
    assert received.messages == []


async def test_descriptors_from_a_worker_are_refused_and_not_left_open(ends: Ends) -> None:
    _, theirs, received = ends
    before = len(os.listdir("/proc/self/fd"))
    with socket.socket() as file:
        rights = array.array("i", [file.fileno()] * 4)
        theirs.sendmsg([encode(Progress(stage="x"))], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    assert await received.end() == "it sent descriptors"
    assert received.messages == []
    assert len(os.listdir("/proc/self/fd")) < before  # Ours is closed, and nothing came in.


async def test_a_worker_that_does_not_read_makes_sending_an_error_and_not_a_wait(ends: Ends) -> None:
    channel, _, _ = ends
    task = Task(lane=1, size=1, content_type="x" * 1000)

    def send_for_ever() -> None:
        while True:
            channel.send(task, [])

    with pytest.raises(BlockingIOError):
        send_for_ever()


async def test_a_task_for_a_worker_that_is_gone_is_an_error(ends: Ends) -> None:
    channel, theirs, _ = ends
    theirs.close()
    with pytest.raises(BrokenPipeError):
        channel.send(Task(lane=1, size=1), [])


async def test_neither_end_is_inherited_by_a_child(ends: Ends) -> None:
    ours, theirs = pair()
    with ours, theirs:
        assert not ours.get_inheritable()
        assert not theirs.get_inheritable()


def test_a_message_that_is_too_large_is_not_sent_by_a_worker() -> None:
    ours, theirs = pair()
    worker = WorkerChannel(theirs.detach())
    with ours:
        with pytest.raises(ValueError, match="the limit is"):
            worker.send(Failed(code="X", message="y" * MAX_MESSAGE_BYTES, stage=""))
        worker.send(Ready(encoders={}, versions={}))
        worker._socket.close()
