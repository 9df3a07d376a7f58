"""The sinks of the stream and of Socket.IO on a real server: their port's suite, and what a listener can replay."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
import redis

from fastproc.backends import events_socketio, events_stream
from fastproc.bullmq.address import connector
from fastproc.bullmq.pipe import Pipe
from fastproc.config.events import EventsConfig
from fastproc.config.redis import RedisConfig
from fastproc.core.model import Event
from fastproc.embedded.valkey import Valkey
from fastproc.supervisor.ports import EventSink
from tests.integration.proxy import Proxy
from tests.integration.suite_events import EventSinkSuite, event

#: The suite's events have no client, but a photo.
ROOMS = ("{photoId}",)


@pytest.fixture
def operator(own: Valkey) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(own.url, protocol=2, decode_responses=True) as client:
        client.ping()
        yield client


@pytest.fixture
def make(pipe: Pipe, unique: str) -> Callable[..., EventSink]:
    """Makes the sink of a stream of the test's own, by further settings."""
    return lambda **settings: events_stream.create(pipe.call, EventsConfig(stream=unique, **settings))


class Reader:
    """A consumer that goes on from the entry that it read last."""

    def __init__(
        self, client: redis.Redis, key: str, read: Callable[[dict[str, str]], tuple[str, Any]]
    ) -> None:
        self._client, self._key, self._read, self._last = client, key, read, "0-0"

    async def hear(self, count: int) -> list[tuple[str, dict[str, object]]]:
        found: list[tuple[str, dict[str, object]]] = []
        async with asyncio.timeout(5):
            while len(found) < count:
                entries = self._client.xread({self._key: self._last}, count=count - len(found))
                for self._last, fields in entries[0][1] if entries else ():
                    found.append(self._read(fields))
                await asyncio.sleep(0)
        return found

    async def silence(self) -> None:
        assert self._client.xread({self._key: self._last}) == []


def of_ours(fields: dict[str, str]) -> tuple[str, Any]:
    assert list(fields) == ["id", "type", "event"]
    told = json.loads(fields["event"])
    assert (fields["id"], fields["type"]) == (told["id"], told["type"])
    return fields["type"], told


def of_socketio(fields: dict[str, str]) -> tuple[str, Any]:
    said = json.loads(fields["data"])["packet"]["data"]
    return said[0], said[1]


class TestStreamSink(EventSinkSuite):
    @pytest.fixture
    def sink(self, make: Callable[..., EventSink]) -> EventSink:
        return make()

    @pytest.fixture
    def listener(self, operator: redis.Redis, unique: str) -> Reader:
        return Reader(operator, unique, of_ours)


class TestSocketioStreams(EventSinkSuite):
    @pytest.fixture
    def sink(self, pipe: Pipe, unique: str) -> EventSink:
        config = EventsConfig(socketio="streams", socketio_key=unique, socketio_rooms=ROOMS)
        return events_socketio.create(pipe.call, config)

    @pytest.fixture
    def listener(self, operator: redis.Redis, unique: str) -> Reader:
        return Reader(operator, unique, of_socketio)


class Subscriber:
    """A connection that has asked for all channels of the test's key."""

    def __init__(self, channel: redis.client.PubSub) -> None:
        self._channel = channel

    async def hear(self, count: int) -> list[tuple[str, dict[str, object]]]:
        found = []
        for _ in range(count):
            message = await asyncio.to_thread(self._channel.get_message, timeout=5.0)
            assert message is not None, f"{len(found)} of {count} events came"
            said = msgspec.msgpack.decode(message["data"])[1]["data"]
            found.append((said[0], said[1]))
        return found

    async def silence(self) -> None:
        assert self._channel.get_message(timeout=0.1) is None


class TestSocketioPubsub(EventSinkSuite):
    @pytest.fixture
    def sink(self, pipe: Pipe, unique: str) -> EventSink:
        config = EventsConfig(socketio="pubsub", socketio_key=unique, socketio_rooms=ROOMS)
        return events_socketio.create(pipe.call, config)

    @pytest.fixture
    def listener(self, own: Valkey, unique: str) -> Iterator[Subscriber]:
        with redis.Redis.from_url(own.url, protocol=2) as client:
            channel = client.pubsub(ignore_subscribe_messages=True)
            channel.psubscribe(f"{unique}#*")
            channel.get_message(timeout=5.0)
            yield Subscriber(channel)
            channel.close()


