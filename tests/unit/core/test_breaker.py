"""The breaker as a table: which facts open it, which close it, and against whom a failure counts."""

from __future__ import annotations

import pytest

from fastproc.core.breaker import Advice, Away, Breaker, Count, Retry, Rules, State

RULES = Rules(retry_s=1.0, pause_s=1.0, pause_max_s=4.0)


@pytest.fixture
def breaker() -> Breaker:
    return Breaker(RULES)


def failed(
    breaker: Breaker,
    photo: str,
    tries: int = 1,
    now: float = 0.0,
    *,
    passes: bool = False,
    keep: bool = False,
) -> Advice:
    return breaker.failed(photo, tries, now, 0.5, passes=passes, keep=keep, why="503")


def opened_by_photos(breaker: Breaker, now: float = 0.0) -> None:
    failed(breaker, "a", now=now)
    assert failed(breaker, "a", tries=3, now=now) == Away(0.75 + RULES.pause_max_s)


def test_a_first_failure_is_tried_again_soon_and_then_later() -> None:
    breaker = Breaker(RULES)
    assert [failed(breaker, "a", tries) for tries in (1, 2)] == [Retry(1.0), Retry(2.0)]
    assert breaker.state is State.CLOSED


@pytest.mark.parametrize("dice", [0.0, 0.999])
def test_retries_and_pauses_have_jitter(breaker: Breaker, dice: float) -> None:
    retry = breaker.failed("a", 1, 0.0, dice, passes=True, keep=False)
    assert isinstance(retry, Retry)
    assert retry.after_s == pytest.approx(0.5 + dice)
    breaker.probed(False, 10.0, dice, "refused")
    assert breaker.due() == pytest.approx(10.5 + dice / 2)


def test_a_photo_that_fails_while_the_probe_sees_others_pass_counts(breaker: Breaker) -> None:
    failed(breaker, "a", passes=True), failed(breaker, "a", 2, passes=True)
    assert failed(breaker, "a", 3, passes=True) == Count()
    assert breaker.state is State.CLOSED


def test_many_bad_photos_are_no_outage_while_the_probe_sees_others_pass(breaker: Breaker) -> None:
    for photo in "abcdefgh":
        failed(breaker, photo, passes=True)
        assert failed(breaker, photo, 3, passes=True) == Count()
    assert breaker.state is State.CLOSED


def test_a_photo_that_fails_while_others_pass_counts_whatever_the_probe_sees(breaker: Breaker) -> None:
    failed(breaker, "a", now=1.0)
    breaker.passed("b", 1.5, 2.0)
    assert failed(breaker, "a", 3, now=3.0) == Count()


@pytest.mark.parametrize(("photo", "began", "at"), [("a", 1.5, 2.0), ("b", 0.1, 0.5)])
def test_a_pass_of_its_own_or_before_its_first_failure_is_no_evidence(
    breaker: Breaker, photo: str, began: float, at: float
) -> None:
    breaker.passed(photo, began, at)
    failed(breaker, "a", now=3.0)
    assert isinstance(failed(breaker, "a", 3, now=4.0), Away)


def test_a_photos_own_pass_does_not_hide_that_of_another(breaker: Breaker) -> None:
    failed(breaker, "a", now=1.0)
    breaker.passed("b", 1.0, 2.0)
    breaker.passed("c", 1.0, 2.5)
    breaker.passed("c", 1.0, 2.6)
    assert failed(breaker, "a", 3, now=3.0) == Count()


def test_a_failure_without_evidence_that_the_neighbour_works_opens_the_breaker(breaker: Breaker) -> None:
    opened_by_photos(breaker)
    assert (breaker.state, breaker.why) == (State.OPEN, "503")


def test_a_failed_probe_opens_it_at_once_and_a_good_one_closes_it(breaker: Breaker) -> None:
    breaker.probed(False, 5.0, 0.5, "refused")
    assert (breaker.state, breaker.why, breaker.since) == (State.OPEN, "refused", 5.0)
    assert failed(breaker, "a", now=5.0) == Away()
    assert not breaker.tick(5.5)
    assert breaker.tick(6.0)
    breaker.probed(True, 6.1, 0.5)
    assert (breaker.state, breaker.why) == (State.CLOSED, "")
    assert breaker.due() is None


def test_pauses_double_up_to_their_bound_and_begin_anew_with_the_next_outage(breaker: Breaker) -> None:
    pauses, now = [], 0.0
    for _ in range(5):
        breaker.probed(False, now, 1.0, "refused")
        due = breaker.due()
        assert due is not None
        pauses.append(due - now)
        now = due
    assert pauses == [1.0, 2.0, 4.0, 4.0, 4.0]
    breaker.probed(True, now, 1.0)
    breaker.probed(False, now, 1.0, "refused")
    assert breaker.due() == now + 1.0


def test_an_interrupted_job_is_forgotten(breaker: Breaker) -> None:
    failed(breaker, "a", now=1.0)
    breaker.forget("a")
    breaker.passed("b", 1.5, 2.0)
    failed(breaker, "a", now=3.0)
    assert isinstance(failed(breaker, "a", 3, now=4.0), Away), "the pass was before its first failure"


