"""A test that is skipped in CI has failed, but for the reasons that CI cannot mend."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests import skips


def report(reason: str, **more: Any) -> Any:
    return SimpleNamespace(
        skipped=True, outcome="skipped", longrepr=("file.py", 1, f"Skipped: {reason}"), **more
    )


@pytest.mark.parametrize(
    "reason", ["Node is not installed", "valkey-server was not found: pip install x", ""]
)
def test_a_skip_is_a_failure_in_ci_and_says_why(monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    monkeypatch.setenv("CI", "true")
    found = report(reason)
    skips.judge(found)
    assert found.outcome == "failed"
    assert reason in found.longrepr


@pytest.mark.parametrize("reason", ["no ../shared/photos beside the checkout", "needs root, to be in groups"])
def test_what_ci_cannot_install_may_be_missing(monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    monkeypatch.setenv("CI", "true")
    found = report(reason)
    skips.judge(found)
    assert found.outcome == "skipped"


def test_elsewhere_a_skip_is_a_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    found = report("Node is not installed")
    skips.judge(found)
    assert found.outcome == "skipped"


def test_an_expected_failure_is_no_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    found = report("known", wasxfail="known")
    skips.judge(found)
    assert found.outcome == "skipped"
