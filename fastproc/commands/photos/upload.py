"""Puts local photos into the bucket for `fastproc enqueue --upload`: checked before, and never over another's object.

Rule 1: what the service would refuse is refused here, by the same rules, before anything is uploaded.
Rule 2: a key that exists is left as it is: with the same bytes it is the photo, with others it is somebody else's.
Rule 3: the store itself makes sure of it (`If-None-Match: *`) where it knows how; the others are asked before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct, structs

from fastproc.commands.photos import files
from fastproc.core import uploads
from fastproc.core.errors import ConfigError, ObjectNotFound, SourceTooLarge, StorageUnavailable, TaskError
from fastproc.core.gate.judge import judge
from fastproc.core.model import Options
from fastproc.supervisor.ports import ObjectStore, Upload

#: Says what became of a key, in words.
Tell = Callable[[str], None]


class Given(Struct, frozen=True):
    """A local file and what is uploaded of it."""

    file: Path
    upload: Upload


def read(named: Sequence[Path], options: Options) -> list[Given]:
    """Read and judge the files. Raises ConfigError with every file that cannot be one of these photos."""
    found: dict[str, Given] = {}
    problems = []
    for file in named:
        key = uploads.object_key(file.name)
        try:
            upload = Upload(key, *_judged(file, options), {}, only_new=True)
        except OSError as error:
            problems.append(f"{file}: {files.reason(error, file)}")
        except TaskError as error:
            problems.append(f"{file}: the service would refuse it: {error.code}: {error.message}")
        else:
            if key in found and found[key].upload.body != upload.body:
                problems.append(
                    f"{file}: {key} is the key of {found[key].file} as well, which is another photo"
                )
            found.setdefault(key, Given(file, upload))
    if problems:
        raise ConfigError(problems)
    return [found[uploads.object_key(file.name)] for file in named]


def _judged(file: Path, options: Options) -> tuple[bytes, str]:
    """Return a photo's bytes and content type. Raises OSError, TaskError."""
    limit = options.limits.max_source_bytes
    size = file.stat().st_size
    if size > limit:
        raise SourceTooLarge(f"{size} bytes, more than MAX_SOURCE_BYTES ({limit})")
    room = memoryview(bytearray(size))
    body = bytes(room[: files.read_into(file, room)])
    header = judge(body, options.limits, may_be_cut=options.integrity != "strict")
    # By its content: one with another's suffix would be refused as a mismatch.
    kind = "application/octet-stream" if header.format == "raw" else f"image/{header.format}"
    return body, kind


async def put(objects: ObjectStore, bucket: str, given: Sequence[Given], tell: Tell) -> None:
    """Upload what is not there yet. Raises ConfigError where a key is another's, StorageUnavailable."""
    new = []
    for upload in {one.upload.key: one.upload for one in given}.values():
        if await _is_there(objects, bucket, upload):
            tell(f"{upload.key} is in {bucket} already, with the same bytes")
        else:
            new.append(upload)
    for upload in new:
        await _put_new(objects, bucket, upload)
        tell(f"uploaded {upload.key} to {bucket}")


async def _put_new(objects: ObjectStore, bucket: str, upload: Upload) -> None:
    try:
        await objects.put_all(bucket, [upload])
    except StorageUnavailable as error:
        # Somebody was faster, or it was stored and the answer was lost: the store knows. Raises ConfigError.
        if await _is_there(objects, bucket, upload):
            return
        if "NotImplemented" not in error.message:
            raise
        await objects.put_all(bucket, [structs.replace(upload, only_new=False)])


async def _is_there(objects: ObjectStore, bucket: str, upload: Upload) -> bool:
    """Whether the key has these bytes; False for no object. Raises ConfigError where it has others."""
    room = memoryview(bytearray(len(upload.body)))
    try:
        found = await objects.get_into(bucket, upload.key, room, _admitted)
        is_same = room[: found.size] == upload.body
    except ObjectNotFound:
        return False
    except SourceTooLarge:
        is_same = False
    if is_same:
        return True
    raise ConfigError([f"{upload.key}: {bucket} has another object of this name, which stays as it is"])


async def _admitted(_size: int) -> None:
    """No budget: one photo at a time."""
