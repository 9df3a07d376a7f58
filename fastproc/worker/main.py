"""The worker process: set up, warm up, then one task after another from the socket until it closes.

Started by `fastproc.ipc.launch`: `python -I -m fastproc.worker.main FD SETTINGS_JSON`, in an environment of constants.
-I leaves out the current directory, the user's site and PYTHON* variables, so a worker imports what is installed,
which an editable install is too.

Rule 1: the socket is all it has: no file, no server, no credentials, no terminal.
Rule 2: whatever a task may need is imported, opened and tried before Ready, so that a jail can be shut after it.
Rule 3: the end of the channel is the end of the process (exit code 0); SIGTERM ends it; SIGINT is the supervisor's
        to judge; it never outlives its supervisor.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Final

import msgspec

from fastproc.core.model import Limits, Options
from fastproc.ipc.blob import Lanes
from fastproc.ipc.channel import WorkerChannel
from fastproc.ipc.messages import Done, Failed, Progress, Ready, Settings, Task
from fastproc.worker import encoders, heif, image, stage
from fastproc.worker.pipeline import Pipeline, bounded

#: linux/prctl.h
_PR_SET_PDEATHSIG: Final = 1
#: malloc.h: what malloc keeps at the top of its heap, and from which size on it maps and unmaps instead. One photo of
#: 12 megapixels after another is encoded in the same memory, for 20 ms less each than in fresh pages; the memory of a
#: giant goes back (tuning.md, "kept memory").
_M_TRIM_THRESHOLD: Final = (-1, 128 << 20)
_M_MMAP_THRESHOLD: Final = (-3, 32 << 20)
#: The supervisor is gone, so nobody reads this; for people who look.
EXIT_ORPHANED: Final = 3
_WARM_UP_OUTPUT_BYTES: Final = 1 << 20


def main(argv: list[str]) -> int:
    """Serve until the channel closes; return the exit code. Raises ConfigError for an unknown stage."""
    parent = os.getppid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _die_with(parent)
    _keep_memory()
    settings = msgspec.json.decode(argv[2], type=Settings)
    channel = WorkerChannel(int(argv[1]))
    stages = stage.load(settings.options.stages)
    encoder = encoders.choose()
    warm_up(stages, encoder.encode)
    channel.send(
        Ready(
            encoders={"jpeg": encoder.words},
            versions={
                "libvips": image.version(),
                "libheif": heif.version(),
                "python": sys.version.split()[0],
            },
        )
    )
    serve(channel, Pipeline(settings.options, stages, encoder.encode))
    return 0


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
            data, task.content_type, output, lambda name: channel.send(Progress(stage=name))
        )
    return bounded(answer) if isinstance(answer, Done) else answer


def warm_up(stages: tuple[stage.Stage, ...], encode: encoders.JpegEncoder) -> None:
    """Run every stage over a small picture of every format: lazy imports, codec tables, type registries are then done.

    HEVC cannot be written here: HEIC is tried with a file that libheif opens and then refuses.
    """
    options = Options(limits=Limits(formats=("jpeg", "png", "webp", "gif", "avif", "heic"), min_side_px=1))
    everything = msgspec.structs.replace(options, optimize_threshold_bytes=0)
    pipeline = Pipeline(everything, stages, encode)
    output = memoryview(bytearray(_WARM_UP_OUTPUT_BYTES))
    samples = dict(image.samples())
    samples["heic"] = samples["avif"].replace(b"avif", b"heic")
    for sample in samples.values():
        pipeline.run(memoryview(sample), None, output, lambda name: None)


def _die_with(parent: int) -> None:
    """Be killed when the supervisor ends, however it ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    # It may have ended before the call above: then the parent has changed, and no signal will come.
    if os.getppid() != parent:
        sys.exit(EXIT_ORPHANED)


def _keep_memory() -> None:
    libc = ctypes.CDLL(None)
    for parameter, value in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD):
        # Other C libraries have no such knob, and none is needed for being right.
        if hasattr(libc, "mallopt"):
            libc.mallopt(parameter, value)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
