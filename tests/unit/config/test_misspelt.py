"""Misspelt variables are named with the likely one, and other programs' variables are left alone."""

from __future__ import annotations

import pytest

from fastproc.config.misspelt import likely, likely_stage
from fastproc.config.settings import Config, load, strangers, table
from fastproc.core.errors import ConfigError


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        # A letter too few, too many, another one, two in the wrong order.
        ("WORKER_CONCURENCY", "WORKER_CONCURRENCY"),
        ("ALLOWED_BUCKET", "ALLOWED_BUCKETS"),
        ("OPTIMISE_QUALITY", "OPTIMIZE_QUALITY"),
        ("DATABSE_URL", "DATABASE_URL"),
        ("REDIS_ULR", "REDIS_URL"),
        ("THUMBNAIL", "THUMBNAILS"),
        # Words in another order, parted or joined otherwise.
        ("RATE_MAX_LIMIT", "RATE_LIMIT_MAX"),
        ("WORKERCONCURRENCY", "WORKER_CONCURRENCY"),
        # Without its unit, or with another.
        ("JOB_TIMEOUT", "JOB_TIMEOUT_S"),
        ("JOB_TIMEOUT_MS", "JOB_TIMEOUT_S"),
        # Case, dash, prefix.
        ("worker_concurrency", "WORKER_CONCURRENCY"),
        ("REDIS-URL", "REDIS_URL"),
        ("FASTPROC_REDIS_URL", "REDIS_URL"),
        ("FASTPROC_WORKER_CONCURENCY", "WORKER_CONCURRENCY"),
        # Another word for the same.
        ("DATABASE_URI", "DATABASE_URL"),
        ("REDIS_PASS", "REDIS_PASSWORD"),
        ("S3_BUCKET", "MINIO_BUCKET"),
        # By a file.
        ("REDIS_PASWORD_FILE", "REDIS_PASSWORD_FILE"),
        ("MINIO_SECRET_KYE_FILE", "MINIO_SECRET_KEY_FILE"),
    ],
    ids=str,
)  # fmt: skip
def test_a_misspelt_variable_is_named_with_the_likely_one(given: str, meant: str) -> None:
    assert strangers({given, "PATH"}) == [f"{given}: there is no such setting; did you mean {meant}?"]


def test_one_that_is_set_beside_the_right_one_is_anothers() -> None:
    assert strangers({"REDIS_URI", "REDIS_URL"}) == []


