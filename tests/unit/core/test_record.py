"""What others read about a job: return value, row, events, user metadata."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
from msgspec import structs

from fastproc.core import record
from fastproc.core.errors import BY_CODE
from fastproc.core.model import Job, Options, Rendition, Report, Stored

JOB = Job(
    id="7", name="x", token="t", photo_id="p-1", s3_key="k", bucket="b", client_id="c-9", session_id=12, attempt=2
)  # fmt: skip
SMALL = Rendition(stage="thumbnails", name="thumb_sm", width=150, height=100, offset=0, size=4)
LARGE = Rendition(stage="thumbnails", name="thumb_lg", width=600, height=400, offset=4, size=9)
COPY = Rendition(stage="optimization", name="optimized", width=900, height=600, offset=13, size=70)
REPORT = Report(
    width=900,
    height=600,
    format="jpeg",
    facts={
        "validation": {"format": "jpeg"},
        "metadata": {"format": "jpeg", "width": 900, "height": 600, "space": "srgb", "hasAlpha": False},
        "optimization": {"optimized": True, "originalSize": 100, "optimizedSize": 70, "savings": 30},
        "phash": {"hash": "ff00"},
        "faces": {},
    },
    renditions=(SMALL, LARGE, COPY),
    warnings=("the EXIF block is damaged",),
)
STORED = [Stored(rendition=r, key=f"key/{r.name}", url=f"http://x/{r.name}") for r in (SMALL, LARGE, COPY)]


def test_the_fields_that_no_stage_may_be_called_are_the_contracts() -> None:
    text = (Path(__file__).parents[3] / "docs" / "contract.md").read_text()
    rows = re.findall(
        r"^\| (`[^|]*) \|", text.partition("\n## Metadata\n")[2].partition("\n##")[0], re.MULTILINE
    )
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named - set(Options().stages) == record.METADATA_FIELDS


def test_the_metadata_are_the_metadata_stages_facts_and_those_of_further_stages() -> None:
    found = record.metadata(REPORT)
    assert found["space"] == "srgb"
    assert found["phash"] == {"hash": "ff00"}
    assert found["warnings"] == ["the EXIF block is damaged"]
    assert not {"faces", "validation", "optimization", "thumbnails"} & set(found)


def test_building_the_metadata_changes_nothing_in_the_report() -> None:
    facts = {"metadata": {"format": "jpeg"}, "phash": {"hash": "ff00"}, "optimization": {"savings": 1}}
    report = structs.replace(REPORT, facts=facts)
    before = msgspec.json.encode(report)
    record.metadata(report)
    record.row_metadata(report, STORED)
    assert msgspec.json.encode(report) == before


def test_a_thumbnail_of_the_result_has_the_contracts_fields_and_its_actual_size() -> None:
    assert record.thumbnails(STORED) == [
        {
            "name": "thumb_sm",
            "width": 150,
            "height": 100,
            "fileSize": 4,
            "s3Key": "key/thumb_sm",
            "url": "http://x/thumb_sm",
        },
        {
            "name": "thumb_lg",
            "width": 600,
            "height": 400,
            "fileSize": 9,
            "s3Key": "key/thumb_lg",
            "url": "http://x/thumb_lg",
        },
    ]


#: What a stage of the user's own made, among the others.
OWN = Rendition(
    stage="square", name="square", width=32, height=32, offset=83, size=5, content_type="image/webp"
)
WITH_OWN = [*STORED[:2], Stored(rendition=OWN, key="key/square", url="http://x/square"), *STORED[2:]]


def test_renditions_of_own_stages_are_listed_in_return_value_event_and_row() -> None:
    listed = [
        {
            "stage": "square",
            "name": "square",
            "width": 32,
            "height": 32,
            "fileSize": 5,
            "s3Key": "key/square",
            "url": "http://x/square",
            "contentType": "image/webp",
        }
    ]
    assert record.renditions(WITH_OWN) == {"renditions": listed}
    assert record.return_value(JOB, REPORT, WITH_OWN, 1)["renditions"] == listed
    assert record.completed_data(JOB, REPORT, WITH_OWN, 1)["renditions"] == listed
    assert record.row_metadata(REPORT, WITH_OWN)["renditions"] == listed


def test_without_renditions_of_own_stages_nothing_is_added() -> None:
    assert record.renditions(STORED) == {}
    for found in (
        record.return_value(JOB, REPORT, STORED, 1),
        record.completed_data(JOB, REPORT, STORED, 1),
        record.row_metadata(REPORT, STORED),
    ):
        assert "renditions" not in found


def test_the_optimisation_says_where_the_copy_is() -> None:
    found = record.optimization(REPORT, STORED)
    assert found is not None
    assert found["savings"] == 30
    assert (found["s3Key"], found["url"]) == ("key/optimized", "http://x/optimized")


def test_an_optimisation_that_was_not_kept_says_why_and_has_no_key() -> None:
    facts = {"optimization": {"optimized": False, "reason": "File already optimal size"}}
    assert record.optimization(structs.replace(REPORT, facts=facts), STORED[:2]) == facts["optimization"]


def test_a_pipeline_without_optimisation_has_none_in_the_result() -> None:
    assert record.optimization(structs.replace(REPORT, facts={}), STORED[:2]) is None


def test_the_return_value_has_the_contracts_fields() -> None:
    found = record.return_value(JOB, REPORT, STORED, 321)
    assert list(found) == [
        "success", "photoId", "thumbnailCount", "metadata", "thumbnails", "optimization", "durationMs",
    ]  # fmt: skip
    assert (found["success"], found["photoId"], found["thumbnailCount"]) == (True, "p-1", 2)
    assert found["durationMs"] == 321


def test_the_row_has_what_a_page_needs() -> None:
    found = record.row_metadata(REPORT, STORED)
    assert (found["format"], found["colorSpace"], found["hasAlpha"]) == ("jpeg", "srgb", False)
    assert found["thumbnails"] == record.thumbnails(STORED)
    assert found["metadata"]["phash"] == {"hash": "ff00"}


def test_a_row_without_the_metadata_stage_still_knows_the_format() -> None:
    assert record.row_metadata(structs.replace(REPORT, facts={}), STORED)["format"] == "jpeg"


def test_the_user_metadata_of_objects_are_the_contracts() -> None:
    assert record.upload_metadata(JOB, REPORT, SMALL) == {
        "size": "thumb_sm",
        "width": "150",
        "photo-id": "p-1",
    }
    copy = record.upload_metadata(JOB, REPORT, COPY)
    assert (copy["original-size"], copy["optimized-size"], copy["savings"]) == ("100", "70", "30")


def test_every_event_names_its_job() -> None:
    about = {"photoId": "p-1", "jobId": "7", "clientId": "c-9", "sessionId": 12}
    assert record.event_data(JOB, progress=45) == {**about, "progress": 45}
    for data in (
        record.completed_data(JOB, REPORT, STORED, 5),
        record.failed_data(JOB, "FILE_CORRUPTED", "FILE_CORRUPTED: x", will_retry=False),
    ):
        assert {name: data[name] for name in about} == about


def test_a_completed_event_adds_what_was_made() -> None:
    found = record.completed_data(JOB, REPORT, STORED, 1234)
    assert found["duration"] == 1234
    assert found["thumbnails"] == record.thumbnails(STORED)
    assert found["metadata"] == record.metadata(REPORT)
    assert found["optimization"] == record.optimization(REPORT, STORED)


def test_a_failed_event_says_code_message_attempt_and_what_follows() -> None:
    found = record.failed_data(JOB, "STORAGE_UNAVAILABLE", "STORAGE_UNAVAILABLE: it is away", will_retry=True)
    assert found["error"] == {
        "message": "it is away",
        "code": "STORAGE_UNAVAILABLE",
        "retryable": True,
        "attempt": 2,
        "willRetry": True,
    }


def test_a_failed_event_is_as_retryable_as_its_code() -> None:
    for code, leaf in BY_CODE.items():
        data = record.failed_data(JOB, code, f"{code}: x", will_retry=False)
        assert data["error"]["retryable"] is leaf.retryable


def test_no_reason_is_longer_than_its_bound() -> None:
    long = "PROCESSING_ERROR: " + "x" * 100_000
    assert (
        len(record.failed_data(JOB, "PROCESSING_ERROR", long, will_retry=False)["error"]["message"]) == 2000
    )
    assert len(record.stack(long, "attempt 1 of 3")) < 2100


def test_a_stack_entry_begins_with_the_code_that_a_later_attempt_looks_for() -> None:
    entry = record.stack("WORKER_CRASHED: the worker died", "attempt 1 of 3")
    assert entry.splitlines() == ["WORKER_CRASHED: the worker died", "    at attempt 1 of 3"]
