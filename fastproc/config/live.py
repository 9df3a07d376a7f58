"""Settings that can be changed while the service runs: what an operator's text means, and within which bounds.

Rule 1: bounds are those of the variables themselves; what does not fit the host is a warning, as at the start.
"""

from __future__ import annotations

from typing import Any, Final, get_type_hints

from msgspec import structs

from fastproc.config.fit import Room, misfits
from fastproc.config.pool import PoolConfig
from fastproc.core import rates
from fastproc.core.control import Refusal
from fastproc.core.rates import Rate

_WORKERS: Final[Any] = get_type_hints(PoolConfig, include_extras=True)["workers"].__metadata__[0]
LEVELS: Final = ("debug", "info", "warn", "error")


def pool(text: str, now: PoolConfig, supervisors: int) -> PoolConfig:
    """Return the plan with another number of workers, all supervisors together. Raises Refusal.

    PREFETCH stays as it was set, within its bound of 4 for each worker.
    """
    if text == "0":
        raise Refusal("0 workers are no service: to take no jobs, `fastproc pause --host`")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Refusal(f"expected a whole number of workers, {supervisors} to {_WORKERS.le}")
    workers = int(text)
    if workers > _WORKERS.le:
        raise Refusal(f"{workers} workers are out of bounds: {supervisors} to {_WORKERS.le}")
    if workers < supervisors:
        raise Refusal(f"{workers} is too few: each of {supervisors} supervisors needs a worker")
    prefetch = None if now.prefetch is None else min(now.prefetch, 4 * workers)
    return structs.replace(now, workers=workers, prefetch=prefetch)


def rate(text: str, supervisors: int) -> Rate:
    """Return the rate, of all supervisors together. Raises Refusal."""
    try:
        found = rates.parse(text)
    except ValueError as error:
        raise Refusal(str(error)) from None
    if found.max and found.max < supervisors:
        raise Refusal(
            f"{found}: each of {supervisors} supervisors needs a part of it; say the same rate over a longer time,"
            f" such as {Rate(found.max * 60, min(found.duration_ms * 60, rates.LONGEST_MS))}"
        )
    return found


def level(text: str) -> str:
    """Return the level of the log. Raises Refusal."""
    found = {"warning": "warn"}.get(text.lower(), text.lower())
    if found not in LEVELS:
        raise Refusal(f"expected one of {', '.join(LEVELS)}")
    return found


def warnings(plan: PoolConfig, room: Room, supervisors: int) -> list[str]:
    """Return what of a plan does not fit into the host."""
    return misfits(plan, room, supervisors)
