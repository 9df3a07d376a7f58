"""The results of a run: readable without colour, complete in 80 columns, summed up in one line."""

from __future__ import annotations

from msgspec import structs

from fastproc.terminal.results import results_table, summary_line
from tests.unit.terminal.consoles import FAILED, log, printed, row


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


def test_results_on_60_columns_have_lines_of_their_own_for_each_photo() -> None:
    lines = printed(results_table([row(), FAILED]), log(60))
    assert lines == [
        "a.jpg",
        "  type jpeg, pixels 4000x3000, size 4.0 MiB, thumbs 3,",
        "  saved 25%, time 132 ms, result ok",
        "c.jpg",
        "  type jpeg, size 4.0 MiB, thumbs 0, time 132 ms,",
        "  result FILE_CORRUPTED",
    ]


def test_a_failure_that_was_wanted_is_said_to_be_meant() -> None:
    meant = structs.replace(FAILED, meant=True)
    lines = printed(results_table([row("a-long-name-of-a-photo.jpg"), meant]), log(80))
    assert max(map(len, lines)) <= 80
    assert "FILE_CORRUPTED, as meant" in " ".join(" ".join(line[-15:] for line in lines[-2:]).split())
    assert summary_line([row(), meant], 1).endswith(", 1 failed, as meant: FILE_CORRUPTED")
    assert summary_line([FAILED, meant], 1).endswith("2 failed (1 of them as meant): FILE_CORRUPTED x2")


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
