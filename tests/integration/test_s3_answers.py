"""Whose word is final: a scripted server that answers as others do, and checksums, also of a real store."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from awscrt import checksums

from fastproc.backends.objects_s3 import S3ObjectStore
from fastproc.backends.s3_http import Timeouts
from fastproc.config.s3 import S3Config
from fastproc.core.errors import ObjectNotFound, StorageUnavailable, UnsupportedFormat
from fastproc.supervisor.ports import Upload
from tests.integration.suite_objects import room
from tests.scripted_s3 import Scripted, error, says

BODY = b"what the photo holds"
HEAD = b"HTTP/1.1 200 OK\r\nETag: 1\r\nContent-Length: %d\r\n" % len(BODY)


@pytest_asyncio.fixture
async def against(scripted: Scripted) -> AsyncIterator[S3ObjectStore]:
    store = S3ObjectStore(await scripted.start(), Timeouts(connect_s=5, idle_s=1, total_s=8))
    yield store
    await store.close()


async def nothing(size: int) -> None:
    pass


def page(status: int, body: bytes) -> Any:
    return says(b"HTTP/1.1 %d Whatever\r\nContent-Length: %d\r\n\r\n" % (status, len(body)), body)


@pytest.mark.parametrize(
    "encoding", ["", "identity", "Identity", "aws-chunked", "aws-chunked,", "AWS-Chunked, identity"]
)
async def test_an_encoding_that_was_not_applied_is_none(
    scripted: Scripted, against: S3ObjectStore, encoding: str
) -> None:
    scripted.answer = says(HEAD + b"Content-Encoding: %s\r\n\r\n" % encoding.encode(), BODY)
    target = room(100)
    found = await against.get_into("photos", "k", target, nothing)
    assert bytes(target[: found.size]) == BODY


@pytest.mark.parametrize("encoding", ["gzip", "aws-chunked, gzip", "GZIP", "br", "deflate, gzip"])
async def test_an_object_that_was_stored_encoded_ends_once_with_the_encoding(
    scripted: Scripted, against: S3ObjectStore, encoding: str
) -> None:
    scripted.answer = says(HEAD + b"Content-Encoding: %s\r\n\r\n" % encoding.encode(), BODY)
    with pytest.raises(UnsupportedFormat, match=encoding.split(", ")[-1].lower()) as caught:
        await against.get_into("photos", "k", room(100), nothing)
    assert not caught.value.retryable


async def test_a_body_that_a_proxy_encoded_is_the_proxys_doing(
    scripted: Scripted, against: S3ObjectStore
) -> None:
    head = HEAD.replace(b"ETag: 1", b'ETag: W/"1"') + b"Content-Encoding: gzip\r\n\r\n"
    scripted.answer = says(head, BODY)
    with pytest.raises(StorageUnavailable, match="on its way"):
        await against.get_into("photos", "k", room(100), nothing)


async def test_a_missing_key_is_final(scripted: Scripted, against: S3ObjectStore) -> None:
    scripted.answer = error(404, "NoSuchKey")
    with pytest.raises(ObjectNotFound, match="NoSuchKey"):
        await against.get_into("photos", "k", room(100), nothing)


@pytest.mark.parametrize(
    "answer",
    [
        page(404, b""),
        page(404, b"<html><h1>Not Found</h1> NoSuchKey</html>"),
        error(404, "NoSuchBucket"),
        error(404, "NotFound"),
        error(403, "NoSuchKey"),
        error(502, "NoSuchKey"),
    ],
    ids=["empty", "a balancer's page", "no bucket", "another code", "403", "502"],
)
async def test_a_404_of_somebody_else_may_pass(
    scripted: Scripted, against: S3ObjectStore, answer: Any
) -> None:
    scripted.answer = answer
    with pytest.raises(StorageUnavailable):
        await against.get_into("photos", "k", room(100), nothing)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (says(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage"), "no ETag"),
        (says(b"HTTP/1.1 200 OK\r\nETag: 1\r\n\r\nhalf", then_close=True), "no length"),
        (
            says(
                b"HTTP/1.1 200 OK\r\nETag: 1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
                then_close=True,
            ),
            "photos/k",
        ),
        (says(b"HTTP/1.1 206 Part\r\nETag: 1\r\nContent-Length: 4\r\n\r\nhalf"), "206"),
    ],
    ids=["a maintenance page", "cut without a length", "cut between chunks", "a part"],
)
async def test_a_body_that_may_be_none_is_unavailable(
    scripted: Scripted, against: S3ObjectStore, answer: Any, words: str
) -> None:
    scripted.answer = answer
    with pytest.raises(StorageUnavailable, match=words):
        await against.get_into("photos", "k", room(100), nothing)


def crc32c(body: bytes) -> bytes:
    return base64.b64encode(checksums.crc32c(body).to_bytes(4, "big"))


def crc64(body: bytes) -> bytes:
    return base64.b64encode(checksums.crc64nvme(body).to_bytes(8, "big"))


@pytest.mark.parametrize(
    ("header", "passes"),
    [
        (b"x-amz-checksum-crc32c: " + crc32c(BODY), True),
        (b"x-amz-checksum-crc32c: " + crc32c(BODY + b"x"), False),
        (b"X-Amz-Checksum-Crc64nvme: " + crc64(BODY), True),
        (b"X-Amz-Checksum-Crc64nvme: " + crc64(BODY + b"x"), False),
        (b"x-amz-checksum-crc32c: no checksum", False),
        # A checksum of the parts' checksums.
        (b"x-amz-checksum-crc32c: " + crc32c(BODY + b"x") + b"-2", True),
        (b"x-amz-checksum-sha256: of which we know nothing", True),
    ],
)
async def test_what_came_is_what_the_store_wrote_down(
    scripted: Scripted, against: S3ObjectStore, header: bytes, passes: bool
) -> None:
    scripted.answer = says(HEAD, header, b"\r\n\r\n", BODY)
    if passes:
        assert (await against.get_into("photos", "k", room(100), nothing)).size == len(BODY)
    else:
        with pytest.raises(StorageUnavailable, match=r"(?i)x-amz-checksum-crc\w+ is"):
            await against.get_into("photos", "k", room(100), nothing)
    assert b"\r\nx-amz-checksum-mode: ENABLED\r\n" in scripted.requests[0]


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME"])
async def test_a_real_stores_checksum_is_asked_for_and_compared(
    s3: S3Config, s3_client: Any, monkeypatch: pytest.MonkeyPatch, algorithm: str
) -> None:
    s3_client.put_object(Bucket=s3.bucket, Key="k", Body=BODY, ChecksumAlgorithm=algorithm)
    store = S3ObjectStore(s3)
    assert (await store.get_into(s3.bucket, "k", room(100), nothing)).size == len(BODY)
    header = f"x-amz-checksum-{algorithm.lower()}"
    from fastproc.backends import s3_answers

    size, _ = s3_answers._CHECKSUMS[header]
    monkeypatch.setitem(s3_answers._CHECKSUMS, header, (size, lambda content: 7))  # type: ignore[index]
    with pytest.raises(StorageUnavailable, match=header):
        await store.get_into(s3.bucket, "k", room(100), nothing)
    await store.close()


async def test_a_real_store_refuses_an_upload_that_changed_on_its_way(
    s3: S3Config, s3_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = S3ObjectStore(s3)
    await store.put_all(s3.bucket, [Upload("k", BODY, "image/jpeg", {})])
    stored = s3_client.head_object(Bucket=s3.bucket, Key="k", ChecksumMode="ENABLED")
    assert stored["ChecksumCRC32C"] == crc32c(BODY).decode()
    monkeypatch.setattr(
        "fastproc.backends.s3_answers.checksum", lambda body: {"x-amz-checksum-crc32c": "AAAAAA=="}
    )
    with pytest.raises(StorageUnavailable, match="BadDigest"):
        await store.put_all(s3.bucket, [Upload("changed", BODY, "image/jpeg", {})])
    await store.close()


async def test_a_server_that_knows_no_checksums_is_sent_none_from_then_on(
    scripted: Scripted, against: S3ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    async def old(head: bytes, writer: Any) -> None:
        if b"x-amz-checksum" in head.lower():
            message = "Unsupported header 'x-amz-checksum-crc32c' received for this API call."
            await error(400, "InvalidArgument", message)(head, writer)
        else:
            await says(b"HTTP/1.1 200 OK\r\nETag: 1\r\nContent-Length: 0\r\n\r\n")(head, writer)

    scripted.answer = old
    uploads = [Upload("k", b"x", "image/jpeg", {})]
    with pytest.raises(StorageUnavailable, match="Unsupported header"):
        await against.put_all("photos", uploads)
    await against.put_all("photos", uploads)
    await against.get_into("photos", "k", room(100), nothing)
    assert caplog.text.count("knows no checksums") == 1


async def test_check_finds_out_whether_the_server_knows_checksums(
    scripted: Scripted, against: S3ObjectStore
) -> None:
    async def old(head: bytes, writer: Any) -> None:
        code = "NotImplemented" if b"x-amz-checksum" in head.lower() else "NoSuchKey"
        await error(404, code, "A header: x-amz-checksum-mode")(head, writer)

    scripted.answer = old
    await against.check(["photos"])
    assert len(scripted.requests) == 2


async def test_a_wrong_checksum_does_not_end_checksums(scripted: Scripted, against: S3ObjectStore) -> None:
    scripted.answer = error(400, "BadDigest", "The x-amz-checksum-crc32c you specified did not match")
    for _ in range(2):
        with pytest.raises(StorageUnavailable, match="BadDigest"):
            await against.put_all("photos", [Upload("k", b"x", "image/jpeg", {})])
    assert all(b"x-amz-checksum-crc32c: " in head.lower() for head in scripted.requests)


async def test_a_deep_probe_finds_a_neighbour_that_cuts_bodies(
    scripted: Scripted, against: S3ObjectStore
) -> None:
    body, cut_at = bytes(range(256)) * 400, 60_000

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        if b"no-such-object" in request:
            await error(404, "NoSuchKey")(request, writer)
            return
        asked = re.search(rb"(?i)range: bytes=0-(\d+)", request)
        part = body[: int(asked[1]) + 1] if asked else body
        writer.write(b"HTTP/1.1 200 OK\r\nETag: 1\r\nContent-Length: %d\r\n\r\n" % len(part) + part[:limit])
        if len(part) > limit:
            writer.close()

    scripted.answer, limit = answer, len(body)
    await against.get_into("photos", "k", room(len(body)), nothing)
    assert await against.probe(True)
    limit = cut_at
    with pytest.raises(StorageUnavailable):
        await against.probe(True)
    # An idle look stays small, and sees nothing of it.
    assert not await against.probe(False)
