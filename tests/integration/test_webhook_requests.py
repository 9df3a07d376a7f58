"""Requests that carry webhooks: no way into our own network, verified TLS, true signatures, no secret in a message."""

from __future__ import annotations

import base64
import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
from standardwebhooks import Webhook as Verifier

from fastproc.backends.webhook.gate import Gate
from fastproc.backends.webhook.http import Answer, Poster
from fastproc.backends.webhook.signing import headers
from fastproc.config.webhook import key
from tests import receiver, tls
from tests.receiver import OLD_SECRET, SECRET, Receiver, receiving

DOCS = Path(__file__).parents[2] / "docs/contract.md"


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def example(language: str) -> str:
    """The code of that language in the documented section."""
    _, _, section = DOCS.read_text().partition("\n## Webhooks\n")
    [found] = re.findall(rf"```{language}\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    return str(found)


def signed(secret: str, age_s: int = 0) -> tuple[dict[str, str], bytes]:
    body = '{"id":"7:completed","data":{"photoId":"p é"}}'.encode()
    return headers([key(OLD_SECRET), key(secret)], "evt_1", int(time.time()) - age_s, body), body


def by_python(head: dict[str, str], body: bytes) -> str:
    names: dict[str, Any] = {}
    exec(example("python"), names)
    try:
        return str(names["verify"](head, body, SECRET)["id"])
    except names["Webhook"].verify.__globals__["WebhookVerificationError"]:
        return "refused"


def by_node(head: dict[str, str], body: bytes) -> str:
    if not shutil.which("node"):
        pytest.skip("node is not installed")
    call = f"""
      const [headers, body] = JSON.parse(require('fs').readFileSync(0, 'utf8'));
      let said = 'refused';
      try {{ said = verify(headers, Buffer.from(body, 'base64'), '{SECRET}').id }} catch (error) {{
        if (!error.message.startsWith('not signed')) throw error;
      }}
      console.log(said)"""
    given = json.dumps([head, base64.b64encode(body).decode()])
    ran = subprocess.run(
        ["node", "-e", example("js") + call],
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return ran.stdout.strip()


@pytest.mark.parametrize("verify", [by_python, by_node])
def test_the_documented_receivers_take_what_is_signed_and_nothing_else(verify: Any) -> None:
    head, body = signed(SECRET)
    assert verify(head, body) == "7:completed"
    assert verify(head, body + b" ") == "refused"
    assert verify(head | {"webhook-id": "evt_2"}, body) == "refused"
    assert verify(*signed(SECRET, age_s=301)) == "refused"
    assert verify(*signed("whsec_" + "A" * 32)) == "refused"


async def post(gate: Gate, url: str) -> Answer:
    poster = Poster(gate, [key(SECRET)], 0.5)
    try:
        return await poster.post(url, "evt_1", b"{}")
    finally:
        await poster.close()


async def test_a_name_that_leads_into_our_network_is_not_connected_to(hook) -> None:
    """DNS rebinding: the name is public when somebody looks, and ours a moment later."""
    answers = iter(["93.184.216.34", "127.0.0.1", "127.0.0.1"])

    def look_up(host: str, port: int) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    gate = Gate(allow_private=False, look_up=look_up)
    [public] = await gate.addresses("hook.example", hook.port)
    assert gate.refusal(public) == ""
    answer = await post(gate, f"http://hook.example:{hook.port}/")
    assert answer.status == 0
    assert "127.0.0.1 is loopback" in answer.words
    assert hook.heads == []


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "[::ffff:127.0.0.1]"]
)
async def test_no_spelling_of_an_address_gets_past_the_gate(hook, host: str) -> None:
    answer = await post(Gate(allow_private=False), f"http://{host}:{hook.port}/")
    assert answer.status == 0
    assert hook.heads == []


async def test_of_several_addresses_only_those_allowed_are_tried(hook) -> None:

    def look_up(host: str, port: int) -> list[Any]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in ("169.254.169.254", "0.0.0.0", "127.0.0.1")
        ]

    answer = await post(Gate(allow_private=True, look_up=look_up), f"http://hook.example:{hook.port}/")
    assert answer.status == 204


async def test_neither_a_proxy_of_the_environment_nor_a_redirect_is_followed(hook, monkeypatch) -> None:
    with receiving() as other:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{other.port}")
        hook.behave = receiver.status(302, Location=other.url)
        answer = await post(Gate(allow_private=True), hook.url)
        assert (answer.status, other.heads) == (302, [])
        assert "redirects are not followed" in answer.words


async def test_a_name_server_that_hangs_costs_one_time_out_and_no_end(hook) -> None:
    release = threading.Event()

    def look_up(host: str, port: int) -> list[Any]:
        release.wait(20)
        raise OSError("too late")

    answer = await post(Gate(allow_private=True, look_up=look_up), "http://hook.example/")
    assert answer.words == "no answer within 0.5 s"
    release.set()


async def test_a_name_that_does_not_exist_is_said() -> None:
    answer = await post(Gate(allow_private=True), "http://nobody.invalid/secret-path")
    assert answer.status == 0
    assert "cannot be looked up" in answer.words
    assert "secret-path" not in answer.words


async def test_tls_is_verified_against_the_name(tmp_path: Path, monkeypatch) -> None:
    authority = trustme.CA()
    context = tls.context(authority, "hook.example")

    def look_up(host: str, port: int) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    with receiving(context) as found:
        gate = Gate(allow_private=True, look_up=look_up)
        right, wrong = f"https://hook.example:{found.port}/", f"https://other.example:{found.port}/"
        assert "certificate" in (await post(gate, right)).words  # Nobody knows the authority yet.
        trusted = ssl.create_default_context()
        authority.configure_trust(trusted)
        monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", trusted)
        assert (await post(gate, right)).status == 204
        assert "certificate" in (await post(gate, wrong)).words


async def test_a_login_in_the_url_is_sent_and_in_no_message(hook) -> None:
    url = hook.url.replace("http://", "http://user:pa%24s@")
    hook.behave = receiver.status(500, "no /hook for pa$s")
    answer = await post(Gate(allow_private=True), url)
    assert hook.heads[0]["Authorization"].startswith("Basic ")
    assert answer.words == "HTTP 500 no ... for ..."


def test_the_signature_is_that_of_the_standards_own_library() -> None:
    """Secret, id and body are those of the library's own tests."""
    secret, id, body = (
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        b'{"test": 2432232314}',
    )
    found = headers([key(secret)], id, 1614265330, body)
    wanted = Verifier(secret).sign(id, datetime.fromtimestamp(1614265330, UTC), body.decode())
    assert found["webhook-signature"] == wanted == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
