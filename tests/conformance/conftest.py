"""The stage of the conformance suite: every scenario is played twice, by the official Worker and by ours."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from fastproc.bullmq.protocol import METRICS_MINUTES
from fastproc.embedded.valkey import Valkey
from tests.conformance import keyspace
from tests.conformance import peer as peers
from tests.conformance.ours import consumer
from tests.conformance.peer import Peer

#: What both workers are told, unless a scenario says otherwise. Its names are those of Node's Worker options.
OPTIONS = {
    "name": "w",
    "concurrency": 1,
    "lockDuration": 30_000,
    "stalledInterval": 30_000,
    "maxStalledCount": 1,
    "metrics": {"maxDataPoints": METRICS_MINUTES},
}
PATIENCE_S = 15.0
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def peer(valkey: Valkey) -> Iterator[Peer]:
    """The official library, in a process that all tests share."""
    peers.require()
    peer = Peer(valkey.port)
    yield peer
    peer.close()


@pytest.fixture(scope="session")
def redis(valkey: Valkey) -> Iterator[Redis]:
    """A look at the server from outside."""
    client = Redis(port=valkey.port, decode_responses=True, protocol=2)
    client.ping()
    yield client
    client.close()


@pytest.fixture(scope="session")
def scripts_of_major(peer: Peer, tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    """Folders with the Lua commands of each major's own package. `scripts.load` knows them by their hashes."""
    folders = {}
    for major in (5, 6):
        folder = tmp_path_factory.mktemp(f"scripts-{major}")
        for name, source in peer.wait("lua", v=major).items():
            (folder / name).write_text(source)
        folders[major] = str(folder)
    return folders


