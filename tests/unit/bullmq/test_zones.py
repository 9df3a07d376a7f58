"""The next run by a pattern, against a search that looks at every second; and what a zone's name means."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest

from fastproc.bullmq import cron, zones
from fastproc.bullmq.cron import Pattern

BERLIN, HOWE = ZoneInfo("Europe/Berlin"), ZoneInfo("Australia/Lord_Howe")


def at(text: str, zone: tzinfo = UTC, fold: int = 0) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp() * 1000)


def runs(text: str, zone: tzinfo, base_ms: int, count: int) -> list[str]:
    """The next runs, each found from the one before, as local times with their offsets."""
    pattern, found = cron.parse(text, "seed"), []
    for _ in range(count):
        following = zones.next_ms(pattern, base_ms, zone)
        assert following is not None
        assert following > base_ms
        base_ms = following
        found.append(datetime.fromtimestamp(base_ms / 1000, zone).isoformat())
    return found


def by_counting(pattern: Pattern, base_ms: int, zone: tzinfo, seconds: int) -> int | None:
    """Look at each second after the base; None where none of them is named."""
    base = datetime.fromtimestamp(base_ms // 1000, zone)
    start, is_again = int(base.timestamp()), base.fold == 1
    for second in range(start + 1, start + seconds):
        local = datetime.fromtimestamp(second, zone)
        same_hour = is_again and local.replace(minute=0, second=0) == base.replace(minute=0, second=0)
        if local.fold and not pattern.every_hour and not same_hour:
            continue
        named = local.hour in pattern.hours and local.minute in pattern.minutes
        if named and local.second in pattern.seconds and pattern.matches(local.date()):
            return second * 1000
    return None


@pytest.mark.parametrize("zone", [BERLIN, HOWE, ZoneInfo("America/New_York")], ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_every_second_around_a_change_of_the_clock_is_counted(zone: ZoneInfo, seed: int) -> None:
    dice = random.Random(seed)
    changes = [at("2025-03-30T01:00"), at("2025-10-26T01:00"), at("2025-04-05T15:00"), at("2025-10-04T15:30")]
    changes += [at("2025-03-09T07:00"), at("2025-11-02T06:00")]
    compared = 0
    for _ in range(60):
        hours = dice.choice(["*", "0-23", "1,3", "0", "*/4", "3-5"])
        text = f"{dice.choice(['0', '*/20', '7'])} {dice.choice(['0', '*/10', '45', '29-31'])} {hours} * * *"
        pattern = cron.parse(text, "seed")
        base_ms = dice.choice(changes) + dice.randint(-9000, 9000) * 1000 + dice.choice([0, 500])
        expected = by_counting(pattern, base_ms, zone, 4 * 3600)
        if expected is not None:
            compared += 1
            assert zones.next_ms(pattern, base_ms, zone) == expected, (text, base_ms)
    assert compared > 20


def test_a_daily_run_comes_once_on_the_day_that_repeats_an_hour() -> None:
    assert runs("30 2 * * *", BERLIN, at("2025-10-25T00:00", BERLIN), 3) == [
        "2025-10-25T02:30:00+02:00",
        "2025-10-26T02:30:00+02:00",
        "2025-10-27T02:30:00+01:00",
    ]
    assert runs("0 9 * * *", BERLIN, at("2025-10-25T10:00", BERLIN), 2) == [
        "2025-10-26T09:00:00+01:00",
        "2025-10-27T09:00:00+01:00",
    ]


def test_a_run_in_the_hour_that_is_skipped_comes_in_the_hour_after_it() -> None:
    assert runs("30 2 * * *", BERLIN, at("2025-03-29T00:00", BERLIN), 3) == [
        "2025-03-29T02:30:00+01:00",
        "2025-03-30T03:30:00+02:00",
        "2025-03-31T02:30:00+02:00",
    ]
    assert runs("0 9 * * 1", BERLIN, at("2025-03-24T10:00", BERLIN), 2) == [
        "2025-03-31T09:00:00+02:00",
        "2025-04-07T09:00:00+02:00",
    ]


def test_a_pattern_of_every_hour_runs_by_elapsed_time() -> None:
    assert runs("0,30 * * * *", BERLIN, at("2025-10-26T01:30", BERLIN), 5) == [
        "2025-10-26T02:00:00+02:00",
        "2025-10-26T02:30:00+02:00",
        "2025-10-26T02:00:00+01:00",
        "2025-10-26T02:30:00+01:00",
        "2025-10-26T03:00:00+01:00",
    ]
    assert runs("0,30 * * * *", BERLIN, at("2025-03-30T01:30", BERLIN), 2) == [
        "2025-03-30T03:00:00+02:00",
        "2025-03-30T03:30:00+02:00",
    ]


def test_in_the_repeated_hour_ten_seconds_are_ten_seconds() -> None:
    base = at("2025-10-26T02:15", BERLIN, fold=1)
    pattern = cron.parse("*/10 * * * * *", "seed")
    for _ in range(400):
        following = zones.next_ms(pattern, base, BERLIN)
        assert following == base + 10_000
        base = following


def test_a_half_hour_that_is_skipped_or_repeated() -> None:
    assert runs("45 * * * *", HOWE, at("2026-10-04T01:00", HOWE), 3) == [
        "2026-10-04T01:45:00+10:30",
        "2026-10-04T02:45:00+11:00",
        "2026-10-04T03:45:00+11:00",
    ]
    assert runs("45 * * * *", HOWE, at("2026-04-05T01:00", HOWE), 3) == [
        "2026-04-05T01:45:00+11:00",
        "2026-04-05T01:45:00+10:30",
        "2026-04-05T02:45:00+10:30",
    ]
    assert runs("0 9 * * *", HOWE, at("2026-04-05T01:45", HOWE), 1) == ["2026-04-05T09:00:00+10:30"]


@pytest.mark.parametrize(
    ("text", "base", "expected"),
    [
        ("0 0 30 2,4 *", "2026-05-01T00:00", "2027-04-30T00:00"),
        ("0 0 29 2 *", "2028-03-01T00:00", "2032-02-29T00:00"),
        ("0 0 * 2 5#5", "2036-03-01T00:00", "2064-02-29T00:00"),
    ],
)
def test_what_comes_seldom_is_found(text: str, base: str, expected: str) -> None:
    assert zones.next_ms(cron.parse(text, "seed"), at(base), UTC) == at(expected)


def test_at_the_end_of_the_calendar_nothing_comes() -> None:
    assert zones.next_ms(cron.parse("0 0 1 1 *", "seed"), at("9998-06-01T00:00"), UTC) is None


@pytest.mark.parametrize(
    ("name", "offset_h"),
    [
        ("UTC", 0),
        ("utc", 0),
        ("GMT", 0),
        ("UTC+2", 2),
        ("utc-3", -3),
        ("+05:30", 5.5),
        (120, 2),
        ("asia/kathmandu", 5.75),
    ],
)
def test_a_zone_by_its_name(name: object, offset_h: float) -> None:
    found = zones.zone(name, BERLIN)
    assert found.utcoffset(datetime(2026, 1, 1)) == timedelta(hours=offset_h)


@pytest.mark.parametrize("name", [None, "", "local", "Local", "system", "default"])
def test_a_pattern_without_a_zone_has_the_hosts(name: object) -> None:
    assert zones.zone(name, BERLIN) is BERLIN


@pytest.mark.parametrize("name", ["Nowhere/At_all", "America", "../etc/passwd", "UTC+", "a" * 300, "\0"])
def test_an_unknown_zone_is_said(name: str) -> None:
    with pytest.raises(ValueError, match="is not known here"):
        zones.zone(name, BERLIN)
