"""Clients of real Socket.IO servers hear the events of their rooms: once, in order, and nobody else's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis

from fastproc.core.model import Event
from fastproc.supervisor.ports import EventSink
from fastproc.terminal.exits import Exit
from tests import pictures
from tests.integration.service import Place, Start
from tests.socketio.conftest import Rooms

Make = Callable[..., EventSink]
ADAPTERS = ["pubsub", "sharded", "streams"]


def event(number: int, kind: str = "progress", **data: Any) -> Event:
    about = {"photoId": "p", "jobId": "1", "clientId": None, "sessionId": None, "progress": number, **data}
    return Event(id=f"1:{number}", type=f"photo.processing.{kind}", timestamp="", data=about)


def numbers(events: list[dict[str, Any]]) -> list[int]:
    return [each["data"]["progress"] for each in events]


def is_over(events: list[dict[str, Any]]) -> bool:
    return bool(events) and events[-1]["type"].endswith("completed")


@pytest.mark.parametrize("client", ["redis", "ioredis"])
@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_a_client_hears_its_rooms_once_and_in_order_whichever_server_it_is_on(
    rooms: Rooms, sink: Make, adapter: str, client: str
) -> None:
    for server in ("a", "b"):
        await rooms.serve(server, adapter, client=client)
    await rooms.connect("client", "a", "c")
    await rooms.connect("session", "b", "s")
    await rooms.connect("both", "b", "c", "s")
    await rooms.connect("stranger", "a", "x", "C", "s ")
    ours = sink(EVENTS_SOCKETIO=adapter)
    for number in range(50):
        ours.post(event(number, clientId="c", sessionId="s"))
    ours.post(event(50, clientId="c"))
    ours.post(event(51, sessionId="s"))
    ours.post(event(52))
    await ours.publish(event(53, "completed", clientId="c", sessionId="s"))
    assert numbers(await rooms.until("client", is_over)) == [*range(51), 53]
    assert numbers(await rooms.until("session", is_over)) == [*range(50), 51, 53]
    assert numbers(await rooms.until("both", is_over)) == [*range(52), 53]
    assert await rooms.heard("stranger") == []
    assert ours.dropped == 0


@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_a_number_is_the_room_of_the_number_and_of_its_text(
    rooms: Rooms, sink: Make, adapter: str
) -> None:
    await rooms.serve("a", adapter)
    await rooms.connect("number", "a", 7)
    await rooms.connect("text", "a", "7")
    await rooms.connect("both", "a", 7, "7")
    ours = sink(EVENTS_SOCKETIO=adapter)
    ours.post(event(1, clientId=7))
    ours.post(event(2, clientId="7"))
    ours.post(event(3, clientId=2**70, sessionId="x"))
    await ours.publish(event(4, "completed", clientId=7))
    assert numbers(await rooms.until("number", is_over)) == [1, 4]
    assert numbers(await rooms.until("text", is_over)) == [1, 2, 4]
    assert numbers(await rooms.until("both", is_over)) == [1, 2, 4]
    assert ours.dropped == 0


@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_rooms_and_namespace_are_those_of_the_settings(rooms: Rooms, sink: Make, adapter: str) -> None:
    await rooms.serve("a", adapter, nsp="/photos")
    await rooms.connect("photo", "a", "photo:p", nsp="/photos")
    await rooms.connect("client", "a", "c:7", nsp="/photos")
    await rooms.connect("plain", "a", "7", 7, "p", nsp="/photos")
    ours = sink(
        EVENTS_SOCKETIO=adapter,
        EVENTS_SOCKETIO_NAMESPACE="photos",
        EVENTS_SOCKETIO_ROOMS="photo:{photoId}, c:{clientId}",
    )
    ours.post(event(1))
    await ours.publish(event(2, clientId=7))
    assert numbers(await rooms.until("photo", lambda events: len(events) == 2)) == [1, 2]
    assert numbers(await rooms.until("client", lambda events: len(events) == 1)) == [2]
    assert await rooms.heard("plain") == []


async def test_with_the_streams_adapter_a_client_gets_what_it_missed(rooms: Rooms, sink: Make) -> None:
    """Socket.IO's own recovery appends the offset to what is heard: that is why it is looked at here alone."""
    await rooms.serve("a", "streams", recovery=True)
    await rooms.connect("client", "a", "c")
    ours = sink(EVENTS_SOCKETIO="streams")
    await ours.publish(event(1, clientId="c"))
    await rooms.until_heard("client", 1)
    await rooms.tell("cut", name="client")
    for number in range(2, 6):
        await ours.publish(event(number, clientId="c"))
    assert await rooms.tell("again", name="client") is True
    found = await rooms.until_heard("client", 5)
    assert [said[0]["data"]["progress"] for _, said in found] == [1, 2, 3, 4, 5]


