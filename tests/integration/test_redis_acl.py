"""The Redis user of docs/security.md is enough for the whole service, and no right of it is needless."""

from __future__ import annotations

import inspect
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import redis

from fastproc.backends.factories import event_sink
from fastproc.backends.webhook import report
from fastproc.backends.webhook.scripts import SCRIPTS
from fastproc.bullmq import marks, scripts
from fastproc.bullmq.address import connector
from fastproc.bullmq.desk.queue_desk import QueueDesk
from fastproc.bullmq.layouts import OF_ORDERS
from fastproc.bullmq.pipe import Pipe
from fastproc.bullmq.protocol import Keys
from fastproc.config.events import Socketio
from fastproc.config.redis import RedisConfig
from fastproc.config.s3 import S3Config
from fastproc.config.settings import load
from fastproc.core.acts import Cancel, Drain, Pause, Resume, RetryJobs
from fastproc.core.model import Event
from fastproc.embedded.valkey import Valkey
from fastproc.supervisor.metrics import Metrics
from fastproc.terminal.exits import Exit
from tests import pictures
from tests.integration.service import Place, Start, eventually, frozen

DOCS = Path(__file__).parents[2] / "docs/security.md"
#: Rights that our own code uses, beside those of the scripts.
OWN = {
    "info",
    "client|setname",
    "publish",
    "subscribe",
    "script|load",
    "evalsha",
    "bzpopmin",
    "get",
    "exists",
    "pttl",
    "zadd",
}
OWN |= {"ping", "client|setinfo", "zscore", "lrange", "hget", "hkeys", "hset", "hsetnx", "hdel"}


def rights() -> list[str]:
    """The words of the documented command, from the user's name on."""
    [found] = re.findall(r"```text\nACL SETUSER (.*?)```", DOCS.read_text(), re.DOTALL)
    return str(found).split()


def test_each_right_is_used_by_the_scripts_or_by_us() -> None:
    called = {
        name.lower()
        for script in scripts.load().values()
        if script.name not in OF_ORDERS
        for name in re.findall(r"""(?:rcall|redis\.p?call)\(\s*["'](\w+)""", script.source)
    }
    given = {right.removeprefix("+") for right in rights() if right.startswith("+")}
    assert given == called | OWN


def test_our_own_script_of_marks_needs_no_further_right() -> None:
    called = set(re.findall(r"""(?:redis\.call|try)\('(\w+)'""", marks.SCRIPT))
    assert len(called) == 6
    assert {name.lower() for name in called} <= {right.removeprefix("+") for right in rights()}


def test_webhooks_need_no_further_right() -> None:
    sources = "\n".join((*SCRIPTS.values(), inspect.getsource(report)))
    called = set(re.findall(r"""(?:redis\.call\(|\.raw\("\w+", )["'](\w+)""", sources))
    assert len(called) > 10
    assert {name.lower() for name in called} <= {right.removeprefix("+") for right in rights()}


@pytest.fixture
def place(
    tmp_path: Path, valkey: Valkey, s3: S3Config, s3_client: Any, sqlite_path: str, unique: str
) -> Iterator[Place]:
    with Valkey(tmp_path / "own") as own:
        made = Place(own, s3, s3_client, sqlite_path, unique)
        made.put("one.jpg", pictures.jpeg())
        made.put("bad.jpg", pictures.jpeg()[:200])
        yield made
        made.close()


@pytest.fixture
def documented(place: Place) -> None:
    """Let services be the documented user."""
    words = [word.replace("bull:photos:", f"bull:{place.queue}:") for word in rights()]
    place.redis.execute_command("ACL", "SETUSER", *words)
    for name in ("REDIS_HOST", "REDIS_PORT"):
        del place.environment[name]
    place.environment["REDIS_URL"] = f"redis://fastproc:PASSWORD@127.0.0.1:{place.valkey.port}/0"


def further_rights() -> list[tuple[str, str]]:
    """The table of what events that go further need: the setting, and the words to add."""
    _, _, rest = DOCS.read_text().partition("<!-- rights of events -->")
    table, _, _ = rest.partition("<!-- /rights of events -->")
    return re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|$", table, re.MULTILINE)


def test_each_way_of_the_events_has_its_rights() -> None:
    settings = [setting for setting, _ in further_rights()]
    adapters = {
        load({"EVENTS_SOCKETIO": "off"} | dict([each.split("=")]), 1).events.socketio for each in settings
    }
    assert adapters == set(get_args(Socketio))
    assert any(each.startswith("EVENTS_STREAM=") for each in settings)


