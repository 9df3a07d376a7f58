"""What goes over the control channel, and what the answers of the hosts mean together. Pure.

Rule 1: a message may come from anybody who may publish: `read` refuses what is not as we write it, and bounds it.
Rule 2: an order says who gave it, for the log of each service that obeys.
Rule 3: an act that names a host is for the services of that host alone; one that names none is for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from fastproc.core.acts import Act, Cancel, Drain, Outcome, Pause, Replay, Resume, RetryJobs, Set
from fastproc.core.snapshot import Snapshot

#: An order has some hundred bytes; a list of ids of failed jobs is not sent to services.
MAX_BYTES: Final = 64 << 10
#: One supervisor: its host, and its number there.
Place = tuple[str, int]


class Refusal(Exception):
    """What was ordered cannot be done here; the message says why, and what can be."""


class Order(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An act, who ordered it and when (ms, the sender's clock); `id`: where answers go, "" where nobody waits."""

    act: Act
    id: Annotated[str, Meta(pattern="^[A-Za-z0-9-]{0,64}$")] = ""
    by: Annotated[str, Meta(max_length=200)] = ""
    at_ms: Annotated[int, Meta(ge=0, le=2**53)] = 0


class Answer(Struct, frozen=True, kw_only=True):
    """What one supervisor answers: whether it did what was ordered, and in words."""

    host: str
    number: int = 1
    ok: bool
    text: str


_ORDERS: Final = msgspec.json.Decoder(Order)
_ANSWERS: Final = msgspec.json.Decoder(Answer)


def read(message: bytes) -> Order:
    """Return the order of a message. Raises ValueError for what is none."""
    if len(message) > MAX_BYTES:
        raise ValueError(f"{len(message)} bytes")
    try:
        return _ORDERS.decode(message)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ValueError(str(error)) from None


def answers(rows: Iterable[bytes]) -> list[Answer]:
    """Return the answers among what lies in the list; what is none is left out."""
    found = []
    for row in rows:
        try:
            found.append(_ANSWERS.decode(row))
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            continue
    return found


def host_of(act: Act) -> str:
    """Return the one host that an act is for; "" for all."""
    return act.host if isinstance(act, Pause | Resume | Set) else ""


def words(act: Act) -> str:
    """Return an act in words, for the log."""
    match act:
        case Set(name=name, value=value):
            return f"set {name} {value}"
        case Pause():
            return "pause"
        case Resume():
            return "resume"
        case Cancel(job=job):
            return f"cancel job {job}"
        case RetryJobs(code=code):
            return f"retry jobs {code}".rstrip()
        case Drain():
            return "drain"
        case Replay(id=photo):
            return f"replay {photo}"


def kind(order: Order) -> str:
    """Return what of a service an order changes: of each kind, the newest holds. "" for an act that is done at once."""
    match order.act:
        case Set(name=name):
            return name
        case Pause() | Resume():
            return "pause"
    return ""


def newest(known: Iterable[Order], more: Iterable[Order]) -> tuple[Order, ...]:
    """Return the newest order of each kind; of two of the same time, the one that came later."""
    found: dict[str, Order] = {}
    for order in (*known, *more):
        before = found.get(kind(order))
        if kind(order) and (before is None or order.at_ms >= before.at_ms):
            found[kind(order)] = order
    return tuple(found.values())


def expected(act: Act, snapshots: Sequence[Snapshot]) -> set[Place]:
    """Return who has to answer an act. Raises Refusal where that is nobody."""
    host = host_of(act)
    names = sorted({each.host for each in snapshots})
    if not names:
        raise Refusal("no service is running: nobody can obey")
    if host and host not in names:
        raise Refusal(f"no service runs on the host {host!r}; services run on: {', '.join(names)}")
    return {(each.host, each.number) for each in snapshots if host in ("", each.host)}


def together(wanted: set[Place], given: Sequence[Answer], waited_s: float) -> Outcome:
    """Return the outcome: what each host answered, and who did not in that time."""
    by_place = {(each.host, each.number): each for each in given}
    hosts: dict[str, list[Place]] = {}
    for place in sorted(wanted | set(by_place)):
        hosts.setdefault(place[0], []).append(place)
    texts = {host: _text(places, by_place, waited_s) for host, places in hosts.items()}
    done = [
        host for host, places in hosts.items() if all(at in by_place and by_place[at].ok for at in places)
    ]
    ok = len(done) == len(hosts)
    if len(texts) == 1:
        text = next(iter(texts.values()))
    elif ok:
        text = f"done on {len(hosts)} hosts"
    else:
        failed = ", ".join(host for host in hosts if host not in done)
        text = f"done on {len(done)} of {len(hosts)} hosts, not on {failed}"
    return Outcome(ok=ok, count=len(done), text=text, hosts=texts)


def _text(places: Sequence[Place], given: Mapping[Place, Answer], waited_s: float) -> str:
    """What one host answered: its supervisors say the same, or each its own."""
    missing = f"no answer in {waited_s:g} s"
    said = {
        number: given[host, number].text if (host, number) in given else missing for host, number in places
    }
    if len(set(said.values())) == 1:
        return next(iter(said.values()))
    return "; ".join(f"supervisor {number}: {text}" for number, text in said.items())
