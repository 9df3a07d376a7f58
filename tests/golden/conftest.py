"""One worker and one sharp for the session: each picture's outputs are made once and checked by every test."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from msgspec import Struct
from PIL import Image

from fastproc.core.model import Limits, Options, Report
from fastproc.ipc.messages import Done
from tests import pictures
from tests.golden import matrix
from tests.golden.measures import Pixels
from tests.golden.references import Sharp, array, pillow, require_sharp
from tests.integration.test_worker import FORMATS, Worker

#: The defaults, except that every size is processed and every picture optimised. Gain maps have a file of their own,
#: test_gain_map.py.
OPTIONS = Options(
    limits=Limits(formats=FORMATS, min_side_px=1),
    optimize_threshold_bytes=0,
    optimize_min_saving_percent=-1e9,
    gain_map="drop",
)


QUALITIES = {spec.name: spec.quality for spec in OPTIONS.thumbnails} | {"optimized": OPTIONS.optimize_quality}
#: Of larger pictures only the middle is compared, this many pixels wide and high: 12 whole megapixels take 10 s.
WINDOW_PX = 640


#: Outputs that are compared by pixels. thumb_md is made by the same steps between these; only its file is checked.
COMPARED = ("thumb_sm", "thumb_lg", "optimized")


class Output(Struct, frozen=True, kw_only=True):
    """A file's pixels as Pillow reads them, beside those of the references.

    `coded` are Pillow's pixels after mozjpeg at the same quality: the loss that a perfect worker's file would have.
    """

    pixels: Pixels
    by_pillow: Pixels
    by_sharp: Pixels | None
    coded: Pixels


class Made(Struct, frozen=True, kw_only=True):
    """What the worker made from one picture."""

    report: Report
    files: dict[str, bytes]
    outputs: dict[str, Output]


class Studio:
    """Makes each picture's outputs with worker, Pillow and sharp, on first use."""

    def __init__(self) -> None:
        self.sharp = Sharp()
        self.worker = Worker(OPTIONS)
        self.worker.receive()
        self.worker.ask(pictures.jpeg())
        # sharp works while Pillow does.
        self._threads = ThreadPoolExecutor(1)
        self._made: dict[str, Made] = {}

    def close(self) -> None:
        self._threads.shutdown()
        self.worker.close()
        self.sharp.close()

    def files(self, data: bytes) -> tuple[Report, dict[str, bytes]]:
        """Return the worker's report and the files that it made."""
        done = self.worker.ask(data)
        assert isinstance(done, Done), done
        view = self.worker.lanes.output.blob.view
        found = {r.name: bytes(view[r.offset : r.offset + r.size]) for r in done.report.renditions}
        return done.report, found

    def made(self, name: str) -> Made:
        """Return what all three made from a picture of the matrix."""
        if name not in self._made:
            self._made.clear()  # Tests go picture by picture; a session's pixels would be gigabytes.
            data = matrix.REAL[name].read_bytes() if name in matrix.REAL else matrix.MADE[name]()
            self._made[name] = self._make(name, data)
        return self._made[name]

    def _make(self, name: str, data: bytes) -> Made:
        report, files = self.files(data)
        decoded = {each: array(Image.open(io.BytesIO(files[each]))) for each in COMPARED}
        shown, sizes = (report.width, report.height), []
        for pixels in decoded.values():
            size = (pixels.shape[1], pixels.shape[0])
            sizes.append(None if size == shown else size)
        asked = None if name in matrix.NOT_BY_SHARP else self._threads.submit(self.sharp.pixels, data, sizes)
        by_pillow = pillow(data, sizes)
        by_sharp = asked.result() if asked else [None] * len(sizes)
        outputs = {
            each: Output(
                pixels=_window(pixels),
                by_pillow=_window(one),
                by_sharp=None if other is None else _window(other),
                coded=self.sharp.coded(_window(one), QUALITIES[each]),
            )
            for (each, pixels), one, other in zip(decoded.items(), by_pillow, by_sharp, strict=True)
        }
        return Made(report=report, files=files, outputs=outputs)


def _window(pixels: Pixels) -> Pixels:
    top, left = (max(0, (side - WINDOW_PX) // 2) for side in pixels.shape[:2])
    return pixels[top : top + WINDOW_PX, left : left + WINDOW_PX]


@pytest.fixture(scope="session")
def studio() -> Iterator[Studio]:
    require_sharp()
    studio = Studio()
    yield studio
    studio.close()
