"""Failures by code lie under the queue's prefix: BullMQ's own tools neither take them for a job nor remove them."""

from __future__ import annotations

import pytest

from fastproc.bullmq.failures import rows, writes
from fastproc.bullmq.protocol import Keys
from fastproc.core.failures import Failure
from tests.conformance.conftest import Side

ROW = Failure(
    code="FILE_CORRUPTED", attempts=3, jobs=2, first_at_ms=1000, last_at_ms=2000, photo="p", job="7"
)


@pytest.mark.parametrize("tool", ["obliterate", "removeOrphanedJobs", "clean"])
async def test_bullmqs_tools_leave_them_alone(ours: Side, tool: str) -> None:
    ours.major = 6
    job_id = await ours.add("ok")
    commands = writes(Keys("bull", ours.queue), [ROW])
    for command in commands:
        ours.redis.execute_command(*command)
    counts = await ours.call("getJobCounts")
    jobs = await ours.call("getJobs")
    assert (counts["waiting"], [job["id"] for job in jobs]) == (1, [job_id])
    arguments = {"obliterate": [{"force": True}], "clean": [0, 0, "wait"], "removeOrphanedJobs": []}
    removed = await ours.call(tool, *arguments[tool])
    assert tool != "removeOrphanedJobs" or removed == 0
    assert list(rows(ours.redis.hgetall(str(commands[0][1])))) == [ROW]
