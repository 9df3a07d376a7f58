"""Settings of stages of your own: which variables of an environment they are, by stage and by name.

Rule 1: the variable is STAGE_<STAGE>_<SETTING>, in capitals, with `_` for `-`. Where one stage's name begins another's
        (`ocr`, `ocr_fast`), the longer name has the variable.
Rule 2: values are texts here: only the stage knows what they mean (`worker.stage_options`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

PREFIX: Final = "STAGE_"

#: stage -> setting, in lower case -> text.
StageSettings = dict[str, dict[str, str]]


def prefix(stage: str) -> str:
    """Return what the stage's variables begin with."""
    return f"{PREFIX}{_capital(stage)}_"


def variable(stage: str, setting: str) -> str:
    """Return the variable of a stage's setting."""
    return prefix(stage) + _capital(setting)


def of(env: Mapping[str, str], stages: Iterable[str]) -> StageSettings:
    """Return what the environment sets for these stages; an empty variable counts as unset."""
    by_length = sorted(stages, key=len, reverse=True)
    found: StageSettings = {}
    for name, text in sorted(env.items()):
        owner = next((stage for stage in by_length if name.startswith(prefix(stage))), None)
        if owner is not None and text.strip():
            found.setdefault(owner, {})[name.removeprefix(prefix(owner)).lower()] = text.strip()
    return found


def strangers(env: Iterable[str], stages: Iterable[str]) -> list[str]:
    """Return the variables that are named as a setting of a stage, STAGE_<A>_<B>, and are none of these stages'."""
    known = tuple(prefix(stage) for stage in stages) or ("\0",)
    return sorted(
        name for name in env if name.startswith(PREFIX) and name.count("_") > 1 and not name.startswith(known)
    )


def _capital(name: str) -> str:
    return name.upper().replace("-", "_")
