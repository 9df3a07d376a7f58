"""The S3 store against a real server, and against a scripted one for what a real server cannot be made to do."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import yarl
from msgspec.structs import replace

from fastproc.backends.objects_s3 import S3ObjectStore
from fastproc.backends.s3_http import Timeouts
from fastproc.config.s3 import S3Config
from fastproc.core.errors import (
    ObjectNotFound,
    SourceTooLarge,
    StorageUnavailable,
    Unreachable,
    UnsupportedFormat,
)
from fastproc.embedded.child import free_ports
from fastproc.supervisor.ports import Upload
from tests.integration.suite_objects import Admissions, ObjectStoreSuite, room
from tests.scripted_s3 import Scripted, error, says


class Boto3:
    """The bucket as boto3 sees it."""

    def __init__(self, client: Any, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def put(self, key: str, body: bytes, content_type: str = "image/jpeg") -> None:
        self._client.put_object(Bucket=self._bucket, Key=key, Body=body, ContentType=content_type)

    def get(self, key: str) -> tuple[bytes, str, dict[str, str]]:
        found = self._client.get_object(Bucket=self._bucket, Key=key)
        return found["Body"].read(), found["ContentType"], found["Metadata"]

    def keys(self) -> set[str]:
        listed = self._client.list_objects_v2(Bucket=self._bucket)
        return {found["Key"] for found in listed.get("Contents", ())}


@pytest_asyncio.fixture
async def store(s3: S3Config) -> AsyncIterator[S3ObjectStore]:
    opened = S3ObjectStore(s3)
    yield opened
    await opened.close()


async def nothing(size: int) -> None:
    pass


class TestS3ObjectStore(ObjectStoreSuite):
    @pytest.fixture
    def store(self, store: S3ObjectStore) -> S3ObjectStore:
        return store

    @pytest.fixture
    def bucket(self, s3: S3Config) -> str:
        return s3.bucket

    @pytest.fixture
    def outside(self, s3_client: Any, s3: S3Config) -> Boto3:
        return Boto3(s3_client, s3.bucket)


@pytest.mark.parametrize(
    "changed",
    [{"Content-Type": "text/html"}, {"x-amz-meta-size": "other"}, {"x-amz-meta-size": None}, {}],
    ids=["other type", "other metadata", "no metadata", "as signed"],
)
async def test_an_upload_that_differs_from_what_was_signed_is_refused(store, s3, changed) -> None:
    signed = {"Content-Type": "image/jpeg", "x-amz-meta-size": "thumb_sm"}
    url = store._signer.signed(await store._credentials.now(), "PUT", s3.bucket, "k", signed)
    sent = {name: value for name, value in (signed | changed).items() if value is not None}
    target = yarl.URL(url, encoded=True)
    async with aiohttp.ClientSession() as session, session.put(target, data=b"x", headers=sent) as response:
        assert response.status == (403 if changed else 200)


@pytest.mark.parametrize("wrong", [{"secret_key": "another-secret"}, {"access_key": "nobody"}], ids=str)
async def test_refused_credentials_are_named_at_start_and_may_pass_in_a_job(s3, wrong) -> None:
    stranger = S3ObjectStore(replace(s3, **wrong))
    with pytest.raises(Unreachable, match=r"^MINIO_ACCESS_KEY, MINIO_SECRET_KEY: .* refused") as caught:
        await stranger.check([s3.bucket])
    assert "another-secret" not in str(caught.value)
    with pytest.raises(StorageUnavailable, match="403"):
        await stranger.get_into(s3.bucket, "k", room(10), nothing)
    with pytest.raises(StorageUnavailable, match="403"):
        await stranger.put_all(s3.bucket, [Upload("k", b"x", "image/jpeg", {})])
    await stranger.close()


async def test_a_server_that_is_not_there_is_named(s3) -> None:
    away = S3ObjectStore(replace(s3, port=free_ports(1)[0]))
    with pytest.raises(Unreachable, match=r"^MINIO_ENDPOINT, MINIO_PORT.*127\.0\.0\.1:"):
        await away.check([s3.bucket])
    with pytest.raises(StorageUnavailable):
        await away.get_into(s3.bucket, "k", room(10), nothing)
    await away.close()


async def test_a_server_that_does_not_accept_is_given_up_without_showing_the_signature() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        queued = [socket.socket() for _ in range(3)]
        for waiting in queued:
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        store = S3ObjectStore(S3Config(endpoint="127.0.0.1", port=port), Timeouts(connect_s=0.2))
        with pytest.raises(StorageUnavailable, match=r"[Tt]imeout") as caught:
            await store.get_into("photos", "k", room(10), nothing)
        await store.close()
        for waiting in queued:
            waiting.close()
    assert "Signature" not in str(caught.value)


async def test_https_to_a_server_of_http_is_named(s3) -> None:
    secure = S3ObjectStore(replace(s3, use_ssl=True))
    with pytest.raises(Unreachable, match="MINIO_USE_SSL"):
        await secure.check([s3.bucket])
    await secure.close()


async def test_a_key_that_is_no_text_is_not_found(store, s3) -> None:
    with pytest.raises(ObjectNotFound):
        await store.get_into(s3.bucket, "\ud800", room(10), nothing)


@pytest.mark.parametrize("key", ["../other/secret", "a/../../b", "./x", "a//b", "/lead", "folder/"])
async def test_a_key_with_path_tricks_stays_in_its_bucket(store, s3, s3_client, key) -> None:
    s3_client.create_bucket(Bucket=f"{s3.bucket}-b")
    s3_client.put_object(Bucket=f"{s3.bucket}-b", Key="secret", Body=b"secret")
    target = room(10)
    key = key.replace("other", f"{s3.bucket}-b")
    with pytest.raises((ObjectNotFound, StorageUnavailable)):
        await store.get_into(s3.bucket, key, target, nothing)
    assert not any(target)


@pytest.mark.parametrize(
    ("changes", "url"),
    [
        ({}, "http://127.0.0.1:9000/photos/a%20b/%C3%A9%2B%25.jpg"),
        (
            {"use_ssl": True, "endpoint": "s3.example.org"},
            "https://s3.example.org:9000/photos/a%20b/%C3%A9%2B%25.jpg",
        ),
        ({"endpoint": "::1"}, "http://[::1]:9000/photos/a%20b/%C3%A9%2B%25.jpg"),
        (
            {"public_url": "https://cdn.example.org/x/"},
            "https://cdn.example.org/x/photos/a%20b/%C3%A9%2B%25.jpg",
        ),
    ],
)
def test_an_address_for_people_is_encoded_and_not_signed(changes, url) -> None:
    config = S3Config(**{"endpoint": "127.0.0.1", "port": 9000} | changes)
    assert S3ObjectStore(config).url("photos", "a b/é+%.jpg") == url


@pytest_asyncio.fixture
async def against(scripted: Scripted) -> AsyncIterator[S3ObjectStore]:
    store = S3ObjectStore(await scripted.start(), Timeouts(connect_s=1, idle_s=0.3, total_s=0.6))
    yield store
    await store.close()


async def test_the_path_that_is_sent_is_the_path_that_was_signed(scripted, against) -> None:
    scripted.answer = error(404, "NoSuchKey")
    with pytest.raises(ObjectNotFound):
        await against.get_into("photos", "a+b%2F (1)!'~é/c", room(10), nothing)
    assert scripted.requests[0].startswith(
        b"GET /photos/a%2Bb%252F%20%281%29%21%27~%C3%A9/c?X-Amz-Algorithm="
    )


async def test_a_body_that_is_cut_short_is_unavailable(scripted, against) -> None:
    scripted.answer = says(
        b"HTTP/1.1 200 OK\r\nETag: 1\r\nContent-Length: 100\r\n\r\n", b"x" * 99, then_close=True
    )
    with pytest.raises(StorageUnavailable, match="photos/k"):
        await against.get_into("photos", "k", room(200), nothing)


async def test_a_body_in_chunks_is_read_to_its_end_and_admitted_as_the_limit(scripted, against) -> None:
    scripted.answer = says(
        b"HTTP/1.1 200 OK\r\nETag: 1\r\nTransfer-Encoding: chunked\r\n\r\n63\r\n", b"x" * 99, b"\r\n0\r\n\r\n"
    )
    target = room(200)
    admit = Admissions(target)
    assert (await against.get_into("photos", "k", target, admit)).size == 99
    assert admit.sizes == [200]


async def test_a_body_in_chunks_is_refused_at_the_limit(scripted, against) -> None:
    async def for_ever(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nETag: 1\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"400\r\n" + b"x" * 0x400 + b"\r\n")
            await writer.drain()

    scripted.answer = for_ever
    with pytest.raises(SourceTooLarge, match="more than 5000 bytes"):
        await against.get_into("photos", "k", room(5000), nothing)


async def test_too_long_a_body_is_refused_by_its_announcement(scripted, against) -> None:
    scripted.answer = says(b"HTTP/1.1 200 OK\r\nETag: 1\r\nContent-Length: 101\r\n\r\n")
    # Not after waiting for a byte of it: none comes, and silence is StorageUnavailable.
    with pytest.raises(SourceTooLarge):
        await against.get_into("photos", "k", room(100), nothing)


async def test_an_encoded_body_is_refused_not_decoded(scripted, against) -> None:
    scripted.answer = says(
        b"HTTP/1.1 200 OK\r\nETag: 1\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00"
    )
    with pytest.raises(UnsupportedFormat, match="gzip"):
        await against.get_into("photos", "k", room(100), nothing)
    assert b"\r\naccept-encoding: identity\r\n" in scripted.requests[0].lower()


async def test_the_type_is_reported_as_the_store_said_it(scripted, against) -> None:
    scripted.answer = says(
        b"HTTP/1.1 200 OK\r\nETag: 1\r\nContent-Type: text/html; x=1\r\nContent-Length: 1\r\n\r\nx"
    )
    assert (await against.get_into("photos", "k", room(9), nothing)).content_type == "text/html; x=1"
    scripted.answer = says(b"HTTP/1.1 200 OK\r\nETag: 1\r\nContent-Length: 1\r\n\r\nx")
    assert (await against.get_into("photos", "k", room(9), nothing)).content_type is None


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(scripted, against, status) -> None:
    scripted.answer = says(b"HTTP/1.1 %d Moved\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n" % status)
    with pytest.raises(StorageUnavailable, match="redirect"):
        await against.get_into("photos", "k", room(100), nothing)
    with pytest.raises(StorageUnavailable, match="redirect"):
        await against.put_all("photos", [Upload("k", b"x", "image/jpeg", {})])
    assert not any(b"elsewhere" in request for request in scripted.requests)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (500, "InternalError"),
        (503, "SlowDown"),
        (403, "AccessDenied"),
        (400, "ExpiredToken"),
        (429, "TooMany"),
    ],
)
async def test_a_refusal_is_unavailable_asked_once_and_says_the_servers_code(
    scripted, against, status, code
) -> None:
    scripted.answer = error(status, code)
    with pytest.raises(StorageUnavailable, match=f"{status} {code} so it is"):
        await against.get_into("photos", "k", room(100), nothing)
    with pytest.raises(StorageUnavailable, match=f"{status} {code} so it is"):
        await against.put_all("photos", [Upload("k", b"x", "image/jpeg", {})])
    assert len(scripted.requests) == 2


@pytest.mark.parametrize("code", ["KeyTooLongError", "XMinioInvalidObjectName"])
async def test_a_key_that_cannot_exist_is_not_found(scripted, against, code) -> None:
    scripted.answer = error(400, code)
    with pytest.raises(ObjectNotFound, match=code):
        await against.get_into("photos", "k" * 2000, room(100), nothing)


async def test_what_a_server_says_stays_on_one_line(scripted, against) -> None:
    scripted.answer = error(500, "A\nB", "c\r\nd " + "long " * 200)
    with pytest.raises(StorageUnavailable) as caught:
        await against.get_into("photos", "key\r\nforged", room(100), nothing)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 400


async def test_silence_is_unavailable_after_the_idle_time(scripted, against) -> None:
    scripted.answer = says(b"HTTP/1.1 200 OK\r\nETag: 1\r\nContent-Length: 100\r\n\r\nxx")
    started = time.monotonic()
    with pytest.raises(StorageUnavailable) as caught:
        await against.get_into("photos", "k", room(100), nothing)
    assert time.monotonic() - started > 0.2
    # The total time would say so; which of the two it was must not hang on how busy the machine is.
    assert "more than" not in str(caught.value)


async def test_a_dripping_body_is_unavailable_after_the_total_time(scripted, against) -> None:
    async def drip(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nETag: 1\r\nContent-Length: 100\r\n\r\n")
        for _ in range(100):
            writer.write(b"x")
            await asyncio.sleep(0.05)

    scripted.answer = drip
    started = time.monotonic()
    with pytest.raises(StorageUnavailable, match=r"more than 0\.6 s"):
        await against.get_into("photos", "k", room(100), nothing)
    assert 0.5 < time.monotonic() - started < 4  # The whole body takes 5 s.


async def test_a_dripping_head_is_unavailable_after_the_total_time(scripted, against) -> None:
    async def drip(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nETag: 1\r\nX-Long: ")
        for _ in range(100):
            writer.write(b"x")
            await asyncio.sleep(0.05)

    scripted.answer = drip
    started = time.monotonic()
    with pytest.raises(StorageUnavailable, match=r"more than 0\.6 s"):
        await against.get_into("photos", "k", room(100), nothing)
    assert time.monotonic() - started < 4  # The whole head takes 5 s.


async def test_waiting_for_admission_is_not_charged_to_the_server(scripted, against) -> None:
    body = b"x" * 3_000_000
    scripted.answer = says(b"HTTP/1.1 200 OK\r\nETag: 1\r\nContent-Length: %d\r\n\r\n" % len(body), body)

    async def late(size: int) -> None:
        await asyncio.sleep(0.9)

    assert (await against.get_into("photos", "k", room(len(body)), late)).size == len(body)


async def test_a_connection_that_was_closed_while_idle_is_replaced(scripted, against) -> None:
    scripted.answer = says(b"HTTP/1.1 200 OK\r\nETag: 1\r\nContent-Length: 1\r\n\r\nx", then_close=True)
    for _ in range(3):
        assert (await against.get_into("photos", "k", room(10), nothing)).size == 1
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    "answer", [says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"), says(then_close=True)]
)
async def test_an_upload_that_is_not_confirmed_is_unavailable(scripted, against, answer) -> None:
    scripted.answer = answer
    with pytest.raises(StorageUnavailable, match="PUT 'photos/k'"):
        await against.put_all("photos", [Upload("k", b"x", "image/jpeg", {})])


async def test_one_failed_upload_ends_the_others(scripted, against) -> None:
    ended = asyncio.Event()
    all_came = asyncio.Event()

    async def one_fails(head: bytes, writer: asyncio.StreamWriter) -> None:
        if len(scripted.requests) == 3:
            all_came.set()
        await all_came.wait()
        if b"/bad?" in head:
            await error(503, "SlowDown")(head, writer)
            return
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    scripted.answer = one_fails
    uploads = [Upload(key, b"x", "image/jpeg", {}) for key in ("slow1", "bad", "slow2")]
    before = asyncio.all_tasks()
    with pytest.raises(StorageUnavailable, match="'photos/bad': 503 SlowDown"):
        await against.put_all("photos", uploads)
    mine = {task for task in asyncio.all_tasks() - before if "_serve" not in repr(task)}
    assert not mine


async def test_a_cancelled_upload_is_cancelled(scripted, against) -> None:
    async def never(head: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    scripted.answer = never
    task = asyncio.create_task(against.put_all("photos", [Upload("k", b"x", "image/jpeg", {})]))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    "answer", [says(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope"), error(500, "InternalError")]
)
async def test_check_names_a_server_that_does_not_speak_s3(scripted, against, answer) -> None:
    scripted.answer = answer
    with pytest.raises(
        Unreachable, match=r"^MINIO_ENDPOINT, MINIO_PORT: .* does not answer like an S3 server"
    ):
        await against.check(["photos"])


async def test_check_passes_where_listing_is_not_allowed(scripted, against, caplog) -> None:
    scripted.answer = error(403, "AccessDenied")
    await against.check(["photos"])
    assert "does not tell whether" in caplog.text
