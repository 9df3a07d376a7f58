"""Calls in a thread: their end, their error, a caller that has gone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from fastproc.backends import thread_calls


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=1) as executor:
        yield executor


async def test_the_caller_waits_for_the_end_in_another_thread(thread: ThreadPoolExecutor) -> None:
    where: list[int] = []
    await thread_calls.call(thread, lambda more: where.append(threading.get_ident() + more), 0)
    assert where != [threading.get_ident()]
    assert len(where) == 1


async def test_what_is_raised_there_is_raised_here(thread: ThreadPoolExecutor) -> None:
    def fail() -> None:
        raise KeyError("there")

    with pytest.raises(KeyError, match="there"):
        await thread_calls.call(thread, fail)


async def test_a_caller_that_has_gone_stops_nothing_and_hears_nothing(thread: ThreadPoolExecutor) -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, about: complaints.append(about))
    begun, go_on, done = threading.Event(), threading.Event(), []

    def work() -> None:
        begun.set()
        go_on.wait(10)
        done.append(True)

    ended = thread_calls.call(thread, work)
    assert await asyncio.to_thread(begun.wait, 10)
    ended.cancel()
    go_on.set()
    await thread_calls.call(thread, lambda: None)
    assert (done, complaints) == ([True], [])
