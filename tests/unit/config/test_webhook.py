"""Webhook settings: what is wrong is said before anything starts, and no secret is in what is said or shown."""

from __future__ import annotations

import base64

import pytest

from fastproc.config import values
from fastproc.config.settings import Config, load, table
from fastproc.config.webhook import endpoint_id, key, shown
from fastproc.core.errors import ConfigError

SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()
OTHER = "whsec_" + base64.b64encode(bytes(range(64))).decode()
GOOD = {"WEBHOOK_URL": "https://example.com/hook", "WEBHOOK_SECRET": SECRET}


def settings(**env: str) -> Config:
    return load({**GOOD, **env}, 1)


def problems(**env: str) -> str:
    with pytest.raises(ConfigError) as error:
        settings(**env)
    return str(error.value)


def test_a_receiver_with_its_secret_is_all_that_is_needed() -> None:
    webhook = settings().webhook
    assert (webhook.urls, webhook.secrets) == ((GOOD["WEBHOOK_URL"],), (SECRET,))
    assert key(SECRET) == bytes(range(24))
    assert webhook.events == ("completed", "failed")


def test_several_receivers_and_an_old_secret() -> None:
    webhook = settings(
        WEBHOOK_URL="https://a.example/x, http://b.example:8080/?y=1", WEBHOOK_SECRET=f"{SECRET},{OTHER}"
    ).webhook
    assert len(webhook.urls) == len(webhook.secrets) == 2


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h/x", "https://", "//h/x", "h/x", "https://h:0/", "https://h:99999/", "https://h/#part",
        "https://h/a b", "https://bücher.example/", "https://h\\@evil/", "https://[::1/",
        "https://h/x,https://h/x", "https://a b/", "https://%31.example/", "https://a..b/", "https://a.b\x00/",
        "http://127.1/", "http://2130706433/", "http://0x7f000001/", "http://1.2.3.4.5/",
        ",".join(f"https://h/{n}" for n in range(9)),
    ],
)  # fmt: skip
def test_a_wrong_url_is_refused(url: str) -> None:
    assert problems(WEBHOOK_URL=url).startswith("WEBHOOK_URL: ")


@pytest.mark.parametrize(
    "secret",
    [
        "plain",
        "whsec_",
        "whsec_!!!!",
        "whsec_c2hvcnQ=",
        "whsec_" + "A" * 88,
        f"{SECRET},{OTHER},{SECRET}",
        f"{SECRET},x",
    ],
)
def test_a_wrong_secret_is_refused_and_not_said(secret: str) -> None:
    said = problems(WEBHOOK_SECRET=secret)
    assert said.startswith("WEBHOOK_SECRET: ")
    assert (secret.removeprefix("whsec_") or SECRET[6:]) not in said
    assert SECRET[6:] not in said


def test_base64_without_its_padding_is_the_same_secret() -> None:
    padded = "whsec_" + base64.b64encode(b"x" * 25).decode()
    assert key(padded.rstrip("=")) == key(padded) == b"x" * 25


def test_a_receiver_without_a_secret_is_refused() -> None:
    assert problems(WEBHOOK_SECRET="").startswith("WEBHOOK_SECRET: WEBHOOK_URL needs one")
    assert load({"WEBHOOK_SECRET": SECRET}, 1).webhook.urls == ()


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://10.0.0.1/x", True),
        ("http://127.0.0.1:9/x", True),
        ("http://[::ffff:10.0.0.1]/x", True),
        ("http://169.254.169.254/latest", False),
        ("http://[fe80::1]/x", False),
        ("http://0.0.0.0/x", False),
    ],
)
def test_an_address_of_our_own_network_is_refused_unless_allowed(url: str, allowed: bool) -> None:
    assert "WEBHOOK_ALLOW_PRIVATE" in problems(WEBHOOK_URL=url)
    if allowed:
        assert settings(WEBHOOK_URL=url, WEBHOOK_ALLOW_PRIVATE="true").webhook.urls == (url,)
    else:
        assert "WEBHOOK_URL: " in problems(WEBHOOK_URL=url, WEBHOOK_ALLOW_PRIVATE="true")


@pytest.mark.parametrize("events", ["finished", "completed,finished", ","])
def test_an_unknown_event_is_refused(events: str) -> None:
    assert problems(WEBHOOK_EVENTS=events).startswith("WEBHOOK_EVENTS: expected some of ")


def test_what_is_shown_tells_no_secret() -> None:
    url = "https://user:hidden@example.com/services/T0?token=hidden&x=1"
    rows = {row.env: row.value for row in table(settings(WEBHOOK_URL=url))}
    assert rows["WEBHOOK_SECRET"] == "********"
    assert rows["WEBHOOK_URL"] == "https://user:********@example.com/********"
    assert "hidden" not in problems(WEBHOOK_URL=url, WEBHOOK_EVENTS="x", WEBHOOK_SECRET="")
    assert shown(url) == f"https://example.com ({endpoint_id(url)})"


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("https://h:1,http://u:hidden@i", "https://h:1,http://u:********@i"),
        ("https://h?hidden,https://i/hidden,hidden", "https://h/********,https://i/********,********"),
        ("https//h/services/hidden", "********"),
        ("ftp://u:hid/den@h/hidden", "ftp://u:********/********"),
        ("https://h\\services\\hidden", "https://h/********"),
        ("", ""),
    ],
)
def test_of_a_receivers_url_the_server_alone_is_shown_right_or_wrong(url: str, seen: str) -> None:
    assert values.masked(url, secret="path") == seen
