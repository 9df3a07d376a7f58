"""What the operator's page shows at one moment, as values, and how those of several supervisors become one.

Rule 1: it is shown without a token: no secret, no signed address, no return value and no data of a job is in it.
Rule 2: what nobody knows now is None or has its reason beside it: an old number is not shown as if it were new.
Rule 3: texts of strangers have a bound (`bounded`): a reason of a megabyte is cut before it is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from fastproc.core.failures import Failure
from fastproc.core.model import Json
from fastproc.core.remedies import REMEDIES
from fastproc.core.scene import Verdict
from fastproc.core.snapshot import TICK_S, TICKS, QueueNow, Snapshot

#: Longest text that is sent to a page: more is no help to a reader. A stack has some hundred characters.
MAX_TEXT_CHARS: Final = 4000
#: Verdicts that are shown beside the worst one.
MAX_MORE: Final = 4
#: Most entries of a list or object inside a return value that are sent to a page.
MAX_ENTRIES: Final = 500


class FailedCode(Struct, frozen=True, kw_only=True):
    """One code of the last days: its counts and newest photo, what it means, where to look and what to do."""

    code: str
    jobs: int
    attempts: int
    first_at_ms: int
    last_at_ms: int
    photo: str = ""
    job: str = ""
    reason: str = ""
    meaning: str = ""
    look: str = ""
    remedy: str = ""


class KeptPhoto(Struct, frozen=True, kw_only=True):
    """A photo in quarantine. `how`: how its worker ended."""

    id: str
    at: str
    photo: str
    job: str
    code: str
    stage: str
    how: str
    size: int
    replayable: bool


class QuarantineNow(Struct, frozen=True, kw_only=True):
    """Where photos are kept ("": nowhere), the newest of them, how many there are, or why they cannot be listed."""

    place: str = ""
    kept: tuple[KeptPhoto, ...] = ()
    count: int = 0
    problem: str = ""


class SettingNow(Struct, frozen=True, kw_only=True):
    """One variable, masked where it is a secret. `source`: `environment`, `file` or `default`."""

    env: str
    value: str
    source: str
    default: str
    meaning: str


class View(Struct, frozen=True, kw_only=True):
    """`host`: where this service runs; `hosts`: every supervisor of the queue that is known, this service's first.

    `more`: what else is to be said beside the verdict, at the end what goes on; `problems`: what of the view nobody
    could find out, in words.
    """

    host: str
    at_ms: int
    verdict: Verdict
    more: tuple[Verdict, ...] = ()
    queue: QueueNow | None = None
    hosts: tuple[Snapshot, ...] = ()
    failures: tuple[FailedCode, ...] = ()
    quarantine: QuarantineNow = QuarantineNow()
    problems: tuple[str, ...] = ()


def failed_codes(rows: Iterable[Failure]) -> tuple[FailedCode, ...]:
    """Return the rows with what each code means and what to do."""
    found = []
    for row in rows:
        remedy = REMEDIES.get(row.code)
        found.append(
            FailedCode(
                code=row.code,
                jobs=row.jobs,
                attempts=row.attempts,
                first_at_ms=row.first_at_ms,
                last_at_ms=row.last_at_ms,
                photo=row.photo,
                job=row.job,
                reason=row.reason,
                meaning=remedy.meaning if remedy else "",
                look=remedy.look if remedy else "",
                remedy=remedy.operator if remedy else "",
            )
        )
    return tuple(found)


def judged(view: View, found: Sequence[Verdict]) -> View:
    """Return the view with the verdicts, the worst first and what goes on last."""
    rest = found[1:] if len(found) <= MAX_MORE + 1 else (*found[1:MAX_MORE], found[-1])
    return replace(view, verdict=found[0], more=tuple(rest))


def also(view: View, found: Sequence[Verdict]) -> View:
    """Return the view with further verdicts, which are bad, after what is as bad."""
    if not found:
        return view
    own = (view.verdict, *view.more)
    bad = [each for each in own if each.level == "bad"]
    return judged(view, [*bad, *found, *(each for each in own if each.level != "bad")])


def together(whole: View, own: Sequence[Snapshot]) -> View:
    """Return the view of a service with several supervisors: one's whole view, and what each says of itself."""
    named = {(each.host, each.number) for each in own}
    others = tuple(each for each in whole.hosts if (each.host, each.number) not in named)
    return replace(whole, hosts=(*sorted(own, key=lambda each: each.number), *others))


def activity(hosts: Sequence[Snapshot], now_ms: int) -> list[list[int]]:
    """Return what has happened in the last minutes on all hosts: begin (ms), completed, failed, deaths of each tick.

    Ticks that are not over are left out, so that the newest one does not look like a fall.
    """
    tick_ms = int(TICK_S * 1000)
    newest = now_ms // tick_ms
    sums: dict[int, list[int]] = {}
    for at_ms, tick in ((tick.at_ms + host.behind_ms(now_ms), tick) for host in hosts for tick in host.ticks):
        number = at_ms // tick_ms
        if newest - TICKS <= number < newest:
            one = sums.setdefault(number, [0, 0, 0])
            for place, count in enumerate((tick.completed, tick.failed, tick.deaths)):
                one[place] += count
    return [[number * tick_ms, *sums[number]] for number in sorted(sums)]


def bounded(value: Json) -> Json:
    """Return a value of built-in types whose texts and lists have a bound."""
    if isinstance(value, str):
        extra = len(value) - MAX_TEXT_CHARS
        return value if extra <= 0 else f"{value[:MAX_TEXT_CHARS]} … ({extra} more characters)"
    if isinstance(value, Mapping):
        cut = list(value.items())[:MAX_ENTRIES]
        return {bounded(str(name)): bounded(each) for name, each in cut}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return [bounded(each) for each in value[:MAX_ENTRIES]]
    return value
