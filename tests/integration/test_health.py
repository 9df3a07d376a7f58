"""What a running service says of how it does: /health, the line in the log, failures by code, and what is stale."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from fastproc.bullmq.failures import LIFE_MS
from fastproc.commands import errors, status
from fastproc.config.s3 import S3Config
from fastproc.config.settings import load
from fastproc.core.remedies import REMEDIES
from fastproc.embedded.child import free_ports
from fastproc.embedded.valkey import Valkey
from fastproc.terminal.exits import Exit
from tests import pictures
from tests.integration.service import Place, Service, Start, eventually, frozen


@pytest.fixture
def place(valkey: Valkey, s3: S3Config, s3_client: Any, sqlite_path: str, unique: str) -> Iterator[Place]:
    made = Place(valkey, s3, s3_client, sqlite_path, unique)
    made.put("one.jpg", pictures.jpeg())
    made.put("text.jpg", b"this is no picture")
    yield made
    made.close()


@pytest.fixture
def port() -> int:
    return free_ports(1)[0]


def health(service: Service, port: int) -> dict[str, Any]:
    status, body = service.get(port, "/health")
    return {**json.loads(body), "code": status}


async def test_figures_are_in_health_in_the_log_and_failures_in_redis_for_all(
    place: Place, start: Start, port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    service = start(HTTP_PORT=str(port), HTTP_HOST="127.0.0.1", HEALTH_LOG_S="0.5")
    fresh = health(service, port)
    assert (fresh["code"], fresh["status"], fresh["timeSinceLastJob"]) == (200, "healthy", None)
    assert fresh["metrics"]["successRate"] is None
    good = [await place.add({"photoId": f"p{n}", "s3Key": "one.jpg"}) for n in range(3)]
    bad = await place.add({"photoId": "bad", "s3Key": "text.jpg"})
    place.until("completed", *good)
    place.until("failed", bad)
    now = eventually(
        lambda: (each := health(service, port))["metrics"]["jobsFailed"] and each, "it is counted"
    )
    assert {name: now["metrics"][name] for name in ("jobsProcessed", "jobsFailed", "attemptsRetried")} == {
        "jobsProcessed": 3, "jobsFailed": 1, "attemptsRetried": 0,
    }  # fmt: skip
    assert now["metrics"]["successRate"] == 75.0
    assert 0 < now["metrics"]["averageProcessingTime"] < 40_000
    assert 0 <= now["timeSinceLastJob"] < now["uptime"]
    line = "health status=healthy processed=3 failed=1 retried=0 success_percent=75.00 average_seconds=0."
    eventually(lambda: line in service.said, "the log has the same")

    assert service.terminate() == Exit.OK
    other = start()
    worse = await place.add({"photoId": "worse", "s3Key": "text.jpg"})
    place.until("failed", worse)
    # At once: what it has not written yet, it writes at its end.
    assert other.terminate() == Exit.OK
    [key] = place.redis.keys(place.key("fastproc:*"))
    assert 0 < place.redis.pttl(key) <= LIFE_MS
    config = load(place.environment, 1)
    await errors.errors(config, as_json=True)
    [row] = json.loads(capsys.readouterr().out)
    assert (row["code"], row["jobs"], row["attempts"]) == ("UNSUPPORTED_FORMAT", 2, 2)
    assert (row["photo"], row["job"]) == ("worse", worse)
    assert row["first_at_ms"] < row["last_at_ms"]
    assert row["remedy"] == REMEDIES["UNSUPPORTED_FORMAT"].operator
    await errors.errors(config, as_json=False)
    shown = capsys.readouterr().out
    assert "UNSUPPORTED_FORMAT: 2 jobs failed, 2 attempts" in shown
    assert f"photo worse, job {worse}: " in shown
    await status.status(config, as_json=False)
    assert "errors UNSUPPORTED_FORMAT: 2 jobs failed" in capsys.readouterr().out


async def test_a_service_is_stale_only_while_jobs_wait_that_nothing_holds(
    place: Place, start: Start, port: int
) -> None:
    service = start(HTTP_PORT=str(port), HTTP_HOST="127.0.0.1", HEALTH_STALE_S="1.5", PREFETCH="0")
    [worker] = service.workers()
    with frozen(worker):
        ids = [await place.add({"photoId": f"p{n}", "s3Key": "one.jpg"}) for n in range(3)]
        seen = eventually(
            lambda: (each := health(service, port))["status"] == "stale" and each, "it is stale"
        )
        # The job in hand is the watchdog's: a restart is not called for.
        assert (seen["code"], seen["jobsWaiting"], seen["jobsInHand"]) == (200, 2, 1)
        place.redis.hset(place.key("meta"), "paused", 1)
        seen = eventually(
            lambda: (each := health(service, port))["status"] == "healthy" and each, "it is held"
        )
        assert (seen["held"], seen["jobsWaiting"]) == ("the queue is paused", 2)
        place.redis.hdel(place.key("meta"), "paused")
    place.until("completed", *ids)
    seen = eventually(lambda: (each := health(service, port))["jobsWaiting"] == 0 and each, "none waits")
    assert seen["status"] == "healthy"
    # A job counts when its service is done with it, which is a moment after the queue has it as completed.
    eventually(lambda: health(service, port)["metrics"]["jobsProcessed"] == 3, "all three are counted")
    assert service.terminate() == Exit.OK
