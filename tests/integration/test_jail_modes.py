"""WORKER_SANDBOX where the kernel gives less, as another user, with other limits: what starts, and what is said."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastproc.core.errors import FleetHalted, WorkerOutOfMemory
from fastproc.core.fleet import Rules
from fastproc.core.model import Limits, Options
from fastproc.ipc import launch
from fastproc.ipc.messages import Settings
from fastproc.supervisor.workers.pool import Pool
from tests import pictures, plugins, traitor
from tests.integration.test_jail import (
    PATIENCE_S,
    PHOTO,
    owner_of,
    process,
    started,
    status_of,
    until_alive,
)

OPTIONS = Options(limits=Limits(max_source_bytes=8 << 20))
#: Lays a filter on the process that refuses some system calls, as an old kernel or a container's profile does, and
#: becomes the worker.
POORER_KERNEL = """
import os, sys
from fastproc.worker.jail import kernel
from fastproc.worker.jail import seccomp
import platform, struct
numbers = [int(number) for number in sys.argv[1].split(",")]
code = [(0x20, 0, 0, 0)]
for number in numbers:
    code += [(0x15, 0, 1, number), (0x06, 0, 0, seccomp.NO_SUCH_CALL)]
code.append((0x06, 0, 0, seccomp.ALLOW))
kernel.forbid_new_privileges()
arch = seccomp.ARCHS[platform.machine()]
kernel.load_filter(arch.numbers["seccomp"], b"".join(struct.pack("=HBBI", *each) for each in code))
os.execv(sys.argv[2], sys.argv[2:])
"""
SECCOMP, LANDLOCK = 317 if os.uname().machine == "x86_64" else 277, 444

Launcher = Callable[[list[str]], None]


@pytest.fixture
def through(monkeypatch: pytest.MonkeyPatch) -> Launcher:
    """Start workers through another program."""
    real = launch.command

    def launcher(before: list[str]) -> None:
        monkeypatch.setattr(launch, "command", lambda fd, settings: [*before, *real(fd, settings)])

    return launcher


@pytest.fixture
def without(through: Launcher) -> Callable[..., None]:
    """Start workers on a kernel that does not have these system calls."""

    def poorer(*numbers: int) -> None:
        through([sys.executable, "-I", "-c", POORER_KERNEL, ",".join(map(str, numbers))])

    return poorer


async def refusal(boots: int = 2, **more: Any) -> str:
    """Why no worker gets ready."""
    rules = Rules(boot_failures=boots, boot_backoff_s=0.01)
    pool = Pool(1, Settings(**{"options": OPTIONS, **more}), PATIENCE_S, rules)
    pool.start()
    try:
        with pytest.raises(FleetHalted) as caught:
            await asyncio.wait_for(asyncio.shield(pool.halted), PATIENCE_S)
    finally:
        await pool.stop()
    return str(caught.value)


async def test_the_whole_jail_is_what_a_service_gets_by_default() -> None:
    async with started(options=OPTIONS) as pool:
        greeting = pool.greeting
        assert greeting is not None
        assert greeting.sandbox.startswith("seccomp, landlock ")
        uid = int(greeting.sandbox.rpartition(", uid ")[2])
        assert uid >= 1 << 30 if os.getuid() == 0 else uid == os.getuid()
        assert greeting.unprotected == ()


async def test_without_seccomp_no_worker_gets_ready_and_the_operator_reads_why(
    without: Callable[..., None],
) -> None:
    without(SECCOMP)
    assert "WORKER_SANDBOX: seccomp is not available: [Errno 38] Function not implemented" in await refusal()


async def test_best_effort_goes_on_without_seccomp_and_says_so(without: Callable[..., None]) -> None:
    without(SECCOMP)
    async with started(options=OPTIONS, sandbox="best-effort") as pool:
        assert pool.greeting is not None
        assert pool.greeting.sandbox.startswith("landlock ")
        assert [part.partition(":")[0] for part in pool.greeting.unprotected] == ["seccomp"]
        assert (await process(pool, PHOTO)).bodies


async def test_a_kernel_without_landlock_is_enough_and_it_is_said(without: Callable[..., None]) -> None:
    without(LANDLOCK)
    async with started(options=OPTIONS) as pool:
        assert pool.greeting is not None
        assert pool.greeting.sandbox.startswith("seccomp, uid ")
        assert [part.partition(":")[0] for part in pool.greeting.unprotected] == ["Landlock"]
        assert (await process(pool, PHOTO)).bodies


async def test_off_is_off_and_it_is_said() -> None:
    async with started(options=OPTIONS, sandbox="off") as pool:
        assert pool.greeting is not None
        assert pool.greeting.unprotected == ("WORKER_SANDBOX is off",)
        [pid] = pool.pids
        assert status_of(pid)["Seccomp"] == ["0"]
        assert (await process(pool, PHOTO)).bodies


async def test_a_worker_that_was_given_a_secret_does_not_get_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "ENVIRONMENT", {**launch.ENVIRONMENT, "MINIO_SECRET_KEY": "swordfish"})
    why = await refusal()
    assert "an environment without secrets is not available: it has MINIO_SECRET_KEY" in why
    assert "swordfish" not in why


#: The worker itself, with one call less than it needs.
TIGHTER = """
import os, sys
from fastproc.worker import main
from fastproc.worker.jail import seccomp
seccomp.ALLOWED = tuple(name for name in seccomp.ALLOWED if name != "getrusage")
seccomp.REFUSED += {more}
os._exit(main.main(sys.argv))
"""


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ('("getrusage",)', "that worked before fails in the jail: Failed(code='PROCESSING_ERROR'"),
        ("()", ": SIGSYS"),
    ],
    ids=["refused", "ended"],
)
async def test_a_jail_in_which_nothing_works_is_found_before_the_first_photo(
    monkeypatch: pytest.MonkeyPatch, more: str, words: str
) -> None:
    """What another C library or a newer interpreter may need is not known here."""
    real, code = launch.command, TIGHTER.replace("{more}", more)
    monkeypatch.setattr(
        launch, "command", lambda fd, settings: [sys.executable, "-I", "-c", code, *real(fd, settings)[-2:]]
    )
    assert words in await refusal()


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to become somebody else")
@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv of util-linux")
async def test_an_ordinary_users_worker_is_shut_in_as_well(through: Launcher) -> None:
    # Reading everything is left to it: the interpreter may lie in root's own folder.
    reading = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
    through([str(shutil.which("setpriv")), "--reuid=4242", "--regid=4242", "--clear-groups", *reading])
    async with started(options=OPTIONS) as pool:
        assert pool.greeting is not None
        assert pool.greeting.sandbox.endswith(", uid 4242")
        assert pool.greeting.unprotected == ()
        [pid] = pool.pids
        assert status_of(pid)["Seccomp"] == ["2"]
        assert owner_of(pid) == 0
        assert (await process(pool, PHOTO)).bodies


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to be in groups")
@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv of util-linux")
async def test_nothing_is_left_of_roots_groups(through: Launcher) -> None:
    through([str(shutil.which("setpriv")), "--groups=4,24"])
    async with started(options=OPTIONS) as pool:
        [pid] = pool.pids
        status = status_of(pid)
    assert status["Groups"] == []
    assert set(status["Gid"]) == {"65534"}
    assert len(set(status["Uid"])) == 1
    assert int(status["Uid"][0]) > 65534


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to be root without its powers")
@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv of util-linux")
async def test_root_that_may_not_become_another_user_stays_root_in_the_jail_and_it_is_said(
    through: Launcher,
) -> None:
    through([str(shutil.which("setpriv")), "--bounding-set=-setuid", "--inh-caps=-setuid"])
    async with started(options=OPTIONS) as pool:
        assert pool.greeting is not None
        assert pool.greeting.sandbox.endswith(", uid 0")
        assert pool.greeting.unprotected == (
            "another user than root: CAP_SETUID, CAP_SETGID and CAP_KILL are needed",
        )
        assert (await process(pool, PHOTO)).bodies


async def test_a_picture_just_over_the_memory_of_a_worker_fails_alone_and_gets_a_fresh_one_next() -> None:
    """20 megapixels of progressive 4:4:4: 120 MB of coefficients, besides the 70 MB that a worker starts with."""
    giant = pictures.jpeg(5000, 4000, progressive=True, subsampling="4:4:4")
    async with started(options=OPTIONS, memory_bytes=150 << 20) as pool:
        [pid] = pool.pids
        with pytest.raises(WorkerOutOfMemory):
            await process(pool, giant)
        await until_alive(pool, 1)
        assert pool.pids != [pid]
        assert (await process(pool, PHOTO)).bodies
    async with started(options=OPTIONS, memory_bytes=280 << 20) as pool:
        assert (await process(pool, giant)).bodies


@pytest.mark.parametrize(
    ("act", "words"),
    [
        ("os.nice(1)", "SIGSYS (in greedy)"),
        ("open('/etc/passwd')", "PIPELINE: the stage 'greedy' may not do so: PermissionError: "),
    ],
)
async def test_a_stage_that_the_jail_stops_is_named_at_the_start(
    act: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugins.left(tmp_path, "greedy", "greedy_stage", f"import os\nNAME = 'greedy'\ndef run(work): {act}\n")
    monkeypatch.setattr(launch, "command", lambda fd, settings: traitor.command(tmp_path, fd, settings))
    stages = ("validation", "greedy", "metadata")
    assert words in await refusal(options=Options(stages=stages), boots=1)
