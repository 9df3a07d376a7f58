"""Backoff as Node computes it, and which failures are retried."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from fastproc.core.errors import (
    BY_CODE,
    DEADLY,
    FileCorrupted,
    PoisonPhoto,
    StorageUnavailable,
    TaskError,
    WorkerCrashed,
    WorkerKilled,
    WorkerTimeout,
)
from fastproc.core.model import Backoff, GiveUp, Job, Retry
from fastproc.core.retry import MAX_DELAY_MS, backoff_ms, decide, final_error

JOB = Job(id="1", name="x", token="t", photo_id="p", s3_key="k", bucket="b", attempts=3)
DICE = st.floats(0, 1, exclude_max=True)
DELAYS = st.integers(1, 86_400_000)


def job(**more: object) -> Job:
    return structs.replace(JOB, **more)


@given(DELAYS, st.integers(1, 50), DICE)
def test_a_fixed_backoff_is_its_delay_at_every_attempt(delay: int, attempt: int, dice: float) -> None:
    assert backoff_ms(Backoff("fixed", delay), attempt, dice) == delay


@given(st.integers(1, 100_000), st.integers(1, 20), DICE)
def test_an_exponential_backoff_doubles_at_every_attempt_as_nodes_does(
    delay: int, attempt: int, dice: float
) -> None:
    # Node: Math.round(Math.pow(2, attemptsMade - 1) * delay), attemptsMade being 1 at the first failure.
    expected = min(round(2 ** (attempt - 1) * delay), MAX_DELAY_MS)
    assert backoff_ms(Backoff("exponential", delay), attempt, dice) == expected


def test_the_reference_deployments_backoff_is_two_four_eight_seconds() -> None:
    assert [backoff_ms(Backoff("exponential", 2000), n, 0.9) for n in (1, 2, 3)] == [2000, 4000, 8000]


@given(st.sampled_from(["fixed", "exponential"]), DELAYS, st.floats(0.01, 1), st.integers(1, 8), DICE)
def test_jitter_shortens_a_delay_by_its_share_at_most_and_never_lengthens_it(
    kind: str, delay: int, jitter: float, attempt: int, dice: float
) -> None:
    whole = delay * (2 ** (attempt - 1) if kind == "exponential" else 1)
    found = backoff_ms(Backoff(kind, delay, jitter), attempt, dice)
    # Node: Math.floor(Math.random() * delay * jitter + delay * (1 - jitter)).
    expected = math.floor(dice * whole * jitter + whole * (1 - jitter))
    assert found == min(expected, MAX_DELAY_MS)
    assert math.floor(whole * (1 - jitter)) <= found <= whole or found == MAX_DELAY_MS


def test_jitter_spreads_over_its_whole_range() -> None:
    jittered = Backoff("fixed", 1000, 0.5)
    assert backoff_ms(jittered, 1, 0.0) == 500
    assert backoff_ms(jittered, 1, 0.5) == 750
    assert backoff_ms(jittered, 1, 0.999999) == 999
    assert backoff_ms(Backoff("fixed", 1000, 7.0), 1, 0.25) == 250


@pytest.mark.parametrize("delay", [0.0, -1.0, -5.0, math.nan, math.inf, -math.inf])
def test_a_delay_that_is_no_number_or_not_positive_is_zero(delay: float) -> None:
    assert backoff_ms(Backoff("exponential", delay), 3, 0.5) == 0


def test_an_unknown_kind_of_backoff_waits_its_delay() -> None:
    assert backoff_ms(Backoff("fibonacci", 700), 5, 0.5) == 700


def test_an_absurd_delay_of_a_producer_is_cut_and_breaks_nothing() -> None:
    # 1e308 * 2 is infinite, which cannot be rounded; the job's failure must be reported all the same.
    for jitter in (0.0, 0.5):
        assert backoff_ms(Backoff("exponential", 1e308, jitter), 30, 0.5) == MAX_DELAY_MS


@given(st.floats(allow_nan=True, allow_infinity=True), st.floats(-2, 3), st.integers(1, 10_000), DICE)
def test_no_backoff_overflows_or_is_negative(delay: float, jitter: float, attempt: int, dice: float) -> None:
    for kind in ("fixed", "exponential", "?"):
        assert 0 <= backoff_ms(Backoff(kind, delay, jitter), attempt, dice) <= MAX_DELAY_MS


def test_a_job_is_tried_until_its_attempts_are_used_up() -> None:
    error = StorageUnavailable()
    assert [type(decide(job(attempt=n), error, 0.5)) for n in (1, 2, 3, 4)] == [Retry, Retry, GiveUp, GiveUp]
    assert isinstance(decide(job(attempts=1), error, 0.5), GiveUp)


def test_a_job_without_backoff_is_retried_immediately() -> None:
    assert decide(job(), StorageUnavailable(), 0.5) == Retry(0)
    assert decide(job(backoff=Backoff("exponential", 100), attempt=2), StorageUnavailable(), 0.5) == Retry(
        200
    )


def test_a_backoff_of_minus_one_gives_up_at_the_first_failure() -> None:
    assert isinstance(decide(job(backoff=Backoff("fixed", -1)), StorageUnavailable(), 0.5), GiveUp)


@given(st.sampled_from(sorted(BY_CODE)), st.integers(1, 5), st.integers(1, 5))
def test_an_error_that_is_not_retryable_ends_the_job_whatever_is_left(
    code: str, attempt: int, attempts: int
) -> None:
    error = BY_CODE[code]("x")
    decision = decide(job(attempt=attempt, attempts=attempts), error, 0.5)
    assert isinstance(decision, Retry) == (error.retryable and attempt < attempts)


@pytest.mark.parametrize("code", sorted(DEADLY))
def test_a_job_whose_worker_died_twice_is_not_tried_again(code: str) -> None:
    error = BY_CODE[code]("boom")
    first = final_error(job(deaths=0), error)
    second = final_error(job(deaths=1, attempt=2, attempts=9), error)
    assert first is error
    assert isinstance(decide(job(), first, 0.5), Retry)
    assert isinstance(second, PoisonPhoto)
    assert code in second.message
    assert isinstance(decide(job(deaths=1, attempt=2, attempts=9), second, 0.5), GiveUp)


@pytest.mark.parametrize("error", [StorageUnavailable("x"), FileCorrupted("x")])
def test_a_failure_that_killed_no_worker_does_not_make_a_photo_poison(error: TaskError) -> None:
    assert final_error(job(deaths=5), error) is error


def test_crash_timeout_and_memory_are_what_kills_a_worker() -> None:
    assert {WorkerCrashed.code, WorkerTimeout.code, "WORKER_OUT_OF_MEMORY"} == DEADLY


def test_a_kill_from_outside_is_retried_while_attempts_are_left_and_never_makes_a_photo_poison() -> None:
    killed = WorkerKilled()
    assert killed.code not in DEADLY
    assert final_error(job(deaths=5), killed) is killed
    assert isinstance(decide(job(attempt=1), killed, 0.5), Retry)
    assert isinstance(decide(job(attempt=3), killed, 0.5), GiveUp)
