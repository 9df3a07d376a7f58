"""The commands as real processes: what they print, what they change, how they end."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image

from fastproc.bullmq.producer import STATES
from fastproc.bullmq.scheduler import ERROR_FIELD
from fastproc.config.settings import Config, table
from fastproc.embedded.child import free_ports
from fastproc.embedded.postgresql import PostgreSQL
from fastproc.terminal.exits import Exit
from tests import pictures, raws
from tests.integration.service import PATIENCE_S, Place, Service, eventually, frozen

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(place: Place, tmp_path: Path) -> Run:
    """Run a command at the test's place to its end."""

    def go(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "fastproc", *arguments],
            env={**place.environment, "COLUMNS": "200", **settings},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    return go


def test_check_shows_every_setting_and_that_everything_can_be_used(run: Run, place: Place) -> None:
    found = run("check")
    assert found.returncode == Exit.OK, found.stdout + found.stderr
    for row in table(Config()):
        assert row.env in found.stdout
    for part in ("Redis", "S3", "database", "worker"):
        assert re.search(rf"^ok +{part}: ", found.stdout, re.MULTILINE), part
    assert "Valkey" in found.stdout
    assert "can decode: avif, gif, heic, jpeg, png, raw, webp" in found.stdout.replace("jxl, ", "")
    assert place.s3.secret_key not in found.stdout
    assert re.search(
        r"^ok +decoders: libvips [\d.]+, .*libheif \(HEIC\) [\d.]+, libde265 [\d.]+", found.stdout, re.M
    )
    assert re.search(r"^ok +decoders: the table of published holes is of 20", found.stdout, re.M)


