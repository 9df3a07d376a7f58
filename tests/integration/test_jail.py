"""A worker that has been taken over, in its jail: nothing gets out, nobody else is hurt, and the test itself is tried.

The traitor (`tests.traitor`) is the real worker with one stage more. Every way out that the jail must close is tried
with the jail and without: a test that passes without a jail tests nothing.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import mmap
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from fastproc.core import plan
from fastproc.core.errors import TaskError, WorkerCrashed, WorkerKilled, WorkerOutOfMemory, WorkerTimeout
from fastproc.core.model import Limits, Options, Sandbox
from fastproc.ipc import launch
from fastproc.ipc.messages import Settings
from fastproc.supervisor.workers import roster
from fastproc.supervisor.workers.pool import Pool
from fastproc.supervisor.workers.task import Result
from fastproc.worker.jail.jail import _OWN_UIDS, THREADS
from tests import pictures, traitor

PATIENCE_S = 30.0
OPTIONS = Options(stages=("validation", "traitor"), limits=Limits(max_source_bytes=8 << 20))
PHOTO = pictures.jpeg(160, 120)
SECRET = ctypes.create_string_buffer(b"the supervisor's secret")


class Outside(msgspec.Struct):
    """What there is to get at from inside: this process, a file, a folder to write to, three listeners."""

    folder: Path
    file: Path
    tcp: int
    udp: int
    unix: str

    def ways_out(self) -> dict[str, list[Any]]:
        """Name -> escape and its arguments. All get out of a worker without a jail."""
        me, secret = os.getpid(), (ctypes.addressof(SECRET), len(SECRET))
        shared, private, anonymous = mmap.MAP_SHARED, mmap.MAP_PRIVATE, mmap.MAP_ANONYMOUS
        grows_down = 0x100
        found = {
            "read /etc/passwd": ["read", "/etc/passwd"],
            "read the supervisor's environment": ["read", f"/proc/{me}/environ"],
            "read the supervisor's memory": ["read_memory", me, *secret],
            "write the supervisor's memory": ["write_memory", me, *secret],
            "read its own executable": ["read", "/proc/self/exe"],
            "open its own memory": ["write", "/proc/self/mem"],
            "open another worker's lane": ["listing", f"/proc/{me}/fd"],
            "write a file": ["write", str(self.folder / "new")],
            "write to shared memory": ["write", "/dev/shm/fastproc-traitor"],
            "list a folder": ["listing", "/"],
            "look whether a file is there": ["look_at", str(self.file)],
            "truncate a file": ["truncate", str(self.file)],
            "remove a file": ["remove", str(self.file)],
            "name a file by its handle": ["file_handle", str(self.file)],
            "open from another thread": ["in_another_thread", "/etc/passwd"],
            "connect to Redis": ["connect", "127.0.0.1", self.tcp],
            "connect to S3": ["connect", "localhost", self.tcp],
            "connect to a metadata address": ["connect", "169.254.169.254", 80],
            "connect to a socket file": ["connect_unix", self.unix],
            "send a datagram": ["send_udp", "127.0.0.1", self.udp],
            "make a pair of sockets": ["socket_pair"],
            "fork": ["fork"],
            "run a program": ["execute", "/bin/true"],
            "trace the supervisor": ["trace", me],
            "signal the supervisor": ["send_signal", me],
            "signal it by a pidfd": ["send_signal_by_pidfd", me],
            "have the kernel signal it": ["own_signals_by_fd", me],
            "set the supervisor's limits": ["set_limits", me],
            "outlive the supervisor": ["outlive_the_supervisor"],
            "be traceable": ["be_traceable"],
            "map code": ["map_code"],
            "turn memory into code": ["make_code"],
            "map shared memory that is not counted": ["map_uncounted", shared | anonymous],
            "map a stack that is not counted": ["map_uncounted", private | anonymous | grows_down],
            "make a memfd": ["make_memfd"],
            "hold many descriptors": ["hold_descriptors"],
            "make a segment of shared memory": ["shared_segment"],
            "keep a key": ["keep_a_key"],
            "ask for keys": ["ask_for_keys"],
            "io_uring": ["io_uring"],
            "watch files": ["watch_files"],
            "run data as code": ["old_personality"],
        }
        if os.getuid() == 0:
            found |= {
                "become root": ["become_root"],
                "enter a new namespace": ["new_namespace"],
                "userfaultfd": ["fault_handler"],
                "load a BPF program": ["load_bpf"],
                "count the machine's events": ["perf_events"],
                "mount": ["mount", str(self.folder)],
                "change the root folder": ["change_root", str(self.folder)],
            }
        return found


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Outside]:
    folder = tmp_path / "outside"
    folder.mkdir()
    file = folder / "secret"
    path = str(folder / "socket")
    with (
        socket.create_server(("127.0.0.1", 0), backlog=64) as tcp,
        socket.socket(type=socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_UNIX) as unix,
    ):
        udp.bind(("127.0.0.1", 0))
        unix.bind(path)
        unix.listen(64)
        yield Outside(folder, file, tcp.getsockname()[1], udp.getsockname()[1], path)
    Path("/dev/shm/fastproc-traitor").unlink(missing_ok=True)


@pytest.fixture
def treason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that are started have the traitor's stage."""
    (tmp_path / "site").mkdir()
    folder = traitor.site(tmp_path / "site")
    monkeypatch.setattr(launch, "command", lambda fd, settings: traitor.command(folder, fd, settings))


