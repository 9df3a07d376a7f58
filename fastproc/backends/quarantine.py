"""Where photos in quarantine lie: in a folder, or under an S3 prefix; `<id>.photo` with `<id>.json` beside it.

Rule 1: a file appears whole or not at all, for its owner alone, the photo before its JSON.
Rule 2: names are made of the photo's hash; nothing that a producer wrote gets into a path.
Rule 3: a folder keeps its cap and its age itself; a bucket has lifecycle rules for that.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import structs

from fastproc.config.quarantine import QuarantineConfig
from fastproc.core.errors import ConfigError
from fastproc.core.evidence import ID, Evidence, Kept, superfluous
from fastproc.supervisor.ports import ObjectStore, Upload, Vault

PHOTO, ABOUT = ".photo", ".json"
#: A JSON with a long reason and 4 KiB of stderr has 8 KiB.
MAX_ABOUT_BYTES = 1 << 20
#: A file that was not given its name in this time was left by a service that is gone.
HALF_WRITTEN_S = 3600.0
DAY_S = 86_400.0

_decoder = msgspec.json.Decoder(Evidence)


class FolderVault:
    """Evidence in a local folder."""

    def __init__(self, folder: Path, max_bytes: int, max_age_s: float) -> None:
        self._folder, self._max_bytes, self._max_age_s = folder, max_bytes, max_age_s

    async def prepare(self) -> None:
        """Make the folder, and see that it can be written. Raises ConfigError."""
        await asyncio.to_thread(self._prepare)

    async def keep(self, evidence: Evidence, photo: bytes) -> None:
        """Write both files, over those of an earlier death. Raises OSError."""
        await asyncio.to_thread(self._keep, evidence, photo)

    async def sweep(self) -> None:
        """Remove what is too old, or too much. Raises OSError."""
        await asyncio.to_thread(self._sweep)

    async def everything(self) -> Sequence[Evidence]:
        """Return all evidence, the newest first; what cannot be read is left out. Raises ConfigError."""
        return await asyncio.to_thread(self._everything)

    async def find(self, id: str) -> Evidence:
        """Return one. Raises ConfigError."""
        try:
            return _decoder.decode(await asyncio.to_thread(self._read, id, ABOUT, MAX_ABOUT_BYTES))
        except msgspec.MsgspecError as error:
            raise ConfigError([f"QUARANTINE: {id}: {error}"]) from None

    async def photo(self, id: str, max_bytes: int) -> bytes:
        """Return its photo, of which `max_bytes` are read at most. Raises ConfigError."""
        return await asyncio.to_thread(self._read, id, PHOTO, max_bytes)

    def _prepare(self) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            probe = self._folder / f".{secrets.token_hex(8)}.tmp"
            _write(probe, b"")
            probe.unlink()
        except OSError as error:
            raise ConfigError([f"QUARANTINE: {self._folder}: {error.strerror}"]) from None

    def _keep(self, evidence: Evidence, photo: bytes) -> None:
        if len(photo) + MAX_ABOUT_BYTES > self._max_bytes:
            # One photo larger than the cap would push out everything else and then itself.
            evidence = structs.replace(evidence, photo_kept=False)
        else:
            self._place(evidence.id + PHOTO, photo)
        self._place(evidence.id + ABOUT, msgspec.json.format(msgspec.json.encode(evidence)))
        self._sweep()

    def _place(self, name: str, data: bytes) -> None:
        half = self._folder / f".{name}.{secrets.token_hex(8)}.tmp"
        try:
            _write(half, data)
            half.replace(self._folder / name)
        except OSError:
            half.unlink(missing_ok=True)
            raise

    def _sweep(self) -> None:
        now, kept = time.time(), dict[str, Kept]()
        for name, size, at in self._files():
            if name.startswith(".") and name.endswith(".tmp") and now - at > HALF_WRITTEN_S:
                (self._folder / name).unlink(missing_ok=True)
            id, _, suffix = name.partition(".")
            if ID.fullmatch(id) and f".{suffix}" in (PHOTO, ABOUT):
                other = kept.get(id, Kept(id, 0, 0.0))
                kept[id] = Kept(id, other.size + size, max(other.at, at))
        for id in superfluous(list(kept.values()), now, self._max_bytes, self._max_age_s):
            for suffix in (ABOUT, PHOTO):
                (self._folder / f"{id}{suffix}").unlink(missing_ok=True)

    def _files(self) -> list[tuple[str, int, float]]:
        found = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                # Another service of the same folder may be removing it.
                with contextlib.suppress(FileNotFoundError):
                    if entry.is_file(follow_symlinks=False):
                        about = entry.stat(follow_symlinks=False)
                        found.append((entry.name, about.st_size, about.st_mtime))
        return found

    def _everything(self) -> list[Evidence]:
        found = []
        try:
            names = [name for name, _, _ in self._files() if name.endswith(ABOUT)]
        except OSError as error:
            raise ConfigError([f"QUARANTINE: {self._folder}: {error.strerror}"]) from None
        for name in names:
            with contextlib.suppress(OSError, msgspec.MsgspecError):
                found.append(_decoder.decode((self._folder / name).read_bytes()))
        return sorted(found, key=lambda evidence: evidence.at, reverse=True)

    def _read(self, id: str, suffix: str, max_bytes: int) -> bytes:
        _check(id)
        try:
            with (self._folder / f"{id}{suffix}").open("rb") as file:
                return file.read(max_bytes)
        except OSError as error:
            raise ConfigError([f"QUARANTINE: {self._folder / (id + suffix)}: {error.strerror}"]) from None


class S3Vault:
    """Evidence under a prefix of a bucket that jobs may name, too."""

    def __init__(self, objects: ObjectStore, bucket: str, prefix: str) -> None:
        self._objects, self._bucket, self._prefix = objects, bucket, prefix

    async def prepare(self) -> None:
        """The bucket is among those that are checked at the start."""

    async def keep(self, evidence: Evidence, photo: bytes) -> None:
        """Write both objects. Raises StorageUnavailable."""
        about = msgspec.json.format(msgspec.json.encode(evidence))
        # One after the other: JSON without its photo would promise what is not there.
        await self._put(evidence.id + PHOTO, photo, "application/octet-stream")
        await self._put(evidence.id + ABOUT, about, "application/json")

    async def sweep(self) -> None:
        """Left to the bucket's lifecycle rules."""

    async def everything(self) -> Sequence[Evidence]:
        """Raises ConfigError: listing is not among the rights that the service needs of its store."""
        where = f"s3://{self._bucket}/{self._prefix}/"
        raise ConfigError([f"QUARANTINE: list {where} with an S3 client; show and replay take the ids"])

    async def find(self, id: str) -> Evidence:
        """Return one. Raises ObjectNotFound, StorageUnavailable, ConfigError."""
        try:
            return _decoder.decode(await self._get(id, ABOUT, MAX_ABOUT_BYTES))
        except msgspec.MsgspecError as error:
            raise ConfigError([f"QUARANTINE: {id}: {error}"]) from None

    async def photo(self, id: str, max_bytes: int) -> bytes:
        """Return its photo. Raises ObjectNotFound, SourceTooLarge, StorageUnavailable, ConfigError."""
        return await self._get(id, PHOTO, max_bytes)

    async def _put(self, name: str, body: bytes, content_type: str) -> None:
        await self._objects.put_all(self._bucket, [Upload(f"{self._prefix}/{name}", body, content_type, {})])

    async def _get(self, id: str, suffix: str, max_bytes: int) -> bytes:
        _check(id)

        async def admit(_size: int) -> None:
            return

        target = memoryview(bytearray(max_bytes))
        key = f"{self._prefix}/{id}{suffix}"
        got = await self._objects.get_into(self._bucket, key, target, admit)
        return bytes(target[: got.size])


def vault_of(config: QuarantineConfig, objects: ObjectStore) -> Vault | None:
    """Return what QUARANTINE names, None where it is empty."""
    if not config.place:
        return None
    if config.bucket:
        return S3Vault(objects, config.bucket, config.prefix)
    return FolderVault(Path(config.place), config.max_bytes, config.max_age_days * DAY_S)


def _check(id: str) -> None:
    if not ID.fullmatch(id):
        raise ConfigError([f"{id!r} is no id of a photo in quarantine: expected 16 of 0-9 a-f"])


def _write(path: Path, data: bytes) -> None:
    # O_EXCL follows no link, so that nobody who can write here can make us write elsewhere.
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(data)
