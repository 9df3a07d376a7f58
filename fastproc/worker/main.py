"""The worker process: set up, warm up, then one task after another from the socket until it closes.

Started by `fastproc.ipc.launch`: `python -I -m fastproc.worker.main FD SETTINGS_JSON`, in an environment of constants.
-I leaves out the current directory, the user's site and PYTHON* variables, so a worker imports what is installed,
which an editable install is too.

Rule 1: the socket is all it has: no file, no server, no credentials, no terminal.
Rule 2: whatever a task may need is imported, opened and tried before the jail is shut, and tried once more after it:
        a jail that is too tight for this machine is found before the first photo, not by it.
Rule 3: the end of the channel is the end of the process (exit code 0); SIGTERM ends it; other signals that stop a
        service are the supervisor's to judge, because a terminal sends them to both; it never outlives its supervisor.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import Final

import msgspec

from fastproc.core.model import Limits, Options
from fastproc.ipc import launch
from fastproc.ipc.blob import Lanes
from fastproc.ipc.channel import WorkerChannel
from fastproc.ipc.messages import GATE, Done, Failed, Progress, Ready, Settings, Task
from fastproc.worker import encoders, heif, stage
from fastproc.worker.jail.jail import Jail, JailError
from fastproc.worker.pipeline import Pipeline, bounded
from fastproc.worker.vips import library, samples

#: malloc.h: what malloc keeps at the top of its heap, and from which size on it maps and unmaps instead. One photo of
#: 12 megapixels after another is encoded in the same memory, for 20 ms less each than in fresh pages; the memory of a
#: giant goes back (tuning.md, "kept memory").
_M_TRIM_THRESHOLD: Final = (-1, 128 << 20)
_M_MMAP_THRESHOLD: Final = (-3, 32 << 20)
#: The supervisor is gone, so nobody reads this; for people who look.
EXIT_ORPHANED: Final = 3
#: The jail is not to be had, or nothing works in it; stderr says what.
EXIT_NO_JAIL: Final = 4
#: Where the channel is, whatever number it came with: the jail's filter and its list of open files are then constant.
_CHANNEL_FD: Final = 3
#: Lanes that a slot may come to have, for the limit on addresses. A few are usual (`supervisor.pool`).
_LANES: Final = 24
#: What a library sets for itself: libvips' limit for temporary files (`vips.library`), Python's locale.
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
        ready, pipeline = _get_ready(settings, jail)
    except ProcessLookupError:
        return EXIT_ORPHANED
    except JailError as error:
        print(error, file=sys.stderr)
        return EXIT_NO_JAIL
    channel.send(ready)
    serve(channel, pipeline)
    return 0


def _get_ready(settings: Settings, jail: Jail) -> tuple[Ready, Pipeline]:
    """Load and try everything, with the jail shut step by step. Raises JailError, ConfigError, ProcessLookupError."""
    lane_bytes = _LANES * settings.options.limits.max_source_bytes
    jail.begin(settings.memory_bytes, lane_bytes, {*launch.ENVIRONMENT, *_SET_BY_LIBRARIES})
    _keep_memory()
    stages = stage.load(settings.options.stages)
    jail.before_threads([*sys.path, str(Path(__file__).parents[1])])
    tools = encoders.Encoders()
    words = tools.words(settings.options)
    outside = warm_up(settings.options, stages, tools)
    versions = {
        "libvips": library.version(),
        "libheif": heif.version(),
        "python": sys.version.split()[0],
    }
    jail.shut(_CHANNEL_FD)
    for name, answer in warm_up(settings.options, stages, tools).items():
        if type(answer) is not type(outside[name]):
            raise JailError(f"WORKER_SANDBOX: a {name} that was well fails in the jail: {answer}")
    ready = Ready(
        encoders=words,
        versions=versions,
        sandbox=jail.words,
        unprotected=tuple(jail.missing),
    )
    return ready, Pipeline(settings.options, stages, tools)


def _moved(fd: int) -> int:
    if fd != _CHANNEL_FD:
        os.dup2(fd, _CHANNEL_FD, inheritable=False)
        os.close(fd)
    return _CHANNEL_FD


def serve(channel: WorkerChannel, pipeline: Pipeline) -> None:
    """Take tasks and answer them, until the channel closes. Raises OSError when the supervisor is gone."""
    lanes = Lanes()
    while (received := channel.receive()) is not None:
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
    return bounded(answer) if isinstance(answer, Done) else answer


def warm_up(
    options: Options, stages: tuple[stage.Stage, ...], tools: encoders.Encoders
) -> dict[str, Done | Failed]:
    """Run every stage over a small picture of every format: lazy imports, codec tables, type registries are then done.

    HEVC cannot be written here: HEIC is tried with a file that libheif opens and then refuses.
    """
    limits = Limits(formats=("jpeg", "png", "webp", "gif", "avif", "heic"), min_side_px=1)
    everything = msgspec.structs.replace(options, limits=limits, optimize_threshold_bytes=0)
    pipeline = Pipeline(everything, stages, tools)
    output = memoryview(bytearray(_WARM_UP_OUTPUT_BYTES))
    files = dict(samples.samples())
    files["heic"] = files["avif"].replace(b"avif", b"heic")
    return {
        name: pipeline.run(memoryview(sample), None, output, lambda name: None)
        for name, sample in files.items()
    }


def _keep_memory() -> None:
    libc = ctypes.CDLL(None)
    for parameter, value in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD):
        # Other C libraries have no such knob, and none is needed for being right.
        if hasattr(libc, "mallopt"):
            libc.mallopt(parameter, value)


if __name__ == "__main__":
    # Not sys.exit: in the jail there is nothing to tidy up, and the interpreter would ask for more than it may have.
    code = main(sys.argv)
    sys.stderr.flush()
    os._exit(code)
