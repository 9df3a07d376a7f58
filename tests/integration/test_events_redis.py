"""The Redis sink over the queue's connection: the shared suite, and what happens while Redis refuses or is away."""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
import redis
import redis.asyncio
from rich.console import Console

from fastproc.backends.events_redis import RedisEventSink
from fastproc.bullmq import address
from fastproc.bullmq.address import connector
from fastproc.bullmq.pipe import Pipe
from fastproc.config.redis import RedisConfig
from fastproc.config.settings import Config
from fastproc.core import naming
from fastproc.demo.listener import listening
from fastproc.demo.photo import Photo
from fastproc.embedded.valkey import Valkey
from fastproc.terminal.progress import live_progress
from tests.integration.proxy import Cut, Proxy
from tests.integration.suite_events import EventSinkSuite, event


class Subscriber:
    """A Pub/Sub client that asked for all of `photo.processing.*`."""

    def __init__(self, channel: redis.asyncio.client.PubSub) -> None:
        self._channel = channel

    async def hear(self, count: int) -> list[tuple[str, dict[str, object]]]:
        heard = []
        for _ in range(count):
            message = await self._channel.get_message(ignore_subscribe_messages=True, timeout=5.0)
            assert message is not None, f"{len(heard)} of {count} events came"
            heard.append((message["channel"].decode(), json.loads(message["data"])))
        return heard

    async def silence(self) -> None:
        assert await self._channel.get_message(ignore_subscribe_messages=True, timeout=0.1) is None


@pytest.fixture
def sink(pipe: Pipe) -> RedisEventSink:
    return RedisEventSink(pipe.call)


@pytest_asyncio.fixture
async def listener(own: Valkey) -> AsyncIterator[Subscriber]:
    async with redis.asyncio.Redis.from_url(own.url) as client, client.pubsub() as channel:
        await channel.psubscribe("photo.processing.*")
        assert (await channel.get_message(timeout=5.0))["type"] == "psubscribe"
        yield Subscriber(channel)


@pytest.fixture
def operator(own: Valkey) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(own.url, protocol=2) as client:
        client.ping()
        yield client


class TestRedisEventSink(EventSinkSuite):
    @pytest.fixture
    def sink(self, sink: RedisEventSink) -> RedisEventSink:
        return sink

    @pytest.fixture
    def listener(self, listener: Subscriber) -> Subscriber:
        return listener


async def test_a_published_event_has_reached_the_server(sink, operator) -> None:
    for number in range(20):
        await sink.publish(event(number, "completed"))
        assert operator.info("commandstats")["cmdstat_publish"]["calls"] >= number + 1


async def test_refused_events_are_counted_logged_once_in_a_while_and_fail_nobody(
    sink, operator, caplog
) -> None:
    operator.execute_command("ACL", "SETUSER", "default", "-publish")
    try:
        for number in range(50):
            sink.post(event(number))
        await sink.publish(event(50, "completed"))
    finally:
        operator.execute_command("ACL", "SETUSER", "default", "+publish")
    await sink.close()
    assert sink.dropped == 51
    assert sum("not published" in record.message for record in caplog.records) == 1
    await sink.publish(event(51, "completed"))
    assert sink.dropped == 51


async def test_an_event_whose_connection_was_cut_comes_through(own, sink) -> None:
    await sink.publish(event(0))
    own.stop()
    started = time.monotonic()
    sink.post(event(1))
    publishing = asyncio.create_task(sink.publish(event(2, "completed")))
    await asyncio.sleep(0.2)
    assert not publishing.done()
    assert time.monotonic() - started < 1.0  # Nothing blocked meanwhile.
    own.start()
    own.wait_ready()
    await asyncio.wait_for(publishing, 10)
    assert sink.dropped <= 1  # The one that was posted may have been on its way.


async def test_events_after_the_connection_was_closed_are_dropped_in_silence(sink, pipe) -> None:
    await pipe.close()
    sink.post(event(1))
    await sink.publish(event(2, "failed"))
    await sink.close()
    assert sink.dropped == 2


@pytest.mark.parametrize("side", ["request", "reply"])
async def test_a_published_event_is_sent_until_it_is_out_however_often_the_connection_is_cut(
    own, listener, side: Cut
) -> None:
    proxy = Proxy(own.host, own.port)
    async with proxy.listening() as port:
        opened = Pipe(connector(RedisConfig(host=own.host, port=port), "any-key"))
        await opened.open()
        sink = RedisEventSink(opened.call)
        proxy.cut(side, b"PUBLISH", times=3)
        async with asyncio.timeout(10):
            await sink.publish(event(7, "completed"))
        await opened.close()
    assert (proxy.cuts, sink.dropped) == (3, 0)
    heard = await listener.hear(4 if side == "reply" else 1)
    assert {text["id"] for _, text in heard} == {"job-1:7"}
    await listener.silence()


async def test_the_demo_hears_the_end_of_a_photo_however_long_nobody_says_anything(
    own: Valkey, operator: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(address._SHORT_LIVED, "socket_timeout", 0.05)
    photo, config = Photo(id="p", file=Path("p.jpg")), Config(redis=RedisConfig(url=own.url))
    with live_progress(1, Console(file=io.StringIO())) as view:
        async with listening(config, [photo], view) as all_ended:
            await asyncio.sleep(0.2)
            ended = {"type": naming.COMPLETED, "data": {"photoId": "p"}}
            operator.publish("photo.processing.completed", json.dumps(ended))
            async with asyncio.timeout(5):
                await all_ended.wait()
