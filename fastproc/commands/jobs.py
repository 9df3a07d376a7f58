"""`fastproc jobs`: lists the jobs in a state, or shows all that is known of one."""

from __future__ import annotations

import sys
import time

import click
import msgspec
from rich.console import Console

from fastproc.commands import orders, running
from fastproc.config.settings import Config
from fastproc.core.errors import BY_CODE
from fastproc.core.job_view import STATES
from fastproc.core.snapshot import QueueNow
from fastproc.terminal import jobs as shown
from fastproc.terminal.exits import Exit
from fastproc.terminal.text import print_line

_MOST = 1000


@click.command()
@click.argument("which", required=False, metavar="[STATE|JOB|PHOTO]")
@click.option(
    "--code",
    metavar="CODE",
    type=click.Choice(sorted(BY_CODE), case_sensitive=False),
    help="Failed with this code.",
)
@click.option("--limit", type=click.IntRange(1, _MOST), default=20, show_default=True, help="Jobs at most.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line, of a list one a job.")
def command(which: str | None, code: str | None, limit: int, as_json: bool) -> None:
    """List the jobs in a state, or show one, by its id or its photo's.

    STATE is waiting, prioritized, delayed, waiting-children, active (if nothing is said), completed or failed: what is
    next, or what ended last, comes first. Anything else is the id of a job or of a photo, and all that is known of that
    job is shown.
    """
    state = "waiting" if which == "wait" else which or ("failed" if code else "active")
    if code and state != "failed":
        raise click.UsageError("--code is for jobs that have failed")
    config = running.settings(quiet=True)
    if state in STATES:
        _list(config, state, code or "", limit, as_json=as_json)
    else:
        _show(config, state, as_json=as_json)


def _list(config: Config, state: str, code: str, limit: int, *, as_json: bool) -> None:
    rows = orders.asked(config, lambda desk: desk.jobs(state, code=code, limit=limit))
    if as_json:
        for row in rows:
            print(msgspec.json.encode(row).decode())
        return
    now: QueueNow = orders.asked(config, lambda desk: desk.now())
    console = Console()
    print_line(console, shown.summary(now))
    if rows:
        console.print(shown.table(rows, time.time_ns() // 1_000_000))
    of = f" {code}" if code else ""
    print_line(
        console, f"{len(rows)} of {now.counts[state]} {state}{of}" if rows else f"no job is {state}{of}"
    )


def _show(config: Config, words: str, *, as_json: bool) -> None:
    found = orders.asked(config, lambda desk: desk.look_up(words))
    if as_json:
        print(msgspec.json.encode(found).decode())
    elif found.job:
        for line in shown.lines(found.job, time.time_ns() // 1_000_000):
            print_line(Console(), line)
    else:
        of = "" if found.whole else ", not all of the queue"
        text = f"{words}: no job of that id, and none of that photo among {found.looked} jobs{of}"
        print_line(Console(stderr=True), text)
    sys.exit(Exit.OK if found.job else Exit.PHOTOS_FAILED)
