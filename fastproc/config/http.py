"""Settings of the HTTP server: where health and metrics are served."""

from __future__ import annotations

from typing import Annotated

from msgspec import Struct

from fastproc.config.values import var


class HttpConfig(Struct, frozen=True, kw_only=True):
    """Where health and metrics are served."""

    host: Annotated[str, var("HTTP_HOST", "address to listen on")] = "0.0.0.0"
    port: Annotated[
        int, var("HTTP_PORT", "port of `/health`, `/ready` and `/metrics`; 0 = none", ge=0, le=65535)
    ] = 8080
    stale_s: Annotated[
        float,
        var(
            "HEALTH_STALE_S",
            "seconds in which jobs wait, nothing holds them and no attempt ends, until `/health` says `stale`",
            gt=0,
        ),
    ] = 300.0
