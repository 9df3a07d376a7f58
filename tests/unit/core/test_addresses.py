"""Which addresses webhooks may go to: every special-purpose block of IANA's registries, and their disguises in IPv6."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastproc.core.addresses import literal, refusal

PUBLIC = [
    "8.8.8.8", "1.1.1.1", "9.255.255.255", "11.0.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255",
    "192.169.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255",
    "169.255.0.0", "223.255.255.255",
    "198.17.255.255", "198.20.0.0", "192.0.1.0",
    "2606:4700:4700::1111", "2a00:1450:4001::1", "2001:200::1", "2001:4860:4860::8888", "3ffe::1",
    # Public addresses of IPv4 in IPv6: mapped, NAT64, 6to4, ISATAP.
    "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1", "2a00::5efe:8.8.8.8", "2a00::200:5efe:8.8.8.8",
]  # fmt: skip
PRIVATE = [
    "10.0.0.0", "10.255.255.255", "172.16.0.0", "172.31.255.255", "192.168.0.0", "192.168.255.255", "100.64.0.0",
    "100.127.255.255", "127.0.0.0", "127.0.0.1", "127.255.255.255", "::1", "fc00::1", "fdff:ffff::1", "fec0::1",
    "64:ff9b:1::1", "::ffff:10.0.0.1", "::ffff:7f00:1", "64:ff9b::10.0.0.1", "64:ff9b::127.0.0.1", "2002:a00:1::1",
    "2002:c0a8:101::", "2a00::5efe:10.0.0.1", "2a00::200:5efe:192.168.0.1",
]  # fmt: skip
NEVER = [
    "0.0.0.0", "0.1.2.3", "169.254.0.0", "169.254.169.254", "169.254.255.255", "192.0.0.0", "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1", "198.18.0.0", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255",
    "240.0.0.1", "255.255.255.255",
    "::", "::8.8.8.8", "::ffff:0:8.8.8.8", "fe80::1", "fe80::1%eth0", "febf::1", "ff02::1", "fd00:ec2::254",
    "fd20:ce::254", "100::1", "100:0:0:1::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:20::1",
    "2001:db8::1", "3fff::1",
    "3fff:fff::1", "4000::1", "5f00::1", "1::1", "8000::1", "fe00::1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1", "2a00::5efe:169.254.169.254", "fe80::5efe:8.8.8.8", "2001:db8::5efe:8.8.8.8",
    "", "localhost", "2130706433", "0x7f.1", "127.1", "010.0.0.1", "1.2.3.4.5", "::1/128", " 8.8.8.8",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_allowed(address: str) -> None:
    assert refusal(address) == refusal(address, allow_private=True) == ""


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_allowed_on_request(address: str) -> None:
    assert address in refusal(address)
    assert refusal(address, allow_private=True) == ""


@pytest.mark.parametrize("address", NEVER)
def test_an_address_that_no_receiver_has_is_never_allowed(address: str) -> None:
    assert refusal(address)
    assert refusal(address, allow_private=True)


def test_what_is_in_an_address_is_named() -> None:
    assert refusal("::ffff:10.0.0.1") == "::ffff:10.0.0.1 (10.0.0.1) is private"


@given(st.ip_addresses())
def test_nothing_is_allowed_that_python_does_not_call_global(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if refusal(str(address)) == "":
        inside = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None) or address
        assert inside.is_global
        assert not inside.is_multicast


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("[::1]", "::1"),
        ("::1", "::1"),
        ("example.com", ""),
        ("127.1", ""),
        ("", ""),
    ],
)
def test_a_host_that_is_an_address_is_known_as_one(host: str, address: str) -> None:
    assert literal(host) == address
