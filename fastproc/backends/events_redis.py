"""Publishes events on Redis Pub/Sub, one channel a type."""

from __future__ import annotations

import msgspec

from fastproc.backends.redis_sink import Call, Command, RedisSink
from fastproc.core.model import Event
from fastproc.supervisor.ports import EventSink


def create(call: Call, endpoint: str = "") -> EventSink:
    """Return the sink over a connection's `call` to the server `endpoint`."""
    return RedisEventSink(call, endpoint)


class RedisEventSink(RedisSink):
    """Satisfies the port EventSink."""

    def __init__(self, call: Call, endpoint: str = "") -> None:
        super().__init__(call, "Pub/Sub", _publish, endpoint)


def _publish(event: Event) -> Command:
    return ("PUBLISH", event.type, msgspec.json.encode(event))
