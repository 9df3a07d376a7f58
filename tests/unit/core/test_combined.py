"""Several supervisors answer as one."""

from __future__ import annotations

from typing import Any

import pytest

from fastproc.core import combined, health
from fastproc.core.combined import Past, Ready
from fastproc.core.health import Figures, Now


def body(
    processed: int = 0, average_ms: int | None = None, last_ms: int | None = None, **more: Any
) -> dict[str, Any]:
    """As a supervisor answers it."""
    figures = {
        "jobsProcessed": processed,
        "jobsFailed": more.pop("failed", 0),
        "attemptsRetried": more.pop("retried", 0),
        "successRate": None,
        "averageProcessingTime": average_ms,
        "lastJobTimestamp": last_ms,
    }
    rest = {"status": "healthy", "timeSinceLastJob": None, "uptime": 5, "jobsWaiting": None, "jobsInHand": 0}
    return {**rest, "metrics": figures, **more}


def all_of(*bodies: dict[str, Any], silent: tuple[int, ...] = (), past: Past | None = None) -> Any:
    return combined.health(dict(enumerate(bodies, 1)), silent, past or Past(), 9_000, 1_000_000)


def test_the_fields_are_those_of_one_service() -> None:
    one = health.answer(Figures(), Now(at=1.0, uptime_s=1.0), 300.0, 1)
    assert list(all_of(one)) == list(one)
    assert list(all_of(one)["metrics"]) == list(one["metrics"])


def test_figures_of_jobs_add_up_and_those_of_the_queue_do_not() -> None:
    found = all_of(
        body(30, 100, 999_000, failed=1, retried=2, jobsInHand=3, jobsWaiting=14),
        body(10, 200, 998_000, failed=0, retried=1, jobsInHand=1, jobsWaiting=15),
    )
    assert found["metrics"] == {
        "jobsProcessed": 40,
        "jobsFailed": 1,
        "attemptsRetried": 3,
        "successRate": 97.56,
        "averageProcessingTime": 125,
        "lastJobTimestamp": 999_000,
    }
    assert (found["timeSinceLastJob"], found["jobsInHand"], found["jobsWaiting"]) == (1_000, 4, 15)
    assert found["uptime"] == 9_000


def test_what_supervisors_that_have_ended_did_still_counts() -> None:
    past = Past().plus(body(5, 100, 500_000, failed=1)).plus(body(15, 300, 400_000))
    found = all_of(body(0), past=past)
    assert (found["metrics"]["jobsProcessed"], found["metrics"]["jobsFailed"]) == (20, 1)
    assert (found["metrics"]["averageProcessingTime"], found["metrics"]["lastJobTimestamp"]) == (250, 500_000)


def test_before_the_first_answer_nothing_is_known_and_nothing_is_wrong() -> None:
    found = all_of()
    assert (found["status"], found["jobsWaiting"], found["timeSinceLastJob"]) == ("healthy", None, None)


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (("healthy", "healthy"), "healthy"),
        (("healthy", "stale"), "stale"),
        (("stuck", "stale"), "stuck"),
    ],
)
def test_the_worst_status_is_that_of_all(statuses: tuple[str, ...], expected: str) -> None:
    assert all_of(*(body(status=status) for status in statuses))["status"] == expected


def test_one_that_does_not_answer_is_stuck_and_named() -> None:
    found = all_of(body(problems=["loop late"]), silent=(2,))
    assert found["status"] == "stuck"
    assert found["problems"] == ["supervisor 2 does not answer", "supervisor 1: loop late"]


def test_what_holds_one_of_them_does_not_hold_the_service() -> None:
    assert "held" not in all_of(body(held="storage: 503"), body())
    assert all_of(body(held="storage: 503"), body(held="paused"))["held"] == "storage: 503"


GOOD = Ready({"started": True, "redis": True}, {})
AWAY = Ready({"started": True, "redis": False}, {"redis": "refused"})


@pytest.mark.parametrize(
    ("answers", "of", "expected"),
    [
        ({}, 2, False),
        ({1: GOOD}, 2, True),
        ({1: GOOD, 2: AWAY}, 2, True),
        ({1: AWAY, 2: AWAY}, 2, False),
        ({1: GOOD, 3: AWAY}, 3, False),
        ({1: GOOD, 2: GOOD}, 3, True),
    ],
)
def test_it_is_ready_when_half_of_them_are(answers: dict[int, Ready], of: int, expected: bool) -> None:
    is_ready, found = combined.ready(answers, of)
    assert (is_ready, found["status"]) == (expected, "ready" if expected else "not ready")


def test_ready_names_who_lacks_what() -> None:
    _, found = combined.ready({1: GOOD, 2: AWAY, 3: AWAY}, 4)
    assert found == {
        "status": "not ready",
        "started": True,
        "redis": False,
        "supervisors": {"ready": 1, "of": 4},
        "problems": {
            "redis": "supervisor 2: refused; supervisor 3: refused",
            "started": "supervisor 4: no process that answers",
        },
    }


def test_two_that_are_each_ready_for_one_thing_are_not_ready_together() -> None:
    other = Ready({"started": False, "redis": True}, {"started": "starting"})
    assert combined.ready({1: AWAY, 2: other}, 2)[0] is False
