"""What several supervisors say of themselves, put together as if one had said it: /health and /ready. Pure.

Rule 1: figures of jobs add up, and those of supervisors that have ended still count; what all know of the one queue
        is not added.
Rule 2: the worst status is that of all: a restart helps where it would help one of them.
Rule 3: enough is half of the supervisors: the service stays ready while one is started again, and is not ready while
        most of them are away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

#: From bad to good.
STATUSES = ("stuck", "stale", "healthy")

Body = Mapping[str, Any]


class Past(Struct, frozen=True):
    """What supervisors that have ended had done. `last_ms`: the end of their newest attempt, as a wall time."""

    processed: int = 0
    failed: int = 0
    retried: int = 0
    average_ms: float | None = None
    last_ms: int | None = None

    def plus(self, body: Body) -> Past:
        """Return it with the last body of one more."""
        figures = body["metrics"]
        return Past(
            self.processed + figures["jobsProcessed"],
            self.failed + figures["jobsFailed"],
            self.retried + figures["attemptsRetried"],
            _average([(self.average_ms, self.processed), _weighed(figures)]),
            max((self.last_ms, figures["lastJobTimestamp"]), key=lambda ms: ms or 0),
        )


def health(
    bodies: Mapping[int, Body], silent: Sequence[int], past: Past, uptime_ms: int, wall_ms: int
) -> Body:
    """Return the body of /health from those of supervisors by number; `silent` ones do not answer."""
    total = past
    for body in bodies.values():
        total = total.plus(body)
    ended = total.processed + total.failed
    living = [_weighed(body["metrics"]) for body in bodies.values()]
    average = _average(living) or total.average_ms
    waiting = [body["jobsWaiting"] for body in bodies.values() if body["jobsWaiting"] is not None]
    found: dict[str, Any] = {
        "status": _worst([body["status"] for body in bodies.values()], silent),
        "metrics": {
            "jobsProcessed": total.processed,
            "jobsFailed": total.failed,
            "attemptsRetried": total.retried,
            "successRate": round(100 * total.processed / ended, 2) if ended else None,
            "averageProcessingTime": None if average is None else round(average),
            "lastJobTimestamp": total.last_ms,
        },
        "timeSinceLastJob": None if total.last_ms is None else max(0, wall_ms - total.last_ms),
        "uptime": uptime_ms,
        "jobsWaiting": max(waiting, default=None),
        "jobsInHand": sum(body["jobsInHand"] for body in bodies.values()),
    }
    held = [body["held"] for body in bodies.values() if "held" in body]
    problems = [f"supervisor {number} does not answer" for number in silent]
    problems += [
        f"supervisor {number}: {problem}"
        for number, body in bodies.items()
        for problem in body.get("problems", ())
    ]
    # Where one of them takes jobs, nothing holds the service.
    return (
        found
        | ({"held": held[0]} if held and len(held) == len(bodies) else {})
        | ({"problems": problems} if problems else {})
    )


class Ready(Struct, frozen=True):
    """What a supervisor answers to /ready: every condition, and what is wrong with those that do not hold."""

    conditions: Mapping[str, bool]
    problems: Mapping[str, str]


def ready(answers: Mapping[int, Ready], of: int) -> tuple[bool, Body]:
    """Return whether `of` supervisors do enough for the service to be ready, and the body of /ready."""
    names = dict.fromkeys(name for answer in answers.values() for name in answer.conditions) or {
        "started": None
    }
    able = sum(all(answer.conditions.values()) for answer in answers.values())
    conditions = {
        name: is_enough(sum(answer.conditions.get(name, False) for answer in answers.values()), of)
        for name in names
    }
    problems: dict[str, str] = {}
    for number in range(1, of + 1):
        missing = {"started": "no process that answers"}
        for name, problem in (answers[number].problems if number in answers else missing).items():
            said = f"supervisor {number}: {problem}"
            problems[name] = f"{problems[name]}; {said}" if name in problems else said
    is_ready = is_enough(able, of)
    body = {"status": "ready" if is_ready else "not ready", **conditions}
    return is_ready, {**body, "supervisors": {"ready": able, "of": of}} | (
        {"problems": problems} if problems else {}
    )


def is_enough(able: int, of: int) -> bool:
    """Whether so many of them can stand for all (rule 3)."""
    return able > 0 and 2 * able >= of


def _worst(statuses: Sequence[str], silent: Sequence[int]) -> str:
    found = [*statuses, *("stuck" for _ in silent)]
    return min(found, key=STATUSES.index, default="healthy")


def _weighed(figures: Body) -> tuple[float | None, int]:
    return figures["averageProcessingTime"], figures["jobsProcessed"]


def _average(parts: Sequence[tuple[float | None, int]]) -> float | None:
    """The mean of averages, each counted as often as the jobs that it stands for."""
    known = [(average, jobs) for average, jobs in parts if average is not None and jobs]
    return sum(average * jobs for average, jobs in known) / sum(jobs for _, jobs in known) if known else None
