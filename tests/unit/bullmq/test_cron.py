"""What a cron pattern names; that BullMQ reads it alike is tests/conformance/test_cron.py's to show."""

from __future__ import annotations

from datetime import date, datetime

import pytest

from fastproc.bullmq import cron


@pytest.mark.parametrize(
    ("text", "hours", "minutes", "seconds"),
    [
        ("0 9 * * *", (9,), (0,), (0,)),
        ("15,45 */20 2-3 * * *", (2, 3), (0, 20, 40), (15, 45)),
        ("@hourly", tuple(range(24)), (0,), (0,)),
        ("9 1 * *", (9,), tuple(range(60)), (0,)),
        ("50/4 22/1 * * *", (22, 23), (50, 54, 58), (0,)),
    ],
)
def test_times(text: str, hours: tuple[int, ...], minutes: tuple[int, ...], seconds: tuple[int, ...]) -> None:
    pattern = cron.parse(text, "seed")
    assert (pattern.hours, pattern.minutes, pattern.seconds) == (hours, minutes, seconds)


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("0 0 * * 5L", [27]),
        ("0 0 L * *", [28]),
        ("0 0 1-3 * 1", [1, 2, 3, 9, 16, 23]),
        ("0 0 * * mon#2", [9]),
        ("0 0 ? * 0", [1, 8, 15, 22]),
        ("0 0 * * 7", [1, 8, 15, 22]),
        ("0 0 27,L * *", [27, 28]),
        ("0 0 * 3 *", []),
    ],
)
def test_days_of_february_2026(text: str, days: list[int]) -> None:
    pattern = cron.parse(text, "seed")
    assert [day for day in range(1, 29) if pattern.matches(date(2026, 2, day))] == days


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("* * * * * * *", "has 7 fields"),
        ("61 * * * *", "not within 0 to 59"),
        ("0 0 * * 1#6", "from 1 to 5"),
        ("0 0 * xyz *", "no name of a month"),
        ("0 0 31 4 *", "such a day"),
        ("0 0 * * L", "needs a weekday"),
        ("x" * 2000, "2000 characters"),
        ("0 0 W * *", "no number"),
        ("0 0 5LW * *", "L goes with"),
        ("H/0 * * * *", "the step is 0"),
    ],
)
def test_what_is_wrong_is_said(text: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        cron.parse(text, "seed")


def test_h_is_the_same_for_the_same_seed_alone() -> None:
    assert cron.parse("H H * * *", "nightly") == cron.parse("H H * * *", "nightly")
    assert len({cron.parse("H H * * *", str(seed)).minutes for seed in range(20)}) > 5


def test_times_come_in_order_from_the_start_on() -> None:
    times = cron.parse("30 59 23 31 12 *", "seed").times(datetime(2026, 12, 31, 23, 59, 30))
    assert [next(times), next(times)] == [
        datetime(2026, 12, 31, 23, 59, 30),
        datetime(2027, 12, 31, 23, 59, 30),
    ]
