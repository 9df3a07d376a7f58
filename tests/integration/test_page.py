"""The operator's page over HTTP, of one supervisor and of several: what it shows and orders, and what the log has."""

from __future__ import annotations

import hashlib
import json
import socket
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from fastproc.backends.quarantine_folder import FolderVault
from fastproc.core.evidence import Death, Evidence
from fastproc.embedded.child import free_ports
from fastproc.terminal.exits import Exit
from tests import pictures
from tests.integration.service import Place, Service, Start, eventually

TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def port() -> int:
    return free_ports(1)[0]


def ask(port: int, path: str, act: Any = None, token: str = TOKEN) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    body = None if act is None else json.dumps(act).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def state(port: int) -> dict[str, Any]:
    """The feed's first event."""
    with socket.create_connection(("127.0.0.1", port), 30) as connection, connection.makefile("rb") as feed:
        connection.sendall(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        line = next(line for line in feed if b"data: {" in line)
    found: dict[str, Any] = json.loads(line.partition(b"data: ")[2])
    return found


def beginning(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return bytes(answer.read(2))


def workers(found: dict[str, Any]) -> int:
    return sum(each["concurrency"] for each in found["hosts"])


async def kept(folder: Path) -> str:
    """A photo in quarantine, which is sound by now."""
    photo = pictures.jpeg(400, 300)
    sha256 = hashlib.sha256(photo).hexdigest()
    evidence = Evidence(
        id=sha256[:16], sha256=sha256, size=len(photo), at="2026-01-01T00:00:00Z", job_id="7", photo_id="poison",
        bucket="b", s3_key="k", attempt=2, deaths=2, code="POISON_PHOTO", reason="it died",
        death=Death(stage="thumbnails", how="SIGSEGV"),
    )  # fmt: skip
    vault = FolderVault(folder, 1 << 30, 1e9)
    await vault.prepare()
    await vault.keep(evidence, photo)
    return evidence.id


async def test_one_supervisor_shows_and_obeys(place: Place, start: Start, port: int, tmp_path: Path) -> None:
    place.put("one.jpg", pictures.jpeg(600, 400))
    place.put("text.jpg", b"this is no picture")
    photo = await kept(tmp_path / "quarantine")
    token = tmp_path / "token"
    token.write_text(TOKEN + "\n")
    service = start(
        HTTP_PORT=str(port), HTTP_HOST="127.0.0.1", ADMIN_TOKEN_FILE=str(token), QUARANTINE=str(tmp_path / "quarantine")
    )  # fmt: skip
    bad = await place.add({"photoId": "bad", "s3Key": "text.jpg"})
    good = await place.add({"photoId": "good", "s3Key": "one.jpg"})
    place.until("failed", bad)
    place.until("completed", good)
    now = eventually(lambda: (each := state(port))["failures"] and each, "the failure is shown")
    assert (now["queue"]["counts"]["failed"], now["queue"]["counts"]["completed"]) == (1, 1)
    assert (now["failures"][0]["code"], now["failures"][0]["photo"]) == ("UNSUPPORTED_FORMAT", "bad")
    assert now["verdict"]["level"] in ("good", "warn", "bad")
    [host] = now["hosts"]
    assert (host["state"], len(host["workers"]), host["completed"]) == ("serving", 1, 1)
    assert {each["name"] for each in host["neighbours"]} >= {"redis", "storage", "database", "kernel"}
    sources = {row["env"]: (row["value"], row["source"]) for row in now["settings"]}
    assert sources["ADMIN_TOKEN"] == ("********", "file")
    assert sources["QUEUE_NAME"] == (place.queue, "environment")
    assert sources["MAX_SCANS"][1] == "default"
    assert [each["id"] for each in now["quarantine"]["kept"]] == [photo]
    assert TOKEN not in json.dumps(now)
    assert place.s3.secret_key not in json.dumps(now["settings"])

    _, found = ask(port, f"/api/find?q={good}")
    assert [each["name"] for each in found["job"]["renditions"]] == ["thumb_sm", "thumb_md", "thumb_lg"]
    _, links = ask(port, f"/api/links?key={found['job']['renditions'][0]['key']}")
    assert beginning(links["links"][0]) == b"\xff\xd8"
    assert ask(port, "/api/links?bucket=other&key=x")[0] == 503
    status, outcome = ask(port, "/api/act", {"type": "replay", "id": photo})
    assert (status, outcome["ok"], outcome["text"].startswith("processed in")) == (200, True, True)
    assert ask(port, "/api/act", {"type": "replay", "id": "../../etc/pass"})[0] == 503
    assert ask(port, "/api/act", {"type": "pause"}, token="x" * 32)[0] == 401
    assert ask(port, "/api/act", {"type": "pause"})[1]["ok"]
    assert eventually(lambda: (each := state(port))["queue"]["paused"] and each, "it is paused")
    assert ask(port, "/api/act", {"type": "resume"})[1]["ok"]
    assert r'message="page: ordered" by=127.0.0.1 order="{\"type\":\"replay\"' in service.said
    assert 'message="page: a wrong token" by=127.0.0.1' in service.said
    assert TOKEN not in service.said
    assert "Signature" not in service.said
    assert service.terminate() == Exit.OK


async def test_several_supervisors_are_one_service_on_the_page(place: Place, start: Start, port: int) -> None:
    place.put("text.jpg", b"this is no picture")
    service: Service = start(
        ready=False, SUPERVISORS="2", WORKER_CONCURRENCY="2", HTTP_PORT=str(port), HTTP_HOST="127.0.0.1",
        ADMIN_TOKEN=TOKEN,
    )  # fmt: skip
    eventually(lambda: service.said.count(" serves ") == 2, service.said)
    ids = [await place.add({"photoId": f"bad-{n}", "s3Key": "text.jpg"}) for n in range(4)]
    place.until("failed", *ids)
    now = eventually(lambda: len((each := state(port))["hosts"]) == 2 and each, "both are shown")
    assert [(each["number"], each["of"], each["state"]) for each in now["hosts"]] == [
        (1, 2, "serving"), (2, 2, "serving"),
    ]  # fmt: skip
    sources = {row["env"]: row["value"] for row in now["settings"]}
    assert (sources["WORKER_CONCURRENCY"], sources["HTTP_PORT"]) == ("2", str(port))
    assert ask(port, "/api/jobs?state=failed&code=UNSUPPORTED_FORMAT")[1]["count"] == 4
    assert ask(port, f"/api/find?q={ids[0]}")[1]["job"]["photo"] == "bad-0"
    status, outcome = ask(port, "/api/act", {"type": "set", "name": "concurrency", "value": "4"})
    assert (status, outcome["ok"]) == (200, True), outcome
    now = eventually(lambda: workers(found := state(port)) == 4 and found, "both have more")
    assert {each["changed"]["concurrency"] for each in now["hosts"]} == {"4 (was 2)"}
    status, outcome = ask(port, "/api/act", {"type": "retry", "code": "UNSUPPORTED_FORMAT"})
    assert (status, outcome["count"]) == (200, 4), outcome
    eventually(lambda: {place.job(each)["atm"] for each in ids} == {"2"}, "all ran again")
    assert service.said.count('message="page: ordered"') == 2
    assert service.terminate() == Exit.OK
