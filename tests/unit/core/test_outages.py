"""When an outage is told: at its beginning and its end, and not at each of many in a row."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from fastproc.core.outages import LASTS_S, QUIET_S, Outage, Over, begin, end


def test_an_outage_is_told_when_it_begins_and_when_it_ends() -> None:
    outage = Outage()
    assert outage.began(100.0)
    assert not outage.lasts(200.0)
    assert outage.ended(160.0) == Over(60.0, 0)
    assert outage.ended(161.0) is None


def test_one_that_comes_soon_after_another_is_counted_and_not_told() -> None:
    outage = Outage()
    outage.began(0.0)
    outage.ended(1.0)
    for at in range(2, 10):
        assert not outage.began(float(at))
        assert outage.ended(at + 0.5) is None
    assert outage.began(1.0 + QUIET_S)
    assert outage.ended(20.0) == Over(20.0 - 1.0 - QUIET_S, 8)


def test_one_that_lasts_is_told_late_and_so_is_its_end() -> None:
    outage = Outage()
    outage.began(0.0)
    outage.ended(1.0)
    assert not outage.began(2.0)
    assert not outage.lasts(2.0 + LASTS_S / 2)
    assert outage.lasts(2.0 + LASTS_S)
    assert not outage.lasts(9.0)
    assert outage.ended(10.0) == Over(8.0, 0)


@given(st.lists(st.tuples(st.floats(0.001, 5), st.floats(0.001, 5)), max_size=60))
def test_lines_are_few_and_the_last_one_says_how_it_is(times: list[tuple[float, float]]) -> None:
    """Each pair: how long it works, how long it is away; it is asked every 0.5 s."""
    outage, now, told = Outage(), 0.0, []
    for works_s, away_s in times:
        now += works_s
        if outage.began(now):
            told.append((now, "begin"))
        for step in range(int(away_s / 0.5)):
            if outage.lasts(now + step * 0.5):
                told.append((now + step * 0.5, "begin"))
        now += away_s
        if outage.ended(now):
            told.append((now, "end"))
    assert [what for _, what in told] == ["begin", "end"] * (len(told) // 2)
    begins = [at for at, what in told if what == "begin"]
    assert all(later - sooner > LASTS_S for sooner, later in itertools.pairwise(begins))


def test_the_fields_name_neighbour_and_place() -> None:
    assert begin("redis", "h:1", "cut", since=1) == {
        "outage": "begin", "neighbour": "redis", "endpoint": "h:1", "why": "cut", "since": 1,
    }  # fmt: skip
    assert end("redis", "", Over(1.2345, 3), inHand=2) == {
        "outage": "end", "neighbour": "redis", "endpoint": None, "ms": 1234, "untold": 3, "inHand": 2,
    }  # fmt: skip
