"""`fastproc bench`: a load test, of servers of its own or of a running deployment."""

from __future__ import annotations

import secrets
import shlex
import sys
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console

from fastproc.commands import running
from fastproc.config.settings import Config, strangers, table
from fastproc.core.errors import ConfigError
from fastproc.load import charts, run
from fastproc.load.arrivals import Burst, Load, Open
from fastproc.load.order import Order, Refused, Step, Tell
from fastproc.load.report import Report, Varied
from fastproc.load.table import tables
from fastproc.terminal.exits import Exit
from fastproc.terminal.progress import counted_progress
from fastproc.terminal.text import print_line

_JOBS, _SECONDS = 64, 30.0


class Numbers(click.ParamType[list[float]]):
    """Numbers above 0, separated by commas: `1,2,4`."""

    name = "N,N,..."

    def __init__(self, kind: type[int] | type[float]) -> None:
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            found = [self._kind(part) for part in str(value).split(",")]
        except ValueError:
            found = []
        if not found or not all(0 < number < 1e6 for number in found):
            self.fail(f"{value!r}: expected numbers above 0, separated by commas", param, ctx)
        return found


@click.command()
@click.option("--running", "is_running", is_flag=True, help="Load the deployment that the environment names.")
@click.option("--jobs", type=click.IntRange(1), help=f"Jobs, all at once; by default {_JOBS}.")
@click.option("--outstanding", type=click.IntRange(1), help="With --jobs: at most so many are not ended yet.")
@click.option(
    "--rate", type=click.FloatRange(0, min_open=True), help="Jobs a second, whatever becomes of them."
)
@click.option("--rates", type=Numbers(float), help="A run for each rate.")
@click.option(
    "--seconds", type=click.FloatRange(0, min_open=True), help=f"With a rate: by default {_SECONDS:g}."
)
@click.option("--arrivals", type=click.Choice(["poisson", "fixed"]), help="With a rate: by default poisson.")
@click.option(
    "--sweep", type=Numbers(int), help="A run for each WORKER_CONCURRENCY; --running: for each --outstanding."
)
@click.option("--hosts", type=click.IntRange(1, 64), help="Services on the embedded servers; by default 1.")
@click.option(
    "--photos", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Folder of photos."
)
@click.option(
    "--set", "pairs", multiple=True, metavar="NAME=VALUE", help="A setting of the embedded services."
)
@click.option(
    "--metrics", multiple=True, metavar="URL", help="--running: /metrics of a service, for its CPU time."
)
@click.option("--keep", is_flag=True, help="--running: leave jobs, photos and results where they are.")
@click.option("--yes", is_flag=True, help="--running: begin though jobs of others wait, or nobody serves.")
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), help="Of the arrivals; by default another each time."
)
@click.option("--plots", type=click.Path(file_okay=False, path_type=Path), help="Folder for the plots (PNG).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, and nothing else, to stdout.")
def command(is_running: bool, plots: Path | None, as_json: bool, **given: Any) -> None:
    """Measure throughput and latency under load.

    Starts Valkey, SeaweedFS and the service (needs the extra `demo`), adds jobs, and ends them again. With --running it
    loads the deployment that the environment names, and removes what it wrote.
    """
    _check(is_running, given)
    order = _order(is_running, given)
    config = running.settings(quiet=True)
    told = Console(stderr=True)
    tell = Tell(
        lambda words: print_line(told, words), lambda what, total: counted_progress(what, total, told)
    )
    words = shlex.join(["fastproc", *sys.argv[1:]])
    report = running.run(
        lambda: _test(config if is_running else None, order, words, tell, plots), cleans_up=is_running
    )
    if isinstance(report, Refused):
        raise click.UsageError(str(report))
    if as_json:
        print(msgspec.json.encode(report).decode())
    else:
        _show(report)
    ended_well = all(each.figures.completed == each.figures.jobs for each in report.runs)
    sys.exit(Exit.OK if ended_well else Exit.PHOTOS_FAILED)


async def _test(
    config: Config | None, order: Order, words: str, tell: Tell, plots: Path | None
) -> Report | Refused:
    """Run the test, of the deployment that `config` names, and draw its plots."""
    if plots:
        _writable(plots)
    try:
        report = await (
            run.on_running(config, order, words, tell) if config else run.on_embedded(order, words, tell)
        )
    except Refused as refused:
        return refused
    if plots:
        for path in charts.write(report, plots):
            tell.line(f"plot: {path}")
    return report


def _writable(folder: Path) -> None:
    """Make the folder of the plots, before minutes are spent on what goes there. Raises ConfigError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError([f"--plots {folder}: {error.strerror}"]) from None


def _show(report: Report) -> None:
    console = Console()
    for part in tables(report, console.width):
        console.print(part)
    for note in report.notes:
        print_line(console, note)


def _check(is_running: bool, given: dict[str, Any]) -> None:
    """Refuse options that do not go together."""

    def together(*names: str) -> None:
        if len(found := [f"--{name}" for name in names if given[name]]) > 1:
            raise click.UsageError(f"{' and '.join(found)} cannot be used together")

    for name in ("jobs", "outstanding"):
        together(name, "rate")
        together(name, "rates")
    together("rate", "rates")
    together("rates", "sweep")
    if is_running:
        together("rate", "sweep")
        together("outstanding", "sweep")
    for name in ("seconds", "arrivals"):
        if given[name] and not (given["rate"] or given["rates"]):
            raise click.UsageError(f"--{name} needs --rate or --rates")
    for name in ("hosts", "pairs") if is_running else ("metrics", "keep", "yes"):
        if given[name]:
            option = "set" if name == "pairs" else name
            raise click.UsageError(f"--{option} is {'not ' if is_running else ''}for --running")


def _order(is_running: bool, given: dict[str, Any]) -> Order:
    pairs = [pair.partition("=") for pair in given["pairs"]]
    if wrong := [name for name, equals, _ in pairs if not equals or not name]:
        raise click.UsageError(f"--set {wrong[0]}: expected NAME=VALUE")
    known = {row.env for row in table(Config())}
    if unknown := [name for name, _, _ in pairs if name not in known]:
        meant = "".join(strangers({unknown[0]})) or f"{unknown[0]}: there is no such setting"
        raise click.UsageError(f"--set {meant} (fastproc check shows all)")
    steps, varied = _steps(is_running, given)
    return Order(
        steps=steps,
        varied=varied,
        photos=given["photos"],
        hosts=given["hosts"] or 1,
        settings={name: value for name, _, value in pairs},
        metrics=given["metrics"],
        keep=given["keep"],
        yes=given["yes"],
        seed=secrets.randbits(32) if given["seed"] is None else given["seed"],
    )


def _steps(is_running: bool, given: dict[str, Any]) -> tuple[list[Step], Varied]:
    jobs = given["jobs"] or _JOBS

    def at(rate: float) -> Load:
        return Open(rate=rate, seconds=given["seconds"] or _SECONDS, pattern=given["arrivals"] or "poisson")

    if given["rates"]:
        return [Step(at(rate)) for rate in given["rates"]], "rate"
    if given["sweep"] and is_running:
        return [Step(Burst(jobs=jobs, outstanding=most)) for most in given["sweep"]], "outstanding"
    load = at(given["rate"]) if given["rate"] else Burst(jobs=jobs, outstanding=given["outstanding"] or 0)
    if given["sweep"]:
        return [Step(load, concurrency) for concurrency in given["sweep"]], "concurrency"
    return [Step(load)], ""
