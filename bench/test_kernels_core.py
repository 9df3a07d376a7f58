"""Times the decisions of `core`, one call each: the gate by format, the plan, a retry, the fleet's tick.

Run by scripts/bench kernels; never a gate. A whole photo's cost, beside other programs', is kernels.py's subject.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fastproc.core import retry
from fastproc.core.errors import StorageUnavailable
from fastproc.core.fleet import Fleet, Rules
from fastproc.core.gate.judge import judge
from fastproc.core.model import Backoff, Job, Limits, Options, Retry
from fastproc.core.plan import make_plan
from tests import pictures

LIMITS = Limits(formats=("jpeg", "png", "webp", "heic", "avif", "gif"), min_side_px=1)
FILES: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: pictures.jpeg(3000, 2000),
    "jpeg-progressive": lambda: pictures.jpeg(3000, 2000, progressive=True),
    "png": lambda: pictures.png(1200, 800),
    "webp": lambda: pictures.webp(1200, 800),
    "gif": lambda: pictures.gif(640, 480),
    "avif": lambda: pictures.avif(640, 480),
    "heic": lambda: pictures.heif(4032, 3024),
}


@pytest.mark.parametrize("name", FILES)
def test_gate(benchmark: Any, name: str) -> None:
    data = memoryview(FILES[name]())
    assert benchmark(judge, data, LIMITS).format == name.partition("-")[0]


def test_plan(benchmark: Any) -> None:
    assert len(benchmark(make_plan, Options(), 4032, 3024, 5 << 20).thumbnails) == 3


def test_retry(benchmark: Any) -> None:
    job = Job(
        id="1",
        name="photo",
        token="t",
        photo_id="p",
        s3_key="k",
        bucket="b",
        attempt=2,
        attempts=5,
        backoff=Backoff(kind="exponential", delay_ms=1000, jitter=0.5),
    )
    error = StorageUnavailable("timed out")

    def decide() -> object:
        return retry.decide(job, retry.final_error(job, error), 0.5)

    assert benchmark(decide) == Retry(1500)


def test_fleet_tick_with_nothing_due(benchmark: Any) -> None:
    fleet = Fleet(64, Rules())
    fleet.tick(0.0)
    for slot in range(64):
        fleet.ready(slot, 0.0)
        fleet.assign(slot, slot + 1, 1e9, 0.0)
    assert benchmark(fleet.tick, 1.0) == []
