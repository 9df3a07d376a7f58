"""Live progress of a run: bars on a terminal, one line a photo in a log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

from fastproc.terminal.style import BAD, GOOD, QUIET
from fastproc.terminal.text import clean


class PhotoProgress(Protocol):
    """Where a run reports how far it is. `name` identifies a photo; calls may come in any order."""

    def started(self, name: str) -> None:
        """A photo is in flight."""

    def stage(self, name: str, percent: float) -> None:
        """A photo in flight is `percent` (0..100) done."""

    def finished(self, name: str, ok: bool, *, meant: bool = False) -> None:
        """A photo has ended, with success (`ok`) or not; `meant`: its failure was wanted."""


@contextmanager
def live_progress(total: int, console: Console) -> Iterator[PhotoProgress]:
    """Show the progress of `total` photos: bars that vanish at the end, or a line for each if there is no terminal."""
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
    """A bar for all photos, and one for each photo in flight."""

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

    def finished(self, name: str, ok: bool, *, meant: bool = False) -> None:
        if (task := self._in_flight.pop(name, None)) is not None:
            self._progress.remove_task(task)
        self._done += 1
        self._failed += not (ok or meant)
        self._progress.update(self._overall, completed=self._done, note=self._count())

    def _count(self) -> str:
        return f"{self._done}/{self._total}" + (f", {self._failed} failed" if self._failed else "")


class _Lines:
    """A line for each photo that has ended, for a log."""

    def __init__(self, total: int, console: Console) -> None:
        self._console = console
        self._total, self._done = total, 0

    def started(self, name: str) -> None:
        """Write nothing: a log needs no line that is true for a tenth of a second only."""

    def stage(self, name: str, percent: float) -> None:
        """Write nothing, for the same reason."""

    def finished(self, name: str, ok: bool, *, meant: bool = False) -> None:
        self._done += 1
        count = f"{self._done:>{len(str(self._total))}}/{self._total}"
        word, style = ("ok", GOOD) if ok else ("failed", QUIET) if meant else ("FAILED", BAD)
        line = Text.assemble(f"{count}  ", (f"{word:6}", style), f"  {clean(name)}{', as meant' * meant}")
        self._console.print(line, soft_wrap=True)


@contextmanager
def counted_progress(what: str, total: int, console: Console) -> Iterator[Callable[[int], None]]:
    """Show how many of `total` have ended, by one bar that vanishes; yield what is told of each so many more.

    Drawn twice a second, so that it takes little from what is measured. Nothing is shown where there is no terminal.
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24, complete_style=GOOD, finished_style=GOOD),
        TextColumn("{task.completed:.0f}/{task.total:.0f}", style=QUIET),
        TimeElapsedColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, refresh_per_second=2, disable=not console.is_interactive
    ) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.advance(task, count)
