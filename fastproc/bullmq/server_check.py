"""Whether a Redis server can carry a queue: judged from its INFO, before the first job is taken. Pure.

Source: BullMQ src/classes/redis-connection.ts (minimum and recommended version, eviction). With a `maxmemory-policy`
other than noeviction, Redis may delete locks and jobs.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

#: Oldest version whose commands the scripts need (LPOS, ZMSCORE, BZPOPMIN with fractions: 6.0; tried from here on).
OLDEST = (6, 2)
#: Newest major version that the conformance suite has passed with, by product.
NEWEST = {"Redis": 8, "Valkey": 9}


class ServerCheck(Struct, frozen=True):
    """The server's product and version, why it cannot be used ("": it can), and warnings for its operator."""

    name: str
    refusal: str = ""
    warnings: tuple[str, ...] = ()


def judge(info: Mapping[str, str]) -> ServerCheck:
    """Judge a server by its INFO."""
    product = "Valkey" if "valkey_version" in info else "Redis"
    version = info.get("valkey_version") or info.get("redis_version", "0")
    name = f"{product} {version}"
    if product == "Redis" and _number(version) < OLDEST:
        return ServerCheck(name, f"{name} is too old: 6.2 or newer is needed")
    if info.get("role") in ("slave", "replica"):
        return ServerCheck(name, f"{name} is a replica, which takes no writes: connect to its primary")
    warnings = []
    if (policy := info.get("maxmemory_policy", "noeviction")) != "noeviction":
        warnings.append(
            f"maxmemory-policy is {policy}: Redis may delete jobs and locks; set it to noeviction"
        )
    if _number(version)[0] > NEWEST[product]:
        warnings.append(f"{name} is newer than the versions that were tried (up to {NEWEST[product]})")
    if info.get("loading", "0") != "0":
        warnings.append("it is still loading its data")
    return ServerCheck(name, "", tuple(warnings))


def parse(raw: bytes) -> dict[str, str]:
    """Return the fields of INFO's reply."""
    lines = raw.decode("utf-8", "replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))


def _number(version: str) -> tuple[int, int]:
    parts = [int(part) if part.isdigit() else 0 for part in version.split(".")[:2]]
    return (parts[0], parts[1] if len(parts) > 1 else 0)
