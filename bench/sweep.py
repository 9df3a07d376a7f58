"""Thumbnails of sources of many sizes, beside sharp's: SSIMULACRA2, bytes, CPU; and the plot of it.

The photos of FOLDER (the four with most pixels) and one made texture are scaled down by Lanczos to each longer side
and saved as JPEGs of quality 95. Of each, every rule of THUMBNAIL_DECODE and sharp make the three thumbnails. A score
is taken against the photo scaled from all of its pixels by Pillow's Lanczos, once in gamma space (as sharp and fastproc
scale) and once in linear light. CPU is process time of the thumbnails alone, the least of some rounds: compare ratios.

A measurement is one line of JSON in `--results`; those that are there are not repeated, so a run that was stopped goes
on, and the tables and the plot can be made again. `--dense` adds sizes around each size where a rule changes.

    python bench/sweep.py FOLDER [--results FILE] [--dense] [--plot FILE] [--sides 1215,2410]
"""

from __future__ import annotations

import argparse
import functools
import io
import itertools
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import needs
import numpy as np
from kernels import NODE_MODULES, OUTPUT_BYTES, cpu_ms, mean, peer, ssimulacra2
from PIL import Image, ImageDraw, ImageOps
from sweep_plot import plot

from fastproc.core.admission import KEPT_BYTES
from fastproc.core.model import Options
from fastproc.core.plan import DECODE_RULES, JPEG_REDUCTIONS
from fastproc.ipc.messages import Done
from fastproc.worker import stage
from fastproc.worker.encoders import Encoders
from fastproc.worker.main import keep_memory
from fastproc.worker.pipeline import Pipeline

#: The longer sides of a short run: just under and over 1, 2, 4 and 8 times a thumbnail, and between.
SIDES = (
    *(640, 905, 1195, 1205, 1215, 1299, 1500, 1795, 1805, 2395, 2405),
    *(2700, 2995, 3005, 3595, 3605, 4000, 4500, 4795, 4805, 5405, 6000),
)
LARGEST_PX, PHOTOS, ROUNDS, NEAR_PX = 6000, 4, 2, 10
THUMBNAILS = {spec.name: spec.side_px for spec in Options().thumbnails}
RULES = tuple(DECODE_RULES)
REFERENCES = ("gamma", "linear")
#: At no size so many points under sharp; so much of sharp's CPU; so many points by NEAR_PX more or less of a source.
UNDER, CPU_SHARE, STEP = 1.0, 1 / 3, 5.0

Result = dict[str, Any]


def texture(width: int, height: int) -> Image.Image:
    """Return dead leaves: discs of every size, one over another, the usual model of a photo's fine texture.

    Source: Lee, Mumford, Huang, "Occlusion Models for Natural Images", 2001: sizes by the inverse cube.
    """
    chance = np.random.default_rng(11)
    picture = Image.new("RGB", (width, height), (110, 110, 110))
    draw = ImageDraw.Draw(picture)
    radii = np.sort(2 / np.sqrt(1 - chance.random(150_000) * (1 - (2 / 500) ** 2)))[::-1]
    for radius in radii:
        x, y = chance.random() * width, chance.random() * height
        colour = tuple(int(value) for value in chance.integers(20, 236, 3))
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), colour)
    return picture


def dense() -> list[int]:
    """Return SIDES, and sizes close to those where sharp or a rule takes another reduction for a thumbnail."""
    margins = {rule.margin for rule in DECODE_RULES.values()}
    rules = {margin * by * max(THUMBNAILS.values()) for margin in margins for by in JPEG_REDUCTIONS}
    # sharp: by 2, 4 or 8 from 3, 5 or 9 times the thumbnail on.
    peers = {times * side for times in (2, 3, 4, 5, 8, 9) for side in THUMBNAILS.values()}
    near = {int(at) + step for at in rules | peers for step in (-11, -1, 5, 15)}
    return sorted({side for side in near | {*SIDES, *range(600, LARGEST_PX, 150)} if side <= LARGEST_PX})


