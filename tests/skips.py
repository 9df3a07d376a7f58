"""Which tests may be skipped where CI=true: none but those that miss what this repository cannot install.

Rule 1: a skip is for a reason that begins as one of `ALLOWED`; elsewhere any reason will do. Pytest's summary (-ra)
        counts all skips and shows their reasons.
Rule 2: a module that is skipped as a whole is judged as its tests are.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

#: Photos and hostile files beside the checkout; rights of the user that runs the tests.
ALLOWED = ("no ../shared", "needs root")


def refusal(reason: str, *, ci: bool) -> str | None:
    """Return why a test may not be skipped for that reason, or None where it may."""
    if not ci or reason.removeprefix("Skipped: ").startswith(ALLOWED):
        return None
    return f"CI=true allows no skip for this reason (tests/skips.py): {reason}"


def judge(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn the report of a skip that is not allowed into a failure; those of expected failures are no skips."""
    if not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if refused := refusal(reason, ci=os.environ.get("CI") == "true"):
        report.outcome, report.longrepr = "failed", refused


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    judge(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    judge(report)
    return report
