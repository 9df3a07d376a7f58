"""Every setting: its variable, default, bounds and meaning. `load(env)` checks all of them at once.

Rule 1: this is the only list: `fastproc check`, the errors and the README's table (a test compares) come from it.
Rule 2: one frozen Struct a room; a room is given its own Struct, never the whole, never the environment.
Rule 3: an empty variable counts as unset: compose files pass empty strings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct, structs

from fastproc.config import values
from fastproc.config.pipeline import PipelineConfig
from fastproc.config.quarantine import QuarantineConfig
from fastproc.config.values import var
from fastproc.core.errors import ConfigError
from fastproc.core.model import Sandbox
from fastproc.core.naming import SAFE_NAME


class RedisConfig(Struct, frozen=True, kw_only=True):
    """Where Redis or Valkey is."""

    host: Annotated[str, var("REDIS_HOST", "Redis or Valkey host")] = "localhost"
    port: Annotated[int, var("REDIS_PORT", "its port", ge=1, le=65535)] = 6379
    password: Annotated[str | None, var("REDIS_PASSWORD", "its password", extra={"secret": True})] = None
    url: Annotated[
        str | None,
        var(
            "REDIS_URL",
            "`redis://`, `rediss://`, `unix://`, `redis+sentinel://` or `redis+cluster://` URL;"
            " takes the place of host, port and password",
            extra={"parse": values.redis_url},
        ),
    ] = None

    @property
    def is_cluster(self) -> bool:
        return bool(self.url) and "+cluster://" in str(self.url)

    @property
    def where(self) -> str:
        """The server and the variables that name it, for messages."""
        if self.url:
            return f"{values.masked(self.url, secret=False)} (REDIS_URL)"
        return f"{self.host}:{self.port} (REDIS_HOST, REDIS_PORT)"


class QueueConfig(Struct, frozen=True, kw_only=True):
    """Which queue is served, and its rules."""

    name: Annotated[str, var("QUEUE_NAME", "BullMQ queue to serve", extra={"parse": values.queue_name})] = (
        "photo-processing"
    )
    prefix: Annotated[str, var("QUEUE_PREFIX", "BullMQ key prefix")] = "bull"
    max_retries: Annotated[
        int, var("WORKER_MAX_RETRIES", "attempts of a job that names none itself", ge=1, le=100)
    ] = 3
    lock_duration_ms: Annotated[
        int,
        var("LOCK_DURATION_MS", "lock of an active job in ms; renewed at half", ge=1000, le=3_600_000),
    ] = 30_000
    stalled_interval_ms: Annotated[
        int, var("STALLED_INTERVAL_MS", "ms between sweeps for stalled jobs", ge=500, le=3_600_000)
    ] = 30_000
    max_stalled_count: Annotated[
        int, var("MAX_STALLED_COUNT", "stalls of one job that are forgiven", ge=0, le=100)
    ] = 1


class LimiterConfig(Struct, frozen=True, kw_only=True):
    """How many jobs may start in which time."""

    max: Annotated[
        int, var("RATE_LIMIT_MAX", "jobs that may start per duration; 0 = no limit", ge=0, le=1_000_000)
    ] = 10
    duration_ms: Annotated[int, var("RATE_LIMIT_DURATION_MS", "that duration in ms", ge=1, le=86_400_000)] = (
        1000
    )


class S3Config(Struct, frozen=True, kw_only=True):
    """Where the photos are."""

    endpoint: Annotated[str, var("MINIO_ENDPOINT", "S3 host", extra={"parse": values.host})] = "localhost"
    port: Annotated[int, var("MINIO_PORT", "S3 port", ge=1, le=65535)] = 9000
    use_ssl: Annotated[bool, var("MINIO_USE_SSL", "`true` for https to S3")] = False
    access_key: Annotated[str, var("MINIO_ACCESS_KEY", "S3 access key")] = "minioadmin"
    secret_key: Annotated[str, var("MINIO_SECRET_KEY", "S3 secret key", extra={"secret": True})] = (
        "minioadmin123"
    )
    bucket: Annotated[str, var("MINIO_BUCKET", "bucket of photos and results")] = "photos"
    region: Annotated[str, var("MINIO_REGION", "region that requests are signed for")] = "us-east-1"
    allowed_buckets: Annotated[
        tuple[str, ...],
        var(
            "ALLOWED_BUCKETS",
            "buckets that a job may name, separated by commas",
            extra={"parse": values.names, "shown": "MINIO_BUCKET"},
        ),
    ] = ()
    public_url: Annotated[
        str | None,
        var(
            "PUBLIC_URL",
            "beginning of the renditions' URLs",
            extra={"parse": values.url("http", "https"), "shown": "the S3 endpoint"},
        ),
    ] = None

    @property
    def buckets(self) -> tuple[str, ...]:
        """The buckets that a job may name."""
        return self.allowed_buckets or (self.bucket,)


class DatabaseConfig(Struct, frozen=True, kw_only=True):
    """Where the photos' rows are."""

    sqlite_path: Annotated[str, var("SQLITE_PATH", "SQLite file with the table `photos`")] = (
        "./data/photos.db"
    )

    @property
    def scheme(self) -> str:
        """Which store: a file `backends/metadata_<scheme>.py`."""
        return "sqlite"


