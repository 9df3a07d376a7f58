"""The end of a comparison: ratios of each round with their spread, the table, the targets, the plot. No I/O."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

from msgspec import Struct

WIDTH, LEFT, BAR, GAP, TOP = 860, 270, 22, 12, 44
COLOURS = {"fastproc": "#1f77b4", "fastproc-four": "#1f77b4"}
OTHER_COLOUR = "#8c8c8c"
FIGURES = ("jobs_per_s", "cpu_ms_per_job", "pss_mb")


class Run(Struct, frozen=True, kw_only=True):
    """One round of one system. CPU is the system's own; `servers_cpu_ms_per_job` that of Redis and S3 beside it."""

    system: str
    photos: str
    round: int
    concurrency: int
    jobs: int
    jobs_per_s: float
    cpu_ms_per_job: float
    servers_cpu_ms_per_job: float
    pss_mb: float


class Spread(Struct, frozen=True):
    """The median of some values, the least and the largest."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{_number(self.median)} ({_number(self.least)}..{_number(self.most)})"


class Target(Struct, frozen=True):
    """At least (or, for memory, at most) so many times a peer's figure."""

    photos: str
    peer: str
    figure: str
    wanted: float


#: The README's promises, for the folder that was given (`mix`) and the painted ones (`tiny`).
TARGETS = (
    Target("mix", "reference", "jobs_per_s", 10.0),
    Target("mix", "expert", "jobs_per_s", 3.0),
    Target("mix", "python", "jobs_per_s", 7.0),
    Target("tiny", "reference", "jobs_per_s", 5.0),
    *(Target("mix", peer, "pss_mb", 0.5) for peer in ("reference", "expert", "python")),
)


def spread(values: Iterable[float]) -> Spread:
    """Return median, least and most."""
    found = list(values)
    return Spread(statistics.median(found), min(found), max(found))


def ratios(runs: Iterable[Run], figure: str, ours: str, peer: str) -> Spread:
    """Return our figure by the peer's, in each round that has both: neighbours in time, so that noise hits both."""
    by_round: dict[int, dict[str, float]] = {}
    for run in runs:
        by_round.setdefault(run.round, {})[run.system] = getattr(run, figure)
    return spread(each[ours] / each[peer] for each in by_round.values() if ours in each and peer in each)


def table(runs: list[Run], titles: dict[str, str], ours: str) -> list[str]:
    """Return the table of one folder in Markdown: a line for each system, with our ratios to it."""
    lines = [
        "| system | at once | jobs/s | CPU ms a job | PSS, MB | fastproc by it: jobs/s | CPU | PSS |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in (name for name in titles if any(run.system == name for run in runs)):
        own = [run for run in runs if run.system == name]
        figures = [spread(getattr(run, figure) for run in own) for figure in FIGURES]
        cells = [titles[name], str(own[0].concurrency), *map(str, figures)]
        for figure in FIGURES:
            cells.append("" if name == ours else str(ratios(runs, figure, ours, name)))
        lines.append(f"| {' | '.join(cells)} |")
    servers = spread(run.servers_cpu_ms_per_job for run in runs)
    return [*lines, "", f"Redis and S3 took {servers} ms of CPU a job on the same cores."]


def verdicts(runs: list[Run], ours: str) -> list[str]:
    """Return each target with what was measured, for those that took part."""
    lines = []
    for target in TARGETS:
        own = [run for run in runs if run.photos == target.photos]
        if not {ours, target.peer} <= {run.system for run in own}:
            continue
        found = ratios(own, target.figure, ours, target.peer)
        memory = target.figure == "pss_mb"
        met = found.median < target.wanted if memory else found.median >= target.wanted
        words = "below" if memory else "at least"
        lines.append(
            f"{ours}, {target.photos}, {target.figure} beside {target.peer}: {found}, {words} {target.wanted:g} wanted:"
            f" {'met' if met else 'MISSED'}"
        )
    return lines


def plot(runs: list[Run], titles: dict[str, str]) -> str:
    """Return an SVG: jobs a second of each system as bars, median with least and most, a panel for each folder."""
    body, y = "", 10
    for photos in dict.fromkeys(run.photos for run in runs):
        panel, y = _panel([run for run in runs if run.photos == photos], titles, photos, y)
        body += panel
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" font-family="sans-serif" font-size="13">'
        f'<rect width="100%" height="100%" fill="white"/>{body}</svg>\n'
    )


def _panel(runs: list[Run], titles: dict[str, str], photos: str, y: int) -> tuple[str, int]:
    named = [name for name in titles if any(run.system == name for run in runs)]
    found = {name: spread(run.jobs_per_s for run in runs if run.system == name) for name in named}
    scale = (WIDTH - LEFT - 110) / max(each.most for each in found.values())
    drawn = f'<text x="{LEFT}" y="{y + 20}" font-weight="bold">{photos}: jobs a second</text>'
    y += TOP - 10
    for name, rate in found.items():
        middle = y + BAR / 2
        colour = COLOURS.get(name, OTHER_COLOUR)
        drawn += f'<text x="{LEFT - 8}" y="{middle + 5}" text-anchor="end">{titles[name]}</text>'
        drawn += (
            f'<rect x="{LEFT}" y="{y}" width="{rate.median * scale:.1f}" height="{BAR}" fill="{colour}"/>'
        )
        ends = f'x1="{LEFT + rate.least * scale:.1f}" x2="{LEFT + rate.most * scale:.1f}"'
        drawn += f'<line {ends} y1="{middle}" y2="{middle}" stroke="black"/>'
        drawn += (
            f'<text x="{LEFT + rate.most * scale + 8:.1f}" y="{middle + 5}">{_number(rate.median)}</text>'
        )
        y += BAR + GAP
    return drawn, y + 10


def _number(value: float) -> str:
    """Three figures."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
