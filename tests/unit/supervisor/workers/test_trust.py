"""A report is checked before anything believes it: a hijacked worker can write whatever it likes."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from fastproc.core.defects import Defect, Frame
from fastproc.core.errors import ImageTooSmall
from fastproc.core.model import Rendition, Report
from fastproc.ipc.messages import Failed
from fastproc.supervisor.workers.trust import MAX_RENDITIONS, Distrust, failure_of, renditions_of
from tests.unit.supervisor.fakes import STAGES

BLOB = bytes(range(100))
RENDITION = Rendition(stage="thumbnails", name="s", width=10, height=10, offset=0, size=10)
REPORT = Report(width=640, height=480, format="jpeg", facts={"metadata": {}}, renditions=(RENDITION,))


def read(report: Report) -> tuple[bytes, ...]:
    return renditions_of(report, memoryview(BLOB), STAGES)


def with_rendition(**more: object) -> Report:
    return structs.replace(REPORT, renditions=(structs.replace(RENDITION, **more),))


def test_a_sound_report_gives_the_bytes_it_names_in_its_order() -> None:
    second = structs.replace(RENDITION, name="l", offset=90, size=10)
    assert read(structs.replace(REPORT, renditions=(second, RENDITION))) == (BLOB[90:], BLOB[:10])
    assert read(structs.replace(REPORT, renditions=())) == ()


def test_the_bytes_are_a_copy_that_the_worker_cannot_change_any_more() -> None:
    blob = bytearray(BLOB)
    [body] = renditions_of(REPORT, memoryview(blob), STAGES)
    blob[:10] = b"changed!!!"
    assert body == BLOB[:10]


@pytest.mark.parametrize(
    "wrong",
    [
        {"offset": -1},
        {"offset": -10, "size": 10},
        {"size": 0},
        {"size": -5, "offset": 50},
        {"offset": 91},
        {"offset": 100},
        {"size": 101},
        {"offset": 2**62, "size": 2**62},
        {"name": "../x"},
        {"name": ""},
        {"name": "x" * 65},
        {"name": "a\n"},
        {"name": "a\nb"},
        {"content_type": "text/html"},
        {"content_type": "image/jpeg\r\nX-Evil: 1"},
        {"content_type": "image/jpeg\n"},
        {"content_type": ""},
        {"content_type": "image/svg+xml"},
        {"width": 0},
        {"height": -1},
        {"width": 100_001},
        {"stage": "unheard-of"},
    ],
    ids=str,
)
def test_a_rendition_that_no_sound_worker_makes_is_not_believed(wrong: dict[str, object]) -> None:
    with pytest.raises(Distrust):
        read(with_rendition(**wrong))


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 0},
        {"height": 0},
        {"width": -3},
        {"height": 100_001},
        {"facts": {"unheard-of": {}}},
        {"timings_ms": {"unheard-of": 1.0}},
        {"renditions": (RENDITION, RENDITION)},
        {"renditions": tuple(structs.replace(RENDITION, name=f"n{n}") for n in range(11))},
        {"format": "jpeg\n"},
        {"format": ""},
        {"timings_ms": {"metadata": float("nan")}},
        {"timings_ms": {"metadata": -1.0}},
        {"cpu_ms": float("inf")},
        {"decodes": -1},
        {"peak_rss_bytes": 2**60},
        {"warnings": ("two\nlines",)},
        {"warnings": ("x" * 1001,)},
        {"warnings": ("x",) * 201},
        {"renditions": tuple(structs.replace(RENDITION, name=f"n{n}") for n in range(MAX_RENDITIONS + 1))},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_report_that_no_sound_worker_makes_is_not_believed(wrong: dict[str, object]) -> None:
    with pytest.raises(Distrust):
        read(structs.replace(REPORT, **wrong))


def nested(depth: int) -> object:
    return {"a": nested(depth - 1)} if depth else 1


@pytest.mark.parametrize(
    "value",
    [
        b"bytes",
        float("nan"),
        float("inf"),
        2**54,
        -(2**54),
        datetime.datetime(2024, 2, 29, tzinfo=datetime.UTC),
        "a zero\0",
        {"a\nname": 1},
        {"x" * 129: 1},
        {1: "one"},
        {"a": [{"b": b""}]},
        nested(12),
        ["x" * 1000] * 300,
        ["\x01" * 1000] * 50,
        (1, 2),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_facts_that_are_not_small_plain_json_are_not_believed(value: object) -> None:
    for facts in ({"metadata": {"fact": value}}, {"metadata": {"fact": {"deeper": [value]}}}):
        with pytest.raises(Distrust):
            read(structs.replace(REPORT, facts=facts))


def test_facts_that_are_plain_json_are_believed() -> None:
    value = [
        None,
        True,
        -1.5,
        2**53,
        "two\nlines \u00e9 \U0001f600",
        {"": [], "a b": nested(5)},
        "x" * 100_000,
    ]
    assert read(structs.replace(REPORT, facts={"metadata": {"fact": value}}, warnings=("one line",)))


def test_a_failure_that_a_worker_may_report_becomes_its_error() -> None:
    small = failure_of(Failed(code="IMAGE_TOO_SMALL", message="80 x 80", stage="gate"), STAGES)
    assert (type(small), small.reason) == (ImageTooSmall, "IMAGE_TOO_SMALL: 80 x 80")
    ours = failure_of(Failed(code="PROCESSING_ERROR", message="oops", stage="metadata"), STAGES)
    assert ours.reason == "PROCESSING_ERROR: oops (in metadata)"
    assert failure_of(Failed(code="WORKER_OUT_OF_MEMORY", message="x", stage=""), STAGES).reason.endswith(
        ": x"
    )


DEFECT = Defect("KeyError", (Frame("m.n", "C.f.<locals>.<lambda>", 7),), "metadata")
BROKEN = Failed(code="PROCESSING_ERROR", message="KeyError: 'x'", stage="metadata", defect=DEFECT)


def test_a_defect_comes_with_its_error() -> None:
    assert failure_of(BROKEN, STAGES).defect == DEFECT
    assert failure_of(structs.replace(BROKEN, defect=None), STAGES).defect is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "two\nlines"},
        {"kind": "with a space"},
        {"kind": ""},
        {"kind": "x" * 129},
        {"frames": (Frame("/etc/passwd", "f", 1),)},
        {"frames": (Frame("m", "f\x1b", 1),)},
        {"frames": (Frame("m", "f", -1),)},
        {"frames": (Frame("m", "f", 2**60),)},
        {"frames": (Frame("m", "f", 1),) * 31},
        {"stage": "thumbnails"},
    ],
)
def test_a_defect_that_no_sound_worker_reports_is_not_believed(wrong: dict[str, object]) -> None:
    with pytest.raises(Distrust):
        failure_of(structs.replace(BROKEN, defect=structs.replace(DEFECT, **wrong)), STAGES)


@pytest.mark.parametrize(
    "wrong",
    [
        *(
            {"code": code}
            for code in ("OBJECT_NOT_FOUND", "STORAGE_UNAVAILABLE", "INVALID_JOB", "WORKER_TIMEOUT")
        ),
        {"code": "UNHEARD_OF"},
        {"code": "FILE_CORRUPTED\n"},
        {"message": "two\nlines"},
        {"message": "\x1b[2J"},
        pytest.param({"message": "x" * 1001}, id="a long message"),
        {"stage": "unheard-of"},
    ],
    ids=str,
)
def test_a_failure_that_no_sound_worker_reports_is_not_believed(wrong: dict[str, str]) -> None:
    with pytest.raises(Distrust):
        failure_of(
            structs.replace(Failed(code="FILE_CORRUPTED", message="cut", stage="gate"), **wrong), STAGES
        )


NUMBERS = st.integers(-5, 120) | st.integers(-(2**63), 2**63)
RENDITIONS = st.builds(
    Rendition,
    stage=st.sampled_from([*STAGES, "other"]),
    name=st.sampled_from(["a", "b", "../c", ""]),
    width=NUMBERS,
    height=NUMBERS,
    offset=NUMBERS,
    size=NUMBERS,
)
SOUND = st.builds(
    Rendition,
    stage=st.just("thumbnails"),
    name=st.text("abcdefgh", min_size=1, max_size=4),
    width=st.integers(1, 9),
    height=st.integers(1, 9),
    offset=NUMBERS,
    size=NUMBERS,
)


@given(st.lists(RENDITIONS, max_size=4) | st.lists(SOUND, min_size=1, max_size=3), NUMBERS, NUMBERS)
def test_nothing_is_ever_read_outside_the_blob_or_short(
    renditions: list[Rendition], width: int, height: int
) -> None:
    report = structs.replace(REPORT, renditions=tuple(renditions))
    for each in (report, structs.replace(report, width=width, height=height)):
        try:
            bodies = read(each)
        except Distrust:
            continue
        for rendition, body in zip(renditions, bodies, strict=True):
            assert rendition.offset >= 0
            assert len(body) == rendition.size >= 1
            assert body == BLOB[rendition.offset : rendition.offset + rendition.size]
