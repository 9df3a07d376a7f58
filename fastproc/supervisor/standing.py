"""Where the job of the running task stands, so that the watchdog can see it without passing an object to every room.

Rule 1: a room that may wait for something without a deadline of its own says so with `waiting`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from fastproc.core.stuck import Standing

_of_this_task: ContextVar[Standing | None] = ContextVar("standing", default=None)


@contextmanager
def standing() -> Iterator[Standing]:
    """Give the standing of a job that begins and runs in the block."""
    made = Standing(step="begun", since=time.monotonic())
    token = _of_this_task.set(made)
    try:
        yield made
    finally:
        _of_this_task.reset(token)


def step(name: str) -> None:
    """The job makes progress: it begins this step."""
    if at := _of_this_task.get():
        at.step, at.since = name, time.monotonic()


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """The job waits for `what` in the block, as long as that takes."""
    at = _of_this_task.get()
    if at is None:
        yield
        return
    at.waits_for = what
    try:
        yield
    finally:
        at.waits_for, at.since = "", time.monotonic()