@pytest.mark.parametrize(("setting", "words"), further_rights())
async def test_events_that_go_further_need_their_rights_and_no_more(
    valkey: Valkey, unique: str, setting: str, words: str
) -> None:
    told = Event(id="1", type="photo.processing.completed", timestamp="", data={"clientId": "c"})
    sinks = load(dict([setting.split("=")]), 1)
    more = words.split()
    with redis.Redis(host=valkey.host, port=valkey.port, protocol=2) as operator:
        # With all words, then without one of them after the other.
        for without in (None, *more):
            given = [word for word in more if word != without]
            operator.execute_command("ACL", "SETUSER", unique, "reset", *rights()[1:], *given)
            url = f"redis://{unique}:PASSWORD@{valkey.host}:{valkey.port}/0"
            pipe = Pipe(connector(RedisConfig(url=url), "any-key"))
            await pipe.open()
            sink = event_sink(pipe.call, sinks, Metrics())
            await sink.publish(told)
            assert sink.dropped == (0 if without is None else 1)
            await pipe.close()
        operator.execute_command("ACL", "DELUSER", unique)
        operator.delete("socket.io", "photo-events")


@pytest.mark.usefixtures("documented")
async def test_the_service_runs_as_that_user(place: Place, start: Start) -> None:
    place.redis.execute_command("ACL", "LOG", "RESET")
    service = start(STALLED_INTERVAL_MS="1000", LOCK_DURATION_MS="2000", SHUTDOWN_GRACE_S="0")
    one = {"photoId": "one", "s3Key": "one.jpg"}
    waiting = [
        await place.add(one),
        await place.add(one, priority=3),
        await place.add(one, delay=300),
        await place.add(one, removeOnComplete={"age": 0.5}),
    ]
    place.until("completed", *waiting)
    failing = await place.add({"photoId": "gone", "s3Key": "gone.jpg"}, attempts=2, backoff=50)
    place.until("failed", failing)
    # A scheduler's job, as the application's `upsertJobScheduler` leaves it.
    place.redis.zadd(place.key("repeat"), {"s": 1})
    place.redis.hset(place.key("repeat:s"), mapping={"name": "n", "ic": "1", "pattern": "0 0 1 1 *"})
    scheduled = await place.add(one, delay=3_600_000)
    options = {"attempts": 1, "repeat": {"pattern": "0 0 1 1 *"}, "repeatJobKey": "s"}
    place.redis.hset(place.key(scheduled), mapping={"rjk": "s", "opts": json.dumps(options)})
    place.redis.zadd(place.key("delayed"), {scheduled: int(time.time() * 1000 - 5) * 4096})
    place.redis.zadd(place.key("marker"), {"0": 0})
    place.until("completed", scheduled)
    assert place.redis.exists(place.key("repeat:s")) == 1
    [worker] = service.workers()
    with frozen(worker):
        held = await place.add(one)
        eventually(lambda: place.job(held).get("progress") == "25", "the photo is with the worker")
        os.kill(service.process.pid, signal.SIGTERM)
        assert service.wait() == Exit.OK, service.said
    assert place.ids("wait") == [held]
    denied = [
        dict(zip(each[::2], each[1::2], strict=True)) for each in place.redis.execute_command("ACL", "LOG")
    ]
    assert [each["object"] for each in denied] == []
    assert "NOPERM" not in service.said


async def test_orders_need_two_rights_more(valkey: Valkey, unique: str) -> None:
    [more] = re.findall(r"gives orders .*? needs `([^`]+)` besides", DOCS.read_text().replace("\n", " "))
    assert more.split() == ["+rename", "+lpos"]
    words = [word.replace("bull:photos:", f"bull:{unique}:") for word in rights()[1:]]
    with redis.Redis(host=valkey.host, port=valkey.port, protocol=2) as operator:
        operator.execute_command("ACL", "SETUSER", unique, "reset", *words, *more.split())
        operator.execute_command("ACL", "LOG", "RESET")
        for job_id in ("waits", "wrong"):
            operator.hset(f"bull:{unique}:{job_id}", mapping={"name": "n", "timestamp": 1, "data": "{}"})
        operator.lpush(f"bull:{unique}:wait", "waits")
        operator.zadd(f"bull:{unique}:failed", {"wrong": 1})
        url = f"redis://{unique}:PASSWORD@{valkey.host}:{valkey.port}/0"
        pipe = Pipe(connector(RedisConfig(url=url), "any-key"))
        await pipe.open()
        desk = QueueDesk(pipe.call, Keys("bull", unique), scripts.load())
        await desk.now()
        assert [row.id for row in await desk.jobs("waiting")] == ["waits"]
        assert (found := await desk.find("waits"))
        assert found.state == "waiting"
        assert (await desk.act(RetryJobs(everything=True))).count == 1
        assert not (await desk.act(Cancel(job="none"))).ok
        assert (await desk.act(Pause())).count == 1
        assert (await desk.act(Resume())).count == 1
        assert (await desk.act(Drain(delayed=True))).count == 2
        denied = operator.execute_command("ACL", "LOG")
        await pipe.close()
        operator.execute_command("ACL", "DELUSER", unique)
        assert denied == []
