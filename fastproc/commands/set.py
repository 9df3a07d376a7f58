"""`fastproc set`: changes a setting of services that run, until they end."""

from __future__ import annotations

from typing import get_args

import click

from fastproc.commands import hosts, orders, running
from fastproc.core.acts import Live, Set


@click.command()
@click.argument("name", type=click.Choice(get_args(Live)))
@click.argument("value")
@hosts.HOST
@orders.JSON
def command(name: Live, value: str, host: str, as_json: bool) -> None:
    """Change concurrency, rate or log level of services that run.

    \b
    concurrency 8       worker processes of each host; busy ones end after their photo
    rate 10/s           jobs that each service may start: 600/min, 10/1000ms, off
    log-level debug     debug, info, warn, error

    All hosts of the queue, or one, until the service ends: what a restart shall keep belongs in the environment.
    """
    hosts.obey(running.settings(quiet=True), Set(name=name, value=value, host=host), as_json=as_json)
