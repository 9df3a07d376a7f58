"""`fastproc status`: shows the queue's jobs, workers and failures."""

from __future__ import annotations

import click
import msgspec
from rich.console import Console
from rich.text import Text

from fastproc.bullmq.producer import Status, producer
from fastproc.commands import running
from fastproc.config.settings import Config
from fastproc.terminal.failures import in_short
from fastproc.terminal.rows import Column, Rows
from fastproc.terminal.text import clean, print_line


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line.")
def command(as_json: bool) -> None:
    """Show the queue: jobs by state, workers, newest failures."""
    config = running.settings(quiet=True)
    running.run(lambda: status(config, as_json=as_json))


async def status(config: Config, *, as_json: bool) -> None:
    """Print the queue's state. Raises Unreachable."""
    async with producer(config.redis, config.queue) as queue:
        found = await queue.status()
    if as_json:
        print(msgspec.json.encode(found).decode())
        return
    console = Console()
    columns = tuple(Column(state, right=True) for state in found.counts)
    counts = [Text(str(count)) for count in found.counts.values()]
    console.print(Rows(columns, [counts], title=clean(f"{config.queue.prefix}:{config.queue.name}")))
    print_line(console, f"workers: {_workers(found)}")
    if found.paused:
        print_line(console, "the queue is paused")
    for job in found.failures:
        print_line(console, f"failed {job.id}: {job.reason}")
    for row in found.errors:
        print_line(console, in_short(row))
    if found.errors:
        print_line(console, "what the codes mean, and what to do: fastproc errors")
    for scheduler in found.broken_schedulers:
        print_line(console, f"scheduler {scheduler.id} stands still: {scheduler.reason}")


def _workers(found: Status) -> str:
    """Say who serves the queue: names, or why there are none to show."""
    if found.workers_unknown or found.workers:
        return found.workers_unknown or ", ".join(found.workers)
    if active := found.counts["active"]:
        # Their worker has died, or an ACL keeps it from giving its connection a name.
        return f"none that Redis knows by name, though {active} jobs are active"
    return "none"