#: What environments of others hold: nothing of it may be called a misspelt setting.
KUBERNETES = """KUBERNETES_SERVICE_HOST KUBERNETES_SERVICE_PORT KUBERNETES_SERVICE_PORT_HTTPS KUBERNETES_PORT
KUBERNETES_PORT_443_TCP KUBERNETES_PORT_443_TCP_PROTO KUBERNETES_PORT_443_TCP_ADDR REDIS_SERVICE_HOST
REDIS_SERVICE_PORT REDIS_SERVICE_PORT_REDIS REDIS_PORT_6379_TCP REDIS_PORT_6379_TCP_ADDR
REDIS_PORT_6379_TCP_PORT REDIS_PORT_6379_TCP_PROTO MINIO_SERVICE_HOST MINIO_PORT_9000_TCP
MINIO_PORT_9000_TCP_ADDR HTTP_PORT_80_TCP DATABASE_SERVICE_HOST WORKER_PORT WORKER_SERVICE_PORT
QUEUE_PORT_6379_TCP WEBHOOK_SERVICE_PORT_HTTP POD_NAME POD_NAMESPACE POD_IP NODE_NAME HOST_IP"""
DOCKER = """HOSTNAME HOME PATH TERM DOCKER_HOST DOCKER_BUILDKIT COMPOSE_PROJECT_NAME COMPOSE_FILE REDIS_NAME
REDIS_VERSION REDIS_DOWNLOAD_URL REDIS_DOWNLOAD_SHA VALKEY_VERSION MINIO_ROOT_USER MINIO_ROOT_PASSWORD
MINIO_VOLUMES MINIO_BROWSER MINIO_SERVER_URL MINIO_ACCESS_KEY_FILE MINIO_SECRET_KEY_FILE MINIO_REGION_NAME
MINIO_CONFIG_ENV_FILE POSTGRES_PASSWORD POSTGRES_DB POSTGRES_USER PGDATA PGHOST PGPORT PGUSER PGPASSWORD
PGDATABASE PGSSLMODE GPG_KEY PYTHON_VERSION PYTHON_SHA256 PYTHONUNBUFFERED PYTHONDONTWRITEBYTECODE LANG
MALLOC_ARENA_MAX"""
SYSTEMD = """INVOCATION_ID JOURNAL_STREAM NOTIFY_SOCKET MAINPID LISTEN_FDS LISTEN_PID LISTEN_FDNAMES SYSTEMD_EXEC_PID
MEMORY_PRESSURE_WATCH MEMORY_PRESSURE_WRITE RUNTIME_DIRECTORY STATE_DIRECTORY CACHE_DIRECTORY LOGS_DIRECTORY
CREDENTIALS_DIRECTORY WATCHDOG_USEC WATCHDOG_PID USER LOGNAME SHELL"""
CI = """CI CI_PIPELINE_ID CI_PIPELINE_URL CI_JOB_TIMEOUT CI_JOB_URL CI_PROJECT_URL GITHUB_ACTIONS GITHUB_TOKEN
GITHUB_SHA GITHUB_SERVER_URL GITHUB_RUN_ATTEMPT RUNNER_OS RUNNER_TEMP GITLAB_CI BUILDKITE_PIPELINE_SLUG
CIRCLE_JOB JENKINS_URL BUILD_NUMBER BUILD_URL JOB_NAME JOB_URL EXECUTOR_NUMBER TRAVIS"""
PLATFORMS = """REDIS_TLS_URL REDISCLOUD_URL REDISTOGO_URL DATABASE_POOL_URL DATABASE_PRIVATE_URL DATABASE_PUBLIC_URL
REDIS_PRIVATE_URL REDIS_PUBLIC_URL REDISHOST REDISPORT REDISUSER REDISPASSWORD WEB_CONCURRENCY PORT DYNO
HEROKU_APP_NAME HEROKU_SLUG_COMMIT FLY_APP_NAME FLY_REGION RAILWAY_SERVICE_NAME RENDER_EXTERNAL_URL
K_SERVICE K_REVISION K_CONFIGURATION GOOGLE_CLOUD_PROJECT GOOGLE_APPLICATION_CREDENTIALS
AWS_LAMBDA_FUNCTION_NAME AWS_EXECUTION_ENV AWS_ROLE_ARN AWS_ROLE_SESSION_NAME AWS_MAX_ATTEMPTS
AWS_RETRY_MODE AWS_SDK_LOAD_CONFIG AWS_STS_REGIONAL_ENDPOINTS AWS_ACCESS_KEY AWS_SECRET_KEY
AWS_ENDPOINT_URL_STS AWS_EC2_METADATA_DISABLED AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE
ECS_CONTAINER_METADATA_URI ECS_CONTAINER_METADATA_URI_V4 ECS_AGENT_URI AZURE_CLIENT_ID WEBSITE_HOSTNAME"""
PROGRAMS = """HTTP_PROXY HTTPS_PROXY NO_PROXY ALL_PROXY http_proxy https_proxy no_proxy all_proxy NODE_ENV NODE_OPTIONS
NODE_EXTRA_CA_CERTS NODE_PATH NPM_CONFIG_CACHE NVM_DIR npm_config_registry npm_package_name YARN_VERSION
JAVA_HOME SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE LOGLEVEL LOG_FORMAT LOG_FILE LOG_DIR
DEBUG HTTPS_PORT HTTP_PORTS ASPNETCORE_HTTP_PORTS REDIS_HOSTS REDIS_DB REDIS_USER REDIS_USERNAME
REDIS_PREFIX REDIS_CLUSTER_NODES CELERY_BROKER_URL BROKER_URL SENTRY_RELEASE SENTRY_TRACES_SAMPLE_RATE
SENTRY_AUTH_TOKEN OTEL_SERVICE_NAME OTEL_EXPORTER_OTLP_ENDPOINT OTEL_EXPORTER_OTLP_HEADERS DD_SERVICE
DD_AGENT_HOST VIRTUAL_ENV VIRTUAL_ENV_PROMPT CONDA_PREFIX PIP_INDEX_URL UV_CACHE_DIR XDG_CACHE_HOME
XDG_RUNTIME_DIR XDG_SESSION_ID SSH_AUTH_SOCK SSH_CONNECTION DBUS_SESSION_BUS_ADDRESS LC_ALL LC_CTYPE
LANGUAGE TZ EDITOR PAGER LESS LS_COLORS COLUMNS LINES COLORTERM DISPLAY WAYLAND_DISPLAY PWD OLDPWD SHLVL _
GIT_AUTHOR_NAME GIT_EDITOR SECRET_KEY JWT_SECRET SESSION_SECRET COOKIE_SECRET API_KEY API_URL BASE_URL
PUBLIC_PATH UPLOAD_DIR UPLOAD_PATH MAX_UPLOAD_SIZE MAX_FILE_SIZE WORKER_ID WORKER_CLASS WORKERS MAX_WORKERS
QUEUE_URL STAGE STAGE_SQUARE_PX"""


