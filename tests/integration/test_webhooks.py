"""Deliveries to a real receiver, through a real Valkey: what is tried again, what is kept, and what is refused."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
import redis
from msgspec import structs

from fastproc.backends.events_webhook import WebhookSink, create, outbox_of
from fastproc.backends.webhook import endpoint
from fastproc.backends.webhook.outbox import About, Outbox, Tries, Webhook, now_ms
from fastproc.bullmq.address import connector
from fastproc.bullmq.pipe import Pipe
from fastproc.config.redis import RedisConfig
from fastproc.config.settings import Config, load
from fastproc.core import webhook as rules
from fastproc.core.errors import QueueRefused
from fastproc.embedded.valkey import Valkey
from tests import receiver
from tests.integration.suite_events import event
from tests.receiver import OLD_SECRET, SECRET, Receiver, receiving

PATIENCE_S = 20.0


class Counted:
    """What was told of webhooks."""

    def __init__(self) -> None:
        self.outcomes: list[str] = []
        self.lost = 0
        self.waiting: dict[str, int] = {}
        self.receivers: dict[str, Callable[[], str]] = {}

    def webhook(self, outcome: str, seconds: float) -> None:
        self.outcomes.append(outcome)

    def webhooks_lost(self, count: int) -> None:
        self.lost += count

    def webhooks_waiting(self, endpoint: str, count: int) -> None:
        self.waiting[endpoint] = count

    def webhook_receiver(self, endpoint: str, state: Callable[[], str]) -> None:
        self.receivers[endpoint] = state


async def until(condition: Any, what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundredth of the real pauses; their length is core's, and tested there."""
    monkeypatch.setattr(rules, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(rules, "LONGEST_PAUSE_S", 0.4)
    monkeypatch.setattr(rules, "FIRST_REST_S", 0.02)
    monkeypatch.setattr(rules, "LONGEST_REST_S", 0.3)
    monkeypatch.setattr(endpoint, "LOOK_S", 0.1)


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest_asyncio.fixture
async def pipe(valkey: Valkey) -> AsyncIterator[Pipe]:
    opened = Pipe(connector(RedisConfig(host=valkey.host, port=valkey.port), "any"))
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def config(hook: Receiver, unique: str) -> Config:
    return settings(hook.url, unique)


def settings(url: str, queue: str, **more: str) -> Config:
    return load(
        {
            "QUEUE_NAME": queue,
            "WEBHOOK_URL": url,
            "WEBHOOK_SECRET": SECRET,
            "WEBHOOK_ALLOW_PRIVATE": "true",
            **more,
        },
        1,
    )


@asynccontextmanager
async def sending(pipe: Pipe, config: Config, tally: Counted | None = None) -> AsyncIterator[WebhookSink]:
    sink = create(pipe.call, config, tally or Counted())
    assert isinstance(sink, WebhookSink)
    try:
        yield sink
    finally:
        await sink.close()


def outbox(pipe: Pipe, config: Config, most_bytes: int | None = None) -> Outbox:
    rules_ = config.webhook
    if most_bytes:
        config = structs.replace(config, webhook=structs.replace(rules_, backlog_bytes=most_bytes))
    return outbox_of(pipe.call, config, rules_.urls[0])


def message(number: int, body: bytes = b"{}") -> Webhook:
    return Webhook(f"evt_{number}", About(f"{number}:completed", "photo.processing.completed", "p"), body)


# --- what arrives


async def test_only_the_chosen_events_are_sent_and_in_their_order(pipe, config, hook) -> None:
    async with sending(pipe, config) as sink:
        for number in range(40):
            sink.post(event(number, "progress"))
            await sink.publish(event(number, "completed"))
            await until(lambda n=number: len(hook.got) > n, "it came")
    assert [each["id"] for each in hook.got] == [f"job-1:{n}" for n in range(40)]
    assert hook.got[0] == {
        "id": "job-1:0",
        "type": "photo.processing.completed",
        "timestamp": "2026-01-01T00:00:00.000Z",
        "data": {"photoId": "p é", "jobId": "1", "progress": 0},
    }
    assert hook.refused == 0


async def test_progress_is_sent_where_it_is_asked_for(pipe, hook, unique) -> None:
    config = settings(hook.url, unique, WEBHOOK_EVENTS="progress")
    async with sending(pipe, config) as sink:
        sink.post(event(1, "progress"))
        await sink.publish(event(2, "completed"))
        await until(lambda: hook.got, "it came")
    assert [each["id"] for each in hook.got] == ["job-1:1"]


async def test_both_secrets_sign_while_receivers_change_over(pipe, hook, unique) -> None:
    config = settings(hook.url, unique, WEBHOOK_SECRET=f"{SECRET},{OLD_SECRET}")
    hook.secret = OLD_SECRET
    async with sending(pipe, config) as sink:
        await sink.publish(event(1, "completed"))
        await until(lambda: hook.got, "the old secret verifies it")
        hook.secret = SECRET
        await sink.publish(event(2, "completed"))
        await until(lambda: len(hook.got) == 2, "the new secret verifies it")
    assert hook.refused == 0


async def test_each_of_several_receivers_gets_every_event_and_a_dead_one_takes_nothing_from_the_other(
    pipe, hook, unique
) -> None:
    with receiving() as dead:
        dead.behave = receiver.hang
        config = settings(f"{dead.url},{hook.url}", unique)
        async with sending(pipe, config) as sink:
            for number in range(50):
                await sink.publish(event(number, "completed"))
            await until(lambda: len(hook.ids()) == 50, "all came")
            assert dead.got == []
            assert 1 <= dead.most_underway <= 8


async def test_the_same_event_of_two_queues_has_two_ids(pipe, hook, unique) -> None:
    for queue in (f"{unique}-a", f"{unique}-b"):
        async with sending(pipe, settings(hook.url, queue)) as sink:
            await sink.publish(event(1, "completed"))
            await until(lambda n=queue: len(hook.got) == 1 + n.endswith("b"), "it came")
    assert len({head["webhook-id"] for head in hook.heads}) == 2


# --- what is tried again

BROKEN = {
    "500": receiver.status(500),
    "404": receiver.status(404),
    "400": receiver.status(400),
    "redirect": receiver.status(307, Location="http://127.0.0.1:1/elsewhere"),
    "hangs": receiver.hang,
    "reset": receiver.reset,
    "huge headers": receiver.huge_headers,
    "drips for ever": receiver.drip(500),
}


@pytest.mark.parametrize("fault", BROKEN)
async def test_what_failed_is_tried_until_it_passes(pipe, unique, hook, fault: str) -> None:
    config = settings(hook.url, unique, WEBHOOK_TIMEOUT_S="0.5")
    hook.behave = BROKEN[fault]
    tally = Counted()
    async with sending(pipe, config, tally) as sink:
        await sink.publish(event(1, "completed"))
        await until(lambda: len(hook.heads) >= 2, "it was tried again")
        hook.behave = receiver.take
        await until(lambda: hook.got, "it came")
        await until(lambda: "delivered" in tally.outcomes, "it was counted")
        await until(lambda: list(tally.waiting.values()) == [0], "nothing waits")
        assert await outbox(pipe, config).raw("age", "ZCARD") == 0
    assert tally.outcomes.count("failed") >= 2
    assert len({head["webhook-id"] for head in hook.heads}) == 1
    assert hook.refused == 0


async def test_a_success_whose_body_never_ends_is_a_success(pipe, config, hook) -> None:
    hook.behave = flood = receiver.Flood()
    tally = Counted()
    async with sending(pipe, config, tally) as sink:
        await sink.publish(event(1, "completed"))
        await until(lambda: tally.outcomes, "it was sent")
    assert tally.outcomes == ["delivered"]
    assert len(hook.heads) == 1
    # What the buffers of both ends hold; a second of reading would be ten times as much.
    assert flood.written < 20_000_000


async def test_a_success_whose_body_drips_for_ever_is_a_success(pipe, config, hook) -> None:
    hook.behave = receiver.drip(200)
    tally = Counted()
    async with sending(pipe, config, tally) as sink:
        await sink.publish(event(1, "completed"))
        await until(lambda: tally.outcomes, "it was sent")
    assert tally.outcomes == ["delivered"]


async def test_a_receiver_that_was_away_gets_all_that_gathered_meanwhile(pipe, hook, unique, caplog) -> None:
    port = hook.port
    config = settings(hook.url, unique)
    hook.stop()
    tally = Counted()
    async with sending(pipe, config, tally) as sink:
        for number in range(100):
            await sink.publish(event(number, "completed"))
        await until(lambda: any("the receiver fails" in r.getMessage() for r in caplog.records), "it rests")
        await asyncio.sleep(0.5)
        # Three at first, with what was under way, and one after each rest: not 100.
        assert tally.outcomes.count("failed") < 40
        [stands] = sink.neighbours()
        assert (stands.name, str(port) in stands.where, stands.away_since_ms > 0) == ("webhook", True, True)
        assert stands.away == stands.last_error != ""
        with receiving(port=port) as again:
            await until(lambda: len(again.ids()) == 100, "all came")
        [stands] = sink.neighbours()
        assert (stands.away, stands.last_error != "", stands.latency_s is not None) == ("", True, True)
        warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
        assert any("takes them again after" in line for line in warnings)
        assert len(warnings) <= 4
    assert tally.lost == 0


async def test_retry_after_is_honoured(pipe, config, hook) -> None:
    hook.behave = receiver.status(429, Retry_After="1")
    tally = Counted()
    async with sending(pipe, config, tally) as sink:
        await sink.publish(event(1, "completed"))
        await until(lambda: tally.outcomes, "it was tried")
        hook.behave = receiver.take
        await sink.publish(event(2, "completed"))
        await until(lambda: len(hook.got) == 2, "both came")
    assert hook.times[1] - hook.times[0] >= 0.95


async def test_one_event_that_a_receiver_refuses_does_not_hold_the_others(pipe, config, hook) -> None:
    async def picky(request: Any) -> Any:
        body = await request.json()
        return await receiver.status(422 if body["id"] == "job-1:0" else 200)(request)

    hook.behave = picky
    async with sending(pipe, config) as sink:
        for number in range(60):
            await sink.publish(event(number, "completed"))
        await until(lambda: len(hook.got) == 59, "the others came")


# --- what is kept


async def test_what_is_not_delivered_at_the_end_is_delivered_by_the_next_service(pipe, config, hook) -> None:
    hook.behave = receiver.hang
    sink = create(pipe.call, config, Counted())
    for number in range(60):
        await sink.publish(event(number, "completed"))
    started = time.monotonic()
    await sink.close()
    assert time.monotonic() - started < 0.9
    # Their leases would have gone on for seconds. (Of the eight that were under way some may have failed.)
    assert len((await outbox(pipe, config).take(100, 0.0)).taken) >= 52
    hook.behave = receiver.take
    async with sending(pipe, config):
        await until(lambda: len(hook.ids()) == 60, "all came")


async def test_two_services_share_the_work_and_send_nothing_twice(pipe, config, hook) -> None:
    box = outbox(pipe, config)
    for number in range(300):
        await box.add(message(number, b'{"id":"%d"}' % number), now_ms())
    async with sending(pipe, config), sending(pipe, config):
        await until(lambda: len(hook.got) >= 300, "all came")
        await asyncio.sleep(0.2)
    assert len(hook.got) == len(hook.ids()) == 300


async def test_a_lease_that_ran_out_is_taken_again(pipe, config) -> None:
    box = outbox(pipe, config)
    await box.add(message(1), now_ms())
    assert len((await box.take(10, 0.2)).taken) == 1
    empty = await box.take(10, 0.2)
    assert (empty.taken, empty.waiting) == ((), 1)
    assert empty.next_ms is not None
    await asyncio.sleep(0.25)
    assert len((await box.take(10, 0.2)).taken) == 1


async def test_nothing_is_sent_under_a_lease_that_does_not_cover_the_request(
    pipe, config, hook, monkeypatch
) -> None:
    """Another service may have it by then."""
    monkeypatch.setattr(endpoint, "LEASE_REQUESTS", 0.9)
    async with sending(pipe, config) as sink:
        await sink.publish(event(1, "completed"))
        await asyncio.sleep(0.3)
    assert hook.heads == []
    assert await outbox(pipe, config).raw("age", "ZCARD") == 1


async def test_an_event_that_is_said_again_is_kept_once(pipe, config) -> None:
    box = outbox(pipe, config)
    for body in (b"first", b"later", b"later"):
        await box.add(message(1, body), now_ms())
    [found] = (await box.take(10, 5)).taken
    assert found.webhook == message(1, b"first")


async def test_an_event_that_is_said_again_while_it_is_sent_is_sent_once(pipe, config, hook) -> None:
    async def slow(request: Any) -> Any:
        await asyncio.sleep(0.2)
        return await receiver.take(request)

    hook.behave = slow
    tally = Counted()
    async with sending(pipe, config, tally) as sink:
        for _ in range(3):
            await sink.publish(event(1, "completed"))
        await until(lambda: tally.outcomes, "it was sent")
        await asyncio.sleep(0.2)
    assert len(hook.heads) == 1


async def test_over_its_bound_the_oldest_are_lost_counted_and_listed(pipe, config, hook) -> None:
    box = outbox(pipe, config, most_bytes=1 << 20)
    lost = [await box.add(message(n, b"x" * 100_000), now_ms()) for n in range(15)]
    assert sum(filter(None, lost)) == 5
    assert int(await box.raw("stat", "HGET", "bytes")) <= 1 << 20
    kept = [each.webhook.id for each in (await box.take(100, 5)).taken]
    assert kept[0] == "evt_5"
    assert int(await box.raw("stat", "HGET", "dropped")) == 5
    assert b"0:completed" in (await box.raw("lost", "LRANGE", -1, -1))[0]


async def test_one_reply_of_redis_is_bounded(pipe, config) -> None:
    box = outbox(pipe, config)
    for number in range(30):
        await box.add(message(number, b"x" * 100_000), now_ms())
    assert 5 < len((await box.take(100, 5)).taken) < 12


async def test_what_is_too_old_is_given_up(pipe, config, hook) -> None:
    old = structs.replace(config, webhook=structs.replace(config.webhook, retry_s=0.3))
    hook.behave = receiver.status(500)
    tally = Counted()
    async with sending(pipe, old, tally) as sink:
        await sink.publish(event(1, "completed"))
        await until(lambda: tally.lost == 1, "it was given up")
        assert sink.dropped == 1
    assert await outbox(pipe, config).raw("age", "ZCARD") == 0
    assert int(await outbox(pipe, config).raw("stat", "HGET", "bytes")) == 0


async def test_what_waits_for_its_next_try_can_be_hurried_and_leases_are_left(pipe, config) -> None:
    box = outbox(pipe, config)
    for number in range(3):
        await box.add(message(number), now_ms())
    taken = (await box.take(2, 60)).taken
    await box.failed(taken[0].webhook.id, now_ms() + 3_600_000, Tries(1, "HTTP 500", now_ms()))
    assert await box.hurry() == 1
    due = [each.webhook.id for each in (await box.take(10, 60)).taken]
    assert sorted(due) == sorted([taken[0].webhook.id, "evt_2"])


async def test_the_scripts_are_loaded_again_when_redis_forgot_them(pipe, config, valkey) -> None:
    box = outbox(pipe, config)
    await box.add(message(1), now_ms())
    with redis.Redis.from_url(valkey.url) as operator:
        operator.script_flush()
    await box.add(message(2), now_ms())
    assert (await box.take(10, 5)).waiting == 2


async def test_what_redis_refuses_is_counted_and_holds_nobody(config, hook) -> None:
    sink = create(refusing("NOPERM no permissions to run the 'evalsha' command"), config, Counted())
    await asyncio.wait_for(sink.publish(event(1, "completed")), 1)
    sink.post(event(2, "completed"))
    await sink.close()
    assert sink.dropped == 2


async def test_an_event_waits_while_redis_takes_nothing_of_anybody(config, hook) -> None:
    sink = create(refusing("OOM command not allowed"), config, Counted())
    publishing = asyncio.create_task(sink.publish(event(1, "completed")))
    await asyncio.sleep(0.3)
    assert not publishing.done()
    publishing.cancel()
    await asyncio.wait((publishing,))
    await sink.close()
    assert sink.dropped == 0


async def test_an_event_that_json_cannot_say_is_counted_and_fails_nobody(pipe, config, hook) -> None:
    wrong = structs.replace(event(1, "completed"), data={"photoId": "p", "text": "\ud800"})
    async with sending(pipe, config) as sink:
        sink.post(wrong)
        await sink.publish(wrong)
        assert sink.dropped == 2


def refusing(why: str) -> Any:
    """A connection whose every command is refused."""

    def call(*command: Any) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        future.set_exception(QueueRefused(why))
        return future

    return call
