"""How requests travel: sent once, within their time, cancelled for good, and without a trace of their signature."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import yarl
from msgspec.structs import replace

from fastproc.backends.objects_s3 import S3ObjectStore
from fastproc.backends.s3_credentials import Given
from fastproc.backends.s3_http import Timeouts
from fastproc.backends.s3_signing import Credentials, Signer
from fastproc.config.s3 import S3Config
from fastproc.config.values import host_name
from fastproc.core.errors import StorageUnavailable
from fastproc.supervisor.ports import Upload
from tests.integration.suite_objects import room
from tests.integration.test_pool_refusals import descriptors
from tests.scripted_s3 import Scripted, error, says

STORED = b"HTTP/1.1 200 OK\r\nETag: 1\r\nContent-Length: 0\r\n\r\n"
TIMES = Timeouts(connect_s=1, idle_s=1.5, total_s=5, pace_s=0.3, pace_bytes=1000)


@pytest_asyncio.fixture
async def against(scripted: Scripted) -> AsyncIterator[S3ObjectStore]:
    store = S3ObjectStore(await scripted.start(), TIMES)
    yield store
    await store.close()


async def nothing(size: int) -> None:
    pass


def upload(key: str = "k", body: bytes = b"x" * 100_000) -> Upload:
    return Upload(key, body, "image/jpeg", {})


@pytest.mark.parametrize("size", [0, 1, 100_000, 2_000_000])
async def test_an_upload_announces_its_length_and_is_whole(
    scripted: Scripted, against: S3ObjectStore, size: int
) -> None:
    scripted.answer = says(STORED)
    await against.put_all("photos", [upload(body=b"x" * size)])
    assert b"\r\ncontent-length: %d\r\n" % size in scripted.requests[0].lower()
    assert b"transfer-encoding" not in scripted.requests[0].lower()
    assert scripted.bodies == [b"x" * size]


async def test_a_request_on_a_connection_that_dies_is_not_sent_again(
    scripted: Scripted, against: S3ObjectStore
) -> None:
    async def every_second_dies(head: bytes, writer: asyncio.StreamWriter) -> None:
        if len(scripted.requests) % 2:
            writer.write(STORED)
        else:
            writer.transport.abort()

    scripted.answer = every_second_dies
    for ask in (
        lambda: against.put_all("photos", [upload()]),
        lambda: against.get_into("photos", "k", room(10), nothing),
    ):
        before = len(scripted.requests)
        await against.put_all("photos", [upload()])
        with pytest.raises(StorageUnavailable):
            await ask()
        assert len(scripted.requests) == before + 2
    assert {len(body) for body in scripted.bodies} == {100_000}


async def test_an_upload_never_arrives_empty_whenever_idle_connections_are_closed(
    scripted: Scripted, against: S3ObjectStore
) -> None:
    async def close_soon(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(STORED)
        await writer.drain()
        await asyncio.sleep(0.0005 * (len(scripted.requests) % 4))
        writer.close()

    scripted.answer = close_soon
    for number in range(60):
        with suppress(StorageUnavailable):
            await against.put_all("photos", [upload()])
        await asyncio.sleep(0.0003 * (number % 7))
    assert len(scripted.requests) <= 60
    assert {len(body) for body in scripted.bodies} == {100_000}


async def test_four_bodies_that_drip_are_cut_and_the_next_is_served(
    scripted: Scripted, against: S3ObjectStore
) -> None:
    async def drip(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nETag: 1\r\nContent-Length: 100000\r\n\r\n")
        while b"/slow" in head:
            writer.write(b"x")
            await asyncio.sleep(0.02)
        writer.write(b"x" * 100_000)

    scripted.answer = drip
    started = time.monotonic()
    slow = [against.get_into("photos", f"slow{n}", room(200_000), nothing) for n in range(4)]
    good = against.get_into("photos", "good", room(200_000), nothing)
    *cut, served = await asyncio.gather(*slow, good, return_exceptions=True)
    assert time.monotonic() - started < 3  # The total time is 5 s.
    assert all("fewer than 1000 bytes more" in str(error) for error in cut), cut
    assert {type(error) for error in cut} == {StorageUnavailable}
    assert served.size == 100_000


async def test_a_slow_body_that_keeps_the_least_rate_is_read(scripted: Scripted) -> None:
    async def steady(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nETag: 1\r\nContent-Length: 20000\r\n\r\n")
        for _ in range(20):
            writer.write(b"x" * 1000)
            await asyncio.sleep(0.08)

    scripted.answer = steady
    store = S3ObjectStore(await scripted.start(), replace(TIMES, pace_s=1.0))
    assert (await store.get_into("photos", "k", room(20_000), nothing)).size == 20_000
    await store.close()


async def test_a_head_that_drips_ends_with_the_time_for_heads(scripted: Scripted) -> None:
    async def drip(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        for _ in range(100):
            writer.write(b"x")
            await asyncio.sleep(0.05)

    scripted.answer = drip
    store = S3ObjectStore(await scripted.start(), Timeouts(connect_s=0.2, idle_s=0.3, total_s=60))
    with pytest.raises(StorageUnavailable, match=r"no answer, it took more than 0\.5 s"):
        await store.get_into("photos", "k", room(10), nothing)
    await store.close()


async def test_a_body_waits_at_the_server_until_it_is_admitted(scripted: Scripted) -> None:
    sent = 0

    async def large(head: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nETag: 1\r\nContent-Length: 64000000\r\n\r\n")
        for _ in range(64):
            writer.write(b"x" * 1_000_000)
            await writer.drain()
            sent += 1_000_000

    async def late(size: int) -> None:
        await asyncio.sleep(0.5)
        # What the kernel keeps for a connection, on both sides.
        assert sent < 40_000_000

    scripted.answer = large
    store = S3ObjectStore(await scripted.start())
    assert (await store.get_into("photos", "k", room(64_000_000), late)).size == 64_000_000
    await store.close()


async def test_a_cancelled_read_writes_nothing_more(scripted: Scripted, against: S3ObjectStore) -> None:
    ended = asyncio.Event()

    async def steady(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nETag: 1\r\nContent-Length: 1000000\r\n\r\n")
        with suppress(ConnectionError):
            while True:
                writer.write(b"x" * 1000)
                await writer.drain()
                await asyncio.sleep(0.005)
        ended.set()

    scripted.answer = steady
    target = room(1_000_000)
    reading = asyncio.create_task(against.get_into("photos", "k", target, nothing))
    await asyncio.sleep(0.2)
    assert any(target)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    target[:] = bytes(len(target))
    await asyncio.wait_for(ended.wait(), 2)
    assert not any(target)


async def test_a_cancelled_upload_does_not_arrive_later() -> None:
    came = 0
    ended = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal came
        await asyncio.sleep(0.5)
        while piece := await reader.read(1 << 20):
            came += len(piece)
        writer.close()
        ended.set()

    server = await asyncio.start_server(slow, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    store = S3ObjectStore(S3Config(endpoint="127.0.0.1", port=port))
    writing = asyncio.create_task(store.put_all("photos", [upload(body=b"x" * 64_000_000)]))
    await asyncio.sleep(0.2)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await asyncio.wait_for(ended.wait(), 5)
    assert came < 40_000_000  # What the kernel had taken.
    server.close()
    await store.close()


async def test_a_cancellation_that_meets_a_failed_upload_is_not_lost(
    against: S3ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail = asyncio.Event()

    async def put(bucket: str, each: Upload) -> None:
        if each.key == "bad":
            await fail.wait()
            raise StorageUnavailable("503")
        await asyncio.sleep(60)

    monkeypatch.setattr(against, "_put", put)
    for turns in range(4):  # Before the failure is noticed, at the same moment, and while the others end.
        fail.clear()
        writing = asyncio.create_task(against.put_all("photos", [upload("bad"), upload("good")]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        fail.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        cancelled = writing.cancel()
        await asyncio.wait([writing])
        assert writing.cancelled() or not cancelled, turns


@pytest.mark.parametrize(
    "answer",
    [
        says(then_close=True),
        says(b"HTTP/1.1 200 OK\r\nNo colon here\r\n\r\n"),
        says(b"no HTTP at all\r\n\r\n"),
        says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", then_close=True),
        says(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"),
        error(403, "SignatureDoesNotMatch", "so it is"),
        says(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"),
    ],
)
async def test_no_message_and_no_log_holds_a_signature(
    scripted: Scripted, caplog: pytest.LogCaptureFixture, answer: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    scripted.answer = answer
    config = replace(await scripted.start(), access_key="AKIDOFOURS", secret_key="very-secret")
    store = S3ObjectStore(config, TIMES)
    for ask in (store.get_into("photos", "k", room(100), nothing), store.put_all("photos", [upload()])):
        with pytest.raises(StorageUnavailable) as caught:
            await ask
        said = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + caplog.text
        for word in ("Amz-Sign", "Amz-Cred", "AKIDOFOURS", "very-secret"):
            assert word not in said
    await store.close()


@pytest.mark.parametrize("written", ["::1", "[::1]"])
async def test_a_store_at_an_ipv6_address_is_reached(scripted: Scripted, written: str) -> None:
    try:
        config = await scripted.start("::1")
    except OSError:
        pytest.skip("no IPv6 here")
    scripted.answer = says(STORED)
    store = S3ObjectStore(replace(config, endpoint=host_name(written)))
    await store.put_all("photos", [upload()])
    assert b"\r\nHost: [::1]:%d\r\n" % config.port in scripted.requests[0]
    assert store.url("photos", "k") == f"http://[::1]:{config.port}/photos/k"
    await store.close()


async def test_a_proxy_may_rewrite_what_encodings_are_accepted(s3: S3Config, s3_client: Any) -> None:
    s3_client.put_object(Bucket=s3.bucket, Key="k", Body=b"x")
    url = yarl.URL(Signer(s3).signed(Credentials(*s3.keys), "GET", s3.bucket, "k", {}), encoded=True)
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, headers={"Accept-Encoding": "gzip, br"}) as response,
    ):
        assert response.status == 200


async def test_encodings_are_refused_and_not_signed(scripted: Scripted, against: S3ObjectStore) -> None:
    scripted.answer = says(STORED)
    await against.get_into("photos", "k", room(10), nothing)
    head = scripted.requests[0].lower()
    assert b"\r\naccept-encoding: identity\r\n" in head
    assert b"x-amz-signedheaders=host%3bx-amz-checksum-mode&" in head


async def test_a_renewed_token_is_used_from_the_next_request_on(scripted: Scripted) -> None:
    class Changing(Given):
        tokens = iter(["first", "second"])

        async def now(self, wait_s: float = 0) -> Credentials:
            return Credentials("key", "secret", next(self.tokens))

    store = S3ObjectStore(
        await scripted.start(), credentials=Changing(Credentials("key", "secret"), "a test")
    )
    scripted.answer = says(STORED)
    for token in (b"first", b"second"):
        await store.put_all("photos", [upload()])
        assert b"X-Amz-Security-Token=" + token in scripted.requests[-1]
    assert "secret" not in repr(Credentials("key", "secret"))
    await store.close()


async def test_a_host_without_descriptors_is_told_from_a_store_that_is_away(
    scripted: Scripted, against: S3ObjectStore
) -> None:
    scripted.answer = error(404, "NoSuchKey")
    with descriptors(0), pytest.raises(StorageUnavailable, match="Too many open files") as caught:
        await against.get_into("photos", "k", room(10), nothing)
    assert caught.value.of_host
    await scripted.stop()
    with pytest.raises(StorageUnavailable) as caught:
        await against.get_into("photos", "k", room(10), nothing)
    assert not caught.value.of_host