@pytest.mark.parametrize(
    "names",
    [KUBERNETES, DOCKER, SYSTEMD, CI, PLATFORMS, PROGRAMS],
    ids=["k8s", "docker", "systemd", "ci", "platforms", "programs"],
)
def test_variables_of_others_are_no_misspelt_settings(names: str) -> None:
    assert strangers(set(names.split())) == []


def test_no_setting_is_taken_for_another_in_any_form() -> None:
    settings = [row.env for row in table(Config())]
    assert strangers(settings) == strangers([f"{each}_FILE" for each in settings]) == []


@pytest.mark.parametrize(
    ("variable", "text", "meant"),
    [
        ("LOG_LEVEL", "wran", "warn"),
        ("LOG_LEVEL", "INFOS", "info"),
        ("INTEGRITY", "truncate", "truncated"),
        ("WORKER_SANDBOX", "best_effort", "best-effort"),
        ("ALLOWED_FORMATS", "jpeg,webpp", "webp"),
        ("WEBHOOK_EVENTS", "complete", "completed"),
    ],
)
def test_a_misspelt_value_is_named_with_the_likely_one(variable: str, text: str, meant: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load({variable: text}, 2)
    assert f"; did you mean {meant}?" in str(caught.value)


def test_a_value_that_is_like_none_gets_no_advice() -> None:
    assert likely("7", ("debug", "info")) == ""


def test_the_stage_that_is_likely_meant_is_named() -> None:
    fronts = ["STAGE_FACES_", "STAGE_OCR_FAST_"]
    assert likely_stage("STAGE_FAECS_SIDE_PX", fronts) == "; did you mean STAGE_FACES_SIDE_PX?"
    assert likely_stage("STAGE_OCR_FSAT_MODE", fronts) == "; did you mean STAGE_OCR_FAST_MODE?"
    assert likely_stage("STAGE_MUSIC_SIDE_PX", fronts) == likely_stage("STAGE_FACE", fronts) == ""


def test_an_address_that_kubernetes_has_set_is_said_to_be_its_own() -> None:
    with pytest.raises(ConfigError) as wrong:
        load({"REDIS_PORT": "tcp://10.0.0.1:6379", "HTTP_PORT": "http"}, cores=1)
    assert str(wrong.value).splitlines() == [
        "REDIS_PORT: expected a whole number; Kubernetes sets it for a Service of that name: set it yourself,"
        " or enableServiceLinks: false (it is 'tcp://10.0.0.1:6379')",
        "HTTP_PORT: expected a whole number (it is 'http')",
    ]
