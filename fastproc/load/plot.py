"""Draws a line chart as PNG by Pillow alone: axes with units, ticks, a legend, and what was measured where.

Rule 1: lines and dots are drawn four times as large and made smaller, so that they are smooth; text is not, so that it
        is sharp. A page is 1600 pixels wide: shown at 800 its smallest text is 12 pixels high.
Rule 2: no chart deceives: the values' axis begins at 0, each measured point has a dot, and each last one its number.
        Below the other axis stand the values that were measured, as many as there is room for.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

from msgspec import Struct
from PIL import Image, ImageDraw

from fastproc.load.axis import Axis, round_up
from fastproc.terminal.contact_sheet import Colour, fitted, font, printable

WIDTH, HEIGHT = 1600, 1000
LEFT, RIGHT, TOP, BOTTOM = 150, 130, 220, 190
_TITLE_PX, _TEXT_PX, _NOTE_PX = 40, 28, 24
_FINE: Final = 4
_LINE_PX, _DOT_PX = 5, 9

PAPER: Colour = (255, 255, 255)
INK: Colour = (28, 30, 34)
FADED: Colour = (92, 96, 104)
GRID: Colour = (226, 228, 232)
#: Told apart by people who see few colours as well: by lightness, and by the order in the legend.
COLOURS: tuple[Colour, ...] = ((0, 92, 175), (222, 124, 0), (190, 30, 60), (110, 110, 116))


class Line(Struct, frozen=True):
    """One line of a chart: what the legend calls it, and its points. `dashed`: what was not measured."""

    name: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False


class Chart(Struct, frozen=True, kw_only=True):
    """What is drawn. `notes` are small lines below the title, `command` stands at the foot."""

    title: str
    notes: Sequence[str]
    command: str
    across: str
    up: str
    lines: Sequence[Line]


def draw(chart: Chart) -> Image.Image:
    """Return the chart. Its lines have at least one point in all."""
    x, y = _axes(chart)
    page = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    _grid(page, y)
    _across(page, chart, x)
    page.paste(_drawn_lines(page, chart, x, y))
    _words(page, chart)
    _numbers(page, chart, x, y)
    _legend(page, chart)
    return page


def save(chart: Chart, path: Path) -> None:
    """Write the chart as PNG. Raises OSError."""
    draw(chart).save(path, format="PNG", optimize=True)


def colour(number: int) -> Colour:
    """The colour of a chart's line."""
    return COLOURS[number % len(COLOURS)]


