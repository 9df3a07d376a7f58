"""Calls through a breaker: its advice is obeyed, a probe serves all who ask, an outage is two lines in the log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from fastproc.core.breaker import Rules
from fastproc.core.errors import NeighbourAway, ObjectNotFound, StorageUnavailable
from fastproc.supervisor.neighbours import Neighbour

RULES = Rules(retry_s=0.001, pause_s=0.02, pause_max_s=0.02)


class Store:
    """A neighbour with what it answers."""

    def __init__(self, *, probe_sees: bool = True) -> None:
        self.probe_sees = probe_sees
        self.calls: list[str] = []
        self.probes = 0
        self.away = False
        self.probe_is_good: bool | None = None
        self.neighbour = Neighbour("the store", StorageUnavailable, self._probe, RULES)

    async def _probe(self, deep: bool) -> bool:
        self.probes += 1
        await asyncio.sleep(0.005)
        if self.away if self.probe_is_good is None else not self.probe_is_good:
            raise StorageUnavailable("refused")
        return self.probe_sees

    async def get(self, photo: str = "p", *, keep: bool = False) -> str:
        async def operation() -> str:
            self.calls.append(photo)
            if self.away:
                raise StorageUnavailable("503")
            return "bytes"

        return await self.neighbour.call(photo, operation, keep=keep)


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    made = Store()
    watch = asyncio.create_task(made.neighbour.watch())
    yield made
    watch.cancel()
    await asyncio.wait([watch])


async def until_back(store: Store) -> None:
    async with asyncio.timeout(5):
        while store.neighbour.away:
            await store.neighbour.changed()


async def test_a_call_that_passes_asks_nobody(store: Store) -> None:
    assert await store.get() == "bytes"
    assert (store.calls, store.probes) == (["p"], 0)


async def test_a_call_that_fails_while_the_probe_is_bad_goes_back_after_one_try(store: Store) -> None:
    store.away = True
    with pytest.raises(NeighbourAway, match="the store is away: 503"):
        await store.get()
    assert store.calls == ["p"]
    assert not store.neighbour.admits(0)


async def test_a_call_that_this_host_had_no_room_for_goes_back_though_the_probe_is_good(store: Store) -> None:
    """The probe goes over a connection that is open; a new one needs a descriptor that there is not."""

    async def operation() -> str:
        error = StorageUnavailable("Too many open files")
        error.of_host = True
        raise error

    store.probe_is_good = True
    for photo in ("one", "two", "one", "one", "one"):
        with pytest.raises(NeighbourAway, match="Too many open files"):
            await store.neighbour.call(photo, operation, keep=False)
    assert "Too many" in store.neighbour.away
    await until_back(store)


async def test_it_is_found_when_it_is_back(store: Store) -> None:
    store.away = True
    with pytest.raises(NeighbourAway):
        await store.get()
    store.away = False
    await until_back(store)
    assert store.neighbour.admits(99)


async def test_one_probe_serves_all_that_ask_at_once(store: Store) -> None:
    store.away = True
    results = await asyncio.gather(*(store.get(str(n)) for n in range(20)), return_exceptions=True)
    assert {type(result) for result in results} == {NeighbourAway}
    assert store.probes == 1


async def test_a_short_trouble_is_tried_through(store: Store) -> None:
    store.away, store.probe_is_good = True, True
    task = asyncio.create_task(store.get())
    while len(store.calls) < 2:  # noqa: ASYNC110
        await asyncio.sleep(0)
    store.away = False
    assert await task == "bytes"
    assert store.neighbour.away == ""


async def test_finished_work_waits_until_it_is_back(store: Store) -> None:
    store.away = True
    waiting = [asyncio.create_task(store.get(str(n), keep=True)) for n in range(5)]
    await asyncio.sleep(0.1)
    assert not any(task.done() for task in waiting)
    store.away = False
    assert await asyncio.gather(*waiting) == ["bytes"] * 5


async def test_an_answer_about_the_photo_is_a_sign_of_life(store: Store) -> None:
    async def operation() -> None:
        raise ObjectNotFound

    store.away, store.probe_is_good = True, True
    failing = asyncio.create_task(store.get("bad"))
    await asyncio.sleep(0)
    with pytest.raises(ObjectNotFound):
        await store.neighbour.call("gone", operation, keep=False)
    with pytest.raises(StorageUnavailable):
        await failing


async def test_an_interrupted_call_is_forgotten(store: Store) -> None:
    store.away = True
    task = asyncio.create_task(store.get(keep=True))
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert store.neighbour._breaker._failing == {}


async def test_a_probe_that_hangs_is_a_bad_one(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastproc.supervisor.neighbours.PROBE_TIMEOUT_S", 0.02)
    store.away = True
    store.neighbour._probe = lambda _deep: asyncio.Event().wait()
    with pytest.raises(NeighbourAway):
        await store.get()


async def test_an_outage_is_a_line_at_its_beginning_and_one_at_its_end(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    store.away = True
    for n in range(10):
        with pytest.raises(NeighbourAway):
            await store.get(str(n))
    await asyncio.sleep(0.1)
    store.away = False
    await until_back(store)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert lines[0] == "the store is away, no jobs are taken until it is back: refused"
    assert lines[1].startswith("the store is back after ")
    assert lines[1].endswith("; 10 jobs went back meanwhile")


async def test_uploads_that_nobody_gets_through_wait_though_the_probe_is_good() -> None:
    store = Store(probe_sees=False)
    watch = asyncio.create_task(store.neighbour.watch())
    store.away, store.probe_is_good = True, True
    task = asyncio.create_task(store.get(keep=True))
    await asyncio.sleep(0.1)
    assert store.neighbour.away == "503"
    store.away = False
    assert await task == "bytes"
    assert store.neighbour.away == ""
    watch.cancel()
    await asyncio.wait([watch])


async def test_the_end_of_the_watch_ends_a_probe_that_hangs() -> None:
    store = Store()
    asked = asyncio.Event()

    async def hang(_deep: bool) -> bool:
        asked.set()
        await asyncio.Event().wait()
        return True

    store.neighbour._probe = hang
    store.away = True
    watch = asyncio.create_task(store.neighbour.watch())
    call = asyncio.create_task(store.get())
    await asked.wait()
    for task in (call, watch):
        task.cancel()
    await asyncio.wait([call, watch])
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_questions_that_hang_do_not_put_off_the_look_while_further_jobs_ask_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fastproc.supervisor.neighbours.IDLE_PROBE_S", 0.05)
    store = Store()
    watch = asyncio.create_task(store.neighbour.watch())

    async def hang() -> None:
        await asyncio.Event().wait()

    asking = []
    for number in range(20):
        asking.append(asyncio.create_task(store.neighbour.call(f"p{number}", hang, keep=False)))
        await asyncio.sleep(0.01)
    assert store.probes > 0
    for task in (*asking, watch):
        task.cancel()
    await asyncio.wait((*asking, watch))


async def test_latency_and_the_last_error_are_kept_for_people_who_look() -> None:
    store = Store()
    assert (store.neighbour.latency_s, store.neighbour.last_error) == (None, "")
    await store.get()
    latency_s = store.neighbour.latency_s
    assert latency_s is not None
    assert 0 <= latency_s < 60
    store.away = True
    with pytest.raises(NeighbourAway):
        await store.get("p")
    assert store.neighbour.away_since is not None
    assert (store.neighbour.last_error, store.neighbour.last_error_at_ms > 1_700_000_000_000) == (
        "refused",
        True,
    )
    store.away = False
    watching = asyncio.create_task(store.neighbour.watch())
    for _ in range(1000):
        if store.neighbour.away_since is None:
            break
        await asyncio.sleep(0.01)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert (store.neighbour.away, store.neighbour.away_since, store.neighbour.last_error) == (
        "",
        None,
        "refused",
    )
    # An error of a photo's own, while the probe is good.
    store.away, store.probe_is_good = True, True
    with pytest.raises((StorageUnavailable, NeighbourAway)):
        await store.get("q")
    assert store.neighbour.last_error == "503"


async def test_what_it_answers_is_timed_and_what_it_does_not_answer_is_not(store: Store) -> None:
    seconds: list[float] = []
    store.neighbour.on_answer = seconds.append
    await store.get()
    assert len(seconds) == 1
    assert 0 <= seconds[0] < 5

    async def missing() -> str:
        raise ObjectNotFound

    with pytest.raises(ObjectNotFound):
        await store.neighbour.call("p", missing, keep=False)
    assert len(seconds) == 2
    assert store.neighbour.state == "closed"
    store.away = True
    with pytest.raises(NeighbourAway):
        await store.get()
    assert len(seconds) == 2
    assert store.neighbour.state == "open"
