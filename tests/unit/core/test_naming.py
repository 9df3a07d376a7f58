"""What the outside world sees: keys, ids, percentages."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastproc.core import naming
from fastproc.core.model import Options, Rendition
from fastproc.core.naming import SAFE_NAME, event_id, object_key, stage_percent

CONTRACT = ("validation", "metadata", "thumbnails", "optimization")
#: Stages of the contract and others, each once, in any order.
PIPELINES = st.lists(
    st.sampled_from([*CONTRACT, "placeholder", "phash", "faces", "labels", "ocr"]),
    min_size=1,
    max_size=9,
    unique=True,
)


def rendition(stage: str, name: str, content_type: str = "image/jpeg") -> Rendition:
    return Rendition(stage=stage, name=name, width=1, height=1, offset=0, size=1, content_type=content_type)


@given(PIPELINES.map(tuple))
def test_progress_never_falls_whatever_the_order_of_the_stages(stages: tuple[str, ...]) -> None:
    marks = [stage_percent(stages, stage) for stage in stages]
    assert marks == sorted(marks)
    assert all(naming.FETCHED_PERCENT < mark <= naming.PROCESSED_PERCENT for mark in marks)


@pytest.mark.parametrize("stages", list(itertools.permutations(CONTRACT)))
def test_progress_never_falls_in_any_order_of_the_built_in_stages(stages: tuple[str, ...]) -> None:
    marks = [stage_percent(stages, stage) for stage in stages]
    assert marks == sorted(marks)


def test_the_percentages_are_those_of_the_contract() -> None:
    stages = [stage_percent(CONTRACT, stage) for stage in CONTRACT]
    others = (naming.ACCEPTED_PERCENT, naming.FETCHED_PERCENT, naming.RECORDED_PERCENT, naming.DONE_PERCENT)
    assert stages == [35, 45, 75, 90]
    assert others == (10, 25, 95, 100)


def test_stages_after_the_contracts_last_one_do_not_raise_the_progress() -> None:
    stages = Options().stages
    assert stages[:4] == CONTRACT
    assert [stage_percent(stages, stage) for stage in stages] == [35, 45, 75, 90, 90, 90]
    assert [stage for stage in stages if naming.is_news(stages, stage)] == list(CONTRACT)


def test_an_additional_stage_does_not_move_the_contracts_marks() -> None:
    stages = ("validation", "metadata", "faces", "thumbnails", "optimization", "phash")
    marks = {stage: stage_percent(stages, stage) for stage in stages}
    assert {stage: marks[stage] for stage in CONTRACT} == dict(zip(CONTRACT, (35, 45, 75, 90), strict=True))
    assert 45 <= marks["faces"] <= 75


def test_a_pipeline_of_foreign_stages_alone_spreads_evenly() -> None:
    stages = tuple("abcde")
    assert [stage_percent(stages, stage) for stage in stages] == [38, 51, 64, 77, 90]


def test_object_keys_are_as_the_contract_says() -> None:
    thumb, copy = rendition("thumbnails", "thumb_md"), rendition("optimization", "optimized")
    assert object_key(thumb, "p-42", 1700000000000) == "thumbnails/p-42/thumb_md_1700000000000.jpg"
    assert object_key(copy, "p-42", 1700000000000) == "photos/optimized/p-42_optimized.jpg"


def test_a_key_ends_as_its_content_type_says() -> None:
    kinds = {"image/jpeg": "jpg", "image/webp": "webp", "image/avif": "avif", "image/png": "png"}
    for content_type, ending in kinds.items():
        assert object_key(rendition("thumbnails", "s", content_type), "p", 7) == f"thumbnails/p/s_7.{ending}"
    assert object_key(rendition("faces", "first", "image/x-odd"), "p", 7) == "photos/faces/p/first_7.bin"


def test_an_event_that_is_sent_again_has_the_same_id() -> None:
    assert event_id("9", naming.COMPLETED, 1) == event_id("9", naming.COMPLETED, 3) == "9:completed"
    assert event_id("9", naming.FAILED, 2) == "9:failed:2"
    assert event_id("9", naming.STARTED, 1) == "9:started:1"
    assert event_id("9", naming.PROGRESS, 1, 45) == "9:progress:1:45"


def test_different_things_have_different_event_ids() -> None:
    events = [
        (job_id, kind, attempt, mark)
        for job_id in ("1", "2")
        for kind in (naming.STARTED, naming.PROGRESS, naming.FAILED)
        for attempt in (1, 2)
        for mark in ((None,) if kind != naming.PROGRESS else (10, 25))
    ]
    assert len({event_id(*each) for each in events}) == len(events)


@pytest.mark.parametrize("name", ["a", "p-42", "a.b_c", "...", ".hidden", "A" * 128, "-", "0"])
def test_a_safe_name_is_taken(name: str) -> None:
    assert SAFE_NAME.fullmatch(name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a\\b", "a b", "a\n", "\n", "ä", "a\0", "%2e", "A" * 129, "a:b"]
)
def test_an_unsafe_name_is_not_taken(name: str) -> None:
    assert not SAFE_NAME.fullmatch(name)


@given(st.text(max_size=140))
def test_no_safe_name_leaves_its_folder(name: str) -> None:
    if SAFE_NAME.fullmatch(name):
        assert "/" not in name
        assert name not in (".", "..")
        assert name.isascii()
        assert name.isprintable()
