"""A stage's wrong facts cost nobody anything: they are left out with a warning, and what is sent is always believed."""

from __future__ import annotations

import datetime
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastproc.core.facts import MAX_BYTES, MAX_KEY_CHARS
from fastproc.core.model import Report
from fastproc.ipc import messages
from fastproc.ipc.messages import Done
from fastproc.supervisor.workers.trust import renditions_of
from fastproc.worker import facts


def nested(depth: int) -> object:
    return {"a": nested(depth - 1)} if depth else 1


def endless() -> list[Any]:
    found: list[Any] = []
    found += [found, found]
    return found


WRONG: dict[str, tuple[Any, str]] = {
    "nan": (math.nan, "a number that is not finite"),
    "infinity": ([{"b": -math.inf}], "a number that is not finite"),
    "large": (2**53 + 1, "a number beyond 2^53"),
    "larger": (10**400, "a number beyond 2^53"),
    "bytes": (b"the photo", "a value of type bytes"),
    "set": ({1}, "a value of type set"),
    "moment": (datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), "a value of type datetime"),
    "object": (object(), "a value of type object"),
    "zero": ("a\0", "a text with a zero character"),
    "surrogate": ("\udc80", "a text that is no Unicode"),
    "number as key": ({1: "one"}, "a key that is no text but int"),
    "long key": ({"k" * (MAX_KEY_CHARS + 1): 1}, f"a key of more than {MAX_KEY_CHARS} characters"),
    "line in key": ({"a\nb": 1}, "a key with a control character"),
    "deep": (nested(10), "facts within facts: more than 10 levels"),
    "endless": (endless(), "facts within facts: more than 10 levels"),
    "wide": ([0] * 60_000, "more than 50000 values"),
}
FINE = {"number": 2**53, "text": "two\nlines \u0007", "list": (1, [None, True]), "levels": nested(9)}
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()))
    | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(st.text(st.characters(exclude_categories=())) | st.integers(), inner, max_size=3)
    ),
    max_leaves=12,
)


def sent(found: dict[str, Any], warnings: tuple[str, ...]) -> Report:
    """What the supervisor gets and believes of these facts."""
    made = Report(width=1, height=1, format="jpeg", facts={"own": found}, warnings=warnings)
    packet = messages.encode(facts.bounded(Done(report=made)))
    done = messages.decode_from_worker(packet)
    assert isinstance(done, Done)
    renditions_of(done.report, memoryview(b""), ("own",))
    return done.report


@pytest.mark.parametrize(("count", "length"), [(8000, 60), (50_000, 4), (2000, 120)])
def test_any_number_of_small_facts_can_be_sent_or_is_left_out_as_a_whole(count: int, length: int) -> None:
    many = {f"{n:0{length}}": n for n in range(count)}
    report = sent(many, ("something else",))
    assert report.facts == {"own": {}}
    assert report.warnings[0] == "the facts of own did not fit into the report"


def test_the_facts_of_other_stages_stay_where_one_has_too_many() -> None:
    many = {f"{n:060}": n for n in range(8000)}
    made = Report(width=1, height=1, format="jpeg", facts={"own": {"kept": 1}, "many": many})
    assert facts.bounded(Done(report=made)).report.facts == {"own": {"kept": 1}, "many": {}}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_fact_is_left_out_and_named_and_the_others_stay(name: str) -> None:
    value, why = WRONG[name]
    warn: list[str] = []
    found = facts.sound("own", {**FINE, name: value}, warn)
    assert found == FINE
    assert warn == [f"own.{name} is left out of the facts: {why}"]
    assert sent(found, facts.lines(warn)).warnings == tuple(warn)


def test_a_key_that_is_wrong_is_shown_on_one_line() -> None:
    warn: list[str] = []
    assert facts.sound("own", {"a\nb": 1, 7: 1, "k" * 999: 1}, warn) == {}
    assert [line.partition(" is left")[0] for line in warn] == ["own.a b", "own.7", "own." + "k" * 64]


def test_facts_that_are_no_dictionary_are_left_out() -> None:
    warn: list[str] = []
    assert facts.sound("own", [1], warn) == {}
    assert warn == ["the facts of own are left out: they are a list and no dictionary"]


def test_many_wrong_facts_are_some_lines() -> None:
    warn: list[str] = []
    facts.sound("own", {str(n): math.nan for n in range(1000)}, warn)
    assert len(warn) == facts.MOST_NAMED + 1
    assert warn[-1] == "990 further facts of own are left out"


def test_warnings_of_a_stage_are_lines_and_not_too_many() -> None:
    many = facts.lines(["a\nb\udc80" + "x" * 9999] * 9999)
    assert many[0].startswith("a b x")
    assert many[-1] == "further warnings are left out"
    assert sent({}, many)


@pytest.mark.parametrize(
    ("text", "size"),
    [("\x01", MAX_BYTES // 6), ("x", 300_000), ("é", 200_000)],
    ids=["escapes", "long", "two bytes"],
)
def test_facts_that_no_row_could_take_are_dropped_with_a_warning(text: str, size: int) -> None:
    report = sent({"large": text * size, "small": 1}, ())
    assert report.facts["own"] == {"large": None, "small": 1}
    assert report.warnings[0].startswith("own.large of ")


@given(st.dictionaries(st.text(st.characters(exclude_categories=())) | st.integers(), ANYTHING, max_size=6))
def test_whatever_a_stage_says_the_supervisor_believes_what_is_sent(found: dict[Any, Any]) -> None:
    warn: list[str] = []
    good = facts.sound("own", found, warn)
    assert len(good) + len(warn) >= min(len(found), facts.MOST_NAMED)
    sent(good, facts.lines(warn))
    msgspec.json.encode(good)
