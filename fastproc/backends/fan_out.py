"""Gives every event to several sinks, which know nothing of each other.

Rule 1: sinks take an event side by side: one that is slow to accept holds none of the others back.
Rule 2: `publish` returns when each has taken the event in its own sense; a sink that must not hold a job (one that
        talks to a foreign server) takes it at once, and delivers it afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from fastproc.core.model import Event
from fastproc.core.snapshot import NeighbourNow
from fastproc.supervisor.ports import EventSink


class FanOut:
    """Satisfies the port EventSink. `dropped` is the sum of the sinks'; `neighbours`: receivers, how each stands."""

    def __init__(
        self, sinks: Sequence[EventSink], neighbours: Callable[[], Sequence[NeighbourNow]] = tuple
    ) -> None:
        self._sinks, self.neighbours = tuple(sinks), neighbours

    @property
    def dropped(self) -> int:
        return sum(sink.dropped for sink in self._sinks)

    def post(self, event: Event) -> None:
        """Give the event to each sink; nobody waits."""
        for sink in self._sinks:
            sink.post(event)

    async def publish(self, event: Event) -> None:
        """Give the event to each sink; return when all have taken it."""
        await asyncio.gather(*(sink.publish(event) for sink in self._sinks))

    async def close(self) -> None:
        """Close the sinks, side by side: a slow one takes nothing from the others' time."""
        await asyncio.gather(*(sink.close() for sink in self._sinks))
