"""Settings of the log: how much is written, and in which format."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Struct

from fastproc.config.values import var


class LogConfig(Struct, frozen=True, kw_only=True):
    """How much is logged, and how."""

    level: Annotated[
        Literal["debug", "info", "warn", "warning", "error"],
        var("LOG_LEVEL", "`debug`, `info`, `warn` or `error`"),
    ] = "info"
    format: Annotated[
        Literal["text", "json"],
        var("LOG_FORMAT", "`text`: lines of logfmt, `json`: a JSON object a line"),
    ] = "text"
    health_s: Annotated[
        float,
        var(
            "HEALTH_LOG_S",
            "seconds between two lines of the log with the figures of `/health`; 0 = none",
            ge=0,
        ),
    ] = 60.0
