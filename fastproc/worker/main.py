"""Runs the worker process: set up, warm up, then one task after another from the socket until it closes.

Started by `fastproc.ipc.launch`: `python -I -m fastproc.worker.main FD SETTINGS_JSON`, in an environment of constants.
-I leaves out the current directory, the user's site and PYTHON* variables, so a worker imports what is installed,
and an editable install counts as installed.

Rule 1: it has the socket, the shared memory that comes through it, and stderr for its last words; no file, no server,
        no credentials, no terminal.
Rule 2: everything that a task may need is imported, opened and tried before the jail is shut, and tried again in it:
        a jail that is too tight for this machine is found before the first photo.
Rule 3: the process ends when its channel does (exit code 0), and on SIGTERM; it ignores the other signals that stop a
        service, which the supervisor handles because a terminal sends them to both; the kernel kills it when its
        supervisor ends.
"""

from __future__ import annotations

import ctypes
import gc
import math
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from fastproc.core.errors import ProcessingError
from fastproc.core.model import Limits, Options, own_stages
from fastproc.ipc import launch
from fastproc.ipc.blob import Lanes
from fastproc.ipc.channel import WorkerChannel
from fastproc.ipc.messages import GATE, Done, Failed, Progress, Ready, Settings, Task
from fastproc.worker import decoders, encoders, stage
from fastproc.worker.facts import bounded
from fastproc.worker.gain_map.numbers import Channel, checked
from fastproc.worker.gain_map.writing import joined
from fastproc.worker.jail.jail import Jail, JailError
from fastproc.worker.pipeline import Pipeline, failed
from fastproc.worker.vips import library, samples

#: C libraries other than glibc lack what is called here; it changes speed and memory, not results.
_LIBC: Final = ctypes.CDLL(None)
#: malloc.h: how much malloc keeps at the top of its heap, and from which size on it maps and unmaps instead. Photos of
#: 12 megapixels are encoded in the same memory one after another, 20 ms faster each than in fresh pages; the memory of
#: a giant is given back (tuning.md, "kept memory").
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_MMAP_BYTES: Final = 32 << 20
#: After so many milliseconds without a task all kept memory is given back (tuning.md, "given back").
_QUIET_MS: Final = 5_000
#: The supervisor has ended: no program reads this, it is for people.
EXIT_ORPHANED: Final = 3
#: A required part of the jail is not available, or a picture fails in it; stderr says which.
EXIT_NO_JAIL: Final = 4
#: The channel's descriptor, whatever its number at start: the jail's filter and list of open files are then constant.
_CHANNEL_FD: Final = 3
#: Most lanes that a slot is expected to have, for the limit on addresses; a few are usual (`supervisor.workers.loans`).
_LANES: Final = 24
#: Variables that libraries set themselves: libvips' limit for temporary files (`vips.library`), Python's locale.
_SET_BY_LIBRARIES: Final = ("VIPS_DISC_THRESHOLD", "LC_CTYPE")
_WARM_UP_OUTPUT_BYTES: Final = 1 << 20


def main(argv: list[str]) -> int:
    """Serve until the channel closes; return the exit code. Raises ConfigError for an unknown stage."""
    parent = os.getppid()
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    settings = msgspec.json.decode(argv[2], type=Settings)
    channel = WorkerChannel(_moved(int(argv[1])))
    try:
        jail = Jail(settings.sandbox, parent)
        ready, pipeline = _get_ready(settings, jail, _passed(channel, settings.options))
    except ProcessLookupError:
        return EXIT_ORPHANED
    except JailError as error:
        print(error, file=sys.stderr)
        return EXIT_NO_JAIL
    channel.send(ready)
    serve(channel, pipeline)
    return 0


def _passed(channel: WorkerChannel, options: Options) -> Callable[[str], None]:
    """Return what is told each stage that was tried: one of somebody's own may end the process, and is then named."""
    if own_stages(options.stages):
        return lambda name: channel.send(Progress(stage=name))
    return lambda name: None


