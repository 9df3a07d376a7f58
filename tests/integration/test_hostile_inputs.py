"""What is not pixels, through the whole service: names that producers send, and answers of a store that lies."""

from __future__ import annotations

import contextlib
import json
import socketserver
import threading
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from msgspec import structs

from fastproc.config.s3 import S3Config
from fastproc.embedded.valkey import Valkey
from fastproc.terminal.exits import Exit
from tests import pictures
from tests.integration.service import Place, Service

PHOTO = pictures.jpeg()
BUCKET = "photos"
NO_SUCH_KEY = b"<Error><Code>NoSuchKey</Code><Message>there is none</Message></Error>"


def answer(
    body: bytes = PHOTO, status: str = "200 OK", length: int | str | None = None, **headers: str
) -> bytes:
    """One HTTP answer; underscores in names of headers become hyphens."""
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Length: {len(body) if length is None else length}",
        'ETag: "1"',
        "Connection: close",
    ]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


ENDLESS = b'HTTP/1.1 200 OK\r\nETag: "1"\r\nTransfer-Encoding: chunked\r\n\r\n'
CHUNK = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
#: The object's name -> what the store answers, the job's code, its attempts of two.
ANSWERS: dict[str, tuple[bytes, str, int]] = {
    "redirect": (answer(b"", "302 Found", Location="http://127.0.0.1:{port}/else"), "STORAGE_UNAVAILABLE", 2),
    "redirect-307": (answer(b"", "307 Temporary Redirect", Location="/elsewhere/secret"), "STORAGE_UNAVAILABLE", 2),
    "refresh": (answer(b"", "503 Slow Down", Refresh="0; /elsewhere/secret"), "STORAGE_UNAVAILABLE", 2),
    "cut-short": (answer(PHOTO[:500], length=len(PHOTO)), "STORAGE_UNAVAILABLE", 2),
    "longer-than-said": (answer(PHOTO + b"x" * 5000, length=len(PHOTO)), "STORAGE_UNAVAILABLE", 2),
    "endless": (ENDLESS, "SOURCE_TOO_LARGE", 1),
    "said-to-be-giant": (answer(b"x", length=1 << 50), "SOURCE_TOO_LARGE", 1),
    "negative-length": (answer(length=-1), "STORAGE_UNAVAILABLE", 2),
    "no-number": (answer(length="many"), "STORAGE_UNAVAILABLE", 2),
    "two-lengths": (answer(length=f"{len(PHOTO)}\r\nContent-Length: 7"), "STORAGE_UNAVAILABLE", 2),
    "no-http": (b"\x16\x03\x01" + bytes(400), "STORAGE_UNAVAILABLE", 2),
    "nothing": (b"", "STORAGE_UNAVAILABLE", 2),
    "endless-head": (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000, "STORAGE_UNAVAILABLE", 2),
    "giant-header": (answer(X_Long="x" * 100_000), "STORAGE_UNAVAILABLE", 2),
    "part": (answer(status="206 Partial Content", Content_Range="bytes 0-9/999"), "STORAGE_UNAVAILABLE", 2),
    "no-content": (b"HTTP/1.1 204 No Content\r\n\r\n", "STORAGE_UNAVAILABLE", 2),
    "encoded": (answer(Content_Encoding="gzip"), "UNSUPPORTED_FORMAT", 1),
    "empty": (answer(b""), "FILE_CORRUPTED", 1),
    "a-page": (answer(b"<html>Please log in</html>", Content_Type="image/jpeg"), "UNSUPPORTED_FORMAT", 1),
    "type-of-another": (answer(Content_Type="image/png"), "MIME_MISMATCH", 1),
    "type-svg": (answer(Content_Type="image/svg+xml"), "MIME_MISMATCH", 1),
    "type-html": (answer(Content_Type="text/html"), "", 1),
    "type-nonsense": (answer(Content_Type=";;;/\x80\xff ,;"), "", 1),
    "type-long": (answer(Content_Type="image/" + "x" * 4000), "MIME_MISMATCH", 1),
    "not-found-page": (answer(b"\x1b[2J<Error>" * 50, "404 Not Found"), "STORAGE_UNAVAILABLE", 2),
    "no-etag": (answer().replace(b'ETag: "1"\r\n', b""), "STORAGE_UNAVAILABLE", 2),
    "not-found": (answer(NO_SUCH_KEY, "404 Not Found"), "OBJECT_NOT_FOUND", 1),
    "forbidden": (answer(b"<Error><Code>\n\x1b[2J</Code></Error>", "403 Forbidden"), "STORAGE_UNAVAILABLE", 2),
    "fine": (answer(), "", 1),
}  # fmt: skip


