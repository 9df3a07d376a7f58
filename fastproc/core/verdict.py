"""The one line of a service: how it does, what is worst, what a person can do about it. Pure.

Rule 1: the worst comes first: what no job can pass, then what costs jobs, then what an operator has ordered, then what
        is slow. Where nothing is wrong, the line says what goes on; what is old and works (decoders) is said after it.
Rule 2: every line that is not good has a remedy, which names a command, a setting or the place to look at.
Rule 3: moments are UTC, as in the log, and say so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from fastproc.core.failures import Failure
from fastproc.core.remedies import REMEDIES
from fastproc.core.scene import Level, Scene, Verdict, count
from fastproc.core.snapshot import LATELY_S, NeighbourNow, QueueNow, Snapshot
from fastproc.core.spans import moment, span

#: Workers die repeatedly: so many deaths lately; one or two are a photo's, which has its own end.
DEATHS: Final = 3
#: Jobs fail: so many lately, and this share of those that ended.
FAILED, FAILED_SHARE = 5, 0.2
#: A task is long: a photo takes 0.02 to 1 s.
LONG_TASK_S: Final = 60.0
#: The limiter is what holds back: so many seconds of the last minute.
HELD_S: Final = 15.0
#: What waits grows: by this share of what is done, and by so many jobs a minute at least.
GROWTH_SHARE, GROWTH_A_MINUTE = 0.05, 6.0


def verdict(
    snapshots: Sequence[Snapshot], queue: QueueNow | None, failures: Sequence[Failure], *, now_ms: int = 0
) -> Verdict:
    """Return the worst. `now_ms`: the reader's wall clock; without it, that of the newest snapshot."""
    return verdicts(snapshots, queue, failures, now_ms=now_ms)[0]


def verdicts(
    snapshots: Sequence[Snapshot], queue: QueueNow | None, failures: Sequence[Failure], *, now_ms: int = 0
) -> list[Verdict]:
    """Return all that is wrong, the worst first, then what goes on, then what is old."""
    now_ms = now_ms or max((each.at_ms for each in snapshots), default=0)
    scene = Scene(snapshots, queue, failures, now_ms)
    if not snapshots:
        return [_nobody(scene)]
    found = [line for judge in _JUDGES for line in judge(scene)]
    order = {"bad": 0, "warn": 1, "good": 2}
    return [*sorted(found, key=lambda line: order[line.level]), scene.flow(), *_holes(scene)]


def _nobody(scene: Scene) -> Verdict:
    waits = f", {scene.waiting} jobs wait" if scene.waiting else ""
    remedy = "start one with `fastproc run`; if one should run, look at its log and its container's state"
    return Verdict("bad", f"no service is running{waits}", remedy)


def _away(scene: Scene) -> Iterator[Verdict]:
    by_name: dict[str, list[tuple[Snapshot, NeighbourNow]]] = {}
    for service in scene.services:
        for each in service.neighbours:
            if each.away:
                by_name.setdefault(each.name, []).append((service, each))
    for name in sorted(by_name, key=lambda name: [*NEIGHBOURS, name].index(name)):
        hit, (words, then, remedy) = (
            by_name[name],
            NEIGHBOURS.get(name, (name, "", "look at its address and its log")),
        )
        first = min((each for _, each in hit), key=lambda each: each.away_since_ms)
        since = f" since {moment(first.away_since_ms)}" if first.away_since_ms else ""
        where = scene.on([service for service, _ in hit])
        state = "refuses what jobs need" if name == "kernel" else "is away"
        level: Level = "warn" if name == "webhook" else "bad"
        yield Verdict(level, f"{words} {state}{since}{where}{then}: {first.away}", remedy)


def _stuck(scene: Scene) -> Iterator[Verdict]:
    for service in scene.services:
        if service.health == "stuck":
            why = next(iter(service.problems), "a part of it does not go on")
            yield Verdict(
                "bad", f"the service on {service.host} is stuck: {why}", "restart it; its jobs go back"
            )


def _not_ready(scene: Scene) -> Iterator[Verdict]:
    names = {each.name for service in scene.services for each in service.neighbours if each.away}
    for service in scene.services:
        for problem in service.problems:
            if service.health != "stuck" and problem.partition(":")[0] not in names:
                remedy = "look at the service's log; docs/operations.md says what each problem means"
                yield Verdict("bad", f"{problem} (on {service.host})", remedy)


def _stale(scene: Scene) -> Iterator[Verdict]:
    stale = [service for service in scene.services if service.health == "stale"]
    if stale:
        text = f"jobs wait and none ends, without a reason that is known{scene.on(stale)}"
        yield Verdict("bad", text, "look at the log; restart the service if /health fails")


def _dying(scene: Scene) -> Iterator[Verdict]:
    deaths = scene.lately("deaths", LATELY_S)
    if deaths < DEATHS:
        return
    workers = scene.workers
    last = max(workers, key=lambda each: each.last_death_at_ms, default=None)
    how = f", the last: {last.last_death}" if last and last.last_death else ""
    remedy = "`fastproc errors` names the photos; see docs/operations.md, FastprocWorkersDie"
    yield Verdict("bad", f"workers died {deaths} times in {span(LATELY_S)}{how}", remedy)


def _long(scene: Scene) -> Iterator[Verdict]:
    workers = scene.workers
    tasks = [worker.task_s for worker in workers if worker.state == "busy"]
    if tasks and len(tasks) == len(workers) and min(tasks) >= LONG_TASK_S:
        text = f"all {len(tasks)} workers have been busy with the same photos for {span(min(tasks))} and more"
        remedy = "is the host short of CPU, or are the photos giants? JOB_TIMEOUT_S ends them; `fastproc cancel` one"
        yield Verdict("bad", text, remedy)


