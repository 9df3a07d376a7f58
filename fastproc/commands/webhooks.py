"""`fastproc webhooks`: shows what waits for the receivers of webhooks and why, and tries it again on request."""

from __future__ import annotations

import sys
import time

import click
import msgspec
from rich.console import Console

from fastproc.backends.events_webhook import outbox_of, poster_of
from fastproc.backends.webhook.outbox import Outbox
from fastproc.backends.webhook.report import Report, report
from fastproc.bullmq.opening import open_pipe
from fastproc.commands import running
from fastproc.config.settings import Config
from fastproc.config.webhook import shown
from fastproc.core import webhook as rules
from fastproc.core.errors import QueueUnavailable, Unreachable
from fastproc.supervisor.announcer import utc
from fastproc.terminal.exits import Exit
from fastproc.terminal.text import print_line

#: Failing and lost webhooks of each receiver that are shown.
SHOWN = 10


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line a receiver.")
@click.option("--retry", is_flag=True, help="Let what waits for its next attempt be tried now.")
@click.option(
    "--ping", is_flag=True, help="Send each receiver a signed event `fastproc.ping`, and show its answer."
)
def command(as_json: bool, retry: bool, ping: bool) -> None:
    """Show what waits for the receivers of webhooks, what fails and why.

    --retry lets the running services try everything now that waits for its next attempt.
    """
    config = running.settings(quiet=True)
    if not config.webhook.urls:
        if not as_json:
            print("no webhooks are sent: WEBHOOK_URL is not set")
        return
    if ping:
        sys.exit(Exit.OK if running.run(lambda: send_pings(config)) else Exit.UNREACHABLE)
    running.run(lambda: webhooks(config, as_json=as_json, retry=retry))


async def webhooks(config: Config, *, as_json: bool, retry: bool) -> None:
    """Print a report of each receiver. Raises Unreachable."""
    async with open_pipe(config) as pipe:
        try:
            for url in config.webhook.urls:
                outbox = outbox_of(pipe.call, config, url)
                await (_retry(outbox, url) if retry else _show(outbox, url, as_json=as_json))
        except QueueUnavailable as error:
            raise Unreachable(f"Redis at {config.redis.where} cannot be used: {error}") from None


async def _retry(outbox: Outbox, url: str) -> None:
    hurried = 0
    while count := await outbox.hurry():
        hurried += count
    print_line(Console(), f"{shown(url)}: {hurried} are due now")


async def _show(outbox: Outbox, url: str, *, as_json: bool) -> None:
    found = await report(outbox, shown(url), SHOWN)
    if as_json:
        print(msgspec.json.encode(found).decode())
    else:
        _print(Console(), found)


async def send_pings(config: Config) -> bool:
    """Send each receiver a signed event; return whether all took it."""
    console, poster = Console(), poster_of(config.webhook)
    passed = True
    try:
        for url in config.webhook.urls:
            id = f"evt_ping{time.time_ns()}"
            event = {
                "id": id,
                "type": "fastproc.ping",
                "timestamp": utc(),
                "data": {},
            }
            answer = await poster.post(url, id, msgspec.json.encode(event))
            passed &= rules.succeeded(answer.status)
            mark = "ok  " if rules.succeeded(answer.status) else "FAIL"
            print_line(console, f"{mark} {shown(url)}: {answer.words} in {answer.seconds * 1000:.0f} ms")
    finally:
        await poster.close()
    return passed


def _print(console: Console, found: Report) -> None:
    print_line(
        console,
        f"{found.receiver}: {found.waiting} waiting ({found.bytes} bytes, the oldest for {found.oldest_s:.0f} s),"
        f" {found.delivered} delivered, {found.expired} expired, {found.dropped} dropped",
    )
    for each in found.failing:
        print_line(
            console,
            f"  failing {each.id} ({each.type}, photo {each.photo}): {each.attempts} attempts,"
            f" next in {each.next_s:.0f} s: {each.last}",
        )
    for gone in found.lost:
        print_line(
            console,
            f"  {gone.why} {gone.at} {gone.id} ({gone.type}, photo {gone.photo}): {gone.attempts} attempts"
            f"{': ' + gone.last if gone.last else ''}",
        )
