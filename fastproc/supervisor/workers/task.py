"""A task between `Pool.run` and its result: what its worker may still report, and what it ends with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from msgspec import Struct

from fastproc.core import orders
from fastproc.core.admission import Need
from fastproc.core.errors import TaskError, WorkerCrashed, WorkerKilled, WorkerTimeout
from fastproc.core.model import Report
from fastproc.ipc.blob import Lane
from fastproc.ipc.messages import GATE, Task
from fastproc.supervisor.workers.loans import Loan

OnStage = Callable[[str], None]

#: How a process ended that got a SIGKILL which the fleet had not ordered.
KILLED = "SIGKILL from outside"


class Result(Struct, frozen=True):
    """A finished task: the report, and the bytes of its renditions in the report's order."""

    report: Report
    bodies: tuple[bytes, ...]


class PendingTask:
    """One photo on its way through a worker. `stages` are the pipeline's, in order; `allowed_s` is its time limit.

    `need` is what it takes in memory.
    """

    def __init__(
        self, number: int, loan: Loan, content_type: str | None, on_stage: OnStage, stages: tuple[str, ...]
    ) -> None:
        self.number, self.loan, self.content_type = number, loan, content_type
        self.allowed_s = 0.0
        self.need = Need()
        self.result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._on_stage = on_stage
        # Each is reported once, the gate before all of them.
        self._left = [GATE, *stages]

    def expects(self, stage: str) -> bool:
        """Whether the worker may report this stage now: each once."""
        return stage in self._left

    def passed(self, stage: str) -> None:
        """The worker has reported the stage."""
        self._left.remove(stage)
        if stage != GATE:
            self._on_stage(stage)

    @property
    def stage(self) -> str:
        """The stage that the worker is in: the first that it has not reported; "" behind the last."""
        return next((stage for stage in self._left if stage != GATE), "")

    def order(self, fresh: Sequence[Lane]) -> Task:
        """Return the message for the worker; `fresh` lanes come with it."""
        return Task(
            lane=self.loan.lane.number,
            size=self.loan.size,
            content_type=self.content_type,
            fresh=tuple(lane.number for lane in fresh),
        )

    def lost(self, why: str) -> TaskError:
        """The error for a worker that ended during the task; `why` is the fleet's or the kernel's word for it."""
        where = f" (in {self.stage})" if self.stage else ""
        if why == orders.DEADLINE:
            return WorkerTimeout(f"no result after {self.allowed_s:g} s{where}")
        if why.startswith(KILLED):
            return WorkerKilled(f"the worker was killed during the task: {why}{where}")
        return WorkerCrashed(f"the worker died during the task: {why}{where}")

    def succeed(self, result: Result) -> None:
        """End the wait for the result, if there still is one."""
        if not self.result.done():
            self.result.set_result(result)

    def fail(self, error: Exception) -> None:
        """Likewise, with an error."""
        if not self.result.done():
            self.result.set_exception(error)
