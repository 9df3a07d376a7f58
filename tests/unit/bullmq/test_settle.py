"""Who owns a job: jobs in hand by id and token, moves whose outcome is unknown, strays."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastproc.bullmq import outage as outage_module
from fastproc.bullmq.outage import Outage
from fastproc.bullmq.protocol import Fetched, Standing
from fastproc.bullmq.settle import JobsInHand, Settled, calls_without_doubles, settle
from fastproc.core.errors import LockLost, QueueRefused, QueueUnavailable
from fastproc.core.model import Job

NEXT = Fetched(job_id="next")


def a_job(job_id: str = "7", token: str = "w:0") -> Job:
    return Job(id=job_id, name="x", token=token, photo_id="p", s3_key="k", bucket="b")


class FakeClient:
    """Locks of active jobs in a dict by id, as Redis has them; what is called, in a list."""

    def __init__(self, **locks: str) -> None:
        self.locks = dict(locks)
        self.renewals: list[list[tuple[str, str]]] = []
        self.given_back: list[tuple[str, str]] = []
        self.standings: list[Standing | QueueUnavailable] = []
        self.away = False
        self.outage = Outage()

    async def extend_locks(self, tokens: Sequence[str], job_ids: Sequence[str]) -> set[str]:
        asked = list(zip(job_ids, tokens, strict=True))
        self.renewals.append(asked)
        return {job_id for job_id, token in asked if self.locks.get(job_id) != token}

    async def active_locks(self) -> dict[str, str]:
        if self.away:
            raise QueueUnavailable("away")
        return dict(self.locks)

    async def move_to_wait(self, job_id: str, token: str) -> None:
        if self.locks.get(job_id) != token:
            raise LockLost("not yours")
        del self.locks[job_id]
        self.given_back.append((job_id, token))

    async def standing(self, job_id: str) -> Standing:
        found = self.standings.pop(0)
        if isinstance(found, QueueUnavailable):
            raise found
        return found


def in_hand(client: FakeClient, *jobs: Job) -> JobsInHand:
    made = JobsInHand(client, "w")  # type: ignore[arg-type]
    for job in jobs:
        made.add(job.id, job.token)
    return made


async def strays(held: JobsInHand, client: FakeClient) -> list[tuple[str, str]]:
    held.fetch_unanswered()
    await held.give_back_strays()
    return client.given_back


def moves(*replies: Any) -> tuple[list[bool], Callable[[bool], Awaitable[Fetched]]]:
    """A move that answers so, one reply a call; and whether each call asked for the next job."""
    asked: list[bool] = []
    left = list(replies)

    async def make(fetch_next: bool) -> Fetched:
        asked.append(fetch_next)
        reply = left.pop(0)
        if isinstance(reply, Exception):
            raise reply
        assert isinstance(reply, Fetched)
        return reply

    return asked, make


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outage_module, "FIRST_PAUSE_S", 0)


# --- one id that is in hand twice


async def test_the_end_of_a_removed_job_leaves_the_one_with_its_id_in_hand() -> None:
    """The job was removed and added again while it ran, and was taken again: one id, two runs, one lock."""
    old, new = a_job(token="w:0"), a_job(token="w:1")
    client = FakeClient(**{"7": "w:1"})
    held = in_hand(client, old, new)
    _, lost = moves(LockLost("not yours"))
    with pytest.raises(LockLost):
        await held.move(old, lost, fetch_next=False, finishing=True)
    assert await strays(held, client) == []
    assert client.locks == {"7": "w:1"}


async def test_a_lost_lock_is_told_of_the_job_that_lost_it_not_of_the_other_with_its_id() -> None:
    old, new, other = a_job(token="w:0"), a_job(token="w:1"), a_job("8", token="w:2")
    client = FakeClient(**{"7": "w:1", "8": "w:2"})
    held = in_hand(client, old, new, other)
    assert await held.extend_locks([old, new, other]) == [old]
    assert await held.extend_locks([new, old]) == [old]
    assert await strays(held, client) == []


async def test_two_jobs_of_one_id_that_both_lost_their_lock_are_both_told() -> None:
    old, new = a_job(token="w:0"), a_job(token="w:1")
    client = FakeClient(**{"7": "somebody"})
    assert await in_hand(client, old, new).extend_locks([old, new]) == [old, new]


async def test_the_renewal_of_a_finished_job_does_not_let_go_of_the_next_one_with_its_token() -> None:
    """A job that is fetched with the end of another has its token."""
    ended, following = a_job("7", "w:0"), a_job("8", "w:0")
    client = FakeClient(**{"8": "w:0"})
    held = in_hand(client, following)
    assert await held.extend_locks([ended]) == [ended]
    assert await strays(held, client) == []


async def test_jobs_of_different_ids_are_renewed_in_one_call() -> None:
    client = FakeClient(a="w:0", b="w:1")
    assert await in_hand(client).extend_locks([a_job("a", "w:0"), a_job("b", "w:1")]) == []
    assert client.renewals == [[("a", "w:0"), ("b", "w:1")]]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5)), unique=True))
def test_no_call_has_an_id_twice_and_all_jobs_are_in_one(pairs: list[tuple[str, int]]) -> None:
    jobs = [a_job(job_id, f"w:{n}") for job_id, n in pairs]
    calls = calls_without_doubles(jobs)
    for call in calls:
        ids = [job.id for job in call]
        assert len(ids) == len(set(ids)) > 0
    assert sorted(job.token + job.id for call in calls for job in call) == sorted(
        job.token + job.id for job in jobs
    )
    most = max((sum(job.id == one for job in jobs) for one in "abc"), default=0)
    assert len(calls) == most


# --- strays


async def test_active_jobs_with_a_lock_of_ours_that_are_not_in_hand_go_back() -> None:
    kept = a_job("kept", "w:0")
    client = FakeClient(kept="w:0", stray="w:1", others="another:1", alike="ww:1")
    held = in_hand(client, kept)
    assert await strays(held, client) == [("stray", "w:1")]


async def test_nothing_is_looked_through_while_every_fetch_was_answered() -> None:
    client = FakeClient(stray="w:1")
    held = in_hand(client)
    await held.give_back_strays()
    assert client.given_back == []
    assert await strays(held, client) == [("stray", "w:1")]
    client.locks["stray"] = "w:1"
    await held.give_back_strays()
    assert client.given_back == [("stray", "w:1")]


async def test_strays_are_looked_for_again_when_redis_was_away() -> None:
    client = FakeClient(stray="w:1")
    held = in_hand(client)
    client.away = True
    with pytest.raises(QueueUnavailable):
        await strays(held, client)
    client.away = False
    await held.give_back_strays()
    assert client.given_back == [("stray", "w:1")]


async def test_a_stray_that_went_elsewhere_meanwhile_does_not_keep_the_others() -> None:
    client = FakeClient(gone="w:1", stray="w:2")

    async def active_locks() -> dict[str, str]:
        found = dict(client.locks)
        client.locks["gone"] = "somebody"
        return found

    client.active_locks = active_locks  # type: ignore[method-assign]
    assert await strays(in_hand(client), client) == [("stray", "w:2")]


async def test_a_job_that_was_given_back_is_not_in_hand() -> None:
    client = FakeClient(**{"7": "w:0"})
    held = in_hand(client, a_job())
    await held.give_back(a_job())
    client.locks["7"] = "w:0"
    assert await strays(held, client) == [("7", "w:0")] * 2


def test_no_token_is_used_twice_and_each_begins_with_the_worker() -> None:
    held = in_hand(FakeClient())
    tokens = [held.new_token() for _ in range(3)]
    assert tokens == ["w:0", "w:1", "w:2"]


# --- moves


async def test_a_move_brings_what_it_fetched_and_ends_the_hold() -> None:
    client = FakeClient(**{"7": "w:0"})
    held = in_hand(client, a_job())
    asked, make = moves(NEXT)
    assert await held.move(a_job(), make, fetch_next=True, finishing=True) is NEXT
    assert asked == [True]
    assert await strays(held, client) == [("7", "w:0")]


async def test_a_move_that_was_asked_to_fetch_nothing_brings_nothing() -> None:
    _, make = moves(Fetched())
    assert await in_hand(FakeClient()).move(a_job(), make, fetch_next=False, finishing=True) is None


async def test_a_move_that_has_not_happened_is_sent_again_without_a_fetch() -> None:
    client = FakeClient(**{"7": "w:0"}, stray="w:1")
    client.standings = [QueueUnavailable("still away"), Standing("w:0", True, False)]
    held = in_hand(client, a_job())
    asked, make = moves(QueueUnavailable("no reply"), Fetched())
    assert await held.move(a_job(), make, fetch_next=True, finishing=True) is None
    assert asked == [True, False]
    client.locks.pop("7")
    await held.give_back_strays()
    assert client.given_back == [("stray", "w:1")]


async def test_a_move_that_was_refused_is_sent_again_without_reading_where_the_job_stands() -> None:
    client = FakeClient(**{"7": "w:0"}, stray="w:1")
    held = in_hand(client, a_job())
    refused = QueueRefused("NOREPLICAS")
    asked, make = moves(refused, refused, Fetched())
    assert await held.move(a_job(), make, fetch_next=True, finishing=True) is None
    assert asked == [True, False, False]
    await held.give_back_strays()
    assert client.given_back == []


async def test_a_script_that_failed_half_way_is_settled_by_reading_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = FakeClient(**{"7": "w:0"})
    client.standings = [Standing("w:0", True, False)] * 3 + [Standing(None, True, True)]
    held = in_hand(client, a_job())
    _, make = moves(*[QueueRefused("ERR odd", in_part=True)] * 4)
    assert await held.move(a_job(), make, fetch_next=False, finishing=True) is None
    assert [record.levelname for record in caplog.records if record.levelno > logging.INFO] == ["WARNING"]


async def test_a_move_that_has_happened_is_not_sent_again() -> None:
    client = FakeClient(stray="w:0")
    client.standings = [Standing(None, True, True)]
    held = in_hand(client, a_job())
    asked, make = moves(QueueUnavailable("no reply"))
    assert await held.move(a_job(), make, fetch_next=True, finishing=True) is None
    assert asked == [True]
    await held.give_back_strays()
    assert client.given_back == [("stray", "w:0")]


async def test_a_move_without_a_fetch_leaves_no_stray_to_look_for() -> None:
    client = FakeClient(stray="w:1")
    client.standings = [Standing(None, True, True)]
    held = in_hand(client, a_job())
    _, make = moves(QueueUnavailable("no reply"))
    await held.move(a_job(), make, fetch_next=False, finishing=True)
    await held.give_back_strays()
    assert client.given_back == []


async def test_a_job_that_somebody_else_has_after_an_unknown_move_is_lost_and_not_in_hand() -> None:
    client = FakeClient(**{"7": "w:0"})
    client.standings = [Standing("somebody", True, False)]
    held = in_hand(client, a_job())
    _, make = moves(QueueUnavailable("no reply"))
    with pytest.raises(LockLost):
        await held.move(a_job(), make, fetch_next=False, finishing=True)
    assert await strays(held, client) == [("7", "w:0")]


async def test_a_job_whose_move_was_refused_stays_in_hand() -> None:
    class Refusal(Exception):
        pass

    client = FakeClient(**{"7": "w:0"})
    held = in_hand(client, a_job())
    _, make = moves(Refusal())
    with pytest.raises(Refusal):
        await held.move(a_job(), make, fetch_next=False, finishing=True)
    assert await strays(held, client) == []


@pytest.mark.parametrize(
    ("standing", "finishing", "removed", "expected"),
    [
        (Standing("w:1", True, False), True, False, Settled.NOT_DONE),
        (Standing("w:1", True, False), False, False, Settled.NOT_DONE),
        (Standing(None, True, True), True, False, Settled.DONE),
        (Standing(None, False, False), True, True, Settled.DONE),
        (Standing(None, False, False), True, False, Settled.LOST),
        (Standing("other", True, False), True, False, Settled.LOST),
        (Standing(None, True, False), True, False, Settled.LOST),
        (Standing(None, True, False), False, False, Settled.DONE),
        (Standing("other", True, False), False, False, Settled.DONE),
    ],
)
def test_a_move_that_was_never_confirmed_is_settled_by_where_the_job_stands(
    standing: Standing, finishing: bool, removed: bool, expected: Settled
) -> None:
    assert settle(standing, "w:1", finishing=finishing, removed=removed) is expected