class Serving:
    """A worker in a process of its own, to be killed."""

    def __init__(self, kind: str, port: int, queue: str, era: int, options: dict[str, Any]) -> None:
        self.kind, self._port, self._queue, self._era, self._options = kind, port, queue, era, options
        self._peer: Peer | None = None
        self._program: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Return when it serves."""
        if self.kind == "official":
            self._peer = Peer(self._port)
            self._peer.wait("work", v=self._era, queue=self._queue, opts=self._options, handle="it")
            return
        told = json.dumps({"port": self._port, "queue": self._queue, "opts": self._options})
        command = [sys.executable, "-m", "tests.conformance.ours", told]
        self._program = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self._program.stdout
        assert self._program.stdout.readline() == "serving\n", "our worker did not start"

    def kill(self) -> None:
        """End it as a crash does. Idempotent."""
        if self._peer:
            self._peer.kill()
        if self._program:
            self._program.kill()
            self._program.wait()
            assert self._program.stdout
            self._program.stdout.close()
        self._peer = self._program = None


class Side:
    """One queue with one kind of worker, "official" or "ours"; `major` is the producer's, `era` that of the scripts."""

    def __init__(self, kind: str, queue: str, peer: Peer, redis: Redis) -> None:
        self.kind, self.queue, self.peer, self.redis = kind, queue, peer, redis
        self.major = self.era = 5
        self.scripts: str | None = None
        self.port: int = redis.connection_pool.connection_kwargs["port"]
        self._workers = 0

    # --- as the application

    async def add(self, script: str, _name: str = "photo", **opts: Any) -> str:
        """Add a job that plays `script`; return its id. `opts` are BullMQ's."""
        job = await self.call("add", _name, photo(script), opts)
        return str(job["id"])

    async def add_to(self, second: str, script: str, **opts: Any) -> None:
        """Add a job to the scenario's second queue."""
        args = ["photo", photo(script), opts]
        await self.peer("queue", v=self.major, queue=self.queue + second, method="add", args=args)

    async def add_all(self, script: str, count: int, **opts: Any) -> None:
        """Add `count` jobs in one step, so that no worker sees some of them; opts["jobId"] gets a number."""
        jobs = []
        for number in range(count):
            own = {"jobId": f"{opts['jobId']}-{number}"} if "jobId" in opts else {}
            jobs.append({"name": "photo", "data": photo(script), "opts": opts | own})
        await self.call("addBulk", jobs)

    async def call(self, method: str, *args: Any) -> Any:
        """Call a method of Queue."""
        return await self.peer("queue", v=self.major, queue=self.queue, method=method, args=args)

    async def job(self, job_id: str, method: str | None = None, *args: Any) -> Any:
        """Call a method of Job; without one, return the job."""
        return await self.peer("job", v=self.major, queue=self.queue, job=job_id, method=method, args=args)

    async def listen(self) -> None:
        """Begin to hear the queue's events."""
        await self.peer("listen", v=self.major, queue=self.queue)

    async def heard(self, name: str) -> list[Any]:
        """The events of that name so far, as QueueEvents gives them."""
        heard = await self.peer("heard", v=self.major, queue=self.queue)
        return [said for event, said in heard if event == name]

    async def until_heard(self, name: str, count: int) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while len(await self.heard(name)) < count:
            assert time.monotonic() < deadline, f"{self.kind}: not {count} {name} events"
            await asyncio.sleep(0.01)

    async def finished(self, job_id: str, ttl_ms: int = 10_000) -> Any:
        """Job.waitUntilFinished. Raises PeerError with the job's reason."""
        return await self.peer("finished", v=self.major, queue=self.queue, job=job_id, ttl=ttl_ms)

    # --- the worker

    @asynccontextmanager
    async def worker(self, second: str = "", **options: Any) -> AsyncIterator[Any]:
        """Run a worker while the block runs; at its end it finishes the jobs in hand.

        `second` is the end of the name of a scenario's second queue.
        """
        queue, told = self.queue + second, self._told(options)
        if self.kind == "ours":
            async with consumer(self.port, queue, told) as intake:
                yield intake
            return
        self._workers += 1
        handle = f"{queue}/{self._workers}"
        await self.peer("work", v=self.era, queue=queue, opts=told, handle=handle)
        try:
            yield handle
        except BaseException:
            await self.peer("stop", handle=handle, force=True)
            raise
        await self.peer("stop", handle=handle)

    @asynccontextmanager
    async def process(
        self, kind: str | None = None, *, era: int | None = None, **options: Any
    ) -> AsyncIterator[Serving]:
        """Run a worker in a process of its own, of another kind or major if asked for; it is killed at the end."""
        serving = Serving(kind or self.kind, self.port, self.queue, era or self.era, self._told(options))
        await asyncio.to_thread(serving.start)
        try:
            yield serving
        finally:
            serving.kill()

    @property
    def other(self) -> str:
        """The other kind of worker."""
        return "official" if self.kind == "ours" else "ours"

    def _told(self, options: dict[str, Any]) -> dict[str, Any]:
        return OPTIONS | options | {"scripts": self.scripts}

    # --- from outside

    def key(self, suffix: str) -> str:
        return f"bull:{self.queue}:{suffix}"

    def client_name(self, worker: str) -> str:
        """The name of the worker's connection, by which getWorkers finds it."""
        return f"bull:{base64.b64encode(self.queue.encode()).decode()}:w:{worker}"

    def connections(self, worker: str) -> list[str]:
        """Ids of the connections that make the worker visible."""
        clients = self.redis.client_list()
        return [client["id"] for client in clients if client["name"] == self.client_name(worker)]

    def cut(self, worker: str) -> bool:
        """Cut the worker's visible connections; say whether there was one."""
        found = self.connections(worker)
        for number in found:
            self.redis.client_kill_filter(_id=number)
        return bool(found)

    @property
    def scripts_folder(self) -> Path | None:
        return Path(self.scripts) if self.scripts else None

    def open(self, gate: str) -> None:
        """Let jobs pass that wait at `gate`."""
        self.redis.set(f"gate:{self.queue}:{gate}", "open", ex=60)

    def runs(self) -> list[str]:
        """What was begun, in order: `job/attempt`."""
        return self.redis.lrange(f"runs:{self.queue}", 0, -1)

    def events(self, *names: str) -> list[dict[str, str]]:
        """The event stream; with names, those events only."""
        found = [fields for _id, fields in self.redis.xrange(self.key("events"))]
        return [fields for fields in found if not names or fields["event"] in names]

    def count(self, state: str) -> int:
        """How many jobs are in the state, by its key."""
        count = {"list": self.redis.llen, "zset": self.redis.zcard, "none": lambda _key: 0}
        return int(count[self.redis.type(self.key(state))](self.key(state)))

    def where(self) -> str:
        """Where the jobs are and what happened last, for messages."""
        counts = {state: self.count(state) for state in (*STATES, "waiting-children", "completed", "failed")}
        return f"{counts}, last events {self.events()[-6:]}"

    async def until(self, condition: Callable[[], Any], what: str = "") -> Any:
        """Wait until the condition holds; return what it returned."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := condition()):
            if time.monotonic() > deadline:
                pytest.fail(
                    f"{self.kind}: not within {PATIENCE_S:g} s: {what or condition}; {self.where()}",
                    pytrace=False,
                )
            await asyncio.sleep(0.01)
        return found

    async def until_state(self, state: str, count: int = 1) -> None:
        await self.until(lambda: self.count(state) >= count, f"{count} {state}")

    async def quiet(self, *, leaving: tuple[str, ...] = ()) -> None:
        """Wait until nothing is left to do but in the states of `leaving`, and the worker has settled."""
        busy = [state for state in STATES if state not in leaving]
        # Jobs that are left to wait may leave their marker; others are told of by none.
        marked = not set(leaving) - {"active"}
        seen: list[Any] = []

        def settled() -> bool:
            if any(self.count(state) for state in busy) or (marked and self.count("marker")):
                seen.clear()
                return False
            last = (self.redis.xinfo_stream(self.key("events"))["last-generated-id"], time.monotonic())
            if not seen or seen[0][0] != last[0]:
                seen[:] = [last]
            return last[1] - seen[0][1] > 0.05

        await self.until(settled, "quiet")

    def snapshot(self) -> keyspace.Snapshot:
        # A second queue of a scenario has the name of the first as its beginning.
        return keyspace.normalise(keyspace.snapshot(self.redis, f"{self.queue}*"), self.queue)

    async def leave(self) -> None:
        await self.peer("leave", queue=self.queue)
        for key in [*self.redis.scan_iter(f"*:{self.queue}*", count=1000)]:
            self.redis.delete(key)


STATES = ("wait", "paused", "prioritized", "delayed", "active")


def photo(script: str) -> dict[str, str]:
    """Data as the contract wants them, with a script in place of a photo's key."""
    return {"photoId": "p1", "s3Key": script}


