"""Reads the jobs of a queue: how many there are by state, a page of them, one in detail, one by its photo.

Rule 1: everything is read in pages, so that no reply is large and no call of Redis long.
Rule 2: a look-up by photo is bounded: BullMQ has no index of photos. It says how many jobs it has looked at.
Rule 3: jobs move while they are read: a state is true for the moment in which it was asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from msgspec import structs

from fastproc.bullmq.call import Call
from fastproc.bullmq.desk import rows
from fastproc.bullmq.protocol import Keys, text
from fastproc.core.errors import QueueRefused
from fastproc.core.job_view import STATES, Found, JobDetail, JobRow

#: Jobs of one page: a reply of some 200 kB.
PAGE: Final = 200
#: Jobs of each state that are looked at for a photo, the newest of those that have ended: half a second in all.
LOOKED_AT: Final = 2000
#: Rows of a job's log that are read, and members of `active` in which a job is looked for.
_LOG_ROWS, _MOST_ACTIVE = 200, 10_000
#: Where a photo is looked for first: what runs, then what has failed.
_ORDER: Final = ("active", "failed", "waiting", "delayed", "prioritized", "waiting-children", "completed")


class Jobs:
    """One queue's jobs."""

    def __init__(self, call: Call, keys: Keys) -> None:
        self._call, self._keys = call, keys

    async def ids(self, state: str, offset: int, limit: int) -> list[str]:
        """Return ids in the state: what is next first, or what ended last."""
        if limit <= 0:
            return []
        last = offset + limit - 1
        if state == "waiting":
            return await self._waiting(offset, limit)
        if state == "active":
            found = await self._call("LRANGE", self._keys("active"), offset, last)
        else:
            newest_first = state in ("completed", "failed", "waiting-children")
            command = "ZREVRANGE" if newest_first else "ZRANGE"
            found = await self._call(command, self._keys(state), offset, last)
        return [text(each) for each in found]

    async def rows(self, state: str, ids: Sequence[str]) -> list[JobRow]:
        """Return the jobs' rows; those that are gone meanwhile are left out."""
        hashes, scores = await asyncio.gather(
            asyncio.gather(*(self._call("HMGET", self._keys(each), *rows.FIELDS) for each in ids)),
            asyncio.gather(
                *(self._call("ZSCORE", self._keys("delayed"), each) for each in ids if state == "delayed")
            ),
        )
        due = [_due_ms(score) for score in scores] or [0] * len(ids)
        return [
            rows.row(job_id, state, _present(rows.FIELDS, values), at)
            for job_id, values, at in zip(ids, hashes, due, strict=True)
            if any(values)
        ]

    async def state(self, job_id: str) -> str:
        """Return the job's state; `unknown` where there is no such job, or it is in no list."""
        sets = [each for each in STATES if each not in ("waiting", "active")]
        there, active, wait, paused, *scores = await asyncio.gather(
            self._call("EXISTS", self._keys(job_id)),
            *(self._call("LPOS", self._keys(name), job_id) for name in ("active", "wait", "paused")),
            *(self._call("ZSCORE", self._keys(each), job_id) for each in sets),
        )
        in_sets = (each for each, score in zip(sets, scores, strict=True) if score is not None)
        if not there:
            return "unknown"
        if (found := next(in_sets, "")) or active is not None:
            return found or "active"
        return "waiting" if wait is not None or paused is not None else "unknown"

    async def detail(self, job_id: str) -> JobDetail | None:
        """Return all that is known of the job; None where there is none."""
        if not 0 < len(job_id) <= rows.MAX_CHARS:
            return None
        key = self._keys(job_id)
        try:
            flat = await self._call("HGETALL", key)
        except QueueRefused as refused:
            # One of the queue's own keys, such as `wait`.
            if str(refused).startswith("WRONGTYPE"):
                return None
            raise
        fields = {text(name): value for name, value in zip(flat[::2], flat[1::2], strict=True)}
        if not {"name", "timestamp", "data"} <= fields.keys():
            return None
        state, log, children, score = await asyncio.gather(
            self.state(job_id),
            self._call("LRANGE", f"{key}:logs", -_LOG_ROWS, -1),
            self._call("SCARD", f"{key}:dependencies"),
            self._call("ZSCORE", self._keys("delayed"), job_id),
        )
        lines = [text(line) for line in log]
        return rows.detail(job_id, state, fields, log=lines, children=children, due_at_ms=_due_ms(score))

    async def of_photo(self, photo: str) -> tuple[list[str], int, bool]:
        """Return the photo's jobs in the first state that has one, how many were looked at, and whether that is all."""
        looked, whole = 0, True
        for state in _ORDER:
            found: list[str] = []
            for offset in range(0, LOOKED_AT, PAGE):
                ids = await self.ids(state, offset, PAGE)
                looked += len(ids)
                found += await self._with(photo, ids)
                if len(ids) < PAGE:
                    break
            else:
                whole = False
            if found:
                return found, looked, whole
        return [], looked, whole

    async def find(self, words: str) -> Found:
        """Look for the job of that id, or else for one of the photo of that id."""
        if job := await self.detail(words):
            return Found(job=job)
        ids, looked, whole = await self.of_photo(words)
        for number, job_id in enumerate(ids):
            if job := await self.detail(job_id):
                others = (*ids[:number], *ids[number + 1 :])
                return Found(job=structs.replace(job, others=others), looked=looked, whole=whole)
        return Found(job=None, looked=looked, whole=whole)

    async def _waiting(self, offset: int, limit: int) -> list[str]:
        """What is taken next is at a list's end; in a pause BullMQ 5 has the jobs in another list."""
        found: list[bytes] = []
        for name in ("wait", "paused"):
            length = await self._call("LLEN", self._keys(name))
            wanted = limit - len(found)
            if offset < length and wanted:
                part = await self._call("LRANGE", self._keys(name), -(offset + wanted), -(offset + 1))
                found += reversed(part)
            offset = max(0, offset - length)
        # BullMQ 4 put markers among them.
        return [text(each) for each in found if not each.startswith(b"0:")]

    async def _with(self, photo: str, ids: Sequence[str]) -> list[str]:
        found = await asyncio.gather(*(self._call("HGET", self._keys(each), "data") for each in ids))
        hint = photo.encode("utf-8", "replace")
        return [
            job_id
            for job_id, raw in zip(ids, found, strict=True)
            if raw is not None and hint in raw and rows.photo_of(raw) == photo
        ]


def _due_ms(score: bytes | None) -> int:
    """The score of a delayed job is its time * 4096 and a number. Source: BullMQ includes/getDelayedScore.lua."""
    return int(float(score) / 4096) if score is not None else 0


def _present(names: Sequence[str], values: Sequence[bytes | None]) -> dict[str, bytes]:
    return {name: value for name, value in zip(names, values, strict=True) if value is not None}
