"""Keys by a template: what it may say, which jobs it refuses, and that nothing changes without one."""

from __future__ import annotations

import pytest

from fastproc.core.errors import InvalidJob
from fastproc.core.keys import Results, colliding, template_problem
from fastproc.core.model import Job, Rendition
from fastproc.core.naming import object_key


def rendition(name: str = "thumb_sm", stage: str = "thumbnails", kind: str = "image/jpeg") -> Rendition:
    return Rendition(stage=stage, name=name, width=15, height=10, offset=0, size=1, content_type=kind)


def job(photo_id: str = "p-1", s3_key: str = "photos/2026/a.b.png", bucket: str = "photos") -> Job:
    return Job(id="1", name="n", token="t", photo_id=photo_id, s3_key=s3_key, bucket=bucket, timestamp_ms=17)


BOTH = (rendition(), rendition("optimized", "optimization", "image/webp"))


def test_without_a_template_keys_and_bucket_are_the_contracts() -> None:
    strange = job(s3_key="/x//y")
    Results().require(strange)
    assert Results().keys(strange, BOTH) == [object_key(each, "p-1", 17) for each in BOTH]
    assert Results().bucket_of(strange) == "photos"
    assert Results("out").bucket_of(strange) == "out"


@pytest.mark.parametrize(
    ("template", "key"),
    [
        ("{photoId}/{name}.{ext}", "p-1/thumb_sm.jpg"),
        ("img/{dir}/{stem}/{photoId}-{name}.{ext}", "img/photos/2026/a.b/p-1-thumb_sm.jpg"),
        ("{bucket}/{key}/{stage}/{name}-{width}x{height}_{timestamp}",
         "photos/photos/2026/a.b.png/thumbnails/thumb_sm-15x10_17"),
        ("size={name}/{photoId}(1)!.{ext}", "size=thumb_sm/p-1(1)!.jpg"),
    ],
)  # fmt: skip
def test_a_template_says_where_a_rendition_goes(template: str, key: str) -> None:
    assert template_problem(template) == ""
    assert Results(template=template).keys(job(), [rendition()]) == [key]


def test_a_photo_without_a_folder_has_no_empty_step() -> None:
    results = Results(template="img/{dir}/{photoId}_{name}.{ext}")
    assert results.keys(job(s3_key="a.png"), [rendition()]) == ["img/p-1_thumb_sm.jpg"]
    assert Results(template="{dir}/{photoId}_{name}").keys(job(s3_key=".png"), [rendition()]) == [
        "p-1_thumb_sm"
    ]


def test_what_a_job_brings_is_never_taken_for_a_field() -> None:
    results = Results(template="{key}/{name}.{ext}")
    assert results.keys(job(s3_key="{name}{photoId}"), [rendition()]) == ["{name}{photoId}/thumb_sm.jpg"]


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{photoid}/{name}", "there is no {photoid}"),
        ("{}/{name}", "there is no {}"),
        ("{photoId.__class__}/{name}", "there is no {photoId.__class__}"),
        ("{photoId!r}/{name}", "there is no {photoId!r}"),
        ("{photoId}/{name", "expected letters"),
        ("{{photoId}}/{name}", "expected letters"),
        ("{photoId}/{name} x", "expected letters"),
        ("{photoId}/{name}?é", "expected letters"),
        ("{photoId}\\{name}", "expected letters"),
        ("/{photoId}/{name}", "a step"),
        ("{photoId}//{name}", "a step"),
        ("{photoId}/{name}/", "a step"),
        ("a/../{photoId}/{name}", "a step"),
        ("./{photoId}/{name}", "a step"),
        ("{photoId}.{ext}", "it lacks {name}"),
        ("{name}.{ext}", "it lacks {photoId} or {key}"),
        ("{dir}/{stem}/{name}.{ext}", "it lacks {photoId} or {key}"),
        ("", "a step"),
        ("{stem}_{photoId}/{name}", "a field beside"),
        ("{photoId}-{bucket}/{name}", "a field beside"),
        ("{key}{photoId}/{name}", "a field beside"),
        ("{photoId}{timestamp}/{name}", "a field beside"),
        ("{width}0{photoId}/{name}", "a field beside"),
    ],
)
def test_a_template_that_cannot_work_is_refused(template: str, problem: str) -> None:
    assert template_problem(template).startswith(problem)


