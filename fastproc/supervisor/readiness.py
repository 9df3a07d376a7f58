"""What must hold for jobs to be processed now, by name: the answer of /ready; and what of the service is stuck."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

#: Says what is wrong; "" where nothing is.
Check = Callable[[], str]


class Answer(Struct, frozen=True):
    """Every condition and whether it holds, and what is wrong with those that do not."""

    conditions: Mapping[str, bool]
    problems: Mapping[str, str]

    @property
    def ready(self) -> bool:
        """Whether jobs can be processed now."""
        return all(self.conditions.values())


class Readiness:
    """Conditions by name; `started` is true from when jobs are taken on, `stopping` once no more are."""

    def __init__(self) -> None:
        self.started = False
        self.stopping: Callable[[], bool] = lambda: False
        self._checks: dict[str, Check] = {}
        #: What of the service is stuck, and what else its watchdog has found lately: the answer of /health.
        self.stuck: Callable[[], Sequence[str]] = tuple
        self.found: Callable[[], Sequence[str]] = tuple

    def watch(self, name: str, check: Check) -> None:
        """Add a condition, which is asked for at each look."""
        self._checks[name] = check

    def now(self) -> Answer:
        """Look at every condition."""
        takes_jobs = self.started and not self.stopping()
        found = {"started": "" if takes_jobs else "the service is starting or stopping"}
        found |= {name: check() for name, check in self._checks.items()}
        problems = {name: problem for name, problem in found.items() if problem}
        return Answer({name: name not in problems for name in found}, problems)
