"""All settings together: defaults, parsing, every problem at once, secrets, and the documents' table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastproc.config.settings import Config, Setting, load, origins, shown, table
from fastproc.core.errors import ConfigError
from fastproc.core.model import Limits, Options, ThumbnailSpec

DOCUMENT = Path(__file__).parents[3] / "docs" / "configuration.md"


def problems(env: Mapping[str, str]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(env, 4)
    return caught.value.problems


#: Variable -> (default, a text that is none of it, what that text becomes, where it lands).
VARIABLES = {
    "REDIS_HOST": ("localhost", "redis.example", "redis.example", "redis.host"),
    "REDIS_PORT": (6379, "7000", 7000, "redis.port"),
    "REDIS_PASSWORD": (None, "hush", "hush", "redis.password"),
    "REDIS_URL": (None, "rediss://u:p@h:1/2", "rediss://u:p@h:1/2", "redis.url"),
    "QUEUE_NAME": ("photo-processing", "other", "other", "queue.name"),
    "QUEUE_PREFIX": ("bull", "{b}", "{b}", "queue.prefix"),
    "WORKER_MAX_RETRIES": (3, "7", 7, "queue.max_retries"),
    "LOCK_DURATION_MS": (30_000, "2000", 2000, "queue.lock_duration_ms"),
    "STALLED_INTERVAL_MS": (30_000, "1000", 1000, "queue.stalled_interval_ms"),
    "MAX_STALLED_COUNT": (3, "0", 0, "queue.max_stalled_count"),
    "RATE_LIMIT_MAX": (10, "0", 0, "limiter.max"),
    "RATE_LIMIT_DURATION_MS": (1000, "60000", 60_000, "limiter.duration_ms"),
    "AWS_ACCESS_KEY_ID": (None, "AKID", "AKID", "s3.aws_access_key_id"),
    "AWS_SECRET_ACCESS_KEY": (None, "hush", "hush", "s3.aws_secret_access_key"),
    "AWS_SESSION_TOKEN": (None, "hush", "hush", "s3.aws_session_token"),
    "AWS_REGION": (None, "eu-west-1", "eu-west-1", "s3.aws_region"),
    "AWS_DEFAULT_REGION": (None, "eu-west-1", "eu-west-1", "s3.aws_default_region"),
    "AWS_ENDPOINT_URL_S3": (None, "http://h:1/", "http://h:1", "s3.aws_endpoint_url_s3"),
    "AWS_ENDPOINT_URL": (None, "https://[::1]", "https://[::1]", "s3.aws_endpoint_url"),
    "AWS_CA_BUNDLE": (None, "/ca.pem", "/ca.pem", "s3.aws_ca_bundle"),
    "AWS_PROFILE": (None, "p", "p", "s3.aws_profile"),
    "AWS_SHARED_CREDENTIALS_FILE": (None, "/c", "/c", "s3.aws_shared_credentials_file"),
    "AWS_CONFIG_FILE": (None, "/c", "/c", "s3.aws_config_file"),
    "AWS_WEB_IDENTITY_TOKEN_FILE": (None, "/t", "/t", "s3.aws_web_identity_token_file"),
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": (None, "/v2/x", "/v2/x", "s3.aws_container_uri"),
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": (None, "http://h/x", "http://h/x", "s3.aws_container_full_uri"),
    "MINIO_ENDPOINT": (None, "minio", "minio", "s3.endpoint"),
    "MINIO_PORT": (None, "443", 443, "s3.port"),
    "MINIO_USE_SSL": (None, "TRUE", True, "s3.use_ssl"),
    "MINIO_ACCESS_KEY": (None, "me", "me", "s3.access_key"),
    "MINIO_SECRET_KEY": (None, "hush", "hush", "s3.secret_key"),
    "S3_CREDENTIALS": ("auto", "Chain", "chain", "s3.credentials"),
    "MINIO_BUCKET": ("photos", "pictures", "pictures", "s3.bucket"),
    "MINIO_REGION": (None, "eu-west-1", "eu-west-1", "s3.minio_region"),
    "S3_ADDRESSING_STYLE": ("auto", "Virtual", "virtual", "s3.addressing"),
    "MINIO_CA_FILE": (None, "/ca.pem", "/ca.pem", "s3.ca_file"),
    "ALLOWED_BUCKETS": ((), "a, b,,c", ("a", "b", "c"), "s3.allowed_buckets"),
    "PUBLIC_URL": (None, "https://cdn.example/p", "https://cdn.example/p", "s3.public_url"),
    "UPLOAD_BUCKET": (None, "out", "out", "uploads.bucket"),
    "UPLOAD_KEY_TEMPLATE": (None, "{photoId}/{name}", "{photoId}/{name}", "uploads.key_template"),
    "UPLOAD_CACHE_CONTROL": (None, "max-age=60", "max-age=60", "uploads.cache_control"),
    "UPLOAD_ACL": (None, "Public-Read", "public-read", "uploads.acl"),
    "UPLOAD_STORAGE_CLASS": (None, "STANDARD_IA", "STANDARD_IA", "uploads.storage_class"),
    "UPLOAD_TAGS": ((), "a=1, b=", ("a=1", "b="), "uploads.tags"),
    "UPLOAD_SSE": (None, "AES256", "aes256", "uploads.sse"),
    "UPLOAD_SSE_KMS_KEY_ID": (None, "arn:aws:kms:x", "arn:aws:kms:x", "uploads.sse_kms_key_id"),
    "UPLOAD_SSE_BUCKET_KEY": (False, "true", True, "uploads.sse_bucket_key"),
    "DATABASE_URL": (None, "sqlite:///./data/photos.db", "sqlite:///./data/photos.db", "database.url"),
    "SQLITE_PATH": ("./data/photos.db", "/x/y.db", "/x/y.db", "database.sqlite_path"),
    "WORKER_CONCURRENCY": (4, "2", 2, "pool.workers"),
    "SUPERVISORS": (None, "2", 2, "pool.supervisors"),
    "PREFETCH": (None, "3", 3, "pool.prefetch"),
    "MAX_INFLIGHT_BYTES": (512 << 20, "100000000", 100_000_000, "pool.max_inflight_bytes"),
    "JOB_TIMEOUT_S": (120.0, "2.5", 2.5, "pool.job_timeout_s"),
    "WORKER_MEMORY_BYTES": (2 << 30, "3000000000", 3_000_000_000, "pool.memory_bytes"),
    "WORKER_SANDBOX": ("enforce", "Best-Effort", "best-effort", "pool.sandbox"),
    "SHUTDOWN_GRACE_S": (30.0, "0", 0.0, "pool.shutdown_grace_s"),
    "PIPELINE": (Options().stages, "validation, phash", ("validation", "phash"), "pipeline.stages"),
    "THUMBNAILS": (Options().thumbnails, "s:10:1", (ThumbnailSpec("s", 10, 1),), "pipeline.thumbnails"),
    "THUMBNAIL_FORMAT": ("jpeg", "WebP", "webp", "pipeline.thumbnail_format"),
    "THUMBNAIL_DECODE": ("balanced", "Best", "best", "pipeline.thumbnail_decode"),
    "OPTIMIZE_THRESHOLD_BYTES": (2_097_152, "0", 0, "pipeline.optimize_threshold_bytes"),
    "OPTIMIZE_QUALITY": (85, "100", 100, "pipeline.optimize_quality"),
    "OPTIMIZE_FORMAT": ("jpeg", "avif", "avif", "pipeline.optimize_format"),
    "OPTIMIZE_MIN_SAVING_PERCENT": (10.0, "2.5", 2.5, "pipeline.optimize_min_saving_percent"),
    "GAIN_MAP": ("keep", "Drop", "drop", "pipeline.gain_map"),
    "INTEGRITY": ("strict", "Lenient", "lenient", "pipeline.integrity"),
    "EXIF_GPS": ("keep", "STRIP", "strip", "pipeline.exif_gps"),
    "KEEP_RIGHTS": (False, "1", True, "pipeline.keep_rights"),
    "ALLOWED_FORMATS": (Limits().formats, "JPEG,gif", ("jpeg", "gif"), "pipeline.formats"),
    "MIN_SIDE_PX": (100, "1", 1, "pipeline.min_side_px"),
    "MAX_SIDE_PX": (10_000, "20000", 20_000, "pipeline.max_side_px"),
    "MAX_PIXELS": (100_000_000, "5", 5, "pipeline.max_pixels"),
    "MAX_SOURCE_BYTES": (67_108_864, "1024", 1024, "pipeline.max_source_bytes"),
    "MAX_DECODED_BYTES": (1_500_000_000, "2000000", 2_000_000, "pipeline.max_decoded_bytes"),
    "MAX_SCANS": (64, "10", 10, "pipeline.max_scans"),
    "MAX_FRAMES": (5000, "1", 1, "pipeline.max_frames"),
    "MAX_EXIF_BYTES": (1 << 20, "0", 0, "pipeline.max_exif_bytes"),
    "MAX_ICC_BYTES": (4 << 20, "0", 0, "pipeline.max_icc_bytes"),
    "QUARANTINE": (None, "/var/bad", "/var/bad", "quarantine.place"),
    "QUARANTINE_MAX_BYTES": (1 << 30, "5000000", 5_000_000, "quarantine.max_bytes"),
    "QUARANTINE_MAX_AGE_DAYS": (30.0, "0.5", 0.5, "quarantine.max_age_days"),
    "EVENTS_SOCKETIO": ("off", "1", "pubsub", "events.socketio"),
    "EVENTS_SOCKETIO_ROOMS": (
        ("{clientId}", "{sessionId}"),
        "c:{clientId}, p:{photoId}",
        ("c:{clientId}", "p:{photoId}"),
        "events.socketio_rooms",
    ),
    "EVENTS_SOCKETIO_NAMESPACE": ("/", "photos", "/photos", "events.socketio_namespace"),
    "EVENTS_SOCKETIO_KEY": ("socket.io", "app:io", "app:io", "events.socketio_key"),
    "EVENTS_SOCKETIO_STREAM_MAX": (10_000, "500", 500, "events.socketio_max"),
    "EVENTS_STREAM": (None, "photos:events", "photos:events", "events.stream"),
    "EVENTS_STREAM_MAX": (10_000, "500", 500, "events.stream_max"),
    "EVENTS_STREAM_PROGRESS": (True, "0", False, "events.stream_progress"),
    "WEBHOOK_URL": ((), "https://example.com/x", ("https://example.com/x",), "webhook.urls"),
    "WEBHOOK_SECRET": ((), f"whsec_{'A' * 32}", (f"whsec_{'A' * 32}",), "webhook.secrets"),
    "WEBHOOK_EVENTS": (("completed", "failed"), "Failed", ("failed",), "webhook.events"),
    "WEBHOOK_TIMEOUT_S": (15.0, "2.5", 2.5, "webhook.timeout_s"),
    "WEBHOOK_RETRY_S": (86_400.0, "60", 60.0, "webhook.retry_s"),
    "WEBHOOK_BACKLOG_BYTES": (64 << 20, "5000000", 5_000_000, "webhook.backlog_bytes"),
    "WEBHOOK_ALLOW_PRIVATE": (False, "true", True, "webhook.allow_private"),
    "HTTP_HOST": ("0.0.0.0", "::1", "::1", "http.host"),
    "HTTP_PORT": (8080, "0", 0, "http.port"),
    "HEALTH_STALE_S": (300.0, "60", 60.0, "http.stale_s"),
    "ADMIN_TOKEN": ("", "0123456789abcdef" * 2, "0123456789abcdef" * 2, "http.admin_token"),
    "HTTP_NAMES": ((), "Photos.example.com., b", ("photos.example.com", "b"), "http.names"),
    "LOG_LEVEL": ("info", "WARN", "warn", "log.level"),
    "LOG_FORMAT": ("text", "JSON", "json", "log.format"),
    "HEALTH_LOG_S": (60.0, "0", 0.0, "log.health_s"),
    "SENTRY_DSN": (None, "https://k@h.example/7", "https://k@h.example/7", "reports.sentry_dsn"),
    "SENTRY_ENVIRONMENT": ("production", "staging", "staging", "reports.sentry_environment"),
    "OTEL_TRACES_EXPORTER": ("none", "OTLP", "otlp", "traces.exporter"),
    "OTEL_EXPORTER_OTLP_ENDPOINT": (
        "http://localhost:4318",
        "https://o:1/x",
        "https://o:1/x",
        "traces.endpoint",
    ),
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": ("", "https://o:1/x", "https://o:1/x", "traces.traces_endpoint"),
    "OTEL_EXPORTER_OTLP_HEADERS": ((), "A=b%20c", (("a", "b c"),), "traces.headers"),
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS": ((), "A=b%20c", (("a", "b c"),), "traces.traces_headers"),
    "OTEL_SERVICE_NAME": ("fastproc", "photos", "photos", "traces.service_name"),
    "OTEL_TRACES_SAMPLER": ("parentbased_traceidratio", "ALWAYS_ON", "always_on", "traces.sampler"),
    "OTEL_TRACES_SAMPLER_ARG": (1.0, "0.25", 0.25, "traces.share"),
}


_KEYS = {"AWS_ACCESS_KEY_ID": "other", "AWS_SECRET_ACCESS_KEY": "other"}
#: What a variable may not be without.
NEEDS: dict[str, dict[str, str]] = {
    "AWS_ACCESS_KEY_ID": _KEYS,
    "AWS_SECRET_ACCESS_KEY": _KEYS,
    "AWS_SESSION_TOKEN": _KEYS,
    "S3_ADDRESSING_STYLE": {"MINIO_ENDPOINT": "minio"},
    "UPLOAD_SSE_KMS_KEY_ID": {"UPLOAD_SSE": "aws:kms"},
    "UPLOAD_SSE_BUCKET_KEY": {"UPLOAD_SSE": "aws:kms"},
    "WEBHOOK_URL": {"WEBHOOK_SECRET": f"whsec_{'B' * 32}"},
}


def at(config: Config, path: str) -> object:
    room, name = path.split(".")
    return getattr(getattr(config, room), name)


def test_every_variable_is_known_here_and_no_other() -> None:
    assert [row.env for row in table(Config())] == list(VARIABLES)


@pytest.mark.parametrize("name", VARIABLES)
def test_a_variable_has_the_contracts_default(name: str) -> None:
    default, _, _, path = VARIABLES[name]
    assert at(load({}, 4), path) == default


@pytest.mark.parametrize("name", VARIABLES)
def test_an_empty_variable_counts_as_unset(name: str) -> None:
    assert load({name: ""}, 4) == load({name: " \t"}, 4) == load({}, 4)


@pytest.mark.parametrize("name", VARIABLES)
def test_a_variable_lands_in_its_place_and_nowhere_else(name: str) -> None:
    _, text, value, path = VARIABLES[name]
    # What a value of one variable asks of another.
    also = {"WORKER_CONCURRENCY": "4"} if name != "WORKER_CONCURRENCY" else {}
    also |= NEEDS.get(name, {})
    found, plain = load({**also, name: f" {text} "}, 4), load(also, 4)
    assert at(found, path) == value
    assert type(at(found, path)) is type(value)
    differing = [p for *_, p in VARIABLES.values() if at(found, p) != at(plain, p)]
    assert differing == [path]


def test_the_workers_default_to_the_cores() -> None:
    assert load({}, 7).pool.workers == 7
    assert load({"WORKER_CONCURRENCY": "3"}, 7).pool.workers == 3


def test_the_pipelines_settings_reach_the_worker() -> None:
    options = load(
        {"MAX_SCANS": "9", "OPTIMIZE_QUALITY": "50", "THUMBNAILS": "x:20:30"}, 1
    ).pipeline.options()
    assert (options.limits.max_scans, options.optimize_quality) == (9, 50)
    assert options.thumbnails == (ThumbnailSpec("x", 20, 30),)
    assert Config().pipeline.options() == Options()


WRONG = {
    "REDIS_PORT": ["0", "65536", "x", "1.5"],
    "REDIS_URL": [
        "http://h",
        "redis://",
        "redis://[",
        "redis://h:x",
        "h:6379",
        "redis+sentinel://h:1",
        "redis+odd://h",
    ],
    "QUEUE_NAME": ["a:b"],
    "WORKER_MAX_RETRIES": ["0", "101", "three"],
    "LOCK_DURATION_MS": ["999", "1e9"],
    "STALLED_INTERVAL_MS": ["0"],
    "MAX_STALLED_COUNT": ["-1"],
    "RATE_LIMIT_MAX": ["-1"],
    "RATE_LIMIT_DURATION_MS": ["0"],
    "MINIO_ENDPOINT": [
        "http://minio",
        "minio:9000",
        "a b",
        "minio/",
        "[minio]",
        "[::1]:9000",
        "::1::",
        "[1.2.3.4]",
    ],
    "MINIO_PORT": ["0", "http"],
    "MINIO_USE_SSL": ["maybe"],
    "MINIO_BUCKET": ["a/b", ".."],
    "ALLOWED_BUCKETS": ["a,b/c"],
    "PUBLIC_URL": ["ftp://x", "cdn.example"],
    "WORKER_CONCURRENCY": ["0", "-1", "257", "all"],
    "DATABASE_URL": [
        "/x/y.db",
        "postgres://h:port/db",
        "postgresql://me:p@ss@h/db",
        "postgresql://me:pa/ss@h/db",
        "mysql://h/db",
        "sqlite:x.db",
        "sqlite://",
        "sqlite://h/x",
    ],
    "SUPERVISORS": ["0", "65", "x", "5"],
    "PREFETCH": ["-1", "17", "x"],
    "MAX_INFLIGHT_BYTES": ["1", "2000000"],
    "JOB_TIMEOUT_S": ["0", "-1", "3601", "soon"],
    "WORKER_MEMORY_BYTES": ["0", "1768435455"],
    "WORKER_SANDBOX": ["on", "none"],
    "SHUTDOWN_GRACE_S": ["-1"],
    "QUARANTINE": [
        "http://h/x",
        "s3://photos",
        "s3://photos/",
        "s3://photos/../x",
        "s3://photos/a b",
        "s3://other/x",
    ],
    "QUARANTINE_MAX_BYTES": ["0", "much"],
    "QUARANTINE_MAX_AGE_DAYS": ["0", "-1"],
    "EVENTS_SOCKETIO": ["2", "redis"],
    "EVENTS_SOCKETIO_ROOMS": [",", "all", "{clientId},all", "{userId}", "{{clientId}}"],
    "EVENTS_SOCKETIO_NAMESPACE": ["/a b", "/a#"],
    "EVENTS_SOCKETIO_KEY": ["socket.io*", "a b", "a#b"],
    "EVENTS_SOCKETIO_STREAM_MAX": ["0"],
    "EVENTS_STREAM": ["a b", "bull:photo-processing:events"],
    "EVENTS_STREAM_MAX": ["0", "many"],
    "EVENTS_STREAM_PROGRESS": ["some"],
    "PIPELINE": ["metadata", "thumbnails,validation", "validation,phash,phash", "validation,width"],
    "THUMBNAILS": [
        "s",
        "s:10",
        "s:0:80",
        "s:10:101",
        "s:1:1,s:2:2",
        "a b:1:1",
        "s:10001:1",
        "s:1:1:png",
        "s:1:1:",
    ],
    "THUMBNAIL_FORMAT": ["jpg", "png"],
    "THUMBNAIL_DECODE": ["2", "better"],
    "OPTIMIZE_FORMAT": ["gif"],
    "OPTIMIZE_QUALITY": ["0", "101"],
    "OPTIMIZE_MIN_SAVING_PERCENT": ["100", "-1"],
    "GAIN_MAP": ["yes", "strip"],
    "INTEGRITY": ["none", "true"],
    "EXIF_GPS": ["maybe", "yes"],
    "ALLOWED_FORMATS": ["svg", "jpeg,tiff", ","],
    "MIN_SIDE_PX": ["0", "10001"],
    "MAX_SIDE_PX": ["0", "65536"],
    "MAX_PIXELS": ["0"],
    "MAX_SOURCE_BYTES": ["1023"],
    "MAX_DECODED_BYTES": ["1"],
    "MAX_SCANS": ["0"],
    "MAX_FRAMES": ["0"],
    "MAX_EXIF_BYTES": ["-1"],
    "MAX_ICC_BYTES": ["-1"],
    "HTTP_PORT": ["-1", "65536"],
    "HEALTH_STALE_S": ["0", "-1", "soon"],
    "HTTP_NAMES": ["http://h", "h:8080", "*.example.com", "a/b"],
    "LOG_LEVEL": ["loud"],
    "LOG_FORMAT": ["xml", "logfmt"],
    "HEALTH_LOG_S": ["-1", "often"],
    "SENTRY_DSN": ["key", "https://h/7", "https://k@h", "https://k@h/seven", "ftp://k@h/7"],
    "SENTRY_ENVIRONMENT": ["a b", "a/b", "x" * 65],
}
BOTH = [(name, text) for name, texts in WRONG.items() for text in texts]


@pytest.mark.parametrize(("name", "text"), BOTH)
def test_a_wrong_value_is_one_problem_that_begins_with_its_variable(name: str, text: str) -> None:
    found = problems({name: text})
    assert len(found) == 1
    assert found[0].startswith(f"{name}: ")
    assert "\n" not in found[0]
    assert "`" not in found[0]


def test_all_problems_are_reported_at_once() -> None:
    first = {name: texts[0] for name, texts in WRONG.items()}
    del (
        first["ALLOWED_BUCKETS"],
        first["PREFETCH"],
        first["MIN_SIDE_PX"],
    )  # conflicts hide behind wrong values
    named = [problem.partition(":")[0] for problem in problems(first)]
    assert set(first) <= set(named)


def test_a_wrong_value_is_shown_unless_it_is_secret() -> None:
    assert "'http'" in problems({"MINIO_PORT": "http"})[0]


@pytest.mark.parametrize(
    "url",
    [
        "odd://me:swordfish@h",
        "redis://me:swordfish@[h",
        "redis://me:sword/swordfish@h:1",
        "redis://me:sword@swordfish@[h",
        "redis://me:swordfish\u2100@h",
        "redis+sentinel://:swordfish@h",
        "odd://h/0?password=swordfish",
    ],
)
def test_no_wrong_url_shows_its_password(url: str) -> None:
    [problem] = problems({"REDIS_URL": url})
    assert problem.startswith("REDIS_URL: ")
    assert "swordfish" not in problem


def test_a_thumbnail_may_name_its_format_and_is_shown_with_it() -> None:
    text = "s:10:80:webp,m:20:80"
    config = load({"THUMBNAILS": text}, 1)
    assert config.pipeline.thumbnails == (ThumbnailSpec("s", 10, 80, "webp"), ThumbnailSpec("m", 20, 80))
    assert next(row.value for row in table(config) if row.env == "THUMBNAILS") == text


def test_settings_that_contradict_each_other_are_refused() -> None:
    assert problems({"MIN_SIDE_PX": "200", "MAX_SIDE_PX": "100"})[0].startswith("MIN_SIDE_PX: ")
    inflight = {"MAX_INFLIGHT_BYTES": "2000000", "MAX_SOURCE_BYTES": "2000001"}
    assert problems(inflight)[0].startswith("MAX_INFLIGHT_BYTES: ")
    load({**inflight, "MAX_SOURCE_BYTES": "2000000"}, 1)
    memory = {"MAX_DECODED_BYTES": "2000000000", "WORKER_MEMORY_BYTES": "2268435455"}
    assert problems(memory)[0].startswith("WORKER_MEMORY_BYTES: ")
    load({**memory, "WORKER_MEMORY_BYTES": "2268435456"}, 1)
    sides = {"OPTIMIZE_FORMAT": "webp", "MAX_SIDE_PX": "16384"}
    assert problems(sides)[0].startswith("OPTIMIZE_FORMAT: ")
    load({**sides, "OPTIMIZE_FORMAT": "jpeg"}, 1)
    load({**sides, "MAX_SIDE_PX": "16383"}, 1)
    cluster = {"REDIS_URL": "redis+cluster://a:1,b:2"}
    assert problems(cluster)[0].startswith("QUEUE_PREFIX: ")
    load({**cluster, "QUEUE_PREFIX": "{bull}"}, 1)


@given(st.dictionaries(st.sampled_from(sorted(VARIABLES)), st.text(max_size=30), max_size=8))
def test_whatever_the_environment_says_the_answer_is_a_config_or_its_problems(env: dict[str, str]) -> None:
    found: list[str] = []
    try:
        load(env, 4)
    except ConfigError as error:
        found = error.problems or ["no problem"]
    names = set(env) | {"MIN_SIDE_PX", "MAX_INFLIGHT_BYTES"}
    assert all(problem.partition(":")[0] in names for problem in found)


# --- the table

SECRET = {
    "REDIS_PASSWORD": "swordfish",
    "MINIO_SECRET_KEY": "swordfish",
    "SENTRY_DSN": "https://swordfish@h/7",
}


def test_the_table_shows_values_and_defaults() -> None:
    rows = {row.env: row for row in table(load({"REDIS_PORT": "7000", "PREFETCH": "2"}, 4))}
    assert (rows["REDIS_PORT"].value, rows["REDIS_PORT"].default) == ("7000", "6379")
    assert (rows["WORKER_CONCURRENCY"].value, rows["PREFETCH"].value) == ("4", "2")
    assert rows["ALLOWED_BUCKETS"].value == rows["ALLOWED_BUCKETS"].default == "MINIO_BUCKET"
    assert rows["THUMBNAILS"].value == "thumb_sm:150:75,thumb_md:300:80,thumb_lg:600:85"
    assert rows["MINIO_USE_SSL"].default == "false"


def test_the_table_shows_no_secret() -> None:
    config = load(
        {**SECRET, "REDIS_URL": "redis://me:swordfish@h:1/0", "PUBLIC_URL": "http://u:swordfish@h/x"}, 1
    )
    rows = {row.env: row for row in table(config)}
    assert "swordfish" not in str(rows)
    assert rows["MINIO_SECRET_KEY"].value == rows["REDIS_PASSWORD"].value == "********"
    assert rows["REDIS_URL"].value == "redis://me:********@h:1/0"
    assert "swordfish" not in config.redis.where


def test_no_message_shows_the_admin_token_and_each_says_how_to_make_one(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("swordfish\n")
    for env in ({"ADMIN_TOKEN": "swordfish"}, {"ADMIN_TOKEN_FILE": str(file)}):
        [problem] = problems(env)
        assert "32 characters or more" in problem
        assert "openssl rand -hex 32" in problem
        assert "swordfish" not in problem
    file.write_text("0123456789abcdef" * 2 + "\n")
    assert load({"ADMIN_TOKEN_FILE": str(file)}, 1).http.admin_token == "0123456789abcdef" * 2


@pytest.mark.parametrize(
    "token",
    ["0123456789abcde" * 2, "0123456789abcdef 0123456789abcdef", "x" * 64, "é" * 40, "\x7f" * 40],
    ids=["short", "space", "one letter", "no header", "control"],
)
def test_a_token_that_could_be_guessed_or_no_header_carries_is_refused(token: str) -> None:
    [problem] = problems({"ADMIN_TOKEN": token})
    assert problem.startswith("ADMIN_TOKEN: ")
    assert token not in problem


def test_each_variable_says_where_it_comes_from(tmp_path: Path) -> None:
    env = {
        "REDIS_PORT": "7",
        "REDIS_HOST": " ",
        "MINIO_SECRET_KEY_FILE": str(tmp_path / "x"),
        "SENTRY_DSN_FILE": "",
    }
    found = origins(env)
    assert set(found) == {row.env for row in table(Config())}
    assert {name: found[name] for name in ("REDIS_PORT", "REDIS_HOST", "MINIO_SECRET_KEY", "SENTRY_DSN")} == {
        "REDIS_PORT": "environment", "REDIS_HOST": "default", "MINIO_SECRET_KEY": "file", "SENTRY_DSN": "default",
    }  # fmt: skip
    rows = {row.env: row for row in shown(load({"REDIS_PORT": "7", **SECRET}, 1), found)}
    assert (rows["REDIS_PORT"].value, rows["REDIS_PORT"].source) == ("7", "environment")
    assert "swordfish" not in str(rows)


def test_what_a_table_shows_can_be_loaded_again() -> None:
    shown = {row.env: row.value for row in table(load({}, 4))}
    for name in ("ALLOWED_BUCKETS", "PUBLIC_URL", "PREFETCH", "SUPERVISORS"):
        del shown[name]  # shown in words
    for name in [each for each in shown if each.startswith(("AWS_", "MINIO_", "UPLOAD_"))]:
        del shown[name]  # given, they say more than their defaults: whose server, whose keys
    path = shown.pop("SQLITE_PATH")  # given, it is more than the default: it can contradict DATABASE_URL
    assert load(shown, 9) == load({}, 4)
    assert load({"SQLITE_PATH": path}, 1).database.location == load({}, 1).database.location


def document_table(rows: list[Setting]) -> str:
    """The document's table as it must be."""
    lines = ["| variable | default | meaning |", "| --- | --- | --- |"]
    for row in rows:
        # Defaults in words stand as they are, values and names of variables as code.
        words = " " in row.default and "," not in row.default
        default = row.default if words or not row.default else f"`{row.default}`"
        lines.append(f"| `{row.env}` | {default} | {row.meaning} |")
    return "\n".join(lines)


def test_the_documents_table_is_the_settings() -> None:
    text = DOCUMENT.read_text()
    _, begin, rest = text.partition("<!-- environment -->")
    found, end, _ = rest.partition("<!-- /environment -->")
    assert begin, "docs/configuration.md lacks the marker <!-- environment -->"
    assert end, "docs/configuration.md lacks the marker <!-- /environment -->"
    expected = document_table(table(Config()))
    assert found.strip() == expected, (
        f"put this between the markers of docs/configuration.md:\n\n{expected}\n"
    )