async def test_socketios_stream_is_capped(sink: Make, operator: redis.Redis, unique: str) -> None:
    ours = sink(EVENTS_SOCKETIO="streams", EVENTS_SOCKETIO_STREAM_MAX="100")
    for number in range(1000):
        ours.post(event(number, clientId="c"))
    await ours.publish(event(1000, clientId="c"))
    assert 100 <= operator.xlen(unique) < 300
    operator.delete(unique)


async def test_jobs_of_a_service_are_heard_by_those_whom_they_belong_to(
    rooms: Rooms, place: Place, start: Start
) -> None:
    for server in ("a", "b"):
        await rooms.serve(server, "pubsub")
    await rooms.connect("ann", "a", "ann")
    await rooms.connect("ann's phone", "b", "ann", "session-1")
    await rooms.connect("bob", "b", 7)
    await rooms.connect("stranger", "a", "x")
    place.put("one.jpg", pictures.jpeg())
    place.put("cut.jpg", pictures.jpeg()[:2000])
    service = start(
        EVENTS_SOCKETIO="1",
        EVENTS_SOCKETIO_KEY=rooms.key,
        EVENTS_STREAM=f"{rooms.key}-events",
        WORKER_CONCURRENCY="2",
    )
    mine = {"clientId": "ann", "sessionId": "session-1"}
    owners = [mine, {"clientId": 7}, {}]
    ids: dict[int, list[str]] = {
        which: [await place.add({"photoId": f"p{which}-{n}", "s3Key": "one.jpg", **owner}) for n in range(2)]
        for which, owner in enumerate(owners)
    }
    bad = await place.add({"photoId": "bad", "s3Key": "cut.jpg", **mine})
    place.until("completed", *(job for own in ids.values() for job in own))
    place.until("failed", bad)
    percents = [10, 25, 35, 45, 75, 90, 95, 100]
    for name, own in (("ann", ids[0]), ("ann's phone", ids[0]), ("bob", ids[1])):
        done = {f"{job}:progress:1:100" for job in own}
        events = await rooms.until(name, lambda found, done=done: done <= {each["id"] for each in found})
        assert {each["data"]["jobId"] for each in events} - {bad} == set(own)
        assert len({each["id"] for each in events}) == len(events)
        for job in own:
            of_it = [each for each in events if each["data"]["jobId"] == job]
            heard = [each["data"].get("progress") for each in of_it if each["type"].endswith("progress")]
            assert heard == percents
            kinds = [each["type"].rpartition(".")[2] for each in of_it]
            assert [kind for kind in kinds if kind != "progress"] == ["started", "completed"]
            assert kinds.index("completed") == len(kinds) - 2
    failed = [each for each in await rooms.events("ann") if each["type"].endswith("failed")]
    assert [each["data"]["error"]["code"] for each in failed] == ["FILE_CORRUPTED"]
    assert [each for each in await rooms.events("bob") if each["data"]["jobId"] == bad] == []
    assert await rooms.heard("stranger") == []
    kept = [fields["id"] for _, fields in place.redis.xrange(f"{rooms.key}-events")]
    assert len(set(kept)) == len(kept) == 6 * 10 + 4
    for job in ids[0]:
        heard = [each["id"] for each in await rooms.events("ann") if each["data"]["jobId"] == job]
        assert [each for each in kept if each.startswith(f"{job}:")] == heard
    place.redis.delete(f"{rooms.key}-events")
    assert service.terminate() == Exit.OK
