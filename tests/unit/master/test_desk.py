"""The page's desk of several supervisors: one that serves has the word, and one that starts says what it waits for."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from fastproc.core.scene import Verdict
from fastproc.core.snapshot import Snapshot
from fastproc.core.view import View
from fastproc.ipc.errands import Done, Look
from fastproc.master.desk import MasterDesk


class Supervisor:
    """Answers as one that serves, that starts (`waits_for`), or that says nothing."""

    def __init__(self, number: int, *, serves: bool = False, waits_for: str = "") -> None:
        self.number, self.serves, self.waits_for = number, serves, waits_for
        self.pid, self.looks = 1000 + number, 0

    async def run_errand(self, what: Any, within_s: float) -> Done | None:
        assert isinstance(what, Look)
        self.looks += 1
        if not (self.serves or self.waits_for):
            return None
        if not what.whole:
            return self._done(self._snapshot()) if self.serves else Done(1, b"", "it is starting")
        level, words = ("good", "well") if self.serves else ("warn", "it is starting")
        verdict = Verdict(level, f"{words} ({self.number})", self.waits_for)  # type: ignore[arg-type]
        return self._done(View(host="h", at_ms=1, verdict=verdict, hosts=()))

    def _done(self, value: Any) -> Done:
        return Done(1, msgspec.msgpack.encode(value), "")

    def _snapshot(self) -> Snapshot:
        return Snapshot(
            host="h", number=self.number, pid=1, version="0", at_ms=1, started_at_ms=1, state="serving"
        )


def desk(supervisors: list[Supervisor], served: tuple[int, ...]) -> MasterDesk:
    living: Any = {each.number: each for each in supervisors}
    return MasterDesk("h", lambda: living, lambda number: number in served)


@pytest.mark.parametrize(
    ("supervisors", "text", "remedy"),
    [
        ([Supervisor(1, waits_for="Redis is away"), Supervisor(2, serves=True)], "well (2)", ""),
        ([Supervisor(1), Supervisor(2, waits_for="Redis is away")], "it is starting (2)", "Redis is away"),
        ([Supervisor(1), Supervisor(2)], "2 supervisors are starting, or do not answer", "Look at the log"),
    ],
)
async def test_who_serves_has_the_word_then_who_starts(
    supervisors: list[Supervisor], text: str, remedy: str
) -> None:
    view = await desk(supervisors, served=()).view()
    assert (view.verdict.text, view.verdict.remedy[: len(remedy)]) == (text, remedy)
    assert [each.number for each in view.hosts] == [each.number for each in supervisors if each.serves]


async def test_one_that_has_served_and_says_nothing_is_the_worst_and_is_asked_once() -> None:
    supervisors = [Supervisor(1), Supervisor(2, serves=True), Supervisor(3)]
    view = await desk(supervisors, served=(1, 2)).view()
    assert (view.verdict.level, view.verdict.text) == ("bad", "supervisor 1 does not answer")
    assert "pid 1001" in view.verdict.remedy
    assert [line.text for line in view.more] == ["well (2)"]
    assert [each.number for each in view.hosts] == [2]
    alone = await desk([Supervisor(1), Supervisor(2)], served=(1, 2)).view()
    assert [line.text for line in (alone.verdict, *alone.more)] == [
        "supervisor 1 does not answer",
        "supervisor 2 does not answer",
        "2 supervisors are starting, or do not answer",
    ]
    # Each silent one costs a look its whole deadline.
    assert [each.looks for each in supervisors] == [1, 2, 1]
