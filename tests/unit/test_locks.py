"""The lock files in requirements/ are of this pyproject.toml, and work with whatever index a machine is given."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
#: Lock -> the extras that it is for.
LOCKS = {
    "run": ("postgres", "sentry", "otel"),
    "demo": ("demo",),
    "dev": ("dev", "demo", "postgres", "sentry", "otel"),
    "lowest": ("dev", "demo", "postgres", "sentry", "otel"),
}
FILES = sorted((ROOT / "requirements").glob("*.txt"))
_PIN = re.compile(r"^(?P<name>[a-z0-9.-]+)==(?P<version>\S+)(?: ; (?P<marker>.+))? \\$", re.MULTILINE)


def pins(lock: str) -> dict[str, list[Version]]:
    """The versions of each package; several where they differ by Python or system."""
    found: dict[str, list[Version]] = {}
    for match in _PIN.finditer((ROOT / "requirements" / f"{lock}.txt").read_text()):
        found.setdefault(match["name"], []).append(Version(match["version"]))
    return found


def wanted(lock: str) -> list[Requirement]:
    extras = [entry for extra in LOCKS[lock] for entry in PROJECT["optional-dependencies"][extra]]
    return [
        each for each in map(Requirement, [*PROJECT["dependencies"], *extras]) if each.name != PROJECT["name"]
    ]


@pytest.mark.parametrize("lock", LOCKS)
def test_every_dependency_is_locked_to_versions_inside_its_range(lock: str) -> None:
    locked = pins(lock)
    wrong = []
    for each in wanted(lock):
        versions = locked.get(canonicalize_name(each.name), [])
        if not versions or not all(version in each.specifier for version in versions):
            wrong.append(f"{each}: {', '.join(map(str, versions)) or 'not locked'}")
    assert not wrong, f"scripts/lock was not run: {wrong}"


@pytest.mark.parametrize("lock", ["run", "demo"])
def test_what_is_shipped_is_what_is_tested(lock: str) -> None:
    tested = pins("dev")
    assert {name: tested.get(name) for name in pins(lock)} == pins(lock)


def test_the_lowest_versions_are_the_lower_bounds() -> None:
    locked = pins("lowest")
    for each in wanted("lowest"):
        [floor] = [bound.version for bound in each.specifier if bound.operator in (">=", "==")]
        found = min(locked[canonicalize_name(each.name)])
        # A bound of fewer numbers than the release, 7.4, is the first release that begins so.
        assert (
            found == Version(floor) or found.release[: len(Version(floor).release)] == Version(floor).release
        ), each


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_lock_has_hashes_and_no_address(file: Path) -> None:
    lines = file.read_text().splitlines()
    allowed = re.compile(r"|#.*|    #.*|    --hash=sha256:[0-9a-f]{64}(?: \\)?|[a-z0-9.-]+==\S+(?: ; .+)? \\")
    assert [line for line in lines if not allowed.fullmatch(line)] == []
    assert not [
        line
        for line in lines
        if re.search(r"://|/(?!dev|demo|run|lowest|build|node|profile|lock)[a-z]+", line)
    ]
