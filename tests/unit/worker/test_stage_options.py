"""Settings of a stage: texts become the stage's own values, and every mistake has a message that names its variable."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta, Struct

from fastproc.core.errors import FileCorrupted
from fastproc.ipc.stage_check import Order, Row
from fastproc.worker import stage_check, stage_options, trial
from fastproc.worker.stage import StageResult, Work
from tests import pictures


class Settings(Struct, frozen=True):
    side: Annotated[int, Meta(ge=16, description="a side")] = 320
    share: float = 0.5
    is_on: bool = False
    mode: Literal["fast", "best"] = "fast"
    words: tuple[str, ...] = ("a",)
    name: str | None = None
    modes: tuple[Literal["fast", "best"], ...] = ()

    def __post_init__(self) -> None:
        if self.side < 100 and self.mode == "best":
            raise ValueError("a side under 100 cannot be best")


STAGE = SimpleNamespace(
    NAME="own", Settings=Settings, run=lambda work: StageResult({"said": str(work.settings.side)})
)


def test_texts_become_values_of_every_kind() -> None:
    given = {"side": "20", "share": "0.25", "is_on": "TRUE", "mode": "BEST", "words": "b, c ,", "name": "x"}
    given |= {"side": "200", "modes": "Best, fast"}
    found = stage_options.settings(STAGE, given)
    assert found == Settings(200, 0.25, True, "best", ("b", "c"), "x", ("best", "fast"))
    assert stage_options.settings(STAGE, {}) == Settings()


@pytest.mark.parametrize(
    ("texts", "said"),
    {
        "a bound": ({"side": "15"}, "STAGE_OWN_SIDE: expected int >= 16 (it is '15')"),
        "no number": ({"share": "much"}, "STAGE_OWN_SHARE: expected float"),
        "no choice": ({"mode": "slow"}, "STAGE_OWN_MODE: expected one of fast, best (it is 'slow')"),
        "no choice among several": ({"modes": "fast,slow"}, "STAGE_OWN_MODES: expected one of fast, best"),
        "neither true nor false": ({"is_on": "perhaps"}, "STAGE_OWN_IS_ON: expected true or false"),
        "misspelt": ({"sides": "20"}, "STAGE_OWN_SIDES: stage 'own' has no such setting; is STAGE_OWN_SIDE meant?"),
        "unknown": ({"zzz": "20"}, "STAGE_OWN_ZZZ: stage 'own' has no such setting, but STAGE_OWN_SIDE, "),
        "together": ({"side": "20", "mode": "best"}, "STAGE_OWN_*: a side under 100 cannot be best"),
    }.values(),
)  # fmt: skip
def test_a_mistake_names_its_variable(texts: dict[str, str], said: str) -> None:
    [problem] = stage_options.problems(STAGE, texts)
    assert problem.startswith(said)
    with pytest.raises(ValueError, match="STAGE_OWN_"):
        stage_options.settings(STAGE, texts)


def test_all_mistakes_are_told() -> None:
    assert len(stage_options.problems(STAGE, {"side": "x", "share": "y", "what": "z"})) == 3


class Required(Struct, frozen=True):
    side: int


class Thawed(Struct):
    side: int = 1


class Capital(Struct, frozen=True):
    Side: int = 1


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (dict, "is not a msgspec Struct"),
        (Required, "setting side has no default"),
        (Thawed, "is not frozen"),
        (Capital, "Side is not in lower case"),
    ],
)
def test_a_wrong_declaration_is_told(kind: Any, words: str) -> None:
    [problem] = stage_options.problems(SimpleNamespace(NAME="own", Settings=kind), {})
    assert problem.startswith("PIPELINE: stage 'own': ")
    assert words in problem


def test_a_stage_without_settings_takes_none() -> None:
    plain = SimpleNamespace(NAME="plain")
    assert stage_options.settings(plain, {}) is None
    assert stage_options.problems(plain, {"side": "1"}) == ["STAGE_PLAIN_SIDE: stage 'plain' has no settings"]
    assert stage_options.rows(plain, {}) == []


def test_tables_show_value_default_and_meaning() -> None:
    rows = stage_options.rows(STAGE, {"side": "200", "is_on": "true"})
    assert rows[0] == Row("STAGE_OWN_SIDE", "200", "320", "a side")
    assert rows[2] == Row("STAGE_OWN_IS_ON", "true", "false", "")
    assert [row.env for row in rows] == [f"STAGE_OWN_{name.upper()}" for name in Settings.__struct_fields__]


def test_the_look_names_every_stage_that_cannot_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = {"own": STAGE, "other": SimpleNamespace(NAME="else"), "idle": SimpleNamespace(NAME="idle")}
    monkeypatch.setattr(stage_check, "find", lambda name: broken[name])
    found = stage_check.found(Order(("own", "other", "idle", "none"), {"own": {"side": "200"}}))
    assert [problem.split(":")[1].strip() for problem in found.problems] == [
        "stage 'other'", "stage 'idle' has no function run(work)", "stage 'none' cannot be loaded",
    ]  # fmt: skip
    assert found.rows[0].value == "200"


def test_a_trial_runs_the_stage_with_its_settings_and_raises_what_a_photo_would_fail_with() -> None:
    assert trial.tried(STAGE, pictures.jpeg(), settings={"side": "99"}).facts["own"] == {"said": "99"}
    with pytest.raises(FileCorrupted):
        trial.tried(STAGE, pictures.jpeg()[:200])

    def wrong(work: Work) -> Any:
        return None

    with pytest.raises(Exception, match="returned NoneType"):
        trial.tried(SimpleNamespace(NAME="own", run=wrong), pictures.jpeg())
