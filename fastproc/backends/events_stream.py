"""Adds events to a capped Redis stream (EVENTS_STREAM), so that a listener that was away can read what it missed.

Rule 1: an entry has the fields `id` and `type` of the event, and `event`, the JSON that Pub/Sub has. The entry's own id
        is Redis' and tells the order; the event's `id` tells a double.
Rule 2: the stream is cut to about EVENTS_STREAM_MAX entries as it grows (`MAXLEN ~`: by whole nodes, so it is never cut
        below that), in the same command.
"""

from __future__ import annotations

import msgspec

from fastproc.backends.redis_sink import Call, Command, RedisSink
from fastproc.config.events import EventsConfig
from fastproc.core import naming
from fastproc.core.model import Event
from fastproc.supervisor.ports import EventSink


def create(call: Call, config: EventsConfig, endpoint: str = "") -> EventSink:
    """Return the sink over a connection's `call` to the server `endpoint`; `config.stream` names the key."""
    key = config.stream or ""

    def add(event: Event) -> Command | None:
        if event.type == naming.PROGRESS and not config.stream_progress:
            return None
        fields = ("id", event.id, "type", event.type, "event", msgspec.json.encode(event))
        return ("XADD", key, "MAXLEN", "~", config.stream_max, "*", *fields)

    return RedisSink(call, f"the stream {key}", add, endpoint)
