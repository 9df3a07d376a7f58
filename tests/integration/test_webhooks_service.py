"""The whole service posts signed webhooks: verified from outside, kept over a kill, and never a job's hindrance."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from fastproc.config.s3 import S3Config
from fastproc.config.webhook import endpoint_id
from fastproc.embedded.child import free_ports
from fastproc.embedded.valkey import Valkey
from fastproc.terminal.exits import Exit
from tests import pictures, receiver, tls
from tests.integration.service import Place, Start, eventually
from tests.receiver import SECRET, Receiver, receiving


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def place(
    valkey: Valkey, s3: S3Config, s3_client: Any, sqlite_path: str, unique: str, hook: Receiver
) -> Iterator[Place]:
    made = Place(valkey, s3, s3_client, sqlite_path, unique)
    made.environment |= {
        "WEBHOOK_URL": hook.url,
        "WEBHOOK_SECRET": SECRET,
        "WEBHOOK_ALLOW_PRIVATE": "true",
        "WEBHOOK_TIMEOUT_S": "0.5",
    }
    made.put("one.jpg", pictures.jpeg(640, 480))
    made.put("bad.jpg", pictures.jpeg()[:200])
    yield made
    made.close()


async def test_what_comes_by_webhook_is_what_comes_by_pub_sub(
    place: Place, start: Start, tmp_path: Path
) -> None:
    """Over TLS, by an authority that the system is told of."""
    authority = trustme.CA()
    context = tls.context(authority, "127.0.0.1")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    port = free_ports(1)[0]
    place.listen()
    with receiving(context) as hook:
        service = start(WEBHOOK_URL=hook.url, SSL_CERT_FILE=str(tmp_path / "ca.pem"), HTTP_PORT=str(port))
        await both_ends_arrive(place, hook)
        _, metrics = service.get(port, "/metrics")
        assert service.terminate() == Exit.OK
    assert 'fastproc_webhook_deliveries_total{outcome="delivered"} 2.0' in metrics
    assert re.search(r'fastproc_webhooks_waiting\{endpoint="https://127[^"]+"\} 0\.0', metrics)
    assert SECRET[6:] not in service.said
    assert "/hook" not in service.said


async def both_ends_arrive(place: Place, hook: Receiver) -> None:
    good = await place.add({"photoId": "good", "s3Key": "one.jpg", "clientId": "c-1"})
    bad = await place.add({"photoId": "bad", "s3Key": "bad.jpg"})
    place.until("completed", good)
    place.until("failed", bad)
    eventually(lambda: len(hook.got) == 2, "both have come")
    told: dict[str, Any] = {}
    while message := place.events.get_message(timeout=0.2):
        event = json.loads(message["data"])
        told[event["id"]] = event
    for event in hook.got:
        assert event == told[event["id"]]
    assert {event["type"].rpartition(".")[2] for event in hook.got} == {"completed", "failed"}
    assert hook.refused == 0
    head = hook.heads[0]
    assert re.fullmatch(r"evt_[0-9a-f]{32}", head["webhook-id"])
    assert head["Content-Type"] == "application/json"
    assert head["User-Agent"].startswith("fastproc/")


async def test_a_receiver_that_hangs_holds_no_job_and_a_kill_loses_no_webhook(
    place: Place, start: Start, hook: Receiver
) -> None:
    hook.behave = receiver.hang
    first = start(WEBHOOK_EVENTS="started,progress,completed,failed")
    jobs = [await place.add({"photoId": f"p{n}", "s3Key": "one.jpg"}) for n in range(12)]
    place.until("completed", *jobs)
    first.close()  # SIGKILL
    assert hook.got == []
    assert 1 <= hook.most_underway <= 8
    hook.behave = receiver.take
    second = start()
    eventually(lambda: {f"{job}:completed" for job in jobs} <= set(hook.ids()), "all came")
    kept = place.key(f"webhooks:{endpoint_id(hook.url)}:age")
    eventually(lambda: place.redis.zcard(kept) == 0, "nothing is kept")
    ids = [(head["webhook-id"], event["id"]) for head, event in zip(hook.heads, hook.bodies, strict=True)]
    assert len(set(ids)) == len({id for id, _ in ids}) == len({event for _, event in ids})
    assert hook.refused == 0

    hook.behave = receiver.hang
    place.until("completed", await place.add({"photoId": "last", "s3Key": "one.jpg"}))
    assert second.terminate() == Exit.OK
    assert place.redis.zcard(kept) == 1
    # All parts together have a second to close: on a busy machine it may be over before the line is written.
    assert any(
        line in second.said for line in ("1 wait in Redis for the next service", "did not close in time")
    )