def originals(folder: Path) -> dict[str, Callable[[], Image.Image]]:
    """Return the largest photos of a folder and the texture, each to be opened when it is its turn."""
    sizes = {}
    for path in folder.iterdir():
        if path.suffix.lower() in (".jpg", ".jpeg", ".png"):
            with Image.open(path) as photo:
                sizes[path] = photo.width * photo.height
    largest = sorted(sizes, key=lambda path: -sizes[path])[:PHOTOS]
    found: dict[str, Callable[[], Image.Image]] = {
        "texture": functools.partial(texture, LARGEST_PX, LARGEST_PX * 2 // 3)
    }
    return found | {path.stem: functools.partial(_upright, path) for path in sorted(largest)}


def _upright(path: Path) -> Image.Image:
    with Image.open(path) as photo:
        return ImageOps.exif_transpose(photo).convert("RGB")


def source(photo: Image.Image, side_px: int) -> bytes:
    """Return the photo as a JPEG with that longer side."""
    scale = side_px / max(photo.size)
    size = (round(photo.width * scale), round(photo.height * scale))
    buffer = io.BytesIO()
    photo.resize(size, Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


class Ours:
    """The pipeline of one process for thumbnails alone, by each rule."""

    def __init__(self) -> None:
        keep_memory(KEPT_BYTES)
        stages, encoders = stage.load(("validation", "thumbnails")), Encoders()
        self._by_rule = {rule: Pipeline(Options(thumbnail_decode=rule), stages, encoders) for rule in RULES}
        self._output = memoryview(bytearray(OUTPUT_BYTES))

    def made(self, data: bytes) -> dict[str, tuple[float, dict[str, bytes]]]:
        """Return the least ms and the files of each rule. The rules take turns."""
        found: dict[str, tuple[float, dict[str, bytes]]] = {}
        for _ in range(ROUNDS):
            for rule in RULES:
                ms, files = cpu_ms(functools.partial(self._files, rule, data))
                found[rule] = (min(ms, found[rule][0]) if rule in found else ms, files)
        return found

    def _files(self, rule: Any, data: bytes) -> dict[str, bytes]:
        done = self._by_rule[rule].run(memoryview(data), None, self._output, lambda _: None)
        if not isinstance(done, Done):
            sys.exit(f"a photo failed: {done}")
        return {r.name: bytes(self._output[r.offset : r.offset + r.size]) for r in done.report.renditions}


def by_sharp(sources: list[Path], place: Path) -> dict[str, tuple[float, dict[str, bytes]]]:
    """Return sharp's least ms and its files of each source, by its name."""
    paths = [str(path) for path in sources]
    measured = peer("sharp", photos=paths, rounds=ROUNDS, out=str(place), stages=["thumbnails"])
    return {
        path.name: (
            measured["found"][path.name]["thumbnails"],
            {name: (place / f"{path.stem}.{name}.jpg").read_bytes() for name in THUMBNAILS},
        )
        for path in sources
    }


def references(data: bytes, size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Return the photo scaled from all of its pixels, in gamma space and in linear light (IEC 61966-2-1)."""
    photo = Image.open(io.BytesIO(data)).convert("RGB")
    value = np.arange(256) / 255
    light = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(np.float32)
    planes = [Image.fromarray(light[np.asarray(band)]) for band in photo.split()]
    scaled = [np.asarray(plane.resize(size, Image.Resampling.LANCZOS)) for plane in planes]
    linear = np.clip(np.stack(scaled, axis=-1), 0, 1)
    coded = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return {
        "gamma": np.asarray(photo.resize(size, Image.Resampling.LANCZOS)),
        "linear": (coded * 255 + 0.5).astype(np.uint8),
    }


def scores(job: tuple[bytes, dict[str, bytes]]) -> dict[str, list[float]]:
    """Return bytes and both scores of one thumbnail by each system: (source, files) -> {system: [bytes, ...]}."""
    data, files = job
    wanted: dict[tuple[int, int], dict[str, np.ndarray]] = {}
    found: dict[str, list[float]] = {}
    for system, file in files.items():
        with Image.open(io.BytesIO(file)) as made:
            pixels, size = np.asarray(made.convert("RGB")), made.size
        # sharp's other side is at times a pixel shorter: what its decoder dropped is missing.
        if size not in wanted:
            wanted[size] = references(data, size)
        scored = [round(ssimulacra2(wanted[size][each], pixels), 2) for each in REFERENCES]
        found[system] = [len(file), *scored]
    return found


def measured(name: str, photo: Image.Image, sides: list[int]) -> Iterator[Result]:
    """Yield a result for each size of a photo."""
    ours = Ours()
    with tempfile.TemporaryDirectory(prefix="fastproc-sweep-") as scratch, ProcessPoolExecutor() as pool:
        place = Path(scratch)
        data = {side: source(photo, side) for side in sides}
        for side, file in data.items():
            (place / f"{side}.jpg").write_bytes(file)
        theirs = by_sharp([place / f"{side}.jpg" for side in sides], place)
        for side, file in data.items():
            made = ours.made(file) | {"sharp": theirs[f"{side}.jpg"]}
            jobs = [
                (file, {system: files[each] for system, (_, files) in made.items()}) for each in THUMBNAILS
            ]
            thumbnails = dict(zip(THUMBNAILS, pool.map(scores, jobs), strict=True))
            ms = {system: round(spent, 2) for system, (spent, _) in made.items()}
            yield {"photo": name, "side": side, "ms": ms, "thumbnails": thumbnails}


def gaps(results: Iterable[Result], rule: str, thumbnail: str, reference: str) -> list[tuple[float, str]]:
    """Return how far a rule is above sharp for each source, the worst first."""
    at = 1 + REFERENCES.index(reference)
    return sorted(
        (
            result["thumbnails"][thumbnail][rule][at] - result["thumbnails"][thumbnail]["sharp"][at],
            _key(result),
        )
        for result in results
    )


def steps(results: list[Result], rule: str, thumbnail: str) -> list[tuple[float, str]]:
    """Return how much a score (gamma) moves between two sources of one photo whose sizes are close, the worst first."""
    by_key = sorted(results, key=lambda result: (result["photo"], result["side"]))
    return sorted(
        (
            -abs(one["thumbnails"][thumbnail][rule][1] - two["thumbnails"][thumbnail][rule][1]),
            f"{_key(one)} to {two['side']}",
        )
        for one, two in itertools.pairwise(by_key)
        if one["photo"] == two["photo"] and two["side"] - one["side"] <= NEAR_PX
    )


def _key(result: Result) -> str:
    return f"{result['photo']} {result['side']}"


def table(results: list[Result], thumbnail: str) -> list[str]:
    """Return a line for each size: the means over the photos of score (gamma/linear), bytes, ms by each system."""
    systems = (*RULES, "sharp")
    head = f"{thumbnail + ' from':14s}" + "".join(f"{system:>26s}" for system in systems)
    lines = [head, " " * 14 + "".join(f"{'gamma linear  bytes    ms':>26s}" for _ in systems)]
    for side in sorted({result["side"] for result in results}):
        found = [result for result in results if result["side"] == side]
        cells = ""
        for system in systems:
            size, *scored = (mean(r["thumbnails"][thumbnail][system][at] for r in found) for at in range(3))
            cells += f"{scored[0]:8.1f}{scored[1]:6.1f}{size:7.0f}{mean(r['ms'][system] for r in found):5.0f}"
        lines.append(f"{side:6d} ({len(found)})    {cells}")
    return lines


def summary(results: list[Result]) -> list[str]:
    """Return the comparison with sharp: mean and worst of each rule, thumbnail and reference; bytes and CPU."""
    lines = [
        f"{'above sharp':34s}{'mean':>7s}{'worst':>7s}  (the worst three; how many are more than {UNDER} under)"
    ]
    for rule in RULES:
        for thumbnail in THUMBNAILS:
            for reference in REFERENCES:
                found = gaps(results, rule, thumbnail, reference)
                under = sum(gap < -UNDER for gap, _ in found)
                worst = ", ".join(f"{key} {gap:.1f}" for gap, key in found[:3])
                name = f"{rule} {thumbnail} {reference}"
                average = mean(gap for gap, _ in found)
                lines.append(
                    f"{name:34s}{average:7.2f}{found[0][0]:7.2f}  ({worst}; {under} of {len(found)})"
                )
    for rule in RULES:
        ratios = [result["ms"][rule] / result["ms"]["sharp"] for result in results]
        size = {
            each: mean(r["thumbnails"][each][rule][0] / r["thumbnails"][each]["sharp"][0] for r in results)
            for each in THUMBNAILS
        }
        bytes_ = ", ".join(f"{each} {share:.3f}" for each, share in size.items())
        lines.append(
            f"{rule}: CPU / sharp's: mean {mean(ratios):.3f}, most {max(ratios):.3f}; bytes: {bytes_}"
        )
    for system in (*RULES, "sharp"):
        found = [(gap, f"{key} ({each})") for each in THUMBNAILS for gap, key in steps(results, system, each)]
        worst = ", ".join(f"{key} {-gap:.1f}" for gap, key in sorted(found)[:3])
        over = sum(-gap >= STEP for gap, _ in found)
        lines.append(
            f"{system}: steps of at most {NEAR_PX} px: {worst}; {over} of {len(found)} of {STEP} and more"
        )
    return lines


def main() -> None:
    """Parse the command line, measure what is missing, print, plot."""
    parser = argparse.ArgumentParser(
        description="Thumbnails of sources of many sizes, compared with sharp's."
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--results", type=Path, help="file of results, to go on with")
    parser.add_argument("--dense", action="store_true", help="many more sizes; takes an hour")
    parser.add_argument("--sides", help="these longer sides only, separated by commas")
    parser.add_argument("--plot", type=Path, help="write the plot (SVG) to this file")
    args = parser.parse_args()
    needs.photos(args.folder)
    needs.node(NODE_MODULES, "sharp")
    sides = (
        [int(side) for side in args.sides.split(",")] if args.sides else dense() if args.dense else [*SIDES]
    )
    there = args.results.read_text().splitlines() if args.results and args.results.exists() else []
    results: list[Result] = [json.loads(line) for line in there]
    known = {(result["photo"], result["side"]) for result in results}
    for name, opened in originals(args.folder).items():
        if not (missing := [side for side in sides if (name, side) not in known]):
            continue
        photo = opened()
        reached = [side for side in missing if side <= max(photo.size)]
        for result in measured(name, photo, reached) if reached else ():
            results.append(result)
            if args.results:
                with args.results.open("a") as file:
                    file.write(json.dumps(result) + "\n")
            print(f"{_key(result)}: {result['ms']}", file=sys.stderr)
    for thumbnail in THUMBNAILS:
        print("", *table(results, thumbnail), sep="\n")
    print("", *summary(results), sep="\n")
    if args.plot:
        args.plot.write_text(plot(results, (*RULES, "sharp")))


if __name__ == "__main__":
    main()
