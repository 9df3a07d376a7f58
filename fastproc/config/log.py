"""Settings of the log: how much is written."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Struct

from fastproc.config.values import var


class LogConfig(Struct, frozen=True, kw_only=True):
    """How much is logged."""

    level: Annotated[
        Literal["debug", "info", "warn", "warning", "error"],
        var("LOG_LEVEL", "`debug`, `info`, `warn` or `error`"),
    ] = "info"
    health_s: Annotated[
        float,
        var(
            "HEALTH_LOG_S",
            "seconds between two lines of the log with the figures of `/health`; 0 = none",
            ge=0,
        ),
    ] = 60.0
