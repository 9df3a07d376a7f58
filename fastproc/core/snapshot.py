"""What a service looks like at one moment, as values: for the page, for `fastproc top`, and for the hosts of a queue.

Rule 1: times are ms of the wall clock (`_ms` with `_at`), or durations in seconds (`_s`): a reader may be on another
        host, so no monotonic clock leaves the process.
Rule 2: nobody's secrets and no signed address is in it: it is written to Redis, and shown without a token.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct


class WorkerNow(Struct, frozen=True, kw_only=True):
    """One worker slot. `state`: as the fleet's; `stage`, `photo`, `job`: what it works at, "" where it has no task.

    `task_s`: age of its task; `deaths`: processes of this slot that ended unasked; `last_death`: how, in words.
    """

    slot: int
    state: str
    pid: int = 0
    photo: str = ""
    job: str = ""
    stage: str = ""
    task_s: float = 0.0
    rss_bytes: int = 0
    deaths: int = 0
    last_death: str = ""
    last_death_at_ms: int = 0


class NeighbourNow(Struct, frozen=True, kw_only=True):
    """A server (or the kernel) that jobs need. `away`: why it cannot be used, "" where it can; since when.

    `latency_s`: of the newest answer; `last_error`: the newest problem, also of one that is back.
    """

    name: str
    where: str = ""
    away: str = ""
    away_since_ms: int = 0
    latency_s: float | None = None
    last_error: str = ""
    last_error_at_ms: int = 0


class LimiterNow(Struct, frozen=True, kw_only=True):
    """The rate limit: `max` jobs (0: off) in `duration_ms`; `held_s`: seconds of the last minute it held jobs back."""

    max: int = 0
    duration_ms: int = 0
    held_s: float = 0.0

    @property
    def per_s(self) -> float:
        """Jobs that may start a second; 0: no limit."""
        return self.max * 1000 / self.duration_ms if self.duration_ms else 0.0


class Tick(Struct, frozen=True, kw_only=True):
    """What happened in TICK_S seconds that began at `at_ms`: jobs that completed and failed for good, deaths."""

    at_ms: int
    completed: int = 0
    failed: int = 0
    deaths: int = 0


class Snapshot(Struct, frozen=True, kw_only=True):
    """One supervisor. `host`: its host's name; `number` of `of`: which of the host's supervisors.

    `state`: `starting`, `serving`, `paused` (this host alone), `stopping`. `p50_s`, `p95_s`: from taking a job to its
    end, of the newest jobs. `changed`: settings that an operator has changed since the start, with their value now.
    `problems`: what makes it not ready, or stuck, in words. `health`: as /health says: healthy, stale, stuck. `ticks`:
    the last ten minutes, the oldest first. `codes`: jobs that failed for good in the last LATELY_S, by code. `pace`:
    jobs a second that this one brings to their end while jobs wait, where it knows.
    """

    host: str
    number: int = 1
    of: int = 1
    pid: int
    version: str
    at_ms: int
    started_at_ms: int
    state: str
    in_hand: int = 0
    max_in_hand: int = 0
    concurrency: int = 0
    workers: tuple[WorkerNow, ...] = ()
    neighbours: tuple[NeighbourNow, ...] = ()
    limiter: LimiterNow = LimiterNow()
    completed: int = 0
    failed: int = 0
    retried: int = 0
    given_back: int = 0
    lost: int = 0
    p50_s: float | None = None
    p95_s: float | None = None
    ticks: tuple[Tick, ...] = ()
    changed: Mapping[str, str] = {}
    decoders: Mapping[str, str] = {}
    holes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    codes: Mapping[str, int] = {}
    pace: float | None = None
    health: str = "healthy"

    def behind_ms(self, now_ms: int) -> int:
        """By how much its host's clock is behind the reader's; 0 within what a snapshot may be old."""
        behind = now_ms - self.at_ms
        return behind if abs(behind) > OLDEST_MS else 0


class QueueNow(Struct, frozen=True, kw_only=True):
    """The queue, which all hosts share. `counts` by BullMQ's states; `held`: why nobody may take a job, "" if one may.

    `oldest_s`: age of the oldest job that waits; `backlog_s`: seconds until what waits is done at today's pace;
    `growth_per_s`: by how many jobs a second what waits has grown lately, less than 0 where it shrinks.
    """

    name: str
    counts: Mapping[str, int] = {}
    paused: bool = False
    held: str = ""
    oldest_s: float | None = None
    backlog_s: float | None = None
    growth_per_s: float | None = None

    @property
    def waiting(self) -> int:
        """Jobs that a worker could take, but for a pause."""
        return sum(self.counts.get(state, 0) for state in WAITING)


#: States of jobs that a worker could take. `waiting` has those of a paused queue too, of which `paused` is the number.
WAITING = ("waiting", "prioritized")
#: Seconds of a tick, and how many a snapshot has: ten minutes.
TICK_S = 5.0
TICKS = 120
#: A snapshot lives for 10 s: one that seems older, or comes from the future, is of another clock (tuning.md).
OLDEST_MS = 15_000
#: Lately: so far back deaths and failures are looked at, in seconds.
LATELY_S = 300.0
