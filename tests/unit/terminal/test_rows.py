"""Rows of values: a table where it fits, a list where it does not, every value whole at every width."""

from __future__ import annotations

import pytest
from rich.text import Text

from fastproc.terminal.rows import Column, Rows
from tests.unit.terminal.consoles import log, printed

COLUMNS = (Column("name", least=8), Column("count", right=True), Column("state"))


def rows(*given: tuple[str, str, str]) -> Rows:
    return Rows(COLUMNS, [[Text(value) for value in row] for row in given], "what they are")


def test_what_fits_is_a_table_and_a_long_name_is_folded() -> None:
    lines = printed(rows(("0123456789abcdef", "7", "STORAGE_UNAVAILABLE"), ("b", "-", "ok")), log(34))
    assert lines[:2] == ["what they are", "name     count state"]
    assert lines[3:] == [
        "01234567     7 STORAGE_UNAVAILABLE",
        "89abcdef",
        "b            - ok",
    ]


def test_what_does_not_fit_is_a_list_without_what_is_not_there() -> None:
    lines = printed(rows(("0123456789abcdef", "7", "STORAGE_UNAVAILABLE"), ("b", "-", "ok")), log(33))
    assert lines == [
        "what they are",
        "0123456789abcdef",
        "  count 7,",
        "  state STORAGE_UNAVAILABLE",
        "b",
        "  state ok",
    ]


def test_one_row_that_does_not_fit_names_its_first_value_too() -> None:
    assert printed(rows(("a", "7", "ok")), log(14)) == [
        "what they are",
        "  name a,",
        "  count 7,",
        "  state ok",
    ]


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_no_line_is_too_long_and_no_value_is_cut(width: int) -> None:
    given = ("folder/" + "0123456789" * 9 + ".jpg", "987654321", "WORKER_OUT_OF_MEMORY")
    lines = printed(rows(given, given), log(width))
    assert max(map(len, lines)) <= width
    left = "".join(lines)
    assert "…" not in left
    assert (left.count(given[1]), left.count(given[2])) == (2, 2)
    digits = sum(left.count(digit) for digit in "0123456789")
    assert digits == 2 * sum(value.count(digit) for value in given for digit in "0123456789")


def test_words_wider_than_they_look_are_counted_by_their_cells() -> None:
    lines = printed(rows(("照片照片照片照片", "7", "好"), ("b", "1", "ok")), log(20))
    assert lines[3:5] == ["照片照片     7 好", "照片照片"]
