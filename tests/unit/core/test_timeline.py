"""What happened to an attempt, as values."""

from __future__ import annotations

import pytest

from fastproc.core.model import Completed, Ended, GiveUp, Job, Retry
from fastproc.core.timeline import Timeline, stages

JOB = Job(id="7", name="x", token="t", photo_id="p-1", s3_key="k", bucket="b")


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        (None, "unfinished"),
        (Completed("{}"), "completed"),
        (Ended(Retry(5), "STORAGE_UNAVAILABLE", "", ""), "retried"),
        (Ended(GiveUp("final"), "FILE_CORRUPTED", "", ""), "failed"),
    ],
)
def test_the_outcome_is_what_the_attempt_ended_with(end: Completed | Ended | None, outcome: str) -> None:
    assert Timeline(job=JOB, began_ns=1, end=end).outcome == outcome


def test_stages_end_when_it_was_heard_and_took_what_the_worker_says() -> None:
    found = stages({"validation": 5_000_000, "metadata": 9_000_000}, {"validation": 3.0, "metadata": 1.5}, 0)
    assert [(step.name, step.began_ns, step.ended_ns) for step in found] == [
        ("validation", 2_000_000, 5_000_000),
        ("metadata", 7_500_000, 9_000_000),
    ]
    assert all(step.stage for step in found)


def test_stages_never_overlap_and_never_begin_before_the_work() -> None:
    """A supervisor that was busy hears of several stages at once."""
    at_once = stages({"a": 5_000_000, "b": 5_000_000, "c": 4_000_000}, {"a": 9.0, "b": 2.0}, 1_000_000)
    assert [(step.began_ns, step.ended_ns) for step in at_once] == [
        (1_000_000, 5_000_000),
        (5_000_000, 5_000_000),
        (5_000_000, 5_000_000),
    ]
