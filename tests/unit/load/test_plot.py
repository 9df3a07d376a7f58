"""The charts as PNG: they have the words, and dots and lines are where the values are."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from PIL import Image, ImageChops, ImageDraw

from fastproc.load import charts, plot
from fastproc.load.arrivals import Open
from fastproc.load.axis import Axis, round_up
from fastproc.load.plot import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Chart, Line, colour, draw
from tests.unit.load.reports import report, run


def chart(lines: list[Line], **words: str) -> Chart:
    about = {"title": "T", "command": "c", "across": "x", "up": "y", **words}
    return Chart(notes=["machine", "versions"], lines=lines, **about)


def words_of(given: Chart, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text that is drawn, in its order."""
    found: list[str] = []
    real = ImageDraw.ImageDraw.text

    def noted(self: ImageDraw.ImageDraw, at: object, text: str, *given: object, **more: object) -> None:
        found.append(text)
        real(self, at, text, *given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", noted)
    draw(given)
    return found


def nearest(page: Image.Image, ink: plot.Colour) -> tuple[int, int, int, int]:
    """The box of a colour below the legend, where only the lines are."""
    part = page.crop((0, TOP, WIDTH, HEIGHT))
    differs = ImageChops.difference(part, Image.new("RGB", part.size, ink)).convert("L")
    box = differs.point(lambda value: 255 if value < 12 else 0).getbbox()
    assert box is not None
    return box[0], box[1] + TOP, box[2], box[3] + TOP


def test_a_dot_is_where_its_values_are() -> None:
    page = draw(chart([Line("a", [(1, 50), (3, 100)])]))
    # 6 % of the span is left free on both sides; the axis ends at the round number above 102.
    x, y = Axis(0.88, 3.12, LEFT, WIDTH - RIGHT), Axis(0, 120, HEIGHT - BOTTOM, TOP)
    for at, value in ((1, 50), (2, 75), (3, 100)):
        assert page.getpixel((round(x(at)), round(y(value)))) == colour(0)
    assert page.getpixel((round(x(2)), round(y(100)))) in (plot.PAPER, plot.GRID)
    left, top, _, bottom = nearest(page, colour(0))
    assert abs(left - (x(1) - 9)) <= 2
    assert abs(top - (y(100) - 12)) <= 14  # the number beside the last dot may be higher
    assert abs(bottom - (y(50) + 9)) <= 3


def test_every_line_has_its_colour_and_a_dashed_one_has_gaps() -> None:
    page = draw(chart([Line("a", [(0, 10), (10, 10)]), Line("b", [(0, 5), (10, 5)], dashed=True)]))
    x, y = Axis(0, 10.6, LEFT, WIDTH - RIGHT), Axis(0, 12, HEIGHT - BOTTOM, TOP)
    row = [page.getpixel((round(x(0)) + step, round(y(5)))) for step in range(600)]
    assert {colour(1), plot.PAPER} <= set(row)
    assert all(page.getpixel((round(x(at)), round(y(10)))) == colour(0) for at in (1, 2, 3, 4.2, 9))


def test_a_chart_says_what_where_and_how(monkeypatch: pytest.MonkeyPatch) -> None:
    given = chart(
        [Line("p50", [(1, 50), (2, 60)]), Line("p99", [(1, 70), (2, 93.4)])],
        title="Latency", command="fastproc bench --sweep 1,2", across="WORKER_CONCURRENCY", up="milliseconds",
    )  # fmt: skip
    words = words_of(given, monkeypatch)
    for wanted in ("Latency", "machine", "versions", "WORKER_CONCURRENCY", "milliseconds", "p50", "p99"):
        assert wanted in words
    assert "$ fastproc bench --sweep 1,2" in words
    # Both axes are labelled: the values that were measured, round ones; and each line's last value.
    assert {"1", "2", "0", "20", "40", "60", "80", "100"} <= set(words)
    assert {"93.4", "60.0"} <= set(words)


def test_labels_that_would_touch_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    words = words_of(chart([Line("a", [(n, 1) for n in range(1000, 1200)])]), monkeypatch)
    labels = [word for word in words if word.startswith("1") and len(word) == 4]
    assert "1000" in labels
    assert len(labels) < 30


def test_one_run_without_a_span_can_be_drawn() -> None:
    page = draw(chart([Line("a", [(64, 12)])]))
    assert page.getpixel(((LEFT + WIDTH - RIGHT) // 2, HEIGHT - BOTTOM)) != plot.PAPER


def test_a_report_gives_both_charts_as_png(tmp_path: Path) -> None:
    made = charts.write(report([run(4, 100), run(1, 100), run(2, 100)]), tmp_path / "new")
    assert [path.name for path in made] == ["throughput.png", "latency.png"]
    for path in made:
        with Image.open(path) as page:
            assert (page.format, page.size) == ("PNG", (WIDTH, HEIGHT))
    throughput = charts.charts(report([run(4), run(1), run(2)]))["throughput.png"]
    assert [at for at, _ in throughput.lines[0].points] == [1, 2, 4]
    assert throughput.lines[1].dashed
    assert throughput.lines[1].points[-1][1] == 4 * throughput.lines[0].points[0][1]
    assert "4 of 8 cores, Some CPU, 16 GB" in throughput.notes[0]


def test_what_was_offered_is_what_arrived_by_chance() -> None:
    rated = msgspec.structs.replace(run(4), load=Open(rate=4, seconds=4))
    assert charts.charts(report([rated], "rate"))["throughput.png"].lines[1].points == [(4, 5.0)]


def test_runs_without_a_completed_job_are_not_drawn(tmp_path: Path) -> None:
    assert charts.write(report([]), tmp_path) == []


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (0, 8, [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (30, 95, [30, 40, 50, 60, 70, 80, 90]),
    ],
)
def test_ticks_are_round(low: float, high: float, wanted: list[float]) -> None:
    assert Axis(low, high, 0, 1).ticks() == wanted


def test_a_value_is_rounded_up_to_1_2_or_5() -> None:
    assert [round_up(value) for value in (0.03, 0.7, 1, 1.2, 3, 7, 300)] == [0.05, 1, 1, 2, 5, 10, 500]
