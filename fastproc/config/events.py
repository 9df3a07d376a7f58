"""Settings of the events' further ways out: Socket.IO's rooms, and a stream that keeps the newest."""

from __future__ import annotations

import re
from typing import Annotated, Literal, cast

from msgspec import Struct

from fastproc.config import values
from fastproc.config.queue import QueueConfig
from fastproc.config.values import var
from fastproc.core import rooms

Socketio = Literal["off", "pubsub", "sharded", "streams"]

_SOCKETIO = {"1": "pubsub", "true": "pubsub", "0": "off", "false": "off"}


def socketio(text: str) -> Socketio:
    """Return the adapter, of which 1 names the usual one. Raises ValueError."""
    name = _SOCKETIO.get(text.lower(), text.lower())
    if name not in ("off", "pubsub", "sharded", "streams"):
        raise ValueError("expected 1 (pubsub), pubsub, sharded, streams or off")
    return cast(Socketio, name)


def key(text: str) -> str:
    """Return a key or the beginning of a channel. Raises ValueError where a pattern of channels would mean others."""
    if not re.fullmatch(r"[^\s*?\[\]\\^#]{1,256}", text):
        raise ValueError(r"expected at most 256 characters, without spaces and any of # * ? [ ] \ ^")
    return text


def namespace(text: str) -> str:
    """Return the namespace with its first slash, as Socket.IO's `of` does. Raises ValueError."""
    if not re.fullmatch(r"[^\s#]{1,256}", text):
        raise ValueError("expected a namespace such as /photos")
    return text if text.startswith("/") else f"/{text}"


def room_patterns(text: str) -> tuple[str, ...]:
    """Return the patterns between commas. Raises ValueError for one that is the same room for every event."""
    found = values.names(text)
    if not found or not all(rooms.is_pattern(each) for each in found):
        fields = ", ".join(f"{{{name}}}" for name in rooms.FIELDS)
        raise ValueError(f"expected names of rooms between commas, each with one of {fields} in it")
    return found


class EventsConfig(Struct, frozen=True, kw_only=True):
    """Where events go besides Redis Pub/Sub."""

    socketio: Annotated[
        Socketio,
        var(
            "EVENTS_SOCKETIO",
            "`1` or `pubsub`: broadcast to the rooms of Socket.IO servers that have `@socket.io/redis-adapter`;"
            " `sharded`: with its `createShardedAdapter`; `streams`: with `@socket.io/redis-streams-adapter`;"
            " `off`: none",
            extra={"parse": socketio},
        ),
    ] = "off"
    socketio_rooms: Annotated[
        tuple[str, ...],
        var(
            "EVENTS_SOCKETIO_ROOMS",
            "the rooms that hear of an event, separated by commas, such as `client:{clientId}`; fields are"
            " `clientId`, `sessionId`, `photoId`, `jobId`",
            extra={"parse": room_patterns},
        ),
    ] = ("{clientId}", "{sessionId}")
    socketio_namespace: Annotated[
        str, var("EVENTS_SOCKETIO_NAMESPACE", "their namespace", extra={"parse": namespace})
    ] = "/"
    socketio_key: Annotated[
        str,
        var(
            "EVENTS_SOCKETIO_KEY",
            "the servers' option `key`, `channelPrefix` or `streamName`, by adapter",
            extra={"parse": key},
        ),
    ] = "socket.io"
    socketio_max: Annotated[
        int,
        var(
            "EVENTS_SOCKETIO_STREAM_MAX",
            "with `streams`, entries that Socket.IO's stream is cut to, as the servers' option `maxLen`",
            ge=1,
            le=100_000_000,
        ),
    ] = 10_000
    stream: Annotated[
        str | None,
        var(
            "EVENTS_STREAM",
            "key of a Redis stream that keeps the newest events, for listeners that were away; empty = none",
            extra={"parse": key},
        ),
    ] = None
    stream_max: Annotated[
        int, var("EVENTS_STREAM_MAX", "entries that it is cut to", ge=1, le=100_000_000)
    ] = 10_000
    stream_progress: Annotated[
        bool, var("EVENTS_STREAM_PROGRESS", "`false` leaves progress events, eight of ten, out of it")
    ] = True

    def conflicts(self, queue: QueueConfig, *, cluster: bool) -> list[str]:
        """Return the problems of keys that are somebody else's, or that another node of a cluster holds."""
        found = []
        shared = self.socketio_key if self.socketio == "streams" else ""
        own = [("EVENTS_STREAM", self.stream or ""), ("EVENTS_SOCKETIO_KEY", shared)]
        for name, text in own:
            if text.startswith(f"{queue.prefix}:"):
                found.append(f"{name}: {text!r} is among the queue's own keys (QUEUE_PREFIX)")
        if shared and shared == self.stream:
            found.append(f"EVENTS_STREAM: {shared!r} is Socket.IO's own stream (EVENTS_SOCKETIO_KEY)")
        if cluster:
            tag = _hash_tag(f"{queue.prefix}:{queue.name}")
            if self.socketio == "sharded":
                own.append(("EVENTS_SOCKETIO_KEY", self.socketio_key))
            found += [
                f"{name}: in a cluster it needs the queue's hash tag, such as {{{tag}}}{text}"
                for name, text in own
                if text and _hash_tag(text) != tag
            ]
        return found


def _hash_tag(key: str) -> str:
    """What a cluster hashes of a key instead of all of it; "" where it has no tag."""
    found = re.match(r"[^{]*\{([^}]+)\}", key)
    return found[1] if found else ""
