"""The webhooks that one receiver has not taken yet, kept in Redis, so that they survive every process.

Rule 1: each step is one script, so that nothing is half done: a webhook is there with all its parts, or not at all.
Rule 2: a webhook that is being sent is leased: it is due again when the lease runs out, for whichever service asks. So
        a process that dies costs a delay, and in the worst case the same webhook arrives twice, under the same id.
Rule 3: an id is kept once; adding it again changes nothing.
Rule 4: what is kept is bounded by bytes, and by age. Over the bound the oldest is lost: counted, with a line in `lost`.
Rule 5: times are ms of the caller's wall clock, as BullMQ's are. Everything expires when nobody uses it any more.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from fastproc.backends.redis_sink import Call
from fastproc.backends.webhook.scripts import PARTS, SCRIPTS, SHA
from fastproc.core.errors import QueueRefused

#: An unused outbox is kept for so long beyond the time for which its webhooks are tried.
UNUSED_S = 86_400


class About(Struct, frozen=True):
    """What a webhook is about, in an operator's words."""

    event: str
    type: str
    photo: str


class Tries(Struct, frozen=True):
    """What came of a webhook so far: attempts that failed, the newest one's outcome, and when that was (ms)."""

    attempts: int = 0
    last: str = ""
    at_ms: int = 0


class Webhook(Struct, frozen=True):
    """One webhook: its id for the receiver, what it is about, and its body, which is never made anew."""

    id: str
    about: About
    body: bytes

    @property
    def text(self) -> bytes:
        """How Redis keeps it."""
        return msgspec.json.encode(self.about) + b"\n" + self.body


class Taken(Struct, frozen=True):
    """A webhook that was taken: it is leased to the taker."""

    webhook: Webhook
    tries: Tries
    accepted_ms: int


class Batch(Struct, frozen=True):
    """What `take` found: webhooks, how many the outbox keeps, when the next is due (ms), and how many grew too old."""

    taken: tuple[Taken, ...]
    waiting: int
    next_ms: int | None
    expired: int


class Outbox:
    """One receiver's webhooks. Every method raises QueueUnavailable, or QueueRefused where Redis does not want it."""

    def __init__(self, call: Call, base: str, endpoint: str, most_bytes: int, retry_s: float) -> None:
        """`base` begins the queue's keys, so that a cluster keeps all on one node, and an ACL of the queue suffices."""
        self._call, self._most_bytes, self._retry_ms = call, most_bytes, round(retry_s * 1000)
        self._keys = tuple(f"{base}webhooks:{endpoint}:{part}" for part in PARTS)
        self._expiry_ms = self._retry_ms + UNUSED_S * 1000

    async def add(self, webhook: Webhook, due_ms: int) -> int | None:
        """Keep a webhook; return how many older ones were lost for it, None where it was kept before."""
        lost = await self._run(
            "add", webhook.id, webhook.text, now_ms(), due_ms, self._most_bytes, self._expiry_ms
        )
        return None if lost < 0 else int(lost)

    async def take(self, limit: int, lease_s: float) -> Batch:
        """Lease webhooks that are due, the longest due first."""
        now = now_ms()
        found, waiting, first, expired = await self._run(
            "take", now, now + round(lease_s * 1000), limit, now - self._retry_ms
        )
        taken = tuple(_taken(*row) for row in found)
        return Batch(taken, int(waiting), round(float(first)) if first else None, int(expired))

    async def done(self, id: str) -> int:
        """Forget a webhook that was delivered; return how many are kept."""
        return int(await self._run("done", id))

    async def failed(self, id: str, due_ms: int, tries: Tries) -> int:
        """Keep what came of an attempt, and when the next is due; return how many are kept."""
        return int(await self._run("failed", id, due_ms, msgspec.json.encode(tries), self._expiry_ms))

    async def free(self, ids: Sequence[str]) -> int:
        """End leases before their time: the webhooks are due now. Return how many are kept."""
        return int(await self._run("free", now_ms(), *ids))

    async def hurry(self) -> int:
        """Make webhooks due that wait for their next try; return how many (HURRIED at most)."""
        return int(await self._run("hurry", now_ms()))

    async def raw(self, part: str, *command: str | int) -> Any:
        """Read one part of the outbox by a plain command, whose key comes second."""
        return await self._call(command[0], self._keys[PARTS.index(part)], *command[1:])

    async def _run(self, script: str, *args: str | bytes | int) -> Any:
        command = ("EVALSHA", SHA[script], len(self._keys), *self._keys, *args)
        try:
            return await self._call(*command)
        except QueueRefused as error:
            if "NOSCRIPT" not in str(error):
                raise
        loaded = self._call("SCRIPT", "LOAD", SCRIPTS[script])
        ran = self._call(*command)
        await loaded
        return await ran


def now_ms() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000


def _taken(id: bytes, text: bytes, tries: bytes, accepted: bytes) -> Taken:
    head, _, body = text.partition(b"\n")
    webhook = Webhook(id.decode(), msgspec.json.decode(head, type=About), body)
    return Taken(webhook, tries_of(tries), round(float(accepted)))


def tries_of(text: bytes | None) -> Tries:
    """Return what came of a webhook, as the outbox keeps it."""
    _, _, encoded = (text or b"").partition(b" ")
    return msgspec.json.decode(encoded, type=Tries) if encoded else Tries()
