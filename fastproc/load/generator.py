"""Adds the jobs of one run by their plan, and waits for the end of each: the load generator.

Rule 1: while jobs run, it adds what is due and reads the queue's events in batches, and nothing else: when jobs were
        taken and ended is read afterwards.
Rule 2: a job's id is its photo's, so that one whose adding was cut short can be found and removed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from msgspec import Struct

from fastproc.bullmq.producer import Producer
from fastproc.load.arrivals import due_now
from fastproc.load.figures import Course

#: Seconds between two looks: where an end lets the next job in, and else.
_LOOK_S: Final = 0.01
_IDLE_LOOK_S: Final = 0.05
#: Jobs of one transaction: one that is larger would hold up Redis, and the jobs that are due meanwhile.
_BULK: Final = 50
#: Seconds without an end after which the hashes are asked, and after which the jobs are given up.
_ASK_S: Final = 2.0
QUIET_S: Final = 120.0

#: Kept until they have been read, whatever the service's or the queue's default is.
_OPTIONS: Final = {"removeOnComplete": False, "removeOnFail": False}
#: What an application sees in the events of these jobs.
CLIENT_ID: Final = "fastproc-bench"


class Sent(Struct, frozen=True):
    """A job that was added, and when it was due (ms of the wall clock)."""

    id: str
    due_ms: float


class Generator:
    """One run's jobs. `keys` are the photos', used in turns; `prefix` is that of the photos' ids."""

    def __init__(
        self, queue: Producer, keys: Sequence[str], prefix: str, on_end: Callable[[int], None]
    ) -> None:
        """`on_end` is told how many jobs have just ended."""
        self.sent: list[Sent] = []
        #: When the run began, in ms of the wall clock.
        self.began_ms = 0.0
        self._queue, self._outcomes = queue, queue.outcomes
        self._keys, self._prefix, self._on_end = keys, prefix, on_end
        self._left: set[str] = set()
        self._ended_at = 0.0

    async def run(self, due: list[float], outstanding: int, *, quiet_s: float = QUIET_S) -> None:
        """Add every job when it is due (seconds from now), and return when all have ended, or none has for `quiet_s`.

        `outstanding`: so many are not ended yet at most, 0 for no limit. Raises RedisError.
        """
        await self._outcomes.start()
        began, self.began_ms = time.monotonic(), time.time() * 1000
        self._ended_at = began
        look_s = _LOOK_S if outstanding else _IDLE_LOOK_S
        while len(self.sent) < len(due) or self._left:
            _go_on()
            elapsed, added = time.monotonic() - began, len(self.sent)
            count = due_now(due, added, added - len(self._left), elapsed, outstanding)
            if count:
                await self._add([self.began_ms + 1000 * at for at in due[added : added + min(count, _BULK)]])
                if count > _BULK:
                    continue
            await self._hear()
            if time.monotonic() - self._ended_at > quiet_s and len(self.sent) == len(due):
                break
            now = time.monotonic() - began
            until_due = due[len(self.sent)] - now if len(self.sent) < len(due) and not outstanding else look_s
            await asyncio.sleep(max(0.0, min(look_s, until_due)))

    async def courses(self) -> list[Course]:
        """What became of each job that was added. Raises RedisError."""
        found = await self._outcomes.read([each.id for each in self.sent])
        return [
            Course(
                due_ms=sent.due_ms,
                added_ms=each.added_ms,
                taken_ms=each.taken_ms,
                ended_ms=each.ended_ms,
                reason=each.reason,
            )
            for sent, each in zip(self.sent, found, strict=True)
        ]

    async def _add(self, due_ms: list[float]) -> None:
        jobs: list[tuple[dict[str, Any], dict[str, Any]]] = []
        for at_ms in due_ms:
            number = len(self.sent)
            photo_id = f"{self._prefix}{number}"
            data = {"photoId": photo_id, "s3Key": self._keys[number % len(self._keys)], "clientId": CLIENT_ID}
            jobs.append((data, {**_OPTIONS, "jobId": photo_id, "timestamp": time.time_ns() // 1_000_000}))
            self.sent.append(Sent(photo_id, at_ms))
            self._left.add(photo_id)
        await self._queue.add_all(jobs)

    async def _hear(self) -> None:
        ended = self._left.intersection(await self._outcomes.ended())
        now = time.monotonic()
        if not ended and self._left and now - self._ended_at > _ASK_S:
            ids = list(self._left)
            found = await self._outcomes.read(ids)
            ended = {job_id for job_id, each in zip(ids, found, strict=True) if each.ended_ms}
            # Asked again in as long, not at every look.
            await asyncio.sleep(0 if ended else _IDLE_LOOK_S)
        if ended:
            self._ended_at = now
            self._left -= ended
            self._on_end(len(ended))


def _go_on() -> None:
    """Raise CancelledError where this task was cancelled: `wait_for` in redis-py may lose that (Python 3.11)."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
