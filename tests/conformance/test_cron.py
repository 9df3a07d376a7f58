"""Cron patterns: ours names the same next run as the parsers that BullMQ's majors use, around every change of a clock.

Where the two parsers differ, ours is one of them: the newer one's dialect, and the one that is right where a clock goes
back. Around the half hour of Lord Howe both go wrong; there tests/unit/bullmq/test_zones.py counts seconds instead.
"""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from fastproc.bullmq import cron, zones
from tests.conformance import peer as peers
from tests.conformance.peer import HERE

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu")
BEGIN, END = (int(datetime(year, 1, 1, tzinfo=ZoneInfo("UTC")).timestamp()) for year in (2025, 2027))
HOURS = ("*", "0", "1", "2", "3", "1-4", "2,3", "1,2", "*/2", "*/3", "2/5", "0,3", "9", "23")
MINUTES = ("0", "30", "*/10", "*", "15", "59", "0,30", "45", "51-54/4", "6-38/4")
DAYS = ("*", "*", "*", "?", "1", "29", "L", "15-31", "*/2", "17-17")
MONTHS = ("*", "*", "*", "3", "10", "jan", "apr,oct", "MAR-NOV", "*/2", "7-11/3")
WEEKDAYS = ("*", "*", "*", "0", "1", "5L", "mon-fri", "SUN", "1#2", "6,0", "7", "5#5", "1-6", "2,3,4")
SECONDS = ("0", "*", "*/10", "30", "15,45")

Case = tuple[str, str, int, str | None]


@pytest.fixture(scope="module", autouse=True)
def node() -> None:
    """Both parsers come with the official library."""
    peers.require()


def official(cases: Sequence[Case]) -> list[tuple[int | None, int | None]]:
    """What the parsers of BullMQ 5 and 6 say, in ms; None where they throw."""
    lines = "\n".join(json.dumps(case) for case in cases)
    done = subprocess.run(
        ["node", "cron.js"], cwd=HERE, input=lines, capture_output=True, text=True, check=True, timeout=300
    )
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def ours(case: Case) -> int | None:
    pattern, zone, base_ms, seed = case
    try:
        parsed = cron.parse(pattern, seed or "seed")
        return zones.next_ms(parsed, base_ms, zones.zone(zone, ZoneInfo("UTC")))
    except ValueError:
        return None


def changes(zone: str) -> list[int]:
    """The seconds at which the zone's offset changes, to half an hour."""
    tz = ZoneInfo(zone)
    offsets = {at: datetime.fromtimestamp(at, tz).utcoffset() for at in range(BEGIN, END, 1800)}
    return [at for at in offsets if at - 1800 in offsets and offsets[at] != offsets[at - 1800]]


def some_pattern(dice: random.Random) -> str:
    fields = [dice.choice(each) for each in (MINUTES, HOURS, DAYS, MONTHS, WEEKDAYS)]
    if "#" in fields[4]:
        # With a day of the month the older parser asks for both: the dialect's test.
        fields[2] = "*"
    return " ".join([dice.choice(SECONDS), *fields] if dice.random() < 0.5 else fields)


def is_known(case: Case, found: int | None, changes: list[int]) -> bool:
    """Whether both parsers may be wrong here: within 90 minutes of a half hour that is skipped or repeated.

    And the newer one, begun in the last second before an hour is repeated, leaves that hour out on a later day.
    """
    moments = [case[2] / 1000, (found or 0) / 1000]
    near = any(abs(moment - change) < 5400 for moment in moments for change in changes)
    return (case[1] == "Australia/Lord_Howe" and near) or any(
        -1 <= moments[0] - change < 0 for change in changes
    )


def compare(patterns: int, seed: int) -> None:
    dice = random.Random(seed)
    cases: list[Case] = []
    bases = {zone: changes(zone) for zone in ZONES}
    assert {zone: len(each) for zone, each in bases.items()} == dict(zip(ZONES, (4, 4, 4, 0), strict=True))
    for _ in range(patterns):
        pattern = some_pattern(dice)
        for zone in ZONES:
            near = dice.sample(bases[zone], min(2, len(bases[zone])))
            at = [
                base + dice.choice([0, -1, 1, 1800, -1800, 3600, -3600, 3599, 7200, -7200]) for base in near
            ]
            at += [base + dice.randint(-90_000, 90_000) for base in near]
            at += [dice.randint(BEGIN, END)]
            cases += [(pattern, zone, base * 1000 + dice.choice([0, 0, 500]), None) for base in at]
    wrong = []
    for case, (five, six) in zip(cases, official(cases), strict=True):
        found = ours(case)
        if found in (five, six) or is_known(case, found, bases[case[1]]):
            continue
        wrong.append((case, five, six, found))
    assert not wrong, f"{len(wrong)} of {len(cases)}, for example {wrong[0]}"


