"""What must hold for jobs to be processed now, by name: the answer of /ready."""

from __future__ import annotations

from collections.abc import Callable, Mapping


class Readiness:
    """Conditions by name; `started` is true while jobs are taken."""

    def __init__(self) -> None:
        self.started = False
        self._checks: dict[str, Callable[[], bool]] = {}

    def watch(self, name: str, check: Callable[[], bool]) -> None:
        """Add a condition, which is asked for at each look."""
        self._checks[name] = check

    def conditions(self) -> Mapping[str, bool]:
        """Return every condition and whether it holds now."""
        return {"started": self.started, **{name: check() for name, check in self._checks.items()}}
