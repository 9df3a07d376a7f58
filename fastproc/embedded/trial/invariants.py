"""What must be true whatever fails around the service: each invariant is a function of what was seen from outside.

Rule 1: values in, sentences out; an empty list means that the invariant holds. Nothing is asked or waited for here.
Rule 2: nothing is taken from the service's own code: keys, states and codes are those of docs/contract.md.
Rule 3: a sentence names the job, the key or the process, so that a failed run can be read without a second one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

#: The contract's thumbnails, by default.
THUMBNAILS = ("thumb_sm", "thumb_md", "thumb_lg")
#: What a row and an event repeat of the return value of a completed job.
_TERMINAL = ("photo.processing.completed", "photo.processing.failed")

#: Allowance of a supervisor's or worker's memory over a run, and of its descriptors: pools of connections and threads
#: that are made when they are first used.
MEMORY_GROWTH_BYTES = 96 << 20
DESCRIPTOR_GROWTH = 24

#: Share of a core that a supervisor may use while a server that every job needs is away.
IDLE_SHARE = 0.2

#: Lines that every outage may cost, and further ones for each second of it.
LINES_AN_OUTAGE = 40
LINES_A_SECOND = 1.0
#: A job may go back once, which is a line, as its end is.
LINES_A_JOB = 2
#: The field of the lines that a job may have.
_JOB = re.compile(r" jobId=(\S+)")


class Added(Struct, frozen=True, kw_only=True):
    """A job that was added, and how it must end: "completed", or the code with which it fails."""

    id: str
    photo_id: str
    timestamp_ms: int
    ends: str = "completed"


class Stored(Struct, frozen=True):
    """An object: its bytes' number and hash, and whether another library than the service's could decode it."""

    size: int
    sha256: str
    decodable: bool


class Process(Struct, frozen=True):
    """A process at one moment; `cpu_s` is what it has used since it began."""

    pid: int
    memory_bytes: int
    descriptors: int
    cpu_s: float = 0.0


class World(Struct, frozen=True, kw_only=True):
    """What was seen at one moment.

    `jobs`: hashes of the queue, by id; `states`: ids by state; `locks`: ids of jobs that are locked; `objects`: what
    the bucket holds beside the photos; `rows` by photo; `events`: as they were received, doubles included, with no
    gap where `heard_all`; `lines`: the service's log.
    """

    jobs: Mapping[str, Mapping[str, str]]
    states: Mapping[str, Sequence[str]]
    locks: Collection[str]
    objects: Mapping[str, Stored]
    rows: Mapping[str, Mapping[str, Any]]
    events: Sequence[Mapping[str, Any]]
    lines: Sequence[str]
    heard_all: bool = True


def broken(world: World, added: Sequence[Added], *, counted: Collection[str] = ()) -> list[str]:
    """Every invariant of a world that is quiet: no job of `added` is under way. `counted`: see `uncounted`."""
    return [
        *nothing_lost(world, added),
        *ends_as_it_must(world, added),
        *one_end(world, added),
        *no_orphans(world, added),
        *in_agreement(world, added),
        *uncounted(world, added, counted),
    ]


def nothing_lost(world: World, added: Sequence[Added]) -> list[str]:
    """Every job is completed, or failed with a reason; none waits, none is in hand, none is locked."""
    under_way = {state: ids for state, ids in world.states.items() if state not in ("completed", "failed")}
    found = [f"job {job_id} is still {state}" for state, ids in under_way.items() for job_id in ids]
    found += [f"job {job_id} is locked, and nobody has it" for job_id in world.locks]
    where: dict[str, list[str]] = {}
    for state, ids in world.states.items():
        for job_id in ids:
            where.setdefault(job_id, []).append(state)
    for each in added:
        times = where.get(each.id, [])
        if len(times) != 1:
            found.append(f"job {each.id} is in {times or 'no list'}")
        elif times == ["failed"] and not world.jobs[each.id].get("failedReason"):
            found.append(f"job {each.id} has failed without a reason")
    return found


def ends_as_it_must(world: World, added: Sequence[Added]) -> list[str]:
    """A good photo's job is completed, and a bad one's has failed with its code."""
    found, completed = [], set(world.states["completed"])
    for each in added:
        job = world.jobs[each.id]
        if each.ends == "completed":
            if each.id not in completed:
                found.append(f"job {each.id} is innocent and was not completed: {job.get('failedReason')}")
        elif job.get("failedReason", "").partition(":")[0] != each.ends:
            found.append(f"job {each.id} must fail with {each.ends}: {job.get('failedReason')}")
    return found


def one_end(world: World, added: Sequence[Added]) -> list[str]:
    """A job has one event of its end, however often it was received; and one event id means one thing."""
    ends: dict[str, dict[str, str]] = {}
    kinds: dict[str, str] = {}
    found, completed = [], set(world.states["completed"])
    for event in world.events:
        if kinds.setdefault(event["id"], event["type"]) != event["type"]:
            found.append(f"event id {event['id']} is of two types")
        if event["type"] in _TERMINAL and not event["data"].get("error", {}).get("willRetry", False):
            ends.setdefault(event["data"]["jobId"], {})[event["id"]] = event["type"]
    for each in added:
        got = ends.get(each.id, {})
        if len(got) > 1:
            found.append(f"job {each.id} has several ends: {sorted(got)}")
        elif not got and world.heard_all:
            found.append(f"job {each.id} has no event of its end")
        want = "completed" if each.id in completed else "failed"
        if any(not kind.endswith(want) for kind in got.values()):
            found.append(f"job {each.id} is {want}, its event says {list(got.values())}")
    return found


def no_orphans(world: World, added: Sequence[Added]) -> list[str]:
    """The objects are exactly those of the completed jobs, and each can be decoded."""
    wanted: set[str] = set()
    completed = set(world.states["completed"])
    for each in added:
        if each.id in completed:
            wanted |= keys(each)
            optimized = _value(world, each).get("optimization") or {}
            wanted |= {optimized["s3Key"]} if "s3Key" in optimized else set()
    here = set(world.objects)
    found = [f"object {key} is missing" for key in sorted(wanted - here)]
    found += [f"object {key} is nobody's" for key in sorted(here - wanted)]
    return found + [
        f"object {key} cannot be decoded" for key in sorted(here) if not world.objects[key].decodable
    ]


def keys(each: Added) -> set[str]:
    """The keys of a job's thumbnails."""
    return {f"thumbnails/{each.photo_id}/{name}_{each.timestamp_ms}.jpg" for name in THUMBNAILS}


