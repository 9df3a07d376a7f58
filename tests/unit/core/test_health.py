"""Figures, and what is stale: values in, values out."""

from __future__ import annotations

import pytest

from fastproc.core import health
from fastproc.core.health import Figures, Now
from fastproc.core.model import Completed, Ended, GiveUp, Retry

DONE = Completed("{}")
FAILED = Ended(GiveUp("not retryable"), "FILE_CORRUPTED", "FILE_CORRUPTED: cut", "")
RETRIED = Ended(Retry(0), "STORAGE_UNAVAILABLE", "STORAGE_UNAVAILABLE: 503", "")
STALE_S = 300.0


def after(*ends: tuple[Completed | Ended, float], at: float = 100.0) -> Figures:
    figures = Figures()
    for end, seconds in ends:
        figures = health.counted(figures, end, seconds, at)
    return figures


def test_a_retried_attempt_is_no_failed_job() -> None:
    figures = after((DONE, 1.0), (DONE, 1.0), (RETRIED, 9.0), (FAILED, 9.0))
    assert (figures.processed, figures.failed, figures.retried) == (2, 1, 1)
    assert figures.success_percent == 66.67
    assert figures.last_at == 100.0


def test_the_first_job_is_the_average_and_each_further_one_weighs_a_tenth() -> None:
    assert after((RETRIED, 9.0)).average_s is None
    assert after((DONE, 2.0)).average_s == 2.0
    assert after((DONE, 2.0), (FAILED, 50.0), (DONE, 12.0)).average_s == pytest.approx(0.1 * 12 + 0.9 * 2)


def test_before_the_first_job_there_is_no_rate() -> None:
    assert Figures().success_percent is None
    assert after((RETRIED, 1.0)).success_percent is None


@pytest.mark.parametrize(
    ("waiting", "held", "since"),
    [(5, "", 40.0), (0, "", None), (None, "", None), (5, "the queue is paused", None)],
)
def test_jobs_wait_without_a_reason_only_where_they_wait_and_nothing_holds_them(
    waiting: int | None, held: str, since: float | None
) -> None:
    assert health.waits_since(40.0, waiting, held, 90.0) == since


def test_the_wait_begins_with_the_first_look_that_sees_it() -> None:
    assert health.waits_since(None, 1, "", 90.0) == 90.0


def now(at: float, **more: object) -> Now:
    return Now(at=at, uptime_s=at, **more)  # type: ignore[arg-type]


def test_a_service_is_stale_when_neither_the_wait_nor_the_last_end_is_recent() -> None:
    # An hour without a job, then one that has waited for a second.
    figures = after((DONE, 1.0), at=0.0)
    assert health.status(figures, now(3601.0, waits_since=3600.0), STALE_S) == "healthy"
    assert health.status(figures, now(3900.0, waits_since=3600.0), STALE_S) == "stale"
    # Jobs always wait, and jobs always end.
    assert health.status(after((DONE, 1.0), at=3850.0), now(3900.0, waits_since=0.0), STALE_S) == "healthy"
    assert health.status(after((RETRIED, 1.0), at=3850.0), now(3900.0, waits_since=0.0), STALE_S) == "healthy"
    assert health.status(Figures(), now(3900.0, waits_since=3600.0), STALE_S) == "stale"


def test_an_idle_service_is_healthy_for_ever() -> None:
    assert health.status(after((DONE, 1.0), at=0.0), now(1e9), STALE_S) == "healthy"


def test_only_what_a_restart_mends_fails_the_check() -> None:
    assert not health.is_failing("healthy", 0)
    assert health.is_failing("stale", 0)
    assert not health.is_failing("stale", 1)
    assert health.is_failing("stuck", 1)
    assert health.status(Figures(), now(1.0, stuck=True), STALE_S) == "stuck"


def test_the_answer_has_the_reference_deployments_fields_in_ms() -> None:
    figures = after((DONE, 0.25), (FAILED, 1.0), at=100.0)
    answer = health.answer(figures, now(104.5, waiting=3, in_hand=2), STALE_S, 1_700_000_004_500)
    assert answer == {
        "status": "healthy",
        "metrics": {
            "jobsProcessed": 1,
            "jobsFailed": 1,
            "attemptsRetried": 0,
            "successRate": 50.0,
            "averageProcessingTime": 250,
            "lastJobTimestamp": 1_700_000_000_000,
        },
        "timeSinceLastJob": 4500,
        "uptime": 104_500,
        "jobsWaiting": 3,
        "jobsInHand": 2,
    }
    held = health.answer(figures, now(104.5, held="the queue is paused"), STALE_S, 0)
    assert (held["held"], held["jobsWaiting"]) == ("the queue is paused", None)


def test_the_line_of_the_log_has_the_same_and_a_sign_for_what_is_not_known() -> None:
    assert health.line(Figures(), now(7.0), STALE_S) == (
        "health status=healthy processed=0 failed=0 retried=0 success_percent=- average_seconds=- last_job_seconds=-"
        " waiting=- in_hand=0 uptime_seconds=7"
    )
    line = health.line(after((DONE, 0.25), at=5.0), now(7.0, waiting=3, held="storage: 503 x"), STALE_S)
    assert "success_percent=100.00 average_seconds=0.250 last_job_seconds=2 waiting=3 in_hand=0" in line
    assert line.endswith(" held='storage: 503 x'")
