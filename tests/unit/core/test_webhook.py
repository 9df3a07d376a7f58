"""When a webhook is tried again, and how long a sick receiver is left alone."""

from __future__ import annotations

import pytest

from fastproc.core import webhook
from fastproc.core.webhook import Rest


def failures(count: int, *, now: float = 0.0, dice: float = 0.0) -> Rest:
    """The standing after so many failures, each as soon as the receiver may be asked."""
    rest = Rest()
    for _ in range(count):
        now = max(now, rest.until)
        rest = rest.failed(now, 0.0, dice)
    return rest


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_two_hundred_and_more_is_success(status: int) -> None:
    assert webhook.succeeded(status)


@pytest.mark.parametrize("status", [0, 100, 199, 300, 301, 308, 400, 401, 404, 410, 429, 500, 503, 599])
def test_all_else_is_none(status: int) -> None:
    assert not webhook.succeeded(status)


def test_the_pauses_of_a_webhook_grow_from_5_s_to_an_hour() -> None:
    assert [webhook.again_s(n, 0.0, 0.0) for n in (1, 2, 3, 10, 11, 12, 500)] == [
        5,
        10,
        20,
        2560,
        3600,
        3600,
        3600,
    ]
    assert webhook.again_s(1, 0.0, 0.5) == 3.75  # Jitter.


def test_a_receiver_is_not_asked_before_it_wants_to_be() -> None:
    assert webhook.again_s(1, 120.0, 0.9) == 120.0
    assert webhook.hold_s(503, 120.0) == 120.0
    assert webhook.hold_s(500, 0.0) == 0.0


def test_nobody_may_ask_for_more_than_an_hour_and_gone_means_that() -> None:
    assert webhook.hold_s(429, 1e9) == 3600.0
    assert webhook.hold_s(410, 0.0) == 3600.0
    assert webhook.hold_s(429, -5.0) == 0.0


def test_a_receiver_rests_after_three_failures_and_is_then_asked_with_one() -> None:
    assert failures(2).slots(0.0, 8) == 8
    sick = failures(3)
    assert sick.is_sick
    assert sick.slots(sick.until - 0.01, 8) == 0
    assert sick.slots(sick.until, 8) == 1


def test_rests_grow_to_a_minute() -> None:
    spans = []
    for count in (3, 4, 5, 9, 10, 100):
        before = failures(count - 1)
        spans.append(failures(count).until - before.until)
    assert spans == [1, 2, 4, 60, 60, 60]


def test_failures_of_what_was_under_way_do_not_make_the_rest_longer() -> None:
    sick = failures(3)
    assert sick.failed(sick.until - 0.5, 0.0, 0.0).failures == 3
    assert sick.failed(sick.until, 0.0, 0.0).failures == 4


def test_a_success_after_the_rest_heals_and_one_within_it_does_not() -> None:
    sick = failures(3)
    assert sick.passed(sick.until - 0.5) == sick
    assert sick.passed(sick.until) == Rest()


def test_the_outage_is_counted_from_its_first_failure() -> None:
    rest = Rest().failed(7.0, 0.0, 0.0).failed(8.0, 0.0, 0.0).failed(9.0, 0.0, 0.0)
    assert (rest.since, rest.failures) == (7.0, 3)


def test_a_hold_keeps_everything_away_even_after_one_failure() -> None:
    held = Rest().failed(0.0, 60.0, 0.0)
    assert (held.slots(59.9, 8), held.slots(60.0, 8), held.is_sick) == (0, 8, False)


def test_a_receiver_stands_as_a_breaker_does() -> None:
    rest = Rest()
    assert rest.state(0.0) == "closed"
    for _ in range(webhook.REST_AFTER):
        rest = rest.failed(10.0, 0.0, 0.0)
    assert rest.state(10.0) == "open"
    assert rest.state(rest.until) == "trial"
    assert rest.passed(rest.until).state(rest.until) == "closed"