def _axes(chart: Chart) -> tuple[Axis, Axis]:
    across = [at for line in chart.lines for at, _ in line.points]
    top = max(value for line in chart.lines for _, value in line.points) or 1.0
    step = round_up(top / 6)
    low, high = min(across), max(across)
    margin = (high - low) * 0.06 or max(abs(high) * 0.5, 0.5)
    return (
        Axis(max(0.0, low - margin), high + margin, LEFT, WIDTH - RIGHT),
        Axis(0.0, step * -(-top * 1.02 // step), HEIGHT - BOTTOM, TOP),
    )


def _grid(page: Image.Image, y: Axis) -> None:
    on = ImageDraw.Draw(page)
    for value in y.ticks(7):
        on.line((LEFT, y(value), WIDTH - RIGHT, y(value)), GRID, 2)
        on.text((LEFT - 16, y(value)), f"{value:g}", FADED, font(_TEXT_PX), anchor="rm")
    on.line((LEFT, TOP, LEFT, HEIGHT - BOTTOM), INK, 2)
    on.line((LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM), INK, 2)


def _across(page: Image.Image, chart: Chart, x: Axis) -> None:
    """Label the values that were measured, each that has room beside the one before it."""
    on, free = ImageDraw.Draw(page), 0.0
    for value in sorted({at for line in chart.lines for at, _ in line.points}):
        words = f"{value:g}"
        on.line((x(value), HEIGHT - BOTTOM, x(value), HEIGHT - BOTTOM + 10), INK, 2)
        half = font(_TEXT_PX).getlength(words) / 2
        if x(value) - half < free:
            continue
        free = x(value) + half + 12
        on.text((x(value), HEIGHT - BOTTOM + 18), words, FADED, font(_TEXT_PX), anchor="ma")


def _drawn_lines(page: Image.Image, chart: Chart, x: Axis, y: Axis) -> Image.Image:
    """Return the page with lines and dots (rule 1)."""
    fine = page.resize((WIDTH * _FINE, HEIGHT * _FINE), Image.Resampling.NEAREST)
    on = ImageDraw.Draw(fine)
    for number, line in enumerate(chart.lines):
        points = [(_FINE * x(at), _FINE * y(value)) for at, value in line.points]
        for begin, end in pairwise(points):
            for part in _dashes(begin, end) if line.dashed else [(*begin, *end)]:
                on.line(part, colour(number), _LINE_PX * _FINE)
        for across, up in [] if line.dashed else points:
            r = _DOT_PX * _FINE
            on.ellipse((across - r, up - r, across + r, up + r), colour(number))
    return fine.reduce(_FINE)


def _dashes(begin: tuple[float, float], end: tuple[float, float]) -> list[tuple[float, float, float, float]]:
    (x0, y0), (x1, y1) = begin, end
    length = max(1.0, ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5)
    dash = 16 * _FINE
    starts = [dash * 2 * number for number in range(int(length / (dash * 2)) + 1)]
    spans = [(at / length, min(1.0, (at + dash) / length)) for at in starts]
    return [
        (x0 + (x1 - x0) * a, y0 + (y1 - y0) * a, x0 + (x1 - x0) * b, y0 + (y1 - y0) * b) for a, b in spans
    ]


def _words(page: Image.Image, chart: Chart) -> None:
    on = ImageDraw.Draw(page)
    room = WIDTH - LEFT - RIGHT
    on.text((LEFT, 36), fitted(printable(chart.title), _TITLE_PX, room), INK, font(_TITLE_PX))
    for number, note in enumerate(chart.notes):
        on.text((LEFT, 92 + 32 * number), fitted(printable(note), _NOTE_PX, room), FADED, font(_NOTE_PX))
    middle = (LEFT + WIDTH - RIGHT) / 2
    on.text((middle, HEIGHT - BOTTOM + 66), printable(chart.across), INK, font(_TEXT_PX), anchor="ma")
    foot = fitted(printable(f"$ {chart.command}"), _NOTE_PX, room)
    on.text((LEFT, HEIGHT - 52), foot, FADED, font(_NOTE_PX))
    label = Image.new("RGB", (HEIGHT - TOP - BOTTOM, 40), PAPER)
    ImageDraw.Draw(label).text((label.width / 2, 4), printable(chart.up), INK, font(_TEXT_PX), anchor="ma")
    page.paste(label.rotate(90, expand=True), (14, TOP))


def _numbers(page: Image.Image, chart: Chart, x: Axis, y: Axis) -> None:
    """Write the last value of each measured line to the right of its dot, none upon another: from the top down."""
    on, free = ImageDraw.Draw(page), 0.0
    last = [(line.points[-1], colour(number)) for number, line in enumerate(chart.lines) if not line.dashed]
    for (at, value), ink in sorted(last, key=lambda each: -each[0][1]):
        up = max(y(value), free)
        free = up + _NOTE_PX + 4
        on.text(
            (x(at) + 18, up),
            _short(value),
            ink,
            font(_NOTE_PX),
            anchor="lm",
            stroke_width=6,
            stroke_fill=PAPER,
        )


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def _legend(page: Image.Image, chart: Chart) -> None:
    """One line below the notes: a stroke of each line's colour and its name."""
    on, at, up = ImageDraw.Draw(page), float(LEFT), TOP - 38
    if len(chart.lines) < 2:
        return
    for number, line in enumerate(chart.lines):
        for begin in (0, 24) if line.dashed else (0,):
            on.line((at + begin, up, at + begin + (16 if line.dashed else 40), up), colour(number), _LINE_PX)
        on.text((at + 52, up), printable(line.name), INK, font(_NOTE_PX), anchor="lm")
        at += 52 + font(_NOTE_PX).getlength(printable(line.name)) + 48