class Liar(socketserver.ThreadingTCPServer):
    """An S3 server that answers each object as ANSWERS says, takes every upload, and remembers what it was asked."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 50

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.asked: list[tuple[str, str]] = []

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Conversation(socketserver.StreamRequestHandler):
    server: Liar

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            head = [self.rfile.readline()]
            while head[-1].strip():
                head.append(self.rfile.readline())
            if not head[0]:
                return
            method, target, _ = head[0].decode("latin-1").split(" ")
            path = target.partition("?")[0]
            self.server.asked.append((method, path))
            sizes = [int(line.split(b":")[1]) for line in head if line.lower().startswith(b"content-length:")]
            self.rfile.read(sum(sizes))
            self._reply(method, path)

    def _reply(self, method: str, path: str) -> None:
        if method == "PUT":
            self.wfile.write(answer(b""))
            return
        name = path.rpartition("/")[2]
        found = ANSWERS[name][0] if name in ANSWERS else answer(NO_SUCH_KEY, "404 Not Found")
        self.wfile.write(found.replace(b"{port}", str(self.server.port).encode()))
        while found is ENDLESS:
            self.wfile.write(CHUNK)


@pytest.fixture
def liar() -> Iterator[Liar]:
    with Liar() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def place(valkey: Valkey, liar: Liar, sqlite_path: str, unique: str) -> Iterator[Place]:
    s3 = S3Config(endpoint="127.0.0.1", port=liar.port, bucket=BUCKET)
    made = Place(valkey, structs.replace(s3), None, sqlite_path, unique)
    yield made
    made.close()


@pytest.fixture
def start(place: Place, tmp_path: Path) -> Iterator[Callable[[], Service]]:
    services: list[Service] = []

    def go() -> Service:
        services.append(Service(place, tmp_path, {"MAX_SOURCE_BYTES": "3000000"}))
        services[-1].wait_ready()
        return services[-1]

    yield go
    for service in services:
        service.close()


def code_of(job: dict[str, str]) -> str:
    return "" if "returnvalue" in job else job["failedReason"].partition(":")[0]


async def test_a_store_that_lies_fails_its_own_photos_with_the_right_code_and_no_other(
    place: Place, liar: Liar, start: Callable[[], Service]
) -> None:
    service = start()
    pid = service.process.pid
    ids = {name: await place.add({"photoId": name, "s3Key": f"in/{name}"}, attempts=2) for name in ANSWERS}
    wrong = [name for name, (_, code, _) in ANSWERS.items() if code]
    place.until("failed", *(ids[name] for name in wrong))
    place.until("completed", *(ids[name] for name in ANSWERS if name not in wrong))
    found = {name: (code_of(job := place.job(job_id)), int(job["atm"])) for name, job_id in ids.items()}
    assert found == {name: (code, attempts) for name, (_, code, attempts) in ANSWERS.items()}
    for name in wrong:
        reason = place.job(ids[name])["failedReason"]
        assert reason.isprintable(), name
        assert len(reason) < 500, name
        assert "JFIF" not in reason, "a part of the photo is told to everybody"
    # Nothing but the photos was read, and nothing but renditions of the good ones written.
    assert {path for method, path in liar.asked if method == "GET"} == {
        f"/{BUCKET}/in/{name}" for name in ANSWERS
    } | {f"/{BUCKET}/fastproc/check/no-such-object"}
    written = {path.split("/")[3] for method, path in liar.asked if method == "PUT"}
    assert written == set(ANSWERS) - set(wrong)
    assert place.ids("active") == place.ids("wait") == place.locks() == []
    assert service.process.pid == pid
    assert service.terminate() == Exit.OK
    assert "Traceback" not in service.said
    assert "\x1b" not in service.said


GOOD = {"photoId": "p", "s3Key": "in/fine"}
#: Names with which a job ends before anything is asked for; code, and what is written over GOOD.
REFUSED: list[tuple[str, dict[str, Any]]] = [
    *(("INVALID_JOB", {"photoId": bad}) for bad in (
        "../../etc/passwd", "/abs", "a\0b", "\r\nSET x 1", "%2e%2e", "..%2f", "x" * 10_240, "\U0001f600", "..",
        ".", "", "a b", "é", unicodedata.normalize("NFD", "é"), "\u202e", 7, None, ["p"], {"p": 1},
    )),
    *(("INVALID_JOB", {"s3Key": bad}) for bad in (
        "../fine", "in/../../x", "in/..\\x", "in/\0", "in/\r\nHost: x", "\x1b[2J", "", "k" * 10_240, 7, None,
    )),
    *(("BUCKET_NOT_ALLOWED", {"bucket": bad}) for bad in (
        "other", "http://169.254.169.254", "a@b", "photos/..", "../photos", "", "b" * 10_240, "\r\n", "phot\u043es",
    )),
]  # fmt: skip
#: Odd, and nobody's business: the store is asked for exactly this.
ODD_KEYS = [
    "-rf", "con", "a b", "%2e%2e/x", "\U0001f600", "\u202egpj", "é", "e\u0301", "a//b", "a?b#c", "http://x/y",
    "k" * 1024,
]  # fmt: skip


async def test_hostile_names_end_before_any_request_and_odd_ones_are_asked_for_as_written(
    place: Place, liar: Liar, start: Callable[[], Service]
) -> None:
    service = start()
    asked = len(liar.asked)
    refused = [(await place.add(GOOD | bad, attempts=3), code) for code, bad in REFUSED]
    place.until("failed", *(job_id for job_id, _ in refused))
    for job_id, code in refused:
        job = place.job(job_id)
        assert (code_of(job), job["atm"]) == (code, "1"), job
        assert job["failedReason"].isprintable()
        assert len(job["failedReason"]) < 1000
    assert liar.asked[asked:] == []
    odd = [await place.add(GOOD | {"s3Key": key}, attempts=3) for key in ODD_KEYS]
    place.until("failed", *odd)
    assert {code_of(place.job(job_id)) for job_id in odd} == {"OBJECT_NOT_FOUND"}
    assert sorted(unquote(path) for _, path in liar.asked[asked:]) == sorted(
        f"/{BUCKET}/{key}" for key in ODD_KEYS
    )
    good = await place.add(GOOD)
    place.until("completed", good)
    assert json.loads(place.job(good)["returnvalue"])["photoId"] == "p"
    assert place.ids("active") == place.locks() == []
    assert service.terminate() == Exit.OK
    assert all(line.isprintable() for line in service.said.splitlines())
