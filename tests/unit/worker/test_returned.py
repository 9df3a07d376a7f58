"""Pictures that a stage returns: each mistake of its author is told in words, and fails no photo as corrupted."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from msgspec import structs
from PIL import Image

from fastproc.core.errors import FileCorrupted, ProcessingError, StorageUnavailable
from fastproc.core.picture_rules import MAX_RENDITIONS
from fastproc.ipc.messages import Failed
from fastproc.supervisor.workers.trust import failure_of as failure_of_worker
from fastproc.worker.pipeline import Pipeline
from fastproc.worker.returned import checked
from fastproc.worker.stage import Encoded, StageResult, Work
from fastproc.worker.vips.library import pyvips
from tests import pictures
from tests.unit.worker.conftest import ENCODERS, OPTIONS


def file(format: str, width: int = 30, height: int = 20) -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(made, format)
    return made.getvalue()


GOOD = Encoded(name="square", width=30, height=20, data=file("JPEG"))
#: A wrong picture, and words that its message must have.
WRONG: dict[str, tuple[Any, tuple[str, ...]]] = {
    "no name": (structs.replace(GOOD, name=""), ("name",)),
    "a name with a slash": (structs.replace(GOOD, name="a/b"), ("'a/b'", "name")),
    "a number for a name": (structs.replace(GOOD, name=7), ("name", "int")),
    "no bytes": (structs.replace(GOOD, data=b""), ("'square'", "no bytes")),
    "a picture for bytes": (structs.replace(GOOD, data=Image.new("RGB", (3, 3))), ("'square'", "Image")),
    "sides of a float": (structs.replace(GOOD, width=30.0), ("float", "whole numbers")),
    "no side": (structs.replace(GOOD, height=0), ("30 x 0",)),
    "another size": (structs.replace(GOOD, width=20, height=30), ("20 x 30", "30 x 20")),
    "SVG": (structs.replace(GOOD, content_type="image/svg+xml"), ("content type", "image/jpeg")),
    "no content type": (structs.replace(GOOD, content_type=None), ("content type",)),
    "PNG that says JPEG": (structs.replace(GOOD, data=file("PNG")), ("said to be jpeg", "are png")),
    "text that says JPEG": (structs.replace(GOOD, data=b"hello" * 9), ("said to be jpeg", "no picture")),
    "a JPEG without a size": (structs.replace(GOOD, data=file("JPEG")[:40]), ("header",)),
    "a tuple": (("square", 30, 20), ("tuple", "Encoded")),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_picture_is_told_in_words(case: str) -> None:
    wrong, words = WRONG[case]
    with pytest.raises(ProcessingError) as caught:
        checked(StageResult({}, (wrong,)), already=0)
    assert all(word in caught.value.message for word in words), caught.value.message


def test_two_pictures_with_one_name_and_more_than_fit_are_refused() -> None:
    with pytest.raises(ProcessingError, match="two of its pictures are called 'square'"):
        checked(StageResult({}, (GOOD, GOOD)), already=0)
    with pytest.raises(ProcessingError, match=f"{MAX_RENDITIONS + 1} renditions"):
        checked(StageResult({}, (GOOD,)), already=MAX_RENDITIONS)
    assert checked(StageResult({}, (GOOD,)), already=MAX_RENDITIONS - 1)


@pytest.mark.parametrize("wrong", [None, {"facts": 1}, (1, 2), StageResult({}, GOOD)])  # type: ignore[arg-type]
def test_what_is_no_result_is_named(wrong: object) -> None:
    with pytest.raises(ProcessingError, match=r"the stage returned|its renditions are"):
        checked(wrong, already=0)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "AVIF"])
def test_every_format_of_a_rendition_passes(format: str) -> None:
    right = structs.replace(GOOD, data=file(format), content_type=f"image/{format.lower()}")
    result = StageResult({"kept": 1}, (right,))
    assert checked(result, already=0) is result


class Own:
    """A stage that does what a test says."""

    NAME = "own"

    def __init__(self, run: Callable[[Work], Any]) -> None:
        self.run = run


def failure_of(run: Callable[[Work], Any]) -> Failed:
    output = memoryview(bytearray(1 << 20))
    answer = Pipeline(OPTIONS, [Own(run)], ENCODERS).run(
        memoryview(pictures.jpeg()), None, output, lambda name: None
    )
    assert isinstance(answer, Failed)
    return answer


def test_the_failure_names_the_stage_and_is_not_the_photos() -> None:
    failed = failure_of(lambda work: StageResult({}, (structs.replace(GOOD, data=file("PNG")),)))
    assert (failed.code, failed.stage) == ("PROCESSING_ERROR", "own")
    assert "'square'" in failed.message


class Mute(Exception):
    """An exception whose message cannot be had."""

    def __str__(self) -> str:
        raise KeyError


class NoFace(FileCorrupted):
    """A code of a stage's own, which the supervisor does not know."""

    code = "NO_FACE"


class Silent(FileCorrupted):
    """An error of a stage's own without a message."""

    def __init__(self) -> None:
        self.why = "none"


class Cunning(FileCorrupted):
    """An error with a code that is not a stage's to give."""

    code = "CANCELLED"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (Mute(), "Mute: its message cannot be read: KeyError"),
        (StorageUnavailable("away"), "StorageUnavailable: away"),
        (NoFace("none"), "NoFace: none"),
        (Silent(), "Silent:"),
        (Cunning("none"), "Cunning: none"),
        (
            ModuleNotFoundError("No module named 'x'"),
            "named 'x'; what a stage imports belongs to its module's top",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_a_stage_raises_the_supervisor_can_believe(error: Exception, words: str) -> None:
    def run(work: Work) -> Any:
        raise error

    failed = failure_of(run)
    assert failure_of_worker(failed, ("own",)).code == "PROCESSING_ERROR"
    assert failed.message.endswith(words)


#: What a stage may give to the encoder by mistake, and the format.
BASE = pyvips.Image.black(64, 48, bands=3).copy(interpretation="srgb")
UNENCODABLE: dict[str, tuple[Any, str, Any]] = {
    "five bands as webp": (pyvips.Image.black(64, 48, bands=5), "webp", 80),
    "CMYK as jpeg": (pyvips.Image.black(64, 48, bands=4).copy(interpretation="cmyk"), "jpeg", 80),
    "16 bits as avif": (BASE.cast("ushort"), "avif", 80),
    "floats as webp": (BASE.cast("float"), "webp", 80),
    "Lab as jpeg": (BASE.colourspace("lab"), "jpeg", 80),
    "a Pillow image": (Image.new("RGB", (9, 9)), "jpeg", 80),
    "an unknown format": (BASE, "png", 80),
    "no quality": (BASE, "jpeg", 0),
    "a quality of text": (BASE, "jpeg", "80"),
    "a quality over 100": (BASE, "webp", 101),
}


@pytest.mark.parametrize("case", UNENCODABLE)
def test_what_cannot_be_encoded_is_the_stages_mistake_not_the_photos(case: str) -> None:
    failed = failure_of(lambda work: work.encoders.encode(*UNENCODABLE[case]))
    assert failed.code == "PROCESSING_ERROR"
    assert "ValueError" in failed.message
    assert any(word in failed.message for word in ("to encode", "no encoder", "quality")), failed.message


def test_a_grey_picture_and_one_with_alpha_can_be_encoded() -> None:
    grey = BASE.extract_band(0).copy(interpretation="b-w")
    for picture in (grey, BASE, BASE.bandjoin(255)):
        assert all(ENCODERS.encode(picture, format, 80) for format in ("jpeg", "webp", "avif"))  # type: ignore[arg-type]