def _get_ready(settings: Settings, jail: Jail, passed: Callable[[str], None]) -> tuple[Ready, Pipeline]:
    """Load and try everything, and shut the jail step by step. `passed` is told each stage that ends.

    Raises: JailError, ConfigError (unknown stage), ProcessLookupError (no supervisor), RuntimeError (no encoder).
    """
    lane_bytes = _LANES * settings.options.limits.max_source_bytes
    jail.begin(settings.memory_bytes, lane_bytes, {*launch.ENVIRONMENT, *_SET_BY_LIBRARIES})
    keep_memory(settings.kept_bytes)
    stages = stage.load(settings.options.stages)
    library.allow(settings.options.limits.formats)
    versions = decoders.versions()
    jail.before_threads([*sys.path, str(Path(__file__).parents[1])])
    tools = encoders.Encoders()
    chosen = tools.description(settings.options)
    before = warm_up(settings.options, stages, tools, passed)
    jail.shut(_CHANNEL_FD)
    for name, answer in warm_up(settings.options, stages, tools, passed).items():
        if type(answer) is not type(before[name]):
            raise JailError(
                f"WORKER_SANDBOX: a {name} picture that worked before fails in the jail: {answer}"
            )
        if isinstance(answer, Failed) and answer.defect and answer.defect.kind == PermissionError.__name__:
            # Files are closed before the first try. Each photo would fail with it.
            raise JailError(f"PIPELINE: the stage {answer.stage!r} may not do so: {answer.message}")
    # What is loaded stays: a collection after a failed photo then looks at that photo alone (0.1 ms instead of 4).
    gc.collect()
    gc.freeze()
    # What the warm-up alone needed.
    give_memory_back()
    ready = Ready(
        encoders=chosen,
        versions=versions,
        sandbox=jail.description,
        unprotected=tuple(jail.missing),
        formats=(*library.readable(), "heic", "raw"),
    )
    return ready, Pipeline(settings.options, stages, tools)


def _moved(fd: int) -> int:
    if fd != _CHANNEL_FD:
        os.dup2(fd, _CHANNEL_FD, inheritable=False)
        os.close(fd)
    return _CHANNEL_FD


def serve(channel: WorkerChannel, pipeline: Pipeline) -> None:
    """Take tasks and answer them until the channel closes. Raises OSError when the supervisor is gone."""
    lanes = Lanes()
    while True:
        if channel.is_quiet(_QUIET_MS):
            give_memory_back()
        if (received := channel.receive()) is None:
            return
        task, fds = received
        lanes.accept(task.fresh, fds)
        channel.send(_answer(channel, lanes, pipeline, task))


def _answer(channel: WorkerChannel, lanes: Lanes, pipeline: Pipeline, task: Task) -> Done | Failed:
    with lanes.source(task.lane, task.size) as data, lanes.output() as output:
        answer = pipeline.run(
            data,
            task.content_type,
            output,
            lambda name: channel.send(Progress(stage=name)),
            lambda pixels: channel.send(Progress(stage=GATE, pixels=pixels)),
        )
    if isinstance(answer, Done):
        try:
            return bounded(answer)
        except Exception as error:
            # What a stage put beside its facts (the sides of a rendition, say) is no message: the stage's fault alone.
            answer = failed(ProcessingError.unexpected(error), "")
    # An error, its traceback and its frames hold each other, and with them the decoder's memory: 34 MB of a cut
    # 12-megapixel progressive JPEG. Until the collector ran by itself, a dozen of them were held (500 MB).
    gc.collect()
    return answer


def warm_up(
    options: Options,
    stages: tuple[stage.Stage, ...],
    tools: encoders.Encoders,
    passed: Callable[[str], None] = lambda name: None,
) -> dict[str, Done | Failed]:
    """Run every stage over a small picture of every format, so that lazy imports, codec tables and types are loaded.

    There is no HEVC encoder here: HEIC is tried with a file that libheif opens and then refuses. Of gain maps the kind
    is tried that takes the most steps.
    """
    always = ("jpeg", "png", "webp", "gif", "avif", "heic")
    # Where JPEG XL is not allowed, its loader is blocked.
    formats = (*always, "jxl") if "jxl" in options.limits.formats else always
    limits = Limits(formats=formats, min_side_px=1)
    everything = msgspec.structs.replace(options, limits=limits, optimize_threshold_bytes=0)
    everything = msgspec.structs.replace(everything, optimize_min_saving_percent=-math.inf)
    pipeline = Pipeline(everything, stages, tools)
    output = memoryview(bytearray(_WARM_UP_OUTPUT_BYTES))
    files = dict(samples.samples())
    files["heic"] = files["avif"].replace(b"avif", b"heic")
    gain = checked([Channel(minimum=0, maximum=stops) for stops in (1, 2, 3)], (0, 3))
    files["gain map"] = joined(files["p3"], files["p3"], gain)
    answers = {name: pipeline.run(memoryview(sample), None, output, passed) for name, sample in files.items()}
    # What ends the process from here on is no stage's.
    passed(GATE)
    return answers


def keep_memory(kept_bytes: int) -> None:
    """Let malloc keep the memory of usual photos between tasks, up to so many bytes."""
    for parameter, value in (
        (_M_TRIM_THRESHOLD, kept_bytes),
        (_M_MMAP_THRESHOLD, min(_MMAP_BYTES, kept_bytes)),
    ):
        if hasattr(_LIBC, "mallopt"):
            _LIBC.mallopt(parameter, value)


def give_memory_back() -> None:
    """Return all memory to the kernel that malloc keeps and nobody uses."""
    if hasattr(_LIBC, "malloc_trim"):
        _LIBC.malloc_trim(0)


if __name__ == "__main__":
    # Not sys.exit: there is nothing to clean up, and the interpreter's shutdown makes calls that the jail forbids.
    code = main(sys.argv)
    sys.stderr.flush()
    os._exit(code)
