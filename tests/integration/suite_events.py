"""What every event sink must do. A backend's test module subclasses `EventSinkSuite` and gives two fixtures."""

from __future__ import annotations

from typing import Protocol

from fastproc.core.model import Event


def event(number: int, kind: str = "progress") -> Event:
    return Event(
        id=f"job-1:{number}",
        type=f"photo.processing.{kind}",
        timestamp="2026-01-01T00:00:00.000Z",
        data={"photoId": "p é", "jobId": "1", "progress": number},
    )


class Listener(Protocol):
    """Somebody who hears every event."""

    async def hear(self, count: int) -> list[tuple[str, dict[str, object]]]:
        """Return the next `count` messages: channel and decoded JSON. Fails where they do not come."""

    async def silence(self) -> None:
        """Fail where there is one more message."""


class EventSinkSuite:
    """A backend's test class inherits from it and gives the fixtures `sink` and `listener`."""

    async def test_an_event_is_heard_on_the_channel_of_its_type_as_the_contracts_json(
        self, sink, listener
    ) -> None:
        for kind in ("started", "progress", "completed", "failed"):
            await sink.publish(event(7, kind))
            channel, text = (await listener.hear(1))[0]
            assert channel == f"photo.processing.{kind}"
            assert text == {
                "id": "job-1:7",
                "type": f"photo.processing.{kind}",
                "timestamp": "2026-01-01T00:00:00.000Z",
                "data": {"photoId": "p é", "jobId": "1", "progress": 7},
            }

    async def test_a_posted_event_is_heard_soon(self, sink, listener) -> None:
        sink.post(event(1, "started"))
        assert (await listener.hear(1))[0][0] == "photo.processing.started"

    async def test_events_keep_their_order(self, sink, listener) -> None:
        for number in range(500):
            sink.post(event(number))
            if number % 100 == 50:
                await sink.publish(event(number, "completed"))
        await sink.publish(event(500, "completed"))
        heard = await listener.hear(506)
        numbers = [text["data"]["progress"] for _, text in heard]
        assert numbers == sorted(numbers)
        assert heard[-1][0] == "photo.processing.completed"
        await listener.silence()

    async def test_close_delivers_what_was_accepted(self, sink, listener) -> None:
        for number in range(100):
            sink.post(event(number))
        await sink.close()
        await sink.close()
        assert len(await listener.hear(100)) == 100
