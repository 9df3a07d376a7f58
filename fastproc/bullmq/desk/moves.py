"""BullMQ's own moves that an operator orders: retry one failed job, pause, resume, drain. One method a move.

Rule 1: the Lua is BullMQ's, of the version that is installed, so dashboards and Node's workers see what Node's methods
        would have left. Source: BullMQ src/classes/scripts.ts reprocessJob, pause, drain.
Rule 2: a queue that is used by BullMQ 5 and 6 together can have two lists of waiting jobs. BullMQ 5's `pause` renames
        one of them over the other; here the jobs are put together first, so that none is lost.
Rule 3: BullMQ's `drain` keeps as many ids at a list's end as schedulers have jobs in it, whosesoever they are: where
        others lie there, a scheduler's next job is lost and its series ends. Here its job is put to the end first.
        Source: BullMQ includes/removeListJobs.lua (LTRIM after filterOutJobsToIgnore).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from fastproc.bullmq.call import Call
from fastproc.bullmq.lua import Lua
from fastproc.bullmq.protocol import Keys
from fastproc.bullmq.scripts import Script

#: KEYS: the list that `pause` renames, and the one that is overwritten. What is in the second is taken before the rest.
_MERGE: Final = Lua(
    """
if redis.call('EXISTS', KEYS[1]) == 1 then
  while true do
    local jobs = redis.call('LRANGE', KEYS[2], 0, 6999)
    if #jobs == 0 then break end
    redis.call('RPUSH', KEYS[1], unpack(jobs))
    redis.call('LTRIM', KEYS[2], #jobs, -1)
  end
end
return 0
"""
)

#: Runs before `drain`, in one call with it. KEYS: wait, paused, delayed, prioritized, repeat. ARGV: how keys begin.
#: A list is searched for those jobs alone that can be in it: nearly all next jobs are delayed.
_SERIES_LAST: Final = """
do
  local series = redis.call('ZRANGE', KEYS[5], 0, -1, 'WITHSCORES')
  for i = 1, #series, 2 do
    local id = 'repeat:' .. series[i] .. ':' .. series[i + 1]
    if redis.call('EXISTS', ARGV[1] .. id) == 1 and not redis.call('ZSCORE', KEYS[3], id) then
      for list = 1, 2 do
        if redis.call('LREM', KEYS[list], 1, id) > 0 then redis.call('RPUSH', KEYS[list], id) end
      end
    end
  end
end
"""


class Moves:
    """One queue's moves."""

    def __init__(self, call: Call, keys: Keys, scripts: Mapping[str, Script]) -> None:
        self._call, self._keys, self._scripts = call, keys, scripts
        self._lua = {name: Lua(scripts[name].source) for name in ("reprocessJob", "pause")}
        self._lua["drain"] = Lua(_SERIES_LAST + scripts["drain"].source)

    async def retry(self, job_id: str, *, first: bool) -> int:
        """Let a failed job run again. Returns 1; -1: there is no such job; -3: it has not failed."""
        push = "RPUSH" if first else "LPUSH"
        args = [job_id, push, "failedReason", "failed", "0", "0"]
        return int(await self._run("reprocessJob", args, job_id))

    async def is_paused(self) -> bool:
        return await self._call("HGET", self._keys("meta"), "paused") is not None

    async def pause(self) -> None:
        """Let no worker take a job."""
        await self._pause("paused", "1")

    async def resume(self) -> None:
        """Let workers take jobs again. BullMQ 6 brings back some thousand jobs of an older pause a call."""
        emits = "1"
        while await self._pause("resumed", emits):
            emits = "0"

    async def drain(self, *, delayed: bool) -> int:
        """Remove the jobs that wait, and parents that wait for these alone, but no scheduler's next job.

        Returns how many are gone.
        """
        await self._call("SCRIPT", "LOAD", self._lua["drain"].source)
        # In one batch, so that what is counted is what was there.
        before, _, after = await asyncio.gather(
            self._waiting(delayed),
            self._run("drain", [self._keys.base, "1" if delayed else "0"]),
            self._waiting(delayed),
        )
        return max(0, before - after)

    async def _waiting(self, delayed: bool) -> int:
        counts = await asyncio.gather(
            self._call("LLEN", self._keys("wait")),
            self._call("LLEN", self._keys("paused")),
            self._call("ZCARD", self._keys("prioritized")),
            self._call("ZCARD", self._keys("waiting-children")),
            *([self._call("ZCARD", self._keys("delayed"))] if delayed else []),
        )
        return sum(counts)

    async def _pause(self, word: str, emits: str) -> int:
        keys = self._script_keys("pause")
        if word == "resumed":
            keys[:2] = keys[1::-1]
        await self._call("SCRIPT", "LOAD", _MERGE.source)
        _, left = await asyncio.gather(
            _MERGE.run(self._call, keys[:2], []), self._lua["pause"].run(self._call, keys, [word, emits])
        )
        return int(left or 0)

    async def _run(self, name: str, args: list[Any], job_id: str = "") -> Any:
        return await self._lua[name].run(self._call, self._script_keys(name, job_id), args)

    def _script_keys(self, name: str, job_id: str = "") -> list[str]:
        return self._keys.of_script(name, self._scripts[name].arity, job_id, "failed")
