"""Services on several hosts share queue, store and PostgreSQL, and one of them dies every few seconds: nothing is lost.

The hosts are network namespaces (needs root and `ip`); the servers are embedded. Jobs are added steadily for as long as
faults are made. A service is killed with all of its processes at once, and started again. At the end every job must be
completed once, with one row and all of its renditions, and nothing may be left over. One line a host, the verdict as
one JSON line, and exit code 1 where something is wrong.

    python bench/hosts.py [--jobs 1000] [--seconds 120] [--concurrency 1 1 1] [--every 3 6] [--seed N]
                          [--faults killed without-power cut-off no-queue no-store no-database]

By default hosts are killed, and half of them lose their network in the same moment, so that nobody closes their
connections (without-power). The other faults last up to 10 s: no network, or no way to one server. `--seconds 0`: no
faults, and all jobs are added at once: how many each host does. `--lock-s 30` is the service's default.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import needs
from soak_faults import painted

from fastproc.embedded.trial import invariants
from fastproc.embedded.trial.hosts import DATABASE, QUEUE_SERVER, STORE, Hosts, hosts
from fastproc.embedded.trial.invariants import Added
from fastproc.embedded.trial.network import Host

#: Longest wait for the last job at the end.
END_S = 180.0
#: How long a fault lasts that is not over at once.
FAULT_S = (0.5, 10.0)
DEATHS = ("killed", "without-power")
SERVERS = {"no-queue": QUEUE_SERVER, "no-store": STORE, "no-database": DATABASE}
FAULTS = (*DEATHS, "cut-off", *SERVERS)


class Run:
    """One run: the hosts, the jobs that were added, and what was done to whom."""

    def __init__(self, ground: Hosts, given: argparse.Namespace, dice: random.Random) -> None:
        self.ground, self.given, self.dice = ground, given, dice
        self.added: list[Added] = []
        self.made = {host: dict.fromkeys(given.faults, 0) for host in ground.all}
        #: What ends a fault, by its host, and when.
        self.ends: dict[Host, tuple[float, Callable[[], None]]] = {}
        #: Jobs completed by services that were killed since.
        self.before = dict.fromkeys(ground.all, 0)

    def settings(self, host: Host) -> dict[str, str]:
        return {
            "WORKER_CONCURRENCY": str(self.given.concurrency[self.ground.all.index(host)]),
            "LOCK_DURATION_MS": str(round(self.given.lock_s * 1000)),
            "STALLED_INTERVAL_MS": str(round(self.given.lock_s * 1000)),
        }

    def start_missing(self) -> None:
        """Start what has ended, as an orchestrator does, but for hosts that have no power."""
        for host in self.ground.all:
            if not self.ground.runs(host) and host not in self.ends:
                self.before[host] += self.ground.completed_by(host)
                self.ground.start(host, self.settings(host))

    def add_jobs(self, names: list[str]) -> None:
        """Add the jobs, spread over the time."""
        photos = {f"p-{number}": names[number % len(names)] for number in range(self.given.jobs)}
        self.added = self.ground.add(photos, every_s=self.given.seconds / self.given.jobs)

    def suffer(self) -> None:
        """Let one of the hosts that are well have a fault."""
        well = [host for host in self.ground.all if host not in self.ends]
        if not well:
            return
        host, fault = self.dice.choice(well), self.dice.choice(self.given.faults)
        self.made[host][fault] += 1
        end: Callable[[], None]
        if fault in SERVERS:
            host.lose(SERVERS[fault])
            end = partial(host.find, SERVERS[fault])
        elif fault == "killed":
            end = self.start_missing
        else:
            host.unplug()
            end = host.plug
        if fault in DEATHS:
            self.ground.kill(host)
        lasts = 0.0 if fault == "killed" else self.dice.uniform(*FAULT_S)
        self.ends[host] = (time.monotonic() + lasts, end)

    def course(self) -> None:
        """Make faults, and end them, until the time is over."""
        ends = next_one = time.monotonic()
        ends += self.given.seconds
        while (now := time.monotonic()) < ends or self.ends:
            if next_one <= now < ends:
                self.suffer()
                next_one = now + self.dice.uniform(*self.given.every)
            for host in [host for host, (at, _) in self.ends.items() if at <= now]:
                self.ends.pop(host)[1]()
            self.start_missing()
            time.sleep(0.05)

    def share(self, host: Host) -> int:
        return self.before[host] + self.ground.completed_by(host)


def problems_of(run: Run) -> list[str]:
    """All that is wrong at the end."""
    ground, wanted = run.ground, {each.photo_id for each in run.added}
    world = ground.look(run.added)
    client, bucket = ground.s3_client, ground.s3.bucket
    unfinished = client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    return [
        *invariants.broken(world, run.added),
        *(f"row {photo}: one is missing, or is nobody's" for photo in sorted(wanted ^ set(world.rows))),
        *(f"{upload['Key']} is half uploaded" for upload in unfinished),
        *(f"the database has an open transaction: {query}" for query in ground.open_transactions()),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=120.0, help="of faults")
    parser.add_argument(
        "--concurrency", type=int, nargs="+", default=[1, 1, 1], help="of each host's service"
    )
    parser.add_argument("--every", type=float, nargs=2, default=(3.0, 6.0), help="seconds between two faults")
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=list(DEATHS))
    parser.add_argument("--lock-s", type=float, default=5.0)
    parser.add_argument("--seed", type=int, help="of the faults; printed at the start")
    given = parser.parse_args()
    needs.root("each host is a network namespace")
    needs.program("ip", "iproute2")
    seed = random.randrange(1 << 32) if given.seed is None else given.seed
    print(f"seed {seed}: {given.jobs} jobs, {given.seconds:g} s, concurrency {given.concurrency}", flush=True)
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fastproc-hosts-")))
        ground = stack.enter_context(hosts(home, len(given.concurrency)))
        run = Run(ground, given, random.Random(seed))
        sys.exit(not went_well(run, seed))


def went_well(run: Run, seed: int) -> bool:
    """Make the run and print what it showed; return whether everything held."""
    ground, names = run.ground, []
    for number, body in enumerate(painted()):
        names.append(f"painted-{number}.jpg")
        ground.put(names[-1], body)
    run.start_missing()
    for host in ground.all:
        ground.service(host).wait_ready()
    began = time.monotonic()
    adding = threading.Thread(target=run.add_jobs, args=(names,))
    adding.start()
    run.course()
    adding.join()
    late = ""
    try:
        ground.until_ended(run.added, END_S)
    except AssertionError as error:
        late = str(error)
    seconds = time.monotonic() - began
    problems = [*([late] if late else []), *problems_of(run)]
    for host in ground.all:
        faults = ", ".join(f"{count} {fault}" for fault, count in run.made[host].items() if count)
        print(f"{host.address}: {run.share(host)} jobs completed; {faults or 'no fault'}")
    for problem in problems[:40]:
        print(f"  {problem[:600]}")
    stalls = [int(ground.job(each.id).get("stc") or 0) for each in run.added]
    verdict = {
        "bench": "hosts",
        "seed": seed,
        "jobs": len(run.added),
        "completed": len(ground.ids("completed")),
        "rows": len(ground.rows()),
        "objects": len(ground.objects()),
        "faults": {fault: sum(of_host[fault] for of_host in run.made.values()) for fault in run.given.faults},
        "jobs_taken_over": sum(map(bool, stalls)),
        "most_takeovers_of_a_job": max(stalls),
        "seconds": round(seconds, 1),
        "problems": len(problems),
        "clean": not problems,
    }
    print(json.dumps(verdict), flush=True)
    return not problems


if __name__ == "__main__":
    main()
