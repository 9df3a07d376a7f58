"""Which answers of Redis make a sink send again, and which make it give an event up."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fastproc.backends import redis_sink
from fastproc.backends.redis_sink import Command, RedisSink
from fastproc.core.errors import QueueRefused, QueueUnavailable
from fastproc.core.model import Event

EVENT = Event(id="1", type="photo.processing.completed", timestamp="", data={})


class Server:
    """Gives the answers in their order, the last one again and again."""

    def __init__(self, *answers: Exception | int) -> None:
        self._answers = list(answers)
        self.got: list[tuple[str | bytes | int, ...]] = []
        self.lazy: list[bool] = []

    def __call__(self, *command: str | bytes | int, lazy: bool = False) -> asyncio.Future[Any]:
        self.got.append(command)
        self.lazy.append(lazy)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
        return future


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_sink, "FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(redis_sink, "LONGEST_PAUSE_S", 0.0)


def named(event: Event) -> Command:
    return ("SEND", event.id)


@pytest.mark.parametrize(
    "answer",
    [
        QueueUnavailable("no reply: timed out"),
        QueueRefused("MISCONF Redis is configured to save RDB snapshots"),
        QueueRefused("OOM command not allowed"),
        QueueRefused("READONLY You can't write against a read only replica."),
        QueueRefused("NOREPLICAS Not enough good replicas to write."),
        QueueRefused("MOVED 1 127.0.0.1:1"),
    ],
)
async def test_a_published_event_is_sent_again_while_redis_takes_nothing_of_anybody(
    answer: Exception,
) -> None:
    server = Server(answer, answer, 1)
    sink = RedisSink(server, "it", named)
    await sink.publish(EVENT)
    assert (server.got, sink.dropped) == ([("SEND", "1")] * 3, 0)


@pytest.mark.parametrize(
    "said",
    [
        "NOPERM this user has no permissions",
        "WRONGTYPE Operation against a key holding the wrong kind of value",
        "unknown command 'SPUBLISH'",
        "the connection is closed",
    ],
)
async def test_a_published_event_that_is_refused_for_good_holds_nobody(
    said: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server(QueueRefused(said))
    sink = RedisSink(server, "the stream x", named)
    await sink.publish(EVENT)
    await sink.publish(EVENT)
    assert (len(server.got), sink.dropped) == (2, 2)
    # Of this module: a task of an earlier test that is collected now says so in the same log.
    assert [each.message for each in caplog.records if each.name == redis_sink.__name__] == [
        f"the stream x: events not published (1 so far): {said}"
    ]


async def test_a_posted_event_is_sent_once_whatever_the_answer() -> None:
    server = Server(QueueUnavailable("no reply"), 1)
    sink = RedisSink(server, "it", named)
    sink.post(EVENT)
    await sink.close()
    assert (len(server.got), sink.dropped) == (1, 1)


async def test_a_posted_event_may_wait_for_others_and_a_published_one_does_not() -> None:
    server = Server(1)
    sink = RedisSink(server, "it", named)
    sink.post(EVENT)
    await sink.publish(EVENT)
    assert server.lazy == [True, False]


async def test_an_event_that_a_sink_has_no_use_for_is_not_sent_and_not_dropped() -> None:
    server = Server(1)
    sink = RedisSink(server, "it", lambda event: None)
    sink.post(EVENT)
    await sink.publish(EVENT)
    assert (server.got, sink.dropped) == ([], 0)


@pytest.mark.parametrize(
    "error", [OverflowError("can't serialize ints"), ValueError("surrogates not allowed")]
)
async def test_an_event_that_cannot_be_encoded_is_dropped_and_fails_nobody(error: Exception) -> None:
    def broken(event: Event) -> Command:
        raise error

    server = Server(1)
    sink = RedisSink(server, "it", broken)
    sink.post(EVENT)
    await sink.publish(EVENT)
    assert (server.got, sink.dropped) == ([], 2)


async def test_events_that_redis_refuses_are_a_line_when_it_begins_and_one_when_it_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = Server(*[QueueRefused("NOPERM no permission")] * 30, 1)
    sink = RedisSink(server, "the stream x", named, "redis:6379")
    for _ in range(15):
        await sink.publish(EVENT)
        sink.post(EVENT)
    assert len(caplog.records) == 1
    for _ in range(3):
        await sink.publish(EVENT)
    assert [each.getMessage() for each in caplog.records] == [
        "the stream x: events not published (1 so far): NOPERM no permission",
        "the stream x: events are published again",
    ]
    begin, end = (each.fields for each in caplog.records)
    assert (begin["neighbour"], begin["endpoint"], begin["sink"]) == ("events", "redis:6379", "the stream x")
    assert (end["outage"], end["dropped"]) == ("end", 30)