class PoolConfig(Struct, frozen=True, kw_only=True):
    """The worker processes, and how much is in flight."""

    workers: Annotated[
        int,
        var(
            "WORKER_CONCURRENCY",
            "worker processes",
            extra={"shown": "the cores that the container may use"},
            ge=1,
            le=256,
        ),
    ] = 1
    prefetch: Annotated[
        int | None,
        var(
            "PREFETCH",
            "jobs taken beyond the busy workers, so that their photos are there in time",
            extra={"shown": "WORKER_CONCURRENCY"},
        ),
    ] = None
    max_inflight_bytes: Annotated[int, var("MAX_INFLIGHT_BYTES", "photo bytes held at once", ge=1 << 20)] = (
        512 << 20
    )
    job_timeout_s: Annotated[
        float,
        var(
            "JOB_TIMEOUT_S",
            "a task that runs longer, or than 30 s and 2 s a megapixel, loses its worker",
            gt=0,
            le=3600,
        ),
    ] = 120.0
    memory_bytes: Annotated[
        int,
        var("WORKER_MEMORY_BYTES", "what a worker may allocate; a photo that wants more fails alone", ge=1),
    ] = 2 << 30
    sandbox: Annotated[
        Sandbox,
        var(
            "WORKER_SANDBOX",
            "`enforce`: no worker without its jail; `best-effort`: with what the kernel has; `off`: none",
        ),
    ] = "enforce"
    shutdown_grace_s: Annotated[
        float,
        var(
            "SHUTDOWN_GRACE_S",
            "seconds for the jobs in hand after SIGTERM; what is left then goes back to the queue",
            ge=0,
            le=3600,
        ),
    ] = 30.0

    @property
    def slots(self) -> int:
        """Jobs in hand at most."""
        return self.workers + (self.workers if self.prefetch is None else self.prefetch)


class HttpConfig(Struct, frozen=True, kw_only=True):
    """Where health and metrics are served."""

    host: Annotated[str, var("HTTP_HOST", "address to listen on")] = "0.0.0.0"
    port: Annotated[
        int, var("HTTP_PORT", "port of `/health`, `/ready` and `/metrics`; 0 = none", ge=0, le=65535)
    ] = 8080


class LogConfig(Struct, frozen=True, kw_only=True):
    """How much is logged."""

    level: Annotated[
        Literal["debug", "info", "warn", "warning", "error"],
        var("LOG_LEVEL", "`debug`, `info`, `warn` or `error`"),
    ] = "info"


class Config(Struct, frozen=True, kw_only=True):
    """All rooms' settings."""

    redis: RedisConfig = RedisConfig()
    queue: QueueConfig = QueueConfig()
    limiter: LimiterConfig = LimiterConfig()
    s3: S3Config = S3Config()
    database: DatabaseConfig = DatabaseConfig()
    pool: PoolConfig = PoolConfig()
    pipeline: PipelineConfig = PipelineConfig()
    quarantine: QuarantineConfig = QuarantineConfig()
    http: HttpConfig = HttpConfig()
    log: LogConfig = LogConfig()


class Setting(Struct, frozen=True):
    """One variable for tables: value and default as text, secrets masked."""

    env: str
    value: str
    default: str
    meaning: str


#: Variables of the agreed contract that this version does not serve: refused, because to ignore them would be a lie.
NOT_SERVED = {
    "DATABASE_URL": "PostgreSQL is not served yet, the rows go to SQLITE_PATH",
}

#: What a worker allocates besides the largest decode: 70 MB when it is ready, and buffers of resampling and encoding.
WORKER_ROOM_BYTES = 256 << 20

