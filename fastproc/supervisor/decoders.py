"""What is said of the decoder libraries at start and by `fastproc check`: names, versions, and published holes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from fastproc.core import advisories


def named(versions: Mapping[str, str]) -> str:
    """Return the libraries with their versions, in one line."""
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def holes(versions: Mapping[str, str], today: date) -> list[str]:
    """Return a warning for each library with published holes, and one where the table of them is old."""
    found = advisories.warnings(versions)
    if _age(today) > advisories.OLD_DAYS:
        found.append(f"{table_age(today)}: a newer release of fastproc may know more")
    return found


def table_age(today: date) -> str:
    """Say of which day the table is, and how old that makes it."""
    return f"the table of published holes is of {advisories.AS_OF}, {_age(today)} days old"


def _age(today: date) -> int:
    """Units: days; negative where the clock is behind the table."""
    return (today - date.fromisoformat(advisories.AS_OF)).days