@pytest.mark.parametrize(
    ("template", "first", "second", "clash"),
    [
        # Of one photo: one name in two stages.
        ("{photoId}/{name}.{ext}", rendition("optimized"), rendition("optimized", "optimization"), True),
        ("{photoId}/{stage}/{name}", rendition("optimized"), rendition("optimized", "optimization"), False),
        ("{photoId}/{name}.{ext}", rendition("optimized"), BOTH[1], False),
        ("{photoId}/{name}", rendition("optimized"), BOTH[1], True),
        # Of two photos: "a_x" + "_sm" is "a" + "_x_sm".
        ("{photoId}_{name}.{ext}", rendition("sm"), rendition("x_sm"), True),
        ("{name}{photoId}.{ext}", rendition("sm"), rendition("small"), True),
        ("{photoId}_{name}.{ext}", rendition("sm"), rendition("md"), False),
        ("{photoId}/{name}.{ext}", rendition("sm"), rendition("x_sm"), False),
        ("{name}/{photoId}.{ext}", rendition("sm"), rendition("x_sm"), False),
        # A key has slashes, an id has none.
        ("{key}{name}", rendition("sm"), rendition("x/sm"), True),
        ("{photoId}{name}", rendition("sm"), rendition("x/sm"), False),
    ],
)
def test_templates_under_which_two_keys_could_be_one_are_found(
    template: str, first: Rendition, second: Rendition, clash: bool
) -> None:
    assert (colliding(template, [first, second]) is not None) is clash


@pytest.mark.parametrize(
    ("template", "given", "words"),
    [
        ("{key}/{name}", {"s3_key": "/etc/a"}, "leads out"),
        ("{key}/{name}", {"s3_key": "a//b"}, "leads out"),
        ("x/{key}/{name}", {"s3_key": "a/"}, "leads out"),
        ("{dir}/{photoId}{name}", {"s3_key": "/a.jpg"}, "leads out"),
        ("{dir}/{photoId}{name}", {"s3_key": "a//b.jpg"}, "leads out"),
        ("{stem}/{photoId}{name}", {"s3_key": "a/"}, "leads out"),
        ("{key}/{name}", {"s3_key": "../a"}, "leads out"),
        ("{stem}./{photoId}/{name}", {"s3_key": "..jpg"}, "leads out"),
        ("{key}/{name}", {"s3_key": "é" * 512}, "more than 1024 bytes"),
    ],
)
def test_a_job_whose_values_lead_elsewhere_is_refused(
    template: str, given: dict[str, str], words: str
) -> None:
    for act in (
        lambda results: results.require(job(**given)),
        lambda results: results.keys(job(**given), [rendition()]),
    ):
        with pytest.raises(InvalidJob, match=words):
            act(Results(template=template))


def test_a_photo_is_never_overwritten_by_its_own_rendition() -> None:
    results = Results(template="{photoId}/{name}.{ext}")
    own = job(s3_key="p-1/thumb_sm.jpg")
    with pytest.raises(InvalidJob, match="photo's own"):
        results.keys(own, [rendition()])
    assert Results("out", results.template).keys(own, [rendition()]) == ["p-1/thumb_sm.jpg"]


def test_renditions_of_unknown_stages_that_would_have_one_key_fail_the_job() -> None:
    with pytest.raises(InvalidJob, match="one key"):
        Results(template="{photoId}/{name}").keys(job(), [rendition("a"), rendition("a", "other")])
