"""Checks that a worker's memory does not grow: one real worker process, one photo after another; one JSON line.

The photos of a folder are processed repeatedly; one in BROKEN_EVERY is cut short. Anonymous memory is the worker's own
(without the supervisor's shared memory); growth is the slope over the second half of the run.

    python bench/soak.py FOLDER [--jobs 5000] [--sandbox off]

With --faults it is the whole service that is tried, on embedded servers, with a random fault each half minute
(`soak_faults.py`): one line a minute, the verdict as one JSON line, and exit code 1 if a job was lost, an innocent one
failed or any other invariant of `fastproc/embedded/trial/invariants.py` does not hold. Photos are made where no folder
is given.

    python bench/soak.py --faults [FOLDER] [--minutes 30] [--seed N] [--only NAME ...]
"""

from __future__ import annotations

import argparse
import array
import json
import pathlib
import socket
import statistics
import subprocess
import sys
import time

import needs
from soak_faults import FAULTS, soak

from fastproc.core.model import Limits, Options
from fastproc.ipc import blob, channel, launch, messages
from fastproc.ipc.messages import Done, Failed, Progress, Settings, Task

OUTPUT_BYTES = 64 << 20
#: One photo in so many has only its first half.
BROKEN_EVERY = 50
SAMPLE_EVERY = 10


class Worker:
    """One worker process and the supervisor's end of its socket, blocking."""

    def __init__(self, settings: Settings) -> None:
        self._socket, theirs = channel.pair()
        with theirs:
            command = launch.command(theirs.fileno(), settings)
            self._process = subprocess.Popen(command, env=launch.ENVIRONMENT, pass_fds=(theirs.fileno(),))
        source_bytes = settings.options.limits.max_source_bytes
        self._lanes = blob.SlotLanes(0, source_bytes=source_bytes, output_bytes=OUTPUT_BYTES)
        if not self._socket.recv(messages.MAX_MESSAGE_BYTES):
            raise SystemExit("the worker did not start")

    def run(self, data: bytes) -> Done | Failed:
        lane = self._lanes.lend()
        lane.blob.view[: len(data)] = data
        fresh = self._lanes.deliver(lane)
        task = Task(lane=lane.number, size=len(data), fresh=tuple(each.number for each in fresh))
        rights = array.array("i", [each.blob.fd for each in fresh])
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if fresh else []
        self._socket.sendmsg([messages.encode(task)], ancillary)
        while True:
            packet = self._socket.recv(messages.MAX_MESSAGE_BYTES)
            if not packet:
                raise SystemExit(f"the worker died: {self._process.wait()}")
            answer = messages.decode_from_worker(packet)
            if isinstance(answer, Done | Failed):
                self._lanes.take_back(lane, len(data))
                return answer
            assert isinstance(answer, Progress), answer

    def memory_mb(self, field: str) -> float:
        status = pathlib.Path(f"/proc/{self._process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith(field))) / 1024

    def fds(self) -> int:
        return len(list(pathlib.Path(f"/proc/{self._process.pid}/fd").iterdir()))

    def close(self) -> None:
        self._socket.close()
        self._process.wait()
        self._lanes.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path, nargs="?")
    parser.add_argument("--jobs", type=needs.at_least(4 * SAMPLE_EVERY), default=5000)
    parser.add_argument("--sandbox", choices=("enforce", "best-effort", "off"), default="best-effort")
    parser.add_argument("--faults", action="store_true", help="try the whole service, with faults")
    parser.add_argument("--minutes", type=float, default=30.0, help="with --faults")
    parser.add_argument("--seed", type=int, help="with --faults: of the faults' order; printed at the start")
    parser.add_argument("--only", nargs="+", choices=sorted(FAULTS), help="with --faults: no others")
    given = parser.parse_args()
    if given.folder:
        needs.photos(given.folder)
    if given.faults:
        sys.exit(not soak(given.folder, given.minutes, given.seed, given.only or sorted(FAULTS)))
    if given.folder is None:
        parser.error("a folder of photos is needed")
    photos = [path.read_bytes() for path in needs.photos(given.folder)]
    limits = Limits(max_source_bytes=max(map(len, photos)))
    worker = Worker(Settings(options=Options(limits=limits), sandbox=given.sandbox))
    fds, began, cpu_ms = worker.fds(), time.monotonic(), []
    samples: list[tuple[int, float]] = []
    for number in range(given.jobs):
        photo = photos[number % len(photos)]
        answer = worker.run(photo[: len(photo) // 2] if number % BROKEN_EVERY == BROKEN_EVERY - 1 else photo)
        if isinstance(answer, Done):
            cpu_ms.append(answer.report.cpu_ms)
        if number % SAMPLE_EVERY == 0:
            samples.append((number, worker.memory_mb("RssAnon")))
    half = samples[len(samples) // 2 :]
    quarters = [samples[n * len(samples) // 4 : (n + 1) * len(samples) // 4] for n in range(4)]
    print(
        json.dumps(
            {
                "bench": "soak",
                "jobs": given.jobs,
                "failed": given.jobs - len(cpu_ms),
                "cpu_ms_a_photo": round(statistics.mean(cpu_ms), 1),
                "jobs_a_second": round(given.jobs / (time.monotonic() - began), 1),
                "anonymous_mb_by_quarter": [
                    round(statistics.mean(mb for _, mb in quarter), 1) for quarter in quarters
                ],
                "growth_kb_a_job": round(
                    1024 * statistics.linear_regression(*zip(*half, strict=True)).slope, 3
                ),
                "peak_rss_mb": round(worker.memory_mb("VmHWM"), 1),
                "new_descriptors": worker.fds() - fds,
            }
        )
    )
    worker.close()


if __name__ == "__main__":
    main()
