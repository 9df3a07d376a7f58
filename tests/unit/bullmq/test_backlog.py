"""What Redis' replies say of the queue: how many wait, and what holds them."""

from __future__ import annotations

from typing import Any

import pytest

from fastproc.bullmq.backlog import RESTING, judged
from fastproc.core.health import Backlog

FREE: dict[str, Any] = {
    "wait": 2, "prioritized": 3, "paused": 0, "active": 4, "meta": [None, None, None], "count": None, "left_ms": -2,
}  # fmt: skip


@pytest.mark.parametrize(
    ("replies", "held"),
    [
        ({}, ""),
        ({"meta": [b"1", None, None]}, "the queue is paused"),
        ({"meta": [None, b"4", None]}, "the queue's global concurrency is in use"),
        ({"meta": [None, b"5", None]}, ""),
        ({"meta": [None, b"nonsense", None]}, ""),
        ({"meta": [None, None, b"10"], "count": b"10", "left_ms": 900}, "the queue's rate limit is used up"),
        ({"meta": [None, None, b"10"], "count": b"9", "left_ms": 900}, ""),
        ({"meta": [None, None, b"10"], "count": b"10", "left_ms": -1}, ""),
        ({"count": b"10", "left_ms": 900}, ""),
        ({"count": str(RESTING).encode(), "left_ms": 900}, "the queue's rate limit is used up"),
    ],
)
def test_what_holds_the_queue_is_named(replies: dict[str, Any], held: str) -> None:
    assert judged(**(FREE | replies)) == Backlog(5, held)


def test_the_jobs_of_a_paused_queue_wait_wherever_they_lie() -> None:
    assert judged(**(FREE | {"wait": 0, "paused": 7, "meta": [b"1", None, None]})).waiting == 10
