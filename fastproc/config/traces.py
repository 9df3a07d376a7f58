"""Settings of traces: where spans go. The names are OpenTelemetry's own."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import unquote

from msgspec import Struct

from fastproc.config import values
from fastproc.config.values import var

#: Source: OpenTelemetry, "OTLP Exporter Configuration": where a collector takes spans, behind its base address.
_PATH = "/v1/traces"


def headers(text: str) -> tuple[tuple[str, str], ...]:
    """Parse `name=value,name=value`, values in percent encoding. Raises ValueError for anything else."""
    pairs = [part.partition("=") for part in values.names(text)]
    found = tuple((name.strip().lower(), unquote(value.strip())) for name, _, value in pairs)
    for (name, equals, _), (_, value) in zip(pairs, found, strict=True):
        if not equals or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name.strip()):
            raise ValueError("expected name=value,name=value")
        if not value.isprintable():
            raise ValueError("expected values that can stand in a header")
    return found


class TracesConfig(Struct, frozen=True, kw_only=True):
    """Where spans go, and of how many jobs."""

    exporter: Annotated[
        Literal["none", "otlp"],
        var(
            "OTEL_TRACES_EXPORTER",
            "`otlp`: a trace for each attempt of a job, by OTLP over HTTP (extra `otel`); `none`: no traces",
        ),
    ] = "none"
    endpoint: Annotated[
        str,
        var(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "base address of the collector; spans are posted to `/v1/traces` there",
            extra={"parse": values.url("http", "https")},
        ),
    ] = "http://localhost:4318"
    traces_endpoint: Annotated[
        str,
        var(
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "whole address that spans are posted to, instead of OTEL_EXPORTER_OTLP_ENDPOINT",
            extra={"parse": values.url("http", "https")},
        ),
    ] = ""
    headers: Annotated[
        tuple[tuple[str, str], ...],
        var(
            "OTEL_EXPORTER_OTLP_HEADERS",
            "headers for the collector: `name=value,name=value`",
            extra={"parse": headers, "secret": True},
        ),
    ] = ()
    traces_headers: Annotated[
        tuple[tuple[str, str], ...],
        var(
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
            "headers for spans, instead of OTEL_EXPORTER_OTLP_HEADERS",
            extra={"parse": headers, "secret": True},
        ),
    ] = ()
    service_name: Annotated[
        str, var("OTEL_SERVICE_NAME", "`service.name` of the spans", pattern=r"^[^\s]{1,255}$")
    ] = "fastproc"
    sampler: Annotated[
        Literal[
            "parentbased_traceidratio", "parentbased_always_on", "parentbased_always_off",
            "traceidratio", "always_on", "always_off",
        ],
        var(
            "OTEL_TRACES_SAMPLER",
            "which jobs are traced: with `parentbased_` the producer decides, and of other jobs a share, all or none;"
            " without it, that counts for every job",
        ),
    ] = "parentbased_traceidratio"  # fmt: skip
    share: Annotated[
        float,
        var(
            "OTEL_TRACES_SAMPLER_ARG",
            "share of the jobs that are traced, by `parentbased_traceidratio` or `traceidratio`",
            ge=0,
            le=1,
        ),
    ] = 1.0

    @property
    def url(self) -> str:
        """Where spans are posted."""
        return self.traces_endpoint or self.endpoint.rstrip("/") + _PATH

    @property
    def sent_headers(self) -> tuple[tuple[str, str], ...]:
        """Headers that go with spans."""
        return self.traces_headers or self.headers
