"""Every sink gets every event; none waits for another to accept, and the slowest decides when an event is taken."""

from __future__ import annotations

import asyncio

from fastproc.backends.fan_out import FanOut
from fastproc.core.model import Event

EVENT = Event(id="1", type="photo.processing.completed", timestamp="", data={})


class Sink:
    """Takes an event when `taking` is set."""

    def __init__(self, dropped: int = 0) -> None:
        self.dropped = dropped
        self.got: list[Event] = []
        self.taking = asyncio.Event()
        self.closed = 0

    def post(self, event: Event) -> None:
        self.got.append(event)

    async def publish(self, event: Event) -> None:
        self.got.append(event)
        await self.taking.wait()

    async def close(self) -> None:
        self.closed += 1
        await self.taking.wait()


async def test_each_sink_gets_a_posted_event_and_losses_are_summed() -> None:
    first, second = Sink(dropped=2), Sink(dropped=3)
    sinks = FanOut([first, second])
    sinks.post(EVENT)
    assert (first.got, second.got, sinks.dropped) == ([EVENT], [EVENT], 5)


async def test_a_published_event_reaches_all_at_once_and_is_taken_when_the_last_has_it() -> None:
    slow, quick = Sink(), Sink()
    quick.taking.set()
    published = asyncio.create_task(FanOut([slow, quick]).publish(EVENT))
    await asyncio.sleep(0.01)
    assert (slow.got, quick.got, published.done()) == ([EVENT], [EVENT], False)
    slow.taking.set()
    await published


async def test_a_caller_that_gives_up_gives_up_all() -> None:
    published = asyncio.create_task(FanOut([Sink(), Sink()]).publish(EVENT))
    await asyncio.sleep(0.01)
    published.cancel()
    await asyncio.wait((published,), timeout=1)
    assert published.cancelled()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_all_are_closed_side_by_side() -> None:
    slow, quick = Sink(), Sink()
    closing = asyncio.create_task(FanOut([slow, quick]).close())
    await asyncio.sleep(0.01)
    assert (slow.closed, quick.closed) == (1, 1)
    slow.taking.set()
    quick.taking.set()
    await closing
