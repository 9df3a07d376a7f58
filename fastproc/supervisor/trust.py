"""What a worker reports is checked here before anything believes it: a worker decodes hostile photos.

Rule 1: bytes are copied out of the shared memory before they are looked at: the worker may still be writing.
Rule 2: every number and name in a report is bounded; a report that breaks a bound condemns its worker.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from fastproc.core.model import Report

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_CONTENT_TYPE = re.compile(r"image/[a-z0-9.+-]{1,32}")
MAX_RENDITIONS = 64
MAX_RENDITION_SIDE_PX = 100_000


class Distrust(Exception):
    """The report says something that no sound worker says."""


def renditions_of(report: Report, output: memoryview, stages: Collection[str]) -> tuple[bytes, ...]:
    """Return the bytes of the report's renditions, in order, from the output blob. Raises Distrust.

    `stages`: the pipeline's; names that are not among them would become metric labels and object keys.
    """
    if not (1 <= report.width <= MAX_RENDITION_SIDE_PX and 1 <= report.height <= MAX_RENDITION_SIDE_PX):
        raise Distrust(f"the photo's sides {report.width} x {report.height}")
    if len(report.renditions) > MAX_RENDITIONS:
        raise Distrust(f"{len(report.renditions)} renditions")
    if len({(r.stage, r.name) for r in report.renditions}) != len(report.renditions):
        raise Distrust("two renditions with one name")
    if not {*report.facts, *report.timings_ms, *(r.stage for r in report.renditions)} <= set(stages):
        raise Distrust("a stage that is not in the pipeline")
    bodies = []
    for rendition in report.renditions:
        if not _NAME.fullmatch(rendition.name):
            raise Distrust("the name of a rendition")
        if not _CONTENT_TYPE.fullmatch(rendition.content_type):
            raise Distrust("the content type of a rendition")
        sides = (rendition.width, rendition.height)
        if not all(1 <= side <= MAX_RENDITION_SIDE_PX for side in sides):
            raise Distrust(f"the sides {sides[0]} x {sides[1]}")
        end = rendition.offset + rendition.size
        if rendition.offset < 0 or rendition.size < 1 or end > len(output):
            raise Distrust(f"bytes {rendition.offset} to {end} of {len(output)}")
        bodies.append(bytes(output[rendition.offset : end]))
    return tuple(bodies)
