"""Time zones as BullMQ's patterns name them, and the first instant after another that a pattern names in its zone.

Rule 1: a pattern that names hours runs in an hour that comes twice the first time alone, and for an hour that is
        skipped once, at the first of its minutes in the hour after it. A skipped half hour has no such run.
Rule 2: a pattern of every hour runs by elapsed time: in an hour that comes twice, twice; in a skipped one, never.
Source: luxon 3, normalizeZone; npm cron-parser 5.10.3, CronExpression and CronDate.applyDateOperation.
"""

from __future__ import annotations

import functools
import re
import zoneinfo
from datetime import UTC, datetime, timedelta, timezone, tzinfo

from fastproc.bullmq.cron import Pattern

_DAY, _HOUR, _SECOND = timedelta(days=1), timedelta(hours=1), timedelta(seconds=1)
_EPOCH = datetime(1970, 1, 1)
_OFFSET = re.compile(r"(?:utc)?([+-])(\d{1,2})(?::?(\d{2}))?", re.IGNORECASE)


def zone(name: object, local: tzinfo) -> tzinfo:
    """Return the zone that a pattern's `tz` names; `local` where it names none. Raises ValueError."""
    if name is None or name == "":
        return local
    if isinstance(name, int | float):
        return timezone(timedelta(minutes=name))
    text = str(name)
    if text.lower() in ("local", "system", "default"):
        return local
    if text.lower() in ("utc", "gmt"):
        return UTC
    if match := _OFFSET.fullmatch(text):
        sign = -1 if match[1] == "-" else 1
        return timezone(sign * timedelta(hours=int(match[2]), minutes=int(match[3] or 0)))
    try:
        return zoneinfo.ZoneInfo(_names().get(text.lower(), text))
    except (zoneinfo.ZoneInfoNotFoundError, OSError, ValueError) as error:
        raise ValueError(f"the time zone {text!r} is not known here") from error


@functools.cache
def _names() -> dict[str, str]:
    return {name.lower(): name for name in zoneinfo.available_timezones()}


def next_ms(pattern: Pattern, base_ms: int, zone: tzinfo) -> int | None:
    """Return the first time of the pattern after `base_ms`, both in epoch ms; None where there is none."""
    base = _EPOCH + timedelta(seconds=base_ms // 1000)
    offsets = [_offset(base + shift, zone) for shift in (-_DAY, timedelta(), _DAY)]
    # Where the clock is changed within a day, later local times can come earlier: look so much further.
    spread = max(offsets) - min(offsets)
    again = (base + offsets[1]).replace(minute=0, second=0) if _is_repeated(base, zone) else None
    best: tuple[datetime, datetime] | None = None
    for local in pattern.times(base + min(offsets)):
        if best is not None and local > best[1] + spread:
            break
        for instant in _instants(pattern, local, zone, base, again):
            if instant > base and (best is None or instant < best[0]):
                best = instant, local
        if best is not None and not spread:
            break
    return None if best is None else int((best[0] - _EPOCH) / _SECOND) * 1000


def _instants(
    pattern: Pattern, local: datetime, zone: tzinfo, base: datetime, again: datetime | None
) -> list[datetime]:
    """Return when (UTC) a local time comes. `again`: the repeated hour in which the search from `base` begins."""
    first, second = (_local_offset(local, zone, fold) for fold in (0, 1))
    if first >= second:
        repeated = first > second and (pattern.every_hour or local.replace(minute=0, second=0) == again)
        return [local - first, local - second] if repeated else [local - first]
    if pattern.every_hour:
        return []
    change = _change(local - second, local - first, zone)
    before, landing = change + first - _SECOND, change + second
    if base >= change or (landing.hour - before.hour) % 24 < 2:
        return []
    moved = landing.replace(minute=local.minute, second=local.second)
    return [moved - second] if moved >= landing else []


def _change(low: datetime, high: datetime, zone: tzinfo) -> datetime:
    """Return the first second (UTC) after `low`, up to `high`, that has the offset of `high`."""
    offset = _offset(high, zone)
    while high - low > _SECOND:
        middle = low + timedelta(seconds=(high - low) // _SECOND // 2)
        low, high = (low, middle) if _offset(middle, zone) == offset else (middle, high)
    return high


def _is_repeated(moment: datetime, zone: tzinfo) -> bool:
    return moment.replace(tzinfo=UTC).astimezone(zone).fold == 1


def _offset(moment: datetime, zone: tzinfo) -> timedelta:
    """Return the offset of the zone at an instant (UTC, naive)."""
    return moment.replace(tzinfo=UTC).astimezone(zone).utcoffset() or timedelta()


def _local_offset(local: datetime, zone: tzinfo, fold: int) -> timedelta:
    return local.replace(tzinfo=zone, fold=fold).utcoffset() or timedelta()
