"""The cost of the jail: a worker's start and a job, WORKER_SANDBOX=enforce and off in turns, minima of the rounds.

    python bench/jail.py [--rounds 5] [--jobs 30] [PHOTO ...]

One line of JSON. Without photos: a JPEG of 12 megapixels and one of 0.3, made here. Times are in milliseconds: `start`
from the spawn to Ready, `job` from the photo in shared memory to its renditions, `cpu` the worker's CPU in it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import time
from collections import defaultdict
from pathlib import Path

import needs
import pyvips

from fastproc.core.model import Options
from fastproc.ipc.messages import Settings
from fastproc.supervisor.workers.pool import Pool

MODES = ("off", "enforce")
TIMEOUT_S = 120.0


def photos(given: list[Path]) -> dict[str, bytes]:
    """Name -> bytes of the photos to process."""
    if given:
        return {path.name: needs.photo(path).read_bytes() for path in given}
    made = {}
    for name, width, height in (("12mp", 4000, 3000), ("0.3mp", 640, 480)):
        grain = pyvips.Image.gaussnoise(width, height, mean=0, sigma=12)
        slope = pyvips.Image.xyz(width, height) * [200 / width, 200 / height]
        picture = slope.bandjoin(slope[0]) + grain + 20
        made[name] = picture.cast("uchar").copy(interpretation="srgb").jpegsave_buffer(Q=90)
    return made


async def measure(mode: str, files: dict[str, bytes], jobs: int) -> dict[str, float]:
    """Start one worker, process each photo `jobs` times, and return the minimum of each time."""
    pool = Pool(1, Settings(options=Options(), sandbox=mode), TIMEOUT_S)  # type: ignore[arg-type]
    found: dict[str, float] = defaultdict(lambda: float("inf"))
    begun = time.perf_counter()
    pool.start()
    await pool.ready.wait()
    found["start_ms"] = (time.perf_counter() - begun) * 1e3
    for name, photo in files.items():
        for _ in range(jobs):
            async with pool.lend() as loan:
                loan.target[: len(photo)] = photo
                loan.size = len(photo)
                begun = time.perf_counter()
                result = await pool.run(loan, None, lambda _stage: None)
                elapsed = (time.perf_counter() - begun) * 1e3
            found[f"job_{name}_ms"] = min(found[f"job_{name}_ms"], elapsed)
            found[f"cpu_{name}_ms"] = min(found[f"cpu_{name}_ms"], result.report.cpu_ms)
    await pool.stop()
    return found


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--jobs", type=int, default=30)
    arguments.add_argument("photos", type=Path, nargs="*")
    given = arguments.parse_args()
    files = photos(given.photos)
    least: dict[str, dict[str, float]] = {mode: {} for mode in MODES}
    for _ in range(given.rounds):
        for mode in MODES:
            for name, value in asyncio.run(measure(mode, files, given.jobs)).items():
                least[mode][name] = min(value, least[mode].get(name, float("inf")))
    rounded = {
        mode: {name: round(value, 2) for name, value in found.items()} for mode, found in least.items()
    }
    about = {"bench": "jail", "kernel": platform.release(), "rounds": given.rounds, "jobs": given.jobs}
    print(json.dumps(about | rounded))


if __name__ == "__main__":
    main()