def test_the_next_run_is_that_of_bullmq() -> None:
    compare(patterns=150, seed=1)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 12))
def test_the_next_run_is_that_of_bullmq_for_thousands_of_patterns(seed: int) -> None:
    compare(patterns=500, seed=seed)


DIALECT = [
    *(
        "0 0 * * 5L",
        "0 9 1 *",
        "9 1 *",
        "1 *",
        "*",
        "* * * * * *",
        "0 0 1-31 * 1",
        "0 0 */1 * 1",
        "0 0 1 * 0-6",
    ),
    *("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@hourly", "@minutely", "@secondly"),
    *("@weekdays", "@weekends", "0 0 L * *", "0 0 L,15 * *", "0 0 ? * ?", "0 0 * * 1,5L", "0 0 * * friL"),
    *(
        "0 0 1 * 5#5",
        "0 0 * 2 5#5",
        "0 0 * * mon#2",
        "0 0 * MON-FRI *",
        "0 0 29 2 *",
        "0 0 31,30 4 *",
        "1-2-3 * * * *",
    ),
    *("5/15 * * * *", "*/7 * * * *", "? ? * * *", "0 0 * * 7", "0 0 * * 6-7", "0 0 * * 0-7/2", "007 0 * * *"),
    *("1,1 * * * *", "0 0 *,* * 1", "  0   0 * * *  "),
]
HASHED = ["H * * * *", "H H * * *", "H H H * * *", "H/15 * * * *", "H(0-29)/10 H(2-4) * * *", "H H H H H"]
HASHED += ["H/5,3 H * * *", "H(0-70)/9 * * * *", "0 0 H(1-28) * *", "H(5-6)/30 * * * *", "0 0 * H H"]
REFUSED = [
    "30",
    "* * * * * * *",
    "60 * * * *",
    "0 24 * * *",
    "0 0 0 * *",
    "0 0 * 13 *",
    "0 0 * * 8",
    "5-1 * * * *",
]
REFUSED += [
    "*/0 * * * *",
    "1/ * * * *",
    "1- * * * *",
    "-1 * * * *",
    "1,,2 * * * *",
    "0 0 * * #",
    "0 0 * * 1#6",
    "@reboot",
]
REFUSED += [
    "0 0 * * 1,2#1",
    "0 0 * xyz *",
    "0 0 31 4 *",
    "0 0 30 2 *",
    "1/2/3 * * * *",
    "0 0 * * L",
    "H(3-2) * * * *",
]
REFUSED += ["@reboot", "@Daily", "0 0 W * *", "1.5 * * * *"]


NAMES = [
    "europe/berlin",
    "EUROPE/Berlin",
    "UTC+2",
    "utc-3",
    "UTC+5:30",
    "utc",
    "GMT",
    "Utc",
    "Asia/Kathmandu",
]
NAMES += ["US/Eastern", "etc/gmt+5", "EST"]
UNKNOWN = ["Nowhere/At_all", "UTC+", "Berlin"]
PATTERNS = [*DIALECT, *HASHED, *REFUSED]


@pytest.fixture(scope="module")
def answers(node: None) -> dict[str, list[tuple[Case, int | None, int | None]]]:
    """What both parsers say of each pattern, and of each zone with one pattern, by pattern or zone."""
    bases = [base * 1000 for base in range(BEGIN, END, 86400 * 61)]
    cases = [(text, (text, "Europe/Berlin", base, "a scheduler")) for text in PATTERNS for base in bases]
    cases += [(name, ("0 9 * * 1", name, base, None)) for name in NAMES + UNKNOWN for base in bases]
    found: dict[str, list[tuple[Case, int | None, int | None]]] = {}
    for (key, case), (five, six) in zip(cases, official([case for _, case in cases]), strict=True):
        found.setdefault(key, []).append((case, five, six))
    return found


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_dialect_is_that_of_bullmqs_majors(
    answers: dict[str, list[tuple[Case, int | None, int | None]]], pattern: str
) -> None:
    for case, five, six in answers[pattern]:
        assert ours(case) == (six if six is not None else five), case
        assert (ours(case) is None) == (pattern in REFUSED)


@pytest.mark.parametrize("name", NAMES + UNKNOWN)
def test_a_zone_is_what_node_takes_it_for(
    answers: dict[str, list[tuple[Case, int | None, int | None]]], name: str
) -> None:
    for case, five, six in answers[name]:
        assert ours(case) in (five, six)
        assert (ours(case) is None) == (name in UNKNOWN)
