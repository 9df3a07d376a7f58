"""What our sink sends is what Socket.IO's own emitter and servers send, for each of the three adapters."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import redis

from fastproc.core.model import Event
from fastproc.supervisor.ports import EventSink
from tests.conformance.peer import Peer
from tests.socketio.conftest import Rooms

Make = Callable[..., EventSink]


def event(**data: Any) -> Event:
    return Event(
        id="7:progress:1:45",
        type="photo.processing.progress",
        timestamp="2026-01-01T00:00:00.000Z",
        data={"photoId": "p é", "jobId": "7", "clientId": None, "sessionId": None, **data},
    )


#: Everything that JSON has, and each length that MessagePack writes in a way of its own. (Not 1e300, which the
#: emitter's encoder takes for a whole number, and sends another one.)
WHOLE = {
    "numbers": [
        0.1,
        0,
        127,
        128,
        255,
        256,
        65_536,
        2**32 - 1,
        2**53 - 1,
        -1,
        -32,
        -33,
        -129,
        -32_769,
        1 - 2**53,
    ],
    "texts": ["", "x" * 31, "x" * 32, "x" * 256, "x" * 70_000, "😀 é"],
    "lists": [[], list(range(15)), list(range(16)), [None, True, False]],
    "maps": [{}, {str(n): n for n in range(16)}, {"a": {"b": [{"c": "d"}]}}],
}
CASES = [
    (("c",), event(clientId="c")),
    (("c", "s"), event(clientId="c", sessionId="s", **WHOLE)),
    (("Ünïcode #room",), event(sessionId="Ünïcode #room")),
]


async def heard_on(operator: redis.Redis, channel: str, send: Callable[[], Any]) -> tuple[str, bytes]:
    """What comes on the channels of a pattern when `send` was called."""
    with operator.pubsub(ignore_subscribe_messages=True) as listener:
        listener.psubscribe(channel)
        listener.get_message(timeout=1.0)
        await send()
        message = await asyncio.to_thread(listener.get_message, timeout=5.0)
    assert message is not None
    return message["channel"].decode(), message["data"]


@pytest.mark.parametrize("nsp", ["/", "/photos"])
@pytest.mark.parametrize(("names", "told"), CASES)
async def test_pubsub_is_byte_for_byte_what_the_emitter_publishes(
    peer: Peer, sink: Make, operator: redis.Redis, unique: str, names: tuple[str, ...], told: Event, nsp: str
) -> None:
    ours = sink(EVENTS_SOCKETIO="1", EVENTS_SOCKETIO_NAMESPACE=nsp)
    channel, message = await heard_on(operator, f"{unique}#*", lambda: ours.publish(told))
    said = [told.type, msgspec.to_builtins(told)]
    wanted = await peer("emitter", key=unique, nsp=nsp, rooms=names, said=said)
    assert channel == wanted[0]
    assert message == base64.b64decode(wanted[1])


@pytest.mark.parametrize(("names", "told"), CASES)
async def test_streams_adds_the_entry_that_a_server_adds(
    rooms: Rooms, sink: Make, operator: redis.Redis, unique: str, names: tuple[str, ...], told: Event
) -> None:
    await rooms.serve("a", "streams")
    said = [told.type, msgspec.to_builtins(told)]
    await rooms.tell("emit", server="a", nsp="/", rooms=names, said=said)
    await asyncio.to_thread(
        operator.xread, {unique: "0-0"}, block=10_000
    )  # A server does not wait for its own.
    await sink(EVENTS_SOCKETIO="streams").publish(told)
    theirs, ours = (fields for _, fields in operator.xrange(unique))
    assert list(ours) == list(theirs)
    assert ours.pop(b"uid") == b"emitter"
    assert len(theirs.pop(b"uid")) == 16
    assert json.loads(ours.pop(b"data")) == json.loads(theirs.pop(b"data"))
    assert ours == theirs


async def test_sharded_publishes_the_message_that_a_server_publishes(
    rooms: Rooms, sink: Make, operator: redis.Redis, unique: str
) -> None:
    await rooms.serve("a", "sharded")
    told = event(clientId="c", sessionId="s", **WHOLE)
    said = [told.type, msgspec.to_builtins(told)]
    with operator.pubsub(ignore_subscribe_messages=True) as listener:
        listener.execute_command("SSUBSCRIBE", f"{unique}#/#")
        listener.parse_response()
        await rooms.tell("emit", server="a", nsp="/", rooms=["c", "s"], said=said)
        theirs = await asyncio.to_thread(listener.parse_response)
        await sink(EVENTS_SOCKETIO="sharded").publish(told)
        ours = await asyncio.to_thread(listener.parse_response)
    assert ours[:2] == theirs[:2] == [b"smessage", f"{unique}#/#".encode()]
    told_by = [json.loads(each[2]) for each in (theirs, ours)]
    assert [len(each.pop("uid")) for each in told_by] == [16, len("emitter")]
    assert told_by[0] == told_by[1]
