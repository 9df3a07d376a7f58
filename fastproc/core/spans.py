"""Durations and moments in a few words, for lines that a person reads. Pure."""

from __future__ import annotations


def span(seconds: float) -> str:
    """Return a duration: `0.4 s`, `9 s`, `4 min`, `2 h 5 min`, `3 days`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    return f"{hours // 24} days"


def moment(at_ms: int) -> str:
    """Return a wall time in ms as `02:14 UTC`."""
    hours, minutes = divmod(at_ms // 60_000 % 1440, 60)
    return f"{hours:02}:{minutes:02} UTC"


def clock(at_ms: int) -> str:
    """Return a wall time in ms as `02:14:05 UTC`."""
    hours, seconds = divmod(at_ms // 1000 % 86_400, 3600)
    return f"{hours:02}:{seconds // 60:02}:{seconds % 60:02} UTC"
