"""Who may ask the page what: names that nobody can point here, requests of its own, and wrong tokens."""

from __future__ import annotations

import pytest

from fastproc.core import visitors
from fastproc.core.visitors import ATTEMPTS, ATTEMPTS_S, MAX_ADDRESSES, Attempts, refusal

NAMES = ("photos.example.com",)
OWN = {"host": "10.1.2.3:8080"}


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "localhost:8080", "127.0.0.1:8080", "[::1]:8080", "[fd00::1]", "fastproc", "photo-1:80", "PHOTO-1",
        "fastproc.photos.svc.cluster.local", "box.local", "a.internal", "nas.home.arpa.", "photos.example.com:443",
        "Photos.Example.COM",
    ],
)  # fmt: skip
def test_names_that_no_stranger_can_point_here_are_answered(host: str) -> None:
    assert refusal("GET", {"host": host}, NAMES, page=True) is None


@pytest.mark.parametrize(
    "host",
    [
        "", "evil.example", "photos.example.com.evil.example", "127.0.0.1.evil.example", "notlocal.example",
        "xlocal.com", "evil.com:80:80", "a b", "user@localhost", "1.2.3.4.5", "photos.example.com/",
        "10.0.0.1\\@evil.com",
    ],
)  # fmt: skip
def test_other_names_are_refused_and_the_answer_names_the_setting(host: str) -> None:
    refused = refusal("GET", {"host": host}, NAMES, page=True)
    assert refused is not None
    assert refused.status == 421
    assert "HTTP_NAMES" in refused.why


def test_a_name_in_a_refusal_is_short_whatever_was_sent() -> None:
    refused = refusal("GET", {"host": "x." * 4000}, (), page=True)
    assert refused is not None
    assert len(refused.why) < 250


LINKED = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


@pytest.mark.parametrize(
    ("headers", "page", "status"),
    [
        ({}, False, None),
        ({"sec-fetch-site": "same-origin"}, False, None),
        ({"sec-fetch-site": "none"}, True, None),
        ({"sec-fetch-site": "cross-site"}, False, 403),
        ({"sec-fetch-site": "same-site"}, False, 403),
        (LINKED, True, None),
        (LINKED, False, 403),
        ({**LINKED, "sec-fetch-dest": "iframe"}, True, 403),
        ({"origin": "http://10.1.2.3:8080"}, False, None),
        ({"origin": "https://10.1.2.3:8080"}, False, None),
        ({"origin": "http://10.1.2.3:8081"}, False, 403),
        ({"origin": "null"}, False, 403),
        ({"origin": "https://evil.example"}, False, 403),
        # A proxy asks by an address of its own: nginx does unless it is told otherwise.
        ({"origin": "https://photos.example.com:8443"}, False, None),
        ({"origin": "https://Photos.example.com"}, False, None),
        ({"origin": "https://photos.example.com.evil.example"}, False, 403),
        ({"origin": "https://photos.example.com@evil.example"}, False, 403),
    ],
)
def test_another_site_may_link_to_the_page_and_nothing_else(
    headers: dict[str, str], page: bool, status: int | None
) -> None:
    refused = refusal("GET", OWN | headers, NAMES, page=page)
    assert (refused.status if refused else None) == status


def test_a_refused_origin_says_what_a_proxy_has_changed() -> None:
    refused = refusal(
        "POST", {"host": "photos:8080", "origin": "https://ops.example" + "x" * 9000}, (), page=False
    )
    assert refused is not None
    assert "'photos:8080'" in refused.why
    assert "https://ops.example" in refused.why
    assert "HTTP_NAMES" in refused.why
    assert len(refused.why) < 400


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
def test_what_a_form_can_send_is_no_order(kind: str) -> None:
    refused = refusal("POST", OWN | {"content-type": kind}, (), page=False)
    assert refused is not None
    assert refused.status == 415
    json = OWN | {"content-type": "application/json; charset=utf-8"}
    assert refusal("POST", json, (), page=False) is None


def test_who_guesses_is_not_heard_for_a_while_and_nobody_else_is_held_up() -> None:
    attempts = Attempts()
    for second in range(ATTEMPTS):
        assert attempts.may_try("a", second)
        attempts.wrong("a", second)
    assert not attempts.may_try("a", ATTEMPTS)
    assert attempts.may_try("b", ATTEMPTS)
    assert not attempts.may_try("a", ATTEMPTS_S - 0.1)
    assert attempts.may_try("a", ATTEMPTS_S + 0.1)


def test_addresses_that_are_remembered_have_a_bound() -> None:
    attempts = Attempts()
    for number in range(MAX_ADDRESSES + 10):
        attempts.wrong(str(number), 0.0)
    assert len(attempts._wrong) == MAX_ADDRESSES
    assert "0" not in attempts._wrong


def test_an_address_is_not_taken_for_a_name_in_a_zone() -> None:
    assert not visitors.is_ours("999.999.999.999", ())
    assert visitors.is_ours("[::1]", ())
