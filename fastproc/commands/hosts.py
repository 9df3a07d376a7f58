"""What the commands share that reach services while they run: who runs, an order to them, and how the outcome is told.

Rule 1: the outcome goes to stdout, a line a host, or one JSON object; an order that was not obeyed everywhere has an
        exit code of its own.
"""

from __future__ import annotations

import sys
from typing import NoReturn

import click
import msgspec
from rich.console import Console

from fastproc.bullmq import control, hosts
from fastproc.bullmq.opening import open_pipe
from fastproc.bullmq.protocol import Keys
from fastproc.commands import orders, running
from fastproc.config.settings import Config
from fastproc.core.acts import Act, Outcome
from fastproc.core.errors import QueueUnavailable, Unreachable
from fastproc.terminal.exits import Exit
from fastproc.terminal.text import print_line

HOST = click.option("--host", default="", metavar="NAME", help="This host alone, as `fastproc top` names it.")


def obey(config: Config, act: Act, *, as_json: bool) -> NoReturn:
    """Give an order to the services that run, tell what each answers, and end the process."""
    outcome = running.run(lambda: order(config, act))
    if as_json:
        print(msgspec.json.encode(outcome).decode())
    else:
        _tell(outcome)
    sys.exit(Exit.OK if outcome.ok else Exit.PHOTOS_FAILED)


async def order(config: Config, act: Act) -> Outcome:
    """Return what the services answer. Raises Unreachable."""
    keys = Keys(config.queue.prefix, config.queue.name)
    async with open_pipe(config) as pipe:
        try:
            there = await hosts.read(pipe.call, keys)
            return await control.order(pipe.call, keys, act, there, by=orders.who())
        except QueueUnavailable as error:
            raise Unreachable(f"Redis at {config.redis.where} cannot be used: {error}") from None


def _tell(outcome: Outcome) -> None:
    console = Console()
    for host, text in outcome.hosts.items():
        print_line(console, f"{host}: {text}")
    if len(outcome.hosts) != 1:
        print_line(console, outcome.text)
