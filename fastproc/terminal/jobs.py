"""Jobs of the queue for people: a table of some, and the lines of one. Both fit 60 columns: long words are folded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from rich import box
from rich.table import Table
from rich.text import Text

from fastproc.core.job_view import JobDetail, JobRow
from fastproc.core.snapshot import QueueNow
from fastproc.terminal.style import BAD, STRONG
from fastproc.terminal.text import clean, human_duration, human_size


def summary(now: QueueNow) -> str:
    """Return the states that have jobs in one line, and why none is taken."""
    parts = [f"{count} {state}" for state, count in now.counts.items() if count and state != "paused"]
    held = f"; {now.held}" if now.held else ""
    return f"{', '.join(parts) or 'no jobs'}{held}"


def table(rows: Sequence[JobRow], now_ms: int) -> Table:
    """Return a line a job: since when it is in its state, attempts, and what there is to say of it."""
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0, header_style=STRONG)
    made.add_column("job", overflow="fold", max_width=14)
    made.add_column("photo", overflow="fold", min_width=8, max_width=18)
    made.add_column("for", justify="right", no_wrap=True)
    made.add_column("try", justify="right", no_wrap=True)
    made.add_column("about", overflow="fold")
    for row in rows:
        about = Text(clean(_about(row, now_ms)), BAD if row.state == "failed" or row.cancel else "")
        made.add_row(
            Text(clean(row.id)),
            Text(clean(row.photo) or "?"),
            _ago(_since(row), now_ms),
            f"{row.attempts_made}/{row.attempts or '-'}",
            about,
        )
    return made


def lines(job: JobDetail, now_ms: int) -> Iterator[str]:
    """Yield the lines of one job."""
    yield f"job {job.id} of photo {job.photo or '?'}: {job.state}"
    yield f"  key      {f'{job.bucket}/' if job.bucket else ''}{job.key or '?'}"
    yield f"  attempts {job.attempts_made} of {job.attempts or 'WORKER_MAX_RETRIES'}, progress {job.progress:g} %"
    for name, at in (("added", job.added_at_ms), ("taken", job.taken_at_ms), ("ended", job.ended_at_ms)):
        if at:
            yield f"  {name}    {_time(at)}, {_ago(at, now_ms)} ago"
    if job.due_at_ms:
        yield f"  due      {_time(job.due_at_ms)}"
    if job.worker:
        yield f"  worker   {job.worker}"
    if job.cancel:
        yield f"  ordered  {job.cancel}"
    if job.reason:
        yield f"  failed   {job.reason}"
    for name, words in (("scheduler", job.scheduler), ("parent", job.parent)):
        if words:
            yield f"  {name} {words}"
    if job.children:
        yield f"  waits for {job.children} children"
    for stage in job.stages:
        yield f"  stage    {stage.stage} {human_duration(stage.ms)}"
    for warning in job.warnings:
        yield f"  warning  {warning}"
    for each in job.renditions:
        size = f", {human_size(each.size)}" if each.size else ""
        yield f"  picture  {each.name} {each.width or '?'}x{each.height or '?'}{size}: {each.key}"
    for number, entry in enumerate(job.stack, 1):
        yield f"  error {number}  {entry.partition(chr(10))[0]}"
    if job.others:
        yield f"  further jobs of the photo: {', '.join(job.others)}"


def _about(row: JobRow, now_ms: int) -> str:
    if row.cancel and row.state != "failed":
        return row.cancel
    if row.state == "failed":
        return row.code or row.reason.partition("\n")[0][:80]
    if row.due_at_ms:
        return f"due in {human_duration(max(0, row.due_at_ms - now_ms))}"
    return row.worker if row.state == "active" else row.key


def _since(row: JobRow) -> int:
    """When it came into its state, as far as its hash says."""
    if row.state in ("completed", "failed"):
        return row.ended_at_ms
    return row.taken_at_ms if row.state == "active" else row.added_at_ms


def _ago(at_ms: int, now_ms: int) -> str:
    return human_duration(max(0, now_ms - at_ms)) if at_ms else "-"


def _time(at_ms: int) -> str:
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return "?"
