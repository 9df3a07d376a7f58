"""Times what a worker does to one photo, step by step, from memory, in this process and on one thread's libvips.

Run by scripts/bench kernels; never a gate. Pictures are painted by tests/pictures.py and the demo: no grain of a real
sensor, so compare one run with another, not with a camera's photos (kernels.py does that, and judges quality).
"""

from __future__ import annotations

import io
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from fastproc.core.gate.judge import judge
from fastproc.core.model import Options
from fastproc.core.plan import make_plan
from fastproc.demo import highlands
from fastproc.worker.encoders import Encoders
from fastproc.worker.source import Source
from fastproc.worker.stage import Stage, Work, load
from fastproc.worker.vips.resampling import in_memory
from tests import pictures

#: 3 megapixels: the size of a phone's photo as applications upload it.
SIDES = (2048, 1536)
STAGES = ("validation", "metadata", "thumbnails", "optimization", "placeholder", "phash")
OPTIONS = Options(stages=STAGES, optimize_threshold_bytes=0, optimize_min_saving_percent=-1e9)
ENCODERS = Encoders()


@pytest.fixture(scope="module")
def photo() -> memoryview:
    """A JPEG with a camera's EXIF, stored on its side."""
    buffer = io.BytesIO()
    highlands.lake(SIDES, Random(1)).save(buffer, "JPEG", quality=92, exif=pictures.camera_exif())
    return memoryview(buffer.getvalue())


def opened(photo: memoryview) -> Source:
    return Source(photo, judge(photo, OPTIONS.limits), OPTIONS)


def test_open(benchmark: Any, photo: memoryview) -> None:
    assert sorted(benchmark(opened, photo).sides) == sorted(SIDES)


def test_decode_to_the_largest_thumbnail(benchmark: Any, photo: memoryview) -> None:
    base = benchmark(lambda: opened(photo).base)
    assert max(base.width, base.height) == 600


def test_exif(benchmark: Any, photo: memoryview) -> None:
    def read() -> dict[str, Any]:
        source = opened(photo)
        return source.exif

    assert benchmark(read)["model"] == "Pocket 3"


@pytest.mark.parametrize("side", [150, 300, 600])
@pytest.mark.parametrize("format", ["jpeg", "webp", "avif"])
def test_encode(benchmark: Any, photo: memoryview, format: Any, side: int) -> None:
    source = opened(photo)
    plan = make_plan(OPTIONS, *source.sides, len(photo))
    target = next(each for each in plan.thumbnails if max(each.width, each.height) == side)
    picture = source.fitted(target.width, target.height)
    assert benchmark(ENCODERS.encode, picture, format, target.quality)


def test_encode_full_size(benchmark: Any, photo: memoryview) -> None:
    picture = in_memory(opened(photo).stream())
    assert benchmark(ENCODERS.encode, picture, "jpeg", OPTIONS.optimize_quality)


@pytest.mark.parametrize("name", STAGES)
def test_stage(benchmark: Any, photo: memoryview, name: str) -> None:
    """What a stage adds to a photo that validation has already decoded."""
    stages: dict[str, Stage] = {stage.NAME: stage for stage in load(STAGES)}

    def fresh() -> tuple[tuple[Work], dict[str, Any]]:
        source = opened(photo)
        source.base  # noqa: B018  # decoded here, outside the time that is taken
        plan = make_plan(OPTIONS, *source.sides, len(photo))
        work = Work(source=source, options=OPTIONS, plan=plan, content_type="image/jpeg", encoders=ENCODERS)
        return (work,), {}

    run: Callable[[Work], Any] = stages[name].run
    run(*fresh()[0])
    benchmark.pedantic(run, setup=fresh, rounds=20)
