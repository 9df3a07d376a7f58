"""Keeps photos in quarantine in a local folder, with a cap and an age.

Rule 1: a file appears whole or not at all, readable for its owner alone.
Rule 2: the folder is kept under its cap and its age here; the oldest photos go first.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import time
from collections.abc import Sequence
from pathlib import Path

from msgspec import structs

from fastproc.backends.quarantine_files import ABOUT, MAX_ABOUT_BYTES, PHOTO, check_id, decode, encode
from fastproc.config.quarantine import QuarantineConfig
from fastproc.core.errors import ConfigError
from fastproc.core.evidence import ID, Evidence, Kept, superfluous
from fastproc.supervisor.ports import ObjectStore, Vault

#: A file that was not given its name in this time was left by a service that is gone.
HALF_WRITTEN_S = 3600.0
DAY_S = 86_400.0


def create(config: QuarantineConfig, objects: ObjectStore) -> Vault:
    """Return the vault in the folder that the configuration names."""
    return FolderVault(Path(str(config.place)), config.max_bytes, config.max_age_days * DAY_S)


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
        return decode(id, await asyncio.to_thread(self._read, id, ABOUT, MAX_ABOUT_BYTES))

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
        self._place(evidence.id + ABOUT, encode(evidence))
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
            with contextlib.suppress(OSError, ConfigError):
                found.append(decode(name, (self._folder / name).read_bytes()))
        return sorted(found, key=lambda evidence: evidence.at, reverse=True)

    def _read(self, id: str, suffix: str, max_bytes: int) -> bytes:
        check_id(id)
        try:
            with (self._folder / f"{id}{suffix}").open("rb") as file:
                return file.read(max_bytes)
        except OSError as error:
            raise ConfigError([f"QUARANTINE: {self._folder / (id + suffix)}: {error.strerror}"]) from None


def _write(path: Path, data: bytes) -> None:
    # O_EXCL follows no link: another writer of this folder cannot make us write elsewhere.
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(data)
