"""Defines a stage: a question about one photo, answered with facts and renditions. Built in or found by entry point.

Rule 1: a stage is a module (or any object) with a `NAME` and a `run`; it keeps no state, does no I/O, and knows no
        other stage.
Rule 2: built-in stages are modules of `fastproc.worker.stages`, named by their file; others come from the entry point
        group `fastproc.stages`, named by the entry point. `Options.stages` gives names and order.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable
from importlib import metadata
from typing import Any, Final, Protocol, runtime_checkable

from msgspec import Struct, field

from fastproc.core.errors import ConfigError
from fastproc.core.model import Options
from fastproc.core.plan import Plan
from fastproc.worker.encoders import Encoders
from fastproc.worker.shared_read import Reader
from fastproc.worker.source import Source

PACKAGE: Final = "fastproc.worker.stages"
GROUP: Final = "fastproc.stages"


class Encoded(Struct, frozen=True, kw_only=True):
    """A picture that a stage made, as the bytes of a file. `name` is unique within the stage."""

    name: str
    width: int
    height: int
    data: bytes
    content_type: str = "image/jpeg"


class StageResult(Struct, frozen=True):
    """Facts (JSON values only, a few kilobytes at most) and renditions."""

    facts: dict[str, Any] = field(default_factory=dict)
    renditions: tuple[Encoded, ...] = ()


class Work(Struct, frozen=True, kw_only=True):
    """What a stage gets: the photo, the service's options, this photo's plan, and the tools.

    `content_type` is the one that the object store has recorded; it comes from the client and may be wrong.
    `settings` is an instance of the stage's own `Settings`, None where it declares none.
    """

    source: Source
    options: Options
    plan: Plan
    content_type: str | None
    encoders: Encoders
    settings: Any = None


class Stage(Protocol):
    """The one way to extend the pipeline. It may declare `Settings` besides (`stage_options`)."""

    @property
    def NAME(self) -> str:
        """The stage's name in options, reports and progress: `[A-Za-z0-9_-]{1,64}`."""

    def run(self, work: Work) -> StageResult:
        """Raises an ImageError leaf of `fastproc.core.errors` to fail the photo; anything else is PROCESSING_ERROR."""


@runtime_checkable
class ReadingStage(Stage, Protocol):
    """A stage that reads every pixel, and says so beforehand: the first decode is then at full size, for it as well."""

    def reader(self, work: Work) -> Reader | None:
        """Return what `run` will give to `work.source.read`, None if nothing. It decides, and reads no pixels."""


def load(names: Iterable[str]) -> tuple[Stage, ...]:
    """Return the named stages, imported. Raises ConfigError with every name that has no stage."""
    stages: list[Any] = []
    problems = []
    for name in names:
        try:
            stages.append(find(name))
        except LookupError as error:
            problems.append(f"PIPELINE: {error}")
    if problems:
        raise ConfigError(problems)
    return tuple(stages)


def find(name: str) -> Any:
    """Return the stage, imported. Raises LookupError where there is none, and whatever its import raises."""
    if name.isidentifier() and importlib.util.find_spec(f"{PACKAGE}.{name}"):
        return importlib.import_module(f"{PACKAGE}.{name}")
    for point in metadata.entry_points(group=GROUP):
        if point.name == name:
            return point.load()
    raise LookupError(f"there is no stage {name!r}")
