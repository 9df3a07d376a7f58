"""What a worker says is checked here before anything believes it: a worker decodes hostile photos.

Rule 1: bytes are copied out of the shared memory before they are looked at: the worker may still be writing.
Rule 2: every number, name and text is bounded, facts are JSON that any store takes; what breaks a bound condemns its
        worker, since no sound one says it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

import msgspec

from fastproc.core import facts
from fastproc.core.defects import MAX_FRAMES, NAME, Defect
from fastproc.core.errors import BY_CODE, ImageError, ProcessingError, TaskError, WorkerOutOfMemory, from_code
from fastproc.core.model import Json, Rendition, Report
from fastproc.core.picture_rules import MAX_RENDITIONS, MAX_SIDE_PX, problem
from fastproc.ipc.messages import GATE, Failed

_FORMAT: Final = re.compile(r"[a-z0-9]{1,16}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
MAX_WARNINGS: Final = 200
MAX_TEXT_CHARS: Final = 1000


class Distrust(Exception):
    """A worker says something that no sound worker says."""


def renditions_of(report: Report, output: memoryview, stages: Collection[str]) -> tuple[bytes, ...]:
    """Return the bytes of the report's renditions, in order, from the output blob. Raises Distrust.

    `stages`: the pipeline's; names that are not among them would become metric labels and object keys.
    """
    if not (1 <= report.width <= MAX_SIDE_PX and 1 <= report.height <= MAX_SIDE_PX):
        raise Distrust(f"the photo's sides {report.width} x {report.height}")
    if not _FORMAT.fullmatch(report.format):
        raise Distrust("the name of the format")
    if not {*report.facts, *report.timings_ms, *(r.stage for r in report.renditions)} <= set(stages):
        raise Distrust("a stage that is not in the pipeline")
    measured = (*report.timings_ms.values(), report.cpu_ms, report.decodes, report.peak_rss_bytes)
    if not all(0 <= number <= facts.MAX_NUMBER for number in measured):
        raise Distrust("a time or a count")
    if len(report.warnings) > MAX_WARNINGS or not all(_is_line(warning) for warning in report.warnings):
        raise Distrust("the warnings")
    _check_facts(report.facts)
    return _bodies(report.renditions, output)


def failure_of(failed: Failed, stages: Collection[str]) -> TaskError:
    """Return the error that a worker reports. Raises Distrust for a code that is not a worker's to give, or no line."""
    leaf = BY_CODE.get(failed.code, TaskError)
    if not (issubclass(leaf, ImageError) or leaf in (WorkerOutOfMemory, ProcessingError)):
        raise Distrust("the code of a failure")
    if failed.stage not in {"", GATE, *stages} or not _is_line(failed.message):
        raise Distrust("the words of a failure")
    if failed.defect:
        _check_defect(failed.defect, failed.stage)
    error = from_code(failed.code, failed.message, failed.stage)
    error.defect = failed.defect
    return error


def _check_defect(defect: Defect, stage: str) -> None:
    names = (defect.kind, *(name for frame in defect.frames for name in (frame.module, frame.function)))
    if len(defect.frames) > MAX_FRAMES or not all(NAME.fullmatch(name) for name in names):
        raise Distrust("the names of a traceback")
    if defect.stage != stage or not all(0 <= frame.line <= facts.MAX_NUMBER for frame in defect.frames):
        raise Distrust("the place of a defect")


def _bodies(renditions: tuple[Rendition, ...], output: memoryview) -> tuple[bytes, ...]:
    if len(renditions) > MAX_RENDITIONS:
        raise Distrust(f"{len(renditions)} renditions")
    if len({(r.stage, r.name) for r in renditions}) != len(renditions):
        raise Distrust("two renditions with one name")
    # Before anything is copied: the same bytes under 64 names would be 64 copies of the blob.
    if sum(rendition.size for rendition in renditions) > len(output):
        raise Distrust("renditions of more bytes than there are")
    bodies = []
    for rendition in renditions:
        if wrong := problem(rendition.name, rendition.width, rendition.height, rendition.content_type):
            raise Distrust(f"a rendition: {wrong}")
        end = rendition.offset + rendition.size
        if rendition.offset < 0 or rendition.size < 1 or end > len(output):
            raise Distrust(f"bytes {rendition.offset} to {end} of {len(output)}")
        bodies.append(bytes(output[rendition.offset : end]))
    return tuple(bodies)


def _check_facts(found: dict[str, dict[str, Json]]) -> None:
    for named in found.values():
        for key, value in named.items():
            if fault := facts.fault_of_key(key) or facts.fault_of(value):
                raise Distrust(f"{fault} in the facts")
    if len(msgspec.json.encode(found)) > facts.MAX_BYTES:
        raise Distrust(f"facts of more than {facts.MAX_BYTES} bytes")


def _is_line(text: str) -> bool:
    return len(text) <= MAX_TEXT_CHARS and not _CONTROL.search(text)
