"""The blocking connection: the marker's score, and a connection that is dropped with a wait that failed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from fastproc.bullmq import waiter as waiter_module
from fastproc.bullmq.waiter import Waiter
from fastproc.core.errors import QueueUnavailable
from tests.unit.bullmq.fake_redis import FakeRedis

POPPED = b"*3\r\n$6\r\nmarker\r\n$1\r\n0\r\n$13\r\n1700000000000\r\n"
NOTHING = b"*-1\r\n"


@pytest.fixture
async def server() -> AsyncIterator[FakeRedis]:
    made = FakeRedis()
    async with made.listening():
        yield made


@pytest.fixture
async def waiter(server: FakeRedis) -> AsyncIterator[Waiter]:
    made = Waiter(server.connect, "marker", "bull:cQ==:w:me")
    yield made
    await made.close()


async def test_a_marker_is_told_by_its_score_and_its_absence_by_none(
    waiter: Waiter, server: FakeRedis
) -> None:
    server.answer = lambda _: POPPED
    assert await waiter.wait(5) == 1_700_000_000_000
    server.answer = lambda _: NOTHING
    assert await waiter.wait(0.0025) is None
    # One connection for both waits; Redis takes the time-out in seconds.
    assert server.sessions == [[[b"BZPOPMIN", b"marker", b"5.000"], [b"BZPOPMIN", b"marker", b"0.003"]]]


@pytest.mark.parametrize("answer", [b"-NOPERM no\r\n", b"-LOADING x\r\n", None, b"*x\r\n"], ids=str)
async def test_a_wait_that_fails_drops_the_connection(
    waiter: Waiter, server: FakeRedis, answer: bytes | None
) -> None:
    server.answer = lambda _: answer
    with pytest.raises(QueueUnavailable):
        await waiter.wait(1)
    server.answer = lambda _: NOTHING
    assert await waiter.wait(1) is None
    assert len(server.sessions) == 2


async def test_a_server_that_has_died_without_a_word_is_found_a_while_after_the_time_out(
    waiter: Waiter, server: FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiter_module, "CONNECT_TIMEOUT_S", 0.05)
    server.answer = lambda _: b""
    async with asyncio.timeout(5):
        with pytest.raises(QueueUnavailable, match="timed out"):
            await waiter.wait(0.05)


async def test_a_cancelled_wait_leaves_no_command_behind(waiter: Waiter, server: FakeRedis) -> None:
    server.answer = lambda _: b""
    waiting = asyncio.create_task(waiter.wait(60))
    while not server.commands:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    server.answer = lambda _: NOTHING
    assert await waiter.wait(1) is None
    assert len(server.sessions) == 2


async def test_closing_twice_or_before_the_first_wait_does_no_harm(server: FakeRedis) -> None:
    waiter = Waiter(server.connect, "marker", "bull:cQ==:w:me")
    await waiter.close()
    server.answer = lambda _: NOTHING
    await waiter.wait(1)
    await waiter.close()
    await waiter.close()
