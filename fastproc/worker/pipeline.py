"""Run the stages over one photo, in order; time them; pack what they made into the output blob.

Rule 1: nothing leaves as an exception: a photo ends as Done or as Failed with a code.
Rule 2: nothing is decoded before the gate has judged the header.
Rule 3: any exception is caught at this boundary, since libraries raise more than they say (a Latin-1 keyword in a PNG
        is a UnicodeDecodeError); only what ends a process ends this one.
"""

from __future__ import annotations

import re
import resource
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from fastproc.core.errors import ImageTooComplex, ProcessingError, TaskError, WorkerOutOfMemory
from fastproc.core.gate.judge import check_size, judge
from fastproc.core.model import Options, Rendition, Report
from fastproc.core.plan import make_plan
from fastproc.ipc.messages import GATE, MAX_MESSAGE_BYTES, Done, Failed
from fastproc.worker.encoders import Encoders
from fastproc.worker.source import Source
from fastproc.worker.stage import Encoded, Stage, Work

MAX_MESSAGE_CHARS = 500
#: Room that is kept in a packet for the warnings about what was dropped from it.
WARNING_BYTES = 4096
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


class Outlet:
    """Packs renditions into the output blob, one behind the other."""

    def __init__(self, output: memoryview) -> None:
        self._output, self._end = output, 0
        self.renditions: list[Rendition] = []

    def put(self, stage: str, encoded: Encoded) -> None:
        """Raises ProcessingError where the blob is full."""
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


class Pipeline:
    """The stages of a service with their tools, ready to run over one photo after another."""

    def __init__(self, options: Options, stages: Sequence[Stage], encoders: Encoders) -> None:
        self._options, self._stages, self._encoders = options, stages, encoders

    def run(
        self,
        data: memoryview,
        content_type: str | None,
        output: memoryview,
        progress: Callable[[str], None],
        judged: Callable[[int], None] = lambda pixels: None,
    ) -> Done | Failed:
        """Return how it ended; call `progress` with a stage's name when that stage is done.

        `judged` is called once, before anything is decoded, with the pixels that the header promises.
        """
        started, name, outlet = time.process_time(), GATE, Outlet(output)
        facts: dict[str, dict[str, Any]] = {}
        timings_ms: dict[str, float] = {}
        try:
            work = self._open(data, content_type, judged)
            for stage in self._stages:
                name, began = stage.NAME, time.perf_counter()
                result = stage.run(work)
                for encoded in result.renditions:
                    outlet.put(name, encoded)
                facts[name] = result.facts
                timings_ms[name] = round((time.perf_counter() - began) * 1e3, 3)
                progress(name)
            return Done(
                report=Report(
                    width=work.plan.width,
                    height=work.plan.height,
                    format=work.source.header.format,
                    facts=facts,
                    renditions=tuple(outlet.renditions),
                    timings_ms=timings_ms,
                    cpu_ms=round((time.process_time() - started) * 1e3, 3),
                    decodes=work.source.decodes,
                    peak_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                    warnings=tuple(work.source.warnings),
                )
            )
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            failure = _failure(error)
            return Failed(code=failure.code, message=one_line(failure.message), stage=name)

    def _open(self, data: memoryview, content_type: str | None, judged: Callable[[int], None]) -> Work:
        options = self._options
        header = judge(data, options.limits, may_be_cut=options.integrity != "strict")
        judged(header.width * header.height)
        source = Source(data, header, options)
        _judge_again(source, options)
        plan = make_plan(options, *source.sides, len(data))
        return Work(
            source=source, options=options, plan=plan, content_type=content_type, encoders=self._encoders
        )


def _judge_again(source: Source, options: Options) -> None:
    """Hold the decoder's view against the limits: containers crop, turn and grow what the gate saw, hide profiles."""
    seen, judged = source.traits, source.header
    if seen.profile and len(seen.profile) > options.limits.max_icc_bytes:
        raise ImageTooComplex(f"a colour profile of {len(seen.profile)} bytes")
    share = seen.width * seen.height / (judged.width * judged.height)
    again = msgspec.structs.replace(
        judged, width=seen.width, height=seen.height, decoded_bytes=round(judged.decoded_bytes * share)
    )
    check_size(again, options.limits)


def _failure(error: BaseException) -> TaskError:
    if isinstance(error, TaskError):
        return error
    if isinstance(error, MemoryError):
        return WorkerOutOfMemory()
    return ProcessingError(f"{type(error).__name__}: {error}")


def one_line(text: str) -> str:
    """Return the text without control characters and line breaks, at most 500 characters: it becomes a log line."""
    return _UNPRINTABLE.sub(" ", text).strip()[:MAX_MESSAGE_CHARS]


def bounded(done: Done) -> Done:
    """Return the message, without its largest facts if it would not go into a packet; a warning names them."""
    report, dropped = done.report, []
    facts = {stage: dict(found) for stage, found in report.facts.items()}
    sizes = sorted(
        (
            (len(msgspec.msgpack.encode(value)), stage, key)
            for stage in facts
            for key, value in facts[stage].items()
        ),
    )
    excess = len(msgspec.msgpack.encode(done)) - MAX_MESSAGE_BYTES + WARNING_BYTES
    while excess > 0 and sizes:
        size, stage, key = sizes.pop()
        excess -= size
        facts[stage][key] = None
        dropped.append(f"{stage}.{key} of {size} bytes did not fit into the report")
    if not dropped:
        return done
    return Done(report=msgspec.structs.replace(report, facts=facts, warnings=(*report.warnings, *dropped)))
