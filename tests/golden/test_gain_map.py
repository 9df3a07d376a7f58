"""The optimised copy's gain map as libultrahdr reads it: Google's own library, inside libvips (`uhdrload`).

libvips applies the map too (`uhdr2scRGB`), so HDR pictures of source and copy can be compared. A process of its
own reads: the worker uses neither, and its libvips has these loaders blocked.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from msgspec import structs
from PIL import Image

from fastproc.ipc.messages import Done
from tests import gain_maps, pictures
from tests.golden.conftest import OPTIONS
from tests.integration.test_worker import Worker

#: Reads a file's bytes; prints its numbers and sizes as a line of JSON, then linear R G B as floats, a quarter as wide.
READER = """
import json, sys, pyvips
photo = pyvips.Image.uhdrload_buffer(sys.stdin.buffer.read())
said = {name[8:]: photo.get(name) for name in photo.get_fields() if name.startswith("gainmap-") and name[8:] != "data"}
lit = photo.uhdr2scRGB().shrink(4, 4)
said |= {"width": lit.width, "height": lit.height}
sys.stdout.buffer.write(json.dumps(said).encode() + b"\\n" + lit.cast("float").write_to_memory())
"""


def as_libultrahdr_reads(file: bytes) -> tuple[dict[str, Any], np.ndarray]:
    """What the library says of the map, and the HDR picture."""
    read = subprocess.run([sys.executable, "-c", READER], input=file, capture_output=True, check=False)
    assert read.returncode == 0, read.stderr.decode()[-300:]
    line, _, pixels = read.stdout.partition(b"\n")
    said = json.loads(line)
    return said, np.frombuffer(pixels, np.float32).reshape(said["height"], said["width"], 3)


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    worker = Worker(structs.replace(OPTIONS, gain_map="keep"))
    worker.receive()
    worker.ask(pictures.jpeg())  # its shared memory is there before the first test
    yield worker
    worker.close()


def copy_of(worker: Worker, file: bytes) -> bytes:
    done = worker.ask(file)
    assert isinstance(done, Done), done
    assert done.report.facts["optimization"]["gainMap"] == "kept", done.report.warnings
    found = next(r for r in done.report.renditions if r.stage == "optimization")
    view = worker.lanes.output.blob.view
    return bytes(view[found.offset : found.offset + found.size])


FILES = {
    "Adobe": gain_maps.ultra_hdr,
    "ISO": lambda: gain_maps.ultra_hdr(means=gain_maps.iso()),
    "with a film": lambda: gain_maps.ultra_hdr(film=bytes(3000)),
    "of three bands": lambda: gain_maps.ultra_hdr(
        gain_map=gain_maps.a_map(mode="RGB"), means=gain_maps.iso()
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_the_copy_is_as_bright_as_its_source(worker: Worker, name: str) -> None:
    source = FILES[name]()
    theirs, lit = as_libultrahdr_reads(source)
    ours, made = as_libultrahdr_reads(copy_of(worker, source))
    for number in ("max-content-boost", "min-content-boost", "gamma", "offset-sdr", "offset-hdr"):
        assert ours[number] == pytest.approx(theirs[number], rel=1e-5), number
    assert (ours["hdr-capacity-min"], ours["hdr-capacity-max"]) == (1, 4)
    assert lit.max() > 1.5, "the source is brighter than white somewhere"
    assert stops_apart(lit, made) < 0.12


def stops_apart(one: np.ndarray, other: np.ndarray) -> float:
    """The 95th percentile of the differences, without the darkest pixels, where a step of 8 bits is many stops."""
    bright = (one > 0.05).all(-1) & (other > 0.05).all(-1)
    assert bright.mean() > 0.3
    return float(np.quantile(np.abs(np.log2(one[bright] / other[bright])), 0.95))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_copy_of_a_turned_photo_is_lit_in_the_same_places(worker: Worker, orientation: int) -> None:
    upright = gain_maps.ultra_hdr(pictures.turned(1), pictures.turned(1, shown=pictures.scene(80, 60, "L")))
    turned = gain_maps.ultra_hdr(
        pictures.turned(orientation), pictures.turned(orientation, shown=pictures.scene(80, 60, "L"))
    )
    _, lit = as_libultrahdr_reads(upright)
    _, made = as_libultrahdr_reads(copy_of(worker, turned))
    assert stops_apart(lit, made) < 0.12


def test_a_file_of_another_encoder_keeps_its_light(worker: Worker) -> None:
    source = pictures.gain_map(pictures.detailed(640, 480))
    theirs, _ = as_libultrahdr_reads(source)
    ours, _ = as_libultrahdr_reads(copy_of(worker, source))
    assert ours["max-content-boost"] == pytest.approx(theirs["max-content-boost"], rel=1e-5)


def test_an_iphones_map_is_read_by_readers_that_do_not_know_apples(worker: Worker) -> None:
    flat = pictures.encoded(Image.new("RGB", (320, 240), (128, 128, 128)), "JPEG", quality=95)
    ramp = pictures.encoded(Image.linear_gradient("L").resize((320, 240)), "JPEG", quality=100)
    said, lit = as_libultrahdr_reads(copy_of(worker, gain_maps.apple(flat, ramp, headroom="4")))
    assert said["max-content-boost"] == pytest.approx([4, 4, 4], rel=1e-5)
    signal = np.asarray(Image.linear_gradient("L").resize((320, 240)), float)[2::4, 2::4] / 255
    linear = np.where(signal < 0.081, signal / 4.5, ((signal + 0.099) / 1.099) ** (1 / 0.45))
    grey = ((128 / 255 + 0.055) / 1.055) ** 2.4
    assert np.abs(np.log2(lit[..., 1] / (grey * (1 + 3 * linear)))).max() < 0.08
