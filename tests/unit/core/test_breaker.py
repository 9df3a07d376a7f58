"""The breaker as a table: which facts open it, which close it, and against whom a failure counts."""

from __future__ import annotations

import pytest

from fastproc.core.breaker import Advice, Away, Breaker, Count, Retry, Rules, State

RULES = Rules(retry_s=1.0, pause_s=1.0, pause_max_s=4.0)


@pytest.fixture
def breaker() -> Breaker:
    return Breaker(RULES)


def failed(breaker: Breaker, photo: str, tries: int = 1, now: float = 0.0, *, sees: bool = True) -> Advice:
    return breaker.failed(photo, tries, now, 0.5, probe_sees=sees, why="503")


def opened_by_photos(breaker: Breaker, now: float = 0.0) -> None:
    for photo in "abc":
        failed(breaker, photo, now=now)
    assert failed(breaker, "c", tries=3, now=now) == Away()


def test_a_first_failure_is_tried_again_soon_and_then_later() -> None:
    breaker = Breaker(RULES)
    assert [failed(breaker, "a", tries) for tries in (1, 2)] == [Retry(1.0), Retry(2.0)]
    assert breaker.state is State.CLOSED


@pytest.mark.parametrize("dice", [0.0, 0.999])
def test_retries_and_pauses_have_jitter(breaker: Breaker, dice: float) -> None:
    retry = breaker.failed("a", 1, 0.0, dice, probe_sees=True)
    assert isinstance(retry, Retry)
    assert retry.after_s == pytest.approx(0.5 + dice)
    breaker.probed(False, 10.0, dice, "refused")
    assert breaker.due() == pytest.approx(10.5 + dice / 2)


def test_a_photo_that_fails_while_the_probe_is_good_counts(breaker: Breaker) -> None:
    failed(breaker, "a"), failed(breaker, "a", 2)
    assert failed(breaker, "a", 3) == Count()
    assert breaker.state is State.CLOSED


def test_a_photo_that_fails_while_others_pass_counts_whatever_the_probe_sees(breaker: Breaker) -> None:
    failed(breaker, "a", now=1.0, sees=False)
    breaker.passed("b", 1.5, 2.0)
    assert failed(breaker, "a", 3, now=3.0, sees=False) == Count()


@pytest.mark.parametrize(("photo", "began", "at"), [("a", 1.5, 2.0), ("b", 0.1, 0.5)])
def test_a_pass_of_its_own_or_before_its_first_failure_is_no_evidence(
    breaker: Breaker, photo: str, began: float, at: float
) -> None:
    breaker.passed(photo, began, at)
    failed(breaker, "a", now=3.0, sees=False)
    assert failed(breaker, "a", 3, now=4.0, sees=False) == Away()


def test_a_photos_own_pass_does_not_hide_that_of_another(breaker: Breaker) -> None:
    failed(breaker, "a", now=1.0, sees=False)
    breaker.passed("b", 1.0, 2.0)
    breaker.passed("c", 1.0, 2.5)
    breaker.passed("c", 1.0, 2.6)
    assert failed(breaker, "a", 3, now=3.0, sees=False) == Count()


def test_a_failure_that_the_probe_cannot_see_opens_the_breaker_when_nobody_passes(breaker: Breaker) -> None:
    failed(breaker, "a", sees=False)
    assert failed(breaker, "a", 3, sees=False) == Away()
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


def test_different_photos_that_fail_with_no_pass_between_them_open_it_whatever_the_probe_says(
    breaker: Breaker,
) -> None:
    opened_by_photos(breaker)
    assert breaker.state is State.OPEN


def test_one_photo_that_fails_often_is_one_witness(breaker: Breaker) -> None:
    for tries in (1, 2):
        failed(breaker, "a", tries)
    failed(breaker, "b")
    assert failed(breaker, "a", 3) == Count()


def test_witnesses_from_before_the_last_pass_are_none(breaker: Breaker) -> None:
    for photo in "ab":
        failed(breaker, photo, now=1.0)
    breaker.passed("d", 1.5, 2.0)
    failed(breaker, "c", now=3.0)
    assert failed(breaker, "c", 3, now=4.0) == Count()


def test_an_interrupted_job_is_no_witness(breaker: Breaker) -> None:
    for photo in "abc":
        failed(breaker, photo)
    breaker.forget("a")
    assert failed(breaker, "c", 3) == Count()


def test_a_pause_of_photos_ends_in_a_trial_of_a_few_jobs_that_the_first_pass_ends(breaker: Breaker) -> None:
    opened_by_photos(breaker)
    assert not breaker.admits(0)
    assert not breaker.tick(1.0), "no probe: it did not see the outage"
    assert breaker.state is State.TRIAL
    assert [breaker.admits(n) for n in (0, 1, 2)] == [True, True, False]
    breaker.passed("d", 1.1, 1.2)
    assert breaker.state is State.CLOSED
    assert breaker.admits(100)


def test_the_first_failure_of_a_trial_opens_it_again_for_longer(breaker: Breaker) -> None:
    opened_by_photos(breaker)
    breaker.tick(1.0)
    assert failed(breaker, "a", now=1.0) == Away()
    assert breaker.state is State.OPEN
    assert breaker.due() == pytest.approx(1.0 + 2.0 * 0.75)


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
        due = breaker.due()
        assert due is not None
        now = due
        breaker.tick(now)
        advice.append(failed(breaker, "a", now=now))
    assert advice == [Away()] * (RULES.trials - 1) + [Count()]


def test_a_good_probe_changes_nothing_where_nothing_was_wrong(breaker: Breaker) -> None:
    breaker.probed(True, 1.0, 0.5)
    assert (breaker.state, breaker.since) == (State.CLOSED, 0.0)


def test_nothing_is_remembered_of_photos_that_pass(breaker: Breaker) -> None:
    for n in range(1000):
        failed(breaker, str(n))
        breaker.passed(str(n), 0.0, 1.0)
    assert breaker._failing == {}
    assert len(breaker._passes) == 2
