"""Failures by code for people: how many, since when, the newest photo, what the code means, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from fastproc.core.failures import Failure
from fastproc.core.remedies import REMEDIES


def in_short(row: Failure) -> str:
    """Return one line."""
    return f"errors {row.code}: {_count(row)}, the newest at {_time(row.last_at_ms)}, {_whose(row)}"


def in_full(row: Failure) -> Iterator[str]:
    """Yield the lines of a code: the first begins with it, the others are indented."""
    remedy = REMEDIES[row.code]
    yield f"{row.code}: {_count(row)}"
    yield f"  first   {_time(row.first_at_ms)}"
    yield f"  newest  {_time(row.last_at_ms)}, {_whose(row)}: {row.reason}"
    yield f"  means   {remedy.meaning}"
    yield f"  look at {remedy.look}"
    yield f"  do      {remedy.operator}"


def _count(row: Failure) -> str:
    return f"{row.jobs} jobs failed, {row.attempts} attempts"


def _whose(row: Failure) -> str:
    return f"photo {row.photo or '?'}, job {row.job}"


def _time(at_ms: int) -> str:
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return "?"
