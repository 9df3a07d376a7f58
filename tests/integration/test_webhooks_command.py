"""`fastproc webhooks` and `check`, against a real Valkey and a real receiver: what an operator sees and can do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner, Result

from fastproc.backends.events_webhook import check, outbox_of
from fastproc.backends.webhook.outbox import About, Tries, Webhook, now_ms
from fastproc.bullmq.opening import open_pipe
from fastproc.commands.webhooks import command
from fastproc.config.settings import Config, load
from fastproc.core.errors import Unreachable
from fastproc.embedded.valkey import Valkey
from fastproc.terminal.exits import Exit
from tests import receiver
from tests.receiver import SECRET, Receiver, receiving
from tests.unit.commands.conftest import a_first_loop, untouched  # noqa: F401  # pytest finds them here

Run = Callable[..., Result]


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def environment(hook: Receiver, valkey: Valkey, unique: str) -> dict[str, str]:
    return {
        "REDIS_HOST": valkey.host,
        "REDIS_PORT": str(valkey.port),
        "QUEUE_NAME": unique,
        "WEBHOOK_URL": hook.url,
        "WEBHOOK_SECRET": SECRET,
        "WEBHOOK_ALLOW_PRIVATE": "true",
        "WEBHOOK_BACKLOG_BYTES": str(1 << 20),
        "COLUMNS": "300",
    }


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    def go(*arguments: str, **settings: str) -> Result:
        return CliRunner(env=environment | settings).invoke(command, arguments)

    return go


async def fill(config: Config) -> None:
    """One that was delivered, one that was dropped, one that fails, one that is due."""
    async with open_pipe(config) as pipe:
        box = outbox_of(pipe.call, config, config.webhook.urls[0])
        for number, size in enumerate((10, 600_000, 600_000, 10)):
            about = About(f"{number}:completed", "photo.processing.completed", f"p{number}")
            await box.add(Webhook(f"evt_{number}", about, b"x" * size), now_ms())
            if number == 0:
                await box.done("evt_0")
        await box.take(1, 60)
        await box.failed("evt_2", now_ms() + 3_000_000, Tries(7, "HTTP 500 no room", now_ms()))


def test_the_report_says_what_waits_what_fails_why_and_what_was_lost(run: Run, environment) -> None:
    asyncio.run(fill(load(environment, 1)))
    found = json.loads(run("--json").stdout)
    assert (found["waiting"], found["delivered"], found["dropped"], found["expired"]) == (2, 1, 1, 0)
    assert found["bytes"] > 600_000
    [failing], [lost] = found["failing"], found["lost"]
    assert (failing["id"], failing["photo"], failing["attempts"]) == ("2:completed", "p2", 7)
    assert failing["last"] == "HTTP 500 no room"
    assert 2_900 < failing["next_s"] <= 3_000
    assert (lost["id"], lost["why"], lost["attempts"]) == ("1:completed", "dropped", 0)
    text = run().stdout
    assert "2 waiting (" in text
    assert (
        "failing 2:completed (photo.processing.completed, photo p2): 7 attempts, next in 3000 s: HTTP 500"
        in text
    )
    assert "dropped 2" in text
    assert "/hook" not in text

    assert "1 are due now" in run("--retry").stdout
    assert json.loads(run("--json").stdout)["failing"][0]["next_s"] == 0


def test_a_ping_is_signed_and_its_answer_shown(run: Run, hook: Receiver) -> None:
    found = run("--ping")
    assert found.exit_code == Exit.OK
    assert "HTTP 204" in found.stdout
    assert [event["type"] for event in hook.got] == ["fastproc.ping"]
    hook.behave = receiver.status(403, "who are you")
    found = run("--ping")
    assert found.exit_code == Exit.UNREACHABLE
    assert "FAIL" in found.stdout
    assert "HTTP 403 who are you" in found.stdout


def test_without_a_receiver_and_without_redis_it_says_so(run: Run) -> None:
    assert "WEBHOOK_URL is not set" in run(WEBHOOK_URL="").stdout
    assert run("--json", WEBHOOK_URL="").stdout == ""
    assert run(REDIS_PORT="1").exit_code == Exit.UNREACHABLE


async def test_check_sends_nothing_and_says_where_a_name_leads(environment, hook: Receiver) -> None:
    assert "at 127.0.0.1; without TLS" in await check(load(environment, 1).webhook)
    for url, why in (
        ("http://localhost:1/", "is loopback"),
        ("https://nobody.invalid/", "cannot be looked up"),
    ):
        private = load(environment | {"WEBHOOK_URL": url, "WEBHOOK_ALLOW_PRIVATE": "false"}, 1).webhook
        with pytest.raises(Unreachable, match=why):
            await check(private)
    assert hook.heads == []
