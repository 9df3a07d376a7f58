"""What a worker takes for photos of four sizes, and the table of hosts that follows (Sizing in tuning.md), as Markdown.

One photo is scaled to each size and given to a fresh worker, with the default settings, several times: CPU is the mean
without the first time; memory is the worker's PSS afterwards and the most that was resident (VmHWM), which includes the
photo itself.
The supervisors' CPU a job comes from `bench/supervisor.py` (`all_ms_per_job`).

photos/s = cores x 1000 / (worker ms + supervisor ms): there are as many supervisors as that takes (`SUPERVISORS`);
memory   = supervisors + cores x most resident + 2 x cores x the photo's bytes (512 MiB at most). A real host does
less by what its other programs take, and by hyperthreads that are no cores.

    python bench/sizing.py PHOTO [--times 6] [--supervisor-ms 2.3 4.1] [--cores 2 4 8 16 32 64]

`--supervisor-ms`: for small and for all larger photos.
"""

from __future__ import annotations

import argparse
import array
import io
import json
import socket
import subprocess
import sys
from pathlib import Path

import needs
import psutil
from msgspec import Struct
from PIL import Image

from fastproc.config.settings import load
from fastproc.core.admission import SUPERVISOR_BYTES
from fastproc.core.shares import WORKERS_PER_SUPERVISOR
from fastproc.ipc import channel, launch
from fastproc.ipc.blob import Blob
from fastproc.ipc.messages import Done, Failed, Settings, Task, decode_from_worker, encode

#: Name -> longer side in pixels, at 4 to 3: half a megapixel, 12, 24 and 45.
SIZES = {"small (800 px)": 800, "phone (12 MP)": 4032, "camera (24 MP)": 5657, "camera (45 MP)": 7746}
STAGED_BYTES = 512 << 20


class Found(Struct):
    """What one size takes."""

    name: str
    photo_bytes: int
    cpu_ms: float
    pss_bytes: int
    peak_bytes: int


def scaled(photo: Image.Image, side: int) -> bytes:
    """Return the photo as a JPEG with this longer side."""
    size = (round(side * photo.width / max(photo.size)), round(side * photo.height / max(photo.size)))
    file = io.BytesIO()
    photo.resize(size, Image.Resampling.LANCZOS).save(file, "JPEG", quality=88)
    return file.getvalue()


def ask(ours: socket.socket, size: int, fds: list[int]) -> None:
    """Have the photo processed once."""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    ours.sendmsg([encode(Task(lane=1, size=size, fresh=(0, 1) if fds else ()))], rights)
    while not isinstance(message := decode_from_worker(ours.recv(1 << 20)), Done):
        if isinstance(message, Failed):
            sys.exit(f"the worker refuses the photo: {message.message}")


def measure(name: str, body: bytes, times: int) -> Found:
    """Start a worker, give it the photo, and see what it took."""
    config = load({}, 1)
    settings = Settings(options=config.pipeline.options(), sandbox=config.pool.sandbox)
    ours, theirs = channel.pair()
    source, output = Blob("source", 64 << 20, source=True), Blob("output", 80 << 20, source=False)
    source.view[: len(body)] = body
    command = launch.command(theirs.fileno(), settings)
    # The sockets are closed first, whatever happens: that ends the worker.
    with (
        subprocess.Popen(command, env=launch.ENVIRONMENT, pass_fds=(theirs.fileno(),)) as worker,
        ours,
        theirs,
    ):
        theirs.close()
        ours.recv(1 << 20)  # Ready.
        process = psutil.Process(worker.pid)
        ask(ours, len(body), [output.fd, source.fd])
        before = sum(process.cpu_times()[:2])
        for _ in range(times):
            ask(ours, len(body), [])
        cpu_ms = 1000 * (sum(process.cpu_times()[:2]) - before) / times
        pss = process.memory_full_info().pss
        status = Path(f"/proc/{worker.pid}/status").read_text().split()
        peak = int(status[status.index("VmHWM:") + 1]) << 10
        ours.close()
        worker.wait(10)
    source.close()
    output.close()
    return Found(name, len(body), round(cpu_ms, 1), pss, peak)


def rows(found: list[Found], args: argparse.Namespace) -> list[str]:
    """The table of hosts: a row a number of cores, photos a second and memory for each size."""
    lines = ["| cores | " + " | ".join(each.name for each in found) + " |", "| --- |" + " --- |" * len(found)]
    for cores in args.cores:
        cells = []
        for number, each in enumerate(found):
            per_s = cores * 1000 / (each.cpu_ms + args.supervisor_ms[number > 0])
            staged = min(STAGED_BYTES, 2 * cores * each.photo_bytes)
            supervisors = -(-cores // WORKERS_PER_SUPERVISOR) * SUPERVISOR_BYTES
            memory = supervisors + cores * each.peak_bytes + staged
            cells.append(f"{per_s:.0f}/s, {memory / 2**30:.1f} GiB")
        lines.append(f"| {cores} | " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    """Parse the command line, measure, print a JSON line a size and the table."""
    parser = argparse.ArgumentParser(
        description="What photos of four sizes take, and how large a host must be."
    )
    parser.add_argument("photo", type=Path)
    parser.add_argument("--times", type=int, default=6)
    parser.add_argument("--supervisor-ms", type=float, nargs=2, default=[2.3, 4.1])
    parser.add_argument("--cores", type=int, nargs="+", default=[2, 4, 8, 16, 32, 64])
    args = parser.parse_args()
    found = []
    with Image.open(needs.photo(args.photo)) as photo:
        for name, side in SIZES.items():
            found.append(measure(name, scaled(photo.convert("RGB"), side), args.times))
            mb = {"pss_mb": round(found[-1].pss_bytes / 1e6), "peak_mb": round(found[-1].peak_bytes / 1e6)}
            line = {
                "size": name,
                "photo_mb": round(found[-1].photo_bytes / 1e6, 2),
                "cpu_ms": found[-1].cpu_ms,
            }
            print(json.dumps({**line, **mb}), flush=True)
    print("\n".join(rows(found, args)))


if __name__ == "__main__":
    main()
