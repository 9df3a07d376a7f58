"""What goes over the control channel: hostile messages, who has to answer, what the answers mean together."""

from __future__ import annotations

import msgspec
import pytest

from fastproc.core import control
from fastproc.core.acts import Act, Cancel, Outcome, Pause, Resume, Set
from fastproc.core.control import MAX_BYTES, Answer, Order, Place, Refusal
from fastproc.core.snapshot import Snapshot


def service(host: str, number: int = 1, of: int = 1) -> Snapshot:
    return Snapshot(
        host=host, number=number, of=of, pid=1, version="1", at_ms=0, started_at_ms=0, state="serving"
    )


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"no JSON",
        b"null",
        b"[]",
        b"{}",
        b'{"act": "cancel"}',
        b'{"act": {"type": "format disk"}}',
        b'{"act": {"type": "set", "name": "password", "value": "x"}}',
        b'{"act": {"type": "pause", "host": 1}}',
        b'{"act": {"type": "pause"}, "id": "../../bull:photos:wait"}',
        b'{"act": {"type": "pause"}, "id": 7}',
        b'{"act": {"type": "pause"}, "at_ms": -1}',
        b'{"act": {"type": "pause"}, "by": "' + b"x" * 201 + b'"}',
        b'{"act": {"type": "pause", "host": "\xff"}}',
        b'{"act": {"type": "pause", "host": "' + b"x" * MAX_BYTES + b'"}}',
        b"[" * 50_000,
    ],
    ids=range(16),
)
def test_what_is_no_order_is_refused(message: bytes) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        control.read(message)


@pytest.mark.parametrize(
    "act", [Pause(host="a"), Set(name="rate", value="10/s"), Cancel(job="7", why="asked")], ids=range(3)
)
def test_an_order_is_read_as_it_was_written(act: Act) -> None:
    order = Order(act=act, id="a-1", by="me@here", at_ms=5)
    assert control.read(msgspec.json.encode(order)) == order


def test_what_is_no_answer_is_left_out() -> None:
    good = Answer(host="a", ok=True, text="t")
    assert control.answers([b"x", msgspec.json.encode(good), b'{"host": "a"}']) == [good]


A, A2, B = service("a", 1, 2), service("a", 2, 2), service("b")


@pytest.mark.parametrize(
    ("act", "wanted"),
    [
        (Pause(host="a"), {("a", 1), ("a", 2)}),
        (Set(name="concurrency", value="2"), {("a", 1), ("a", 2), ("b", 1)}),
        (Cancel(job="1"), {("a", 1), ("a", 2), ("b", 1)}),
    ],
    ids=range(3),
)
def test_those_have_to_answer_whom_the_act_is_for(act: Act, wanted: set[Place]) -> None:
    assert control.expected(act, [A, A2, B]) == wanted


def test_an_unknown_host_is_answered_with_those_that_there_are() -> None:
    with pytest.raises(Refusal, match=r"services run on: a, b"):
        control.expected(Pause(host="c"), [A, A2, B])
    with pytest.raises(Refusal, match="no service is running"):
        control.expected(Pause(host="c"), [])


def given(place: Place, text: str = "done", *, ok: bool = True) -> Answer:
    return Answer(host=place[0], number=place[1], ok=ok, text=text)


@pytest.mark.parametrize(
    ("wanted", "answers", "outcome"),
    [
        (
            {("a", 1)},
            [given(("a", 1), "concurrency 2")],
            Outcome(ok=True, count=1, text="concurrency 2", hosts={"a": "concurrency 2"}),
        ),
        (
            {("a", 1), ("a", 2)},
            [given(("a", 1)), given(("a", 2))],
            Outcome(ok=True, count=1, text="done", hosts={"a": "done"}),
        ),
        (
            {("a", 1), ("a", 2)},
            [given(("a", 1))],
            Outcome(
                ok=False,
                count=0,
                text="supervisor 1: done; supervisor 2: no answer in 5 s",
                hosts={"a": "supervisor 1: done; supervisor 2: no answer in 5 s"},
            ),
        ),
        (
            {("a", 1), ("b", 1)},
            [given(("a", 1)), given(("b", 1), "too many", ok=False)],
            Outcome(
                ok=False,
                count=1,
                text="done on 1 of 2 hosts, not on b",
                hosts={"a": "done", "b": "too many"},
            ),
        ),
        # One that nobody knew of, as its snapshot is not there.
        (
            {("a", 1)},
            [given(("a", 1)), given(("c", 1))],
            Outcome(ok=True, count=2, text="done on 2 hosts", hosts={"a": "done", "c": "done"}),
        ),
        (
            {("a", 1)},
            [],
            Outcome(ok=False, count=0, text="no answer in 5 s", hosts={"a": "no answer in 5 s"}),
        ),
    ],
    ids=range(6),
)
def test_the_outcome_names_what_each_host_answered(
    wanted: set[Place], answers: list[Answer], outcome: Outcome
) -> None:
    assert control.together(wanted, answers, 5.0) == outcome


def test_of_each_kind_the_newest_order_holds_and_a_pause_is_one_kind_with_its_end() -> None:
    def order(act: Act, at_ms: int) -> Order:
        return Order(act=act, at_ms=at_ms)

    rate, later = order(Set(name="rate", value="1/s"), 1), order(Set(name="rate", value="2/s"), 2)
    pause, resume = order(Pause(host="a"), 3), order(Resume(host="a"), 4)
    assert control.newest([rate], [later, pause, resume]) == (later, resume)
    assert control.newest([later, resume], [rate, pause]) == (later, resume)
    assert control.newest([], [order(Cancel(job="1"), 9)]) == ()
