"""The operator's page in a real Chromium, served by a real service: what a person sees, and what is refused."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio
from PIL import Image

from fastproc.embedded.child import free_ports
from tests import pictures
from tests.conformance.peer import Peer
from tests.integration.service import Place, Service, Start, frozen
from tests.socketio.chromium import chromium

HERE = Path(__file__).parent
PATIENCE_S = 30.0
TOKEN = "0123456789abcdef0123456789abcdef"
HOSTILE = '<img src=x onerror="alert(1)">\u202egpj.exe'


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    """A Chromium with a fresh profile."""
    with chromium(tmp_path_factory.mktemp("browser"), "operator.js") as running:
        yield running


class Page:
    """One tab."""

    def __init__(self, browser: Peer, name: str, port: int) -> None:
        self._browser, self._name, self.url = browser, name, f"http://127.0.0.1:{port}/"

    async def __call__(self, op: str, **command: Any) -> Any:
        return await self._browser(op, name=self._name, **command)

    async def open(self, **how: Any) -> None:
        await self("open", url=self.url, **how)

    async def until(self, at: str, shown: Callable[[str], bool]) -> str:
        """Return the text of a part of the page, as soon as it is as told."""
        deadline = time.monotonic() + PATIENCE_S
        while not shown(found := await self("text", at=at)):
            assert time.monotonic() < deadline, f"{at}: {found!r}; {await self('told')}"
        return str(found)


@pytest.fixture
def port() -> int:
    return free_ports(1)[0]


@pytest_asyncio.fixture
async def page(browser: Peer, port: int, unique: str) -> AsyncIterator[Page]:
    made = Page(browser, unique, port)
    yield made
    await made("done")


@pytest.fixture
def service(place: Place, start: Start, port: int) -> Service:
    place.put("one.jpg", pictures.jpeg(900, 600))
    place.put("text.jpg", b"this is no picture")
    return start(HTTP_PORT=str(port), HTTP_HOST="127.0.0.1", ADMIN_TOKEN=TOKEN)


def pages_open(service: Service, port: int) -> int:
    """Connections that a service holds on its port."""
    found = psutil.Process(service.process.pid).net_connections("tcp")
    return sum(each.laddr.port == port and each.status == psutil.CONN_ESTABLISHED for each in found)


async def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def test_an_operator_sees_what_goes_on_and_runs_failed_jobs_again(
    page: Page, place: Place, service: Service, tmp_path: Path
) -> None:
    bad = [await place.add({"photoId": f"bad-{n}", "s3Key": "text.jpg"}) for n in range(3)]
    good = await place.add({"photoId": "good", "s3Key": "one.jpg"})
    place.until("failed", *bad)
    place.until("completed", good)
    await page.open()
    await page.until("#link", lambda text: text == "● live")
    assert "failed\n3" in await page.until("#states", lambda text: "completed\n1" in text)
    await page.until("#failures", lambda text: "UNSUPPORTED_FORMAT" in text and "3 jobs failed" in text)

    # A worker that works is seen with its photo, live.
    with frozen(service.workers()[0]):
        held = await place.add({"photoId": "held", "s3Key": "one.jpg"})
        await page.until("#workers", lambda text: "busy" in text and "held" in text)
        await page.until("#states", lambda text: "active\n1" in text)
    place.until("completed", held)
    await page.until("#workers", lambda text: "idle" in text and "held" not in text)

    # Without the token nothing is ordered: the page asks for it, and a wrong one is refused.
    await page("click", at="#failures button:has-text('Retry all')")
    await page("fill", at="#token", text="x" * 32)
    await page("click", at="#token-dialog button[type=submit]")
    assert "not the token" in await page.until("#token-wrong", bool)
    assert [place.job(each)["atm"] for each in bad] == ["1"] * 3
    await page("fill", at="#token", text=TOKEN)
    await page("press", key="Enter")
    await page.until("#lock", lambda text: text == "Lock")

    # With it: the number is asked back, the jobs run again, and the log has who did it.
    place.put("text.jpg", pictures.jpeg(400, 300))
    await page("click", at="#failures button:has-text('Retry all')")
    assert "Retry all 3 jobs of UNSUPPORTED_FORMAT?" in await page.until(
        "#h-order", lambda text: "Retry" in text
    )
    await page("click", at="#order-go")
    assert "3 of 3" in await page.until("#order-dialog", lambda text: "Done" in text)
    place.until("completed", *bad)
    assert r'message="page: ordered" by=127.0.0.1 order="{\"type\":\"retry\"' in service.said
    await page("click", at="#order-dialog [data-close]")

    # A job's story, with its pictures from the store itself.
    await page("fill", at="#wanted", text="bad-1")
    await page("press", key="Enter")
    await page.until("#found", lambda text: "Stages" in text and "thumbnails" in text and "thumb_sm" in text)
    loaded = "[...document.querySelectorAll('.pictures img')].map((each) => each.naturalWidth)"
    deadline = time.monotonic() + PATIENCE_S
    while 0 in (widths := await page("look", script=loaded)) or not widths:
        assert time.monotonic() < deadline, (widths, await page("told"))
        await page("look", script="document.querySelector('.pictures').scrollIntoView()")
    asked = await page("asked")
    assert all(TOKEN not in each["url"] and "cookie" not in each["headers"] for each in asked)
    # The one refused token is the console's only word.
    assert [each for each in await page("told") if "401" not in each] == []
    await page("picture", file=str(tmp_path / "page.png"))


async def test_a_phone_has_room_for_texts_of_strangers_and_they_do_nothing(
    page: Page, place: Place, service: Service, tmp_path: Path
) -> None:
    place.redis.hset(
        place.key("evil"),
        mapping={
            "name": HOSTILE, "data": json.dumps({"photoId": HOSTILE, "s3Key": f"{HOSTILE}/a"}), "timestamp": "1",
            "failedReason": "x" * 1_000_000, "finishedOn": "2", "atm": "1", "opts": "{}",
            "stacktrace": json.dumps([HOSTILE, "</pre><script>alert(2)</script>"]),
            "returnvalue": json.dumps({"thumbnails": [{"name": HOSTILE, "s3Key": "k", "width": 1, "height": 1}]}),
        },
    )  # fmt: skip
    place.redis.zadd(place.key("failed"), {"evil": 2})
    light = await sized(page, tmp_path / "light.png", width=1280, height=900)
    dark = await sized(page, tmp_path / "dark.png", width=360, height=800, dark=True, token=TOKEN)
    assert light > 600 > 150 > dark
    await page("fill", at="#wanted", text="evil")
    await page("press", key="Enter")
    shown = await page.until("#found", lambda text: "Attempts" in text)
    assert '<img src=x onerror="alert(1)">\\u202egpj.exe' in shown
    assert "<script>alert(2)</script>" in shown
    assert await page("look", script="document.querySelectorAll('img[src=x], #found script').length") == 0
    assert len(shown) < 20_000
    assert await page("wide") is False
    # The store has no such picture.
    assert [each for each in await page("told") if "Failed to load resource" not in each] == []
    # The keyboard reaches what can be done, and is seen there.
    focus = [await page("press", key="Tab") for _ in range(3)]
    assert len(set(focus)) == 3
    assert await page("look", script="getComputedStyle(document.activeElement).outlineStyle") == "solid"


async def sized(page: Page, file: Path, **how: Any) -> int:
    """Open the page; return the brightness of its commonest colour, 0 to 765."""
    await page.open(**how)
    await page.until("#link", lambda text: text == "● live")
    await page("click", at="#h-settings")
    assert "ADMIN_TOKEN" in await page.until("#settings", lambda text: "REDIS_HOST" in text)
    assert TOKEN not in await page("text", at="#settings")
    assert await page("wide") is False
    await page("look", script="scrollTo(0, 0)")
    await page("picture", file=str(file))
    with Image.open(file) as shot:
        colours = shot.convert("RGB").getcolors(1 << 24) or []
    assert len(colours) > 20
    assert await page("told") == []
    return sum(max(colours)[1])


async def test_a_hidden_tab_asks_for_nothing_and_a_silent_service_is_seen(
    page: Page, service: Service, port: int
) -> None:
    await page.open(width=360, height=800)
    await page.until("#link", lambda text: text == "● live")
    assert pages_open(service, port) == 1
    await page("hide")
    await eventually(lambda: pages_open(service, port) == 0)
    asked = len(await page("asked"))
    assert "as of" in await page("text", at="#link")
    assert await page("look", script="document.getElementById('main').className") == "stale"
    await asyncio.sleep(1.5)
    assert (len(await page("asked")), pages_open(service, port)) == (asked, 0)
    await page("show")
    await page.until("#link", lambda text: text == "● live")

    stopped = psutil.Process(service.process.pid)
    with frozen(stopped):
        text = await page.until("#verdict", lambda text: "No answer since" in text)
        assert "trying again" in text
        assert await page("look", script="document.getElementById('main').className") == "stale"
    await page.until("#link", lambda text: text == "● live")
    await page.until("#verdict-text", lambda text: "No answer" not in text)
    assert await page("look", script="document.getElementById('main').className") == ""
