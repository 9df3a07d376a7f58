"""A defect is one traceback and one report, whoever logs it; what reporters log themselves is none."""

from __future__ import annotations

import logging

import pytest

from fastproc.core.defects import Defect
from fastproc.core.errors import FleetHalted
from fastproc.supervisor.defects import Defects

FOUND = Defect("KeyError", stage="broken")


class Reports:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.found: list[tuple[str, int]] = []

    def report(self, found: Defect, count: int) -> None:
        self.found.append((found.kind, count))

    async def close(self) -> None:
        return


def fail(log: logging.Logger, times: int = 1, level: int = logging.ERROR) -> None:
    for _ in range(times):
        try:
            raise ValueError("at the same place")
        except ValueError:
            log.log(level, "unexpected on the connection", exc_info=True)


def test_a_defect_of_many_photos_is_one_line_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    reports = Reports()
    defects = Defects(reports)
    for number in range(5):
        defects.seen(FOUND, "KeyError: 'x' (in broken)", jobId=str(number))
    [record] = caplog.records
    assert record.getMessage() == "unexpected: KeyError: 'x' (in broken)"
    assert (record.fields["jobId"], record.fields["stage"]) == ("0", "broken")
    assert record.fields["traceback"] == "Traceback (most recent call last):\nKeyError"
    assert reports.found == [("KeyError", 1)]


def test_what_is_logged_elsewhere_with_an_exception_is_reported_once() -> None:
    reports = Reports()
    with Defects(reports).listening():
        fail(logging.getLogger("fastproc.somewhere"), times=5)
        fail(logging.getLogger("asyncio"))
        fail(logging.getLogger("fastproc.somewhere"), level=logging.WARNING)
        logging.getLogger("fastproc.somewhere").error("without an exception")
    fail(logging.getLogger("fastproc.somewhere"))
    assert reports.found == [("ValueError", 1)]


def test_reporters_do_not_report_themselves() -> None:
    reports = Reports()
    with Defects(reports).listening():
        fail(logging.getLogger("sentry_sdk.errors"))
        fail(logging.getLogger("urllib3.connectionpool"))
    assert reports.found == []


def test_what_ends_the_service_is_reported_unless_an_operator_can_mend_it() -> None:
    reports = Reports()
    with pytest.raises(RuntimeError), Defects(reports).listening():
        raise RuntimeError("a part has ended")
    with pytest.raises(FleetHalted), Defects(reports).listening():
        raise FleetHalted("workers die")
    assert reports.found == [("RuntimeError", 1)]


def test_without_a_reporter_the_log_has_it_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    with Defects().listening():
        fail(logging.getLogger("fastproc.somewhere"))
    Defects().seen(FOUND, "KeyError: 'x'")
    assert [record.getMessage() for record in caplog.records] == [
        "unexpected on the connection",
        "unexpected: KeyError: 'x'",
    ]
