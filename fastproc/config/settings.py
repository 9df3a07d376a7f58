"""Every setting at once: `load(env)` checks all variables, `table(config)` shows them.

Rule 1: the rooms' Structs are the only list of variables, defaults, bounds and meanings: `fastproc check`, the error
        messages and the documents' table (a test compares) come from them.
Rule 2: one file and one frozen Struct a room, each with the problems between its own settings (`conflicts`); what
        two rooms must agree on is judged here.
Rule 3: the caller brings the environment: nothing in `config` reads it.
Rule 4: an empty variable counts as unset, because compose files pass empty strings.
Rule 5: every variable NAME may come as a file by NAME_FILE (`config.files`), so that no secret has to be a variable.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct, structs

from fastproc.config import misspelt, sharing, values
from fastproc.config.database import DatabaseConfig
from fastproc.config.events import EventsConfig
from fastproc.config.files import Given, given
from fastproc.config.http import HttpConfig
from fastproc.config.log import LogConfig
from fastproc.config.pipeline import PipelineConfig
from fastproc.config.pool import WORKER_ROOM_BYTES, PoolConfig
from fastproc.config.quarantine import QuarantineConfig
from fastproc.config.queue import LimiterConfig, QueueConfig
from fastproc.config.redis import RedisConfig
from fastproc.config.reports import ReportsConfig
from fastproc.config.s3 import S3Config
from fastproc.config.traces import TracesConfig
from fastproc.config.uploads import UploadConfig
from fastproc.config.webhook import WebhookConfig
from fastproc.core import stage_settings
from fastproc.core.errors import ConfigError
from fastproc.core.model import own_stages
from fastproc.core.view import SettingNow


class Config(Struct, frozen=True, kw_only=True):
    """All rooms' settings."""

    redis: RedisConfig = RedisConfig()
    queue: QueueConfig = QueueConfig()
    limiter: LimiterConfig = LimiterConfig()
    s3: S3Config = S3Config()
    uploads: UploadConfig = UploadConfig()
    database: DatabaseConfig = DatabaseConfig()
    pool: PoolConfig = PoolConfig()
    pipeline: PipelineConfig = PipelineConfig()
    quarantine: QuarantineConfig = QuarantineConfig()
    events: EventsConfig = EventsConfig()
    webhook: WebhookConfig = WebhookConfig()
    http: HttpConfig = HttpConfig()
    log: LogConfig = LogConfig()
    reports: ReportsConfig = ReportsConfig()
    traces: TracesConfig = TracesConfig()


class Setting(Struct, frozen=True):
    """One variable for tables: value and default as text, secrets masked."""

    env: str
    value: str
    default: str
    meaning: str


#: What Kubernetes sets NAME_PORT to for each Service of that name in the namespace, and how not to.
_LINK = re.compile(r"(tcp|udp)://\S+:\d+")
_LINKED = "; Kubernetes sets it for a Service of that name: set it yourself, or enableServiceLinks: false"
_EXPECTED = {int: "a whole number", float: "a number", bool: "true or false"}


def load(env: Mapping[str, str], cores: int) -> Config:
    """Return the checked configuration. `cores` is the default of WORKER_CONCURRENCY.

    Raises: ConfigError with every problem, each beginning with its variable.
    """
    problems: list[str] = []
    rooms: dict[str, Struct] = {}
    for room, kind in get_type_hints(Config).items():
        found: dict[str, Any] = {"workers": cores} if kind is PoolConfig else {}
        for name, hint, meta in _fields(kind):
            value = given(env, meta.extra["env"], file=not meta.extra.get("no_file"))
            problems += value.problems
            if value.text:
                try:
                    found[name] = _parse(value.text, hint, meta)
                except ValueError as error:
                    problems.append(f"{value.named}: {error}{_shown(value, meta)}")
        if kind is PipelineConfig:
            found["stage_settings"] = stage_settings.of(env, own_stages(found.get("stages", ())))
        rooms[room] = kind(**found)
    config = Config(**rooms)  # type: ignore[arg-type]  # the rooms are Config's own hints
    problems += _conflicts(config)
    if problems:
        raise ConfigError(problems)
    return config


def _shown(value: Given, meta: Any) -> str:
    """The value for a message; that of a file is not shown: it may be another file than was meant."""
    if value.named != meta.extra["env"]:
        return ""
    return f" (it is {values.masked(value.text, secret=meta.extra.get('secret', False))!r})"


