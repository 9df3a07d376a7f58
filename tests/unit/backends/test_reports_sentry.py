"""Sentry is asked for by its setting alone, and gets nothing but what it needs to show a defect."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fastproc.backends import factories
from fastproc.backends.reports_sentry import event
from fastproc.config.reports import ReportsConfig
from fastproc.core.defects import Defect, Frame
from fastproc.core.errors import ConfigError

DSN = "https://swordfish@sentry.example/42"


def test_without_its_setting_nothing_of_it_is_imported() -> None:
    code = (
        "import sys, fastproc.app, fastproc.backends.factories as f; from fastproc.config.reports import *;"
    )
    code += "assert f.reporter(ReportsConfig()) is None; assert 'sentry_sdk' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_without_the_extra_the_start_ends_with_one_sentence_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError) as caught:
        factories.reporter(ReportsConfig(sentry_dsn=DSN))
    assert caught.value.problems == [
        "SENTRY_DSN: sentry-sdk is not installed: pip install 'fastproc[sentry]'"
    ]


def test_an_event_has_the_defect_and_no_more() -> None:
    found = Defect("stage.of.Stranger", (Frame("m", "f", 7),), "broken")
    made = event(found, 3)
    [exception] = made["exception"]["values"]
    assert (exception["type"], exception["module"]) == ("Stranger", "stage.of")
    assert exception["stacktrace"]["frames"] == [
        {"module": "m", "function": "f", "lineno": 7, "filename": "m"}
    ]
    assert made["fingerprint"] == ["stage.of.Stranger", "m:f:7"]
    assert made["extra"] == {"occurrences": 3}
    assert set(made) == {
        "level", "platform", "logger", "exception", "fingerprint", "tags", "extra",
    }  # fmt: skip
    assert "stacktrace" not in event(Defect("KeyError"), 1)["exception"]["values"][0]