_EXPECTED = {int: "a whole number", float: "a number", bool: "true or false"}


def load(env: Mapping[str, str], cores: int) -> Config:
    """Return the checked configuration. `cores` is the default of WORKER_CONCURRENCY.

    Raises: ConfigError with every problem, each beginning with its variable.
    """
    problems = [f"{name}: {why}" for name, why in NOT_SERVED.items() if env.get(name, "").strip()]
    rooms: dict[str, Struct] = {}
    for room, kind in get_type_hints(Config).items():
        found: dict[str, Any] = {"workers": cores} if kind is PoolConfig else {}
        for name, hint, meta in _fields(kind):
            text = env.get(meta.extra["env"], "").strip()
            if text:
                try:
                    found[name] = _parse(text, hint, meta)
                except ValueError as error:
                    shown = values.masked(text, secret=meta.extra.get("secret", False))
                    problems.append(f"{meta.extra['env']}: {error} (it is {shown!r})")
        rooms[room] = kind(**found)
    config = Config(**rooms)  # type: ignore[arg-type]  # the rooms are Config's own hints
    problems += _conflicts(config)
    if problems:
        raise ConfigError(problems)
    return config


def table(config: Config) -> list[Setting]:
    """Return a row for each variable, in the order of the README."""
    rows = []
    for room, kind in get_type_hints(Config).items():
        defaults = {field.name: field.default for field in structs.fields(kind)}
        for name, _hint, meta in _fields(kind):
            value = values.text_of(getattr(getattr(config, room), name))
            default = meta.extra.get("shown") or values.text_of(defaults[name])
            shown = values.masked(value, secret=meta.extra.get("secret", False))
            rows.append(Setting(meta.extra["env"], shown or default, default, meta.description))
    return rows


def _fields(kind: type[Struct]) -> Iterator[tuple[str, Any, Any]]:
    for name, hint in get_type_hints(kind, include_extras=True).items():
        yield name, hint, hint.__metadata__[0]


def _parse(text: str, hint: Any, meta: Any) -> Any:
    if "parse" in meta.extra:
        return meta.extra["parse"](text)
    kind = next(part for part in (get_args(hint.__origin__) or (hint.__origin__,)) if part is not type(None))
    choices = get_args(hint.__origin__) if get_origin(hint.__origin__) is Literal else ()
    try:
        return msgspec.convert(text.lower() if choices or kind is bool else text, hint, strict=False)
    except msgspec.ValidationError as error:
        if choices:
            raise ValueError(f"expected one of {', '.join(choices)}") from None
        if "got `str`" in str(error):
            raise ValueError(f"expected {_EXPECTED[kind]}") from None
        raise ValueError(str(error).replace("`", "").replace("Expected", "expected")) from None


def _conflicts(config: Config) -> list[str]:
    found = config.pipeline.conflicts()
    pipeline, pool, s3 = config.pipeline, config.pool, config.s3
    if pool.max_inflight_bytes < pipeline.max_source_bytes:
        found.append(
            f"MAX_INFLIGHT_BYTES: {pool.max_inflight_bytes} is less than MAX_SOURCE_BYTES"
            f" ({pipeline.max_source_bytes}): a photo of that size could never be fetched"
        )
    least = pipeline.max_decoded_bytes + WORKER_ROOM_BYTES
    if pool.memory_bytes < least:
        found.append(
            f"WORKER_MEMORY_BYTES: {pool.memory_bytes} is less than {least}, which is MAX_DECODED_BYTES"
            f" ({pipeline.max_decoded_bytes}) and room for the interpreter and the encoders"
        )
    if pool.prefetch is not None and not 0 <= pool.prefetch <= 4 * pool.workers:
        found.append(f"PREFETCH: expected 0 to 4 for each of {pool.workers} workers (it is {pool.prefetch})")
    if config.redis.is_cluster and not re.search(r"\{[^{}]+\}", config.queue.prefix + config.queue.name):
        found.append("QUEUE_PREFIX: a cluster needs a hash tag, so that all keys are in one slot: {bull}")
    if config.quarantine.bucket and config.quarantine.bucket not in s3.buckets:
        found.append(f"QUARANTINE: bucket {config.quarantine.bucket!r} is not in ALLOWED_BUCKETS")
    source = "ALLOWED_BUCKETS" if s3.allowed_buckets else "MINIO_BUCKET"
    found += [
        f"{source}: {name!r} is not a bucket name" for name in s3.buckets if not SAFE_NAME.fullmatch(name)
    ]
    return found
