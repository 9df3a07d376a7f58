"""What the page's addresses answer, over a real socket: who may look, who may act, and what the log says of it."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp
import pytest

from fastproc.core.acts import Act, Cancel, Outcome, RetryJobs
from fastproc.core.errors import FastprocError
from fastproc.core.job_view import Found, JobDetail, JobRow, RenditionAt
from fastproc.core.scene import Verdict
from fastproc.core.snapshot import NeighbourNow, QueueNow, Snapshot
from fastproc.core.view import MAX_TEXT_CHARS, FailedCode, KeptPhoto, QuarantineNow, SettingNow, View
from fastproc.core.visitors import ATTEMPTS
from fastproc.desk import rights
from fastproc.desk.page import hashes, source
from fastproc.desk.port import Rules
from fastproc.desk.routes import LOOKS, MAX_WANTED_CHARS, SECRET, Counter, sections
from fastproc.embedded.child import free_ports
from fastproc.supervisor.listening import MAX_BODY_BYTES, Listening

TOKEN = "0123456789abcdef0123456789abcdef"
OWN = {"Authorization": f"Bearer {TOKEN}"}
LONG = "y" * 1_000_000


class OneDesk:
    """A service that holds one job."""

    def __init__(self) -> None:
        self.acts: list[tuple[Act, str]] = []
        self.hold = asyncio.Event()
        self.hold.set()
        self.asked = asyncio.Semaphore(0)
        self.problem = ""

    async def view(self) -> View:
        host = Snapshot(
            host="h", pid=1, version="1", at_ms=1, started_at_ms=1, state="serving", decoders={"a": "1"}
        )
        queue = QueueNow(name="q", counts={"failed": 2})
        return View(host="h", at_ms=1, verdict=Verdict("good", "well", ""), queue=queue, hosts=(host,))

    async def find(self, text: str) -> Found:
        self.asked.release()
        await self.hold.wait()
        if self.problem:
            raise FastprocError(self.problem)
        job = JobDetail(
            id=text, state="failed", photo="p", key="secret/key", bucket="b", client_id="c", session_id="s",
            reason=LONG, log=("row",), renditions=(RenditionAt(name="n", key="k"),), return_value={"metadata": 1},
        )  # fmt: skip
        return Found(job=job)

    async def jobs(self, state: str, code: str, limit: int) -> Sequence[JobRow]:
        return [JobRow(id=str(number), state=state, code=code, key="secret/key") for number in range(limit)]

    async def count(self, code: str) -> int:
        return 512

    async def act(self, act: Act, by: str) -> Outcome:
        if self.problem:
            raise FastprocError(self.problem)
        self.acts.append((act, by))
        return Outcome(ok=True, count=512, text="512 jobs wait again")

    async def links(self, bucket: str, key: str) -> Sequence[str]:
        return [f"http://store/{bucket}/{key}?X-Amz-Signature=1"]


class Site:
    """A running server."""

    def __init__(self, token: str) -> None:
        [self.port] = free_ports(1)
        self.desk = OneDesk()
        setting = SettingNow(
            env="ADMIN_TOKEN", value="********", source="environment", default="", meaning=""
        )
        rules = Rules(token=token, names=("photos.example",), pictures=("http://store",), settings=(setting,))
        self.counter, self.rules = Counter(self.desk, rules), rules
        self.server = Listening("127.0.0.1", self.port, {}, self.counter.routes())

    async def ask(
        self, path: str, method: str = "GET", body: str | None = None, **headers: str
    ) -> tuple[int, dict[str, str], Any]:
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        url = f"http://127.0.0.1:{self.port}{path}"
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, data=body, headers=headers) as answer,
        ):
            text = await answer.text()
            found = json.loads(text) if answer.content_type == "application/json" else text
            return answer.status, {name.lower(): value for name, value in answer.headers.items()}, found

    async def act(
        self, body: str = '{"type":"retry","code":"FILE_CORRUPTED"}', **headers: str
    ) -> tuple[int, Any]:
        status, _, found = await self.ask("/api/act", "POST", body, **headers)
        return status, found


@pytest.fixture
async def site(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setattr(rights, "WRONG_S", 0.0)
    made = Site(getattr(request, "param", TOKEN))
    await made.server.start()
    yield made
    await made.server.close()


async def test_the_page_may_run_what_is_in_it_and_nothing_else(site: Site) -> None:
    status, headers, page = await site.ask("/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = dict(rule.split(" ", 1) for rule in headers["content-security-policy"].split("; "))
    assert (
        policy["default-src"]
        == policy["base-uri"]
        == policy["form-action"]
        == policy["frame-ancestors"]
        == "'none'"
    )
    assert policy["script-src"] == " ".join(hashes(source(), b"script"))
    assert policy["img-src"] == "data: http://store"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert (headers["cache-control"], headers["referrer-policy"]) == ("no-store", "no-referrer")
    assert TOKEN not in page


def test_the_page_needs_nothing_from_elsewhere() -> None:
    page = source().decode()
    assert re.findall(r"(?:src|href)=\"(?!data:,)[^\"]*\"|url\(|@import|https?://", page) == []
    assert (
        re.findall(r"\son\w+=|style=|innerHTML|insertAdjacent|document\.write|eval\(|javascript:", page) == []
    )
    assert len(hashes(source(), b"script")) == len(hashes(source(), b"style")) == 1


async def test_the_feed_begins_with_everything_and_shows_no_secret(site: Site) -> None:
    url = f"http://127.0.0.1:{site.port}/live"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/event-stream")
        assert await answer.content.readuntil(b"\n\n") == b"retry: 2000\n\n"
        event = await answer.content.readuntil(b"\n\n")
    assert event.startswith(b"event: state\ndata: ")
    sections = json.loads(event.partition(b"data: ")[2])
    assert sections["about"] == {"host": "h", "acts": True}
    assert sections["decoders"] == [{"host": "h", "decoders": {"a": "1"}, "holes": []}]
    assert (sections["verdict"]["text"], sections["queue"]["counts"]) == ("well", {"failed": 2})
    assert "ticks" not in sections["hosts"][0]
    assert TOKEN.encode() not in event


async def test_an_order_with_the_token_is_obeyed_and_is_in_the_log(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    status, outcome = await site.act(**OWN)
    assert (status, outcome["ok"], outcome["text"]) == (200, True, "512 jobs wait again")
    assert site.desk.acts == [(RetryJobs(code="FILE_CORRUPTED"), "the page, 127.0.0.1")]
    ordered, done = (vars(record)["fields"] | {"said": record.getMessage()} for record in caplog.records)
    assert (ordered["said"], ordered["by"]) == ("page: ordered", "127.0.0.1")
    assert ordered["order"].startswith('{"type":"retry"')
    assert (done["said"], done["by"]) == ("page: done: 512 jobs wait again", "127.0.0.1")
    assert TOKEN not in repr((ordered, done))
    await site.act('{"type":"cancel","job":"7\\n8"}', X_Forwarded_For="1.2.3.4\x85evil", **OWN)
    assert site.desk.acts[-1][0] == Cancel(job="7\n8")
    assert all("\n" not in record.getMessage() for record in caplog.records)
    assert "it says: for '1.2.3.4" in vars(caplog.records[-1])["fields"]["by"]
    site.desk.problem = "Redis is away"
    assert await site.act(**OWN) == (503, {"why": "Redis is away"})
    assert "not done: Redis is away" in caplog.text


@pytest.mark.parametrize("site", [TOKEN, ""], indirect=True)
async def test_without_the_token_nothing_can_be_ordered_and_no_picture_seen(site: Site) -> None:
    expected = 401 if site.rules.token else 403
    for headers in ({}, {"Authorization": ""}, {"Cookie": f"token={TOKEN}"}, {"X_Admin_Token": TOKEN}):
        assert (await site.act(**headers))[0] == expected
    assert (await site.act(Authorization="Bearer "))[0] == expected
    assert (await site.ask(f"/api/links?key=k&token={TOKEN}"))[0] == expected
    assert (await site.ask("/api/token"))[0] == expected
    assert (await site.ask("/"))[0] == 200
    assert site.desk.acts == []


async def test_who_guesses_tokens_is_not_heard_for_a_while(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = {"Authorization": f"Bearer {TOKEN[:-1]}x"}
    for _ in range(ATTEMPTS):
        assert (await site.act(**wrong))[0] == 401
    assert (await site.act(**OWN))[0] == 429
    assert (await site.ask("/api/find?q=1", **OWN))[0] == 429
    assert site.desk.acts == []
    assert [vars(each)["fields"]["by"] for each in caplog.records if "wrong token" in each.getMessage()] == [
        "127.0.0.1"
    ] * ATTEMPTS
    # Who only looks is not held up.
    assert (await site.ask("/api/find?q=1"))[0] == 200


async def test_what_a_job_holds_needs_the_token_and_no_text_is_long(site: Site) -> None:
    status, _, found = await site.ask("/api/find?q=12")
    assert (status, found["job"]["id"], found["job"]["locked"]) == (200, "12", True)
    assert set(SECRET) & set(found["job"]) == set()
    assert len(found["job"]["reason"]) < 5000
    _, _, found = await site.ask("/api/find?q=12", **OWN)
    assert (found["job"]["key"], found["job"]["locked"], found["job"]["return_value"]) == (
        "secret/key", False, {"metadata": 1},
    )  # fmt: skip
    assert (await site.ask("/api/find?q=12", Authorization="Bearer wrong"))[0] == 401
    _, _, found = await site.ask("/api/jobs?state=failed&code=FILE_CORRUPTED")
    assert (len(found["rows"]), found["count"]) == (20, 512)
    assert set(found["rows"][0]) == {"id", "photo", "ended_at_ms", "code", "reason"}


async def test_addresses_of_pictures_are_for_the_operator(site: Site) -> None:
    assert (await site.ask("/api/links?bucket=b&key=k", **OWN))[2] == {
        "links": ["http://store/b/k?X-Amz-Signature=1"]
    }


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Origin": "http://evil.example"},
        {"Content_Type": "text/plain"},
    ],
    ids=str,
)
async def test_forged_requests_are_refused_even_with_the_token(site: Site, headers: dict[str, str]) -> None:
    assert (await site.act(**OWN, **headers))[0] in (403, 415, 421)
    assert site.desk.acts == []
    if "Content_Type" not in headers:
        for path in ("/live", "/api/find?q=1", "/api/jobs", "/api/links", "/api/token"):
            assert (await site.ask(path, **OWN, **headers))[0] in (403, 421), path


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[]",
        '{"type":"drop"}',
        '{"type":"retry","ids":"1"}',
        '{"type":"cancel"}',
        "[" * 5000,
        '"\\ud800"',
    ],
    ids=lambda body: body[:12] or "nothing",
)
async def test_what_is_no_order_is_refused_in_words(site: Site, body: str) -> None:
    status, found = await site.act(body, **OWN)
    assert (status, found["why"].startswith("not an order")) == (400, True)
    assert site.desk.acts == []


async def test_a_body_has_a_bound_and_no_method_is_mistaken(site: Site) -> None:
    assert (await site.act('{"type":"retry","code":"' + "x" * MAX_BODY_BYTES + '"}', **OWN))[0] == 413
    assert (await site.ask("/api/act", "GET", **OWN))[0] == 405
    assert (await site.ask("/live", "POST", "{}", **OWN))[0] == 405
    status, headers, _ = await site.ask("/api/nothing")
    assert (status, headers["x-content-type-options"]) == (404, "nosniff")


async def test_look_ups_are_few_at_a_time_and_short(site: Site) -> None:
    site.desk.hold.clear()
    held = [asyncio.create_task(site.ask("/api/find?q=1")) for _ in range(LOOKS)]
    async with asyncio.timeout(5):
        for _ in held:
            await site.desk.asked.acquire()
    assert (await site.ask("/api/find?q=1"))[0] == 429
    site.desk.hold.set()
    assert [answer[0] for answer in await asyncio.gather(*held)] == [200] * LOOKS
    assert (await site.ask(f"/api/find?q={'x' * (MAX_WANTED_CHARS + 1)}"))[0] == 400
    assert (await site.ask("/api/find?q="))[0] == 400
    site.desk.problem = "Redis is away"
    assert await site.ask("/api/find?q=1") == (
        503,
        (await site.ask("/api/find?q=1"))[1],
        {"why": "Redis is away"},
    )


async def test_pages_that_are_open_end_with_the_server(site: Site) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{site.port}/live") as answer,
    ):
        await answer.content.readuntil(b"\n\n")
        async with asyncio.timeout(5):
            await site.server.close()
            with pytest.raises(aiohttp.ClientError):
                await answer.content.read()


def test_no_text_of_the_page_is_longer_than_a_reader_wants() -> None:
    """A server's message stands in the verdict too, and whoever writes to Redis may name a host."""
    host = Snapshot(
        host=LONG, pid=1, version=LONG, at_ms=1, started_at_ms=1, state=LONG, decoders={LONG: LONG}, holes=(LONG,),
        neighbours=(NeighbourNow(name=LONG, away=LONG),), problems=(LONG,),
    )  # fmt: skip
    line = Verdict("bad", LONG, LONG)
    kept = KeptPhoto(
        id=LONG, at=LONG, photo=LONG, job=LONG, code=LONG, stage=LONG, how=LONG, size=1, replayable=False
    )
    view = View(
        host="h", at_ms=1, verdict=line, more=(line,), problems=(LONG,), hosts=(host,),
        failures=(FailedCode(code=LONG, jobs=1, attempts=1, first_at_ms=1, last_at_ms=1, reason=LONG),),
        quarantine=QuarantineNow(kept=(kept,), problem=LONG),
    )  # fmt: skip
    for name, data in sections(view, Rules()).items():
        runs = re.findall(rb"y+", data)
        assert max(map(len, runs), default=0) <= MAX_TEXT_CHARS, name
