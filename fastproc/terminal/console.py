"""What a person sees in a terminal: progress, results, settings. Readable without colour, and as a log.

Rule 1: colour repeats what a word says, it never says it alone.
Rule 2: names come from strangers: no markup is read in them and no control character reaches the terminal.
Rule 3: where output is no terminal, no line depends on the width and none is drawn twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from msgspec import Struct
from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.padding import Padding
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

GOOD, BAD, QUIET, STRONG = "green", "bold red", "dim", "bold"

#: Below this width four columns leave no room for a sentence.
SETTINGS_TABLE_MIN_WIDTH = 110


class ResultRow(Struct, frozen=True, kw_only=True):
    """One photo of a run, as told to a person.

    `width` and `height` are as displayed, 0 when never known; `thumbnails` is how many were made; `saved_bytes` is
    what the optimised copy saves, None when there is none; `status` is the row of the database: only `completed` is
    good; `code` says why not.
    """

    photo: str
    format: str
    width: int
    height: int
    size_bytes: int
    thumbnails: int
    saved_bytes: int | None
    duration_ms: float
    status: str
    code: str | None = None

    @property
    def ok(self) -> bool:
        return self.code is None and self.status == "completed"


class PhotoProgress(Protocol):
    """Where a run says how far it is. `name` tells photos apart; calls may come in any order."""

    def started(self, name: str) -> None:
        """A photo is in flight."""

    def stage(self, name: str, percent: float) -> None:
        """A photo in flight is `percent` (0..100) done."""

    def finished(self, name: str, ok: bool) -> None:
        """A photo is done with, well or badly."""


@contextmanager
def live_progress(total: int, console: Console) -> Iterator[PhotoProgress]:
    """Show how far `total` photos are: bars that vanish at the end, or a line for each where there is no terminal."""
    if not console.is_interactive:
        yield _Lines(total, console)
        return
    columns = (
        TextColumn("{task.description}", markup=False, table_column=Column(max_width=36, no_wrap=True)),
        BarColumn(bar_width=28, complete_style=GOOD, finished_style=GOOD),
        TextColumn("{task.fields[note]}", style=QUIET),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield _Bars(total, progress)


class _Bars:
    """A bar for all photos and one for each in flight."""

    def __init__(self, total: int, progress: Progress) -> None:
        self._progress = progress
        self._total, self._done, self._failed = total, 0, 0
        self._in_flight: dict[str, TaskID] = {}
        self._overall = progress.add_task("photos", total=total, note=self._count())

    def started(self, name: str) -> None:
        if name not in self._in_flight:
            self._in_flight[name] = self._progress.add_task("  " + clean(name), total=100, note="")

    def stage(self, name: str, percent: float) -> None:
        self.started(name)
        self._progress.update(self._in_flight[name], completed=percent, note=f"{percent:.0f} %")

    def finished(self, name: str, ok: bool) -> None:
        if (task := self._in_flight.pop(name, None)) is not None:
            self._progress.remove_task(task)
        self._done += 1
        self._failed += not ok
        self._progress.update(self._overall, completed=self._done, note=self._count())

    def _count(self) -> str:
        return f"{self._done}/{self._total}" + (f", {self._failed} failed" if self._failed else "")


class _Lines:
    """A line for each photo that is done with: what a log wants."""

    def __init__(self, total: int, console: Console) -> None:
        self._console = console
        self._total, self._done = total, 0

    def started(self, name: str) -> None:
        """Say nothing: a log needs no line that is true for a tenth of a second."""

    def stage(self, name: str, percent: float) -> None:
        """Say nothing, as above."""

    def finished(self, name: str, ok: bool) -> None:
        self._done += 1
        count = f"{self._done:>{len(str(self._total))}}/{self._total}"
        line = Text.assemble(
            f"{count}  ", (f"{'ok' if ok else 'FAILED':6}", GOOD if ok else BAD), f"  {clean(name)}"
        )
        self._console.print(line, soft_wrap=True)


def results_table(rows: Sequence[ResultRow]) -> Table:
    """A line a photo; the last column is `ok` or the error's code. Fits 80 columns; long names are folded."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0, header_style=STRONG)
    table.add_column("photo", overflow="fold", min_width=12)
    table.add_column("type", no_wrap=True)
    for name in ("pixels", "size", "thumbs", "saved", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("result", no_wrap=True)
    for row in rows:
        table.add_row(
            Text(clean(row.photo)),
            Text(clean(row.format) or "-"),
            f"{row.width}x{row.height}" if row.width else "-",
            human_size(row.size_bytes),
            str(row.thumbnails),
            "-" if row.saved_bytes is None else f"{row.saved_bytes / max(1, row.size_bytes):.0%}",
            human_duration(row.duration_ms),
            Text("ok", GOOD) if row.ok else Text(clean(row.code or row.status), BAD),
        )
    return table


def summary_line(rows: Sequence[ResultRow], elapsed_s: float) -> str:
    """The run in one sentence: how many went well, how fast, what it saved, and the codes of what failed.

    Print it with `soft_wrap=True, highlight=False`: a log wants one line.
    """
    photos = f"{len(rows)} photo{'s' * (len(rows) != 1)}"
    failed = Counter(row.code or row.status for row in rows if not row.ok)
    codes = ", ".join(
        f"{clean(code)} x{count}" if count > 1 else clean(code) for code, count in sorted(failed.items())
    )
    parts = [
        f"{photos} in {human_duration(elapsed_s * 1000)}",
        f"{len(rows) / elapsed_s:.1f} photos/s" if rows and elapsed_s > 0 else "",
        f"{sum(row.thumbnails for row in rows)} thumbnails",
        f"{human_size(saved)} saved" if (saved := sum(row.saved_bytes or 0 for row in rows)) else "",
        f"{failed.total()} failed: {codes}" if failed else "none failed",
    ]
    return ", ".join(part for part in parts if part)


class SettingsTable(Struct, frozen=True):
    """Settings as a table where there is room, else as two lines each: nothing is cut off, every line can be grepped.

    A star marks a value that is not the default.
    """

    rows: tuple[tuple[str, str, str, str], ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.is_terminal and options.max_width >= SETTINGS_TABLE_MIN_WIDTH
        yield self._table() if wide else self._list()
        yield Text("* differs from the default", QUIET)

    def _table(self) -> Table:
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), header_style=STRONG)
        table.add_column("variable", no_wrap=True)
        table.add_column("value", overflow="fold", max_width=40)
        table.add_column("default", overflow="fold", max_width=28, style=QUIET)
        table.add_column("meaning", ratio=1)
        for variable, value, default, meaning in self.rows:
            star = "* " if value != default else "  "
            style = STRONG if value != default else ""
            table.add_row(
                Text(star + variable, style), Text(clean(value), style), Text(clean(default)), Text(meaning)
            )
        return table

    def _list(self) -> Group:
        lines: list[Text | Padding] = []
        for variable, value, default, meaning in self.rows:
            star = "* " if value != default else "  "
            text = Text.assemble(star, (variable, STRONG), f" = {clean(value)}", overflow="fold")
            if value != default:
                text.append(f"  (default: {clean(default)})", QUIET)
            lines += [text, Padding(Text(meaning, QUIET), (0, 0, 0, 6))]
        return Group(*lines)


def settings_table(rows: Sequence[tuple[str, str, str, str]]) -> SettingsTable:
    """What `fastproc check` prints, from (variable, value, default, meaning); the caller masks secrets."""
    return SettingsTable(tuple(rows))


def human_size(size: float) -> str:
    """Bytes for people: `812 B`, `489 KiB`, `3.1 MiB`."""
    if size < 1024:
        return f"{size:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if size < 999.5:
            return f"{size:.1f} {unit}" if size < 99.95 and unit != "KiB" else f"{size:.0f} {unit}"
    return f"{size / 1024:.1f} TiB"


def human_duration(ms: float) -> str:
    """Milliseconds for people: `8.4 ms`, `132 ms`, `2.3 s`, `1 min 05 s`, `2 h 03 min`."""
    if ms < 9.95:
        return f"{ms:.1f} ms"
    if ms < 999.5:
        return f"{ms:.0f} ms"
    if ms < 59_950:
        return f"{ms / 1000:.1f} s"
    minutes, seconds = divmod(round(ms / 1000), 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def clean(text: str) -> str:
    """The text with a `?` for each control character: a file's name must not drive the terminal."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)