@asynccontextmanager
async def started(size: int = 1, timeout_s: float = PATIENCE_S, **more: Any) -> AsyncIterator[Pool]:
    """A pool whose workers are all ready. `more` goes to Settings."""
    pool = Pool(size, Settings(**{"options": OPTIONS, "memory_bytes": 1 << 30, **more}), timeout_s)
    pool.start()
    try:
        await until_alive(pool, size)
        yield pool
    finally:
        async with asyncio.timeout(PATIENCE_S):
            await pool.stop()


async def until_alive(pool: Pool, size: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while pool.alive < size:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def order(pool: Pool, escape: str, *arguments: Any) -> str:
    """What came of it: `escaped: ...`, `denied: ...`, or the code and message of the job's failure."""
    try:
        result = await process(pool, traitor.ordered(PHOTO, escape, *arguments))
    except TaskError as error:
        return error.reason
    return str(result.report.facts["traitor"]["outcome"])


async def process(pool: Pool, photo: bytes, content_type: str = "image/jpeg") -> Result:
    async with pool.lend() as loan:
        loan.target[: len(photo)] = photo
        loan.size = len(photo)
        return await pool.run(loan, content_type, lambda _stage: None)


async def attempts(outside: Outside, sandbox: Sandbox, size: int) -> dict[str, str]:
    found = {}
    async with started(size, sandbox=sandbox) as pool:
        for name, (escape, *arguments) in outside.ways_out().items():
            outside.file.write_bytes(b"a secret")
            found[name] = await order(pool, escape, *arguments)
    return found


@pytest.mark.usefixtures("treason")
async def test_every_way_out_is_closed_and_the_neighbour_works_on(outside: Outside) -> None:
    innocent: list[Result] = []
    me, children = os.getpid(), set(psutil.Process().children())

    async with started() as neighbour:

        async def work() -> None:
            while True:
                innocent.append(await process(neighbour, PHOTO))

        working = asyncio.create_task(work())
        found = await attempts(outside, "enforce", 1)
        working.cancel()
        await asyncio.wait([working])
        # Cancelling may have met a photo in work, whose worker is no death.
        assert neighbour.deaths == 0
    out = {name: outcome for name, outcome in found.items() if outcome not in CLOSED}
    assert not out
    assert outside.file.read_bytes() == b"a secret"
    assert not (outside.folder / "new").exists()
    assert bytes(SECRET).startswith(b"the supervisor's secret")
    assert len(innocent) > 10
    assert all(result.bodies == innocent[0].bodies for result in innocent)
    assert os.getpid() == me
    assert set(psutil.Process().children()) == children


#: A call that is refused, the kernel's end of a process that made a forbidden one, and a limit that holds.
CLOSED = (
    "denied: EPERM",
    "denied: EACCES",
    "denied: EMFILE",
    "WORKER_CRASHED: the worker died during the task: SIGSYS (in traitor)",
)


@pytest.mark.usefixtures("treason")
async def test_without_a_jail_every_one_of_them_gets_out(outside: Outside) -> None:
    """The proof of the test above: what is denied there is denied by the jail."""
    found = await attempts(outside, "off", 1)
    assert {name: outcome for name, outcome in found.items() if not outcome.startswith("escaped")} == {}
    assert len(found) >= 15


@pytest.mark.usefixtures("treason")
async def test_a_worker_sees_no_secret_and_holds_nothing_but_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIO_SECRET_KEY", "swordfish")
    with socket.socket() as connection:
        connection.set_inheritable(True)
        async with started() as pool:
            seen = json.loads((await order(pool, "see")).removeprefix("escaped: "))
            [pid] = pool.pids
            status = status_of(pid)
    assert set(seen["environment"]) == {*launch.ENVIRONMENT, "VIPS_DISC_THRESHOLD"}
    # Three, the channel, and what the mappings of two lanes keep.
    assert seen["descriptors"][:4] == [0, 1, 2, 3]
    assert len(seen["descriptors"]) == 6
    assert status["Seccomp"] == ["2"]
    assert status["NoNewPrivs"] == ["1"]
    assert len(set(status["Uid"])) == 1
    assert int(status["Uid"][0]) >= _OWN_UIDS if os.getuid() == 0 else int(status["Uid"][0]) == os.getuid()
    if os.getuid() == 0:
        assert status["CapEff"] == status["CapPrm"] == ["0" * 16]
        assert status["Groups"] == []


async def test_a_workers_limits_are_set_for_good_and_the_kernel_would_rather_end_it_than_the_supervisor() -> (
    None
):
    async with started(options=Options(), memory_bytes=300 << 20) as pool:
        [pid] = pool.pids
        lines = about(pid, "limits").splitlines()[1:]
        score = about(pid, "oom_score_adj")
        owner = owner_of(pid)
    limits = {line[:26].strip(): line[26:].split()[:2] for line in lines}
    for name in ("core file size", "file size", "locked memory", "msgqueue size"):
        assert limits[f"Max {name}"] == ["0", "0"], name
    assert limits["Max data size"] == [str(300 << 20)] * 2
    assert limits["Max open files"] == ["32", "32"]
    assert "unlimited" not in limits["Max address space"] + limits["Max stack size"]
    assert int(score) > int(about(os.getpid(), "oom_score_adj"))
    # Not dumpable: its /proc belongs to root, not to the user that it runs as.
    assert owner == 0


def about(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text()


def owner_of(pid: int) -> int:
    """Whose the private part of a process' /proc is: the user's it runs as, or root's where it is not dumpable."""
    return os.stat(f"/proc/{pid}/environ").st_uid


def status_of(pid: int) -> dict[str, list[str]]:
    lines = about(pid, "status").splitlines()
    return {name: words.split() for name, _, words in (line.partition(":") for line in lines)}


@pytest.mark.usefixtures("treason")
async def test_every_thread_is_in_the_jail() -> None:
    async with started() as pool:
        assert (await order(pool, "think")).startswith("escaped")
        [pid] = pool.pids
        threads = [status_of(int(thread)) for thread in os.listdir(f"/proc/{pid}/task")]
    assert len(threads) > 1
    assert {status["Seccomp"][0] + status["NoNewPrivs"][0] for status in threads} == {"21"}


@pytest.mark.usefixtures("treason")
async def test_the_photo_and_the_size_of_shared_memory_are_beyond_a_worker_even_without_a_jail() -> None:
    """These walls are the seals of `ipc.blob`."""
    async with started(sandbox="off") as pool:
        for escape, *arguments in (
            ["scribble_on_the_source"],
            ["resize_blobs", 0],
            ["resize_blobs", 1 << 30],
        ):
            async with pool.lend() as loan:
                photo = traitor.ordered(PHOTO, escape, *arguments)
                loan.target[: len(photo)] = photo
                loan.size = len(photo)
                result = await pool.run(loan, "image/jpeg", lambda _stage: None)
                assert result.report.facts["traitor"]["outcome"] in ("denied: EACCES", "denied: EPERM")
                assert bytes(loan.target[: len(photo)]) == photo


@pytest.mark.usefixtures("treason")
@pytest.mark.parametrize(
    ("escape", "arguments", "error", "words"),
    [
        ("flood_the_channel", [], WorkerCrashed, "it sent Progress when nobody asked"),
        ("send_descriptors", [], WorkerCrashed, "it sent descriptors"),
        ("flood_stderr", [], WorkerCrashed, "it floods its stderr"),
        ("die", [signal.SIGKILL], WorkerKilled, "SIGKILL"),
        ("die", [signal.SIGSEGV], WorkerCrashed, "SIGSEGV"),
        ("touch_nothing", [], WorkerCrashed, "SIGSEGV"),
        ("spin", [], WorkerTimeout, "no result after"),
        ("sleep", [], WorkerTimeout, "no result after"),
        ("grow", [], WorkerOutOfMemory, "more memory than a worker may use"),
    ],
)
async def test_what_no_jail_can_forbid_ends_that_job_alone(
    escape: str, arguments: list[Any], error: type[TaskError], words: str
) -> None:
    async with started(size=2, timeout_s=4.0, memory_bytes=300 << 20) as pool:
        pids = pool.pids
        guilty = asyncio.create_task(process(pool, traitor.ordered(PHOTO, escape, *arguments)))
        innocent = [await process(pool, PHOTO) for _ in range(5)]
        with pytest.raises(error, match=words):
            await asyncio.wait_for(guilty, PATIENCE_S)
        await until_alive(pool, 2)
        assert len(set(pids) & set(pool.pids)) >= 1
        assert (await process(pool, PHOTO)).bodies == innocent[0].bodies
        assert pool.deaths <= 1


@pytest.mark.usefixtures("treason")
async def test_the_time_that_a_task_may_take_grows_with_its_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "BASE_S", 1.0)
    monkeypatch.setattr(plan, "S_PER_MEGAPIXEL", 100.0)
    async with started(size=2) as pool:
        small, large = pictures.jpeg(100, 100), pictures.jpeg(200, 100)
        orders = [process(pool, traitor.ordered(photo, "sleep")) for photo in (small, large)]
        ends = await asyncio.gather(*orders, return_exceptions=True)
    assert [str(end) for end in ends] == [
        "no result after 2 s (in traitor)",
        "no result after 3 s (in traitor)",
    ]


@pytest.mark.skipif(os.getuid() != 0, reason="a worker has a uid of its own where the service is root")
@pytest.mark.usefixtures("treason")
async def test_a_worker_that_starts_threads_without_end_is_refused_them_and_hurts_nobody() -> None:
    async with started(size=2) as pool:
        started_threads = int((await order(pool, "thread_bomb", 2000)).removeprefix("escaped: "))
        assert roster.MAX_THREADS < started_threads < THREADS
        # The worker is replaced, and pictures whose decoder needs a thread pass.
        pool.tend()
        others = await asyncio.gather(*(process(pool, pictures.webp(), "image/webp") for _ in range(4)))
        assert pool.deaths == 1
    assert all(other.report.format == "webp" for other in others)


@pytest.mark.usefixtures("treason")
async def test_a_worker_with_too_many_threads_is_killed_where_its_user_is_not_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(roster, "MAX_THREADS", 100)
    async with started(sandbox="off") as pool:
        [pid] = pool.pids
        bomb = asyncio.create_task(process(pool, traitor.ordered(PHOTO, "many_threads")))
        while not bomb.done():
            pool.tend()
            await asyncio.sleep(0.05)
        with pytest.raises(WorkerCrashed, match=r"it has \d+ threads"):
            await bomb
        assert not psutil.pid_exists(pid)
