"""Workers that do not compute: each answers with what a real worker said of the same photo, after a sleep.

So the supervisor alone is measured, with the reports, renditions and packets of real photos, beside more workers than
the machine has cores. A photo is known by its size in bytes; one that was not recorded ends its worker.

    python bench/stand_in.py record ANSWERS PHOTO ...              a real worker's answers, into the file ANSWERS
    python bench/stand_in.py service ANSWERS [--sleep-ms 41] [--profile FILE]     `fastproc run` with such workers

PHOTO is a file, `tiny` (160x120, some kilobytes) or `phone` (4032x3024, some 3 MB). The service takes its settings from
the environment, as `fastproc run` does. `--sleep-ms 0`: each photo takes as long as it took when it was recorded.
"""

from __future__ import annotations

import argparse
import array
import contextlib
import io
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

# A worker is started with -I, which leaves this folder out.
sys.path.append(str(Path(__file__).parent))

import needs

# isort: split
import msgspec
from msgspec import Struct

from fastproc.config.settings import load
from fastproc.core.shares import Share
from fastproc.ipc import channel, launch
from fastproc.ipc.blob import Blob, Lanes
from fastproc.ipc.channel import WorkerChannel
from fastproc.ipc.messages import Done, Failed, Ready, Settings, Task, decode_from_worker, encode

_SOURCE_BYTES, _OUTPUT_BYTES = 64 << 20, 80 << 20


class Answer(Struct, frozen=True):
    """What a worker said of one photo: packets with the second at which each came, and its renditions' bytes."""

    packets: tuple[tuple[float, bytes], ...]
    output: bytes


class Answers(Struct, frozen=True):
    """The greeting of a real worker, and its answers by the photo's size."""

    ready: bytes
    by_size: dict[int, Answer]


def picture(name: str) -> bytes:
    """Return the photo of that name, the same bytes each time, or the file."""
    from PIL import Image

    sides = {"tiny": (160, 120), "phone": (4032, 3024)}
    if name not in sides:
        return needs.photo(Path(name)).read_bytes()
    # Blurred noise over finer noise: as many bytes a pixel as a camera's picture has.
    made, dice = Image.new("RGB", sides[name]), random.Random(13)
    for share in (64, 4):
        small = (max(2, sides[name][0] // share), max(2, sides[name][1] // share))
        noise = Image.frombytes("RGB", small, dice.randbytes(3 * small[0] * small[1]))
        made = Image.blend(made, noise.resize(sides[name], Image.Resampling.BICUBIC), 0.5)
    file = io.BytesIO()
    made.save(file, "JPEG", quality=80)
    return file.getvalue()


def record(photos: Sequence[bytes]) -> Answers:
    """Ask a real worker, started as the service starts it with the default settings, about each photo twice."""
    config = load({}, 1)
    settings = Settings(options=config.pipeline.options(), sandbox=config.pool.sandbox)
    ours, theirs = channel.pair()
    source = Blob("source", _SOURCE_BYTES, source=True)
    output = Blob("output", _OUTPUT_BYTES, source=False)
    # The sockets are closed first, whatever happens: that ends the worker.
    with (
        subprocess.Popen(
            launch.command(theirs.fileno(), settings), env=launch.ENVIRONMENT, pass_fds=(theirs.fileno(),)
        ) as worker,
        ours,
        theirs,
    ):
        theirs.close()
        ready = ours.recv(1 << 20)
        if not isinstance(decode_from_worker(ready), Ready):
            sys.exit("the worker did not become ready")
        answers, fds = {}, [output.fd, source.fd]
        for body in photos:
            source.view[: len(body)] = body
            for _ in range(2):  # The second time everything is warm.
                answers[len(body)] = _asked(ours, len(body), output, fds)
                fds = []
        ours.close()
        worker.wait(10)
    source.close()
    output.close()
    return Answers(ready, answers)


def _asked(ours: socket.socket, size: int, output: Blob, fds: list[int]) -> Answer:
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    ours.sendmsg([encode(Task(lane=1, size=size, fresh=(0, 1) if fds else ()))], rights)
    began, packets = time.monotonic(), []
    while True:
        packet = ours.recv(1 << 20)
        packets.append((time.monotonic() - began, packet))
        match decode_from_worker(packet):
            case Done(report=report):
                end = max((r.offset + r.size for r in report.renditions), default=0)
                return Answer(tuple(packets), bytes(output.view[:end]))
            case Failed(message=message):
                sys.exit(f"the worker refuses the photo: {message}")


def serve(fd: int, answers: Answers, sleep_s: float) -> None:
    """Be a worker until the channel closes."""
    end, lanes = WorkerChannel(fd), Lanes()
    sender = socket.socket(fileno=os.dup(fd))
    sender.sendmsg([answers.ready])
    written = 0
    while (received := end.receive()) is not None:
        began = time.monotonic()
        task, fds = received
        lanes.accept(task.fresh, fds)
        answer = answers.by_size[task.size]
        if task.fresh or task.size != written:
            with lanes.output() as output:
                output[: len(answer.output)] = answer.output
            written = task.size
        stretch = sleep_s / answer.packets[-1][0] if sleep_s else 1.0
        for at, packet in answer.packets:
            time.sleep(max(0.0, began + at * stretch - time.monotonic()))
            sender.sendmsg([packet])


def run_service(
    answers: Path, sleep_ms: float, profile: Path | None = None, fd: int = -1, share: str = ""
) -> None:
    """`fastproc run`, whose workers are stand-ins, or one supervisor of several. The product has no such setting."""
    # Not at the top: workers run this file as well, and have no need of it.
    from cpu_stacks import sampled

    from fastproc.commands import run
    from fastproc.commands.cli import main as fastproc

    theirs = [str(answers), "--sleep-ms", str(sleep_ms), "--fd"]

    def command(fd: int, settings: Settings) -> list[str]:
        return [sys.executable, "-I", __file__, "worker", *theirs, str(fd)]

    def supervisor(fd: int, share: Share) -> list[str]:
        told = ["--share", msgspec.json.encode(share).decode()]
        return [sys.executable, "-P", __file__, "supervisor", *theirs, str(fd), *told]

    launch.command, run._supervisor = command, supervisor
    if share:
        run.main(["", str(fd), share])
        return
    sys.argv = ["fastproc", "run"]
    with sampled(profile) if profile else contextlib.nullcontext():
        fastproc()


def main() -> None:
    """Parse the command line and do what it says."""
    parser = argparse.ArgumentParser(description="Workers that sleep, with recorded answers.")
    parser.add_argument("what", choices=("record", "service", "supervisor", "worker"))
    parser.add_argument("answers", type=Path)
    parser.add_argument("photos", nargs="*", metavar="PHOTO", help="a file, `tiny` or `phone`")
    parser.add_argument("--sleep-ms", type=float, default=41.0, help="how long a photo takes; 0: as recorded")
    parser.add_argument("--profile", type=Path, help="raw stacks of the service's main thread, by CPU")
    parser.add_argument("--fd", type=int, default=-1, help=argparse.SUPPRESS)
    parser.add_argument("--share", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.what == "record":
        args.answers.write_bytes(msgspec.msgpack.encode(record([picture(name) for name in args.photos])))
    elif args.what == "service":
        run_service(args.answers.resolve(), args.sleep_ms, args.profile)
    elif args.what == "supervisor":
        run_service(args.answers, args.sleep_ms, fd=args.fd, share=args.share)
    else:
        answers = msgspec.msgpack.decode(args.answers.read_bytes(), type=Answers)
        serve(args.fd, answers, args.sleep_ms / 1000)


if __name__ == "__main__":
    main()
