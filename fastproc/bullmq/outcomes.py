"""Follows jobs to their end, from outside: the queue's stream of events says which, the jobs' hashes when.

Rule 1: the stream is read in batches: an end that is heard of late is not dated late, since `finishedOn` is the
        service's own.
Rule 2: BullMQ keeps some 10,000 events. Whoever reads too seldom misses ends, and asks the hashes (`read`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from fastproc.bullmq.protocol import Keys, text

#: Events, and jobs, of one reply: some milliseconds of work, so that a batch delays nothing much.
_BATCH: Final = 500
_ENDS: Final = frozenset({b"completed", b"failed"})


class Outcome(Struct, frozen=True, kw_only=True):
    """What BullMQ says of a job, in milliseconds of the wall clock, 0 for what has not happened."""

    added_ms: int
    taken_ms: int
    ended_ms: int
    reason: str


class Outcomes:
    """The jobs of one queue, over a client of redis-py's. Every call raises RedisError."""

    def __init__(self, redis: Any, keys: Keys) -> None:
        self._redis, self._keys, self._last = redis, keys, b"0-0"

    async def start(self) -> None:
        """Forget what has been: `ended` tells what happens from now on."""
        newest = await self._redis.xrevrange(self._keys("events"), count=1)
        self._last = newest[0][0] if newest else b"0-0"

    async def ended(self) -> list[str]:
        """Return the ids of the jobs that have ended since the last call, whoever added them. It does not wait."""
        ids: list[str] = []
        while reply := await self._redis.xread({self._keys("events"): self._last}, count=_BATCH):
            entries = reply[0][1]
            self._last = entries[-1][0]
            ids += [text(fields[b"jobId"]) for _, fields in entries if fields.get(b"event") in _ENDS]
            if len(entries) < _BATCH:
                break
        return ids

    async def read(self, job_ids: Sequence[str]) -> list[Outcome]:
        """Return what is known of each job; one that is gone has not been added."""
        rows = await self._fields(job_ids, "timestamp", "processedOn", "finishedOn", "failedReason")
        return [
            Outcome(
                added_ms=_ms(added),
                taken_ms=_ms(taken),
                ended_ms=_ms(ended),
                reason=text(reason or b"") if ended else "",
            )
            for added, taken, ended, reason in rows
        ]

    async def written(self, job_ids: Sequence[str]) -> list[tuple[str, str]]:
        """Return bucket ("" for the default) and key of every object that the jobs' return values name."""
        found = []
        for data, value in await self._fields(job_ids, "data", "returnvalue"):
            if not value:
                continue
            bucket = msgspec.json.decode(data).get("bucket", "")
            result = msgspec.json.decode(value)
            made = [
                *result.get("thumbnails", []),
                *result.get("renditions", []),
                result.get("optimization") or {},
            ]
            found += [(bucket, each["s3Key"]) for each in made if each.get("s3Key")]
        return found

    async def _fields(self, job_ids: Sequence[str], *names: str) -> list[list[Any]]:
        rows: list[list[Any]] = []
        for first in range(0, len(job_ids), _BATCH):
            async with self._redis.pipeline(transaction=False) as pipeline:
                for job_id in job_ids[first : first + _BATCH]:
                    pipeline.hmget(self._keys(job_id), *names)
                rows += await pipeline.execute()
        return rows


def _ms(value: bytes | None) -> int:
    return int(value) if value else 0
