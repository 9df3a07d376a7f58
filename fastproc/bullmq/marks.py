"""What nobody waits for: progress and log rows of all jobs, gathered, and written by one script of our own.

Rule 1: it leaves what BullMQ's updateProgress and addLog leave, called one after the other in the same order: the same
        fields, rows and entries of the event stream, trimmed likewise. `scripts` knows both files by their hashes, so
        that a package in which they have changed is refused.
Rule 2: a write that fails (a key of another type) fails alone. The first failure is the reply.
Rule 3: the script is short: at most MAX_MARKS writes. What is more goes into the next call.
Rule 4: each key that is touched is declared, for clusters. Rights suffice that BullMQ's scripts need anyway.
"""

from __future__ import annotations

import hashlib
from typing import Final

from fastproc.bullmq.protocol import Arg, Keys, clean

#: BullMQ's scripts that are not called, because the one below does what they do.
MIRRORED: Final = frozenset({"updateProgress", "addLog"})
#: Progress marks and log rows of one call: a fifth of a millisecond of Redis' time. tuning.md
MAX_MARKS: Final = 64

#: KEYS: the event stream, meta, then a job's hash and its log, for each job. ARGV: for progress the number of the hash
#: in KEYS and the progress; for a row the number of the log, the row and how many are kept ("": all).
#: Source: BullMQ updateProgress-3.lua, addLog-2.lua, includes/getOrSetMaxEvents.lua.
SCRIPT: Final = """
local events, meta = KEYS[1], KEYS[2]
local there, progress, failed, most = {}, {}, nil, nil
local function try(...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then failed = failed or reply end
  return reply
end
local function job(number)
  if there[number] == nil then there[number] = try('EXISTS', KEYS[number]) == 1 end
  return there[number]
end
local at = 1
while at < #ARGV do
  local number = tonumber(ARGV[at])
  if number % 2 == 1 then
    if job(number) then
      if not most then
        most = redis.call('HGET', meta, 'opts.maxLenEvents')
        if not most then
          most = 10000
          redis.call('HSET', meta, 'opts.maxLenEvents', most)
        end
      end
      progress[number] = ARGV[at + 1]
      local id = string.sub(KEYS[number], #events - 5)
      try('XADD', events, 'MAXLEN', '~', most, '*', 'event', 'progress', 'jobId', id, 'data', ARGV[at + 1])
    end
    at = at + 2
  else
    if job(number - 1) then
      try('RPUSH', KEYS[number], ARGV[at + 1])
      if ARGV[at + 2] ~= '' then try('LTRIM', KEYS[number], -tonumber(ARGV[at + 2]), -1) end
    end
    at = at + 3
  end
end
for number = 3, #KEYS, 2 do
  if progress[number] then try('HSET', KEYS[number], 'progress', progress[number]) end
end
return failed or 0
"""
SHA1: Final = hashlib.sha1(SCRIPT.encode()).hexdigest()


class Marks:
    """Marks of one call, which may be added until the call is made."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._named: list[Arg] = [keys("events"), keys("meta")]
        self._numbers: dict[str, int] = {}
        self._args: list[Arg] = []
        self._room = MAX_MARKS

    @property
    def is_open(self) -> bool:
        """Whether there is room for one more."""
        return self._room > 0

    def progress(self, job_id: str, progress: str) -> None:
        """Set the job's progress, JSON text."""
        self._room -= 1
        self._args += (self._number(job_id), progress)

    def add_log(self, job_id: str, row: str, keep: int | None) -> None:
        """Append a row to the job's log, of which the newest `keep` stay."""
        self._room -= 1
        self._args += (self._number(job_id) + 1, clean(row), "" if keep is None else keep)

    def command(self) -> list[Arg]:
        """Return the call with all marks; none may be added any more."""
        self._room = 0
        return ["EVALSHA", SHA1, len(self._named), *self._named, *self._args]

    def _number(self, job_id: str) -> int:
        """The number of the job's hash among the keys; its log is the next one."""
        number = self._numbers.get(job_id)
        if number is None:
            number = self._numbers[job_id] = len(self._named) + 1
            key = self._keys(job_id)
            self._named += (key, f"{key}:logs")
        return number
