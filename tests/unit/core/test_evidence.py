"""Which evidence is kept: the newest, within the cap, and none that is too old."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fastproc.core.evidence import Kept, superfluous

NOW = 1_000_000.0


def test_the_oldest_go_until_the_rest_fits() -> None:
    kept = [Kept("old", 40, NOW - 30), Kept("new", 40, NOW - 10), Kept("middle", 40, NOW - 20)]
    assert superfluous(kept, NOW, 120, 100) == []
    assert superfluous(kept, NOW, 119, 100) == ["old"]
    assert superfluous(kept, NOW, 79, 100) == ["middle", "old"]


def test_what_is_too_old_goes_even_where_there_is_room() -> None:
    kept = [Kept("old", 1, NOW - 101), Kept("new", 1, NOW - 99)]
    assert superfluous(kept, NOW, 1 << 30, 100) == ["old"]


@given(st.lists(st.tuples(st.integers(0, 100), st.floats(0, 200))), st.integers(1, 300))
def test_the_rest_is_within_cap_and_age_and_nothing_older_is_kept_than_what_went(
    files: list[tuple[int, float]], cap: int
) -> None:
    kept = [Kept(str(n), size, NOW - age) for n, (size, age) in enumerate(files)]
    gone = set(superfluous(kept, NOW, cap, 100))
    rest = [each for each in kept if each.id not in gone]
    assert sum(each.size for each in rest) <= cap
    assert all(NOW - each.at <= 100 for each in rest)
    newest_gone = max((each.at for each in kept if each.id in gone), default=0.0)
    assert all(each.at >= newest_gone for each in rest)
