"""The pipelining connection: order, batches, what becomes of commands when the server goes away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from fastproc.bullmq import pipe as pipe_module
from fastproc.bullmq.connection import Connection, ReplyError
from fastproc.bullmq.pipe import Pipe
from fastproc.core.errors import QueueUnavailable
from tests.unit.bullmq.fake_redis import Command, FakeRedis, echo


@pytest.fixture
async def server() -> AsyncIterator[FakeRedis]:
    made = FakeRedis()
    async with made.listening():
        yield made


@pytest.fixture
async def pipe(server: FakeRedis) -> AsyncIterator[Pipe]:
    made = Pipe(server.connect)
    await made.open()
    yield made
    await made.close()


async def test_replies_come_in_the_order_of_the_commands(pipe: Pipe) -> None:
    calls = [pipe.call("ECHO", n) for n in range(1000)]
    assert await asyncio.gather(*calls) == [b"%d" % n for n in range(1000)]


async def test_an_error_reply_fails_its_own_command_alone(pipe: Pipe, server: FakeRedis) -> None:
    server.answer = lambda command: b"-ERR no\r\n" if command[1] == b"bad" else echo(command)
    good, bad, after = pipe.call("ECHO", "good"), pipe.call("ECHO", "bad"), pipe.call("ECHO", "after")
    assert (await good, await after) == (b"good", b"after")
    with pytest.raises(ReplyError, match="no"):
        await bad
    assert len(server.sessions) == 1


async def test_a_script_that_the_server_does_not_know_is_told_by_its_code(
    pipe: Pipe, server: FakeRedis
) -> None:
    server.answer = lambda _: b"-NOSCRIPT No matching script. Please use EVAL.\r\n"
    with pytest.raises(ReplyError, match=r"^NOSCRIPT"):
        await pipe.call("EVALSHA", "x", 0)


async def test_a_command_that_was_sent_and_not_answered_is_never_sent_again(
    pipe: Pipe, server: FakeRedis
) -> None:
    server.answer = lambda command: None if command[1] == b"fatal" else echo(command)
    before, fatal, behind = (pipe.call("ECHO", word) for word in ("before", "fatal", "behind"))
    assert await before == b"before"
    for lost in (fatal, behind):
        with pytest.raises(QueueUnavailable) as caught:
            await lost
        assert not isinstance(caught.value, ReplyError)
    assert await pipe.call("ECHO", "later") == b"later"
    assert pipe.reconnects == 1
    assert [command[1] for command in server.commands] == [b"before", b"fatal", b"later"]


async def test_a_server_that_never_answers_is_given_up(
    pipe: Pipe, server: FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipe_module, "REPLY_TIMEOUT_S", 0.05)
    server.answer = lambda _: b""
    async with asyncio.timeout(5):
        with pytest.raises(QueueUnavailable, match="timed out"):
            await pipe.call("ECHO", "x")
    assert not pipe.connected


async def test_a_command_that_was_not_sent_yet_waits_for_the_server_to_come_back(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipe_module, "BACKOFF_MAX_S", 0.05)
    server = FakeRedis()
    async with server.listening():
        pipe = Pipe(server.connect)
        await pipe.open()
        server.answer = lambda _: None
        with pytest.raises(QueueUnavailable):
            await pipe.call("ECHO", "lost")
    caplog.clear()
    attempts = 0
    connect = pipe._connect

    async def counted() -> Connection:
        nonlocal attempts
        attempts += 1
        return await connect()

    pipe._connect = counted
    with caplog.at_level(logging.WARNING):
        waiting = pipe.call("ECHO", "waits")
        async with asyncio.timeout(5):
            while attempts < 4:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert not waiting.done()
    assert caplog.records == []  # The outage was logged when it began.
    assert pipe.outage.why
    server.answer = echo
    async with server.listening(), asyncio.timeout(5):
        assert await waiting == b"waits"
        await pipe.close()


async def test_a_command_whose_caller_has_gone_before_it_was_sent_is_never_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipe_module, "BACKOFF_MAX_S", 0.05)
    server = FakeRedis()
    async with server.listening():
        pipe = Pipe(server.connect)
        await pipe.open()
        server.answer = lambda _: None
        with pytest.raises(QueueUnavailable):
            await pipe.call("ECHO", "lost")
    gone, stays = pipe.call("ECHO", "gone"), pipe.call("ECHO", "stays")
    await asyncio.sleep(0.05)
    gone.cancel()
    server.answer = echo
    async with server.listening(), asyncio.timeout(5):
        assert await stays == b"stays"
        await pipe.close()
    assert [command[1] for command in server.commands] == [b"lost", b"stays"]


@pytest.mark.parametrize("where", ["connect", "read", "drop"])
async def test_an_error_that_nobody_expected_ends_commands_and_not_the_pipe(
    server: FakeRedis, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    broken = True

    class Odd(Connection):
        async def read(self) -> object:
            if broken and where != "connect":
                raise ValueError("odd")
            return await super().read()

        async def drop(self) -> None:
            await super().drop()
            if broken and where == "drop":
                raise RuntimeError("odder")

    async def connect() -> Connection:
        if broken and where == "connect" and pipe.reconnects + len(server.sessions) > 0:
            raise ValueError("odd")
        return Odd((await server.connect())._raw)

    pipe = Pipe(connect)
    await pipe.open()
    if where == "connect":
        server.answer = lambda _: None
    with pytest.raises(QueueUnavailable):
        await pipe.call("ECHO", "x")
    async with asyncio.timeout(5):
        while "odd" not in caplog.text:
            waiting = pipe.call("ECHO", "waits")
            await asyncio.sleep(0.01)
            waiting.cancel()
    broken, server.answer = False, echo
    async with asyncio.timeout(5):
        assert await pipe.call("ECHO", "y") == b"y"
    assert not pipe.outage.why
    await pipe.close()


async def test_a_server_that_stays_the_wrong_one_is_not_left_each_time(pipe: Pipe, server: FakeRedis) -> None:
    server.answer = lambda _: b"-READONLY You can't write.\r\n"
    for _ in range(20):
        with pytest.raises(ReplyError):
            await pipe.call("SET", "a", 1)
    assert len(server.sessions) == 2


@pytest.mark.parametrize(
    ("error", "in_part"),
    [
        ("MISCONF Redis is configured to save RDB snapshots", False),
        ("NOREPLICAS Not enough good replicas to write. script: on @user_script:6.", False),
        ("READONLY You can't write against a read only replica.", False),
        ("OOM command not allowed when used memory > 'maxmemory'.", False),
        ("NOPERM this user has no permissions to run the 'evalsha' command", False),
        ("CLUSTERDOWN The cluster is down", False),
        ("BUSY Redis is busy running a script.", False),
        ("NOSCRIPT No matching script.", False),
        ("ERR user_script:12: attempt to compare nil with number", True),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", True),
    ],
)
async def test_a_refusal_says_whether_something_may_have_been_done(
    pipe: Pipe, server: FakeRedis, error: str, in_part: bool
) -> None:
    server.answer = lambda _: f"-{error}\r\n".encode()
    with pytest.raises(ReplyError) as caught:
        await pipe.call("EVALSHA", "x", 0)
    assert caught.value.in_part is in_part
    code = error.split()[0]
    assert str(caught.value).startswith("user_script" if code == "ERR" else code)
    assert "@user_script" not in str(caught.value)


@pytest.mark.parametrize("error", ["READONLY You can't write.", "MOVED 1 127.0.0.1:1", "CLUSTERDOWN x"])
async def test_a_server_that_is_the_wrong_one_is_left(pipe: Pipe, server: FakeRedis, error: str) -> None:
    server.answer = lambda _: f"-{error}\r\n".encode()
    with pytest.raises(ReplyError) as caught:
        await pipe.call("SET", "a", 1)
    assert caught.value.wrong_server
    server.answer = echo
    assert await pipe.call("ECHO", "now") == b"now"
    assert len(server.sessions) == 2


async def test_the_greeting_comes_first_on_every_new_connection(server: FakeRedis) -> None:
    pipe = Pipe(server.connect, [["SCRIPT", "LOAD", "a"], ["SCRIPT", "LOAD", "b"]])
    await pipe.open()
    server.answer = lambda command: None if command[0] == b"ECHO" else echo(command)
    with pytest.raises(QueueUnavailable):
        await pipe.call("ECHO", "lost")
    server.answer = echo
    await pipe.call("ECHO", "x")
    greeting: list[Command] = [[b"SCRIPT", b"LOAD", b"a"], [b"SCRIPT", b"LOAD", b"b"]]
    assert server.sessions == [[*greeting, [b"ECHO", b"lost"]], [*greeting, [b"ECHO", b"x"]]]
    await pipe.close()


async def test_a_greeting_that_is_refused_ends_the_first_connection(server: FakeRedis) -> None:
    server.answer = lambda _: b"-NOPERM no\r\n"
    pipe = Pipe(server.connect, [["SCRIPT", "LOAD", "a"]])
    with pytest.raises(QueueUnavailable, match="no"):
        await pipe.open()
    assert not pipe.connected


async def test_a_server_that_is_not_there_ends_the_first_connection() -> None:
    server = FakeRedis()
    async with server.listening():
        pass
    with pytest.raises(QueueUnavailable):
        await Pipe(server.connect).open()


async def test_what_is_under_way_when_the_pipe_is_closed_ends(pipe: Pipe, server: FakeRedis) -> None:
    server.answer = lambda _: b""
    sent = pipe.call("ECHO", "sent")
    await asyncio.sleep(0.05)
    queued = pipe.call("ECHO", "queued")
    await pipe.close()
    for call in (sent, queued, pipe.call("ECHO", "too late")):
        with pytest.raises(QueueUnavailable, match="closed"):
            await call
    await pipe.close()
    assert [command[1] for command in server.commands] == [b"sent"]
