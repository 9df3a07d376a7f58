"""Rows that follow each other fast share a transaction; the first of them does not wait."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence

from fastproc.backends.group_commit import GroupCommit, Write

PACE_S = 0.1


async def test_a_row_on_its_own_is_written_at_once_and_those_that_follow_it_fast_share_a_transaction() -> (
    None
):
    batches: list[tuple[float, list[str]]] = []

    async def commit(batch: Sequence[Write]) -> None:
        batches.append((time.monotonic(), [write.photo_id for write in batch]))

    rows, began = GroupCommit(commit, str, PACE_S), time.monotonic()
    await rows.write("a", {}, by=math.inf)
    writes = [asyncio.create_task(rows.write(name, {}, by=math.inf)) for name in ("b", "c")]
    await asyncio.sleep(PACE_S / 5)
    writes.append(asyncio.create_task(rows.write("d", {}, by=math.inf)))
    await asyncio.gather(*writes)
    await rows.close()
    assert [names for _, names in batches] == [["a"], ["b", "c", "d"]]
    assert batches[0][0] - began < PACE_S <= batches[1][0] - began + 0.01
