"""One decode for both sizes of a large photo: the same answers as by two, errors and times with their own stage."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
import pyvips
from PIL import ImageChops, ImageStat

from fastproc.core.errors import ProcessingError
from fastproc.core.model import Format, Integrity, Options, ThumbnailSpec
from fastproc.ipc.messages import Done, Failed
from fastproc.worker import source, stage
from fastproc.worker.pipeline import Pipeline
from fastproc.worker.stage import StageResult, Work
from fastproc.worker.stages import metadata, optimization, validation
from fastproc.worker.vips import divided, strips
from tests import pictures
from tests.unit.worker.conftest import ENCODERS, OPTIONS, Run

Go = Callable[..., Run]
#: A picture of 800 pixels is divided by 4 for the largest of these.
SMALL = (ThumbnailSpec("thumb_lg", 120, 85),)
COPYING = msgspec.structs.replace(
    OPTIONS, thumbnails=SMALL, optimize_threshold_bytes=0, optimize_min_saving_percent=-1000
)
ORDERS = list(itertools.permutations(("validation", "thumbnails", "optimization")))
POLICIES: tuple[Integrity, ...] = ("strict", "truncated", "lenient")


@pytest.fixture
def apart(run: Go, monkeypatch: pytest.MonkeyPatch) -> Go:
    """`run`, with a decode for each size."""

    def go(data: bytes, options: Options = COPYING) -> Run:
        with monkeypatch.context() as patch:
            patch.setattr(source, "decoding", lambda *how, **more: "twice")
            return run(data, options=options)

    return go


def mean_difference(one: Run, other: Run) -> float:
    pair = [each.picture("thumb_lg").convert("RGB") for each in (one, other)]
    return max(ImageStat.Stat(ImageChops.difference(*pair)).mean)


@functools.cache
def photo(width: int = 811, height: int = 603, mode: str = "RGB", **options: Any) -> bytes:
    return pictures.encoded(pictures.detailed(width, height, mode), "JPEG", quality=92, **options)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("sides", [(811, 603), (800, 600), (1203, 345)])
def test_a_photo_with_a_copy_is_decoded_once_to_the_same_copy(
    run: Go, apart: Go, orientation: int, sides: tuple[int, int]
) -> None:
    data = pictures.turned(orientation, shown=pictures.detailed(*sides))
    once, twice = run(data, options=COPYING), apart(data)
    assert (once.report.decodes, twice.report.decodes) == (1, 2)
    assert once.bytes_of("optimized") == twice.bytes_of("optimized")
    assert once.picture().size == twice.picture().size
    assert mean_difference(once, twice) < 1.5
    assert once.facts | {"dominantColor": None, "brightness": None} == twice.facts | {
        "dominantColor": None,
        "brightness": None,
    }


@pytest.mark.parametrize("kind", ["grey", "progressive", "cmyk", "display-p3"])
def test_every_kind_of_jpeg_gives_the_same_copy(run: Go, apart: Go, kind: str) -> None:
    data = {
        "grey": lambda: photo(mode="L"),
        "progressive": lambda: photo(progressive=True),
        "cmyk": lambda: pictures.encoded(pictures.detailed(811, 603).convert("CMYK"), "JPEG"),
        "display-p3": lambda: pictures.display_p3(width=811, height=603),
    }[kind]()
    once, twice = run(data, options=COPYING), apart(data)
    assert once.report.decodes == 1
    assert once.bytes_of("optimized") == twice.bytes_of("optimized")
    assert mean_difference(once, twice) < 1.5
    assert once.report.warnings == twice.report.warnings


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def gap(share: float) -> Callable[[bytes], bytes]:
    def spoil(data: bytes) -> bytes:
        at = int(len(data) * share)
        return data[:at] + data[at + 4096 :]

    return spoil


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    "spoil", [cut, gap(0.03), gap(0.5), gap(0.9)], ids=["cut", "early", "middle", "late"]
)
@pytest.mark.parametrize("progressive", [False, True])
def test_damage_ends_as_it_would_by_two_decodes(
    run: Go, apart: Go, progressive: bool, spoil: Callable[[bytes], bytes], policy: Integrity
) -> None:
    options = msgspec.structs.replace(COPYING, integrity=policy)
    data = spoil(photo(1603, 1203, progressive=progressive))
    once, twice = run(data, options=options), apart(data, options)
    if isinstance(twice.answer, Failed):
        assert once.answer == twice.answer
    else:
        assert once.report.warnings == twice.report.warnings
        assert once.bytes_of("optimized") == twice.bytes_of("optimized")
        assert mean_difference(once, twice) < 1.5


@pytest.mark.parametrize("order", ORDERS)
def test_the_order_of_stages_makes_no_difference(run: Go, order: tuple[str, ...]) -> None:
    inorder, other = (
        run(photo(), options=msgspec.structs.replace(COPYING, stages=stages))
        for stages in (("validation", "thumbnails", "optimization"), order)
    )
    assert other.report.decodes == 1
    assert other.progress == list(order)
    for name in ("thumb_lg", "optimized"):
        assert other.bytes_of(name) == inorder.bytes_of(name)


@pytest.mark.parametrize(
    ("changed", "decodes"),
    [
        ({"optimize_threshold_bytes": 100 << 20}, 1),  # no copy
        ({"optimize_format": "webp"}, 2),  # libvips' own encoder reads no strips
        ({"stages": ("optimization",)}, 1),
        ({"stages": ("validation", "metadata")}, 1),
    ],
)
def test_it_is_decoded_as_often_as_its_outputs_need(run: Go, changed: dict[str, Any], decodes: int) -> None:
    assert run(photo(), options=msgspec.structs.replace(COPYING, **changed)).report.decodes == decodes


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "AVIF", "GIF", "JPEG"])
@pytest.mark.parametrize("format", ["jpeg", "webp"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_a_small_picture_that_is_not_reduced_is_held_and_gives_the_same_files(
    run: Go, apart: Go, kind: str, format: Format, mode: str
) -> None:
    if mode == "RGBA" and kind == "JPEG":
        mode = "CMYK"
    options = msgspec.structs.replace(COPYING, optimize_format=format, thumbnails=Options().thumbnails)
    data = pictures.encoded(pictures.detailed(411, 303).convert(mode), kind)
    once, twice = run(data, options=options), apart(data, options)
    assert (once.report.decodes, twice.report.decodes) == (1, 2)
    for rendition in once.report.renditions:
        assert once.bytes_of(rendition.name) == twice.bytes_of(rendition.name)
    assert once.report.facts == twice.report.facts


@pytest.mark.parametrize("spoil", [cut, gap(0.05), gap(0.5)], ids=["cut", "early", "middle"])
@pytest.mark.parametrize("policy", POLICIES)
def test_damage_of_a_held_picture_ends_as_it_would_by_two_decodes(
    run: Go, apart: Go, spoil: Callable[[bytes], bytes], policy: Integrity
) -> None:
    options = msgspec.structs.replace(COPYING, integrity=policy, thumbnails=Options().thumbnails)
    data = spoil(photo(1203, 903))
    once, twice = run(data, options=options), apart(data, options)
    if isinstance(twice.answer, Failed):
        assert once.answer == twice.answer
    else:
        assert once.report.warnings == twice.report.warnings
        assert once.bytes_of("optimized") == twice.bytes_of("optimized")


class Reading:
    """A stage whose reader does what a test asks for."""

    NAME = "reading"
    by_strips = True

    def __init__(self, read: Callable[[Any], Any]) -> None:
        self.read, self.found = read, ""

    def reader(self, work: Work) -> Reading:
        return self

    def __call__(self, picture: Any) -> Any:
        return self.read(picture)

    def run(self, work: Work) -> StageResult:
        return StageResult({"found": work.source.read(self)})


def answer(data: bytes, *stages: Any, progress: list[str] | None = None) -> Done | Failed:
    heard: list[str] = [] if progress is None else progress
    pipeline = Pipeline(COPYING, stages, ENCODERS)
    return pipeline.run(memoryview(data), None, memoryview(bytearray(4 << 20)), heard.append)


def first_strip_then_error(picture: Any) -> Any:
    next(iter(picture.strips()))
    raise ProcessingError("the encoder is full")


def test_a_readers_error_is_its_own_stages_and_the_others_have_the_whole_picture() -> None:
    progress: list[str] = []
    failed = answer(photo(), validation, metadata, Reading(first_strip_then_error), progress=progress)
    assert isinstance(failed, Failed)
    assert (failed.code, failed.stage, failed.message) == (
        "PROCESSING_ERROR",
        "reading",
        "the encoder is full",
    )
    assert progress == ["validation", "metadata"]


def test_a_readers_unknown_error_names_its_stage() -> None:
    failed = answer(photo(), validation, Reading(lambda picture: 1 // 0))
    assert isinstance(failed, Failed)
    assert (failed.code, failed.stage) == ("PROCESSING_ERROR", "reading")
    assert failed.defect is not None
    assert failed.defect.kind == "ZeroDivisionError"


def test_a_stage_whose_reader_cannot_be_had_is_named() -> None:
    reading = Reading(lambda picture: None)
    reading.reader = lambda work: 1 // 0  # type: ignore[method-assign]
    failed = answer(photo(), validation, reading)
    assert isinstance(failed, Failed)
    assert (failed.code, failed.stage) == ("PROCESSING_ERROR", "reading")


def test_a_decoders_error_is_the_first_stages_that_looks_at_pixels() -> None:
    read = Reading(lambda picture: sum(len(strip) for strip in picture.strips()))
    failed = answer(cut(photo()), validation, read)
    assert isinstance(failed, Failed)
    assert (failed.code, failed.stage) == ("FILE_CORRUPTED", "validation")


def test_damage_is_told_although_a_reader_clears_libvips_log() -> None:
    def read(picture: Any) -> int:
        return sum(pyvips.Image.black(1, 1).copy().width for _strip in picture.strips())

    failed = answer(gap(0.1)(photo(1603, 1203)), validation, Reading(read))
    assert isinstance(failed, Failed)
    assert (failed.code, failed.stage) == ("FILE_CORRUPTED", "validation")


def test_a_photo_of_another_type_than_declared_is_refused_before_anything_is_read(run: Go) -> None:
    refused = run(photo(), "image/png", options=COPYING)
    assert (refused.code, refused.progress) == ("MIME_MISMATCH", [])


def test_a_reader_that_reads_nothing_gives_its_answer_and_the_picture_is_read_all_the_same(run: Go) -> None:
    done = answer(photo(), validation, metadata, Reading(lambda picture: [picture.width, picture.height]))
    assert isinstance(done, Done)
    assert done.report.facts["reading"] == {"found": [811, 603]}
    assert done.report.facts["metadata"] == run(photo(), options=COPYING).facts


def test_one_of_two_readers_shares_the_decode_and_the_other_has_one_more() -> None:
    count = Reading(lambda picture: picture.height)
    done = answer(photo(), validation, optimization, count)
    assert isinstance(done, Done)
    assert (done.report.decodes, done.report.facts["reading"]) == (2, {"found": 603})


@pytest.mark.parametrize("first", [True, False])
def test_a_readers_time_is_its_own_stages_and_decoding_is_the_first_ones(
    monkeypatch: pytest.MonkeyPatch, first: bool
) -> None:
    now = [0.0]

    def pass_s(seconds: float) -> None:
        now[0] += seconds

    def slow(image: Any, of: int) -> Iterator[Any]:
        for strip in strips.strips(image, of):
            pass_s(1)
            yield strip

    def read(picture: Any) -> int:
        return sum(1 for _strip in picture.strips() if not pass_s(3600))

    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(divided, "strips", slow)
    reading = Reading(read)
    stages = (reading, validation) if first else (validation, reading)
    done = answer(photo(), *stages)
    assert isinstance(done, Done)
    count = done.report.facts["reading"]["found"]
    decoding = {"reading": count, "validation": 0} if first else {"reading": 0, "validation": count}
    ms = {"reading": 1000 * (3600 * count + decoding["reading"]), "validation": 1000 * decoding["validation"]}
    assert done.report.timings_ms == ms
    assert list(done.report.timings_ms) == [each.NAME for each in stages]


def test_built_in_stages_that_read_every_pixel_say_so() -> None:
    found = stage.load(Options().stages)
    assert [each.NAME for each in found if isinstance(each, stage.ReadingStage)] == ["optimization"]
