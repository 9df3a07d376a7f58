"""The cost of a photo, step by step, compared with sharp and plain pyvips; and the quality of the outputs.

CPU is process time, user and system, in ms; the minimum of `--rounds` counts. Kernels run one by one from memory, so
their sum is the pipeline's cost if nothing were shared and nothing wasted. All systems make the same outputs
in one run on one core; the machine may be shared, so compare ratios. `worker` is a real worker process, jailed as in
the service, with tasks over its socket. sharp comes from tests/golden/node_modules (scripts/test installs it).

Quality is SSIMULACRA2 (the Python package of that name, a port of the original) against the photo scaled from all of
its pixels by Pillow's Lanczos, which places every pixel exactly: sharp's own box filter drops columns, which at 150
pixels costs more than any encoder. A full-size copy is scored in three windows of 768 pixels, a small thumbnail
together with its mirror images. The targets for bytes and
scores compare encoders: with mozjpeg, all its options on, at the same quality number and for the same pixels.

    python bench/kernels.py FOLDER [--rounds 5] [--json FILE] [--keep FOLDER] [--no-quality]
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import needs
import numpy as np
from PIL import Image, ImageOps
from ssimulacra2 import compute_ssimulacra2

from fastproc.config.settings import load
from fastproc.core.admission import KEPT_BYTES
from fastproc.core.gate.judge import judge
from fastproc.core.model import Options
from fastproc.core.plan import fit, make_plan, reduction
from fastproc.ipc.messages import Done
from fastproc.parts import started_pool
from fastproc.worker import stage
from fastproc.worker.colour import statistics
from fastproc.worker.encoders import Encoders
from fastproc.worker.main import keep_memory
from fastproc.worker.pipeline import Pipeline
from fastproc.worker.source import Source
from fastproc.worker.stage import Work
from fastproc.worker.vips import opening, resampling, strips

HERE = Path(__file__).parent
NODE_MODULES = HERE.parent / "tests/golden/node_modules"
PEERS = {
    "sharp": ["node", str(HERE / "peers/sharp.js")],
    "plain pyvips": [sys.executable, str(HERE / "peers/plain_pyvips.py")],
}
OUTPUTS = ("thumb_sm", "thumb_md", "thumb_lg", "optimized")
WINDOW_PX = 768
#: Fewer pixels leave SSIMULACRA2 without its last scales, and its weights in the wrong places: 150x112 pixels score 88
#: points less than 150x113.
LEAST_PX = 256
OUTPUT_BYTES = 64 << 20
#: The targets: at most so many ms; at most so many times the kernels' sum; sharp takes at least so many times as long.
#: (110 ms is for a machine where sharp takes 1046.) Bytes: at most so many times mozjpeg's; scores: at most so much
#: lower.
PIPELINE_MS, OF_SUM, SHARP_RATIO = 110.0, 1.15, 8.0
BYTES = {name: 1.02 if name != "optimized" else 1.0 for name in OUTPUTS}
SCORE = {name: 1.0 if name != "optimized" else 0.5 for name in OUTPUTS}

Costs = dict[str, float]


def mozjpeg(picture: Any, quality: int) -> bytes:
    """Return a JPEG as sharp's `mozjpeg: true` makes it."""
    switches = ("interlace", "optimize_coding", "trellis_quant", "overshoot_deringing", "optimize_scans")
    options = dict.fromkeys(switches, True) | {"quant_table": 3, "subsample_mode": "on", "keep": "none"}
    return bytes(picture.jpegsave_buffer(Q=quality, **options))


