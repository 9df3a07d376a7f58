"""Failures gather and are written in batches; a store that refuses or is silent costs nothing but a count."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import pytest

from fastproc.core.errors import QueueRefused, QueueUnavailable
from fastproc.core.failures import Failure
from fastproc.core.model import Completed, Ended, GiveUp
from fastproc.supervisor import failures as module
from fastproc.supervisor.failures import Failures
from tests.unit.supervisor.fakes import JOB

FAILED = Ended(GiveUp("not retryable"), "FILE_CORRUPTED", "FILE_CORRUPTED: cut", "")


class Store:
    """Keeps what it is given, or raises, or hangs."""

    def __init__(self) -> None:
        self.added: list[list[Failure]] = []
        self.error: Exception | None = None
        self.hangs = False

    async def add(self, failures: Sequence[Failure]) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.error:
            raise self.error
        self.added.append(list(failures))

    async def read(self) -> list[Failure]:
        return [row for rows in self.added for row in rows]


async def test_many_failures_are_one_batch_and_nothing_is_written_without_one() -> None:
    store = Store()
    book = Failures(store)
    await book.write()
    for _ in range(1000):
        book.ended(JOB, FAILED)
    book.ended(JOB, Completed("{}"))
    await book.write()
    await book.write()
    [[row]] = store.added
    assert (row.code, row.attempts, row.jobs) == ("FILE_CORRUPTED", 1000, 1000)


async def test_what_is_refused_waits_and_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    book, store.error = Failures(store), QueueRefused("NOPERM hincrby")
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            book.ended(JOB, FAILED)
            await book.write()
    assert [record.getMessage() for record in caplog.records] == [
        "failures by code are not in Redis, it is tried again: NOPERM hincrby"
    ]
    assert [row.attempts for row in await book.shared()] == [3]
    store.error = None
    await book.write()
    assert [row.attempts for row in store.added[0]] == [3]


@pytest.mark.parametrize("hangs", [False, True])
async def test_what_may_have_been_written_is_not_written_twice(
    hangs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWER_S", 0.01)
    store = Store()
    book, store.error, store.hangs = Failures(store), QueueUnavailable("no reply"), hangs
    book.ended(JOB, FAILED)
    await book.write()
    store.error, store.hangs = None, False
    await book.write()
    assert store.added == []
    assert [row.attempts for row in book.own()] == [1]


async def test_without_a_store_a_service_knows_its_own() -> None:
    book = Failures()
    book.ended(JOB, FAILED)
    await book.write()
    assert await book.shared() == book.own()
    assert [row.code for row in book.own()] == ["FILE_CORRUPTED"]
