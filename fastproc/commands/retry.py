"""`fastproc retry`: lets failed jobs run again: some, those of one code, or all."""

from __future__ import annotations

import click

from fastproc.commands import orders, running
from fastproc.core.acts import Outcome, RetryJobs
from fastproc.core.errors import BY_CODE


@click.command()
@click.argument("ids", nargs=-1, metavar="[JOB]...")
@click.option(
    "--code",
    type=click.Choice(sorted(BY_CODE), case_sensitive=False),
    metavar="CODE",
    help="Those of this code.",
)
@click.option("--all", "everything", is_flag=True, help="All that have failed.")
@click.option("--limit", type=click.IntRange(1), help="So many at most, the oldest failures first.")
@orders.YES
@orders.JSON
def command(
    ids: tuple[str, ...], code: str | None, everything: bool, limit: int | None, yes: bool, as_json: bool
) -> None:
    """Let failed jobs run again: some, those of a code, or all.

    It means jobs that have failed when the command begins. Attempts that were made stay
    counted, as by a dashboard's "retry". With --code or --all it says how many they are, and asks.
    """
    if sum((bool(ids), code is not None, everything)) != 1:
        raise click.UsageError("say which: ids of jobs, --code or --all")
    config = running.settings(quiet=True)
    act = RetryJobs(ids=ids, code=code or "", everything=everything, limit=limit or 0)
    if not ids:
        chosen = orders.asked(config, lambda desk: desk.chosen(act))
        if not chosen:
            orders.tell(Outcome(ok=True, text="no such job has failed"), as_json=as_json)
        orders.confirm(f"{len(chosen)} failed jobs{f' of {code}' if code else ''} run again?", yes=yes)
        act = RetryJobs(ids=tuple(chosen))
    orders.obey(config, act, as_json=as_json)
