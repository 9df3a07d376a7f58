"""A library whose version has a published hole is named, with what to install; others are not."""

from __future__ import annotations

import re
from datetime import date

import pytest

from fastproc.core.advisories import ADVISORIES, AS_OF, Advisory, counted, warnings

TABLE = (
    Advisory("libx", "1.10.2", ("CVE-2026-2",), "rated high", "a#2"),
    Advisory("libx", "1.9", ("CVE-2026-1", "GHSA-1"), "", "a#1"),
)


@pytest.mark.parametrize(
    "version", ["1.10.2", "1.10.2.1", "1.11", "2", "1.10.2 (build 20260926)", "1.10.2 by its build"]
)
def test_a_version_that_mends_all_is_not_named(version: str) -> None:
    assert warnings({"libx": version}, TABLE) == []


@pytest.mark.parametrize("version", ["1.9", "1.9.0", "1.9.9", "1.10", "1.10.1", "1.10.1 by its build"])
def test_only_holes_that_the_version_has_are_named(version: str) -> None:
    assert warnings({"libx": version}, TABLE) == [
        f"libx {version} has published holes that 1.10.2 mends: CVE-2026-2 (fixed in 1.10.2; rated high)"
    ]


def test_all_holes_of_an_old_version_are_one_line_that_names_the_newest_release() -> None:
    assert warnings({"libx": "1.8.7"}, TABLE) == [
        "libx 1.8.7 has published holes that 1.10.2 mends: "
        "CVE-2026-2 (fixed in 1.10.2; rated high); CVE-2026-1, GHSA-1 (fixed in 1.9)"
    ]


def test_zeros_at_the_end_of_a_version_count_for_nothing() -> None:
    hole = Advisory("libx", "2.0", ("CVE-2026-3",), "", "a#3")
    assert warnings({"libx": "2"}, [hole]) == warnings({"libx": "2.0.0"}, [hole]) == []


def test_each_copy_of_a_library_is_judged_by_its_own_version() -> None:
    found = warnings({"libx (AVIF)": "1.11", "libx (HEIC)": "1.10", "liby": "0.1"}, TABLE)
    assert [line.partition(" has")[0] for line in found] == ["libx (HEIC) 1.10"]


@pytest.mark.parametrize("version", ["unknown", "", "v1", "unknown 1.2"])
def test_a_version_that_is_unknown_is_not_guessed_at(version: str) -> None:
    assert warnings({"libx": version}, TABLE) == []


def test_numbers_of_any_length_are_compared() -> None:
    assert warnings({"libx": "9" * 5000}, TABLE) == []


def test_the_table_says_of_every_hole_what_it_is_called_and_where_that_was_read() -> None:
    for row in ADVISORIES:
        assert row.identifiers, row
        for name in row.identifiers:
            assert re.fullmatch(r"CVE-\d{4}-\d{4,}|GHSA(-[23456789cfghjmpqrvwx]{4}){3}", name), row
        assert re.fullmatch(r"\d+(\.\d+)+", row.fixed_in), row
        assert "#" in row.source, row
    assert date.fromisoformat(AS_OF)


def test_holes_are_counted_by_library() -> None:
    rows = (
        Advisory("libx", "2.0", ("A", "B"), "", "s"),
        Advisory("libx", "1.5", ("C",), "", "s"),
        Advisory("liby", "1.0", ("D",), "", "s"),
    )
    assert counted({"libx": "1.4", "libx (other)": "1.9", "liby": "1.0", "libz": "unknown"}, rows) == {
        "libx": 3,
        "libx (other)": 2,
        "liby": 0,
        "libz": 0,
    }
