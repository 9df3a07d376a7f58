"""What the event sinks in Redis have in common: one command an event, over a connection that the queue has anyway.

Rule 1: order is the connection's: an event is sent after those accepted before it.
Rule 2: `publish` sends an event again until Redis takes it, where its reply was lost or Redis takes no command of
        anybody now (`STANDS`): its id is stable, so a listener can drop the double. A caller that gives up cancels it.
        A posted event is sent once.
Rule 3: an event that Redis refuses for good, or that was posted in vain, is counted and fails nothing; the log has a
        line when that begins and one when events are taken again, with the sink's name. One that cannot be encoded is
        counted and logged, at most once in LOG_EVERY_S.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from fastproc.core import outages
from fastproc.core.errors import QueueRefused, QueueUnavailable
from fastproc.core.fields import At, fields
from fastproc.core.model import Event
from fastproc.core.pause import pause_s

log = logging.getLogger(__name__)

LOG_EVERY_S = 10.0
#: Shortest and longest pause before an event is sent again.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 3.0
#: Refusals that say how the server stands, and nothing of the command: while they last no job can be finished either.
#: Any other (NOPERM, WRONGTYPE, an unknown command) would be the answer to the next try, too.
STANDS = (
    "MISCONF", "NOREPLICAS", "OOM", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "MOVED", "ASK", "TRYAGAIN", "BUSY",
)  # fmt: skip

Command = Sequence[str | bytes | int]


class Call(Protocol):
    """Sends one Redis command soon, in order; the future brings its reply, QueueUnavailable or QueueRefused.

    A `lazy` one may wait some milliseconds for others to travel with.
    """

    def __call__(self, *command: str | bytes | int, lazy: bool = False) -> asyncio.Future[Any]: ...


def is_final(error: QueueUnavailable) -> bool:
    """Whether Redis would answer the same command with this error again."""
    return isinstance(error, QueueRefused) and not str(error).startswith(STANDS)


class RedisSink:
    """Satisfies the port EventSink."""

    def __init__(
        self, call: Call, name: str, command: Callable[[Event], Command | None], endpoint: str = ""
    ) -> None:
        """`name` is what the log calls the sink; `command` says what is sent of an event, None for nothing.

        `endpoint` is the server, for the log.
        """
        self._call, self._name, self._command = call, name, command
        #: Posted events, in their order. Whoever comes next looks which have ended: a callback for each would cost
        #: more than sending it.
        self._underway: deque[asyncio.Future[Any]] = deque()
        self._said_at = -LOG_EVERY_S
        self._endpoint, self._outage = endpoint, outages.Outage()
        self._since, self._before = At(0.0), 0
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """Events that were given up."""
        self._settle()
        return self._dropped

    def post(self, event: Event) -> None:
        """Send the event within some milliseconds; nobody waits for it."""
        self._settle()
        if command := self._encoded(event):
            self._underway.append(self._call(*command, lazy=True))

    async def publish(self, event: Event) -> None:
        """Send the event, again and again while Redis does not answer; return when it was taken or refused."""
        self._settle()
        if not (command := self._encoded(event)):
            return
        failures = 0
        while True:
            try:
                await self._call(*command)
                self._passed()
                return
            except QueueUnavailable as error:
                if is_final(error):
                    self._drop(error)
                    return
            failures += 1
            await asyncio.sleep(pause_s(failures, FIRST_PAUSE_S, LONGEST_PAUSE_S, random.random()))

    async def close(self) -> None:
        """Wait for what is under way."""
        while self._underway:
            await asyncio.wait(tuple(self._underway))
            self._settle()

    def _encoded(self, event: Event) -> Command | None:
        try:
            return self._command(event)
        except (ValueError, OverflowError) as error:
            # A number or a text that the format does not have, in what a job or a stage said.
            self._dropped += 1
            if time.monotonic() - self._said_at >= LOG_EVERY_S:
                self._said_at = time.monotonic()
                log.warning("%s: events not published (%d so far): %s", self._name, self._dropped, error)
            return None

    def _settle(self) -> None:
        """Count the posted events that have ended in vain."""
        while self._underway and self._underway[0].done():
            sent = self._underway.popleft()
            if sent.cancelled():
                continue
            if error := sent.exception():
                self._drop(error)
            else:
                self._passed()

    def _drop(self, error: BaseException) -> None:
        now = time.monotonic()
        if self._outage.began_at is None:
            self._since, self._before = At(time.time()), self._dropped
            is_due = self._outage.began(now)
        else:
            is_due = self._outage.lasts(now)
        self._dropped += 1
        if is_due:
            about = outages.begin("events", self._endpoint, str(error), sink=self._name, since=self._since)
            words = "%s: events not published (%d so far): %s"
            log.warning(words, self._name, self._dropped, error, extra=fields(**about))

    def _passed(self) -> None:
        """Redis has taken an event."""
        if self._outage.began_at is None or not (over := self._outage.ended(time.monotonic())):
            return
        more = {"sink": self._name, "since": self._since, "dropped": self._dropped - self._before}
        about = outages.end("events", self._endpoint, over, **more)
        log.warning("%s: events are published again", self._name, extra=fields(**about))
