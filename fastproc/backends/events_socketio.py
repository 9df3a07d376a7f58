"""Broadcasts events to Socket.IO's rooms as another Socket.IO server would, through the Redis adapter of its servers.

Rule 1: one broadcast an event, to all of its rooms, so that a socket in several of them hears it once.
Rule 2: an event without a room goes nowhere: a broadcast without rooms would go to everybody.
Rule 3: what is sent is what each adapter's own emitter, or a server with it, sends. Source: @socket.io/redis-emitter
        5.1.0 index.js `emit`; @socket.io/redis-adapter 8.3.0 sharded-adapter.js `doPublish`, `encode`;
        @socket.io/redis-streams-adapter 0.3.1 adapter.js `doPublish`, `encode`. tests/socketio compares.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from fastproc.backends.redis_sink import Call, Command, RedisSink
from fastproc.config.events import EventsConfig
from fastproc.core import rooms
from fastproc.core.model import Event
from fastproc.core.rooms import Room
from fastproc.supervisor.ports import EventSink

#: A sender that is no server. Source: redis-emitter's UID, socket.io-adapter's EMITTER_UID.
UID = "emitter"
#: socket.io-parser's PacketType.EVENT.
EVENT = 2
#: socket.io-adapter's MessageType.BROADCAST.
BROADCAST = 3

_Wire = Callable[[EventsConfig, dict[str, Any], tuple[Room, ...]], Command]


def create(call: Call, config: EventsConfig, endpoint: str = "") -> EventSink:
    """Return the sink over a connection's `call` to the server `endpoint`; `config.socketio` names the adapter."""
    wire = _WIRES[config.socketio]

    def broadcast(event: Event) -> Command | None:
        hearing = rooms.of(config.socketio_rooms, event.data)
        if not hearing:
            return None
        # The event's name, and its one argument.
        said = [event.type, {**msgspec.structs.asdict(event), "data": rooms.exact(event.data)}]
        return wire(config, {"type": EVENT, "data": said}, hearing)

    return RedisSink(call, f"Socket.IO ({config.socketio})", broadcast, endpoint)


def _pubsub(config: EventsConfig, packet: dict[str, Any], hearing: tuple[Room, ...]) -> Command:
    """The adapter of `createAdapter`. In the channel of a room, servers where nobody is in it decode nothing."""
    options = {"rooms": hearing, "flags": {}, "except": ()}
    names = {str(room) for room in hearing}
    channel = _channel(config) + (f"{names.pop()}#" if len(names) == 1 else "")
    message = (UID, {**packet, "nsp": config.socketio_namespace}, options)
    return ("PUBLISH", channel, msgspec.msgpack.encode(message))


def _sharded(config: EventsConfig, packet: dict[str, Any], hearing: tuple[Room, ...]) -> Command:
    """The adapter of `createShardedAdapter`. In every mode its servers hear the channel of the namespace."""
    message = {
        "uid": UID,
        "nsp": config.socketio_namespace,
        "type": BROADCAST,
        "data": _data(packet, hearing),
    }
    return ("SPUBLISH", _channel(config), msgspec.json.encode(message))


def _streams(config: EventsConfig, packet: dict[str, Any], hearing: tuple[Room, ...]) -> Command:
    """The adapter of redis-streams-adapter. Its servers trim the stream so, too: the smaller number counts."""
    fields = ("uid", UID, "nsp", config.socketio_namespace, "type", BROADCAST)
    data = msgspec.json.encode(_data(packet, hearing))
    return ("XADD", config.socketio_key, "MAXLEN", "~", config.socketio_max, "*", *fields, "data", data)


def _data(packet: dict[str, Any], hearing: tuple[Room, ...]) -> dict[str, Any]:
    return {"packet": packet, "opts": {"rooms": hearing, "except": (), "flags": {}}}


def _channel(config: EventsConfig) -> str:
    return f"{config.socketio_key}#{config.socketio_namespace}#"


_WIRES: dict[str, _Wire] = {"pubsub": _pubsub, "sharded": _sharded, "streams": _streams}
