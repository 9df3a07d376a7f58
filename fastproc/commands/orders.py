"""What the commands that order something share: the queue's desk, the question before it, and how the outcome is told.

Rule 1: nobody is asked who cannot answer: without a terminal an order to many jobs needs `--yes`.
Rule 2: the outcome goes to stdout, as JSON or in one line; the question goes to stderr.
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import click
import msgspec
from rich.console import Console

from fastproc.bullmq.desk.queue_desk import QueueAct, QueueDesk
from fastproc.bullmq.opening import open_pipe, queue_desk
from fastproc.commands import running
from fastproc.config.host import host_name
from fastproc.config.settings import Config
from fastproc.core.acts import Outcome
from fastproc.core.errors import QueueUnavailable, Unreachable
from fastproc.terminal.exits import Exit
from fastproc.terminal.text import print_line

JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON line.")
YES = click.option("--yes", is_flag=True, help="Do not ask.")


@asynccontextmanager
async def desk(config: Config) -> AsyncIterator[QueueDesk]:
    """Open the desk of the configured queue. Raises Unreachable, also out of the block; ConfigError."""
    async with open_pipe(config) as pipe:
        try:
            yield queue_desk(config, pipe)
        except QueueUnavailable as error:
            raise Unreachable(f"Redis at {config.redis.where} cannot be used: {error}") from None


def asked(config: Config, question: Callable[[QueueDesk], Coroutine[Any, Any, Any]]) -> Any:
    """Ask the desk something, over a connection for that alone. An error ends the process."""

    async def answer() -> Any:
        async with desk(config) as opened:
            return await question(opened)

    return running.run(answer)


def obey(config: Config, act: QueueAct, *, as_json: bool) -> NoReturn:
    """Give the order, tell what became of it, and end the process."""
    tell(asked(config, lambda opened: opened.act(act, who())), as_json=as_json)


def tell(outcome: Outcome, *, as_json: bool) -> NoReturn:
    """Tell what became of an order, and end the process."""
    if as_json:
        print(msgspec.json.encode(outcome).decode())
    else:
        print_line(Console(), outcome.text)
    sys.exit(Exit.OK if outcome.ok else Exit.PHOTOS_FAILED)


def confirm(question: str, *, yes: bool) -> None:
    """Ask, unless that is not wanted; the process ends with an answer that is no, and where nobody can be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Nobody can be asked here: say --yes")
    if not click.confirm(question, err=True):
        click.echo("nothing was changed", err=True)
        sys.exit(Exit.PHOTOS_FAILED)


def who() -> str:
    """Return who orders, for logs: `user@host`."""
    try:
        return f"{getpass.getuser()}@{host_name()}"
    except (KeyError, OSError):
        # A container's user often has no name.
        return host_name()
