"""Delivers the webhooks of one receiver: from memory while it is well, from its outbox in Redis otherwise.

Rule 1: a webhook is in the outbox before it is sent, and forgotten there only when the receiver has it. Memory is a
        shortcut: what is there is leased, and is sent only while the lease covers a whole request.
Rule 2: a sick receiver rests (`core.webhook`): nothing is sent meanwhile, and nothing gathers here; it does in Redis.
Rule 3: nobody waits for a receiver. Memory, requests under way and log lines are bounded, and `close` has a deadline.
Rule 4: no exception ends the task that owns the deliveries but its cancellation.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from msgspec import Struct

from fastproc.backends.webhook.http import BODY_S, Answer
from fastproc.backends.webhook.last_seen import LastSeen
from fastproc.backends.webhook.log import Seldom, log, told
from fastproc.backends.webhook.outbox import Outbox, Tries, Webhook, now_ms
from fastproc.backends.webhook.tally import Tally
from fastproc.core import outages
from fastproc.core import webhook as rules
from fastproc.core.errors import QueueUnavailable
from fastproc.core.fields import At, fields
from fastproc.core.snapshot import NeighbourNow
from fastproc.core.webhook import Rest

#: Requests under way at once: 80 a second at the 0.1 s of a receiver in another region.
MOST_UNDERWAY: Final = 8
#: Webhooks held in memory, by number and by bytes; the others wait in Redis.
MOST_HELD, MOST_HELD_BYTES = 32, 4 << 20
#: Seconds between two looks into the outbox, for what other services left. One small command.
LOOK_S: Final = 5.0
#: Longest requests that a lease lasts: one in the line of memory, and the webhook's own.
LEASE_REQUESTS: Final = 2
#: Seconds of `close` for what is under way or in memory: all parts of the service share 1 s (`supervisor.stopping`).
DRAIN_S, FREE_S = 0.4, 0.2
#: An outage of this length is a reason not to wait for each webhook's own pause when it ends.
LONG_OUTAGE_S: Final = 30.0

#: Sends a body under an id; never raises.
Post = Callable[[str, bytes], Awaitable[Answer]]


class _Held(Struct):
    """A webhook in memory. `until`: the end of its lease, in monotonic seconds."""

    webhook: Webhook
    tries: Tries
    until: float


class Endpoint:
    """One receiver. `lost` counts the webhooks that were given up."""

    def __init__(self, name: str, outbox: Outbox, post: Post, timeout_s: float, tally: Tally) -> None:
        self._name, self._outbox, self._post, self._tally = name, outbox, post, tally
        self._request_s = timeout_s + 2 * BODY_S
        self._lease_s = LEASE_REQUESTS * self._request_s
        self._memory: deque[_Held] = deque()
        self._coming = 0
        self._look_at = 0.0
        self._underway: dict[asyncio.Task[None], str] = {}
        self._rest, self._outage, self._since = Rest(), outages.Outage(), At(0.0)
        self._wake = asyncio.Event()
        self._seldom, self._seldom_lost = Seldom(), Seldom()
        self.lost = 0
        self._seen = LastSeen(name)
        self._closed = False
        tally.webhook_receiver(name, lambda: self._rest.state(time.monotonic()))
        self._task = asyncio.create_task(self._run(), name=f"webhooks {name}")

    async def accept(self, webhook: Webhook) -> None:
        """Keep a webhook in the outbox, and send it soon. Raises QueueUnavailable, QueueRefused."""
        holds = self._can_hold(len(webhook.body))
        until = time.monotonic() + self._lease_s
        self._coming += holds
        try:
            lost = await self._outbox.add(webhook, now_ms() + (round(self._lease_s * 1000) if holds else 0))
        finally:
            self._coming -= holds
        if lost is None:
            return  # It is kept already, and somebody delivers it.
        self._lose(lost, "dropped: WEBHOOK_BACKLOG_BYTES is full")
        if holds:
            self._memory.append(_Held(webhook, Tries(), until))
        else:
            self._look_at = 0.0
        self._wake.set()

    def neighbour(self) -> NeighbourNow:
        """Return how the receiver stands."""
        return self._seen.now(self._rest)

    async def close(self) -> None:
        """Send what is under way or in memory for a moment; the rest waits in Redis for any service. Idempotent."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await self._drain()
        tasks = [self._task, *self._underway]
        ids = [*self._underway.values(), *(held.webhook.id for held in self._memory)]
        self._memory.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            async with asyncio.timeout(FREE_S):
                if waiting := await self._outbox.free(ids):
                    log.info("webhooks to %s: %d wait in Redis for the next service", self._name, waiting)
        except (QueueUnavailable, TimeoutError):
            log.warning("webhooks to %s: Redis is away; what was not delivered waits there", self._name)

    async def _drain(self) -> None:
        while self._underway or (self._memory and self._free() > 0):
            if self._underway:
                await asyncio.wait(self._underway, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(0.005)  # The task that owns the deliveries starts the next.

    def _can_hold(self, size: int) -> bool:
        held = len(self._memory) + self._coming
        held_bytes = sum(len(each.webhook.body) for each in self._memory)
        return not (
            self._closed
            or self._rest.slots(time.monotonic(), MOST_UNDERWAY) < MOST_UNDERWAY
            or held >= MOST_HELD
            or held_bytes + size > MOST_HELD_BYTES
        )

    async def _run(self) -> None:
        while True:
            pause_s = LOOK_S
            try:
                self._wake.clear()
                pause_s = await self._turn()
            except QueueUnavailable as error:
                self._seldom.warn("webhooks to %s: Redis does not answer: %s", self._name, error)
            except Exception:
                log.exception("webhooks to %s: unexpected", self._name)
                await asyncio.sleep(LOOK_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._wake.wait()

    async def _turn(self) -> float:
        """Start what may be sent; return the seconds after which to look again, if nothing happens before."""
        free = self._free()
        if free > len(self._memory) and time.monotonic() >= self._look_at and not self._closed:
            await self._look(1 if self._rest.is_sick else MOST_HELD - len(self._memory))
        while self._memory and self._free() > 0:
            held = self._memory.popleft()
            if time.monotonic() + self._request_s < held.until:
                task = asyncio.create_task(self._deliver(held), name=f"webhook {held.webhook.id}")
                self._underway[task] = held.webhook.id
                task.add_done_callback(self._ended)
        now = time.monotonic()
        if self._free() > 0:
            return max(0.01, self._look_at - now)
        return max(0.01, self._rest.until - now) if now < self._rest.until else LOOK_S

    def _free(self) -> int:
        return self._rest.slots(time.monotonic(), MOST_UNDERWAY) - len(self._underway)

    async def _look(self, limit: int) -> None:
        self._look_at = time.monotonic() + LOOK_S
        until = time.monotonic() + self._lease_s
        batch = await self._outbox.take(limit, self._lease_s)
        self._memory += [_Held(each.webhook, each.tries, until) for each in batch.taken]
        self._lose(batch.expired, "given up: older than WEBHOOK_RETRY_S")
        self._tally.webhooks_waiting(self._name, batch.waiting)
        if batch.next_ms is not None:
            next_s = max(0.0, (batch.next_ms - now_ms()) / 1000)
            self._look_at = min(self._look_at, time.monotonic() + next_s)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._underway.pop(task, None)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()):
            log.error("webhooks to %s: unexpected", self._name, exc_info=error)

    async def _deliver(self, held: _Held) -> None:
        answer = await self._post(held.webhook.id, held.webhook.body)
        passed = rules.succeeded(answer.status)
        self._tally.webhook("delivered" if passed else "failed", answer.seconds)
        try:
            await (self._passed(held, answer) if passed else self._failed(held, answer))
        except QueueUnavailable as error:
            # The lease runs out, and the webhook is sent again, under the same id.
            self._seldom.warn("webhooks to %s: Redis does not answer: %s", self._name, error)

    async def _passed(self, held: _Held, answer: Answer) -> None:
        log.debug("webhook delivered", extra=told(held.webhook, held.tries, answer))
        self._seen.passed(answer.seconds)
        now = time.monotonic()
        was, self._rest = self._rest, self._rest.passed(now)
        self._tally.webhooks_waiting(self._name, await self._outbox.done(held.webhook.id))
        if was.is_sick and not self._rest.is_sick:
            hurried = await self._outbox.hurry() if now - was.since > LONG_OUTAGE_S else 0
            self._look_at = 0.0
            if over := self._outage.ended(now):
                about = outages.end("webhooks", self._name, over, since=self._since, hurried=hurried)
                words = "webhooks to %s: the receiver takes them again after %.0f s (%d are tried before their time)"
                log.warning(words, self._name, now - was.since, hurried, extra=fields(**about))

    async def _failed(self, held: _Held, answer: Answer) -> None:
        self._seen.failed(answer.words)
        hold_s = rules.hold_s(answer.status, answer.retry_after_s)
        was, self._rest = self._rest, self._rest.failed(time.monotonic(), hold_s, random.random())
        attempts = held.tries.attempts + 1
        again_s = rules.again_s(attempts, hold_s, random.random())
        about = told(held.webhook, held.tries, answer, nextMs=round(again_s * 1000))
        # An outage has its own line, and need not be repeated by each webhook.
        (log.debug if self._rest.is_sick else self._seldom.warn)(
            "webhook failed: %s", answer.words, extra=about
        )
        if self._rest.is_sick:
            self._tell_outage(answer.words, is_new=not was.is_sick)
        tries = Tries(attempts, answer.words, now_ms())
        waiting = await self._outbox.failed(held.webhook.id, now_ms() + round(again_s * 1000), tries)
        self._tally.webhooks_waiting(self._name, waiting)

    def _tell_outage(self, why: str, *, is_new: bool) -> None:
        now = time.monotonic()
        if is_new:
            self._since = At(time.time())
        if self._outage.began(now) if is_new else self._outage.lasts(now):
            log.warning(
                "webhooks to %s: the receiver fails (%s): they wait in Redis, and one is tried every %.0f s at most",
                self._name,
                why,
                rules.LONGEST_REST_S,
                extra=fields(**outages.begin("webhooks", self._name, why, since=self._since)),
            )

    def _lose(self, count: int, why: str) -> None:
        if count:
            self.lost += count
            self._tally.webhooks_lost(count)
            self._seldom_lost.warn(
                "webhooks to %s: %d %s; `fastproc webhooks` shows them", self._name, count, why
            )
