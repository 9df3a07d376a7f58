"""The object store's settings: buckets, and a host that may be an IPv6 address."""

from __future__ import annotations

import pytest

from fastproc.config.settings import load


def test_a_job_may_name_our_own_bucket_or_else_those_allowed() -> None:
    assert load({"MINIO_BUCKET": "mine"}, 1).s3.buckets == ("mine",)
    assert load({"MINIO_BUCKET": "mine", "ALLOWED_BUCKETS": "a,b"}, 1).s3.buckets == ("a", "b")


@pytest.mark.parametrize(
    ("text", "endpoint", "in_urls"),
    [
        ("minio", "minio", "minio:9000"),
        ("10.0.0.1", "10.0.0.1", "10.0.0.1:9000"),
        ("::1", "::1", "[::1]:9000"),
        ("[::1]", "::1", "[::1]:9000"),
        ("[2001:DB8::7]", "2001:DB8::7", "[2001:DB8::7]:9000"),
    ],
)
def test_an_ipv6_address_has_brackets_in_urls_only(text: str, endpoint: str, in_urls: str) -> None:
    s3 = load({"MINIO_ENDPOINT": text}, 1).s3
    assert (s3.endpoint, s3.host_and_port) == (endpoint, in_urls)
