"""What an operator wants to know of a receiver: what waits, what fails, why, and what was given up.

Rule 1: it reads, and changes nothing. What it reads is bounded, whatever the backlog is.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec
from msgspec import Struct

from fastproc.backends.webhook.outbox import About, Outbox, Tries, now_ms, tries_of

#: Webhooks that are looked at for failures, the last to be due first: those that failed wait the longest.
LOOKED_AT = 200


class Failing(Struct, frozen=True):
    """A webhook that was tried in vain; it is tried again in `next_s` seconds (0: it is due, or being sent)."""

    id: str
    type: str
    photo: str
    attempts: int
    last: str
    next_s: float


class Lost(Struct, frozen=True):
    """A webhook that was given up: `expired` (too old), or `dropped` (the backlog was full)."""

    why: str
    at: str
    id: str
    type: str
    photo: str
    attempts: int
    last: str


class Report(Struct, frozen=True, kw_only=True):
    """One receiver's outbox; `failing` has the most attempts first, `lost` the newest."""

    receiver: str
    waiting: int
    bytes: int
    oldest_s: float
    delivered: int
    expired: int
    dropped: int
    failing: tuple[Failing, ...]
    lost: tuple[Lost, ...]


async def report(outbox: Outbox, receiver: str, shown: int) -> Report:
    """Read a receiver's outbox, with `shown` failing and lost webhooks at most. Raises QueueUnavailable."""
    stat = _pairs(await outbox.raw("stat", "HGETALL"))
    oldest = await outbox.raw("age", "ZRANGE", 0, 0, "WITHSCORES")
    lost = await outbox.raw("lost", "LRANGE", 0, shown - 1)
    return Report(
        receiver=receiver,
        waiting=int(await outbox.raw("age", "ZCARD")),
        bytes=int(stat.get(b"bytes", 0)),
        oldest_s=max(0.0, (now_ms() - float(oldest[1])) / 1000) if oldest else 0.0,
        delivered=int(stat.get(b"delivered", 0)),
        expired=int(stat.get(b"expired", 0)),
        dropped=int(stat.get(b"dropped", 0)),
        failing=await _failing(outbox, shown),
        lost=tuple(map(_lost, lost)),
    )


async def _failing(outbox: Outbox, shown: int) -> tuple[Failing, ...]:
    due = _pairs(await outbox.raw("due", "ZREVRANGE", 0, LOOKED_AT - 1, "WITHSCORES"))
    if not due:
        return ()
    ids = [id.decode() for id in due]
    tried = await outbox.raw("tries", "HMGET", *ids)
    rows = [(id, tries_of(text)) for id, text in zip(ids, tried, strict=True) if text]
    rows.sort(key=lambda row: -row[1].attempts)
    found = []
    for id, tries in rows[:shown]:
        if text := await outbox.raw("text", "HGET", id):
            about = msgspec.json.decode(text.partition(b"\n")[0], type=About)
            next_s = max(0.0, (float(due[id.encode()]) - now_ms()) / 1000)
            found.append(Failing(about.event, about.type, about.photo, tries.attempts, tries.last, next_s))
    return tuple(found)


def _lost(line: bytes) -> Lost:
    head, about_text, tried = line.split(b"\n", 2)
    why, _, at_ms = head.decode().partition(" ")
    about = msgspec.json.decode(about_text, type=About)
    tries = tries_of(tried) if tried else Tries()
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(at_ms) / 1000))
    return Lost(why, at, about.event, about.type, about.photo, tries.attempts, tries.last)


def _pairs(flat: list[Any]) -> dict[bytes, Any]:
    """Redis' reply of names and values in turn."""
    return dict(zip(flat[::2], flat[1::2], strict=True))
