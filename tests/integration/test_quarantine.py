"""Photos that ended their worker: the folder, the prefix, the service that fills them, the commands that read them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from fastproc.backends.objects_s3 import S3ObjectStore
from fastproc.backends.quarantine_folder import FolderVault
from fastproc.backends.quarantine_s3 import S3Vault
from fastproc.config.s3 import S3Config
from fastproc.core.errors import ConfigError, ObjectNotFound, StorageUnavailable
from fastproc.core.evidence import Death, Evidence
from fastproc.terminal.exits import Exit
from tests import pictures
from tests.integration.service import PATIENCE_S, Place, Service, eventually, frozen

ID = "0123456789abcdef"
EVIDENCE = Evidence(
    id=ID, sha256=ID * 4, size=7, at="2026-01-02T03:04:05Z", job_id="1", photo_id="p", bucket="b", s3_key="k",
    attempt=1, deaths=1, code="WORKER_CRASHED", reason="it died", death=Death(stage="thumbnails", how="SIGSEGV"),
)  # fmt: skip
ROOM = 2 << 20


def other(number: int) -> Evidence:
    return structs.replace(EVIDENCE, id=f"{number:016x}")


def tree(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


# --- the folder


def vault(folder: Path, max_bytes: int = 1 << 30, max_age_s: float = 3600.0) -> FolderVault:
    return FolderVault(folder, max_bytes, max_age_s)


async def test_what_is_kept_in_a_folder_is_found_again_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    kept = vault(tmp_path / "a" / "b")
    await kept.prepare()
    await kept.keep(EVIDENCE, b"a photo")
    assert (await kept.find(ID), await kept.photo(ID, 100)) == (EVIDENCE, b"a photo")
    assert await kept.everything() == [EVIDENCE]
    files = tree(tmp_path / "a" / "b")
    assert [file.name for file in files] == [f"{ID}.json", f"{ID}.photo"]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


async def test_the_second_death_takes_the_place_of_the_first(tmp_path: Path) -> None:
    kept = vault(tmp_path)
    await kept.keep(EVIDENCE, b"a photo")
    await kept.keep(structs.replace(EVIDENCE, code="POISON_PHOTO", deaths=2), b"a photo")
    assert [each.code for each in await kept.everything()] == ["POISON_PHOTO"]
    assert len(tree(tmp_path)) == 2


async def test_a_folder_keeps_its_cap(tmp_path: Path) -> None:
    kept = vault(tmp_path, max_bytes=4 << 20)
    for number in range(5):
        await kept.keep(other(number), b"x" * ROOM)
        for suffix in (".json", ".photo"):
            os.utime(tmp_path / f"{number:016x}{suffix}", (time.time() - 100 + number,) * 2)
    assert [each.id for each in await kept.everything()] == [other(4).id]
    assert sum(file.stat().st_size for file in tree(tmp_path)) <= 4 << 20


async def test_a_photo_over_the_cap_leaves_its_story_and_pushes_nothing_out(tmp_path: Path) -> None:
    kept = vault(tmp_path, max_bytes=4 << 20)
    await kept.keep(EVIDENCE, b"a photo")
    await kept.keep(other(1), b"x" * (5 << 20))
    assert {each.id: each.photo_kept for each in await kept.everything()} == {ID: True, other(1).id: False}
    assert not (tmp_path / f"{other(1).id}.photo").exists()


async def test_what_is_too_old_goes_and_so_does_what_was_never_finished(tmp_path: Path) -> None:
    kept = vault(tmp_path, max_age_s=1000.0)
    await kept.keep(EVIDENCE, b"a photo")
    (tmp_path / ".x.tmp").write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("a person's own file")
    for file in tree(tmp_path):
        os.utime(file, (time.time() - 4000,) * 2)
    await kept.keep(other(1), b"a photo")
    assert [file.name for file in tree(tmp_path)] == [
        f"{other(1).id}.json", f"{other(1).id}.photo", "notes.txt",
    ]  # fmt: skip


async def test_a_link_that_waits_under_the_name_is_replaced_and_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("precious")
    folder = tmp_path / "q"
    folder.mkdir()
    (folder / f"{ID}.photo").symlink_to(target)
    await vault(folder).keep(EVIDENCE, b"a photo")
    assert target.read_text() == "precious"
    assert not (folder / f"{ID}.photo").is_symlink()


@pytest.mark.parametrize("id", ["../../etc/passwd", "", "0123", "0123456789ABCDEF", ID + "/", ID + "\n"])
async def test_an_id_that_is_none_is_no_path(tmp_path: Path, id: str) -> None:
    with pytest.raises(ConfigError, match="is not the id of a photo"):
        await vault(tmp_path).find(id)


async def test_a_file_that_is_no_evidence_hides_no_other(tmp_path: Path) -> None:
    kept = vault(tmp_path)
    await kept.keep(EVIDENCE, b"a photo")
    (tmp_path / f"{other(1).id}.json").write_text("{")
    assert await kept.everything() == [EVIDENCE]
    with pytest.raises(ConfigError, match=other(1).id):
        await kept.find(other(1).id)


async def test_a_folder_that_cannot_be_made_is_said_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="QUARANTINE: "):
        await vault(tmp_path / "file" / "q").prepare()


# --- the prefix


async def test_what_is_kept_under_a_prefix_is_found_again(s3: S3Config) -> None:
    objects = S3ObjectStore(s3)
    try:
        kept = S3Vault(objects, s3.bucket, "bad/photos")
        await kept.prepare()
        await kept.keep(EVIDENCE, b"a photo")
        await kept.sweep()
        assert (await kept.find(ID), await kept.photo(ID, 100)) == (EVIDENCE, b"a photo")
        with pytest.raises(ObjectNotFound):
            await kept.find(other(1).id)
        with pytest.raises(ConfigError, match="with an S3 client"):
            await kept.everything()
    finally:
        await objects.close()


async def test_a_story_without_its_photo_is_never_written(s3: S3Config) -> None:
    written: list[str] = []

    class Refusing(S3ObjectStore):
        async def put_all(self, bucket: str, uploads: Any) -> None:
            written.extend(upload.key for upload in uploads)
            raise StorageUnavailable("no")

    objects = Refusing(s3)
    with pytest.raises(StorageUnavailable):
        await S3Vault(objects, s3.bucket, "bad").keep(EVIDENCE, b"a photo")
    assert written == [f"bad/{ID}.photo"]
    await asyncio.sleep(0)


# --- the service and the commands


@pytest.fixture
def fastproc(place: Place, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def go(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "fastproc", *arguments],
            env={**place.environment, "COLUMNS": "200", **settings},
            cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip

    return go


async def killed_once(place: Place, tmp_path: Path, photo: bytes, quarantine: str) -> None:
    """Let a service lose one worker over the photo, then process it."""
    place.put("one.jpg", photo)
    service = Service(place, tmp_path, {"QUARANTINE": quarantine})
    try:
        service.wait_ready()
        [worker] = service.workers()
        with frozen(worker):
            job_id = await place.add({"photoId": "one", "s3Key": "one.jpg"}, attempts=3)
            eventually(lambda: place.job(job_id).get("progress") == "25", "the photo is with the worker")
            # A SIGKILL from outside would be no evidence.
            worker.send_signal(signal.SIGSEGV)
        place.until("completed", job_id)
        assert service.terminate() == Exit.OK
    finally:
        service.close()


async def test_a_death_is_kept_listed_shown_and_replayed(
    place: Place, tmp_path: Path, fastproc: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    photo, folder = pictures.jpeg(), tmp_path / "quarantine"
    await killed_once(place, tmp_path, photo, str(folder))
    listed = fastproc("quarantine", "list", "--json", QUARANTINE=str(folder))
    [evidence] = map(json.loads, listed.stdout.splitlines())
    assert (evidence["photo_id"], evidence["code"], evidence["deaths"]) == ("one", "WORKER_CRASHED", 1)
    assert evidence["death"]["how"].startswith("SIGSEGV")
    assert evidence["death"]["stage"] == "validation"
    assert evidence["death"]["versions"]["libvips"]
    assert (folder / f"{evidence['id']}.photo").read_bytes() == photo
    table = fastproc("quarantine", "list", QUARANTINE=str(folder)).stdout
    assert evidence["id"] in table
    assert "WORKER_CRASHED" in table
    shown = fastproc("quarantine", "show", evidence["id"], QUARANTINE=str(folder))
    assert json.loads(shown.stdout) == evidence

    before = tree(tmp_path)
    well = fastproc("quarantine", "replay", evidence["id"], QUARANTINE=str(folder))
    assert well.returncode == Exit.OK, well.stderr
    assert json.loads(well.stdout)["metadata"]["format"] == "jpeg"
    badly = fastproc("quarantine", "replay", evidence["id"], QUARANTINE=str(folder), MIN_SIDE_PX="1000")
    assert badly.returncode == Exit.PHOTOS_FAILED
    assert json.loads(badly.stdout)["code"] == "IMAGE_TOO_SMALL"
    slow = fastproc("quarantine", "replay", evidence["id"], QUARANTINE=str(folder), JOB_TIMEOUT_S="0.001")
    assert slow.returncode == Exit.PHOTOS_FAILED
    ended = json.loads(slow.stdout)
    assert (ended["code"], ended["death"]["how"]) == ("WORKER_TIMEOUT", "deadline")
    assert tree(tmp_path) == before


async def test_a_death_is_kept_under_a_prefix(
    place: Place, tmp_path: Path, fastproc: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    where = f"s3://{place.s3.bucket}/quarantine"
    await killed_once(place, tmp_path, pictures.jpeg(), where)
    found = place.s3_client.list_objects_v2(Bucket=place.s3.bucket, Prefix="quarantine/")["Contents"]
    about, photo = sorted(each["Key"] for each in found)
    assert about.endswith(".json")
    assert place.s3_client.get_object(Bucket=place.s3.bucket, Key=photo)["Body"].read() == pictures.jpeg()
    id = Path(photo).stem
    assert json.loads(fastproc("quarantine", "show", id, QUARANTINE=where).stdout)["photo_id"] == "one"
    assert fastproc("quarantine", "replay", id, QUARANTINE=where).returncode == Exit.OK


async def test_a_workers_last_words_do_not_drive_the_terminal(
    tmp_path: Path, fastproc: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    death = Death(stage="thumbnails", how="\x1b[2J\x9b2J", said="\x1b[2J\x9b2J\u202e")
    await vault(tmp_path).keep(structs.replace(EVIDENCE, death=death, photo_id="\x1b[2J"), b"a photo")
    for arguments in (("list",), ("list", "--json"), ("show", ID)):
        found = fastproc("quarantine", *arguments, QUARANTINE=str(tmp_path))
        assert found.returncode == Exit.OK, found.stderr
        assert ID in found.stdout
        assert not [sign for sign in found.stdout if sign != "\n" and not sign.isprintable()], found.stdout


def test_wrong_questions_are_one_message(
    tmp_path: Path, fastproc: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    for arguments, settings, words in (
        (("list",), {}, "QUARANTINE: is not set"),
        (("list",), {"QUARANTINE": str(tmp_path / "nowhere")}, "No such file"),
        (("show", "../x"), {"QUARANTINE": str(tmp_path)}, "is not the id of a photo"),
        (("replay", ID), {"QUARANTINE": str(tmp_path)}, "No such file"),
    ):
        found = fastproc("quarantine", *arguments, **settings)
        assert found.returncode == Exit.CONFIG, found.stderr
        assert words in found.stderr
        assert "Traceback" not in found.stderr