def test_check_tries_everything_though_one_fails(run: Run) -> None:
    settings = {"WORKER_CONCURRENCY": "32", "MAX_INFLIGHT_BYTES": str(64 << 20)}
    settings |= {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_BSP_MAX_QUEUE_SIZE": "-1"}
    found = run("check", REDIS_PORT=str(free_ports(1)[0]), SQLITE_PATH="nowhere.db", **settings)
    # What does not fit is said beside, and is no reason to fail.
    assert re.search(
        r"^WARN MAX_INFLIGHT_BYTES: 64 MiB for 64 jobs in hand are less than 192 MiB", found.stdout, re.M
    )
    assert found.returncode == Exit.UNREACHABLE
    assert re.search(r"^FAIL Redis: .*REDIS_PORT", found.stdout, re.MULTILINE)
    assert re.search(r"^FAIL database: .*SQLITE_PATH", found.stdout, re.MULTILINE)
    assert re.search(r"^FAIL traces: OTEL_\*: ", found.stdout, re.MULTILINE), found.stdout
    assert re.search(r"^ok +S3: ", found.stdout, re.MULTILINE)
    assert re.search(r"^ok +worker: ", found.stdout, re.MULTILINE), found.stdout


def test_a_misspelt_variable_is_named_by_check_by_run_and_where_a_server_is_not_found(run: Run) -> None:
    words = "OPTIMISE_QUALITY: there is no such setting; did you mean OPTIMIZE_QUALITY?"
    found = run("check", OPTIMISE_QUALITY="1")
    assert found.returncode == Exit.OK, found.stdout
    assert f"WARN {words}" in found.stdout.splitlines()
    nobody = str(free_ports(1)[0])
    away = run("run", OPTIMISE_QUALITY="1", REDIS_PORT=nobody)
    assert away.returncode == Exit.UNREACHABLE
    assert f'level=warning logger=fastproc.commands.run message="{words}"' in away.stderr
    assert f"fastproc: {words}" in run("status", OPTIMISE_QUALITY="1", REDIS_PORT=nobody).stderr.splitlines()


def test_init_db_makes_the_table_once_and_leaves_what_is_there(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert run("init-db", SQLITE_PATH="data/new.db").returncode == Exit.OK
    with closing(sqlite3.connect(tmp_path / "data/new.db")) as database:
        database.execute("insert into photos (id) values ('p')")
        database.commit()
    assert run("init-db", SQLITE_PATH="data/new.db").returncode == Exit.OK
    with closing(sqlite3.connect(tmp_path / "data/new.db")) as database:
        assert database.execute("select id, processing_status from photos").fetchall() == [("p", "pending")]


def test_init_db_of_a_path_that_cannot_be_is_a_message(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    found = run("init-db", SQLITE_PATH="file/photos.db")
    assert found.returncode == Exit.UNREACHABLE
    assert "file/photos.db" in found.stderr
    assert "Traceback" not in found.stderr


def test_enqueue_adds_a_job_for_each_key_and_prints_what_it_added(run: Run, place: Place) -> None:
    found = run(
        "enqueue", "uploads/a 1.jpg", "b.png", "--client-id", "c", "--session-id", "s", "--attempts", "7"
    )
    assert found.returncode == Exit.OK, found.stderr
    assert [line.split(maxsplit=2) for line in found.stdout.splitlines()] == [
        ["1", "a-1", "uploads/a 1.jpg"],
        ["2", "b", "b.png"],
    ]
    job = place.job("1")
    assert json.loads(job["data"]) == {
        "photoId": "a-1",
        "s3Key": "uploads/a 1.jpg",
        "clientId": "c",
        "sessionId": "s",
    }
    assert json.loads(job["opts"])["attempts"] == 7
    assert sorted(place.ids("wait")) == ["1", "2"]


def test_enqueue_can_delay_and_name_photo_and_bucket(run: Run, place: Place) -> None:
    arguments = ("enqueue", "k.jpg", "--photo-id", "mine", "--bucket", "other", "--delay", "3600000")
    found = run(*arguments, ALLOWED_BUCKETS=f"{place.s3.bucket},other")
    assert found.returncode == Exit.OK, found.stderr
    assert place.ids("delayed") == ["1"]
    assert json.loads(place.job("1")["data"]) == {"photoId": "mine", "s3Key": "k.jpg", "bucket": "other"}


def test_enqueue_uploads_local_files(run: Run, place: Place, tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(pictures.png())
    found = run("enqueue", "--upload", "one.png")
    assert found.returncode == Exit.OK, found.stderr
    assert json.loads(place.job("1")["data"])["s3Key"] == "photos/one.png"
    stored = place.s3_client.get_object(Bucket=place.s3.bucket, Key="photos/one.png")
    assert stored["ContentType"] == "image/png"
    assert stored["Body"].read() == pictures.png()


def test_enqueue_of_a_file_that_is_not_there_is_a_message_and_adds_nothing(run: Run, place: Place) -> None:
    found = run("enqueue", "--upload", "missing.png")
    assert found.returncode == Exit.CONFIG
    assert "missing.png" in found.stderr
    assert place.ids("wait") == []


def test_enqueue_never_overwrites_anothers_object(run: Run, place: Place, tmp_path: Path) -> None:
    for folder, photo in (("a", pictures.png()), ("b", pictures.png(321, 200))):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "one.png").write_bytes(photo)
    (tmp_path / "b/two.png").write_bytes(pictures.png())
    bucket = place.s3.bucket
    first = run("enqueue", "--upload", "a/one.png")
    assert (first.returncode, first.stderr) == (Exit.OK, f"uploaded photos/one.png to {bucket}\n")
    again = run("enqueue", "--upload", "a/one.png")
    assert again.stderr == f"photos/one.png is in {bucket} already, with the same bytes\n"
    # Nothing is done for the others either.
    found = run("enqueue", "--upload", "b/two.png", "b/one.png")
    assert found.returncode == Exit.CONFIG
    assert f"photos/one.png: {bucket} has another object of this name, which stays as it is" in found.stderr
    both = run("enqueue", "--upload", "a/one.png", "b/one.png")
    assert "b/one.png: photos/one.png is the key of a/one.png as well, which is another photo" in both.stderr
    stored = place.s3_client.list_objects_v2(Bucket=bucket, Prefix="photos/")["Contents"]
    assert [each["Key"] for each in stored] == ["photos/one.png"]
    assert place.s3_client.get_object(Bucket=bucket, Key="photos/one.png")["Body"].read() == pictures.png()
    assert len(place.ids("wait")) == 2


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["one.png", "a/../b.jpg"], "a/../b.jpg: the service would refuse it: INVALID_JOB: s3Key has a path step of"),
        ([b"caf\xe9.jpg"], "the data is not text: a file's name need not be Unicode"),
        (["--upload", "one.png", "--bucket", "theirs"], "BUCKET_NOT_ALLOWED: bucket 'theirs' is not in"),
        (["--upload", "one.png", "words.jpg", "half.jpg", "large.jpg", "pipe.jpg"],
         "words.jpg: the service would refuse it: UNSUPPORTED_FORMAT|half.jpg: the service would refuse it: FILE_CORR"
         "|large.jpg: the service would refuse it: SOURCE_TOO_LARGE|pipe.jpg: a pipe"),
        (["--upload", "one.png", "."], ".: a folder"),
        (["a/one.png", "a/one.png", "b/one.jpeg"],
         "b/one.jpeg: its photo would be one, as that of a/one.png, and replace its results"),
    ],
    ids=["step", "name", "bucket", "photos", "folder", "same id"],
)  # fmt: skip
def test_enqueue_refuses_what_must_fail_before_it_does_anything(
    arguments: list[str], why: str, run: Run, place: Place, tmp_path: Path
) -> None:
    (tmp_path / "one.png").write_bytes(pictures.png())
    (tmp_path / "words.jpg").write_text("no photo")
    (tmp_path / "half.jpg").write_bytes(pictures.jpeg()[:30])
    with (tmp_path / "large.jpg").open("wb") as file:
        file.truncate(65 << 20)
    os.mkfifo(tmp_path / "pipe.jpg")
    found = run("enqueue", *arguments)
    assert found.returncode == Exit.CONFIG, found.stderr
    assert all(part in found.stderr for part in why.split("|")), found.stderr
    assert found.stdout == ""
    assert place.ids("wait") == []
    assert place.s3_client.list_objects_v2(Bucket=place.s3.bucket)["KeyCount"] == 0


