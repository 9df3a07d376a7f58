"""`fastproc drain`: removes the jobs that wait."""

from __future__ import annotations

import click

from fastproc.commands import orders, running
from fastproc.core.acts import Drain, Outcome


@click.command()
@click.option("--delayed", is_flag=True, help="Those that are delayed, too.")
@orders.YES
@orders.JSON
def command(delayed: bool, yes: bool, as_json: bool) -> None:
    """Remove the jobs that wait.

    As BullMQ's `drain`. Nobody is told of a job that is removed: its row stays as it is, there is no event. What runs
    goes on, and so do the series of schedulers. It says how many they are, and asks.
    """
    config = running.settings(quiet=True)
    counts = orders.asked(config, lambda desk: desk.now()).counts
    states = ("waiting", "prioritized", *(["delayed"] if delayed else []))
    if not any(counts[state] for state in states):
        orders.tell(Outcome(ok=True, text="no job waits"), as_json=as_json)
    parts = ", ".join(f"{counts[state]} {state}" for state in states)
    orders.confirm(f"Remove the jobs that wait ({parts})? This cannot be undone.", yes=yes)
    orders.obey(config, Drain(delayed=delayed), as_json=as_json)
