"""Lazy commands: they travel with others, in their order, and none is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence

import pytest

from fastproc.bullmq import outgoing
from fastproc.bullmq import pipe as pipe_module
from fastproc.bullmq.connection import Connection
from fastproc.bullmq.pipe import Pipe
from fastproc.bullmq.protocol import Arg
from fastproc.core.errors import QueueUnavailable
from tests.unit.bullmq.fake_redis import FakeRedis, echo


class Counting(Connection):
    """Remembers how many commands each write had."""

    def __init__(self, plain: Connection, writes: list[int]) -> None:
        super().__init__(plain._raw)
        self._writes = writes

    async def send(self, commands: Iterable[Sequence[Arg]]) -> None:
        commands = list(commands)
        if commands:
            self._writes.append(len(commands))
        await super().send(commands)


@pytest.fixture
async def server() -> AsyncIterator[FakeRedis]:
    made = FakeRedis()
    async with made.listening():
        yield made


@pytest.fixture
def writes() -> list[int]:
    return []


@pytest.fixture
async def pipe(server: FakeRedis, writes: list[int]) -> AsyncIterator[Pipe]:
    async def connect() -> Connection:
        return Counting(await server.connect(), writes)

    made = Pipe(connect)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
def for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lazy command waits until another one comes."""
    monkeypatch.setattr(outgoing, "LINGER_S", 3600.0)


@pytest.mark.usefixtures("for_ever")
async def test_lazy_commands_go_with_the_next_that_is_not_in_one_write_and_in_order(
    pipe: Pipe, server: FakeRedis, writes: list[int]
) -> None:
    lazy = [pipe.call("ECHO", "a", lazy=True), pipe.call_late(lambda: ["ECHO", "b"])]
    await asyncio.sleep(0.05)
    assert writes == []
    assert await pipe.call("ECHO", "c") == b"c"
    assert [await each for each in lazy] == [b"a", b"b"]
    assert writes == [3]
    assert [command[1] for command in server.commands] == [b"a", b"b", b"c"]


async def test_lazy_commands_that_nothing_follows_go_together_after_a_moment(
    pipe: Pipe, writes: list[int]
) -> None:
    first = pipe.call("ECHO", "a", lazy=True)
    await asyncio.sleep(0)
    second = pipe.call("ECHO", "b", lazy=True)
    async with asyncio.timeout(5):
        assert (await first, await second) == (b"a", b"b")
        assert await pipe.call("ECHO", "c", lazy=True) == b"c"
    assert writes == [2, 1]


@pytest.mark.usefixtures("for_ever")
async def test_a_late_command_is_asked_for_when_it_is_sent(pipe: Pipe) -> None:
    words: list[Arg] = ["ECHO", "early"]
    sent = pipe.call_late(lambda: words)
    words[1] = "late"
    await pipe.call("ECHO", "c")
    assert await sent == b"late"


@pytest.mark.usefixtures("for_ever")
async def test_lazy_commands_of_a_pipe_that_is_closed_end(pipe: Pipe) -> None:
    lazy = pipe.call("ECHO", "a", lazy=True)
    await pipe.close()
    for call in (lazy, pipe.call("ECHO", "b", lazy=True), pipe.call_late(lambda: ["ECHO", "c"])):
        with pytest.raises(QueueUnavailable, match="closed"):
            await call


async def test_a_batch_is_given_up_by_its_own_time_whatever_came_before_it(
    pipe: Pipe, server: FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipe_module, "REPLY_TIMEOUT_S", 0.2)
    async with asyncio.timeout(5):
        assert await pipe.call("ECHO", "in time") == b"in time"
        await asyncio.sleep(0.15)
        server.answer = lambda command: b"" if command[1] == b"late" else echo(command)
        late = pipe.call("ECHO", "late")
        # The time of the batch before is over, that of this one is not.
        await asyncio.sleep(0.1)
        assert not late.done()
        with pytest.raises(QueueUnavailable, match="timed out"):
            await late
        assert await pipe.call("ECHO", "again") == b"again"
        await asyncio.sleep(0.3)
        # An idle connection is left alone.
        assert pipe.connected
        assert await pipe.call("ECHO", "later") == b"later"
    assert len(server.sessions) == 2