def table(config: Config) -> list[Setting]:
    """Return a row for each variable, in the order of the rooms."""
    rows = []
    for room, kind in get_type_hints(Config).items():
        defaults = {field.name: field.default for field in structs.fields(kind)}
        for name, _hint, meta in _fields(kind):
            value = values.text_of(getattr(getattr(config, room), name))
            default = meta.extra.get("shown") or values.text_of(defaults[name])
            # A default that is not in force must not be shown as if it were.
            unset = "" if room == "s3" and name in config.s3.unused else default
            shown = values.masked(value or unset, secret=meta.extra.get("secret", False))
            rows.append(Setting(meta.extra["env"], shown, default, meta.description))
    return rows


def strangers(given: Collection[str]) -> list[str]:
    """Return a warning for each name of a variable that seems to be a setting's, misspelt."""
    return misspelt.misspelt(given, {row.env for row in table(Config())})


def shown(config: Config, origins: Mapping[str, str]) -> tuple[SettingNow, ...]:
    """Return the rows of `table` for the operator's page; `origins`: where each variable comes from."""
    return tuple(
        SettingNow(
            env=row.env,
            value=row.value,
            source=origins.get(row.env, "default"),
            default=row.default,
            meaning=row.meaning,
        )
        for row in table(config)
    )


def origins(env: Mapping[str, str]) -> dict[str, str]:
    """Return where each variable comes from: `environment`, `file`, `default`."""
    found = {}
    for kind in get_type_hints(Config).values():
        for _name, _hint, meta in _fields(kind):
            variable, has_file = meta.extra["env"], not meta.extra.get("no_file")
            by_file = has_file and env.get(f"{variable}_FILE", "").strip()
            found[variable] = (
                "environment" if env.get(variable, "").strip() else "file" if by_file else "default"
            )
    return found


def _fields(kind: type[Struct]) -> Iterator[tuple[str, Any, Any]]:
    for name, hint in get_type_hints(kind, include_extras=True).items():
        if hasattr(hint, "__metadata__"):
            yield name, hint, hint.__metadata__[0]


def _parse(text: str, hint: Any, meta: Any) -> Any:
    if "parse" in meta.extra:
        return meta.extra["parse"](text)
    plain = hint.__origin__
    if get_origin(plain) is not Literal:
        plain = next((part for part in get_args(plain) if part is not type(None)), plain)
    choices = get_args(plain) if get_origin(plain) is Literal else ()
    try:
        # Not by the hint itself: bounds cannot be set on a type that may be None.
        kind: Any = Annotated[plain, meta]
        return msgspec.convert(text.lower() if choices or plain is bool else text, kind, strict=False)
    except msgspec.ValidationError as error:
        if choices:
            raise ValueError(
                f"expected one of {', '.join(choices)}{misspelt.likely(text, choices)}"
            ) from None
        if "got `str`" in str(error):
            linked = _LINKED if _LINK.fullmatch(text) else ""
            raise ValueError(f"expected {_EXPECTED[plain]}{linked}") from None
        raise ValueError(str(error).replace("`", "").replace("Expected", "expected")) from None


def _conflicts(config: Config) -> list[str]:
    pipeline, pool, s3 = config.pipeline, config.pool, config.s3
    found = [*pipeline.conflicts(), *pool.conflicts(), *config.database.conflicts()]
    found += [*s3.conflicts(config.uploads.buckets), *config.uploads.conflicts(pipeline.options())]
    found += config.webhook.conflicts()
    found += sharing.conflicts(config)
    if pool.max_inflight_bytes < pipeline.max_source_bytes:
        found.append(
            f"MAX_INFLIGHT_BYTES: {pool.max_inflight_bytes} is less than MAX_SOURCE_BYTES"
            f" ({pipeline.max_source_bytes}): a photo of that size could never be fetched"
        )
    least = pipeline.max_decoded_bytes + WORKER_ROOM_BYTES
    if pool.memory_bytes < least:
        found.append(
            f"WORKER_MEMORY_BYTES: {pool.memory_bytes} is less than {least}, which is MAX_DECODED_BYTES"
            f" ({pipeline.max_decoded_bytes}) and what the interpreter and the encoders need"
        )
    if config.redis.is_cluster and not re.search(r"\{[^{}]+\}", config.queue.prefix + config.queue.name):
        found.append(
            "QUEUE_PREFIX: a cluster needs a hash tag such as {bull}, so that all keys have one hash slot"
        )
    found += config.events.conflicts(config.queue, cluster=config.redis.is_cluster)
    if config.quarantine.bucket and config.quarantine.bucket not in s3.buckets:
        found.append(f"QUARANTINE: bucket {config.quarantine.bucket!r} is not in ALLOWED_BUCKETS")
    return found
