"""Which keys each of BullMQ's scripts takes, in their order: by its name and the number of keys in its file's name.

Rule 1: 12 keys of moveToDelayed and 8 of reprocessJob are the v5 scripts', 11 and 9 the v6 ones'.
Source: the scripts' own headers, as shipped in the PyPI package `bullmq`.
"""

from __future__ import annotations

from typing import Final

LAYOUTS: Final[dict[tuple[str, int], tuple[str, ...]]] = {
    ("moveToActive", 11): (
        "wait", "active", "prioritized", "events", "stalled", "limiter", "delayed", "paused", "meta", "pc", "marker",
    ),
    ("moveToFinished", 14): (
        "wait", "active", "prioritized", "events", "stalled", "limiter", "delayed", "paused", "meta", "pc",
        "{target}", "{job}", "metrics:{target}", "marker",
    ),
    ("moveToDelayed", 12): (
        "marker", "active", "prioritized", "delayed", "{job}", "events", "meta", "stalled", "wait", "limiter",
        "paused", "pc",
    ),
    ("moveToDelayed", 11): (
        "marker", "active", "prioritized", "delayed", "{job}", "events", "meta", "stalled", "wait", "limiter", "pc",
    ),
    ("retryJob", 11): (
        "active", "wait", "paused", "{job}", "meta", "events", "delayed", "prioritized", "pc", "marker", "stalled",
    ),
    ("moveJobFromActiveToWait", 9): (
        "active", "wait", "stalled", "paused", "meta", "limiter", "prioritized", "marker", "events",
    ),
    ("moveStalledJobsToWait", 9): (
        "stalled", "wait", "active", "stalled-check", "meta", "paused", "marker", "events", "repeat",
    ),
    ("extendLocks", 1): ("stalled",),
    ("updateJobScheduler", 12): (
        "repeat", "delayed", "wait", "paused", "meta", "prioritized", "marker", "id", "events", "pc", "{job}", "active",
    ),
    ("updateProgress", 3): ("{job}", "events", "meta"),
    ("addLog", 2): ("{job}", "{job}:logs"),
    ("reprocessJob", 8): ("{job}", "events", "{target}", "wait", "meta", "paused", "active", "marker"),
    ("reprocessJob", 9): (
        "{job}", "events", "{target}", "wait", "meta", "active", "marker", "prioritized", "pc",
    ),
    # To pause; the first two are the other way round to resume.
    ("pause", 7): ("wait", "paused", "meta", "prioritized", "events", "delayed", "marker"),
    ("drain", 5): ("wait", "paused", "delayed", "prioritized", "repeat"),
}  # fmt: skip

#: Scripts that an operator's orders call: no connection of a service loads them before one is given.
OF_ORDERS: Final = frozenset({"reprocessJob", "pause", "drain"})
