"""What a refusal is of: keys, which others may replace; a clock, which they cannot; or something else."""

from __future__ import annotations

import pytest

from fastproc.backends import s3_checks
from fastproc.backends.s3_answers import Refusal
from fastproc.config.s3 import S3Config


@pytest.mark.parametrize(
    ("code", "message", "of_keys", "of_clock"),
    [
        ("ExpiredToken", "The provided token has expired.", True, False),
        ("InvalidAccessKeyId", "", True, False),
        ("SignatureDoesNotMatch", "", True, False),
        ("RequestTimeTooSkewed", "", False, True),
        # A signed address whose time does not fit is refused like this.
        ("AccessDenied", "Request has expired", False, True),
        ("AccessDenied", "Request is not valid yet", False, True),
        ("AccessDenied", "Access Denied.", False, False),
        ("SlowDown", "Request has expired", False, False),
        ("NoSuchKey", "", False, False),
    ],
)
def test_a_refusal_says_whether_keys_or_a_clock_are_wrong(
    code: str, message: str, of_keys: bool, of_clock: bool
) -> None:
    refused = Refusal(403, code, message)
    assert (refused.of_keys, refused.of_clock) == (of_keys, of_clock)


@pytest.mark.parametrize(
    ("config", "code", "names"),
    [
        (S3Config(access_key="a", secret_key="b"), "ExpiredToken", "MINIO_ACCESS_KEY, MINIO_SECRET_KEY: "),
        (S3Config(), "InvalidAccessKeyId", "MINIO_ACCESS_KEY, MINIO_SECRET_KEY (not set: MinIO's well-known ones): "),
        (
            S3Config(aws_access_key_id="a", aws_secret_access_key="b"),
            "ExpiredToken",
            "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY: ",
        ),
        (S3Config(aws_profile="p"), "ExpiredToken", "credentials: "),
        (S3Config(), "RequestTimeTooSkewed", "clock: "),
        (S3Config(aws_region="x"), "PermanentRedirect", "MINIO_REGION, AWS_REGION: "),
        (S3Config(aws_region="x"), "InternalError", "AWS_REGION: "),
        (S3Config(aws_endpoint_url="http://h"), "", "AWS_ENDPOINT_URL: "),
        (S3Config(), "", "MINIO_ENDPOINT, MINIO_PORT: "),
    ],
)  # fmt: skip
def test_a_check_names_the_variable_that_this_deployment_has(config: S3Config, code: str, names: str) -> None:
    problem = s3_checks.problem(config, "photos", Refusal(403, code, ""))
    assert problem is not None
    assert problem.startswith(names)
