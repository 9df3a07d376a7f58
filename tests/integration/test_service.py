"""The whole service, as its operator starts it: jobs in, everything that the contract promises out."""

from __future__ import annotations

import json
import re
import signal
import socket
from pathlib import Path

import pytest

from fastproc.core.advisories import warnings
from fastproc.embedded.child import free_ports
from fastproc.terminal.exits import Exit
from tests import logfmt, pictures
from tests.integration.service import Place, Start, eventually, frozen


def test_it_says_at_its_start_what_decodes_and_what_of_it_has_holes(place: Place, start: Start) -> None:
    service = start()
    service.wait_ready()
    eventually(lambda: " serves " in service.said, "it has said that it serves")
    [named] = re.findall(r"decoders: (libvips [\d.]+, [^\"]*)", service.said)
    assert "unknown" not in named
    versions = dict(part.rsplit(" ", 1) for part in named.replace(" by its build", "").split(", "))
    holes = re.findall(r"level=warning .*decoders: (.+ has published holes .+)", service.said)
    assert len(holes) == len(warnings(versions))
    assert service.terminate() == Exit.OK


async def test_a_photo_ends_with_objects_row_events_and_return_value_that_agree(
    place: Place, start: Start
) -> None:
    place.put("uploads/one.jpg", pictures.jpeg(1200, 800))
    place.listen()
    photo = f"{place.queue}-one"
    job_id = await place.add(
        {"photoId": photo, "s3Key": "uploads/one.jpg", "clientId": "c-1", "sessionId": 7}
    )
    service = start()
    place.until("completed", job_id)
    job, row = place.job(job_id), place.row(photo)
    value = json.loads(job["returnvalue"])

    assert list(value) == [
        "success", "photoId", "thumbnailCount", "metadata", "thumbnails", "optimization", "durationMs",
    ]  # fmt: skip
    assert (value["success"], value["photoId"], value["thumbnailCount"]) == (True, photo, 3)
    assert (job["atm"], job["progress"]) == ("1", "100")
    assert value["metadata"]["format"] == "jpeg"
    assert value["optimization"]["reason"] == "File already optimal size"

    sizes = {each["name"]: (each["width"], each["height"]) for each in value["thumbnails"]}
    assert sizes == {"thumb_sm": (150, 100), "thumb_md": (300, 200), "thumb_lg": (600, 400)}
    for each in value["thumbnails"]:
        assert each["s3Key"] == f"thumbnails/{photo}/{each['name']}_{job['timestamp']}.jpg"
        found = place.s3_client.get_object(Bucket=place.s3.bucket, Key=each["s3Key"])
        assert (found["ContentType"], found["ContentLength"]) == ("image/jpeg", each["fileSize"])
        assert found["Metadata"] == {"size": each["name"], "width": str(each["width"]), "photo-id": photo}
        assert found["Body"].read()[:3] == b"\xff\xd8\xff"

    assert (row["processing_status"], row["processing_error"]) == ("completed", None)
    assert (row["width"], row["height"]) == (1200, 800)
    assert row["processing_started_at"] <= row["processing_completed_at"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", row["processing_completed_at"])
    assert json.loads(row["processing_metadata"])["thumbnails"] == value["thumbnails"]

    events = place.heard(photo)
    assert all(event["channel"] == event["type"] for event in events)
    assert all(event["data"]["clientId"] == "c-1" and event["data"]["sessionId"] == 7 for event in events)
    kinds = [event["type"].rpartition(".")[2] for event in events]
    assert [kind for kind in kinds if kind != "progress"] == ["started", "completed"]
    percents = [event["data"]["progress"] for event in events if event["type"].endswith("progress")]
    assert list(dict.fromkeys(percents)) == [10, 25, 35, 45, 75, 90, 95, 100]
    completed = next(event for event in events if event["type"].endswith("completed"))
    assert completed["data"]["thumbnails"] == value["thumbnails"]
    said = {(event["type"], event["data"].get("progress")) for event in events}
    assert len({event["id"] for event in events}) == len(said)
    assert service.terminate() == Exit.OK


async def test_a_large_photo_gets_an_optimised_copy(place: Place, start: Start) -> None:
    body = pictures.jpeg(1200, 900, quality=100, subsampling="4:4:4")
    place.put("big.jpg", body)
    start(OPTIMIZE_THRESHOLD_BYTES="1000")
    job_id = await place.add({"photoId": "big", "s3Key": "big.jpg"})
    place.until("completed", job_id)
    key = "photos/optimized/big_optimized.jpg"
    found = place.s3_client.head_object(Bucket=place.s3.bucket, Key=key)
    assert json.loads(place.job(job_id)["returnvalue"])["optimization"]["s3Key"] == key
    assert found["Metadata"]["original-size"] == str(len(body))
    assert found["Metadata"]["optimized-size"] == str(found["ContentLength"])
    assert found["ContentLength"] < 0.9 * len(body)


async def test_jobs_that_cannot_succeed_fail_in_one_attempt_with_their_code(
    place: Place, start: Start
) -> None:
    place.put("cut.jpg", pictures.jpeg(800, 600)[:5000])
    place.put("text.jpg", b"this is no picture, whatever its name says")
    place.put("tiny.jpg", pictures.jpeg(50, 50))
    place.put("png.jpg", pictures.png(), "image/jpeg")
    place.put("fine.jpg", pictures.jpeg())
    place.listen()
    cases = {
        "FILE_CORRUPTED": {"photoId": "cut", "s3Key": "cut.jpg"},
        "UNSUPPORTED_FORMAT": {"photoId": "text", "s3Key": "text.jpg"},
        "IMAGE_TOO_SMALL": {"photoId": "tiny", "s3Key": "tiny.jpg"},
        "MIME_MISMATCH": {"photoId": "png", "s3Key": "png.jpg"},
        "OBJECT_NOT_FOUND": {"photoId": "missing", "s3Key": "missing.jpg"},
        "BUCKET_NOT_ALLOWED": {"photoId": "foreign", "s3Key": "fine.jpg", "bucket": "other"},
        "INVALID_JOB": {"photoId": "../etc/passwd", "s3Key": "fine.jpg"},
    }
    ids = {code: await place.add(data, attempts=3) for code, data in cases.items()}
    good = await place.add({"photoId": "fine", "s3Key": "fine.jpg"})
    start()
    place.until("failed", *ids.values())
    place.until("completed", good)
    for code, job_id in ids.items():
        job = place.job(job_id)
        assert job["failedReason"].startswith(f"{code}: ")
        assert job["atm"] == job["ats"] == "1"
        assert json.loads(job["stacktrace"])[0].startswith(f"{code}: ")
    assert place.row("cut")["processing_status"] == "failed"
    assert place.row("cut")["processing_error"].startswith("FILE_CORRUPTED: ")
    assert place.row("../etc/passwd") == {}
    failed = [event for event in place.heard("cut") if event["type"].endswith("failed")]
    assert [event["data"]["error"]["code"] for event in failed] == ["FILE_CORRUPTED"]
    assert failed[0]["data"]["error"]["willRetry"] is False
    assert place.ids("active") == place.ids("wait") == place.locks() == []


async def test_a_worker_killed_in_mid_job_costs_an_attempt_and_not_the_service(
    place: Place, start: Start
) -> None:
    place.put("one.jpg", pictures.jpeg())
    service = start()
    [worker] = service.workers()
    with frozen(worker):
        job_id = await place.add({"photoId": "one", "s3Key": "one.jpg"}, attempts=3)
        eventually(lambda: place.job(job_id).get("progress") == "25", "the photo is with the worker")
        worker.kill()
        place.until("completed", job_id)
    job = place.job(job_id)
    assert (job["atm"], job["failedReason"].partition(":")[0]) == ("2", "WORKER_KILLED")
    assert place.row("one")["processing_status"] == "completed"
    assert place.row("one")["processing_error"] is None
    further = await place.add({"photoId": "two", "s3Key": "one.jpg"})
    place.until("completed", further)
    assert [process.pid for process in service.workers()] != [worker.pid]
    assert service.terminate() == Exit.OK


async def test_a_photo_that_kills_its_worker_twice_is_poison(place: Place, start: Start) -> None:
    place.put("one.jpg", pictures.jpeg())
    place.listen()
    [port] = free_ports(1)
    service = start(HTTP_PORT=str(port), HTTP_HOST="127.0.0.1")
    photo, job_id = f"{place.queue}-one", ""
    for attempt in (1, 2):
        eventually(
            lambda: "fastproc_workers_alive 1.0" in service.get(port, "/metrics")[1], "a worker is ready"
        )
        [worker] = service.workers()
        with frozen(worker):
            job_id = job_id or await place.add(
                {"photoId": photo, "s3Key": "one.jpg"}, attempts=9, backoff={"type": "fixed", "delay": 2000}
            )
            fetched = f"{job_id}:progress:{attempt}:25"
            eventually(
                lambda id=fetched: id in [event["id"] for event in place.heard(photo)], "it has the photo"
            )
            eventually(lambda: "fastproc_workers_busy 1.0" in service.get(port, "/metrics")[1], "it is busy")
            # A SIGKILL from outside would be no evidence against the photo.
            worker.send_signal(signal.SIGSEGV)
        place.until(("delayed", "failed")[attempt - 1], job_id)
    assert place.job(job_id)["failedReason"].startswith("POISON_PHOTO: ")
    assert place.row(photo)["processing_status"] == "failed"
    assert service.terminate() == Exit.OK


async def test_sigterm_finishes_the_jobs_in_hand_and_loses_none(place: Place, start: Start) -> None:
    place.put("one.jpg", pictures.jpeg())
    service = start(PREFETCH="2")
    first = await place.add({"photoId": "first", "s3Key": "one.jpg"})
    place.until("completed", first)
    [worker] = service.workers()
    with frozen(worker):
        ids = [first, *[await place.add({"photoId": f"p{n}", "s3Key": "one.jpg"}) for n in range(12)]]
        eventually(lambda: len(place.ids("active")) == 3, "one job is with the worker, two are prefetched")
        held = set(place.ids("active"))
        service.process.terminate()
        eventually(lambda: "stopping: 3 jobs in hand" in service.said, "it has begun to stop")
    assert service.wait() == Exit.OK
    done, waiting = set(place.ids("completed")), set(place.ids("wait"))
    assert place.ids("active") == place.locks() == []
    assert done == {first} | held
    assert waiting == set(ids) - done
    assert all("atm" not in place.job(job_id) for job_id in waiting)
    assert all(place.job(job_id)["atm"] == "1" for job_id in done)


async def test_a_job_longer_than_the_grace_goes_back_with_no_attempt_counted(
    place: Place, start: Start
) -> None:
    place.put("one.jpg", pictures.jpeg())
    service = start(SHUTDOWN_GRACE_S="0.5")
    [worker] = service.workers()
    with frozen(worker):
        job_id = await place.add({"photoId": "one", "s3Key": "one.jpg"}, attempts=2)
        eventually(lambda: place.job(job_id).get("progress") == "25", "the photo is with the worker")
        assert service.terminate() == Exit.OK
    assert place.ids("wait") == [job_id]
    assert place.ids("active") == place.locks() == []
    assert "atm" not in place.job(job_id)
    assert "failedReason" not in place.job(job_id)
    start()
    place.until("completed", job_id)
    assert place.job(job_id)["atm"] == "1"


async def test_a_service_that_stops_is_not_ready_and_a_second_sigterm_does_not_wait_for_the_grace(
    place: Place, start: Start
) -> None:
    place.put("one.jpg", pictures.jpeg())
    [port] = free_ports(1)
    service = start(SHUTDOWN_GRACE_S="600", HTTP_PORT=str(port))
    [worker] = service.workers()
    with frozen(worker):
        job_id = await place.add({"photoId": "one", "s3Key": "one.jpg"})
        eventually(lambda: place.job(job_id).get("progress") == "25", "the photo is with the worker")
        service.process.terminate()
        eventually(lambda: "stopping: 1 jobs in hand" in service.said, "it has begun to stop")
        status, body = service.get(port, "/ready")
        assert (status, json.loads(body)["started"]) == (503, False)
        assert "fastproc_supervisors_ready 0.0" in service.get(port, "/metrics")[1]
        assert service.terminate() == Exit.OK
    assert place.ids("wait") == [job_id]


async def test_the_limit_of_the_reference_deployment_holds(place: Place, start: Start) -> None:
    place.put("one.jpg", pictures.jpeg())
    ids = [await place.add({"photoId": f"p{n}", "s3Key": "one.jpg"}) for n in range(8)]
    service = start(RATE_LIMIT_MAX="3", RATE_LIMIT_DURATION_MS="2000", WORKER_CONCURRENCY="2")
    place.until("completed", *ids)
    taken = sorted(int(place.job(job_id)["processedOn"]) for job_id in ids)
    assert taken[-1] - taken[0] >= 3000  # 3 at once, 5 more at 3 in 2 s.
    assert "RATE_LIMIT_MAX" in service.said


async def test_http_says_how_the_service_is(place: Place, start: Start) -> None:
    place.put("one.jpg", pictures.jpeg())
    [port] = free_ports(1)
    service = start(HTTP_PORT=str(port), HTTP_HOST="127.0.0.1")
    place.until("completed", await place.add({"photoId": "one", "s3Key": "one.jpg"}))
    status, body = service.get(port, "/health")
    assert (status, json.loads(body)["status"]) == (200, "healthy")
    status, body = service.get(port, "/ready")
    assert (status, json.loads(body)) == (
        200, {"status": "ready", "started": True, "redis": True, "workers": True, "storage": True, "database": True,
              "kernel": True},
    )  # fmt: skip
    eventually(lambda: 'outcome="completed"} 1.0' in service.get(port, "/metrics")[1], "the job is counted")
    metrics = service.get(port, "/metrics")[1]
    for line in (
        "fastproc_jobs_taken_total 1.0",
        "fastproc_workers_alive 1.0",
        "fastproc_rows_missing_total 0.0",
    ):
        assert line in metrics
    assert service.get(port, "/nothing")[0] == 404


# --- a service that cannot start says so, once, and which variable to look at

WRONG: dict[str, tuple[dict[str, str], str, Exit]] = {
    "a number that is none": ({"REDIS_PORT": "many"}, "REDIS_PORT", Exit.CONFIG),
    "a stage that is none": ({"PIPELINE": "validation,nothing"}, "PIPELINE", Exit.CONFIG),
    "a variable not served": ({"DATABASE_URL": "mysql://x"}, "DATABASE_URL", Exit.CONFIG),
    "a bucket that is missing": ({"MINIO_BUCKET": "no-such-bucket"}, "MINIO_BUCKET", Exit.UNREACHABLE),
    "an allowed bucket missing": ({"ALLOWED_BUCKETS": "no-such-bucket"}, "ALLOWED_BUCKETS", Exit.UNREACHABLE),
    "a wrong secret": ({"MINIO_SECRET_KEY": "swordfish"}, "MINIO_SECRET_KEY", Exit.UNREACHABLE),
    "redis away": ({"REDIS_PORT": "closed"}, "REDIS_PORT", Exit.UNREACHABLE),
    "s3 away": ({"MINIO_PORT": "closed"}, "MINIO_PORT", Exit.UNREACHABLE),
    "a database that is missing": ({"SQLITE_PATH": "/nowhere/photos.db"}, "SQLITE_PATH", Exit.UNREACHABLE),
    "a database without the table": ({"SQLITE_PATH": "empty.db"}, "SQLITE_PATH", Exit.UNREACHABLE),
    "a port that is taken": ({"HTTP_PORT": "taken"}, "HTTP_PORT", Exit.UNREACHABLE),
}


@pytest.mark.parametrize(("settings", "variable", "code"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_configuration_is_one_message_that_names_the_variable(
    start: Start, tmp_path: Path, settings: dict[str, str], variable: str, code: Exit
) -> None:
    (tmp_path / "empty.db").touch()
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        ports = {"closed": str(free_ports(1)[0]), "taken": str(taken.getsockname()[1])}
        service = start(ready=False, **{name: ports.get(value, value) for name, value in settings.items()})
        assert service.wait() == code
    lines = [logfmt.parsed(line) for line in service.said.splitlines()]
    messages = [line["message"] for line in lines if line["level"] == "error"]
    assert variable in messages[0]
    assert messages[1:] == [f"exit {code.value} ({code.name})"]
    assert "Traceback" not in service.said
    assert "swordfish" not in service.said


def test_all_wrong_settings_are_said_at_once(start: Start) -> None:
    service = start(ready=False, REDIS_PORT="x", MAX_SCANS="y", LOG_LEVEL="loud")
    assert service.wait() == Exit.CONFIG
    for variable in ("REDIS_PORT", "MAX_SCANS", "LOG_LEVEL"):
        assert f'message="{variable}: ' in service.said
