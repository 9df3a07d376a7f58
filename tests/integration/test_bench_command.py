"""`fastproc bench`: on servers of its own, and at a running deployment, where it leaves nothing behind."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fastproc.bullmq.producer import producer
from fastproc.config.queue import QueueConfig
from fastproc.config.redis import RedisConfig
from fastproc.embedded.child import free_ports
from fastproc.terminal.exits import Exit
from tests import pictures
from tests.integration.service import PATIENCE_S, Place, Start, eventually


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two small photos."""
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(pictures.jpeg(640, 480))
    (folder / "b.png").write_bytes(pictures.png(320, 240))
    return folder


def bench(folder: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    command = [sys.executable, "-m", "fastproc", "bench", *arguments]
    return subprocess.run(
        command,
        env={**environment, "COLUMNS": "60"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,
        check=False,
    )


def objects(place: Place) -> set[str]:
    """The keys of all that is in the bucket."""
    found = place.s3_client.list_objects_v2(Bucket=place.s3.bucket)
    return {each["Key"] for each in found.get("Contents", [])}


def rows(place: Place) -> set[str]:
    with closing(sqlite3.connect(place.sqlite_path)) as database:
        return {photo for (photo,) in database.execute("select id from photos")}


def jobs(place: Place) -> list[str]:
    return [job for state in ("wait", "active", "completed", "failed", "delayed") for job in place.ids(state)]


def test_own_servers_are_measured_and_everything_is_told(tmp_path: Path, photos: Path) -> None:
    given = ["--jobs", "10", "--outstanding", "4", "--sweep", "1", "--photos", str(photos)]
    found = bench(
        tmp_path,
        {"PATH": "/usr/bin:/bin"},
        *given,
        "--json",
        "--plots",
        "out",
        "--set",
        "LOG_LEVEL=warn",
        "--hosts",
        "2",
    )
    assert found.returncode == Exit.OK, found.stderr
    report: dict[str, Any] = json.loads(found.stdout)
    assert (report["schema"], report["target"], report["varied"]) == (1, "embedded", "concurrency")
    assert report["photos"] == {file.name: file.stat().st_size for file in sorted(photos.iterdir())}
    assert report["settings"]["LOG_LEVEL"] == "warn"
    assert [run["concurrency"] for run in report["runs"]] == [1]
    for run in report["runs"]:
        assert (run["hosts"], run["workers"], run["load"]["outstanding"]) == (2, 2, 4)
        figures = run["figures"]
        assert (figures["jobs"], figures["completed"], figures["failures"]) == (10, 10, {})
        # Each photo took some milliseconds of a worker's CPU, and supervisors are not free either.
        cpu = run["cpu_ms_per_job"]
        assert cpu["workers"] > 1
        assert cpu["supervisor"] > 0.1
        assert cpu["all"] == pytest.approx(cpu["workers"] + cpu["supervisor"], abs=0.02)
        # Two supervisors and two workers or more, of which each has some ten megabytes of its own.
        assert run["pss_bytes"] > 60 << 20
        assert run["load_generator_cpu_ms_per_job"] > 0
        for one in ("latency_ms", "queue_ms", "work_ms"):
            assert (
                0 <= figures[one]["p50"] <= figures[one]["p95"] <= figures[one]["p99"] <= figures[one]["max"]
            )
        assert figures["latency_ms"]["max"] <= 1000 * figures["seconds"] + 1
    for name in ("throughput.png", "latency.png"):
        with Image.open(tmp_path / "out" / name) as page:
            assert page.format == "PNG"


def test_a_running_deployment_is_as_it_was_but_for_rows(
    place: Place, start: Start, tmp_path: Path, photos: Path
) -> None:
    port = free_ports(1)[0]
    start(HTTP_PORT=str(port), HTTP_HOST="127.0.0.1")
    place.put("photos/theirs.jpg", pictures.jpeg())
    before = objects(place)
    place.redis.set(place.key("unrelated"), "1")
    metrics = f"http://127.0.0.1:{port}/metrics"
    given = ["--rates", "20,40", "--seconds", "0.5", "--arrivals", "fixed", "--photos", str(photos)]
    found = bench(tmp_path, place.environment, "--running", *given, "--json", "--metrics", metrics)
    assert found.returncode == Exit.OK, found.stderr
    report: dict[str, Any] = json.loads(found.stdout)
    assert place.s3.secret_key not in found.stdout + found.stderr
    assert [run["figures"]["completed"] for run in report["runs"]] == [10, 20]
    for run in report["runs"]:
        assert run["workers"] == 1
        assert run["cpu_ms_per_job"]["workers"] > 1
        assert run["pss_bytes"] is None
    assert "workers that BullMQ lists: 1" in found.stderr
    # Renditions, too, were there, and are no more.
    assert "removed: 30 jobs, 92 objects" in found.stderr
    assert objects(place) == before
    assert jobs(place) == []
    assert place.redis.get(place.key("unrelated")) == "1"
    left = [key for key in place.redis.keys(place.key("*")) if ":bench-" in key]
    assert left == []
    [name] = {photo.rsplit("-", 2)[0] for photo in rows(place)}
    assert f"delete from photos where id like '{name}-%'" in found.stderr


def test_what_is_kept_can_be_found(place: Place, start: Start, tmp_path: Path, photos: Path) -> None:
    (photos / "c.jpg").write_bytes(b"no photo")
    start()
    found = bench(tmp_path, place.environment, "--running", "--jobs", "3", "--keep", "--photos", str(photos))
    assert found.returncode == Exit.PHOTOS_FAILED, found.stderr
    # All of it in 60 columns, with the code of what failed.
    assert all(len(line) <= 60 for line in found.stdout.splitlines() if ":" not in line)
    assert [line.split() for line in found.stdout.splitlines() if "UNSUPPORTED_FORMAT" in line] == [
        ["UNSUPPORTED_FORMAT", "1"]
    ]
    assert len(place.ids("completed")) == 2
    assert len(place.ids("failed")) == 1
    assert {key.split("/")[0] for key in objects(place)} == {"photos", "thumbnails"}
    assert len([key for key in objects(place) if key.startswith("photos/bench-")]) == 3


async def test_the_failures_of_a_long_life_are_not_read_where_none_are_asked_for(place: Place) -> None:
    place.redis.zadd(place.key("failed"), {"1": 1, "2": 2})
    where = RedisConfig(host=place.valkey.host, port=place.valkey.port)
    async with producer(where, QueueConfig(name=place.queue)) as queue:
        assert [failure.id for failure in (await queue.status(1)).failures] == ["2"]
        assert (await queue.status(0)).failures == ()


async def test_a_queue_with_jobs_of_others_is_left_alone(place: Place, tmp_path: Path, photos: Path) -> None:
    job = await place.add({"photoId": "theirs", "s3Key": "x.jpg"})
    found = bench(tmp_path, place.environment, "--running", "--photos", str(photos))
    assert found.returncode == Exit.USAGE
    assert "jobs of others wait in this queue (1)" in " ".join(found.stderr.split())
    assert jobs(place) == [job]
    assert objects(place) == set()


@contextmanager
def begun(place: Place, photos: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command, with its jobs in the queue; it has ended when the block ends."""
    command = [
        # A shell starts what runs in the background with SIGINT ignored, and the whole suite may run there.
        "env",
        "--default-signal=INT",
        sys.executable,
        "-m",
        "fastproc",
        "bench",
        "--running",
        "--yes",
        "--photos",
        str(photos),
        *arguments,
    ]
    with subprocess.Popen(
        command, env=place.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            eventually(lambda: len(place.ids("wait")) > 20, "jobs were added")
            yield process
        finally:
            process.kill()


async def test_ctrl_c_takes_the_jobs_back_and_says_so_in_a_line(place: Place, photos: Path) -> None:
    theirs = await place.add({"photoId": "theirs", "s3Key": "x.jpg"})
    with begun(place, photos, "--jobs", "60") as process:
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 128 + signal.SIGINT
    assert "Traceback" not in said
    assert [line for line in said.splitlines() if "interrupted" in line] == [
        "interrupted: cleaning up; Ctrl-C again leaves everything where it is"
    ]
    # All, or those of the first transaction: it may be told before the second.
    assert re.search("removed: (50|60) jobs, 2 objects", said), said
    assert out == ""
    assert jobs(place) == [theirs]
    assert objects(place) == set()