def _failing(scene: Scene) -> Iterator[Verdict]:
    failed, completed = scene.lately("failed", LATELY_S), scene.lately("completed", LATELY_S)
    if failed < FAILED or failed < FAILED_SHARE * (failed + completed):
        return
    share = f"{failed} of {failed + completed} jobs failed in {span(LATELY_S)}"
    # The table of failures has counts of days: what fails most now is not what has failed most.
    codes = sum((Counter(service.codes) for service in scene.services), Counter())
    if not codes:
        yield Verdict("bad", share, "`fastproc errors` says why")
        return
    code = max(codes, key=lambda each: codes[each])
    newest = next((each for each in scene.failures if each.code == code), None)
    last = f", the last {_photo_or_job(newest)}" if newest else ""
    remedy = REMEDIES[code].operator if code in REMEDIES else "see `fastproc errors`"
    yield Verdict("bad", f"{share}, most with {code}{last}", remedy)


def _photo_or_job(failure: Failure) -> str:
    return f"photo {failure.photo}" if failure.photo else f"job {failure.job}"


def _held(scene: Scene) -> Iterator[Verdict]:
    queue = scene.queue
    if queue is None:
        return
    if queue.paused:
        yield Verdict("warn", f"the queue is paused, {queue.waiting} jobs wait", "`fastproc resume`")
    elif queue.held:
        yield Verdict("warn", queue.held, "a limit that the application has set, or `rateLimit`: it decides")


def _paused(scene: Scene) -> Iterator[Verdict]:
    paused = [service for service in scene.services if service.state == "paused"]
    if paused:
        hosts = list(dict.fromkeys(each.host for each in paused))
        what = "the host is" if len(hosts) == 1 else "the hosts are"
        yield Verdict("warn", f"{what} paused: {', '.join(hosts)}", f"`fastproc resume --host {hosts[0]}`")


def _stopping(scene: Scene) -> Iterator[Verdict]:
    stopping = [service for service in scene.services if service.state == "stopping"]
    if stopping:
        left = sum(each.in_hand for each in stopping)
        text = f"stopping: {count(left, 'job')} in hand{scene.on(stopping)}"
        yield Verdict("warn", text, "nothing, where you have stopped it; else look who sends the signal")


def _slow(scene: Scene) -> Iterator[Verdict]:
    """The limiter holds back, or what waits grows."""
    held = max((service.limiter.held_s for service in scene.services), default=0.0)
    growth, pace = (scene.queue.growth_per_s if scene.queue else None) or 0.0, scene.pace
    limits = [each.limiter for each in scene.services if each.limiter.max]
    if scene.waiting and held >= HELD_S and limits:
        total = sum(limit.per_s for limit in limits)
        text = f"the rate limit is what holds back ({total:g} jobs a second), {scene.waiting} jobs wait"
        yield Verdict("warn", text, "`fastproc set rate` raises it; RATE_LIMIT_MAX for good")
    elif scene.waiting and growth * 60 >= GROWTH_A_MINUTE and growth >= GROWTH_SHARE * pace:
        text = f"what waits grows by {growth:.1f} jobs a second: {scene.waiting} wait, {pace:.1f} a second are done"
        yield Verdict("warn", text, "start more hosts, or `fastproc set concurrency` where cores are free")


def _versions(scene: Scene) -> Iterator[Verdict]:
    versions = sorted({service.version for service in scene.services})
    if len(versions) > 1:
        text = "services of different versions: " + ", ".join(
            f"{version} on {', '.join(_hosts(scene, version))}" for version in versions
        )
        yield Verdict("warn", text, "finish the roll-out")


def _hosts(scene: Scene, version: str) -> list[str]:
    return list(dict.fromkeys(service.host for service in scene.services if service.version == version))


def _holes(scene: Scene) -> Iterator[Verdict]:
    holes = list(dict.fromkeys(hole for service in scene.services for hole in service.holes))
    if holes:
        more = f" (and {len(holes) - 1} more)" if len(holes) > 1 else ""
        text = f"decoders: {holes[0].partition(': ')[0]}{more}"
        yield Verdict(
            "warn", text, "install a newer release, or rebuild the image; `fastproc check` names all"
        )


#: name -> what it is called, what follows from its absence, and what to do.
NEIGHBOURS: Final = {
    "redis": (
        "Redis",
        ", no job is taken",
        "is it up, and reachable from here? Its log; REDIS_HOST, REDIS_URL",
    ),
    "storage": (
        "S3",
        ", intake paused",
        "is it up, and reachable? Its log; MINIO_ENDPOINT, the keys, the bucket",
    ),
    "uploads": ("S3 (uploads)", ", intake paused", "its free space, the bucket's rights and quota"),
    "database": (
        "the database",
        ", intake paused",
        "is it up? Disk, rights, locks; SQLITE_PATH, DATABASE_URL",
    ),
    "kernel": (
        "the kernel",
        ", intake paused",
        "memory, descriptors (ulimit -n) and processes (pids.max) of the host",
    ),
    "webhook": (
        "a receiver of webhooks",
        ", events wait",
        "`fastproc webhooks` shows the receiver and its answer",
    ),
}

_JUDGES: Final[Iterable[Callable[[Scene], Iterator[Verdict]]]] = (
    _away, _stuck, _not_ready, _stale, _dying, _long, _failing,
    _held, _paused, _stopping, _slow, _versions,
)  # fmt: skip