async def test_a_stream_is_cut_to_about_its_cap_and_keeps_the_newest(
    make: Callable[..., EventSink], operator: redis.Redis, unique: str
) -> None:
    sink = make(stream_max=100)
    for number in range(1000):
        sink.post(event(number))
    await sink.publish(event(1000, "completed"))
    kept = operator.xrange(unique)
    assert 100 <= len(kept) < 300
    assert kept[-1][1]["id"] == "job-1:1000"


async def test_progress_can_be_left_out(
    make: Callable[..., EventSink], operator: redis.Redis, unique: str
) -> None:
    sink = make(stream_progress=False)
    for number, kind in enumerate(("started", "progress", "progress", "failed", "progress", "completed")):
        await sink.publish(event(number, kind))
    assert [fields["id"] for _, fields in operator.xrange(unique)] == ["job-1:0", "job-1:3", "job-1:5"]
    assert sink.dropped == 0


async def test_what_was_missed_is_replayed_from_the_last_entry_and_a_double_has_the_same_id(
    own: Valkey, operator: redis.Redis, unique: str
) -> None:
    proxy = Proxy(own.host, own.port)
    async with proxy.listening() as port:
        pipe = Pipe(connector(RedisConfig(host=own.host, port=port), "any-key"))
        await pipe.open()
        sink = events_stream.create(pipe.call, EventsConfig(stream=unique))
        listener = Reader(operator, unique, of_ours)
        await sink.publish(event(1))
        assert [told["id"] for _, told in await listener.hear(1)] == ["job-1:1"]
        await sink.publish(event(2))
        proxy.cut("reply", b"XADD", times=2)
        async with asyncio.timeout(10):
            await sink.publish(event(3, "completed"))
        await sink.publish(event(4))
        await pipe.close()
    missed = [told["id"] for _, told in await listener.hear(5)]
    assert missed == ["job-1:2", *["job-1:3"] * 3, "job-1:4"]
    await listener.silence()
    assert sink.dropped == 0


async def test_an_event_waits_until_redis_takes_writes_again(
    make: Callable[..., EventSink], operator: redis.Redis, unique: str
) -> None:
    sink = make()
    operator.config_set("min-replicas-to-write", 1)
    try:
        sink.post(event(1))
        publishing = asyncio.create_task(sink.publish(event(2, "completed")))
        await asyncio.sleep(0.3)
        assert not publishing.done()
    finally:
        operator.config_set("min-replicas-to-write", 0)
    await asyncio.wait_for(publishing, 10)
    assert [fields["id"] for _, fields in operator.xrange(unique)] == ["job-1:2"]
    assert sink.dropped == 1


async def test_a_key_of_another_type_holds_nobody_and_is_named_in_the_log(
    make: Callable[..., EventSink], operator: redis.Redis, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    operator.set(unique, "somebody's")
    sink = make()
    for number in range(20):
        sink.post(event(number))
    await asyncio.wait_for(sink.publish(event(20, "completed")), 5)
    await sink.close()
    assert sink.dropped == 21
    [said] = [each.message for each in caplog.records]
    assert said.startswith(f"the stream {unique}: events not published (1 so far): WRONGTYPE")


async def test_a_number_that_messagepack_does_not_have_goes_through_and_what_cannot_is_dropped(
    pipe: Pipe, caplog: pytest.LogCaptureFixture
) -> None:
    config = EventsConfig(socketio="pubsub", socketio_rooms=ROOMS)
    sink = events_socketio.create(pipe.call, config)

    def told(**data: Any) -> Event:
        return Event(id="1", type="photo.processing.failed", timestamp="", data={"photoId": "p", **data})

    await sink.publish(told(clientId=10**30))
    assert sink.dropped == 0
    await sink.publish(told(error={"message": 10**30}))
    assert sink.dropped == 1
    assert "Socket.IO (pubsub): events not published" in caplog.text
