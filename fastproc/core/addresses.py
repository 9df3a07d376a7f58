"""Which network addresses a webhook may go to: a stranger's name must not lead into our own network.

Rule 1: an address is public, private (allowed on request), or never allowed. What no rule names is never allowed.
Rule 2: an IPv6 address that carries an IPv4 address (mapped, NAT64, 6to4, ISATAP) is judged by that one, because that
        is where its packets go.
Rule 3: the tables are our own: `ipaddress.is_global` differs between releases of Python.
Source: IANA IPv4 and IPv6 Special-Purpose Address Registries, IPv6 Address Space; RFC 6052, 3056, 5214, 8215.
"""

from __future__ import annotations

import ipaddress
from typing import Final

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

#: Networks that a receiver of one's own may well be in -> what they are called.
_PRIVATE: Final = {
    "10.0.0.0/8": "private",
    "172.16.0.0/12": "private",
    "192.168.0.0/16": "private",
    "100.64.0.0/10": "shared by a provider (CGNAT)",
    "127.0.0.0/8": "loopback",
    "::1/128": "loopback",
    "fc00::/7": "private (ULA)",
    "fec0::/10": "private (site-local)",
    "64:ff9b:1::/48": "a local translation (NAT64)",
}
#: Networks that no receiver is in; instances' credentials are.
_NEVER: Final = {
    "0.0.0.0/8": "this host",
    "169.254.0.0/16": "link-local, where clouds answer with credentials",
    "192.0.0.0/24": "reserved for protocols",
    "192.0.2.0/24": "for documents",
    "192.88.99.0/24": "a 6to4 relay",
    "198.18.0.0/15": "for benchmarks",
    "198.51.100.0/24": "for documents",
    "203.0.113.0/24": "for documents",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved",
    "::/128": "this host",
    "fe80::/10": "link-local",
    "fd00:ec2::/32": "where a cloud answers with credentials",
    "fd20:ce::/32": "where a cloud answers with credentials",
    "ff00::/8": "multicast",
    "2001::/23": "reserved for protocols",
    "2001:db8::/32": "for documents",
    "3fff::/20": "for documents",
}
_NETWORKS: Final = sorted(
    ((ipaddress.ip_network(net), why, net in _PRIVATE) for net, why in (_NEVER | _PRIVATE).items()),
    key=lambda row: -row[0].prefixlen,
)
_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
_MAPPED: Final = ipaddress.IPv6Network("::ffff:0:0/96")
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_6TO4: Final = ipaddress.IPv6Network("2002::/16")
#: Bits 32 to 63 of an ISATAP address, but for the bit that says whether the IPv4 address is unique.
_ISATAP: Final = 0x00005EFE


def refusal(address: str, *, allow_private: bool = False) -> str:
    """Return why an address may not be connected to, "" where it may. What is no address is refused."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return f"{address!r} is not an address"
    for judged in _judged(found):
        named = address if judged == found else f"{address} ({judged})"
        for network, why, private in _NETWORKS:
            if judged.version == network.version and judged in network:
                if private and allow_private:
                    break
                return f"{named} is {why}"
        else:
            if isinstance(judged, ipaddress.IPv6Address) and judged not in _UNICAST:
                return f"{named} is reserved"
    return ""


def literal(host: str) -> str:
    """Return the address that a URL's host is, without brackets, or "" where it is a name."""
    try:
        return str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return ""


def _judged(address: _Address) -> tuple[_Address, ...]:
    """Return the addresses that decide: the one that it carries, or itself, or both where its prefix counts as well."""
    if isinstance(address, ipaddress.IPv4Address):
        return (address,)
    bits = int(address)
    low = ipaddress.IPv4Address(bits & 0xFFFFFFFF)
    if address in _MAPPED or address in _NAT64:
        return (low,)
    if address in _6TO4:
        return (ipaddress.IPv4Address(bits >> 80 & 0xFFFFFFFF),)
    return (address, low) if bits >> 32 & 0xFDFFFFFF == _ISATAP else (address,)
