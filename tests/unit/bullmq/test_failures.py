"""The hash of failures: few commands, bounded fields, and whatever lies there is read without harm."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastproc.bullmq.failures import DAYS, SharedFailures, day_keys, rows, writes
from fastproc.bullmq.protocol import Keys
from fastproc.core.errors import BY_CODE, QueueRefused, QueueUnavailable
from fastproc.core.failures import Failure

KEYS = Keys("bull", "photos")
AT = int(datetime(2026, 11, 26, 12, tzinfo=UTC).timestamp() * 1000)
ROW = Failure(
    code="FILE_CORRUPTED",
    attempts=3,
    jobs=2,
    first_at_ms=AT - 5,
    last_at_ms=AT,
    photo="p",
    job="7",
    reason="cut",
)


def hash_of(*failures: Failure) -> dict[bytes, bytes]:
    """What the commands leave in an empty key."""
    return {
        str(name).encode(): value if isinstance(value, bytes) else str(value).encode()
        for command, _, name, value in (each for each in writes(KEYS, failures) if len(each) == 4)
    }


def test_what_is_written_is_read_again() -> None:
    assert list(rows(hash_of(ROW))) == [ROW]


def test_a_code_costs_four_commands_and_a_day_one() -> None:
    every = [
        Failure(code=code, first_at_ms=AT, last_at_ms=AT, reason="x" * 300, photo="p" * 128, job="j" * 128)
        for code in BY_CODE
    ]
    assert len(writes(KEYS, every)) == 4 * len(BY_CODE) + 1
    assert sum(len(name) + len(value) for name, value in hash_of(*every).items()) < 20_000
    assert {each[1] for each in writes(KEYS, every)} == {"bull:photos:fastproc:errors:2026-11-26"}


def test_seven_days_are_shown() -> None:
    keys = day_keys(KEYS, date(2026, 3, 2))
    assert len(keys) == DAYS
    assert keys[0] == "bull:photos:fastproc:errors:2026-03-02"
    assert keys[-1] == "bull:photos:fastproc:errors:2026-02-24"


@given(st.dictionaries(st.sampled_from(sorted(hash_of(ROW))), st.binary(max_size=40)))
def test_whatever_lies_there_is_read_without_harm(changed: dict[bytes, bytes]) -> None:
    assert len(list(rows(hash_of(ROW) | changed | {b"NO_CODE:attempts": b"1", b"\xff": b"1"}))) <= 1


@pytest.mark.parametrize(
    ("replies", "raised"),
    [
        ([None] * 5, None),
        ([QueueRefused("NOPERM")] * 5, QueueRefused),
        # Some were counted: raising a refusal would have them counted again.
        ([None, None, None, None, QueueRefused("NOPERM pexpire")], None),
        ([None, QueueUnavailable("no reply"), None, None, None], QueueUnavailable),
    ],
)
async def test_a_refusal_means_that_nothing_was_counted(
    replies: list[Any], raised: type[Exception] | None
) -> None:
    left = list(replies)

    def call(*_command: Any) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        reply = left.pop(0)
        if isinstance(reply, Exception):
            future.set_exception(reply)
        else:
            future.set_result(reply)
        return future

    adding = SharedFailures(call, KEYS).add([ROW])
    if raised:
        with pytest.raises(raised):
            await adding
    else:
        await adding
    assert left == []
