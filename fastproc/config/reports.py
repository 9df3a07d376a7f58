"""Settings of reports: where exceptions that nobody expected go."""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Struct

from fastproc.config import values
from fastproc.config.values import var


def dsn(text: str) -> str:
    """Return Sentry's address of a project, `https://KEY@HOST/PROJECT`. Raises ValueError for anything else."""
    values.url("http", "https")(text)
    if not re.fullmatch(r"https?://[^/@\s]+@[^/@\s]+(/[^\s?#]*)?/\d+", text):
        raise ValueError("expected https://KEY@HOST/PROJECT, as Sentry shows it under Client Keys")
    return text


class ReportsConfig(Struct, frozen=True, kw_only=True):
    """Where exceptions that nobody expected go."""

    sentry_dsn: Annotated[
        str | None,
        var(
            "SENTRY_DSN",
            "Sentry project for exceptions that nobody expected (extra `sentry`, which the image has); empty = none",
            extra={"parse": dsn, "secret": True},
        ),
    ] = None
    sentry_environment: Annotated[
        str, var("SENTRY_ENVIRONMENT", "the environment that Sentry shows", pattern=r"^[^\s/]{1,64}$")
    ] = "production"
