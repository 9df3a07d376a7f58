"""Failures by code in Redis, for all services of a queue together: a hash a day, under the queue's own prefix.

Rule 1: the key is `<prefix>:<queue>:fastproc:errors:<day>`. BullMQ gives no job such an id (no `:` in it), and no
        tool that looks for queues (`*:meta`, `*:id`) takes it for one; `obliterate` leaves it, its expiry does not.
Rule 2: counts are added, so that services do not overwrite each other; the newest failure is that of the last writer.
Rule 3: what is read may have been written by anybody: what is not as we write it is left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final

import msgspec
from msgspec import Struct

from fastproc.bullmq.call import Call
from fastproc.bullmq.protocol import Arg, Keys, clean, text
from fastproc.core.errors import BY_CODE, QueueRefused
from fastproc.core.failures import MAX_ID_CHARS, MAX_REASON_CHARS, Failure, table

#: Days that are shown, today among them, and the life of a day's key: it outlasts them by a day for clocks that differ.
DAYS: Final = 7
LIFE_MS: Final = (DAYS + 1) * 24 * 3600 * 1000


class _Newest(Struct, frozen=True, kw_only=True):
    """The newest failure of a code, as JSON in its field."""

    at: int
    photo: str = ""
    job: str = ""
    reason: str = ""


class SharedFailures:
    """The days' hashes of one queue, over a connection's `call`. Satisfies the port FailureStore."""

    def __init__(self, call: Call, keys: Keys) -> None:
        self._call, self._keys = call, keys

    async def add(self, failures: Sequence[Failure]) -> None:
        """Add the counts, in one batch: four small commands a code. Raises QueueUnavailable, QueueRefused."""
        commands = writes(self._keys, failures)
        outcomes = await asyncio.gather(*(self._call(*each) for each in commands), return_exceptions=True)
        errors = [each for each in outcomes if isinstance(each, BaseException)]
        # Where something may have been counted already, it is not counted again.
        for error in errors:
            if len(errors) == len(outcomes) or not isinstance(error, QueueRefused):
                raise error

    async def read(self) -> list[Failure]:
        """Return a row a code over the last days. Raises QueueUnavailable."""
        days = await asyncio.gather(*(self._call("HGETALL", key) for key in day_keys(self._keys)))
        return table(row for flat in days for row in rows(dict(zip(flat[::2], flat[1::2], strict=True))))


def day_keys(keys: Keys, today: date | None = None) -> list[str]:
    """Return the keys of the days that are shown, the newest first."""
    newest = today or datetime.now(UTC).date()
    return [_key(keys, newest - timedelta(days=back)) for back in range(DAYS)]


def writes(keys: Keys, failures: Sequence[Failure]) -> list[list[Arg]]:
    """Return the commands that add the counts."""
    commands: list[list[Arg]] = []
    used = []
    for each in failures:
        key = _key(keys, datetime.fromtimestamp(each.last_at_ms / 1000, UTC).date())
        newest = _Newest(
            at=each.last_at_ms, photo=clean(each.photo), job=clean(each.job), reason=clean(each.reason)
        )
        commands += [
            ["HINCRBY", key, f"{each.code}:attempts", each.attempts],
            ["HINCRBY", key, f"{each.code}:jobs", each.jobs],
            ["HSETNX", key, f"{each.code}:first", each.first_at_ms],
            ["HSET", key, f"{each.code}:newest", msgspec.json.encode(newest)],
        ]
        used.append(key)
    for key in dict.fromkeys(used):
        commands.append(["PEXPIRE", key, LIFE_MS])
    return commands


def rows(fields: Mapping[bytes, bytes]) -> Iterator[Failure]:
    """Yield a row for each code that a day's hash has."""
    found = {text(name): value for name, value in fields.items()}
    for code in BY_CODE:
        try:
            newest = msgspec.json.decode(found[f"{code}:newest"], type=_Newest)
            yield Failure(
                code=code,
                attempts=int(found[f"{code}:attempts"]),
                jobs=int(found[f"{code}:jobs"]),
                first_at_ms=int(found[f"{code}:first"]),
                last_at_ms=newest.at,
                photo=newest.photo[:MAX_ID_CHARS],
                job=newest.job[:MAX_ID_CHARS],
                reason=newest.reason[:MAX_REASON_CHARS],
            )
        except (KeyError, ValueError):
            continue


def _key(keys: Keys, day: date) -> str:
    return keys(f"fastproc:errors:{day.isoformat()}")
