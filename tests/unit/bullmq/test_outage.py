"""Outages: one line at the beginning, one at the end, however many parts fail, and longer pauses from try to try."""

from __future__ import annotations

import pytest

from fastproc.bullmq.outage import LONGEST_PAUSE_S, Outage, retry_pause_s


def test_an_outage_of_several_parts_is_two_lines_and_ends_with_the_last(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outage = Outage()
    for _ in range(3):
        outage.failed("connection", "cut")
        outage.failed("fetch", "no reply")
    outage.passed("connection")
    assert outage.why == "no reply"
    outage.passed("check")
    outage.passed("fetch")
    outage.passed("fetch")
    assert outage.why == ""
    begin, end = (record.getMessage() for record in caplog.records)
    assert begin.endswith("trying again until it does: cut")
    assert end.startswith("Redis serves the queue again, after 0.")


def test_pauses_grow_to_a_bound() -> None:
    assert 0.1 <= retry_pause_s(1) <= 0.2
    assert all(LONGEST_PAUSE_S / 2 <= retry_pause_s(failures) <= LONGEST_PAUSE_S for failures in (10, 10_000))


def test_since_when_it_lasts_and_the_last_failure_are_kept_for_people_who_look() -> None:
    outage = Outage()
    assert (outage.since, outage.last) == (None, "")
    outage.failed("fetch", "refused")
    assert outage.since is not None
    outage.passed("fetch")
    assert (outage.since, outage.last, outage.last_at_ms > 1_700_000_000_000) == (None, "refused", True)


def test_the_reason_that_ready_and_the_page_show_has_no_secret_in_it() -> None:
    outage = Outage()
    outage.failed("fetch", "cannot connect to redis://me:hush@h")
    assert (outage.why, outage.last) == ("cannot connect to redis://me:********@h",) * 2
