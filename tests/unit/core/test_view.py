"""What a page shows: bounds of strangers' texts, ticks of all hosts, one view of several supervisors."""

from __future__ import annotations

from fastproc.core.failures import Failure
from fastproc.core.remedies import REMEDIES
from fastproc.core.scene import Verdict
from fastproc.core.snapshot import TICK_S, TICKS, Snapshot, Tick
from fastproc.core.view import (
    MAX_ENTRIES,
    MAX_MORE,
    MAX_TEXT_CHARS,
    View,
    activity,
    bounded,
    failed_codes,
    judged,
    together,
)

TICK_MS = int(TICK_S * 1000)


def host(name: str = "a", number: int = 1, *ticks: Tick, in_hand: int = 0) -> Snapshot:
    return Snapshot(
        host=name, number=number, pid=1, version="1", at_ms=1000 * TICK_MS, started_at_ms=0, state="serving",
        ticks=ticks, in_hand=in_hand,
    )  # fmt: skip


def test_texts_and_lists_of_strangers_have_a_bound_wherever_they_stand() -> None:
    long = "x" * 1_000_000
    shown = bounded({"a": [long, {"b": long}], "n": 1.5, "none": None, long: True})
    assert shown["a"][0] == "x" * MAX_TEXT_CHARS + f" … ({1_000_000 - MAX_TEXT_CHARS} more characters)"
    assert len(shown["a"][1]["b"]) < MAX_TEXT_CHARS + 100
    assert (shown["n"], shown["none"]) == (1.5, None)
    assert max(map(len, shown)) < MAX_TEXT_CHARS + 100
    assert len(bounded(list(range(10_000)))) == MAX_ENTRIES
    assert len(bounded({str(n): n for n in range(10_000)})) == MAX_ENTRIES
    assert bounded("x" * MAX_TEXT_CHARS) == "x" * MAX_TEXT_CHARS


def test_ticks_of_all_hosts_add_up_and_the_one_that_goes_on_is_left_out() -> None:
    now_ms = 1000 * TICK_MS + 1234
    one = host("a", 1, Tick(at_ms=998 * TICK_MS + 10, completed=3), Tick(at_ms=1000 * TICK_MS, completed=9))
    two = host("b", 1, Tick(at_ms=998 * TICK_MS + 4000, completed=1, failed=2, deaths=1))
    old = host(
        "c", 1, Tick(at_ms=(1000 - TICKS - 1) * TICK_MS, completed=5), Tick(at_ms=997 * TICK_MS, deaths=1)
    )
    assert activity([one, two, old], now_ms) == [[997 * TICK_MS, 0, 0, 1], [998 * TICK_MS, 4, 2, 1]]


def test_a_service_of_several_supervisors_has_each_as_it_sees_itself() -> None:
    whole = View(
        host="a",
        at_ms=1,
        verdict=Verdict("good", "x", ""),
        hosts=(host("a", 1), host("a", 2, in_hand=1), host("b", 1)),
    )
    shown = together(whole, [host("a", 2, in_hand=7), host("a", 1, in_hand=5)])
    assert [(each.host, each.number, each.in_hand) for each in shown.hosts] == [
        ("a", 1, 5),
        ("a", 2, 7),
        ("b", 1, 0),
    ]


def test_the_worst_is_the_verdict_and_what_goes_on_is_always_said() -> None:
    view = View(host="a", at_ms=1, verdict=Verdict("warn", ""))
    found = [Verdict("bad", str(number)) for number in range(9)] + [Verdict("good", "goes on")]
    shown = judged(view, found)
    assert (shown.verdict.text, [each.text for each in shown.more]) == ("0", ["1", "2", "3", "goes on"])
    assert len(shown.more) == MAX_MORE
    assert judged(view, found[-1:]).more == ()
    assert [each.text for each in judged(view, found[-2:]).more] == ["goes on"]


def test_a_code_comes_with_its_meaning_and_what_to_do() -> None:
    [known, unknown] = failed_codes(
        [Failure(code=code, jobs=2, first_at_ms=1, last_at_ms=2) for code in ("POISON_PHOTO", "ODD")]
    )
    remedy = REMEDIES["POISON_PHOTO"]
    assert (known.meaning, known.look, known.remedy) == (remedy.meaning, remedy.look, remedy.operator)
    assert (unknown.meaning, unknown.jobs) == ("", 2)
