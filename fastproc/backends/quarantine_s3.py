"""Keeps photos in quarantine under a prefix of an S3 bucket, whose lifecycle rules bound their age and number."""

from __future__ import annotations

from collections.abc import Sequence

from fastproc.backends.quarantine_files import ABOUT, MAX_ABOUT_BYTES, PHOTO, check_id, decode, encode
from fastproc.config.quarantine import QuarantineConfig
from fastproc.core.errors import ConfigError
from fastproc.core.evidence import Evidence
from fastproc.supervisor.ports import ObjectStore, Upload, Vault


def create(config: QuarantineConfig, objects: ObjectStore) -> Vault:
    """Return the vault under the bucket's prefix that the configuration names."""
    return S3Vault(objects, config.bucket, config.prefix)


class S3Vault:
    """Evidence under a prefix of a bucket that jobs may name too."""

    def __init__(self, objects: ObjectStore, bucket: str, prefix: str) -> None:
        self._objects, self._bucket, self._prefix = objects, bucket, prefix

    async def prepare(self) -> None:
        """The bucket is among those that are checked at the start."""

    async def keep(self, evidence: Evidence, photo: bytes) -> None:
        """Write both objects. Raises StorageUnavailable."""
        await self._put(evidence.id + PHOTO, photo, "application/octet-stream")
        await self._put(evidence.id + ABOUT, encode(evidence), "application/json")

    async def sweep(self) -> None:
        """Left to the bucket's lifecycle rules."""

    async def everything(self) -> Sequence[Evidence]:
        """Raises ConfigError: listing is not among the rights that the service needs of its store."""
        where = f"s3://{self._bucket}/{self._prefix}/"
        raise ConfigError([f"QUARANTINE: list {where} with an S3 client; show and replay take the ids"])

    async def find(self, id: str) -> Evidence:
        """Return one. Raises ObjectNotFound, StorageUnavailable, ConfigError."""
        return decode(id, await self._get(id, ABOUT, MAX_ABOUT_BYTES))

    async def photo(self, id: str, max_bytes: int) -> bytes:
        """Return its photo. Raises ObjectNotFound, SourceTooLarge, StorageUnavailable, ConfigError."""
        return await self._get(id, PHOTO, max_bytes)

    async def _put(self, name: str, body: bytes, content_type: str) -> None:
        await self._objects.put_all(self._bucket, [Upload(f"{self._prefix}/{name}", body, content_type, {})])

    async def _get(self, id: str, suffix: str, max_bytes: int) -> bytes:
        check_id(id)

        async def admit(_size: int) -> None:
            return

        target = memoryview(bytearray(max_bytes))
        key = f"{self._prefix}/{id}{suffix}"
        got = await self._objects.get_into(self._bucket, key, target, admit)
        return bytes(target[: got.size])
