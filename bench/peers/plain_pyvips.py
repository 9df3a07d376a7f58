"""The same outputs in plain pyvips, one call for each: python plain_pyvips.py JOB, JOB as in sharp.js. Prints JSON.

Every thumbnail is made from the source by `thumbnail_buffer`, every JPEG by mozjpeg with all its options.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ["VIPS_CONCURRENCY"] = "1"

import pyvips

pyvips.cache_set_max(0)
SIZES = (("thumb_sm", 150, 75), ("thumb_md", 300, 80), ("thumb_lg", 600, 85))
THRESHOLD = 2 << 20
MOZJPEG = {
    "interlace": True,
    "optimize_coding": True,
    "trellis_quant": True,
    "overshoot_deringing": True,
    "optimize_scans": True,
    "quant_table": 3,
    "keep": "none",
}
Outputs = dict[str, bytes]


def metadata(photo: bytes, outputs: Outputs) -> None:
    """Fields of the header, and statistics of every pixel."""
    opened = pyvips.Image.new_from_buffer(photo, "", access="sequential", fail_on="error")
    _ = {name: opened.get(name) for name in opened.get_fields()}
    opened.stats()


def thumbnails(photo: bytes, outputs: Outputs) -> None:
    """Three from the source."""
    for name, side, quality in SIZES:
        small = pyvips.Image.thumbnail_buffer(photo, side, height=side, size="down")
        outputs[name] = small.jpegsave_buffer(Q=quality, **MOZJPEG)


def optimization(photo: bytes, outputs: Outputs) -> None:
    """A full-size copy of a photo over 2 MiB."""
    if len(photo) > THRESHOLD:
        whole = pyvips.Image.new_from_buffer(photo, "", access="sequential").autorot()
        outputs["optimized"] = whole.jpegsave_buffer(Q=85, **MOZJPEG)


STAGES: tuple[Callable[[bytes, Outputs], None], ...] = (metadata, thumbnails, optimization)


def measured(photo: bytes, outputs: Outputs) -> dict[str, float]:
    """Run all stages; return CPU ms by stage and in total."""
    spent = {}
    for stage in STAGES:
        before = time.process_time()
        stage(photo, outputs)
        spent[stage.__name__] = 1e3 * (time.process_time() - before)
    return spent | {"pipeline": sum(spent.values())}


def main() -> None:
    """Do the job on the command line."""
    if len(sys.argv) != 2:
        print("usage: plain_pyvips.py JOB, as JSON (bench/kernels.py runs it)", file=sys.stderr)
        sys.exit(2)
    job = json.loads(sys.argv[1])
    found = {}
    for path in map(Path, job["photos"]):
        photo, outputs = path.read_bytes(), Outputs()
        thumbnails(photo, outputs)  # Once unmeasured: libraries load parts on first use.
        rounds = [measured(photo, outputs) for _ in range(job["rounds"])]
        found[path.name] = {kernel: min(spent[kernel] for spent in rounds) for kernel in rounds[0]}
        for name, data in outputs.items():
            (Path(job["out"]) / f"{path.stem}.{name}.jpg").write_bytes(data)
    print(json.dumps({"versions": {"libvips": pyvips.version(0)}, "found": found}))


if __name__ == "__main__":
    main()
