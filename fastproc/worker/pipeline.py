"""Runs the stages over one photo in order, times them, and packs their renditions into the output blob.

Rule 1: a photo ends as Done or as Failed with a code, never as an exception.
Rule 2: nothing is decoded before the gate has judged the header.
Rule 3: any exception is caught at this boundary, since libraries raise undocumented ones (a Latin-1 keyword in a PNG
        is a UnicodeDecodeError); except SystemExit and KeyboardInterrupt, which end the process.
"""

from __future__ import annotations

import re
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from msgspec import structs

from fastproc.core.errors import ImageTooComplex, ProcessingError, TaskError, WorkerOutOfMemory
from fastproc.core.gate.judge import check_size, judge
from fastproc.core.model import Options, Rendition, Report
from fastproc.core.plan import make_plan
from fastproc.ipc.messages import GATE, MAX_MESSAGE_BYTES, Done, Failed
from fastproc.worker import stage_options
from fastproc.worker.encoders import Encoders
from fastproc.worker.returned import checked
from fastproc.worker.source import Source
from fastproc.worker.stage import Encoded, ReadingStage, Stage, Work

MAX_MESSAGE_CHARS = 500
#: Bytes that are kept free in a packet for the warnings about facts that were dropped from it.
WARNING_BYTES = 4096
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


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
                facts[name] = result.facts
                progress(name)
            cpu_ms = round((time.process_time() - started) * 1e3, 3)
            return Done(report=_report(work, facts, outlet, clock.timings_ms(), cpu_ms))
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            return _failed(_failure(error, name), name)

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
        warnings=tuple(work.source.warnings),
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
    if isinstance(error, TaskError):
        return error
    if isinstance(error, MemoryError):
        return WorkerOutOfMemory()
    return ProcessingError.unexpected(error, stage)


def _failed(error: TaskError, stage: str) -> Failed:
    return Failed(code=error.code, message=one_line(error.message), stage=stage, defect=error.defect)


def one_line(text: str) -> str:
    """Return the text without control characters and line breaks, at most 500 characters: it becomes a log line."""
    return _UNPRINTABLE.sub(" ", text).strip()[:MAX_MESSAGE_CHARS]


def bounded(done: Done) -> Done:
    """Return the message, without its largest facts if it would not fit into a packet; warnings name them."""
    report, dropped = done.report, []
    facts = {stage: dict(found) for stage, found in report.facts.items()}
    sizes = sorted(
        (
            (len(msgspec.msgpack.encode(value)), stage, key)
            for stage in facts
            for key, value in facts[stage].items()
        ),
    )
    too_many_bytes = len(msgspec.msgpack.encode(done)) - MAX_MESSAGE_BYTES + WARNING_BYTES
    while too_many_bytes > 0 and sizes:
        size, stage, key = sizes.pop()
        too_many_bytes -= size
        facts[stage][key] = None
        dropped.append(f"{stage}.{key} of {size} bytes did not fit into the report")
    if not dropped:
        return done
    return Done(report=structs.replace(report, facts=facts, warnings=(*report.warnings, *dropped)))