def cpu_ms(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the process time of a call, and its result."""
    before = time.process_time()
    result = work()
    return 1e3 * (time.process_time() - before), result


def least(rounds: Iterable[Costs]) -> Costs:
    """Return the minimum of each kernel."""
    found = list(rounds)
    return {kernel: min(costs[kernel] for costs in found) for kernel in found[0]}


def _fitted(picture: Any, size: tuple[int, int]) -> Any:
    return resampling.in_memory(resampling.resized(picture, *size))


class Bench:
    """The kernels of one process, warmed up like a worker."""

    def __init__(self) -> None:
        keep_memory(KEPT_BYTES)
        self.options = Options()
        self.encoders = Encoders()
        self.stages = stage.load(self.options.stages)
        self.pipeline = Pipeline(self.options, self.stages, self.encoders)
        self.output = memoryview(bytearray(OUTPUT_BYTES))

    def kernels(self, data: memoryview) -> Costs:
        """Return the cost of each step alone."""
        costs: Costs = {}

        def step(kernel: str, work: Callable[[], Any]) -> Any:
            costs[kernel], result = cpu_ms(work)
            return result

        header = step("gate", lambda: judge(data, self.options.limits))
        source = step("open", lambda: Source(data, header, self.options))
        step("EXIF", lambda: source.exif)
        largest = max(spec.side_px for spec in self.options.thumbnails)
        by = reduction(header, largest, self.options.thumbnail_decode)
        file = opening.File(data, header, by)
        reduced = step(f"decode at 1/{by}", lambda: resampling.in_memory(file.pixels(by)))
        costs["decode reduced"] = costs.pop(f"decode at 1/{by}")
        self._thumbnails(reduced, header, step)
        _ = source.base
        step("statistics", lambda: (statistics.dominant(source.sample), statistics.brightness(source.sample)))
        width, height = source.sides
        plan = make_plan(self.options, width, height, len(data))
        work = Work(source=source, options=self.options, plan=plan, content_type=None, encoders=self.encoders)
        for target in plan.thumbnails:
            source.fitted(target.width, target.height)
        for each in self.stages[3:]:
            if each.NAME != "optimization":
                step(each.NAME, partial(each.run, work))
        if plan.optimized:
            step("decode full", lambda: sum(len(strip) for strip in strips.strips(source.stream())))
            whole, quality = resampling.in_memory(source.stream()), plan.optimized.quality
            step("encode optimized", lambda: self.encoders.encode(whole, "jpeg", quality))
        else:
            costs |= {"decode full": 0.0, "encode optimized": 0.0}
        return costs | {"sum of kernels": sum(costs.values())}

    def _thumbnails(self, picture: Any, header: Any, step: Callable[[str, Callable[[], Any]], Any]) -> None:
        for spec in sorted(self.options.thumbnails, key=lambda spec: -spec.side_px):
            size = fit(header.width, header.height, spec.side_px)
            picture = step(f"resize {spec.side_px}", partial(_fitted, picture, size))
            step(
                f"encode {spec.side_px}",
                partial(self.encoders.encode, picture, "jpeg", spec.quality),
            )

    def by_mozjpeg(self, data: memoryview) -> dict[str, bytes]:
        """Return mozjpeg's files of the same pixels that the pipeline gives to its encoder."""
        source = Source(data, judge(data, self.options.limits), self.options)
        width, height = source.sides
        plan = make_plan(self.options, width, height, len(data))
        targets = sorted(plan.thumbnails, key=lambda target: -target.width)
        made = {t.name: mozjpeg(source.fitted(t.width, t.height), t.quality) for t in targets}
        if plan.optimized:
            made["optimized"] = mozjpeg(source.stream(), plan.optimized.quality)
        return made

    def whole(self, data: memoryview) -> tuple[Costs, dict[str, bytes]]:
        """Return the pipeline's cost in this process, and its outputs."""
        ms, done = cpu_ms(lambda: self.pipeline.run(data, None, self.output, lambda _: None))
        if not isinstance(done, Done):
            sys.exit(f"a photo failed: {done}")
        made = {r.name: bytes(self.output[r.offset : r.offset + r.size]) for r in done.report.renditions}
        return {"pipeline": ms}, made


def ours(photos: list[Path], rounds: int, out: Path, theirs: Path) -> dict[str, Costs]:
    """Measure this process; leave its outputs in `out`, and those of mozjpeg in `theirs`."""
    bench, found = Bench(), {}
    for path in photos:
        data = memoryview(path.read_bytes())
        _, made = bench.whole(data)  # Once unmeasured: libraries load parts on first use.
        costs = [bench.kernels(data) | bench.whole(data)[0] for _ in range(rounds)]
        found[path.name] = least(costs)
        for folder, files in ((out, made), (theirs, bench.by_mozjpeg(data))):
            for name, file in files.items():
                (folder / f"{path.stem}.{name}.jpg").write_bytes(file)
    return found


async def worker(photos: list[Path], rounds: int) -> dict[str, float]:
    """Return the CPU that a worker of the service reports for each photo."""
    config = load({}, cores=1)
    found: dict[str, float] = {}
    async with started_pool(config) as pool:
        for path in photos * (rounds + 1):
            async with pool.lend() as loan:
                with path.open("rb") as file:
                    loan.size = file.readinto(loan.target)
                report = (await pool.run(loan, None, lambda _: None)).report
            found[path.name] = min(report.cpu_ms, found.get(path.name, math.inf))
    return found


def peer(name: str, **job: object) -> dict[str, Any]:
    """Run a peer and return what it printed."""
    environment = {**os.environ, "NODE_PATH": str(NODE_MODULES)}
    done = subprocess.run(
        [*PEERS[name], json.dumps(job)], env=environment, stdout=subprocess.PIPE, check=True
    )
    return dict(json.loads(done.stdout))


def score(job: tuple[Path, Path]) -> float:
    """Return the mean SSIMULACRA2 of a file against its photo; of a large one, in three windows."""
    file, photo = job
    with Image.open(photo) as opened, Image.open(file) as output:
        made = np.asarray(output.convert("RGB"))
        upright = ImageOps.exif_transpose(opened).convert("RGB")
        wanted = np.asarray(upright.resize(output.size, Image.Resampling.LANCZOS))
    height, width = made.shape[:2]
    found = []
    for third in (0, 1, 2) if max(width, height) > 2 * WINDOW_PX else (0,):
        top, left = (max(0, side - WINDOW_PX) * third // 2 for side in (height, width))
        pair = [pixels[top : top + WINDOW_PX, left : left + WINDOW_PX] for pixels in (wanted, made)]
        found.append(ssimulacra2(*pair))
    return sum(found) / len(found)


def ssimulacra2(wanted: np.ndarray, made: np.ndarray) -> float:
    """Return the score of a picture against its reference, mirrored on its edges to the least size."""
    lacking = [(0, max(0, LEAST_PX - side)) for side in wanted.shape[:2]]
    files = []
    for pixels in (wanted, made):
        files.append(io.BytesIO())
        whole = np.pad(pixels, (*lacking, (0, 0)), mode="symmetric")
        Image.fromarray(whole).save(files[-1], "PNG", compress_level=0)
    return float(compute_ssimulacra2(*files))


def quality(photos: list[Path], folders: dict[str, Path]) -> dict[str, dict[str, Any]]:
    """Return bytes and score of each output of each system: {system: {photo: {output: [bytes, score]}}}."""
    jobs = {
        (system, path.name, name): (file, path)
        for system, folder in folders.items()
        for path in photos
        for name in OUTPUTS
        if (file := folder / f"{path.stem}.{name}.jpg").exists()
    }
    with ProcessPoolExecutor() as pool:
        scores = list(pool.map(score, jobs.values()))
    found: dict[str, dict[str, Any]] = {system: {path.name: {} for path in photos} for system in folders}
    for ((system, photo, name), (file, _)), value in zip(jobs.items(), scores, strict=True):
        found[system][photo][name] = [file.stat().st_size, round(value, 2)]
    return found


def mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found) if found else math.nan


def table(costs: dict[str, dict[str, Costs]]) -> list[str]:
    """Return the table of costs: a line for each kernel, the mean first, then each photo."""
    photos = list(next(iter(costs.values())))
    lines = [f"{'CPU ms':34s}{'mean':>8s}" + "".join(f"{photo[:9]:>10s}" for photo in photos)]
    for system, by_photo in costs.items():
        for kernel in by_photo[photos[0]]:
            values = [by_photo[photo][kernel] for photo in photos]
            name = f"{system}: {kernel}"
            lines.append(f"{name:34s}{mean(values):8.2f}" + "".join(f"{value:10.2f}" for value in values))
    return lines


def quality_table(found: dict[str, dict[str, Any]]) -> list[str]:
    """Return the table of bytes and scores: a line for each output."""
    lines = [f"{'bytes, SSIMULACRA2':34s}" + "".join(f"{system:>22s}" for system in found)]
    for name in OUTPUTS:
        cells = ""
        for system in found:
            pairs = [photo[name] for photo in found[system].values() if name in photo]
            cells += f"{mean(size for size, _ in pairs):14.0f} {mean(value for _, value in pairs):7.2f}"
        lines.append(f"{'mean ' + name:34s}{cells}")
    for photo in next(iter(found.values())):
        for name in OUTPUTS:
            pairs = [found[system][photo].get(name) for system in found]
            if all(pairs):
                cells = "".join(f"{size:14d} {value:7.2f}" for size, value in pairs)
                lines.append(f"{photo + ' ' + name:34s}{cells}")
    return lines


def targets(costs: dict[str, dict[str, Costs]], found: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return each target with the measured value."""

    def average(system: str, kernel: str) -> float:
        return mean(photo[kernel] for photo in costs[system].values())

    pipeline, sharp = average("fastproc", "pipeline"), average("sharp", "pipeline")
    rows = [
        ("pipeline, ms on this machine", pipeline, PIPELINE_MS),
        ("pipeline in a worker, ms on this machine", average("worker", "pipeline"), PIPELINE_MS),
        ("pipeline / sum of kernels", pipeline / average("fastproc", "sum of kernels"), OF_SUM),
        ("sharp / pipeline, at least", sharp / pipeline, SHARP_RATIO),
        ("sharp / pipeline in a worker, at least", sharp / average("worker", "pipeline"), SHARP_RATIO),
    ]
    for name in OUTPUTS if found else ():
        pairs = [
            (photo[name], found["mozjpeg"][key][name])
            for key, photo in found["fastproc"].items()
            if name in photo
        ]
        if pairs:
            rows.append(
                (f"{name}: bytes / mozjpeg's, mean", mean(a[0] / b[0] for a, b in pairs), BYTES[name])
            )
            rows.append(
                (f"{name}: bytes / mozjpeg's, worst", max(a[0] / b[0] for a, b in pairs), BYTES[name])
            )
            rows.append((f"{name}: score lost, mean", mean(b[1] - a[1] for a, b in pairs), SCORE[name]))
            rows.append((f"{name}: score lost, worst", max(b[1] - a[1] for a, b in pairs), SCORE[name]))
    return [
        {
            "target": name,
            "measured": round(value, 3),
            "limit": limit,
            "met": bool(value >= limit if "at least" in name else value <= limit),
        }
        for name, value, limit in rows
    ]


def main() -> None:
    """Parse the command line, measure, print, write."""
    parser = argparse.ArgumentParser(
        description="Kernels, pipeline and quality, compared with sharp and plain pyvips."
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write everything to this file")
    parser.add_argument("--keep", type=Path, help="leave the outputs of all systems in this folder")
    parser.add_argument("--no-quality", action="store_true", help="costs only")
    args = parser.parse_args()
    photos = needs.photos(args.folder)
    needs.node(NODE_MODULES, "sharp")
    with tempfile.TemporaryDirectory(prefix="fastproc-kernels-") as scratch:
        place = args.keep or Path(scratch)
        folders = {name: place / name.replace(" ", "-") for name in ("fastproc", "mozjpeg", *PEERS)}
        for folder in folders.values():
            folder.mkdir(parents=True, exist_ok=True)
        costs = {"fastproc": ours(photos, args.rounds, folders["fastproc"], folders["mozjpeg"])}
        workers = asyncio.run(worker(photos, args.rounds))
        costs["worker"] = {photo: {"pipeline": ms} for photo, ms in workers.items()}
        versions = {}
        for name in PEERS:
            measured = peer(name, photos=list(map(str, photos)), rounds=args.rounds, out=str(folders[name]))
            costs[name], versions[name] = measured["found"], measured["versions"]
        found = {} if args.no_quality else quality(photos, folders)
    print("\n".join(table(costs)))
    if found:
        print("", *quality_table(found), sep="\n")
    rows = targets(costs, found)
    print(f"\n{'target':44s}{'measured':>10s}{'limit':>10s}")
    for row in rows:
        print(
            f"{row['target']:44s}{row['measured']:10.3f}{row['limit']:10.2f}  {'met' if row['met'] else 'MISSED'}"
        )
    if args.json:
        everything = {"cpu_ms": costs, "quality": found, "targets": rows, "versions": versions}
        args.json.write_text(json.dumps(everything, indent=1) + "\n")


if __name__ == "__main__":
    main()
