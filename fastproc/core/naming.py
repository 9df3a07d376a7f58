"""Every string that the outside world sees: object keys, event types, progress marks, reasons.

Contract: docs/contract.md, Objects, Events, Job. Redis key names are BullMQ's and are in `bullmq.protocol`.
"""

from __future__ import annotations

import re
from typing import Final

from fastproc.core.model import Rendition
from fastproc.core.picture_rules import FORMATS

#: A photo's id, a bucket's name: safe as part of an object key and of a file name.
SAFE_NAME: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,128}")

STARTED: Final = "photo.processing.started"
PROGRESS: Final = "photo.processing.progress"
COMPLETED: Final = "photo.processing.completed"
FAILED: Final = "photo.processing.failed"

#: Progress percentages of the steps that are not stages.
ACCEPTED_PERCENT: Final = 10
FETCHED_PERCENT: Final = 25
PROCESSED_PERCENT: Final = 90
RECORDED_PERCENT: Final = 95
DONE_PERCENT: Final = 100

#: Progress percentages of the contract, by stage. Other stages are spread evenly (stage_percent).
STAGE_PERCENT: Final = {"validation": 35, "metadata": 45, "thumbnails": 75, "optimization": 90}

#: Of a name that differs from the format's.
_SUFFIXES: Final = {"jpeg": "jpg"}


def stage_percent(stages: tuple[str, ...], stage: str) -> int:
    """Return the progress after `stage`: the contract's mark, or an even share of 25..90 for any other stage.

    It never decreases from stage to stage, whatever their order.
    """
    done = stages.index(stage) + 1
    marks = [STAGE_PERCENT[name] for name in stages[:done] if name in STAGE_PERCENT]
    if stage not in STAGE_PERCENT:
        span = PROCESSED_PERCENT - FETCHED_PERCENT
        ceiling = min(
            (STAGE_PERCENT[name] for name in stages[done:] if name in STAGE_PERCENT),
            default=PROCESSED_PERCENT,
        )
        marks.append(min(FETCHED_PERCENT + span * done // len(stages), ceiling))
    return max(marks)


def is_news(stages: tuple[str, ...], stage: str) -> bool:
    """Return whether the end of `stage` raises the progress: stages after the contract's last one do not."""
    at = stages.index(stage)
    return at == 0 or stage_percent(stages, stage) > stage_percent(stages, stages[at - 1])


def suffix(rendition: Rendition) -> str:
    """Return the file name suffix for the rendition, without the dot."""
    format = FORMATS.get(rendition.content_type, "bin")
    return _SUFFIXES.get(format, format)


def object_key(rendition: Rendition, photo_id: str, timestamp_ms: int) -> str:
    """Return the rendition's key. `timestamp_ms` is the job's own, so that a retry overwrites and leaves no orphan."""
    ending = suffix(rendition)
    if rendition.stage == "thumbnails":
        return f"thumbnails/{photo_id}/{rendition.name}_{timestamp_ms}.{ending}"
    if rendition.stage == "optimization":
        return f"photos/optimized/{photo_id}_optimized.{ending}"
    return f"photos/{rendition.stage}/{photo_id}/{rendition.name}_{timestamp_ms}.{ending}"


def event_id(job_id: str, type_: str, attempt: int, mark: int | None = None) -> str:
    """Return an id that is the same when the same event is sent again, so that a listener can drop duplicates.

    A completed event has no attempt in it: the job completes once. `mark` is the percentage of a progress event.
    """
    short = type_.rpartition(".")[2]
    if type_ == COMPLETED:
        return f"{job_id}:{short}"
    return f"{job_id}:{short}:{attempt}" + ("" if mark is None else f":{mark}")
