"""The object store's settings: whose server, whose keys, which buckets, by whichever names a deployment has."""

from __future__ import annotations

import pytest

from fastproc.config.s3 import S3Config
from fastproc.config.settings import load, table
from fastproc.core.errors import ConfigError


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


def s3(**env: str) -> S3Config:
    return load(env, 1).s3


def problems(**env: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(env, 1)
    return caught.value.problems


ADMIN = ("minioadmin", "minioadmin123", None)
PAIR = {"AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "SK"}


@pytest.mark.parametrize(
    ("env", "address", "keys"),
    [
        # The reference deployment, and MinIO as before.
        ({}, "http://localhost:9000", ADMIN),
        ({"MINIO_ENDPOINT": "minio"}, "http://minio:9000", ADMIN),
        ({"MINIO_ENDPOINT": "m", "MINIO_SECRET_KEY": "s"}, "http://m:9000", ("minioadmin", "s", None)),
        ({"MINIO_PORT": "1", "MINIO_USE_SSL": "true"}, "https://localhost:1", ADMIN),
        ({"MINIO_ACCESS_KEY": "a", "AWS_REGION": "x"}, "http://localhost:9000", ("a", "minioadmin123", None)),
        # MINIO_* go before AWS_*, and no token of other keys comes with them.
        (
            {"MINIO_ENDPOINT": "m", "MINIO_ACCESS_KEY": "a", "MINIO_SECRET_KEY": "s", **PAIR,
             "AWS_SESSION_TOKEN": "t", "AWS_ENDPOINT_URL": "http://h"},
            "http://m:9000",
            ("a", "s", None),
        ),
        ({"MINIO_ENDPOINT": "ceph", **PAIR}, "http://ceph:9000", ("AK", "SK", None)),
        # AWS's names.
        ({"AWS_REGION": "eu-west-1"}, "https://s3.eu-west-1.amazonaws.com", None),
        ({"AWS_DEFAULT_REGION": "cn-north-1"}, "https://s3.cn-north-1.amazonaws.com.cn", None),
        ({"AWS_REGION": "a-1", "AWS_DEFAULT_REGION": "b-1"}, "https://s3.a-1.amazonaws.com", None),
        ({**PAIR, "AWS_SESSION_TOKEN": "t"}, "https://s3.us-east-1.amazonaws.com", ("AK", "SK", "t")),
        ({"AWS_ENDPOINT_URL": "http://localstack:4566"}, "http://localstack:4566", None),
        ({"AWS_ENDPOINT_URL": "http://a", "AWS_ENDPOINT_URL_S3": "https://b:1/"}, "https://b:1", None),
        ({"AWS_PROFILE": "p"}, "https://s3.us-east-1.amazonaws.com", None),
        ({"AWS_WEB_IDENTITY_TOKEN_FILE": "/t", "MINIO_REGION": "eu-1"}, "https://s3.eu-1.amazonaws.com", None),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://h"}, "https://s3.us-east-1.amazonaws.com", None),
        # MinIO's well-known keys are not for AWS, however it is named.
        ({"MINIO_ENDPOINT": "s3.eu-west-1.amazonaws.com"}, "http://s3.eu-west-1.amazonaws.com:9000", None),
        ({"S3_CREDENTIALS": "chain"}, "https://s3.us-east-1.amazonaws.com", None),
        ({"S3_CREDENTIALS": "chain", "MINIO_ENDPOINT": "m"}, "http://m:9000", None),
        ({"S3_CREDENTIALS": "chain", **PAIR}, "https://s3.us-east-1.amazonaws.com", None),
    ],
    ids=str,
)  # fmt: skip
def test_the_variables_say_whose_server_and_whose_keys(
    env: dict[str, str], address: str, keys: tuple[str, str, str | None] | None
) -> None:
    found = s3(**env)
    assert f"{found.server.scheme}://{found.host_and_port}" == address
    assert found.keys == keys


@pytest.mark.parametrize(
    ("env", "region"),
    [
        ({}, "us-east-1"),
        ({"AWS_DEFAULT_REGION": "d"}, "d"),
        ({"AWS_DEFAULT_REGION": "d", "AWS_REGION": "r"}, "r"),
        ({"AWS_DEFAULT_REGION": "d", "AWS_REGION": "r", "MINIO_REGION": "m"}, "m"),
    ],
    ids=str,
)
def test_requests_are_signed_for_the_region_that_is_named_first(env: dict[str, str], region: str) -> None:
    assert s3(**env).region == region


@pytest.mark.parametrize(
    ("env", "problem"),
    [
        ({"AWS_ACCESS_KEY_ID": "a"}, "AWS_ACCESS_KEY_ID: it is set, but AWS_SECRET_ACCESS_KEY is not"),
        ({"AWS_SECRET_ACCESS_KEY": "a"}, "AWS_SECRET_ACCESS_KEY: it is set, but AWS_ACCESS_KEY_ID is not"),
        ({"AWS_SESSION_TOKEN": "a"}, "AWS_SESSION_TOKEN: it is set, but AWS_ACCESS_KEY_ID is not"),
        ({"MINIO_ACCESS_KEY": "a", "AWS_PROFILE": "p"}, "MINIO_ACCESS_KEY: the other key is not set"),
        (
            {"MINIO_SECRET_KEY": "a", "MINIO_ENDPOINT": "s3.x.amazonaws.com"},
            "MINIO_SECRET_KEY: the other key is not set",
        ),
        ({"MINIO_ACCESS_KEY": "a", "S3_CREDENTIALS": "chain"}, "S3_CREDENTIALS: it is chain, and MINIO_"),
        ({"AWS_ENDPOINT_URL": "http://h/path"}, "AWS_ENDPOINT_URL: expected http:// or https:// with a host"),
        ({"AWS_ENDPOINT_URL_S3": "http://u:hush@h"}, "AWS_ENDPOINT_URL_S3: expected http:// or https://"),
        (
            {"S3_ADDRESSING_STYLE": "virtual", "MINIO_ENDPOINT": "10.0.0.1"},
            "S3_ADDRESSING_STYLE: virtual needs a host name, not the address 10.0.0.1",
        ),
        (
            {"S3_ADDRESSING_STYLE": "virtual", "MINIO_BUCKET": "Photos_1"},
            "S3_ADDRESSING_STYLE: virtual cannot be used with the bucket 'Photos_1'",
        ),
        (
            {"S3_ADDRESSING_STYLE": "virtual", "MINIO_USE_SSL": "true", "UPLOAD_BUCKET": "a.b"},
            "S3_ADDRESSING_STYLE: virtual cannot be used with the bucket 'a.b'",
        ),
    ],
    ids=str,
)
def test_what_contradicts_itself_is_refused_with_its_variable(env: dict[str, str], problem: str) -> None:
    found = problems(**env)
    assert [each for each in found if each.startswith(problem)], found
    assert "hush" not in str(found)


def test_ambient_aws_variables_do_not_trouble_who_has_keys_of_his_own() -> None:
    assert s3(MINIO_ACCESS_KEY="a", MINIO_SECRET_KEY="s", AWS_SESSION_TOKEN="t").keys == ("a", "s", None)


@pytest.mark.parametrize(
    ("env", "bucket", "virtual"),
    [
        ({}, "photos", False),
        ({"AWS_REGION": "eu-1"}, "photos", True),
        ({"AWS_REGION": "eu-1"}, "a.b", False),  # No certificate of AWS fits it.
        ({"AWS_REGION": "eu-1"}, "Old_Name", False),
        ({"AWS_REGION": "eu-1", "S3_ADDRESSING_STYLE": "path"}, "photos", False),
        # As before where an endpoint is given: the renditions' URLs follow it.
        ({"MINIO_ENDPOINT": "s3.eu-1.amazonaws.com"}, "photos", False),
        ({"MINIO_ENDPOINT": "minio", "S3_ADDRESSING_STYLE": "virtual"}, "a.b", True),
    ],
    ids=str,
)
def test_a_bucket_is_in_the_host_name_where_that_is_sure_to_work(
    env: dict[str, str], bucket: str, virtual: bool
) -> None:
    assert s3(**env).is_virtual(bucket) is virtual


def test_the_authorities_are_those_of_our_variable_then_of_awss() -> None:
    assert s3().authorities is None
    assert s3(AWS_CA_BUNDLE="/a").authorities == ("/a", "AWS_CA_BUNDLE")
    assert s3(AWS_CA_BUNDLE="/a", MINIO_CA_FILE="/m").authorities == ("/m", "MINIO_CA_FILE")


def test_a_default_that_is_not_in_force_is_not_shown_as_if_it_were() -> None:
    def shown(**env: str) -> dict[str, str]:
        return {row.env: row.value for row in table(load(env, 1)) if row.env.startswith("MINIO_")}

    plain = shown()
    assert (plain["MINIO_ENDPOINT"], plain["MINIO_ACCESS_KEY"], plain["MINIO_REGION"]) == (
        "localhost",
        "minioadmin",
        "us-east-1",
    )
    aws = shown(AWS_REGION="eu-west-1")
    assert {name: value for name, value in aws.items() if value} == {
        "MINIO_BUCKET": "photos",
        "MINIO_CA_FILE": "those of the system",
    }
    assert shown(MINIO_ENDPOINT="m", **PAIR)["MINIO_ENDPOINT"] == "m"
    assert shown(MINIO_ENDPOINT="m", **PAIR)["MINIO_ACCESS_KEY"] == ""
