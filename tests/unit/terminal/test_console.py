"""The terminal: readable without colour, safe with any name, a log where there is no terminal."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from fastproc.terminal.console import (
    ResultRow,
    clean,
    human_duration,
    human_size,
    live_progress,
    results_table,
    settings_table,
    summary_line,
)

EVIL = "[red]a[/nonsense]\x1b[2J\n.jpg"


def row(photo: str = "a.jpg", **changes: object) -> ResultRow:
    fields: dict[str, object] = {
        "format": "jpeg",
        "width": 4000,
        "height": 3000,
        "size_bytes": 4 << 20,
        "thumbnails": 3,
        "saved_bytes": 1 << 20,
        "duration_ms": 132.4,
        "status": "completed",
    }
    return ResultRow(photo=photo, **{**fields, **changes})


FAILED = row(
    "c.jpg", width=0, height=0, thumbnails=0, saved_bytes=None, status="failed", code="FILE_CORRUPTED"
)


def terminal(width: int = 120, colour: bool = True) -> Console:
    kind = "truecolor" if colour else None
    return Console(
        file=io.StringIO(), width=width, force_terminal=True, force_interactive=True, color_system=kind
    )


def log(width: int = 80) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=False)


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def printed(thing: object, console: Console) -> list[str]:
    console.print(thing)
    return [line.rstrip() for line in text_of(console).splitlines() if line.strip()]


def test_a_row_says_everything_without_colour() -> None:
    header, _, good, bad = printed(results_table([row(), FAILED]), log())
    assert header.split() == ["photo", "type", "pixels", "size", "thumbs", "saved", "time", "result"]
    assert good.split() == ["a.jpg", "jpeg", "4000x3000", "4.0", "MiB", "3", "25%", "132", "ms", "ok"]
    assert bad.split() == ["c.jpg", "jpeg", "-", "4.0", "MiB", "0", "-", "132", "ms", "FILE_CORRUPTED"]


def test_a_row_that_was_not_completed_is_not_ok() -> None:
    assert row().ok
    assert not row(status="processing").ok
    assert not row(code="WORKER_CRASHED").ok
    assert "processing" in printed(results_table([row(status="processing")]), log())[-1]


def test_results_fit_80_columns_and_lose_nothing() -> None:
    name = "folder/" + "0123456789" * 6 + ".jpg"
    lines = printed(results_table([row(name, status="failed", code="STORAGE_UNAVAILABLE")]), log())
    assert max(map(len, lines)) <= 80
    photo_ends = lines[0].index("type")
    assert "".join(line[:photo_ends].strip() for line in lines[2:]) == name
    assert "STORAGE_UNAVAILABLE" in "\n".join(lines)


@pytest.mark.parametrize("console", [terminal(), log()], ids=["terminal", "log"])
def test_no_name_drives_the_terminal(console: Console) -> None:
    with live_progress(1, console) as progress:
        progress.started(EVIL)
        progress.stage(EVIL, 10)
        progress.finished(EVIL, True)
    console.print(results_table([row(EVIL, format=EVIL, code=EVIL)]))
    console.print(settings_table([("NAME", EVIL, EVIL, "meaning")]))
    written = text_of(console)
    assert "\x1b[2J" not in written
    assert "[red]a" in written
    assert "\x1b" not in clean(EVIL) + summary_line([row(code=EVIL)], 1)


def test_a_log_gets_one_plain_line_a_photo_in_the_order_of_the_ends() -> None:
    console = log()
    long = "x" * 200 + ".jpg"
    with live_progress(10, console) as progress:
        for name in ("a.jpg", long):
            progress.started(name)
            progress.stage(name, 50)
        progress.finished(long, False)
        progress.finished("a.jpg", True)
    assert text_of(console) == f" 1/10  FAILED  {long}\n 2/10  ok      a.jpg\n"


def test_a_terminal_gets_a_bar_for_all_and_one_for_each_in_flight() -> None:
    console = terminal(colour=False)
    with live_progress(3, console) as progress:
        progress.started("a.jpg")
        progress.stage("a.jpg", 75)
        progress.stage("never-started.jpg", 10)
        progress.finished("b.jpg", False)
        frame = frame_of(progress)
        progress.finished("a.jpg", True)
        after = frame_of(progress)
    assert "photos" in frame
    assert "1/3, 1 failed" in frame
    assert re.search(r"a\.jpg .* 75 %", frame)
    assert re.search(r"never-started\.jpg .* 10 %", frame)
    assert "b.jpg" not in frame
    assert "a.jpg" not in after
    assert "2/3, 1 failed" in after
    assert text_of(console).endswith("\x1b[2K"), "the bars are wiped when the run is over"


def frame_of(progress: object) -> str:
    """What the bars look like now."""
    still = log()
    still.print(progress._progress.get_renderable())  # type: ignore[attr-defined]
    return text_of(still)


SETTINGS = [
    ("REDIS_HOST", "redis.internal", "localhost", "Host of the Redis that holds the queue."),
    ("THUMBNAILS", "thumb_sm:150:75," * 8, "thumb_sm:150:75," * 8, "What to make, " * 12 + "in short."),
]


@pytest.mark.parametrize(
    "console", [terminal(160, False), terminal(60, False), log()], ids=["wide", "narrow", "log"]
)
def test_no_setting_is_cut_off(console: Console) -> None:
    lines = printed(settings_table(SETTINGS), console)
    assert max(map(len, lines)) <= console.width
    solid = re.sub(r"\s+", "", "".join(lines))
    for variable, value, default, _ in SETTINGS:
        assert variable in solid
        assert value == default or (value in solid and default in solid)
    assert "…" not in solid
    assert sum(line.startswith("* REDIS_HOST") for line in lines) == 1
    assert sum(line.startswith("  THUMBNAILS") for line in lines) == 1
    assert lines[-1] == "* differs from the default"


def test_settings_are_a_table_only_where_there_is_room() -> None:
    wide, narrow, logged = (
        printed(settings_table(SETTINGS), console)
        for console in (terminal(160, False), terminal(60, False), log(160))
    )
    assert wide[0].split() == ["variable", "value", "default", "meaning"]
    for lines in (narrow, logged):
        assert lines[0].startswith("* REDIS_HOST = redis.internal  (default: localhost)")
        assert lines[1].strip() == "Host of the Redis that holds the queue."


def test_the_summary_counts_and_names_what_failed() -> None:
    rows = [row(), row(saved_bytes=None), FAILED, FAILED, row(code="WORKER_CRASHED", saved_bytes=None)]
    assert summary_line(rows, 2) == (
        "5 photos in 2.0 s, 2.5 photos/s, 9 thumbnails, 1.0 MiB saved, 3 failed: FILE_CORRUPTED x2, WORKER_CRASHED"
    )
    assert (
        summary_line([row(saved_bytes=None)], 0.5)
        == "1 photo in 500 ms, 2.0 photos/s, 3 thumbnails, none failed"
    )
    assert summary_line([], 0) == "0 photos in 0.0 ms, 0 thumbnails, none failed"


@pytest.mark.parametrize(
    ("size", "said"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (500_600, "489 KiB"), (1_023_900, "1.0 MiB"),
     (3_250_586, "3.1 MiB"), (104_857_600, "100 MiB"), (5 << 30, "5.0 GiB"), (3 << 40, "3.0 TiB")],
)  # fmt: skip
def test_sizes_are_for_people(size: int, said: str) -> None:
    assert human_size(size) == said


@pytest.mark.parametrize(
    ("ms", "said"),
    [(0.44, "0.4 ms"), (9.96, "10 ms"), (132.4, "132 ms"), (999.6, "1.0 s"), (2_310, "2.3 s"),
     (59_960, "1 min 00 s"), (65_000, "1 min 05 s"), (3_599_600, "1 h 00 min"), (7_380_000, "2 h 03 min")],
)  # fmt: skip
def test_durations_are_for_people(ms: float, said: str) -> None:
    assert human_duration(ms) == said
