"""The frame of `fastproc top`: what is wrong and what to do, the queue, each host and its neighbours, failures.

Rule 1: the first lines say what matters; what does not fit below is cut, never what is above.
Rule 2: a line is as wide as the terminal at most, from 60 to 200 columns; only the verdict and its remedy may wrap.
Rule 3: all texts may come from strangers: control characters are shown as `?`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct
from rich.text import Text

from fastproc.core.failures import Failure
from fastproc.core.remedies import REMEDIES
from fastproc.core.scene import Scene, Verdict
from fastproc.core.snapshot import NeighbourNow, Snapshot, WorkerNow
from fastproc.core.spans import clock, span
from fastproc.terminal.style import BAD, GOOD, QUIET, STRONG
from fastproc.terminal.text import clean, human_duration, human_size

_STYLES = {"good": GOOD, "warn": "bold yellow", "bad": BAD}
#: Columns of a photo's name, at least and at most.
PHOTO_LEAST, PHOTO_MOST = 12, 44
#: A spark for each tick; the highest is the most jobs that a tick had.
SPARKS = "▁▂▃▄▅▆▇█"
#: What of a day's failures is shown.
FAILURES = 5


class Frame(Struct, frozen=True):
    """What is shown: verdicts, the worst first, and the scene behind them (None: nothing is known yet).

    `old_s`: how old the scene is, where the newest look has failed; `name`: the queue with its prefix.
    """

    name: str
    verdicts: Sequence[Verdict]
    scene: Scene | None = None
    old_s: float = 0.0


def lines(frame: Frame, width: int) -> list[Text]:
    """Return the frame as lines of at most `width` columns."""
    found = [*_verdicts(frame, width)]
    if frame.scene:
        if frame.old_s:
            found.append(Text(f"what follows is {span(frame.old_s)} old", QUIET))
        found += _queue(frame.scene)
        for host, services in _by_host(frame.scene).items():
            found += [Text(), *_host(host, services, frame.scene, width)]
        found += _failures(frame.scene)
    for line in found:
        line.truncate(width, overflow="ellipsis")
    return found


def _verdicts(frame: Frame, width: int) -> Iterator[Text]:
    title = Text.assemble(("fastproc top ", STRONG), (clean(frame.name), QUIET))
    if frame.scene:
        title.append(f"  {clock(frame.scene.now_ms)}", QUIET)
    yield title
    for number, verdict in enumerate(frame.verdicts):
        style = _STYLES[verdict.level]
        before = "" if number == 0 else "now: " if verdict.level == "good" else "also: "
        yield from _wrapped(clean(verdict.text), before, style, width)
        if verdict.remedy:
            yield from _wrapped(clean(verdict.remedy), "  do: ", "", width)


def _wrapped(text: str, before: str, style: str, width: int) -> Iterator[Text]:
    """Break a text at spaces; what does not fit into three lines is cut."""
    words, line, count = f"{before}{text}".split(" "), "", 0
    for word in words:
        if line and len(line) + 1 + len(word) > width and count < 2:
            yield Text(line, style)
            line, count = " " * (len(before) - len(before.lstrip()) + 2) + word, count + 1
        else:
            line = f"{line} {word}" if line or not word else (line + word)
    yield Text(line, style)


def _queue(scene: Scene) -> Iterator[Text]:
    if scene.queue:
        counts = [
            f"{clean(state)} {number:,}"
            for state, number in scene.queue.counts.items()
            if number or state in _ALWAYS
        ]
        yield Text("queue    " + "  ".join(counts))
    services = scene.services
    p50 = [each.p50_s for each in services if each.p50_s is not None]
    p95 = [each.p95_s for each in services if each.p95_s is not None]
    parts = [f"{scene.pace:.1f} jobs/s"]
    if p50 and p95:
        parts.append(
            f"p50 {human_duration(sorted(p50)[len(p50) // 2] * 1000)}, p95 {human_duration(max(p95) * 1000)}"
        )
    if scene.queue and scene.queue.backlog_s is not None:
        parts.append(f"backlog {span(scene.queue.backlog_s)}")
    if scene.queue and scene.queue.growth_per_s is not None:
        parts.append(f"waiting {scene.queue.growth_per_s:+.1f}/s")
    limits = [each.limiter for each in services if each.limiter.max]
    if limits:
        held_s = max(each.limiter.held_s for each in services)
        total = sum(limit.per_s for limit in limits)
        held = f" (held jobs back {held_s:.0f} s of the last minute)" if held_s >= 1 else ""
        parts.append(f"limit {total:g}/s{held}")
    yield Text("pace     " + "  ".join(parts))
    if spark := _spark(services, scene.now_ms):
        yield Text("10 min   " + spark, QUIET)


_ALWAYS = ("waiting", "active", "failed")


def _spark(services: Sequence[Snapshot], now_ms: int) -> str:
    """The jobs that ended in each 10 s of the last ten minutes by this clock, the newest at the right."""
    by_time: dict[int, int] = {}
    for service in services:
        for tick in service.ticks:
            at = (tick.at_ms + service.behind_ms(now_ms)) // 10_000
            by_time[at] = by_time.get(at, 0) + tick.completed + tick.failed
    if not by_time or not max(by_time.values()):
        return ""
    first, last, most = min(by_time), max(by_time), max(by_time.values())
    numbers = [by_time.get(at, 0) for at in range(max(first, last - 59), last + 1)]
    return "".join(SPARKS[-(-number * (len(SPARKS) - 1) // most)] if number else " " for number in numbers)


def _by_host(scene: Scene) -> dict[str, list[Snapshot]]:
    found: dict[str, list[Snapshot]] = {}
    for service in scene.services:
        found.setdefault(service.host, []).append(service)
    return found


def _host(host: str, services: list[Snapshot], scene: Scene, width: int) -> Iterator[Text]:
    states = list(dict.fromkeys(each.state for each in services))
    in_hand, most = sum(each.in_hand for each in services), sum(each.max_in_hand for each in services)
    up_s = (scene.now_ms - min(each.started_at_ms for each in services)) / 1000
    versions = ", ".join(dict.fromkeys(clean(each.version) for each in services))
    about = f"  {', '.join(states)}, {in_hand} of {most} jobs in hand, up {span(max(0.0, up_s))}, {versions}"
    several = f" ({len(services)} of {services[0].of} supervisors)" if services[0].of > 1 else ""
    yield Text.assemble((clean(host), STRONG), f"{several}{clean(about)}")
    changed = {name: value for each in services for name, value in each.changed.items()}
    if changed:
        text = ", ".join(f"{name} {value}" for name, value in changed.items())
        yield Text(clean(f"  changed: {text}, until the service ends"), "yellow")
    yield from _workers(services, width)
    for neighbour in _worst(services):
        yield _neighbour(neighbour)


class _Columns(Struct, frozen=True):
    """Widths of a worker's columns."""

    worker: int
    seconds: int
    stage: int
    photo: int

    def row(self, worker: str, state: str, seconds: str, stage: str, photo: str) -> str:
        parts = (
            f"{_cut(worker, self.worker):<{self.worker}}{_cut(state, 8):<9}{seconds:>{self.seconds}}",
            f"{_cut(stage, self.stage - 1):<{self.stage}}{_cut(photo, self.photo):<{self.photo}} ",
        )
        return "  " + "  ".join(parts)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _columns(width: int) -> _Columns:
    """What a width has room for; beside these there are memory and deaths, and how the last one was."""
    if width < 80:
        return _Columns(5, 5, 11, PHOTO_LEAST)
    return _Columns(7, 8, 13, max(PHOTO_LEAST, min(PHOTO_MOST, width - 76)))


