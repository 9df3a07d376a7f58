"""Which settings are secrets: what the log may show nowhere."""

from __future__ import annotations

from fastproc.config.secrets import secrets_of
from fastproc.config.settings import load


def test_secrets_are_those_of_secret_variables_and_of_urls() -> None:
    webhook = "whsec_" + "a" * 32
    config = load(
        {
            "REDIS_URL": "redis+sentinel://me:pass%2Fword1@a:1,b:2/m?sentinel_password=pass%20word2",
            "DATABASE_URL": "postgresql://me:password3@h/db?sslpassword=password4&application_name=app",
            "MINIO_ACCESS_KEY": "an-access-key",
            "MINIO_SECRET_KEY": "secret-key5",
            "WEBHOOK_URL": "https://user:password6@h/services/T0?token=token7,https://plain",
            "WEBHOOK_SECRET": webhook,
            "SENTRY_DSN": "https://key8@sentry/1",
            "OTEL_EXPORTER_OTLP_HEADERS": "x-team=otel-secret10,api-key=otel%20secret11",
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "api-key=otel-secret12",
            "PIPELINE": "validation,ocr",
            "STAGE_OCR_API_KEY": "stage-key9",
            "STAGE_OCR_LANGUAGE": "english",
        },
        2,
    )
    found = set(secrets_of(config))
    assert found == {
        "pass%2Fword1", "pass word2", "password3", "password4", "secret-key5", "password6", "token7",
        "h/services/T0?token=token7", webhook, "https://key8@sentry/1", "key8", "stage-key9",
        "otel-secret10", "otel secret11", "otel-secret12",
    }  # fmt: skip


def test_without_secrets_there_are_none() -> None:
    assert secrets_of(load({}, 2)) == ()
