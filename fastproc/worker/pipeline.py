"""Runs the stages over one photo in order, times them, and packs their renditions into the output blob.

Rule 1: a photo ends as Done or as Failed with a code, never as an exception.
Rule 2: nothing is decoded before the gate has judged the header.
Rule 3: any exception is caught at this boundary, since libraries raise undocumented ones (a Latin-1 keyword in a PNG
        is a UnicodeDecodeError); except SystemExit and KeyboardInterrupt, which end the process.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from msgspec import structs

from fastproc.core.errors import (
    BY_CODE,
    ImageError,
    ImageTooComplex,
    ProcessingError,
    TaskError,
    WorkerOutOfMemory,
)
from fastproc.core.gate.judge import check_size, judge
from fastproc.core.model import Options, Rendition, Report
from fastproc.core.plan import make_plan
from fastproc.ipc.messages import GATE, Done, Failed
from fastproc.worker import stage_options
from fastproc.worker.encoders import Encoders
from fastproc.worker.facts import lines, one_line, sound
from fastproc.worker.returned import checked
from fastproc.worker.source import Source
from fastproc.worker.stage import Encoded, ReadingStage, Stage, Work

IMPORTS: Final = "; what a stage imports belongs to its module's top"


class Outlet:
    """Packs renditions into the output blob, one after the other."""

    def __init__(self, output: memoryview) -> None:
        self._output, self._end = output, 0
        self.renditions: list[Rendition] = []

    def put(self, stage: str, encoded: Encoded) -> None:
        """Raises ProcessingError if the blob is full."""
        offset, end = self._end, self._end + len(encoded.data)
        if end > len(self._output):
            raise ProcessingError(
                f"{encoded.name} ends at {end}, the output blob at {len(self._output)} bytes"
            )
        self._output[offset:end] = encoded.data
        self._end = end
        self.renditions.append(
            Rendition(
                stage=stage,
                name=encoded.name,
                width=encoded.width,
                height=encoded.height,
                offset=offset,
                size=len(encoded.data),
                content_type=encoded.content_type,
            )
        )


class Clock:
    """Wall time by stage. What a reader takes in another stage's decode is counted for the reader's stage."""

    def __init__(self, stages: Sequence[str]) -> None:
        self._seconds = dict.fromkeys(stages, 0.0)

    @contextmanager
    def running(self, stage: str, source: Source) -> Iterator[None]:
        """Count the block's time."""
        began, before = time.perf_counter(), source.shared_s
        yield
        self._seconds[stage] += time.perf_counter() - began
        ahead = source.shared_s - before
        if ahead:
            self._seconds[stage] -= ahead
            self._seconds[source.shared_with] += ahead

    def timings_ms(self) -> dict[str, float]:
        """Return milliseconds by stage."""
        return {stage: round(seconds * 1e3, 3) for stage, seconds in self._seconds.items()}


class Pipeline:
    """A service's stages and their tools, ready to run over one photo after another."""

    def __init__(self, options: Options, stages: Sequence[Stage], encoders: Encoders) -> None:
        """Raises ValueError for settings that a stage does not take."""
        self._options, self._encoders = options, encoders
        own = options.stage_settings
        self._stages = [(stage, stage_options.settings(stage, own.get(stage.NAME, {}))) for stage in stages]
        self._reading = {stage.NAME: stage.reader for stage in stages if isinstance(stage, ReadingStage)}

    def run(
        self,
        data: memoryview,
        content_type: str | None,
        output: memoryview,
        progress: Callable[[str], None],
        on_header: Callable[[int], None] = lambda pixels: None,
    ) -> Done | Failed:
        """Return how it ended; call `progress` with a stage's name when that stage is done.

        `on_header` is called once, before anything is decoded, with the number of pixels that the header gives.
        """
        started, name, outlet = time.process_time(), GATE, Outlet(output)
        facts: dict[str, dict[str, Any]] = {}
        clock = Clock([stage.NAME for stage, _ in self._stages])
        try:
            work = self._open(data, content_type, on_header)
            runs = [(stage, _with(settings, work)) for stage, settings in self._stages]
            for stage, own in runs:
                if reader := self._reading.get(name := stage.NAME):
                    work.source.share(name, reader(own))
            for stage, own in runs:
                name = stage.NAME
                with clock.running(name, work.source):
                    result = checked(stage.run(own), already=len(outlet.renditions))
                    for encoded in result.renditions:
                        outlet.put(name, encoded)
                    facts[name] = sound(name, result.facts, work.source.warnings)
                progress(name)
            cpu_ms = round((time.process_time() - started) * 1e3, 3)
            return Done(report=_report(work, facts, outlet, clock.timings_ms(), cpu_ms))
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            return failed(_failure(error, name), name)

    def _open(self, data: memoryview, content_type: str | None, on_header: Callable[[int], None]) -> Work:
        options = self._options
        header = judge(data, options.limits, may_be_cut=options.integrity != "strict")
        on_header(header.width * header.height)
        source = Source(data, header, options)
        _check_as_opened(source, options)
        plan = make_plan(options, *source.sides, len(data))
        return Work(
            source=source, options=options, plan=plan, content_type=content_type, encoders=self._encoders
        )


def _with(settings: Any, work: Work) -> Work:
    return structs.replace(work, settings=settings) if settings else work


def _report(
    work: Work, facts: dict[str, Any], outlet: Outlet, timings_ms: dict[str, float], cpu_ms: float
) -> Report:
    return Report(
        width=work.plan.width,
        height=work.plan.height,
        format=work.source.header.format,
        facts=facts,
        renditions=tuple(outlet.renditions),
        timings_ms=timings_ms,
        cpu_ms=cpu_ms,
        decodes=work.source.decodes,
        peak_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        warnings=lines(work.source.warnings),
    )


def _check_as_opened(source: Source, options: Options) -> None:
    """Check the decoder's view against the limits: containers crop, turn or enlarge the picture, and hide profiles."""
    seen, header = source.traits, source.header
    if seen.profile and len(seen.profile) > options.limits.max_icc_bytes:
        raise ImageTooComplex(f"a colour profile of {len(seen.profile)} bytes")
    share = seen.width * seen.height / (header.width * header.height)
    as_opened = structs.replace(
        header, width=seen.width, height=seen.height, decoded_bytes=round(header.decoded_bytes * share)
    )
    check_size(as_opened, options.limits)


def _failure(error: BaseException, stage: str) -> TaskError:
    # What a worker may say (`trust`): another code, or one of a stage's own, would condemn it. A class of a stage's own
    # may have no message.
    if isinstance(error, ImageError | ProcessingError | WorkerOutOfMemory):
        leaf = BY_CODE.get(error.code)
        if leaf and isinstance(error, leaf) and error.args and isinstance(error.args[0], str):
            return error
    if isinstance(error, MemoryError):
        return WorkerOutOfMemory()
    # In the jail a module that is installed is not found either.
    hint = IMPORTS if isinstance(error, ImportError) else ""
    return ProcessingError.unexpected(error, stage, hint)


def failed(error: TaskError, stage: str) -> Failed:
    """Return the message of an error; `stage` is where it happened."""
    return Failed(code=error.code, message=one_line(error.message), stage=stage, defect=error.defect)
