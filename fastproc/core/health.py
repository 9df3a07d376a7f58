"""How the service does, as values: the figures of its jobs, and whether it is stale. Pure: the caller passes times.

Rule 1: jobs that completed and jobs that failed for good make the success rate. An attempt that is retried is neither:
        it has a figure of its own.
Rule 2: stale is what nothing else explains: jobs wait, all that they need works, and no attempt has ended for a while.
        An empty queue is never stale, and neither is a queue that is paused, limited, or held by an outage.
Rule 3: the check fails only where a restart helps: stale with no job in hand. Jobs in hand are the watchdog's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from fastproc.core.model import Completed, Ended, Retry

#: Weight of the newest job in the average. Source: the reference deployment's health monitor.
ALPHA: Final = 0.1


class Figures(Struct, frozen=True, kw_only=True):
    """What became of this service's jobs. `average_s`: from taking a job to its completion; `last_at`: monotonic s."""

    processed: int = 0
    failed: int = 0
    retried: int = 0
    average_s: float | None = None
    last_at: float | None = None

    @property
    def success_percent(self) -> float | None:
        """Jobs completed of those that ended for good; None before the first."""
        ended = self.processed + self.failed
        return round(100 * self.processed / ended, 2) if ended else None


class Backlog(Struct, frozen=True):
    """What the queue has for its workers: jobs that wait, and why nobody may take them now ("": they may).

    `counts`: jobs by BullMQ's states; `oldest_ms`: since when (wall clock) the oldest of those that wait could have
    been taken, None where none waits or nobody knows.
    """

    waiting: int
    held: str = ""
    counts: Mapping[str, int] = {}
    oldest_ms: int | None = None
    paused: bool = False


class Now(Struct, frozen=True, kw_only=True):
    """A look at the service. `waiting` is None where nobody knows; `waits_since`: jobs wait without a reason since."""

    at: float
    uptime_s: float
    in_hand: int = 0
    waiting: int | None = None
    held: str = ""
    waits_since: float | None = None
    stuck: bool = False


def counted(figures: Figures, end: Completed | Ended, seconds: float, now: float) -> Figures:
    """Return the figures with an attempt that ended `now`, `seconds` after it was taken."""
    if isinstance(end, Completed):
        before = figures.average_s
        average_s = seconds if before is None else ALPHA * seconds + (1 - ALPHA) * before
        return replace(figures, processed=figures.processed + 1, average_s=average_s, last_at=now)
    if isinstance(end.decision, Retry):
        return replace(figures, retried=figures.retried + 1, last_at=now)
    return replace(figures, failed=figures.failed + 1, last_at=now)


def waits_since(before: float | None, waiting: int | None, held: str, now: float) -> float | None:
    """Return since when jobs wait without a reason, None where they do not; `before` is the answer of the last look."""
    if not waiting or held:
        return None
    return now if before is None else before


def status(figures: Figures, now: Now, stale_s: float) -> str:
    """Return `healthy`, `stale` or `stuck`."""
    if now.stuck:
        return "stuck"
    if now.waits_since is None:
        return "healthy"
    idle_since = max(now.waits_since, figures.last_at or now.waits_since)
    return "stale" if now.at - idle_since >= stale_s else "healthy"


def is_failing(status: str, in_hand: int) -> bool:
    """Whether an orchestrator shall restart the service."""
    return status == "stuck" or (status == "stale" and not in_hand)


def answer(figures: Figures, now: Now, stale_s: float, wall_ms: int) -> dict[str, Any]:
    """Return the body of /health. Contract: docs/contract.md, HTTP. Every time is in ms."""
    since_ms = None if figures.last_at is None else _ms(now.at - figures.last_at)
    found: dict[str, Any] = {
        "status": status(figures, now, stale_s),
        "metrics": {
            "jobsProcessed": figures.processed,
            "jobsFailed": figures.failed,
            "attemptsRetried": figures.retried,
            "successRate": figures.success_percent,
            "averageProcessingTime": None if figures.average_s is None else _ms(figures.average_s),
            "lastJobTimestamp": None if since_ms is None else wall_ms - since_ms,
        },
        "timeSinceLastJob": since_ms,
        "uptime": _ms(now.uptime_s),
        "jobsWaiting": now.waiting,
        "jobsInHand": now.in_hand,
    }
    return found | ({"held": now.held} if now.held else {})


def line(figures: Figures, now: Now, stale_s: float) -> str:
    """Return the same for the log. What nobody knows, or has not been yet, is `-`."""
    return line_of(answer(figures, now, stale_s, 0))


def line_of(body: Mapping[str, Any]) -> str:
    """Return the line of the log for a body of /health."""
    figures, held = body["metrics"], body.get("held", "")
    parts = (
        f"health status={body['status']}",
        f"processed={figures['jobsProcessed']} failed={figures['jobsFailed']} retried={figures['attemptsRetried']}",
        f"success_percent={_shown(figures['successRate'], '.2f')}",
        f"average_seconds={_shown(_seconds(figures['averageProcessingTime']), '.3f')}",
        f"last_job_seconds={_shown(_seconds(body['timeSinceLastJob']), '.0f')}",
        f"waiting={_shown(body['jobsWaiting'], 'd')} in_hand={body['jobsInHand']}",
        f"uptime_seconds={_seconds(body['uptime']):.0f}",
    )
    return " ".join(parts) + (f" held={held!r}" if held else "")


def _seconds(ms: int | None) -> float | None:
    return None if ms is None else ms / 1000


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))


def _shown(number: float | None, how: str) -> str:
    return "-" if number is None else format(number, how)
