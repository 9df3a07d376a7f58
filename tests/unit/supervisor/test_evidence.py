"""What the line leaves in quarantine: every death's photo, and nothing of any other failure."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Sequence

import pytest
from msgspec import structs

from fastproc.core.errors import FileCorrupted, StorageUnavailable, TaskError, WorkerCrashed, WorkerTimeout
from fastproc.core.evidence import Death, Evidence
from fastproc.core.model import Job
from fastproc.supervisor import evidence as module
from fastproc.supervisor.budget import ByteBudget
from fastproc.supervisor.evidence import Quarantine
from fastproc.supervisor.job import JobLine
from fastproc.supervisor.locks import LockKeeper
from fastproc.supervisor.metrics import Metrics
from tests.unit.supervisor.fakes import JOB, STAGES, FakeLoan, World

DEATH = Death(stage="thumbnails", how="SIGSEGV", said="oh no", versions={"libvips": "8.18"})


class FakeVault:
    """Remembers what it is given."""

    def __init__(self, trouble: Exception | None = None) -> None:
        self.kept: list[tuple[Evidence, bytes]] = []
        self.trouble = trouble
        self.sweeps = 0

    async def prepare(self) -> None:
        return

    async def keep(self, evidence: Evidence, photo: bytes) -> None:
        if self.trouble:
            raise self.trouble
        self.kept.append((evidence, photo))

    async def sweep(self) -> None:
        self.sweeps += 1

    async def everything(self) -> Sequence[Evidence]:
        return [evidence for evidence, _ in self.kept]

    async def find(self, id: str) -> Evidence:
        return next(evidence for evidence, _ in self.kept if evidence.id == id)

    async def photo(self, id: str, max_bytes: int) -> bytes:
        return next(photo for evidence, photo in self.kept if evidence.id == id)[:max_bytes]


def died(error: TaskError, death: Death | None = DEATH) -> TaskError:
    error.death = death
    return error


async def run(world: World, vault: FakeVault | None, job: Job = JOB) -> Quarantine:
    quarantine = Quarantine(vault)
    ports = structs.replace(world.ports, quarantine=quarantine)
    locks = LockKeeper(world.queue, 30.0, 30.0, lambda _ids: None)
    line = JobLine(ports, world.guards, locks, ByteBudget(1 << 20), STAGES, Metrics())
    await line.run(job, lambda: False)
    return quarantine


async def test_the_photo_of_a_worker_that_died_is_kept_with_all_that_is_known_of_it() -> None:
    world, vault = World(), FakeVault()
    world.effects.fail_at("workers.run", died(WorkerCrashed("the worker died: SIGSEGV")))
    assert (await run(world, vault)).kept == 1
    [(evidence, photo)] = vault.kept
    assert photo == b"a photo"
    assert evidence.sha256 == hashlib.sha256(photo).hexdigest()
    assert evidence.id == evidence.sha256[:16]
    assert (evidence.job_id, evidence.photo_id, evidence.s3_key) == (JOB.id, JOB.photo_id, JOB.s3_key)
    assert (evidence.code, evidence.deaths, evidence.size) == ("WORKER_CRASHED", 1, 7)
    assert evidence.death == DEATH
    assert world.effects.done[-1] == "queue.retry 7"


async def test_the_second_death_is_kept_as_poison_and_is_no_second_photo() -> None:
    world, vault = World(), FakeVault()
    world.effects.fail_at("workers.run", died(WorkerTimeout("no result")))
    assert (await run(world, vault, structs.replace(JOB, attempt=2, deaths=1, attempts=9))).kept == 0
    [(evidence, _)] = vault.kept
    assert (evidence.code, evidence.deaths, evidence.attempt) == ("POISON_PHOTO", 2, 2)
    assert world.effects.done[-1] == "queue.fail 7"


@pytest.mark.parametrize("error", [FileCorrupted("cut"), StorageUnavailable("away"), RuntimeError("boom")])
async def test_no_other_failure_keeps_a_photo(error: Exception) -> None:
    world, vault = World(), FakeVault()
    world.effects.fail_at("workers.run", error)
    await run(world, vault)
    assert vault.kept == []


async def test_a_photo_that_is_processed_is_not_kept() -> None:
    world, vault = World(), FakeVault()
    await run(world, vault)
    assert vault.kept == []
    assert world.effects.done[-1] == "queue.complete 7"


@pytest.mark.parametrize(
    "trouble", [OSError(28, "No space left"), StorageUnavailable("away"), ValueError("x")]
)
async def test_evidence_that_cannot_be_kept_changes_nothing_for_the_job(
    trouble: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()
    world.effects.fail_at("workers.run", died(WorkerCrashed("SIGSEGV")))
    await run(world, FakeVault(trouble))
    assert world.effects.done[-1] == "queue.retry 7"
    assert str(world.queue.said["reason"]).startswith("WORKER_CRASHED: SIGSEGV")
    assert "cannot be kept" in caplog.text


async def test_a_vault_that_hangs_holds_a_job_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEEP_S", 0.01)
    world, vault = World(), FakeVault()

    async def hang(evidence: Evidence, photo: bytes) -> None:
        await asyncio.Event().wait()

    vault.keep = hang  # type: ignore[method-assign]
    world.effects.fail_at("workers.run", died(WorkerCrashed("SIGSEGV")))
    await run(world, vault)
    assert world.effects.done[-1] == "queue.retry 7"


async def test_without_a_vault_the_first_death_says_how_to_get_one(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    quarantine = Quarantine()
    for _ in range(2):
        with pytest.raises(WorkerCrashed):
            async with quarantine.watch(JOB, FakeLoan()):  # type: ignore[arg-type]
                raise died(WorkerCrashed("SIGSEGV"))
    assert caplog.text.count("set QUARANTINE") == 1


async def test_tending_sweeps_and_survives_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SWEEP_S", 0.0)
    vault = FakeVault()

    async def sweep() -> None:
        vault.sweeps += 1
        if vault.sweeps == 1:
            raise OSError(5, "Input/output error")

    vault.sweep = sweep  # type: ignore[method-assign]
    task = asyncio.create_task(Quarantine(vault).tend())
    while vault.sweeps < 3:  # noqa: ASYNC110
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
