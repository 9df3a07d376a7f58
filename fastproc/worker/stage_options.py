"""A stage's own settings: from the texts of its variables to an instance of the Struct that the stage declares.

Rule 1: a stage declares its settings as `Settings`, a frozen msgspec Struct whose fields all have a default; bounds and
        meanings are the Meta of its annotations. Checks, messages and tables come from it alone.
Rule 2: every problem is told, not the first alone, and each begins with its variable.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct, structs

from fastproc.core.stage_settings import prefix, variable
from fastproc.ipc.stage_check import Row

_LISTS: Final = (tuple, list)


def settings(stage: Any, texts: Mapping[str, str]) -> Any:
    """Return the stage's settings, None where it declares none. Raises ValueError with all that is wrong."""
    found = problems(stage, texts)
    if found:
        raise ValueError("; ".join(found))
    kind = getattr(stage, "Settings", None)
    return None if kind is None else kind(**_values(kind, texts))


def problems(stage: Any, texts: Mapping[str, str]) -> list[str]:
    """Return what is wrong with the stage's declaration, or with what is set."""
    name, kind = stage.NAME, getattr(stage, "Settings", None)
    if kind is None:
        return [f"{variable(name, each)}: stage {name!r} has no settings" for each in texts]
    if wrong := _declaration(kind):
        return [f"PIPELINE: stage {name!r}: {wrong}"]
    found = []
    hints = get_type_hints(kind, include_extras=True)
    for setting, text in texts.items():
        if setting not in hints:
            found.append(f"{variable(name, setting)}: {_unknown(name, setting, list(hints))}")
            continue
        try:
            _parsed(text, hints[setting])
        except (msgspec.ValidationError, ValueError) as error:
            found.append(f"{variable(name, setting)}: {_in_words(error)} (it is {text!r})")
    return found or _together(name, kind, texts)


def rows(stage: Any, texts: Mapping[str, str]) -> list[Row]:
    """Return a row for each setting of a stage without problems."""
    kind = getattr(stage, "Settings", None)
    if kind is None:
        return []
    hints, given = get_type_hints(kind, include_extras=True), settings(stage, texts)
    defaults = kind()
    return [
        Row(
            variable(stage.NAME, name),
            _text(getattr(given, name)),
            _text(getattr(defaults, name)),
            next(
                (meta.description or "" for meta in getattr(hint, "__metadata__", ()) if _is_meta(meta)), ""
            ),
        )
        for name, hint in hints.items()
    ]


def _declaration(kind: Any) -> str:
    """Return what is wrong with a stage's `Settings`, "" where nothing is."""
    if not (isinstance(kind, type) and issubclass(kind, Struct)):
        return "its Settings is not a msgspec Struct"
    if not kind.__struct_config__.frozen:
        return "its Settings is not frozen: a stage keeps no state"
    required = [field.name for field in structs.fields(kind) if field.required]
    if required:
        return f"its setting {required[0]} has no default"
    mixed = [field.name for field in structs.fields(kind) if field.name != field.name.lower()]
    return f"its setting {mixed[0]} is not in lower case" if mixed else ""


def _together(name: str, kind: Any, texts: Mapping[str, str]) -> list[str]:
    """What the stage itself says of its settings together (`__post_init__`)."""
    try:
        kind(**_values(kind, texts))
    except Exception as error:  # a stage's own code: whatever it raises is its answer
        return [f"{prefix(name)}*: {error}"]
    return []


def _values(kind: Any, texts: Mapping[str, str]) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    return {name: _parsed(text, hints[name]) for name, text in texts.items()}


def _parsed(text: str, hint: Any) -> Any:
    """Return the value of a text; the parts of a list are separated by commas."""
    plain = hint.__origin__ if hasattr(hint, "__metadata__") else hint
    if get_origin(plain) in _LISTS or plain in _LISTS:
        parts: list[Any] = [part.strip() for part in text.split(",") if part.strip()]
        for choices in (each for each in get_args(plain) if get_origin(each) is Literal):
            parts = [_choice(part, get_args(choices)) for part in parts]
        return msgspec.convert(parts, hint, strict=False)
    if get_origin(plain) is Literal:
        return _choice(text, get_args(plain))
    if bool in (plain, *get_args(plain)):
        text = text.lower()
    return msgspec.convert(text, hint, strict=False)


def _choice(text: str, choices: tuple[Any, ...]) -> Any:
    """Return the choice of that spelling, else of that word in capitals or not, as settings of the service are read."""
    for known in (str, lambda choice: str(choice).lower()):
        for choice in choices:
            if known(choice) == known(text):
                return choice
    raise ValueError(f"expected one of {', '.join(map(str, choices))}")


def _unknown(stage: str, setting: str, known: list[str]) -> str:
    near = difflib.get_close_matches(setting, known, n=1)
    if near:
        return f"stage {stage!r} has no such setting; is {variable(stage, near[0])} meant?"
    return f"stage {stage!r} has no such setting, but {', '.join(variable(stage, each) for each in known)}"


def _in_words(error: Exception) -> str:
    said = str(error).replace("`", "").replace("Expected", "expected")
    return said.replace("expected bool, got str", "expected true or false")


def _is_meta(meta: object) -> bool:
    return isinstance(meta, msgspec.Meta)


def _text(value: Any) -> str:
    if isinstance(value, _LISTS):
        return ",".join(map(_text, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
