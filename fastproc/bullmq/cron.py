"""Cron patterns as BullMQ's own strategy reads them: which seconds of the local calendar they name. Pure.

Rule 1: what either parser of BullMQ's majors accepts is accepted here. Where they differ in meaning, the newer counts.
Rule 2: `H` is the same number for the same seed; `fastproc.bullmq.zones` turns local times into instants.
Source: npm cron-parser 4.9.0 (BullMQ 4 and 5) and 5.10.3 (BullMQ 6), CronExpressionParser and CronExpression;
tests/conformance/test_cron.py compares.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta

from msgspec import Struct

#: Source: cron-parser, MAX_EXPRESSION_LENGTH.
MAX_CHARS = 1024
#: Years that are searched: a fifth Friday in February comes once in 28 or 40 years.
MAX_YEARS = 41

_NAMED = {
    "@yearly": "0 0 0 1 1 *",
    "@annually": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0",
    "@daily": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
    "@minutely": "0 * * * * *",
    "@secondly": "* * * * * *",
    "@weekdays": "0 0 0 * * 1-5",
    "@weekends": "0 0 0 * * 0,6",
}
_DEFAULTS = ("0", "*", "*", "*", "*", "*")
_NAMES = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))} | {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), start=1
    )
}
_ANY = re.compile(r"[*?](?:,[*?])*")
_HASHED = re.compile(r"H(?:\((\d+)-(\d+)\))?(?:/(\d+))?")


class Pattern(Struct, frozen=True):
    """A parsed pattern. Weekdays count from Sunday, 0; `last_weekdays` are those whose last one in a month counts.

    `nth`: which of a month's weekdays counts, 0 for all. `any_day`, `any_weekday`: the field is `*` or `?`.
    """

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    last_day: bool
    last_weekdays: frozenset[int]
    nth: int
    any_day: bool
    any_weekday: bool

    @property
    def every_hour(self) -> bool:
        """Whether the pattern names no hours, so that it runs by elapsed time and not by the clock on the wall."""
        return len(self.hours) == 24

    def matches(self, day: date) -> bool:
        """Whether the pattern names this day."""
        if day.month not in self.months:
            return False
        length = calendar.monthrange(day.year, day.month)[1]
        weekday = day.isoweekday() % 7
        by_day = day.day in self.days or (self.last_day and day.day == length)
        by_weekday = (weekday in self.weekdays and self.nth in (0, -(-day.day // 7))) or (
            weekday in self.last_weekdays and day.day > length - 7
        )
        if self.any_weekday:
            return by_day
        return by_weekday or (by_day and not self.any_day)

    def times(self, start: datetime) -> Iterator[datetime]:
        """Yield the local times that the pattern names, from `start` on (naive, whole seconds), in order."""
        day, end = start.date(), start.year + MAX_YEARS
        while day.year < min(end, date.max.year):
            if day.month not in self.months:
                day = (day.replace(day=1) + timedelta(days=31)).replace(day=1)
                continue
            if self.matches(day):
                yield from self._times_of_day(day, start)
            day += timedelta(days=1)

    def _times_of_day(self, day: date, start: datetime) -> Iterator[datetime]:
        for hour in self.hours:
            if datetime.combine(day, time(hour, 59, 59)) < start:
                continue
            for minute in self.minutes:
                if datetime.combine(day, time(hour, minute, 59)) < start:
                    continue
                for second in self.seconds:
                    moment = datetime.combine(day, time(hour, minute, second))
                    if moment >= start:
                        yield moment


def parse(text: str, seed: str) -> Pattern:
    """Return the pattern; `seed` decides what `H` stands for. Raises ValueError with what is wrong."""
    if len(text) > MAX_CHARS:
        raise ValueError(f"the pattern has {len(text)} characters, {MAX_CHARS} are allowed")
    fields = _NAMED.get(text, text).split()
    if len(fields) > 6:
        raise ValueError(f"the pattern {text!r} has {len(fields)} fields, 6 are allowed")
    fields = [*_DEFAULTS[: 6 - len(fields)], *fields]
    dice = _random(seed)
    second, minute, hour, day, month, weekday = fields
    weekday, hash_sign, nth = weekday.partition("#")
    if hash_sign and (nth not in ("1", "2", "3", "4", "5") or re.search(r"[,/-]", weekday)):
        raise ValueError(f"the weekday {fields[5]!r}: `#` takes one weekday and a number from 1 to 5")
    # In the order in which cron-parser draws a number for each.
    seconds, minutes = _values(second, 0, 59, dice), _values(minute, 0, 59, dice)
    hours, months = _values(hour, 0, 23, dice), _values(_named(month), 1, 12, dice)
    days, last_days = _with_last(day, 1, 31, dice)
    weekdays, last_weekdays = _with_last(_named(weekday), 0, 7, dice)
    if any(each.startswith("L") for each in last_weekdays):
        raise ValueError(f"the weekday {weekday!r}: L needs a weekday before it")
    longest = max(calendar.monthrange(2024, each)[1] for each in months)
    if days and not last_days and min(days) > longest:
        raise ValueError(f"no month of {text!r} has such a day")
    return Pattern(
        tuple(sorted(seconds)),
        tuple(sorted(minutes)),
        tuple(sorted(hours)),
        frozenset(days),
        frozenset(months),
        frozenset(each % 7 for each in weekdays),
        bool(last_days),
        frozenset(int(each[0]) % 7 for each in last_weekdays),
        int(nth or 0),
        bool(_ANY.fullmatch(day)),
        bool(_ANY.fullmatch(fields[5])),
    )


def _with_last(field: str, least: int, most: int, dice: Callable[[], float]) -> tuple[set[int], set[str]]:
    """Return the numbers of a field, and what it has with an `L`."""
    parts = field.split(",")
    last = {part for part in parts if "L" in part}
    if wrong := sorted(part for part in last if not re.fullmatch(r"[0-9L]+", part)):
        raise ValueError(f"{wrong[0]!r}: L goes with a number, or alone")
    rest = ",".join(part for part in parts if "L" not in part)
    # One draw for the field, as without an L.
    numbers = _values(rest or "*", least, most, dice)
    return (numbers if rest or not last else set(), last)


def _values(field: str, least: int, most: int, dice: Callable[[], float]) -> set[int]:
    """Return the numbers that a field names. Raises ValueError."""
    drawn = dice()
    field = _HASHED.sub(lambda match: _hashed(match, least, most, drawn), field)
    found: set[int] = set()
    for part in field.split(","):
        bounds, slash, step = part.partition("/")
        bounds = re.sub(r"[*?]", f"{least}-{most}", bounds)
        if slash and "-" not in bounds:
            bounds = f"{bounds}-{most}"
        # Of more than two numbers in a range the first two count.
        first, last = [*bounds.split("-"), bounds][:2]
        start, end, by = _number(first, part), _number(last, part), _number(step if slash else "1", part)
        if not (least <= start <= end <= most and by > 0):
            raise ValueError(f"{part!r} is not within {least} to {most}, or its step is 0")
        found |= set(range(start, end + 1, by))
    return found


def _number(text: str, part: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ValueError(f"{part!r} is no number, range or step")
    return int(text)


def _named(field: str) -> str:
    """Replace the names of months and weekdays by their numbers; either may stand in either field."""

    def number(match: re.Match[str]) -> str:
        name = match[0].lower()
        if name not in _NAMES:
            raise ValueError(f"{match[0]!r} is no name of a month or weekday")
        return str(_NAMES[name])

    return re.sub(r"[A-Za-z]{3}", number, field)


def _hashed(match: re.Match[str], least: int, most: int, drawn: float) -> str:
    """Return what stands for an `H`, as cron-parser 5 has it."""
    if match[1] is not None:
        first, last = int(match[1]), int(match[2])
        if first > last or max(first, least) > min(last, most):
            raise ValueError(f"{match[0]!r} is not within {least} to {most}")
        least, most = max(first, least), min(last, most)
    if match[3] is None:
        return str(int(drawn * (most - least + 1)) + least)
    step = int(match[3])
    if not step:
        raise ValueError(f"{match[0]!r}: the step is 0")
    first = least // step * step + int(drawn * step)
    values = [value for value in range(first, most + 1, step) if value >= least]
    return ",".join(map(str, values)) if values else str(int(drawn * (most - least + 1)) + least)


def _random(seed: str) -> Callable[[], float]:
    """Return the generator of cron-parser: mulberry32, seeded with FNV-1a of the text's UTF-16 units."""
    state = 2166136261
    units = seed.encode("utf-16-le", "surrogatepass")
    for low, high in zip(units[::2], units[1::2], strict=True):
        state = (state ^ (low | high << 8)) * 16777619 & 0xFFFFFFFF

    def draw() -> float:
        nonlocal state
        state += 0x6D2B79F5
        mixed = state & 0xFFFFFFFF
        mixed = (mixed ^ mixed >> 15) * (mixed | 1) & 0xFFFFFFFF
        mixed ^= mixed + (mixed ^ mixed >> 7) * (mixed | 61) & 0xFFFFFFFF
        return (mixed ^ mixed >> 14) / 4294967296

    return draw