def test_enqueue_gives_a_photo_its_own_type_whatever_its_name(run: Run, place: Place, tmp_path: Path) -> None:
    (tmp_path / "one.jpg").write_bytes(pictures.png())
    assert run("enqueue", "--upload", "one.jpg").returncode == Exit.OK
    assert (
        place.s3_client.head_object(Bucket=place.s3.bucket, Key="photos/one.jpg")["ContentType"]
        == "image/png"
    )


@pytest.mark.parametrize("command", [["enqueue", "k.jpg"], ["status"]])
def test_a_redis_that_is_away_is_a_message(run: Run, command: list[str]) -> None:
    found = run(*command, REDIS_PORT=str(free_ports(1)[0]))
    assert found.returncode == Exit.UNREACHABLE
    assert "REDIS_PORT" in found.stderr
    assert "Traceback" not in found.stderr


async def test_status_shows_jobs_by_state_and_the_newest_failures(run: Run, place: Place) -> None:
    empty = json.loads(run("status", "--json").stdout)
    assert set(empty["counts"].values()) == {0}
    assert (empty["workers"], empty["paused"], empty["failures"]) == ([], False, [])
    for n in range(3):
        await place.add({"photoId": f"p{n}", "s3Key": "k"})
    await place.add({"photoId": "late", "s3Key": "k"}, delay=3_600_000)
    place.redis.zadd(place.key("failed"), {"9": 1})
    place.redis.hset(place.key("9"), mapping={"failedReason": "FILE_CORRUPTED: [bold]cut\x1b[2J short"})
    for name, error in (("nightly", "the weekday 'L': [red]L needs\x1b[2J"), ("hourly", "")):
        place.redis.zadd(place.key("repeat"), {name: 1})
        place.redis.hset(
            place.key(f"repeat:{name}"), mapping={"name": "n"} | ({ERROR_FIELD: error} if error else {})
        )
    found = json.loads(run("status", "--json").stdout)
    assert [each["id"] for each in found["broken_schedulers"]] == ["nightly"]
    assert list(found["counts"]) == list(STATES)
    assert (found["counts"]["wait"], found["counts"]["delayed"], found["counts"]["failed"]) == (3, 1, 1)
    assert found["failures"][0]["id"] == "9"
    shown = run("status")
    assert shown.returncode == Exit.OK
    assert "FILE_CORRUPTED: [bold]cut" in shown.stdout
    assert "scheduler nightly stands still: the weekday 'L': [red]L needs" in shown.stdout
    assert "\x1b" not in shown.stdout
    assert place.queue in shown.stdout


