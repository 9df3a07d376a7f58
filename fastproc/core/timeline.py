"""What happened to a job in one attempt, and when: the steps of its line and the stages of its photo.

Rule 1: times are ns of the wall clock, as traces have them; nothing is computed while the job runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct, field

from fastproc.core.model import Completed, Ended, Job, Retry

NS_PER_MS: Final = 1_000_000


class Step(Struct, frozen=True, kw_only=True):
    """One step: `fetch`, `work`, `upload`, `row`, `event`, or a stage of the pipeline (`stage`).

    `problem`: the code it failed with, "" where it did not. `about`: what it was about, for people.
    """

    name: str
    began_ns: int
    ended_ns: int
    problem: str = ""
    about: Mapping[str, str | int] = {}
    stage: bool = False


class Timeline(Struct, kw_only=True):
    """One attempt. `end` is None where it has none: the job went back to the queue, or was lost."""

    job: Job
    began_ns: int
    ended_ns: int = 0
    steps: list[Step] = field(default_factory=list)
    end: Completed | Ended | None = None

    @property
    def outcome(self) -> str:
        """`completed`, `retried`, `failed`, or `unfinished`."""
        match self.end:
            case None:
                return "unfinished"
            case Completed():
                return "completed"
            case Ended(decision=Retry()):
                return "retried"
        return "failed"


def stages(ends_ns: Mapping[str, int], timings_ms: Mapping[str, float], not_before_ns: int) -> list[Step]:
    """Return the stages as steps, from when each end was heard of and how long it had taken in the worker.

    A message is late by some microseconds, more where the supervisor is busy: no stage begins before the one before it
    has ended, or before the work.
    """
    found: list[Step] = []
    for name, ended_ns in ends_ns.items():
        earliest = found[-1].ended_ns if found else not_before_ns
        ended_ns = max(ended_ns, earliest)
        took_ns = round(timings_ms.get(name, 0.0) * NS_PER_MS)
        found.append(
            Step(name=name, began_ns=max(earliest, ended_ns - took_ns), ended_ns=ended_ns, stage=True)
        )
    return found
