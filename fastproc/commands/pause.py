"""`fastproc pause`: stops the whole queue, for all workers that it has."""

from __future__ import annotations

import click

from fastproc.commands import orders, running
from fastproc.core.acts import Pause


@click.command()
@orders.JSON
def command(as_json: bool) -> None:
    """Let no worker take a job of the queue.

    As BullMQ's `pause`: Node's workers stop too. Jobs in hand go on. `fastproc resume` ends it.
    """
    orders.obey(running.settings(quiet=True), Pause(), as_json=as_json)
