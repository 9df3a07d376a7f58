"""What a load test was asked to do: the command's options as one value."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from msgspec import Struct

from fastproc.core.errors import FastprocError
from fastproc.load.arrivals import Load
from fastproc.load.report import Varied


class Refused(FastprocError):
    """The load test is not begun. The message says why, and which option would do it all the same."""


class Step(Struct, frozen=True):
    """One run: its load and, on embedded servers, WORKER_CONCURRENCY of its services (None: the default)."""

    load: Load
    concurrency: int | None = None


class Order(Struct, frozen=True, kw_only=True):
    """What is to be measured. `photos` is a folder, None paints some; `settings` are variables of embedded services."""

    steps: Sequence[Step]
    varied: Varied
    photos: Path | None
    hosts: int
    settings: dict[str, str]
    metrics: Sequence[str]
    keep: bool
    yes: bool
    seed: int


class Tell(Struct, frozen=True):
    """Where a test reports: a line to read, and the progress of a run of so many jobs, told how many have ended."""

    line: Callable[[str], None]
    progress: Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


def run_name(seed: int) -> str:
    """Return a name that no other test has: the second and the seed."""
    return f"bench-{time.strftime('%y%m%d%H%M%S', time.gmtime())}-{seed:08x}"
