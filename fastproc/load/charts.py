"""Which charts a load test gives: throughput and latency, each against what the runs differ in."""

from __future__ import annotations

from pathlib import Path

from fastproc.load.arrivals import Burst, Load, Open
from fastproc.load.plot import Chart, Line, save
from fastproc.load.report import Report, Run
from fastproc.load.table import HEADS


def charts(report: Report) -> dict[str, Chart]:
    """Return the charts by file name; those of runs in which no job completed are left out."""
    runs = sorted((run for run in report.runs if run.figures.latency_ms), key=lambda run: run.value)
    if not runs:
        return {}
    measured = [(run.value, run.figures.jobs_per_s) for run in runs]
    throughput = [Line("measured", measured)]
    if report.varied == "concurrency" and len(runs) > 1:
        of_one = measured[0][1] / measured[0][0]
        throughput.append(Line("in proportion", [(at, at * of_one) for at, _ in measured], True))
    if report.varied == "rate":
        throughput.append(Line("offered", [(run.value, _offered(run)) for run in runs], True))
    latency = [
        Line(name, [(run.value, getattr(run.figures.latency_ms, name)) for run in runs])
        for name in ("p50", "p95", "p99")
    ]
    across = HEADS[report.varied] if report.varied else _load_of_one(runs[0].load)
    found = {}
    for name, title, up, lines in (
        ("throughput.png", "Throughput", "jobs a second", throughput),
        ("latency.png", "Latency from added to completed", "milliseconds", latency),
    ):
        found[name] = Chart(
            title=title, notes=_notes(report), command=report.command, across=across, up=up, lines=lines
        )
    return found


def write(report: Report, folder: Path) -> list[Path]:
    """Write the charts into the folder, which is created; return their paths. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name, chart in charts(report).items():
        save(chart, folder / name)
        made.append(folder / name)
    return made


def _offered(run: Run) -> float:
    """Jobs a second that arrived, which by chance are some more or fewer than were asked for."""
    return run.figures.jobs / run.load.seconds if isinstance(run.load, Open) else run.value


def _load_of_one(load: Load) -> str:
    if isinstance(load, Burst):
        return HEADS["outstanding"] if load.outstanding else "jobs at once"
    return HEADS["rate"]


def _notes(report: Report) -> list[str]:
    versions = f"fastproc {report.versions['fastproc']}, {report.versions['redis']}, {report.at[:10]}"
    photos = f"{len(report.photos)} photos, {sum(report.photos.values()) / 1e6:.1f} MB"
    where = "servers on the same machine" if report.target == "embedded" else "a running deployment"
    return [report.machine.words, f"{versions}, {where}, {photos}"]
