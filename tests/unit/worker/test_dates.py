"""Dates: as exact as they were written, possible ones alone, in ISO 8601."""

from __future__ import annotations

import pytest

from fastproc.worker import dates


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2019", "2019"),
        ("2019-05", "2019-05"),
        (" 2019-05-04 ", "2019-05-04"),
        ("2019-05-04T10:11", "2019-05-04T10:11"),
        ("2019-05-04T10:11Z", "2019-05-04T10:11+00:00"),
        ("2019-05-04T10:11:12", "2019-05-04T10:11:12"),
        ("2019-05-04T10:11:12.340+02:00", "2019-05-04T10:11:12.340+02:00"),
        ("2019-05-04T10:11:12.000", "2019-05-04T10:11:12"),
        ("2019:05:04 10:11:12-0330", "2019-05-04T10:11:12-03:30"),
        ("2019-05-04T10:11:12+25:00", "2019-05-04T10:11:12"),
        ("2019-13", None),
        ("2019-02-29", None),
        ("2019-05-04T24:00:00", None),
        ("0000-00-00T00:00:00", None),
        ("20190504", None),
        ("٢٠١٩-05", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_a_date_of_xmp_stays_as_exact_as_it_was(written: str, expected: str | None) -> None:
    assert dates.iso(written) == expected


@pytest.mark.parametrize(
    ("date", "time", "expected"),
    [
        ("20190504", "101112+0200", "2019-05-04T10:11:12+02:00"),
        ("20190504", "101112", "2019-05-04T10:11:12"),
        ("20190504", "", "2019-05-04"),
        ("20190504", "991112", "2019-05-04"),
        ("20190500", "101112", "2019-05"),
        ("20190000", "", "2019"),
        ("2019-05-04", "10:11:12", "2019-05-04T10:11:12"),
        ("20190230", "", None),
        ("00000000", "", None),
        ("", "101112", None),
    ],
)
def test_a_date_of_iptc_has_parts_that_are_not_known(date: str, time: str, expected: str | None) -> None:
    assert dates.of_iim(date, time) == expected


@pytest.mark.parametrize(
    ("date", "clock", "expected"),
    [
        ("2024:02:29", (16.0, 45.0, 9.0), "2024-02-29T16:45:09Z"),
        ("2024-02-29", (16.0, 45.0, 9.25), "2024-02-29T16:45:09.250Z"),
        ("2024:02:29", (16.0, 45.5, 0.0), "2024-02-29T16:45:30Z"),
        ("2024:02:29", (24.0, 0.0, 0.0), None),
        ("2024:02:29", (16.0, 60.0, 0.0), None),
        ("2024:02:29", (16.0, float("nan"), 0.0), None),
        ("2024:02:29", (float("inf"), 0.0, 0.0), None),
        ("2024:02:30", (16.0, 45.0, 9.0), None),
        ("", (16.0, 45.0, 9.0), None),
    ],
)
def test_a_moment_of_the_satellites_is_in_utc(
    date: str, clock: tuple[float, float, float], expected: str | None
) -> None:
    assert dates.of_gps(date, *clock) == expected


def test_exif_has_a_time_and_an_offset_in_another_tag() -> None:
    assert dates.moment("2024:02:29 13:45:09", "-03:00") == "2024-02-29T13:45:09-03:00"
    assert dates.moment("2024:02:29 13:45:09", "-93:00") == "2024-02-29T13:45:09"
    assert dates.moment("2024:02:29") is None