@pytest.mark.parametrize("columns", ["60", "80", "200"])
def test_status_has_its_columns_in_order_at_every_width(columns: str, run: Run) -> None:
    found = run("status", COLUMNS=columns)
    _, head, _, counts, workers = found.stdout.splitlines()
    assert head.split() == list(STATES)
    assert counts.split() == ["0"] * len(STATES)
    assert workers == "workers: none"
    assert max(map(len, found.stdout.splitlines())) <= int(columns)


def test_a_command_runs_where_standard_streams_are_closed(place: Place) -> None:
    # As some supervisors of processes start what they run: their numbers would become those of connections.
    command = ["sh", "-c", 'exec "$0" -m fastproc pause <&- >&-', sys.executable]
    found = subprocess.run(command, env=place.environment, capture_output=True, timeout=PATIENCE_S)
    assert (found.returncode, found.stderr) == (Exit.OK, b"")
    assert place.redis.hget(place.key("meta"), "paused") == "1"


async def test_status_says_none_only_where_it_can_know(run: Run, place: Place) -> None:
    place.redis.lpush(place.key("active"), "1")
    assert "workers: none that Redis knows by name, though 1 jobs are active" in run("status").stdout
    user = place.queue
    place.redis.execute_command("ACL", "SETUSER", user, "on", ">p", "~*", "&*", "+@all", "-client|list")
    try:
        url = f"redis://{user}:p@{place.valkey.host}:{place.valkey.port}/0"
        found = run("status", REDIS_URL=url)
        assert found.returncode == Exit.OK, found.stderr
        assert "workers: unknown, because Redis does not list its clients (" in found.stdout
        assert json.loads(run("status", "--json", REDIS_URL=url).stdout)["workers_unknown"].startswith(
            "unknown"
        )
    finally:
        place.redis.execute_command("ACL", "DELUSER", user)


def test_process_runs_the_pipeline_on_local_files_without_servers(run: Run, tmp_path: Path) -> None:
    photos = tmp_path / "in"
    photos.mkdir()
    (photos / "a.jpg").write_bytes(pictures.jpeg(800, 600))
    (photos / "b.png").write_bytes(pictures.png(400, 300))
    (photos / "c.jpg").write_bytes(pictures.jpeg()[:3000])
    nobody = str(free_ports(1)[0])
    found = run("process", str(photos), "--out", "out", "--json", REDIS_PORT=nobody, MINIO_PORT=nobody)
    assert found.returncode == Exit.PHOTOS_FAILED, found.stderr
    lines = {Path(line["file"]).name: line for line in map(json.loads, found.stdout.splitlines())}
    assert {name: line["success"] for name, line in lines.items()} == {
        "a.jpg": True,
        "b.png": True,
        "c.jpg": False,
    }
    assert lines["c.jpg"]["error"]["code"] == "FILE_CORRUPTED"
    assert [each["name"] for each in lines["a.jpg"]["thumbnails"]] == ["thumb_sm", "thumb_md", "thumb_lg"]
    with Image.open(tmp_path / "out/a_thumb_lg.jpg") as picture:
        assert picture.size == (600, 450)
        assert picture.format == "JPEG"
    assert not list((tmp_path / "out").glob("c_*"))


