"""The figures of a load test as a table: a row a figure, a column a run, as many tables as the width needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from rich import box
from rich.table import Table

from fastproc.load.figures import Spread
from fastproc.load.report import Report, Run, Varied
from fastproc.terminal.style import STRONG
from fastproc.terminal.text import human_duration, human_size

#: Characters of the widest row's name, and of a column with its gap.
_NAME, _COLUMN = 22, 9

HEADS: Final[dict[Varied, str]] = {
    "": "run",
    "concurrency": "WORKER_CONCURRENCY",
    "outstanding": "jobs outstanding",
    "rate": "jobs/s offered",
}

_Show = Callable[[Run], str]


def tables(report: Report, width: int) -> Iterator[Table]:
    """Yield tables that fit `width`, which is 40 or more: the runs in their order."""
    at_once = max(1, (width - _NAME) // _COLUMN)
    for first in range(0, len(report.runs), at_once):
        yield _table(report, report.runs[first : first + at_once])


def _table(report: Report, runs: Sequence[Run]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), header_style=STRONG)
    table.add_column(HEADS[report.varied], no_wrap=True)
    for run in runs:
        table.add_column(f"{run.value:g}" if report.varied else "", justify="right", no_wrap=True)
    for name, show in _rows(report.runs):
        table.add_row(name, *map(show, runs))
    return table


def _rows(all_runs: Sequence[Run]) -> Iterator[tuple[str, _Show]]:
    """Yield the rows: those that one of all runs has a value for."""
    yield "jobs", lambda run: str(run.figures.jobs)
    yield "completed", lambda run: str(run.figures.completed)
    for code in sorted({code for run in all_runs for code in run.figures.failures}):
        yield code, lambda run, code=code: str(run.figures.failures.get(code, 0))  # type: ignore[misc]
    if any(run.figures.unfinished for run in all_runs):
        yield "not ended", lambda run: str(run.figures.unfinished)
    yield "workers (BullMQ)", lambda run: str(run.workers)
    yield "time", lambda run: human_duration(1000 * run.figures.seconds)
    yield "jobs/s", lambda run: f"{run.figures.jobs_per_s:.1f}"
    if any(run.photos_per_s_per_core is not None for run in all_runs):
        yield "photos/s/core", lambda run: _number(run.photos_per_s_per_core)
    if any(run.cpu_ms_per_job for run in all_runs):
        yield "CPU ms/job", lambda run: _number(run.cpu_ms_per_job.all if run.cpu_ms_per_job else None)
        yield (
            "  supervisor",
            lambda run: _number(run.cpu_ms_per_job.supervisor if run.cpu_ms_per_job else None),
        )
        yield "  workers", lambda run: _number(run.cpu_ms_per_job.workers if run.cpu_ms_per_job else None)
    yield "  load generator", lambda run: _number(run.load_generator_cpu_ms_per_job)
    if any(run.pss_bytes for run in all_runs):
        yield "PSS, largest", lambda run: human_size(run.pss_bytes) if run.pss_bytes else "-"
    yield from _spread("latency", lambda run: run.figures.latency_ms)
    yield from _spread("queue", lambda run: run.figures.queue_ms)
    yield from _spread("work", lambda run: run.figures.work_ms)


def _spread(name: str, of: Callable[[Run], Spread | None]) -> Iterator[tuple[str, _Show]]:
    yield f"{name} p50", lambda run: human_duration(found.p50) if (found := of(run)) else "-"
    yield "  p95", lambda run: human_duration(found.p95) if (found := of(run)) else "-"
    yield "  p99", lambda run: human_duration(found.p99) if (found := of(run)) else "-"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
