"""Credentials that are renewed: one look at a time, never in the way, and only without any is the store away."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest

from fastproc.backends import s3_credentials
from fastproc.backends.s3_credentials import Found, Renewed
from fastproc.backends.s3_signing import Credentials, Signer
from fastproc.config.s3 import S3Config
from fastproc.core.errors import StorageUnavailable


class Provider:
    """Hands out numbered credentials of `life_s`; `fails`: raises that; `holds`: waits for `go` first."""

    def __init__(self, life_s: float | None = 3600.0) -> None:
        self.life_s, self.fails, self.holds = life_s, "", False
        self.looks = 0
        self.go = threading.Event()

    def __call__(self) -> Found:
        self.looks += 1
        number = self.looks
        if self.holds:
            assert self.go.wait(10)
        if self.fails:
            raise LookupError(self.fails)
        end = None if self.life_s is None else time.time() + self.life_s
        return Found(Credentials(f"A{number}", "secret", f"t{number}", end), "a test")


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.go.set()


async def until_looked(source: Renewed) -> None:
    if source._looking is not None:
        await source._looking


async def test_who_comes_first_waits_and_all_share_one_look(provider: Provider) -> None:
    source = Renewed(provider)
    found = await asyncio.gather(*(source.now() for _ in range(20)))
    assert {each.access_key for each in found} == {"A1"}
    assert provider.looks == 1
    await source.now()
    assert provider.looks == 1


async def test_new_ones_are_looked_for_before_the_end_and_nobody_waits_for_them(provider: Provider) -> None:
    provider.life_s = 1.3  # Due after two thirds of it, used until 1 s before the end.
    source = Renewed(provider)
    assert (await source.now()).access_key == "A1"
    source._since = time.time() - 100  # As if they had been handed out long ago.
    source._next_look = 0.0
    provider.holds = True
    assert (await source.now()).access_key == "A1"
    assert source._looking is not None
    provider.go.set()
    await until_looked(source)
    assert (await source.now()).access_key == "A2"


async def test_a_provider_that_is_away_stops_nothing_until_the_end_and_is_one_line(
    provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    provider.life_s = 1.4
    source = Renewed(provider)
    await source.now()
    provider.fails = "no\nroute"
    source._since = 0.0
    for _ in range(4):
        source._next_look = 0.0
        assert (await source.now()).access_key == "A1"
        await until_looked(source)
    assert provider.looks == 5
    await asyncio.sleep(0.5)
    with pytest.raises(StorageUnavailable, match=r"^credentials: no route$"):
        await source.now()
    assert [record.getMessage().partition(";")[0] for record in caplog.records] == [
        "S3: no new credentials (no route)"
    ]
    # Back again, at the next look that is due.
    provider.fails, provider.life_s = "", 3600.0
    source._next_look = 0.0
    assert (await source.now()).access_key.startswith("A")
    assert "credentials of a test, valid until" in caplog.records[-1].getMessage()


async def test_while_there_are_none_the_provider_is_not_asked_at_every_request(provider: Provider) -> None:
    provider.fails = "no"
    source = Renewed(provider)
    for _ in range(50):
        with pytest.raises(StorageUnavailable):
            await source.now()
    assert provider.looks == 1


async def test_expired_ones_from_a_provider_are_not_used_and_are_one_line(
    provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    provider.life_s = -5.0
    source = Renewed(provider)
    for _ in range(3):
        source._next_look = 0.0
        with pytest.raises(StorageUnavailable, match="those of a test are over"):
            await source.now()
    assert len(caplog.records) == 1


async def test_a_host_without_threads_is_an_outage_and_no_jobs_fault(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    source = Renewed(provider)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refused)
        with pytest.raises(StorageUnavailable, match=r"^credentials: can't start new thread"):
            await source.now()
    source._next_look = 0.0
    assert (await source.now()).access_key == "A1"


async def test_refused_ones_are_looked_up_once_and_the_next_request_has_the_new_ones(
    provider: Provider,
) -> None:
    provider.life_s = None
    source = Renewed(provider)
    await source.now()
    source.refused("somebody else's")
    assert (await source.now()).access_key == "A1"
    source.refused("A1")
    assert (await source.now()).access_key == "A2"
    source.refused("A1")  # A request that was under way.
    source.refused("A2")  # Too soon for another look.
    assert (await source.now()).access_key == "A2"
    assert provider.looks == 2


async def test_a_refusal_while_the_provider_is_away_leaves_what_there_is(provider: Provider) -> None:
    source = Renewed(provider)
    await source.now()
    provider.fails = "no"
    source.refused("A1")
    assert (await source.now()).access_key == "A1"


async def test_a_look_that_never_ends_is_given_up_and_its_late_answer_dropped(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_credentials, "_LOOK_S", 0.05)
    provider.holds = True
    source = Renewed(provider)
    with pytest.raises(StorageUnavailable, match="has not answered yet"):
        await source.now(0.1)
    provider.holds = False
    assert (await source.now()).access_key == "A2"
    provider.go.set()
    await asyncio.sleep(0.05)
    assert (await source.now()).access_key == "A2"


def test_a_loop_that_ends_during_a_look_ends_quietly(
    provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    provider.holds = True

    async def ask() -> None:
        with pytest.raises(StorageUnavailable):
            await Renewed(provider).now(0.01)

    asyncio.run(ask())
    provider.go.set()
    for thread in threading.enumerate():
        if thread.name == "credentials":
            thread.join(5)
    assert caplog.records == []


@pytest.mark.parametrize(("left_s", "seconds"), [(None, 900), (5000.0, 900), (60.5, 60), (0.5, 1)])
def test_no_address_outlives_its_credentials(left_s: float | None, seconds: int) -> None:
    end = None if left_s is None else time.time() + left_s
    url = Signer(S3Config()).signed(Credentials("A", "s", "t/+", end), "GET", "b", "k", {})
    query = parse_qs(urlsplit(url).query)
    assert abs(int(query["X-Amz-Expires"][0]) - seconds) <= 1
    assert query["X-Amz-Security-Token"] == ["t/+"]


def test_no_text_of_them_has_a_secret(provider: Provider) -> None:
    found = provider()
    assert "secret" not in repr(found)
    assert "t1" not in repr(found)
    assert logging.getLogger("botocore").level == logging.WARNING
