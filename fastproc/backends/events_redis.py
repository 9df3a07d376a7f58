"""Publishes events on Redis Pub/Sub, one channel a type, over a connection that the queue has anyway.

Rule 1: order is the connection's: an event is sent after those accepted before it.
Rule 2: `publish` sends an event whose reply was lost again, until Redis answers: its id is stable, so a listener can
        drop the double. A caller that gives up cancels it. A posted event is sent once.
Rule 3: an event that Redis refuses, or that was posted in vain, is counted and logged, at most once in LOG_EVERY_S, and
        fails nothing.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import Any, Protocol

import msgspec

from fastproc.core.errors import QueueRefused, QueueUnavailable
from fastproc.core.model import Event
from fastproc.core.pause import pause_s
from fastproc.supervisor.ports import EventSink

log = logging.getLogger(__name__)

LOG_EVERY_S = 10.0
#: Shortest and longest pause before an event is sent again.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 3.0


class Call(Protocol):
    """Sends one Redis command soon, in order; the future brings its reply, QueueUnavailable or QueueRefused."""

    def __call__(self, *command: str | bytes | int) -> asyncio.Future[Any]: ...


def create(call: Call) -> EventSink:
    """Return the sink over a connection's `call`."""
    return RedisEventSink(call)


class RedisEventSink:
    """Satisfies the port EventSink. `dropped` counts the events that were given up."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._underway: set[asyncio.Future[Any]] = set()
        self._said_at = -LOG_EVERY_S
        self.dropped = 0

    def post(self, event: Event) -> None:
        """Send the event; nobody waits for it."""
        sent = self._send(event)
        self._underway.add(sent)
        sent.add_done_callback(self._posted)

    async def publish(self, event: Event) -> None:
        """Send the event, again and again while Redis does not answer; return when it was taken or refused."""
        failures = 0
        while True:
            try:
                await self._send(event)
                return
            except QueueRefused as error:
                self._drop(error)
                return
            except QueueUnavailable:
                failures += 1
                await asyncio.sleep(pause_s(failures, FIRST_PAUSE_S, LONGEST_PAUSE_S, random.random()))

    async def close(self) -> None:
        """Wait for what is under way."""
        # Not gather: since Python 3.12 it does not wait for the callbacks of futures that are done.
        while self._underway:
            await asyncio.wait(self._underway)

    def _send(self, event: Event) -> asyncio.Future[Any]:
        return self._call("PUBLISH", event.type, msgspec.json.encode(event))

    def _posted(self, sent: asyncio.Future[Any]) -> None:
        self._underway.discard(sent)
        if not sent.cancelled() and (error := sent.exception()):
            self._drop(error)

    def _drop(self, error: BaseException) -> None:
        self.dropped += 1
        if time.monotonic() - self._said_at >= LOG_EVERY_S:
            self._said_at = time.monotonic()
            log.warning("events not published (%d so far): %s", self.dropped, error)
