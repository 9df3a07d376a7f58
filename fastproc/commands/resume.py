"""`fastproc resume`: ends a pause of the whole queue."""

from __future__ import annotations

import click

from fastproc.commands import orders, running
from fastproc.core.acts import Resume


@click.command()
@orders.JSON
def command(as_json: bool) -> None:
    """Let workers take jobs of the queue again.

    As BullMQ's `resume`.
    """
    orders.obey(running.settings(quiet=True), Resume(), as_json=as_json)
