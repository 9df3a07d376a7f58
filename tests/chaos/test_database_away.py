"""The database is locked, full, replaced, gone or refuses a row: no job fails but those whose row is refused."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fastproc.backends.metadata_sqlite import create_schema
from fastproc.embedded.trial import invariants
from fastproc.embedded.trial.place import Place
from tests.chaos.conftest import Make, Wrong
from tests.chaos.outage import audit, endure, some

TMPFS_BYTES = 1 << 20


def scenario(make: Make, name: str) -> list[str]:
    with make() as place:
        return CASES[name](place)


def locked(place: Place) -> list[str]:
    """Another writer holds the database for longer than any wait of SQLite's own."""
    other = sqlite3.connect(place.database, isolation_level=None, check_same_thread=False)
    with contextlib.closing(other):
        service = place.start()
        return endure(
            place,
            service,
            lambda: other.execute("BEGIN IMMEDIATE"),
            lambda: other.execute("ROLLBACK"),
            seconds=4.0,
            not_ready="database",
        )


def full(place: Place) -> list[str]:
    """The disk has no byte left."""
    with tmpfs(place.database.parent):
        create_schema(str(place.database))
        ballast = place.database.parent / "ballast"
        service = place.start()
        try:
            return endure(
                place, service, lambda: fill(ballast), ballast.unlink, seconds=2.0, not_ready="database"
            )
        finally:
            service.close()


def moved_away(place: Place) -> list[str]:
    """The file is gone for a while, and comes back as it was."""
    aside = place.database.with_name("aside.db")
    service = place.start()
    wrong = endure(
        place,
        service,
        lambda: move(place.database, aside),
        lambda: move(aside, place.database),
        not_ready="database",
    )
    return wrong


def replaced(place: Place) -> list[str]:
    """The file is replaced by a copy of itself, as a restore does: rows go to the file that is at the path."""
    service = place.start()

    def replace() -> None:
        with contextlib.closing(sqlite3.connect(place.database)) as old:
            copy = place.database.with_name("copy.db")
            with contextlib.closing(sqlite3.connect(copy)) as new:
                old.backup(new)
        for suffix in ("-wal", "-shm"):
            place.database.with_name(place.database.name + suffix).unlink(missing_ok=True)
        os.replace(copy, place.database)

    first = place.add(some(3, "old"))
    place.until_ended(first)
    before = service.processes()
    replace()
    added = place.add(some(8))
    place.until_ended(added)
    return audit(place, service, [*first, *added], before)


def refused(place: Place) -> list[str]:
    """A trigger refuses some rows: those jobs fail with a code of their own, and the others are untouched."""
    with contextlib.closing(sqlite3.connect(place.database)) as database:
        database.executescript(
            "CREATE TRIGGER no BEFORE UPDATE OF processing_status ON photos"
            " WHEN new.id LIKE 'refused%' AND new.processing_status = 'completed'"
            " BEGIN SELECT raise(ABORT, 'not this one'); END"
        )
    service = place.start()
    before = service.processes()
    good, bad = place.add(some(6)), place.add(some(6, "refused"), attempts=3)
    more = place.add(some(6, "q"))
    place.until_ended([*good, *bad, *more])
    world = place.look([*good, *bad, *more])
    wrong = invariants.bounded(before, service.processes())
    wrong += [
        f"{each.id}: {world.jobs[each.id].get('failedReason')}"
        for each in bad
        if not row_refused(world, each.id)
    ]
    others = [*good, *more]
    # The refused ones' thumbnails were uploaded before the database said no.
    return wrong + invariants.ends_as_it_must(world, others) + invariants.uncounted(world, others)


def row_refused(world: invariants.World, job_id: str) -> bool:
    job = world.jobs[job_id]
    return job.get("failedReason", "").startswith("ROW_REFUSED: ") and job["atm"] == "1"


def read_only(place: Place) -> list[str]:
    """On a disk that is mounted read-only a service refuses to start, and names the variable."""
    with tmpfs(place.database.parent):
        create_schema(str(place.database))
        subprocess.run(["mount", "-o", "remount,ro", str(place.database.parent)], check=True)
        service = place.start(ready=False)
        code = service.wait()
        said = "\n".join(service.lines)
        return [] if code != 0 and "SQLITE_PATH" in said and "Traceback" not in said else [f"{code}: {said}"]


def deleted_at_start(place: Place) -> list[str]:
    """A database that is not there is not made anew."""
    place.database.unlink()
    service = place.start(ready=False)
    code = service.wait()
    said = "\n".join(service.lines)
    found = [] if code != 0 and "init-db" in said else [f"{code}: {said}"]
    return found + (["a database was made"] if place.database.exists() else [])


CASES: dict[str, Callable[[Place], list[str]]] = {
    "locked by another writer": locked,
    "on a full disk": full,
    "moved away and back": moved_away,
    "replaced by its copy": replaced,
    "refuses rows by a trigger": refused,
    "read-only at the start": read_only,
    "gone at the start": deleted_at_start,
}
NEEDS_MOUNT = ("on a full disk", "read-only at the start")


@pytest.mark.parametrize("name", CASES)
def test_no_job_fails_because_of_the_database(name: str, wrong: Wrong) -> None:
    if name in NEEDS_MOUNT and not can_mount():
        pytest.skip("mounting a tmpfs needs the right to do so")
    assert wrong(name) == []


def can_mount() -> bool:
    return (
        os.geteuid() == 0
        and shutil.which("mount") is not None
        and "tmpfs" in Path("/proc/filesystems").read_text()
    )


@contextlib.contextmanager
def tmpfs(folder: Path) -> Iterator[None]:
    """A disk of 1 MB at the folder."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={TMPFS_BYTES}", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(ballast: Path) -> None:
    """Write until the disk is full."""
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            continue


def move(source: Path, target: Path) -> None:
    """Move a database with what belongs to it."""
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.replace(str(source) + suffix, str(target) + suffix)
