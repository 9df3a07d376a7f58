"""What a server may do to a connection: answers in pieces, early, interim, without an end; over TCP and over TLS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import trustme
from msgspec.structs import replace

from fastproc.backends.objects_s3 import S3ObjectStore
from fastproc.backends.s3_times import Timeouts
from fastproc.core.errors import ObjectNotFound, SourceTooLarge, StorageUnavailable
from fastproc.supervisor.ports import Upload
from tests import tls
from tests.integration.suite_objects import room
from tests.scripted_s3 import Scripted, says

STORED = b"HTTP/1.1 200 OK\r\nETag: 1\r\nContent-Length: 0\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\nETag: 1\r\n"
TIMES = Timeouts(connect_s=2, idle_s=1, total_s=4, pace_s=0.5, pace_bytes=1000)
PHOTO = bytes(range(251)) * 4000  # 1 MB.


@pytest_asyncio.fixture(params=["plain", "tls"])
async def against(
    request: pytest.FixtureRequest, scripted: Scripted, tmp_path: Path
) -> AsyncIterator[S3ObjectStore]:
    if request.param == "plain":
        config = await scripted.start()
    else:
        authority, ca = trustme.CA(), tmp_path / "ca.pem"
        authority.cert_pem.write_to_path(str(ca))
        config = await scripted.start(secure=tls.context(authority, tls.HOST))
        config = replace(config, use_ssl=True, ca_file=str(ca))
    store = S3ObjectStore(config, TIMES)
    yield store
    await store.close()
    await scripted.stop()
    await asyncio.sleep(0.02)  # TLS transports close a moment after their writers.


async def nothing(size: int) -> None:
    pass


async def read(store: S3ObjectStore, size: int = 2_000_000) -> bytes:
    target = room(size)
    return bytes(target[: (await store.get_into("photos", "k", target, nothing)).size])


async def write(store: S3ObjectStore, body: bytes = b"x") -> None:
    await store.put_all("photos", [Upload("k", body, "image/jpeg", {})])


def counted(scripted: Scripted, answer: Any) -> list[Any]:
    """Answer so, and note the connection of each request."""
    seen: list[Any] = []

    async def noted(head: bytes, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("peername"))
        await answer(head, writer)

    scripted.answer = noted
    return seen


async def test_an_answer_in_pieces_is_read(scripted: Scripted, against: S3ObjectStore) -> None:
    async def slowly(head: bytes, writer: asyncio.StreamWriter) -> None:
        whole = HEAD + b"Content-Length: 30\r\n\r\n" + b"y" * 30
        for at in range(len(whole)):
            writer.write(whole[at : at + 1])
            await asyncio.sleep(0)

    scripted.answer = slowly
    assert await read(against) == b"y" * 30


async def test_a_photo_is_whole_and_its_connection_is_used_again(
    scripted: Scripted, against: S3ObjectStore
) -> None:
    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        put = head.startswith(b"PUT")
        writer.write(STORED if put else HEAD + b"Content-Length: %d\r\n\r\n" % len(PHOTO) + PHOTO)

    seen = counted(scripted, answer)
    for _ in range(3):
        assert await read(against) == PHOTO
        await write(against, PHOTO)
    assert scripted.bodies == [PHOTO] * 3
    assert len(set(seen)) == 1


@pytest.mark.parametrize(
    "interim", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n"]
)
async def test_an_interim_answer_is_not_the_answer(
    scripted: Scripted, against: S3ObjectStore, interim: bytes
) -> None:
    scripted.answer = says(interim, interim, HEAD + b"Content-Length: 3\r\n\r\nyes")
    assert await read(against) == b"yes"
    scripted.answer = says(interim, STORED)
    await write(against)


async def test_another_protocol_is_no_answer(scripted: Scripted, against: S3ObjectStore) -> None:
    scripted.answer = says(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
    with pytest.raises(StorageUnavailable):
        await read(against)


@pytest.mark.parametrize(
    "body",
    [
        b"4\r\nabcd\r\n2\r\nef\r\n0\r\n\r\n",
        b"4;name=value\r\nabcd\r\n02\r\nef\r\n0\r\nX-Trailer: t\r\n\r\n",
    ],
    ids=["plain", "extension and trailer"],
)
async def test_chunks_are_joined_however_they_come(
    scripted: Scripted, against: S3ObjectStore, body: bytes
) -> None:
    async def slowly(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        for at in range(len(body)):
            await writer.drain()
            await asyncio.sleep(0.001)
            writer.write(body[at : at + 1])

    seen = counted(scripted, slowly)
    for _ in range(2):
        assert await read(against) == b"abcdef"
    assert len(set(seen)) == 1


async def test_a_large_body_in_chunks_is_read_and_bounded(scripted: Scripted, against: S3ObjectStore) -> None:
    pieces = [PHOTO[at : at + 50_000] for at in range(0, len(PHOTO), 50_000)]
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    scripted.answer = says(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", body)
    assert await read(against) == PHOTO
    target = memoryview(bytearray(700_100))
    with pytest.raises(SourceTooLarge, match="more than 700000 bytes"):
        await against.get_into("photos", "k", target[:700_000], nothing)
    assert not any(target[700_000:])


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nETag: 1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nETag: 1\r\nContent-Length: 1x\r\n\r\na",
        b"HTTP/1.1 200 OK\r\nETag: 1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nETag: 1\r\nTransfer-Encoding: gzip\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nETag: 1\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000,
    ],
    ids=["two lengths", "no number", "no chunk", "another coding", "a long header", "a head without an end"],
)
async def test_what_has_no_certain_meaning_is_unavailable(
    scripted: Scripted, against: S3ObjectStore, answer: bytes
) -> None:
    scripted.answer = says(answer)
    with pytest.raises(StorageUnavailable, match="photos/k") as caught:
        await read(against)
    assert len(caught.value.message) < 400
    scripted.answer = says(HEAD + b"Content-Length: 3\r\n\r\nyes")
    assert await read(against) == b"yes"


@pytest.mark.parametrize("end", [b"", b"\r\n"], ids=["without an end", "with an end"])
async def test_a_very_large_head_is_refused(scripted: Scripted, against: S3ObjectStore, end: bytes) -> None:
    scripted.answer = says(HEAD + b"X: y\r\n" * 20_000, end)
    with pytest.raises(StorageUnavailable, match="head of the answer has more than 65536 bytes"):
        await read(against)


async def test_what_follows_an_answer_later_is_not_the_next_answer(
    scripted: Scripted, against: S3ObjectStore
) -> None:
    good = HEAD + b"Content-Length: 3\r\n\r\nyes"

    async def twice(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(good)
        await asyncio.sleep(0.05)
        writer.write(good.replace(b"yes", b"bad"))

    seen = counted(scripted, twice)
    for _ in range(3):
        assert await read(against) == b"yes"
        await asyncio.sleep(0.1)
    assert len(set(seen)) == 3


@pytest.mark.parametrize("size", [3, 400_000], ids=["beside the head", "behind a large body"])
async def test_a_body_that_goes_on_behind_its_length_is_no_photo(
    scripted: Scripted, against: S3ObjectStore, size: int
) -> None:
    length = b"Content-Length: %d\r\n\r\n" % size

    async def more(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + length + b"x" * (size + 200_000))

    scripted.answer = more
    with pytest.raises(StorageUnavailable, match=f"more came than the {size} bytes that were announced"):
        await read(against)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.0 200 OK\r\nETag: 1\r\nContent-Length: 3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nETag: 1\r\nContent-Length: 3\r\nConnection: close\r\n\r\n",
    ],
    ids=["HTTP/1.0", "close"],
)
async def test_a_connection_that_the_server_ends_is_not_used_again(
    scripted: Scripted, against: S3ObjectStore, head: bytes
) -> None:
    seen = counted(scripted, says(head, b"yes"))
    for _ in range(2):
        assert await read(against) == b"yes"
    assert len(set(seen)) == 2


async def test_a_refusal_without_a_length_is_read_to_its_end(
    scripted: Scripted, against: S3ObjectStore
) -> None:
    body = b"<Error><Code>NoSuchKey</Code></Error>"
    scripted.answer = says(b"HTTP/1.0 404 Not Found\r\n\r\n", body, then_close=True)
    with pytest.raises(ObjectNotFound, match="NoSuchKey"):
        await read(against)
    head = b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n"
    scripted.answer = says(head, b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
    with pytest.raises(ObjectNotFound, match="NoSuchKey"):
        await read(against)


@pytest.mark.parametrize("status", [403, 200])
async def test_an_answer_before_the_upload_is_whole_ends_it(
    scripted: Scripted, against: S3ObjectStore, status: int
) -> None:
    body = b"<Error><Code>AccessDenied</Code></Error>"

    async def early(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 %d Early\r\nETag: 1\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body
        )
        await asyncio.sleep(60)  # And reads nothing of the upload.

    scripted.answer, scripted.reads_bodies = early, False
    words = "403 AccessDenied" if status == 403 else "before the whole upload was sent"
    with pytest.raises(StorageUnavailable, match=words):
        await write(against, b"x" * 16_000_000)


async def test_requests_beyond_the_places_wait_for_one(scripted: Scripted, against: S3ObjectStore) -> None:
    against._links.places = asyncio.Semaphore(2)
    under_way = most = 0

    async def busy(head: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.01)
        under_way -= 1
        writer.write(HEAD + b"Content-Length: 3\r\n\r\nyes")

    seen = counted(scripted, busy)
    assert await asyncio.gather(*(read(against, 10) for _ in range(10))) == [b"yes"] * 10
    assert most == 2
    assert len(set(seen)) == 2
    scripted.answer = says()
    waiting = [asyncio.ensure_future(read(against, 10)) for _ in range(3)]
    for end in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(end, StorageUnavailable)
    scripted.answer = says(HEAD + b"Content-Length: 3\r\n\r\nyes")
    assert await read(against) == b"yes"


async def test_a_cancelled_transfer_lets_the_memory_go(scripted: Scripted, against: S3ObjectStore) -> None:
    scripted.answer = says(HEAD + b"Content-Length: %d\r\n\r\n" % len(PHOTO), PHOTO[:500_000])
    memory = bytearray(len(PHOTO))
    with memoryview(memory) as target:
        reading = asyncio.ensure_future(against.get_into("photos", "k", target, nothing))
        while not any(target[400_000:500_000]):  # noqa: ASYNC110  # Nothing tells how far it has come.
            await asyncio.sleep(0.01)
        reading.cancel()
        await asyncio.wait([reading])
        assert reading.cancelled()
    memory.clear()  # BufferError if anything still pointed there.

    async def silent(head: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)  # And reads nothing of the upload.

    scripted.answer, scripted.reads_bodies = silent, False
    body = bytearray(64_000_000)
    with memoryview(body) as view:
        writing = asyncio.ensure_future(write(against, view))  # type: ignore[arg-type]
        await asyncio.sleep(0.2)
        assert not writing.done()
        writing.cancel()
        await asyncio.wait([writing])
        assert writing.cancelled()
    body.clear()


async def test_unused_connections_are_closed_after_their_time(
    scripted: Scripted, against: S3ObjectStore
) -> None:
    against._links.connections._keep_s = 0.1
    scripted.answer = says(STORED)
    await write(against)
    [there] = [each for each in against._links.connections._unused.values() if each]
    sock = there[0].sock
    await asyncio.sleep(0.3)
    assert sock.fileno() == -1
    assert not there
