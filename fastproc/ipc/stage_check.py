"""The look at stages of your own before the service starts: what is asked, what is answered, how it is started."""

from __future__ import annotations

import sys

import msgspec
from msgspec import Struct

from fastproc.core.stage_settings import StageSettings


class Row(Struct, frozen=True):
    """One setting of a stage for tables: its variable, value and default as text, its meaning."""

    env: str
    value: str
    default: str
    meaning: str


class Order(Struct, frozen=True):
    """Which stages to look at, and what is set for them."""

    stages: tuple[str, ...]
    settings: StageSettings


class Found(Struct, frozen=True):
    """What is wrong, each text beginning with its variable, and the settings."""

    problems: tuple[str, ...]
    rows: tuple[Row, ...] = ()


def command(order: Order) -> list[str]:
    """Return the argv of the process that looks. -I, as for workers: they import what is installed."""
    return [
        sys.executable,
        "-I",
        "-m",
        "fastproc.worker.stage_check",
        msgspec.json.encode(order).decode(),
    ]
