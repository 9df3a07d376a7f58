"""A job scheduler's series goes on with every job taken, whatever its options are."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from datetime import UTC

import pytest

from fastproc.bullmq import outage as outage_module
from fastproc.bullmq import series as series_module
from fastproc.bullmq.scheduler import Iteration
from fastproc.bullmq.series import Series
from fastproc.core.errors import QueueUnavailable

EVERY = {"repeat": {"every": 1000}}


class FakeClient:
    """The record of one scheduler, and what was produced."""

    def __init__(self) -> None:
        self.record: dict[str, str] = {"ic": "1", "data": "{}"}
        self.produced: list[tuple[str, Iteration]] = []
        self.failures = 0

    async def scheduler_fields(self, _: str) -> frozenset[str]:
        if self.failures:
            self.failures -= 1
            raise QueueUnavailable("away")
        return frozenset(self.record)

    async def set_scheduler_data(self, _: str, data: str) -> None:
        self.record.setdefault("data", data)

    async def set_scheduler_error(self, _: str, why: str) -> None:
        self.record["fastprocError"] = why
        if not why:
            del self.record["fastprocError"]

    async def update_job_scheduler(self, job_id: str, iteration: Iteration) -> None:
        self.produced.append((job_id, iteration))


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


@pytest.fixture
async def series(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Series]:
    monkeypatch.setattr(outage_module, "LONGEST_PAUSE_S", 0.01)
    made = Series(client, UTC)  # type: ignore[arg-type]
    yield made
    await made.close()


def hashed(options: object = EVERY, name: str = "nightly", data: str = '{"photoId":"p"}') -> dict[str, bytes]:
    opts = options if isinstance(options, bytes) else json.dumps(options).encode()
    return {"rjk": name.encode(), "opts": opts, "data": data.encode()}


async def test_the_next_job_is_there_when_this_one_starts(series: Series, client: FakeClient) -> None:
    await series.job_taken("7", hashed())
    [(job_id, iteration)] = client.produced
    assert job_id == "7"
    assert (iteration.scheduler_id, iteration.data) == ("nightly", '{"photoId":"p"}')
    assert iteration.options["repeat"]["count"] == 1


async def test_a_job_that_no_scheduler_made_produces_nothing(series: Series, client: FakeClient) -> None:
    await series.job_taken("7", {"opts": b"{}", "data": b"{}"})
    assert client.produced == []


async def test_a_series_that_has_ended_produces_nothing(series: Series, client: FakeClient) -> None:
    await series.job_taken("7", hashed({"repeat": {"every": 1000, "limit": 2, "count": 2}}))
    assert client.produced == []


async def test_a_record_without_data_gets_the_jobs(series: Series, client: FakeClient) -> None:
    del client.record["data"]
    await series.job_taken("7", hashed())
    assert client.record["data"] == '{"photoId":"p"}'


@pytest.mark.parametrize("data", ["", "{}"])
async def test_a_job_without_data_gives_its_scheduler_none(
    series: Series, client: FakeClient, data: str
) -> None:
    del client.record["data"]
    await series.job_taken("7", hashed(data=data))
    assert "data" not in client.record
    assert len(client.produced) == 1


async def test_a_scheduler_that_was_removed_gets_no_record(series: Series, client: FakeClient) -> None:
    client.record = {}
    await series.job_taken("7", hashed())
    assert client.record == {}


@pytest.mark.parametrize(("record", "produced"), [({}, 0), ({"name": "x"}, 0), ({"ic": "1"}, 1)])
async def test_a_repeatable_job_of_old_is_told_by_its_record_and_not_continued(
    series: Series, client: FakeClient, record: dict[str, str], produced: int
) -> None:
    client.record = record
    await series.job_taken("7", hashed(name="resize:id::Europe/Madrid:0 0 * * *"))
    assert len(client.produced) == produced


async def test_producing_is_tried_again_while_redis_is_away(series: Series, client: FakeClient) -> None:
    client.failures = 3
    await series.job_taken("7", hashed())
    assert len(client.produced) == 1


async def test_the_job_does_not_wait_longer_than_its_patience(
    series: Series, client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series_module, "SERIES_PATIENCE_S", 0.02)
    client.failures = 1_000_000
    async with asyncio.timeout(5):
        await series.job_taken("7", hashed())
    assert client.produced == []
    client.failures = 0
    async with asyncio.timeout(5):
        while not client.produced:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_closing_stops_what_is_not_produced_yet(
    series: Series, client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series_module, "SERIES_PATIENCE_S", 0.02)
    client.failures = 1_000_000
    await series.job_taken("7", hashed())
    await series.close()
    client.failures = 0
    await asyncio.sleep(0.05)
    assert client.produced == []


@pytest.mark.parametrize(
    "options",
    [
        b"{",
        b"[]",
        pytest.param(b'{"a":' * 20_000, id="nested without end"),
        {},
        {"repeat": {"pattern": "not a pattern"}},
        {"repeat": {"pattern": "* * * * *", "tz": "Nowhere/At_all"}},
        {"repeat": {"pattern": "* * * * *", "tz": "America"}},
        {"repeat": {"pattern": "* * * * *", "startDate": 10**18}},
        {"repeat": {"pattern": "* * * * *"}, "prevMillis": 2**80},
        {"repeat": {"every": 1000, "count": [1]}},
        {"repeat": {"every": 1000, "endDate": "tomorrow"}},
    ],
    ids=str,
)
async def test_options_that_nobody_can_read_end_the_series_with_an_error(
    series: Series, client: FakeClient, caplog: pytest.LogCaptureFixture, options: object
) -> None:
    with caplog.at_level(logging.ERROR):
        await series.job_taken("7", hashed(options))
    assert client.produced == []
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "scheduler nightly: cannot be continued after job" in caplog.text
    assert vars(caplog.records[0])["fields"]["jobId"] == "7"
    assert client.record["fastprocError"]
    assert list(series.broken) == ["nightly"]


BAD = {"repeat": {"pattern": "0 0 * * L"}}


async def test_an_error_is_logged_once_and_is_gone_when_the_series_goes_on(
    series: Series, client: FakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        for job_id in ("7", "8", "9"):
            await series.job_taken(job_id, hashed(BAD))
    assert len(caplog.records) == 1
    assert "L needs a weekday" in client.record["fastprocError"]
    await series.job_taken("10", hashed())
    assert "fastprocError" not in client.record
    assert series.broken == {}


async def test_the_error_of_a_scheduler_that_was_removed_makes_no_record(
    series: Series, client: FakeClient
) -> None:
    client.record = {}
    await series.job_taken("7", hashed(BAD))
    assert client.record == {}


async def test_an_error_reaches_the_record_when_redis_is_back(series: Series, client: FakeClient) -> None:
    client.failures = 2
    await series.job_taken("7", hashed(BAD))
    assert client.record["fastprocError"]


async def test_no_more_errors_are_remembered_than_the_bound(
    series: Series, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series_module, "MAX_BROKEN", 3)
    for number in range(5):
        await series.job_taken("7", hashed(BAD, name=f"scheduler {number}"))
    assert len(series.broken) == 3
