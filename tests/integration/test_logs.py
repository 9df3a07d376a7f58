"""The log of a real service: every line is read back, no secret is in any, an outage is two lines, a job is one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastproc.config.s3 import S3Config
from fastproc.embedded.child import free_ports
from fastproc.embedded.valkey import Valkey
from fastproc.terminal.exits import Exit
from tests import logfmt, pictures, plugins
from tests.integration.service import Place, Service, Start, eventually

ROOT = Path(__file__).parents[2]

#: A stage as a stranger writes it: its facts are no JSON, and one photo breaks it.
STAGE = """
from fastproc.worker.stage import StageResult

NAME = "odd"

def run(work):
    if work.source.sides[0] == 333:
        raise KeyError("redis://me:in-a-message@h")
    loop = []
    loop.append(loop)
    work.source.warnings.append("a line\\nof its own")
    facts = {"good": 1, "nan": float("nan"), "kinds": {1}, "a\\nb": 1, "loop": loop, "large": 2**60}
    return StageResult(facts | {"signs": "\\x01" * 60_000})
"""
WRONG = [
    "odd.nan is left out of the facts: a number that is not finite",
    "odd.kinds is left out of the facts: a value of type set",
    "odd.a b is left out of the facts: a key with a control character",
    "odd.loop is left out of the facts: facts within facts: more than 10 levels",
    "odd.large is left out of the facts: a number beyond 2^53",
    "odd.signs of 60003 bytes did not fit into the report",
]


@pytest.fixture
def place(own: Valkey, s3: S3Config, s3_client: Any, sqlite_path: str, unique: str) -> Iterator[Place]:
    made = Place(own, s3, s3_client, sqlite_path, unique)
    made.put("one.jpg", pictures.jpeg())
    yield made
    made.close()


@pytest.fixture
def python(tmp_path: Path) -> str:
    """An interpreter that has all that this one has, and the stage as an installer would leave it there."""
    plugins.left(tmp_path / "site", "odd", "odd_stage", STAGE)
    return plugins.interpreter(tmp_path / "venv", tmp_path / "site")


async def ended(place: Place, key: str, state: str, **options: Any) -> str:
    job_id = await place.add({"photoId": f"{key[:-4]}-photo", "s3Key": key}, **options)
    place.until(state, job_id)
    return job_id


async def test_no_secret_is_in_any_line_and_wrong_facts_condemn_no_photo(
    place: Place, own: Valkey, python: str, tmp_path: Path
) -> None:
    closed = free_ports(1)[0]
    place.redis.execute_command("ACL", "SETUSER", "logs", "on", ">redis-pass-1", "~*", "&*", "+@all")
    settings = {
        "REDIS_URL": f"redis://logs:redis-pass-1@{own.host}:{own.port}/0",
        "WEBHOOK_URL": f"http://me:hook-pass-2@127.0.0.1:{closed}/services/hook-path-3?token=hook-token-4",
        "WEBHOOK_SECRET": f"whsec_{'hooksecret5' * 3}AAA",
        "WEBHOOK_ALLOW_PRIVATE": "true",
        "SENTRY_DSN": f"http://0123456789abcdef@127.0.0.1:{closed}/42",
    }
    secrets = [
        "redis-pass-1", "hook-pass-2", "hook-path-3", "hook-token-4", "hooksecret5", "0123456789abcdef",
        "in-a-message", place.s3.secret_key,
    ]  # fmt: skip
    settings |= {"PIPELINE": "validation,metadata,odd", "LOG_LEVEL": "debug", "LOG_FORMAT": "json"}
    place.put("breaks.jpg", pictures.jpeg(333, 222))
    place.put("corrupt.jpg", pictures.jpeg()[:2000])
    service = Service(place, tmp_path, settings, python)
    try:
        service.wait_ready()
        workers = [worker.pid for worker in service.workers()]
        good = [await ended(place, "one.jpg", "completed") for _ in range(2)]
        value = json.loads(place.job(good[0])["returnvalue"])
        assert value["metadata"]["odd"] == {"good": 1, "signs": None}
        assert sorted(value["metadata"]["warnings"]) == sorted([*WRONG, "a line of its own"])
        failing = [
            await ended(place, key, "failed", attempts=1)
            for key in ("breaks.jpg", "corrupt.jpg", "none.jpg", "breaks.jpg")
        ]
        codes = [place.job(job_id)["failedReason"].partition(":")[0] for job_id in failing]
        assert codes == ["PROCESSING_ERROR", "FILE_CORRUPTED", "OBJECT_NOT_FOUND", "PROCESSING_ERROR"]
        assert [worker.pid for worker in service.workers()] == workers
        eventually(lambda: "webhook failed" in service.said, "a receiver was asked")
        assert service.terminate() == Exit.OK
    finally:
        service.close()

    lines = [json.loads(line) for line in service.said.splitlines()]
    assert [secret for secret in secrets if secret in service.said] == []
    assert not re.search(r"Signature=[^*]|Credential=[^*]|AWS4-HMAC|v1,[A-Za-z0-9+/]{20}", service.said)
    assert {line["level"] for line in lines} >= {"debug", "info", "warning", "error"}
    assert {line["logger"].partition(".")[0] for line in lines} == {"fastproc"}
    # One line a job, and nothing else about it at info.
    said = [
        line["jobId"]
        for line in lines
        if line["level"] != "debug" and "jobId" in line and "traceback" not in line
    ]
    assert sorted(said) == sorted([*good, *failing])
    [traceback] = [line for line in lines if "traceback" in line]
    assert (traceback["stage"], traceback["photoId"]) == ("odd", "breaks-photo")
    assert "module odd_stage, line 8, in run\nKeyError" in traceback["traceback"]


@contextlib.contextmanager
def locked(path: str) -> Iterator[None]:
    """Hold the database's only lock for writing."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        yield