def in_agreement(world: World, added: Sequence[Added]) -> list[str]:
    """Job, row, event and objects say the same."""
    found, completed, failed = [], set(world.states["completed"]), set(world.states["failed"])
    told: dict[str, list[Mapping[str, Any]]] = {}
    for event in world.events:
        if event["type"] == _TERMINAL[0]:
            told.setdefault(event["data"]["jobId"], []).append(event)
    for each in added:
        row = world.rows.get(each.photo_id, {})
        if each.id in completed:
            problems = _completed_agree(world, each, row, told.get(each.id, ()))
            found += [f"job {each.id}: {problem}" for problem in problems]
        elif each.id in failed:
            reason = world.jobs[each.id].get("failedReason", "")
            if (row.get("processing_status"), row.get("processing_error")) != ("failed", reason):
                found.append(f"job {each.id} has failed ({reason}), its row says {_status(row)}")
    return found


def _completed_agree(
    world: World, each: Added, row: Mapping[str, Any], told: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    value = _value(world, each)
    if (row.get("processing_status"), row.get("processing_error")) != ("completed", None):
        yield f"it is completed, its row says {_status(row)}"
        return
    if json.loads(row["processing_metadata"])["thumbnails"] != value.get("thumbnails"):
        yield "its row and its return value differ"
    for made in value.get("thumbnails", ()):
        stored = world.objects.get(made["s3Key"])
        if stored is not None and stored.size != made["fileSize"]:
            yield f"{made['s3Key']} has {stored.size} bytes, its return value says {made['fileSize']}"
    for event in told:
        if event["data"]["thumbnails"] != value.get("thumbnails"):
            yield "its event and its return value differ"


def uncounted(world: World, added: Sequence[Added], counted: Collection[str] = ()) -> list[str]:
    """No attempt was counted for a fault that is not the job's; `counted`: jobs whose worker was ended from outside."""
    found = []
    for each in added:
        job = world.jobs[each.id]
        traces = json.loads(job.get("stacktrace") or "[]")
        made = int(job.get("atm") or 0)
        if each.ends == "completed" and each.id not in counted and (made > 1 or traces):
            found.append(f"job {each.id} is innocent: {made} attempts made, {traces}")
    return found


def locks_without_work(looks: Sequence[tuple[float, Mapping[str, str]]], longest_s: float) -> list[str]:
    """A lock is not held longer than any job takes. `looks`: at a moment (s), what is locked, with token and progress.

    Looks during an outage do not belong here: a job with finished work may wait as long as that takes.
    """
    since: dict[tuple[str, str], float] = {}
    found = {}
    for at, locked in looks:
        since = {item: since.get(item, at) for item in locked.items()}
        for (job_id, how), first in since.items():
            if at - first > longest_s:
                found[job_id] = (
                    f"job {job_id} is locked for {at - first:.1f} s at {how}, and nobody works on it"
                )
    return list(found.values())


def bounded(before: Sequence[Process], after: Sequence[Process]) -> list[str]:
    """No process needs much more than at the start, the first of each being the supervisor; none are left over."""
    found = []
    if len(after) > len(before):
        found.append(f"{len(after)} processes, {len(before)} at the start")
    for role, old, new in (("the supervisor", before[:1], after[:1]), ("a worker", before[1:], after[1:])):
        memory, memory_now = (max((each.memory_bytes for each in group), default=0) for group in (old, new))
        open_, open_now = (max((each.descriptors for each in group), default=0) for group in (old, new))
        if memory_now > memory + MEMORY_GROWTH_BYTES:
            found.append(f"{role} has {memory_now >> 20} MB, {memory >> 20} MB at the start")
        if open_now > open_ + DESCRIPTOR_GROWTH:
            found.append(f"{role} has {open_now} descriptors, {open_} at the start")
    return found


def calm(before: Process, after: Process, seconds: float) -> list[str]:
    """A supervisor that can do nothing does nothing: its share of a core stays small meanwhile."""
    share = (after.cpu_s - before.cpu_s) / seconds
    return (
        [f"the supervisor used {share:.0%} of a core while it could do nothing"] if share > IDLE_SHARE else []
    )


def quiet_log(lines: Sequence[str], seconds: float) -> list[str]:
    """An outage of so many seconds cost few lines, beside those of each job."""
    others = [line for line in lines if not _JOB.search(line)]
    of_jobs = len(lines) - len(others)
    most = LINES_AN_OUTAGE + LINES_A_SECOND * seconds
    if len(others) > most:
        return [
            f"{len(others)} lines of log in {seconds:.1f} s, {most:.0f} are allowed; such as {others[-1]}"
        ]
    jobs = len({found[1] for line in lines if (found := _JOB.search(line))})
    if of_jobs > LINES_AN_OUTAGE + LINES_A_JOB * jobs + 2 * seconds:
        return [f"{of_jobs} lines of log about {jobs} jobs in {seconds:.1f} s"]
    return []


def recovered(seconds: float | None, within_s: float) -> list[str]:
    """The first job after the fault was lifted was completed soon. None: none was."""
    if seconds is None:
        return ["nothing was completed after the fault was lifted"]
    return [f"it took {seconds:.1f} s to go on, {within_s:g} s are allowed"] if seconds > within_s else []


def _value(world: World, each: Added) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(world.jobs[each.id].get("returnvalue") or "{}") or {}
    return found


def _status(row: Mapping[str, Any]) -> str:
    return (
        f"{row.get('processing_status')} ({row.get('processing_error')})" if row else "nothing: there is none"
    )
