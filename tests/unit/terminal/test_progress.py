"""Progress: bars on a terminal, one line a photo in a log."""

from __future__ import annotations

import re

from fastproc.terminal.progress import counted_progress, live_progress
from tests.unit.terminal.consoles import log, terminal, text_of


def test_a_log_gets_one_plain_line_a_photo_in_the_order_of_the_ends() -> None:
    console = log()
    long = "x" * 200 + ".jpg"
    with live_progress(10, console) as progress:
        for name in ("a.jpg", long):
            progress.started(name)
            progress.stage(name, 50)
        progress.finished(long, False)
        progress.finished("a.jpg", True)
        progress.finished("c.jpg", False, meant=True)
    assert (
        text_of(console) == f" 1/10  FAILED  {long}\n 2/10  ok      a.jpg\n 3/10  failed  c.jpg, as meant\n"
    )


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


def test_many_jobs_have_one_bar_that_says_how_many_have_ended_and_vanishes() -> None:
    console = terminal(colour=False)
    with counted_progress("jobs", 300, console) as ended:
        ended(20)
        ended(5)
    shown = text_of(console)
    assert "jobs" in shown
    assert "25/300" in shown
    assert shown.endswith("\x1b[2K")


def test_many_jobs_write_nothing_into_a_log() -> None:
    console = log()
    with counted_progress("jobs", 300, console) as ended:
        ended(300)
    assert text_of(console) == ""
