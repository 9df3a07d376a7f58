"""Runs one stage over one photo in the caller's process: for the tests of whoever writes a stage.

Rule 1: the pipeline is the service's own; what is missing here is the jail, and the process that it protects.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct, structs

from fastproc.core.errors import from_code
from fastproc.core.model import Options, Report
from fastproc.ipc.messages import Failed
from fastproc.worker.encoders import Encoders
from fastproc.worker.pipeline import Pipeline
from fastproc.worker.stage import Stage, load

#: As much as a photo of the default MAX_SOURCE_BYTES may have, and the room that a service adds.
_OUTPUT_BYTES: Final = 80 << 20


class Tried(Struct, frozen=True):
    """What came of it: facts by stage, the bytes of each rendition by its name, and the worker's whole report."""

    facts: Mapping[str, Mapping[str, Any]]
    files: Mapping[str, bytes]
    report: Report


def tried(
    stage: Stage, photo: bytes, *, settings: Mapping[str, str] | None = None, options: Options | None = None
) -> Tried:
    """Run `validation` and the stage over the photo. `settings`: what STAGE_<NAME>_<SETTING> would be, as texts.

    Raises: the error that the photo would fail with in service (a leaf of TaskError); ValueError for wrong settings.
    """
    given = options or Options()
    given = structs.replace(given, stage_settings={stage.NAME: dict(settings or {})})
    output = memoryview(bytearray(_OUTPUT_BYTES))
    pipeline = Pipeline(given, (*load(["validation"]), stage), Encoders())
    answer = pipeline.run(memoryview(photo).toreadonly(), None, output, lambda name: None)
    if isinstance(answer, Failed):
        raise from_code(answer.code, answer.message, answer.stage)
    report = answer.report
    files = {each.name: bytes(output[each.offset : each.offset + each.size]) for each in report.renditions}
    return Tried(report.facts, files, report)
