"""Stages by name: built in, by entry point, unknown."""

from __future__ import annotations

import pytest

from fastproc.core.errors import ConfigError
from fastproc.worker import stage


class Outside:
    """The object that a plug-in's entry point refers to."""

    NAME = "outside"

    @staticmethod
    def run(work: stage.Work) -> stage.StageResult:
        return stage.StageResult({"width": work.plan.width})


class _Point:
    name = "outside"

    def load(self) -> type[Outside]:
        return Outside


def test_a_stage_of_another_package_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        stage.metadata, "entry_points", lambda group: [_Point()] if group == "fastproc.stages" else []
    )
    loaded = stage.load(("outside", "metadata"))
    assert [each.NAME for each in loaded] == ["outside", "metadata"]


def test_unknown_stages_are_all_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        stage.load(("nonsense", "metadata", "../../evil", "a.b"))
    assert len(caught.value.problems) == 3
    assert all("PIPELINE" in problem for problem in caught.value.problems)