def _workers(services: list[Snapshot], width: int) -> Iterator[Text]:
    columns = _columns(width)
    head = columns.row("slot", "state", "s", "stage", "photo")
    yield Text(f"{head}{'memory':>8} died", QUIET)
    for service in services:
        before = f"{service.number}." if service.of > 1 else ""
        for each in service.workers:
            yield _worker(columns, before, each)


def _worker(columns: _Columns, before: str, each: WorkerNow) -> Text:
    seconds = f"{each.task_s:.1f}" if each.photo else ""
    memory = human_size(each.rss_bytes) if each.rss_bytes else ""
    line = columns.row(
        before + str(each.slot), clean(each.state), seconds, clean(each.stage), clean(each.photo)
    )
    last = f" {each.deaths}, {clock(each.last_death_at_ms)} {clean(each.last_death)}" if each.deaths else ""
    return Text.assemble(f"{line}{memory:>8}", (last, BAD if last else ""))


def _worst(services: list[Snapshot]) -> list[NeighbourNow]:
    """Each neighbour once: of several supervisors, as the one sees it for whom it is away, else the newest error."""
    found: dict[tuple[str, str], NeighbourNow] = {}
    for service in services:
        for each in service.neighbours:
            key, before = (each.name, each.where), found.get((each.name, each.where))
            worse = before and (bool(each.away), each.last_error_at_ms) > (
                bool(before.away),
                before.last_error_at_ms,
            )
            if before is None or worse:
                found[key] = each
    return list(found.values())


def _neighbour(each: NeighbourNow) -> Text:
    latency = "" if each.latency_s is None else human_duration(each.latency_s * 1000)
    line = Text(f"  {clean(each.name):<10}{latency:>9}  {clean(each.where)}")
    if each.away:
        since = f" since {clock(each.away_since_ms)}" if each.away_since_ms else ""
        line.append(f"  away{since}: {clean(each.away)}", BAD)
    elif each.last_error:
        line.append(f"  last error {clock(each.last_error_at_ms)}: {clean(each.last_error)}", QUIET)
    return line


def _failures(scene: Scene) -> Iterator[Text]:
    if not scene.failures:
        return
    yield Text()
    yield Text.assemble(("failures of the last days", STRONG), ("  fastproc errors shows more", QUIET))
    for row in scene.failures[:FAILURES]:
        yield from _failure(row)


def _failure(row: Failure) -> Iterator[Text]:
    newest = f"the newest {clock(row.last_at_ms)}, photo {clean(row.photo) or '?'}"
    yield Text.assemble(
        (f"  {clean(row.code)}", BAD), f"  {row.jobs} jobs, {row.attempts} attempts, {newest}"
    )
    if row.code in REMEDIES:
        yield Text(f"    do: {REMEDIES[row.code].operator}", QUIET)
