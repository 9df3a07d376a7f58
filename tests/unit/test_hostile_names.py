"""From what a producer wrote to the address that is asked for: nothing outside the bucket and the photo's prefixes.

The store is given names that decoding let pass, and signs the request it would send; no request is made.
"""

from __future__ import annotations

import json
import re
import unicodedata
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastproc.backends.s3_signing import Credentials, Signer
from fastproc.bullmq import decode
from fastproc.config.s3 import S3Config
from fastproc.core import naming
from fastproc.core.model import Job, Rendition

BUCKETS = ("photos", "other-photos")
DEFAULTS = decode.Defaults(bucket="photos", buckets=BUCKETS, attempts=3)
KEYS = Credentials("key", "secret")
SIGNER = Signer(S3Config(endpoint="s3.internal", port=9000, allowed_buckets=BUCKETS))
#: What has opened other people's doors: steps, their encodings, separators, other hosts, names that devices have.
TRICKS = [
    "..", ".", "/", "//", "\\", "%2e%2e", "%2f", "%252e", "%00", "\0", "\r\n", "\x1b", "\x7f",
    "\x85", "\u2028", "?", "#",
    "&", ";", "@", ":", "*", " ", "+", "con", "NUL", "-rf", "--", "~", "$(id)", "`id`", "'", '"', "<", "{}", "http://",
    "169.254.169.254", "s3://", "file:///etc/passwd", "photos", "\u202e", "\u200b", "\ufeff", "é", "e\u0301", "ﬁ",
    "\uff0e\uff0e\uff0f", "\u2025", "\u2215", "\U0001f600", "א", "a", "\ud800", "X-Amz-Signature=",
]  # fmt: skip
NAMES = st.lists(st.sampled_from(TRICKS) | st.text(max_size=4), max_size=8).map("".join)
LONG = st.sampled_from(
    ["k" * 1024, "k" * 1025, "é" * 512, "é" * 513, "x" * 10_240, "../" * 3000, "p" * 128, "p" * 129]
)


def read(photo_id: str, key: str, bucket: str | None) -> Job:
    data = {"photoId": photo_id, "s3Key": key} | ({} if bucket is None else {"bucket": bucket})
    return decode.job("7", "t", {"data": json.dumps(data).encode(), "timestamp": b"1"}, DEFAULTS)


def path_of(bucket: str, key: str) -> str:
    """The path of the request that the store would send, and nothing but a path: the rest of the address is ours."""
    url = SIGNER.signed(KEYS, "GET", bucket, key, {})
    parts = urlsplit(str(url))
    assert (parts.scheme, parts.netloc, parts.fragment) == ("http", "s3.internal:9000", "")
    assert parts.query.count("X-Amz-Signature=") == 1
    assert all(name.startswith("X-Amz-") for name in re.findall(r"(?:^|&)([^=]*)=", parts.query))
    return parts.path


@settings(max_examples=1500, deadline=None)
@given(
    photo_id=NAMES | LONG | st.just("p-1"),
    key=NAMES | LONG,
    bucket=st.none() | NAMES | st.sampled_from(BUCKETS),
)
def test_what_passes_stays_in_its_bucket_and_is_asked_for_as_it_was_written(
    photo_id: str, key: str, bucket: str | None
) -> None:
    job = read(photo_id, key, bucket)
    if job.fault is not None:
        assert job.fault.code in ("INVALID_JOB", "BUCKET_NOT_ALLOWED")
        assert job.fault.reason.isprintable()
        assert len(job.fault.reason) < 1000
        return
    assert job.bucket in BUCKETS
    path = path_of(job.bucket, job.s3_key)
    assert re.fullmatch(r"/[A-Za-z0-9._~%/-]+", path)
    assert unquote(path, errors="strict") == f"/{job.bucket}/{key}"
    assert not {".", ".."} & set(unquote(path).split("/"))
    for stage, begin in (
        ("thumbnails", "thumbnails"),
        ("optimization", "photos/optimized"),
        ("own", "photos/own"),
    ):
        rendition = Rendition(stage=stage, name="n", width=1, height=1, offset=0, size=1)
        written = path_of(job.bucket, naming.object_key(rendition, job.photo_id, job.timestamp_ms))
        assert written.startswith(f"/{job.bucket}/{begin}/{job.photo_id}")
        assert written == unquote(written)
        assert written.count("/") <= 5
        assert not {".", "..", ""} & set(written[1:].split("/"))


@pytest.mark.parametrize(
    "key", ["-rf", "con", "a b", "שלום/\u202egpj.exe", "\U0001f600", "%2e%2e/%2e%2e/etc", "a?b#c", "//x"]
)
def test_odd_but_harmless_keys_are_asked_for_byte_by_byte(key: str) -> None:
    job = read("p", key, None)
    assert job.fault is None
    assert unquote(path_of("photos", job.s3_key)) == f"/photos/{key}"


def test_two_spellings_of_one_letter_are_two_keys() -> None:
    composed, decomposed = (unicodedata.normalize(form, "é.jpg") for form in ("NFC", "NFD"))
    paths = {path_of("photos", read("p", key, None).s3_key) for key in (composed, decomposed)}
    assert paths == {"/photos/%C3%A9.jpg", "/photos/e%CC%81.jpg"}


@pytest.mark.parametrize(
    "key",
    [
        "",
        "..",
        "../x",
        "a/../../b",
        "a/.",
        "..\\x",
        "a\0b",
        "a\r\nHost: x",
        "\x85",
        "\u2028",
        "k" * 1025,
        "é" * 513,
    ],
)
def test_keys_that_could_be_read_as_something_else_are_refused(key: str) -> None:
    assert read("p", key, None).fault is not None