def test_a_pause_ends_in_a_trial_of_a_few_jobs_and_the_first_that_passes_closes_it(breaker: Breaker) -> None:
    opened_by_photos(breaker)
    assert not breaker.admits(0)
    assert not breaker.tick(1.0), "no probe: it did not see the outage"
    assert breaker.state is State.TRIAL
    assert [breaker.admits(n) for n in (0, 1, 2)] == [True, True, False]
    breaker.passed("d", 1.1, 1.2)
    assert breaker.state is State.CLOSED
    assert breaker.admits(100)


def test_a_trial_whose_jobs_have_all_failed_is_followed_by_a_longer_pause_and_a_larger_trial(
    breaker: Breaker,
) -> None:
    opened_by_photos(breaker)
    sizes, now = [], 0.0
    for _ in range(6):
        due = breaker.due()
        assert due is not None
        now = due
        breaker.tick(now)
        size = next(n for n in range(100) if not breaker.admits(n))
        sizes.append(size)
        for n in range(size):
            assert breaker.state is State.TRIAL
            assert isinstance(failed(breaker, f"{now}-{n}", now=now), Away)
        assert breaker.state is State.OPEN
    assert sizes == [2, 4, 8, 16, 16, 16]


def test_a_photo_that_fails_in_a_trial_stands_aside_until_the_next_is_under_way(breaker: Breaker) -> None:
    opened_by_photos(breaker)
    breaker.tick(1.0)
    advice = failed(breaker, "a", now=1.0)
    assert isinstance(advice, Away)
    assert advice.aside_s >= RULES.pause_max_s


def test_an_operation_that_began_before_the_outage_does_not_end_it(breaker: Breaker) -> None:
    breaker.probed(False, 5.0, 0.5, "refused")
    breaker.passed("a", 4.9, 5.1)
    assert breaker.state is State.OPEN
    breaker.passed("a", 5.2, 5.3)
    assert breaker.state is State.CLOSED


def test_a_photo_that_fails_in_many_trials_counts_at_last(breaker: Breaker) -> None:
    opened_by_photos(breaker)
    now, advice = 0.0, []
    for _ in range(RULES.trials):
        while breaker.state is not State.TRIAL:
            now += 0.1
            breaker.tick(now)
        advice.append(failed(breaker, "a", now=now))
        while breaker.state is State.TRIAL:
            failed(breaker, f"other at {now}", now=now)
    assert [type(each) for each in advice] == [Away] * (RULES.trials - 1) + [Count]


def test_finished_work_waits_through_all_trials_and_counts_when_others_have_passed(breaker: Breaker) -> None:
    failed(breaker, "a", keep=True)
    failed(breaker, "a", 3, keep=True)
    now = 0.0
    for _ in range(3 * RULES.trials):
        while breaker.state is not State.TRIAL:
            now += 0.1
            breaker.tick(now)
        assert isinstance(failed(breaker, "a", now=now, keep=True), Away)
    while breaker.state is not State.TRIAL:
        now += 0.1
        breaker.tick(now)
    breaker.passed("b", now, now)
    assert breaker.state is State.CLOSED
    assert failed(breaker, "a", 3, now=now + 1, keep=True) == Count()


def test_photos_that_were_never_seen_again_are_forgotten_in_the_end(breaker: Breaker) -> None:
    opened_by_photos(breaker)
    breaker.passed("b", 1.0, 2.0)
    assert list(breaker._failing) == ["a"]
    breaker.probed(False, 5000.0, 0.5, "refused")
    breaker.probed(True, 5001.0, 0.5)
    assert breaker._failing == {}


def test_a_trial_that_nobody_fails_ends_the_outage(breaker: Breaker) -> None:
    """Another service may have done the jobs: then no photo comes that could end it."""
    opened_by_photos(breaker)
    breaker.tick(1.0)
    assert breaker.due() == 1.0 + RULES.trial_s
    breaker.tick(1.0 + RULES.trial_s)
    assert breaker.state is State.CLOSED


def test_when_the_only_photo_that_failed_counts_the_outage_is_over(breaker: Breaker) -> None:
    opened_by_photos(breaker)
    now = 0.0
    advice: Advice = Away()
    while advice != Count():
        while breaker.state is not State.TRIAL:
            now += 0.1
            breaker.tick(now)
        advice = failed(breaker, "a", now=now)
    assert breaker.state is State.CLOSED


def test_a_good_probe_changes_nothing_where_nothing_was_wrong(breaker: Breaker) -> None:
    breaker.probed(True, 1.0, 0.5)
    assert (breaker.state, breaker.since) == (State.CLOSED, 0.0)


def test_nothing_is_remembered_of_photos_that_pass(breaker: Breaker) -> None:
    for n in range(1000):
        failed(breaker, str(n))
        breaker.passed(str(n), 0.0, 1.0)
    assert breaker._failing == {}
    assert len(breaker._passes) == 2
