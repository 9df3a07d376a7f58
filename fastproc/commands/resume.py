"""`fastproc resume`: ends a pause of the whole queue, or of one host."""

from __future__ import annotations

import click

from fastproc.commands import hosts, orders, running
from fastproc.core.acts import Resume


@click.command()
@hosts.HOST
@orders.JSON
def command(host: str, as_json: bool) -> None:
    """Let workers take jobs of the queue again.

    As BullMQ's `resume`. With --host, the service of this host takes jobs again.
    """
    config = running.settings(quiet=True)
    if host:
        hosts.obey(config, Resume(host=host), as_json=as_json)
    orders.obey(config, Resume(), as_json=as_json)
