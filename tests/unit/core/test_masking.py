"""Text without its secrets: whatever a password consists of, wherever it stands; ordinary words stay as they are."""

from __future__ import annotations

import json
import re
import time
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastproc.core.masking import LEAST_KNOWN_CHARS, MASK, Known, masked

SIGNED = (
    "https://s3.eu/b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDhush%2F20260101%2Feu%2Fs3"
    "&X-Amz-Security-Token=hush%2Bhush&X-Amz-Expires=60&X-Amz-Signature=hush0123"
)
#: A password as people make them: long enough to be seen in what is left, and no line of its own.
PASSWORDS = st.text(st.characters(exclude_categories=("Cc", "Zl", "Zp", "Cs")), min_size=1, max_size=20).map(
    lambda text: f"hu{text}sh"
)


@given(PASSWORDS)
def test_no_password_of_a_url_is_seen_whatever_is_in_it(password: str) -> None:
    for text in (f"redis://me:{password}@h:1/0", f"cannot reach redis://:{password}@h, it is away"):
        assert password not in masked(text)


@given(PASSWORDS)
def test_no_quoted_password_is_seen_wherever_a_url_has_one(password: str) -> None:
    quoted = quote(password, safe="")
    for text in (
        f"redis://me:{quoted}@h:1/0",
        f"at me:{quoted}@h:1/0 (REDIS_URL)",
        f"rediss+sentinel://a:1,b:2/m?x=1&sentinel_password={quoted}&y=2",
        f"h?PassWord={quoted}",
        f'{{"url": "postgresql://h/db?sslpassword={quoted}"}}',
    ):
        assert quoted not in masked(text)


@given(st.text(min_size=LEAST_KNOWN_CHARS))
def test_what_is_known_is_hidden_in_every_form(secret: str) -> None:
    known = Known([secret])
    quoted, octets = quote(secret, safe=""), secret.encode()
    forms = [secret, repr(secret)[1:-1], repr(octets)[2:-1], json.dumps(secret)[1:-1], quote_plus(secret)]
    forms += [quoted, re.sub("%..", lambda found: found[0].lower(), quoted), quote(quoted, safe="")]
    forms += [quote(secret, safe="!$&'()*+,;=@/"), json.dumps(json.dumps(secret))[3:-3]]
    for form in forms:
        assert form not in known.masked(f"x{form}x")


def test_a_secret_of_bytes_that_are_no_text_is_hidden() -> None:
    secret = b"\xff\xfehush".decode(errors="surrogateescape")  # As the environment gives it.
    for form in (secret, r"\xff\xfehush", "%FF%FEhush"):
        assert Known([secret]).masked(f"at {form}") == f"at {MASK}"


def test_a_form_of_a_browser_quotes_more_than_python_does() -> None:
    assert Known(["pa&ss<wo>rd~1/x"]).masked("is pa%26ss%3Cwo%3Erd%7E1%2Fx") == f"is {MASK}"


@pytest.mark.parametrize("unit", ["a=", "a", "%41=", "a://b:", "x://y:z", "'a':", "\\", "a:@", "=a:", "(a:"])
def test_a_text_without_end_is_searched_to_its_end(unit: str) -> None:
    text = unit * (8192 // len(unit))
    # Secrets are found on both sides of it. Where each letter begins a search, it takes 0.1 s of CPU to some seconds.
    began = time.process_time()
    assert "hush" not in Known(["\\/hushes"]).masked(f"token=hush @ {text} password=hush")
    assert time.process_time() - began < 0.06


@pytest.mark.parametrize(
    "text", ["authorization: hush", "token='hush hush", 'a="b" password="hush', "{'password': 'hush"]
)
def test_what_follows_a_text_that_was_cut_or_masked_before_stays(text: str) -> None:
    once = masked(text)
    assert "hush" not in once
    assert masked(f"{once} (in ocr)").endswith("(in ocr)")


def test_parameters_of_a_url_in_a_parameter_are_hidden() -> None:
    assert "hush" not in masked("url=http://h/?next=http://i/?user[token]=hush&a=b")
    assert "hush" not in masked("(a=b)password=hush {x=1}token=hush <a=b>pwd=hush")


@pytest.mark.parametrize(
    "text",
    [
        SIGNED,
        f"ClientError: GET {SIGNED} ended with 403",
        f"url='{SIGNED}'",
        "{'Authorization': 'AWS4-HMAC-SHA256 Credential=AKIDhush/x, SignedHeaders=host;x, Signature=hush'}",
        '{"x-amz-security-token": "hush"}',
        '{"password":"hush"}',
        "BEARER hush.hush.hush",
        "b'X-Amz-Security-Token': b'hush'",
        "{'password': 'x\\'hush'}",
        "authorization: AWS4-HMAC-SHA256 Credential=AKIDhush/x, Signature=hush\nhost: h",
        "Authorization: Bearer hush.hush.hush",
        "x-amz-security-token: hush\r\nhost: h",
        "AWSAccessKeyId=AKhush&Signature=hush&Expires=1",
        "secret_key=hush region=x",
        "conninfo: host=h password='hush hush' user=me",
        "AUTH failed with whsec_hushhushhush",
    ],
)
def test_what_signs_a_request_is_hidden(text: str) -> None:
    assert "hush" in text
    assert "hush" not in masked(text).replace("whsec_", "")
    assert MASK in masked(text)


@pytest.mark.parametrize(
    "text",
    [
        "MINIO_SECRET_KEY: it is empty",
        "WEBHOOK_SECRET: WEBHOOK_URL needs one: whsec_ and what `openssl rand -base64 32` prints",
        "S3: MINIO_ACCESS_KEY and MINIO_SECRET_KEY are not set: MinIO's well-known keys are used",
        "expected https://KEY@HOST/PROJECT, as Sentry shows it under Client Keys",
        "the object store is away: Cannot connect to host 127.0.0.1:9000 ssl:default [refused]",
        "fastproc 1 serves bull:photo-processing: 2 workers, rate limit 10 per 1000 ms (RATE_LIMIT_MAX)",
        "http://[::1]:9000, http://h:9000/b, http://h:9000: redis://h:6379/0?db=1",
        "job 7: its lock must have run out; code=FILE_CORRUPTED key=photos/a:b.jpg",
        "health status=healthy inHand=2 completed=7",
        "decoders: libvips 8.18.0, libheif 1.20",
        "x@y, mail me@example.com; GET /a@2x",
    ],
)
def test_ordinary_words_stay(text: str) -> None:
    assert masked(text) == text


def test_short_secrets_are_not_hidden_everywhere() -> None:
    assert Known(["fast"]).masked("fastproc runs") == "fastproc runs"
    assert Known(["fast"]).masked("redis://me:fast@h") == f"redis://me:{MASK}@h"


def test_one_secret_that_begins_with_another_leaves_no_rest() -> None:
    assert Known(["hushhush", "hushhushhush"]).masked("hushhushhush") == MASK