def test_process_says_in_words_what_became_of_the_photos(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(pictures.jpeg(800, 600))
    (tmp_path / "x").mkdir()
    (tmp_path / "x/a.jpg").write_bytes(pictures.jpeg(640, 480))
    found = run("process", "a.jpg", "x/a.jpg", "--out", "out")
    assert found.returncode == Exit.OK, found.stdout + found.stderr
    assert "a.jpg" in found.stdout
    with Image.open(tmp_path / "out/contact-sheet.jpg") as sheet:
        assert sheet.format == "JPEG"
    # Two files of one name do not overwrite each other.
    assert {path.name for path in (tmp_path / "out").glob("*_thumb_sm.jpg")} == {
        "a_thumb_sm.jpg", "a-2_thumb_sm.jpg",
    }  # fmt: skip


def test_process_refuses_a_file_over_the_limit_without_reading_it(run: Run, tmp_path: Path) -> None:
    with (tmp_path / "giant.jpg").open("wb") as file:
        file.truncate(70 << 20)
    found = run("process", "giant.jpg", "--out", "out", "--json")
    assert found.returncode == Exit.PHOTOS_FAILED
    assert json.loads(found.stdout)["error"]["code"] == "SOURCE_TOO_LARGE"


def test_process_takes_a_hidden_file_that_was_named_but_none_from_a_folder(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in (".named.jpg", "in/.hidden.jpg", "in/a.jpg"):
        (tmp_path / name).write_bytes(pictures.jpeg())
    found = run("process", ".named.jpg", "in", "--out", "out", "--json")
    assert found.returncode == Exit.OK, found.stderr
    assert [json.loads(line)["file"] for line in found.stdout.splitlines()] == [".named.jpg", "in/a.jpg"]


def test_process_goes_on_whatever_lies_among_the_photos(run: Run, tmp_path: Path) -> None:
    photo = pictures.jpeg(300, 200)
    (tmp_path / "in/out").mkdir(parents=True)
    (tmp_path / "in/sub").mkdir()
    for name in (b"a.jpg", b"caf\xe9.jpg", b"new\nline \xf0\x9f\x98\x80.jpg", b"sub/a.jpg", b"out/old.jpg"):
        with open(bytes(tmp_path) + b"/in/" + name, "wb") as file:
            file.write(photo)
    (tmp_path / "in/empty.jpg").touch()
    (tmp_path / "in/gone.jpg").symlink_to("nowhere")
    os.mkfifo(tmp_path / "in/pipe.jpg")
    # A file that root cannot read either: reading it is an error of the device.
    found = run("process", "nowhere.jpg", "/proc/self/mem", "in", "--out", "in/out", "--json")
    assert found.returncode == Exit.PHOTOS_FAILED, found.stderr
    lines = [json.loads(line) for line in found.stdout.splitlines()]
    assert {line["file"]: line.get("error", {}).get("code") for line in lines} == {
        "nowhere.jpg": "NOT_READABLE",
        "/proc/self/mem": "NOT_READABLE",
        "in/a.jpg": None,
        "in/caf\\xe9.jpg": None,
        "in/empty.jpg": "FILE_CORRUPTED",
        "in/gone.jpg": "NOT_READABLE",
        "in/new\nline \U0001f600.jpg": None,
        "in/sub/a.jpg": None,
    }
    written = {each["url"] for line in lines for each in line.get("thumbnails", ())}
    assert len(written) == 4 * 3
    assert "skipped: in/pipe.jpg: a pipe" in found.stderr
    assert "4 failed: FILE_CORRUPTED, NOT_READABLE x3, 2 skipped" in found.stderr


def test_process_says_why_each_photo_failed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    found = run("process", "-", "empty", "--out", "out")
    assert found.returncode == Exit.PHOTOS_FAILED, found.stderr
    assert "-: NOT_READABLE: No such file or directory" in found.stdout
    assert "empty: NOT_READABLE: a folder without files" in found.stdout
    assert "Traceback" not in found.stderr


def test_process_ends_well_when_nobody_reads_its_lines(place: Place, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(pictures.jpeg(300, 200))
    reader, writer = os.pipe()
    os.close(reader)
    try:
        found = subprocess.run(
            [sys.executable, "-m", "fastproc", "process", "a.jpg", "--out", "out", "--json"],
            env=place.environment,
            cwd=tmp_path,
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    finally:
        os.close(writer)
    assert (found.returncode, "Traceback" in found.stderr) == (Exit.OK, False), found.stderr
    assert "none failed" in found.stderr


def test_process_of_a_photo_whose_results_cannot_be_written_goes_on(run: Run, tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(pictures.jpeg(300, 200))
    (tmp_path / "out/a_thumb_lg.jpg").mkdir(parents=True)
    found = run("process", "a.jpg", "b.jpg", "--out", "out", "--json")
    assert found.returncode == Exit.PHOTOS_FAILED, found.stderr
    lines = [json.loads(line) for line in found.stdout.splitlines()]
    assert [line.get("error", {}).get("code") for line in lines] == ["NOT_WRITTEN", None]
    assert sorted(path.name for path in (tmp_path / "out").glob("a_*")) == ["a_thumb_lg.jpg"]


def test_process_reads_raw_files_where_they_are_allowed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.cr2").write_bytes(raws.cr2(pictures.turned(8, width=480, height=640), 8))
    nobody = str(free_ports(1)[0])
    refused = run("process", "a.cr2", "--out", "out", "--json", REDIS_PORT=nobody)
    assert json.loads(refused.stdout)["error"]["message"] == "raw (cr2) is not an allowed format"
    found = run("process", "a.cr2", "--out", "out", "--json", REDIS_PORT=nobody, ALLOWED_FORMATS="raw")
    assert json.loads(found.stdout)["metadata"]["preview"]["container"] == "cr2", found.stdout
    with Image.open(tmp_path / "out/a_thumb_lg.jpg") as picture:
        assert picture.size == (450, 600)


@pytest.mark.skipif(
    bool(pictures.pyvips.type_find("VipsOperation", "jxlload_source")), reason="this libvips reads JPEG XL"
)
def test_a_format_that_libvips_cannot_read_is_refused_at_the_start(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(pictures.jpeg())
    found = run("process", "a.jpg", "--out", "out", ALLOWED_FORMATS="jpeg,jxl")
    assert found.returncode == Exit.CONFIG
    assert "ALLOWED_FORMATS: the installed libvips cannot read jxl" in found.stderr
    checked = run("check", ALLOWED_FORMATS="jpeg,jxl")
    assert re.search(r"^FAIL worker: .*cannot read jxl", checked.stdout, re.MULTILINE)


def test_process_into_a_place_that_cannot_be_is_a_message(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(pictures.jpeg())
    found = run("process", "a.jpg", "--out", "a.jpg/out")
    assert found.returncode == Exit.CONFIG
    assert "fastproc: a.jpg/out: Not a directory" in found.stderr
    assert "Traceback" not in found.stderr


def test_a_database_url_is_made_and_checked_like_a_path(run: Run, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/by-url.db"
    made = run("init-db", SQLITE_PATH="", DATABASE_URL=url)
    assert made.returncode == Exit.OK, made.stderr
    assert f"{tmp_path}/by-url.db (DATABASE_URL)" in made.stdout
    checked = run("check", SQLITE_PATH="", DATABASE_URL=url)
    assert f"ok   database: {tmp_path}/by-url.db (DATABASE_URL)" in checked.stdout.splitlines()


def test_a_postgresql_is_made_and_checked_by_its_url(run: Run, postgresql: PostgreSQL, unique: str) -> None:
    url = f"{postgresql.url().replace('postgresql://', 'postgres://')}?schema={unique}"
    password = url.partition("@")[0].rpartition(":")[2]
    try:
        for _ in range(2):
            made = run("init-db", SQLITE_PATH="", DATABASE_URL=url)
            assert made.returncode == Exit.OK, made.stderr
            assert made.stdout.startswith("the table photos is in postgres://fastproc:********@127.0.0.1:")
        checked = run("check", SQLITE_PATH="", DATABASE_URL=url)
        assert checked.returncode == Exit.OK, checked.stdout
        assert re.search(
            r"^ok   database: .*: PostgreSQL \d.*, table .*photos, answers in [\d.]+ ms",
            checked.stdout.replace("\n     ", " "),
            re.MULTILINE,
        )
        assert not any(password in text for each in (made, checked) for text in (each.stdout, each.stderr))
    finally:
        with postgresql.connect() as connection:
            connection.execute(f'DROP SCHEMA IF EXISTS "{unique}" CASCADE')


@pytest.mark.parametrize("command", ["check", "init-db", "run"])
def test_a_database_without_a_store_is_refused_by_every_command(run: Run, command: str) -> None:
    found = run(command, SQLITE_PATH="", DATABASE_URL="nosuch://me:swordfish@h/photos")
    assert found.returncode == Exit.CONFIG
    # The service tells its log, the others a person.
    begin = r'^time=\S+ level=error logger=fastproc message="' if command == "run" else "^fastproc: "
    assert re.search(rf"{begin}DATABASE_URL: .*sqlite://", found.stderr, re.MULTILINE)
    assert "swordfish" not in found.stderr


#: What costs time to import and is of no use to these commands: picture libraries, S3 clients, the service.
HEAVY = {
    "PIL",
    "pyvips",
    "boto3",
    "botocore",
    "aiohttp",
    "prometheus_client",
    "fastproc.app",
    "fastproc.parts",
}


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["status", "--json"], ["enqueue", "k"], ["init-db"]],
    ids=" ".join,
)
def test_a_quick_command_imports_nothing_heavy(arguments: list[str], place: Place, tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "fastproc", *arguments],
        env=place.environment, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S, check=True,
    )  # fmt: skip
    imported = {line.rpartition("|")[2].strip() for line in found.stderr.splitlines()}
    assert "fastproc.commands.cli" in imported
    assert imported & HEAVY == set()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
async def test_every_signal_that_stops_the_service_gives_its_jobs_back(
    number: signal.Signals, place: Place, tmp_path: Path
) -> None:
    place.put("one.jpg", pictures.jpeg())
    service = Service(place, tmp_path, {"SHUTDOWN_GRACE_S": "0"})
    try:
        service.wait_ready()
        [worker] = service.workers()
        with frozen(worker):
            job_id = await place.add({"photoId": "one", "s3Key": "one.jpg"})
            eventually(lambda: place.job(job_id).get("progress") == "25", "the photo is with the worker")
            service.process.send_signal(number)
            assert service.wait() == Exit.OK, service.said
    finally:
        service.close()
    assert place.ids("wait") == [job_id]
    assert place.ids("active") == place.locks() == []
    assert "atm" not in place.job(job_id)


async def test_a_service_that_was_started_to_outlive_its_terminal_does(place: Place, tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # As nohup does, for the child that inherits it.
    try:
        service = Service(place, tmp_path, {})
    finally:
        signal.signal(signal.SIGHUP, before)
    try:
        service.wait_ready()
        service.process.send_signal(signal.SIGHUP)
        place.put("one.jpg", pictures.jpeg())
        place.until("completed", await place.add({"photoId": "one", "s3Key": "one.jpg"}))
        assert "stopping" not in service.said
        assert service.terminate() == Exit.OK
    finally:
        service.close()
