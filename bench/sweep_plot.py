"""Draws the sweep as SVG: throughput against score, and each source's score beside sharp's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastproc.load.axis import Axis

#: Of the largest thumbnail, against the reference in gamma space: [bytes, gamma, linear].
THUMBNAIL, GAMMA = "thumb_lg", 1
COLOURS = {"fast": "#d62728", "balanced": "#1f77b4", "best": "#2ca02c", "sharp": "#555555"}
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 520, 340, 60, 40, 50

Result = dict[str, Any]


def plot(results: list[Result], systems: Iterable[str]) -> str:
    """Return the plot of both panels."""
    named = list(systems)
    panels = [
        _throughput(results, named),
        _beside_sharp(results, [name for name in named if name != "sharp"]),
    ]
    body = "".join(f'<g transform="translate({WIDTH * at},0)">{panel}</g>' for at, panel in enumerate(panels))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH} {HEIGHT}" font-family="sans-serif"'
        f' font-size="12"><rect width="100%" height="100%" fill="white"/>{body}</svg>\n'
    )


def _throughput(results: list[Result], systems: list[str]) -> str:
    """Dots are means over all sources; rings are the mean of the tenth with the lowest scores."""
    points = []
    for name in systems:
        scored = sorted(result["thumbnails"][THUMBNAIL][name][GAMMA] for result in results)
        lowest = scored[: max(1, len(scored) // 10)]
        speed = 1000 * len(results) / sum(result["ms"][name] for result in results)
        points.append((name, speed, sum(scored) / len(scored), sum(lowest) / len(lowest)))
    x = Axis(0, 1.15 * max(speed for _, speed, _, _ in points), LEFT, WIDTH - 20)
    low, high = min(p[3] for p in points) - 3, max(p[2] for p in points) + 3
    y = Axis(low, high, HEIGHT - BOTTOM, TOP)
    drawn = _frame("Score and throughput", "sources per second of CPU, three thumbnails each", x, y)
    for name, speed, average, lowest_tenth in points:
        at, colour = x(speed), COLOURS[name]
        line = f'x1="{at:.1f}" x2="{at:.1f}" y1="{y(average):.1f}" y2="{y(lowest_tenth):.1f}"'
        drawn += f'<line {line} stroke="{colour}"/>'
        drawn += f'<circle cx="{at:.1f}" cy="{y(average):.1f}" r="5" fill="{colour}"/>'
        drawn += f'<circle cx="{at:.1f}" cy="{y(lowest_tenth):.1f}" r="5" fill="white" stroke="{colour}"/>'
        middle = (y(average) + y(lowest_tenth)) / 2
        place = f'transform="translate({at - 5:.1f},{middle:.1f}) rotate(-90)" text-anchor="middle"'
        drawn += f'<text {place} fill="{colour}">{name}</text>'
    return drawn + _text(LEFT, TOP - 6, "dot: mean of all sources; ring: mean of the lowest tenth")


def _beside_sharp(results: list[Result], systems: list[str]) -> str:
    """A dot for each source and rule: how far its score is above sharp's, by the longer side."""
    found = [
        (name, result["side"], scored[name][GAMMA] - scored["sharp"][GAMMA])
        for result in results
        for name in sorted(systems, reverse=True)
        for scored in [result["thumbnails"][THUMBNAIL]]
    ]
    sides = [side for _, side, _ in found]
    x = Axis(min(sides) - 100, max(sides) + 100, LEFT, WIDTH - 20)
    gaps = [gap for _, _, gap in found]
    y = Axis(min([-5, *gaps]) - 1, max([5, *gaps]) + 1, HEIGHT - BOTTOM, TOP)
    drawn = _frame("Above sharp, each source", "longer side of the source, pixels", x, y)
    drawn += f'<line x1="{LEFT}" x2="{WIDTH - 20}" y1="{y(0):.1f}" y2="{y(0):.1f}" stroke="#555555"/>'
    for name, side, gap in found:
        colour = COLOURS[name]
        drawn += f'<circle cx="{x(side):.1f}" cy="{y(gap):.1f}" r="2.5" fill="{colour}" fill-opacity="0.6"/>'
    for at, name in enumerate(systems):
        place = f'x="{LEFT + 70 * at}" y="{TOP - 6}"'
        drawn += f'<text {place} fill="{COLOURS[name]}">{name}</text>'
    return drawn


def _text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{words}</text>'


def _frame(title: str, across: str, x: Axis, y: Axis) -> str:
    bottom = HEIGHT - BOTTOM
    drawn = _text(LEFT, TOP - 22, f"{title} ({THUMBNAIL}, SSIMULACRA2)")
    drawn += _text((LEFT + WIDTH) / 2, HEIGHT - 12, across, "middle")
    drawn += f'<path d="M{LEFT} {TOP}V{bottom}H{WIDTH - 20}" fill="none" stroke="black"/>'
    drawn += "".join(_text(x(at), bottom + 16, f"{at:g}", "middle") for at in x.ticks())
    return drawn + "".join(_text(LEFT - 6, y(at) + 4, f"{at:g}", "end") for at in y.ticks())
