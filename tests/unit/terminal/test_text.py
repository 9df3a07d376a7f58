"""Text for people: units that can be read, and no name that controls the terminal."""

from __future__ import annotations

import pytest
from rich.console import Console

from fastproc.terminal.progress import live_progress
from fastproc.terminal.results import results_table, summary_line
from fastproc.terminal.settings_table import settings_table
from fastproc.terminal.text import clean, human_duration, human_size, print_line
from tests.unit.terminal.consoles import EVIL, log, row, terminal, text_of


@pytest.mark.parametrize("console", [terminal(), log()], ids=["terminal", "log"])
def test_no_name_controls_the_terminal(console: Console) -> None:
    with live_progress(1, console) as progress:
        progress.started(EVIL)
        progress.stage(EVIL, 10)
        progress.finished(EVIL, True)
    console.print(results_table([row(EVIL, format=EVIL, code=EVIL)]))
    console.print(settings_table([("NAME", EVIL, EVIL, "meaning")]))
    print_line(console, EVIL)
    written = text_of(console)
    assert "\x1b[2J" not in written
    assert "[red]a" in written
    assert "\x1b" not in clean(EVIL) + summary_line([row(code=EVIL)], 1)


def test_a_line_is_printed_as_it_is_however_long() -> None:
    console = log(width=20)
    print_line(console, "[bold]x[/bold] 1/3 " + "a" * 50)
    assert text_of(console) == "[bold]x[/bold] 1/3 " + "a" * 50 + "\n"


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (500_600, "489 KiB"), (1_023_900, "1.0 MiB"),
     (3_250_586, "3.1 MiB"), (104_857_600, "100 MiB"), (5 << 30, "5.0 GiB"), (3 << 40, "3.0 TiB")],
)  # fmt: skip
def test_sizes_are_for_people(size: int, text: str) -> None:
    assert human_size(size) == text


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0.44, "0.4 ms"), (9.96, "10 ms"), (132.4, "132 ms"), (999.6, "1.0 s"), (2_310, "2.3 s"),
     (59_960, "1 min 00 s"), (65_000, "1 min 05 s"), (3_599_600, "1 h 00 min"), (7_380_000, "2 h 03 min")],
)  # fmt: skip
def test_durations_are_for_people(ms: float, text: str) -> None:
    assert human_duration(ms) == text
