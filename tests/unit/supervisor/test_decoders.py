"""What is said of the decoders: all of them with their versions, what has holes, and how old that knowledge is."""

from __future__ import annotations

from datetime import date, timedelta

from fastproc.core import advisories
from fastproc.supervisor import decoders

AS_OF = date.fromisoformat(advisories.AS_OF)


def test_every_library_is_named_with_its_version() -> None:
    assert decoders.named({"libvips": "8.18.7", "lcms2": "unknown"}) == "libvips 8.18.7, lcms2 unknown"


def test_a_library_with_a_hole_is_named() -> None:
    [line] = decoders.holes({"libwebp": "1.3.1", "libvips": "99.0"}, AS_OF)
    assert line.startswith("libwebp 1.3.1 has published holes that 1.3.2 mends: CVE-2023-4863")


def test_a_table_that_is_old_says_so_itself() -> None:
    assert decoders.holes({}, AS_OF + timedelta(days=advisories.OLD_DAYS)) == []
    [line] = decoders.holes({}, AS_OF + timedelta(days=advisories.OLD_DAYS + 1))
    assert line.startswith(f"the table of published holes is of {AS_OF}, {advisories.OLD_DAYS + 1} days old")
