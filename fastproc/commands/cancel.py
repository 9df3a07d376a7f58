"""`fastproc cancel`: ends one job, whether it waits or runs."""

from __future__ import annotations

import click

from fastproc.commands import orders, running
from fastproc.core.acts import Cancel


@click.command()
@click.argument("job")
@click.option("--why", default="", help="A reason, which the row and the event get too.")
@orders.JSON
def command(job: str, why: str, as_json: bool) -> None:
    """End a job as CANCELLED, whether it waits or runs.

    A service of fastproc does it, within a second; the worker that has the photo is killed. A job that has all but
    ended completes. Workers of Node do not know the order.
    """
    orders.obey(running.settings(quiet=True), Cancel(job=job, why=why), as_json=as_json)