Scenario = Callable[[Side], Awaitable[Any]]


class Both:
    """The two sides of a test."""

    def __init__(self, official: Side, ours: Side) -> None:
        self.official, self.ours = official, ours

    async def __call__(
        self, scenario: Scenario, *, several_at_once: bool = False, by_the_clock: bool = False
    ) -> None:
        """Play the scenario on both sides at the same time, and compare what it leaves and what it returns.

        `by_the_clock`: its jobs are added at moments that the two sides do not share.
        """
        said = await asyncio.gather(scenario(self.official), scenario(self.ours), return_exceptions=True)
        for outcome in said:
            if isinstance(outcome, BaseException):
                raise outcome
        left = [side.snapshot() for side in (self.official, self.ours)]
        if several_at_once:
            left = [keyspace.each_job_apart(found) for found in left]
        if by_the_clock:
            left = [keyspace.each_iteration_apart(found) for found in left]
        assert left[0], "the scenario has left nothing to compare"
        for official, ours in (said, left):
            if found := keyspace.difference(official, ours):
                pytest.fail(f"the official worker and ours differ:\n{found}", pytrace=False)

    def produced_by(self, major: int) -> Both:
        """Let the application be of that major."""
        self.official.major = self.ours.major = major
        return self


@pytest.fixture
async def sides(peer: Peer, redis: Redis, unique: str) -> AsyncIterator[Both]:
    """Both workers with the scripts of major 5, which is what is installed, and a producer of that major."""
    both = Both(*(Side(kind, f"{unique}-{kind}", peer, redis) for kind in ("official", "ours")))
    yield both
    for side in (both.official, both.ours):
        await side.leave()


@pytest.fixture(params=[5, 6], ids=["v5", "v6"])
def both(request: pytest.FixtureRequest, sides: Both, scripts_of_major: dict[int, str]) -> Both:
    """Both workers, once as of major 5, once as of major 6: producer, official worker, and our scripts."""
    for side in (sides.official, sides.ours):
        side.major = side.era = request.param
        side.scripts = scripts_of_major[request.param] if request.param != 5 else None
    return sides


@pytest.fixture
def ours(sides: Both) -> Side:
    """Our worker alone, where there is nothing to compare with."""
    return sides.ours
