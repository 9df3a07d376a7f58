"""Posts events to receivers as signed webhooks (Standard Webhooks 1.0.0), through an outbox in Redis.

Rule 1: `publish` returns when Redis keeps the event for each receiver, as it does for Pub/Sub: no receiver is asked. It
        is tried until Redis answers, and its id is stable, so that it is kept once. A posted event is tried once.
Rule 2: what Redis refuses for good, or JSON cannot say, is counted and logged, seldom, and fails nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import msgspec

from fastproc.backends.redis_sink import FIRST_PAUSE_S, LONGEST_PAUSE_S, Call, is_final
from fastproc.backends.webhook.endpoint import Endpoint
from fastproc.backends.webhook.gate import Gate
from fastproc.backends.webhook.http import Poster
from fastproc.backends.webhook.log import Seldom
from fastproc.backends.webhook.outbox import About, Outbox, Webhook
from fastproc.backends.webhook.signing import webhook_id
from fastproc.backends.webhook.tally import Tally
from fastproc.config.settings import Config
from fastproc.config.webhook import WebhookConfig, endpoint_id, key, shown
from fastproc.core.errors import QueueUnavailable, Unreachable
from fastproc.core.model import Event
from fastproc.core.pause import pause_s
from fastproc.core.snapshot import NeighbourNow

#: Seconds of `close` for posted events that Redis has not taken yet.
POSTS_S = 0.2


def create(call: Call, config: Config, tally: Tally) -> WebhookSink:
    """Return the sink; `call` sends a Redis command, `tally` counts."""
    rules, base = config.webhook, queue_base(config)
    poster = poster_of(rules)
    endpoints = [
        Endpoint(
            shown(url),
            outbox_of(call, config, url),
            partial(poster.post, url),
            rules.timeout_s,
            tally,
        )
        for url in rules.urls
    ]
    return WebhookSink(base, rules.events, endpoints, poster)


def queue_base(config: Config) -> str:
    """Return how the queue's keys begin."""
    return f"{config.queue.prefix}:{config.queue.name}:"


def outbox_of(call: Call, config: Config, url: str) -> Outbox:
    """Return a receiver's outbox."""
    rules = config.webhook
    return Outbox(call, queue_base(config), endpoint_id(url), rules.backlog_bytes, rules.retry_s)


def poster_of(rules: WebhookConfig) -> Poster:
    """Return what sends requests."""
    gate = Gate(allow_private=rules.allow_private)
    return Poster(gate, [key(secret) for secret in rules.secrets], rules.timeout_s)


async def check(rules: WebhookConfig) -> str:
    """Look the receivers up, and send nothing; return a line each. Raises Unreachable where one cannot be sent to."""
    gate, lines, wrong = Gate(allow_private=rules.allow_private), [], []
    for url in rules.urls:
        parts = urlsplit(url)
        try:
            async with asyncio.timeout(rules.timeout_s):
                found = await gate.addresses(parts.hostname or "", parts.port or 443)
        except (OSError, TimeoutError) as error:
            wrong.append(
                f"{shown(url)} (WEBHOOK_URL): {getattr(error, 'strerror', None) or 'no answer in time'}"
            )
            continue
        allowed = [address for address in found if not gate.refusal(address)]
        refused = [why for address in found if (why := gate.refusal(address))]
        if not allowed:
            wrong.append(f"{shown(url)} (WEBHOOK_URL, WEBHOOK_ALLOW_PRIVATE): {'; '.join(refused)}")
        plain = ["without TLS: whoever is on the way reads along"] if parts.scheme == "http" else []
        lines.append("; ".join((f"{shown(url)} at {', '.join(allowed)}", *refused, *plain)))
    if wrong:
        raise Unreachable("\n".join(wrong))
    return "\n".join(lines)


class WebhookSink:
    """Satisfies the port EventSink."""

    def __init__(
        self, base: str, events: Sequence[str], endpoints: Sequence[Endpoint], poster: Poster
    ) -> None:
        """`base` tells events of different queues apart; `events` are the last words of the types that are sent."""
        self._base, self._events = base, frozenset(events)
        self._endpoints, self._poster = tuple(endpoints), poster
        self._posts: set[asyncio.Task[None]] = set()
        self._seldom = Seldom()
        self._refused = 0

    @property
    def dropped(self) -> int:
        """Webhooks that were given up, here or by a receiver's outbox."""
        return self._refused + sum(endpoint.lost for endpoint in self._endpoints)

    def neighbours(self) -> Sequence[NeighbourNow]:
        """Return how each receiver stands."""
        return [endpoint.neighbour() for endpoint in self._endpoints]

    def post(self, event: Event) -> None:
        """Keep the event, if Redis takes it now; nobody waits."""
        for keeping in self._keepings(event, once=True):
            task = asyncio.create_task(keeping)
            self._posts.add(task)
            task.add_done_callback(self._posts.discard)

    async def publish(self, event: Event) -> None:
        """Keep the event for each receiver; return when Redis has it, or refused it."""
        await asyncio.gather(*self._keepings(event, once=False))

    async def close(self) -> None:
        """Deliver for a moment; what was not delivered is in Redis. Idempotent."""
        if self._posts:
            # Redis takes them within milliseconds, or is away.
            await asyncio.wait(self._posts, timeout=POSTS_S)
        for task in self._posts:
            task.cancel()
        await asyncio.gather(*(endpoint.close() for endpoint in self._endpoints))
        await self._poster.close()

    def _keepings(self, event: Event, *, once: bool) -> list[Coroutine[Any, Any, None]]:
        if event.type.rpartition(".")[2] not in self._events:
            return []
        try:
            body = msgspec.json.encode(event)
        except (ValueError, OverflowError) as error:
            # A number or a text that JSON does not have, in what a job or a stage said.
            self._drop(error)
            return []
        about = About(event.id, event.type, str(event.data.get("photoId", "")))
        webhook = Webhook(webhook_id(self._base, event.id), about, body)
        return [self._keep(endpoint, webhook, once=once) for endpoint in self._endpoints]

    async def _keep(self, endpoint: Endpoint, webhook: Webhook, *, once: bool) -> None:
        failures = 0
        while True:
            try:
                await endpoint.accept(webhook)
                return
            except QueueUnavailable as error:
                if once or is_final(error):
                    self._drop(error)
                    return
                failures += 1
                await asyncio.sleep(pause_s(failures, FIRST_PAUSE_S, LONGEST_PAUSE_S, random.random()))

    def _drop(self, error: BaseException) -> None:
        self._refused += 1
        self._seldom.warn("webhooks not kept by Redis (%d so far): %s", self._refused, error)
