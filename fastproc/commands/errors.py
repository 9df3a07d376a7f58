"""`fastproc errors`: shows what has failed in the last days by code, with newest photo, meaning and remedy."""

from __future__ import annotations

import click
import msgspec
from rich.console import Console

from fastproc.bullmq.failures import DAYS
from fastproc.bullmq.producer import producer
from fastproc.commands import running
from fastproc.config.settings import Config
from fastproc.core.failures import Failure
from fastproc.core.remedies import REMEDIES
from fastproc.terminal.failures import in_full
from fastproc.terminal.text import print_line


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line.")
def command(as_json: bool) -> None:
    """Show failures by code: how many, the newest, what to do.

    All services of the queue, the last 7 days. A job counts when it has failed for good, an attempt each time.
    """
    config = running.settings(quiet=True)
    running.run(lambda: errors(config, as_json=as_json))


async def errors(config: Config, *, as_json: bool) -> None:
    """Print the failures by code. Raises Unreachable."""
    async with producer(config.redis, config.queue) as queue:
        rows = await queue.errors()
    if as_json:
        print(msgspec.json.encode([_explained(row) for row in rows]).decode())
        return
    console = Console()
    for row in rows:
        for line in in_full(row):
            print_line(console, line)
    last = f"of the last {DAYS} days; more in docs/operations.md, Error codes"
    print_line(console, last if rows else f"nothing has failed in the last {DAYS} days")


def _explained(row: Failure) -> dict[str, object]:
    remedy = REMEDIES[row.code]
    about = {"meaning": remedy.meaning, "look": remedy.look, "remedy": remedy.operator}
    return msgspec.structs.asdict(row) | about