@contextlib.contextmanager
def silent(pid: int) -> Iterator[None]:
    """Freeze a server: it accepts, and never answers."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_an_outage_that_all_supervisors_and_jobs_see_is_two_lines(place: Place, start: Start) -> None:
    [port] = free_ports(1)
    service = start(
        ready=False,
        SUPERVISORS="2",
        WORKER_CONCURRENCY="2",
        PREFETCH="8",
        HTTP_PORT=str(port),
        HTTP_HOST="127.0.0.1",
    )
    eventually(lambda: service.said.count(" serves ") == 2, service.said)
    first = len(service.said.splitlines())
    ids: list[str] = []
    for number, outage in enumerate((lambda: locked(place.sqlite_path), lambda: silent(place.valkey.pid)), 1):
        ids += [await place.add({"photoId": f"p{len(ids) + n}", "s3Key": "one.jpg"}) for n in range(20)]
        began = time.monotonic()
        with outage():
            eventually(lambda: service.get(port, "/ready")[0] == 503, "both miss it")
            await asyncio.sleep(max(0.0, began + 3.0 - time.monotonic()))
        eventually(lambda n=number: service.said.count(" outage=end ") == n, "its end is told")
        place.until("completed", *ids)
    assert service.terminate() == Exit.OK

    lines = [logfmt.parsed(line) for line in service.said.splitlines()[first:]]
    told = [line for line in lines if "outage" in line]
    assert [(line["outage"], line["neighbour"], line.get("supervisor")) for line in told] == [
        ("begin", "database", None), ("end", "database", None), ("begin", "redis", None), ("end", "redis", None),
    ]  # fmt: skip
    assert [line["endpoint"] for line in told[:2]] == [place.sqlite_path] * 2
    assert all(str(place.valkey.port) in line["endpoint"] for line in told[2:])
    assert told[0]["since"] == told[1]["since"]
    assert 0 < int(told[1]["ms"]) < 40_000
    assert int(told[1]["wentBack"]) + int(told[1]["waited"]) > 0
    others = [line for line in lines if "outage" not in line and "outcome" not in line]
    assert [line["message"] for line in others if not line["message"].startswith("stop")] == []
