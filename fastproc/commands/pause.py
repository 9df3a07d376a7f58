"""`fastproc pause`: stops the whole queue, for all workers that it has, or one host."""

from __future__ import annotations

import click

from fastproc.commands import hosts, orders, running
from fastproc.core.acts import Pause


@click.command()
@hosts.HOST
@orders.JSON
def command(host: str, as_json: bool) -> None:
    """Let no worker take a job of the queue.

    As BullMQ's `pause`: Node's workers stop too. Jobs in hand go on. `fastproc resume` ends it.

    With --host, this host's service alone takes no jobs, until it is resumed or ends.
    """
    config = running.settings(quiet=True)
    if host:
        hosts.obey(config, Pause(host=host), as_json=as_json)
    orders.obey(config, Pause(), as_json=as_json)
