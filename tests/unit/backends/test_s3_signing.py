"""Our signatures are botocore's, byte for byte, whatever the key, the headers and the credentials."""

from __future__ import annotations

import datetime
import time
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore import auth, awsrequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given
from hypothesis import strategies as st

from fastproc.backends import s3_signing
from fastproc.backends.s3_signing import Credentials, Signer
from fastproc.config.s3 import S3Config

NOW = 1_764_200_000.25
CONFIGS = {
    "plain": S3Config(endpoint="127.0.0.1", port=9000),
    "usual port": S3Config(endpoint="s3.test", port=443, use_ssl=True, minio_region="eu-west-1"),
    "http's port": S3Config(endpoint="s3.test", port=80),
    "IPv6": S3Config(endpoint="::1", port=9000),
    "virtual": S3Config(endpoint="s3.test", port=8333, addressing="virtual"),
    "AWS": S3Config(aws_region="eu-west-1"),
}
HEADERS: list[dict[str, str]] = [
    {},
    {"Content-Type": "image/jpeg", "x-amz-meta-size": "thumb_sm", "x-amz-meta-photo-id": "p.1"},
    {"x-amz-meta-b": " two  spaces ", "X-Amz-Meta-A": "é", "Cache-Control": "public, max-age=1"},
    {"Range": "bytes=0-9", "x-amz-tagging": "team=a%20b&kind=c", "x-amz-meta-size-2": "a", "x-amz-meta-size": "b"},
]  # fmt: skip


class Frozen(datetime.datetime):
    """botocore's clock."""

    @classmethod
    def utcnow(cls) -> Any:
        return cls.fromtimestamp(NOW, datetime.UTC).replace(tzinfo=None)

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return cls.fromtimestamp(NOW, tz)


@pytest.fixture(autouse=True, scope="module")
def moment() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: NOW)
        if hasattr(auth, "get_current_datetime"):
            patch.setattr(auth, "get_current_datetime", lambda *_, **__: Frozen.utcnow())
        else:
            patch.setattr(auth.datetime, "datetime", Frozen)
        yield


def botocores(
    signer: Signer,
    keys: Credentials,
    method: str,
    bucket: str,
    key: str,
    headers: dict[str, str],
    region: str,
) -> str:
    seconds = 900 if keys.expires is None else max(1, min(900, int(keys.expires - NOW)))
    asked = awsrequest.AWSRequest(method, signer.address(bucket, key), headers=headers)
    signing = ReadOnlyCredentials(keys.access_key, keys.secret_key, keys.session_token)
    auth.S3SigV4QueryAuth(signing, "s3", region, expires=seconds).add_auth(asked)
    return str(asked.url)


KEYS = [
    Credentials("AKID", "secret"),
    Credentials("a/b+c", "sé/cret"),
    Credentials("ASIA", "secret", "to/ken+with=all&of it", NOW + 100),
    Credentials("ASIA", "secret", "over", NOW - 5),
]


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("headers", HEADERS)
@pytest.mark.parametrize("keys", KEYS, ids=range(len(KEYS)))
def test_a_signed_address_is_botocores(config: S3Config, headers: dict[str, str], keys: Credentials) -> None:
    signer = Signer(config)
    for method, bucket, key in (("GET", "photos", "a b/é+%.jpg"), ("PUT", "photos-2", "k//~(x)'!*")):
        expected = botocores(signer, keys, method, bucket, key, headers, config.region)
        assert signer.signed(keys, method, bucket, key, headers) == expected
        sent = signer.request(keys, method, bucket, key, headers)
        parts = urlsplit(expected)
        assert sent.target == f"{parts.path}?{parts.query}"
        assert sent.server == (
            parts.scheme,
            parts.hostname,
            parts.port or (443 if parts.scheme == "https" else 80),
        )
        assert "Signature" not in repr(sent)


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    st.text(min_size=1),
)
def test_any_key_and_any_token_are_signed_as_botocore_does(key: str, token: str) -> None:
    config = CONFIGS["plain"]
    signer = Signer(config)
    keys = Credentials("AKID", "secret", token.encode(errors="ignore").decode() or None)
    expected = botocores(signer, keys, "GET", "photos", key, {}, config.region)
    assert signer.signed(keys, "GET", "photos", key, {}) == expected


def test_a_new_day_and_new_keys_are_signed_with_a_key_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    config = CONFIGS["plain"]
    signer = Signer(config)
    for now in (NOW, NOW + 86_400, NOW + 86_400.9, NOW + 86_401):
        monkeypatch.setattr(s3_signing.time, "time", lambda now=now: now)
        for keys in (Credentials("A", "one"), Credentials("A", "two")):
            fresh = Signer(config).signed(keys, "GET", "photos", "k", {})
            assert signer.signed(keys, "GET", "photos", "k", {}) == fresh
    assert (
        len({Signer(config).signed(Credentials("A", s), "GET", "photos", "k", {}) for s in ("one", "two")})
        == 2
    )


def test_addresses_for_the_page_are_short_lived_and_those_of_a_public_base_come_first() -> None:
    where = {"endpoint": "minio", "port": 9000, "bucket": "b"}
    keys = Credentials("key", "secret")
    [own] = Signer(S3Config(**where)).links(keys, "b", "a b.jpg", 120)
    assert own.startswith("http://minio:9000/b/a%20b.jpg?X-Amz-Algorithm=AWS4-HMAC-SHA256&")
    assert "&X-Amz-Expires=120&" in own
    signer = Signer(S3Config(**where, public_url="https://cdn.example/photos/"))
    signed, plain, last = signer.links(keys, "b", "a b.jpg", 120)
    assert plain == "https://cdn.example/photos/b/a%20b.jpg"
    assert signed.startswith(f"{plain}?X-Amz-Algorithm=AWS4-HMAC-SHA256&")
    assert last.partition("?")[0] == own.partition("?")[0]
    # The signature is of the host that is asked.
    assert signed.rpartition("=")[2] != last.rpartition("=")[2]
    assert "secret" not in signed + last
    assert signer.origins(["b", "c"]) == ("http://minio:9000", "https://cdn.example")
