"""What every object store must do. A backend's test module subclasses `ObjectStoreSuite` and gives three fixtures."""

from __future__ import annotations

import asyncio
from typing import Protocol

import pytest

from fastproc.core.errors import ObjectNotFound, SourceTooLarge, StorageUnavailable, Unreachable
from fastproc.supervisor.ports import Upload

#: Keys that some layer between us and the store would like to change.
STRANGE_KEYS = [
    "plain.jpg",
    "a folder/a file.jpg",
    "plus+sign.jpg",
    "percent%20not-a-space.jpg",
    "percent%.jpg",
    "question?mark=1&x=2.jpg",
    "hash#fragment.jpg",
    "naïve-日本語-😀.jpg",
    "decomposed-e\u0301.jpg",
    "dots..in..name.jpg",
    ".hidden",
    "quote'double\".jpg",  # No backslash: SeaweedFS takes it for a slash, whoever sends it.
    "semi;colon:at@equals=comma,.jpg",
    "brackets[0]{1}(2)<3>.jpg",
    "star*bang!tilde~pipe|caret^dollar$.jpg",
    "a" * 200 + ".jpg",
]


class Outside(Protocol):
    """The store as another program sees it."""

    def put(self, key: str, body: bytes, content_type: str = "image/jpeg") -> None: ...

    def get(self, key: str) -> tuple[bytes, str, dict[str, str]]:
        """Return body, content type and user metadata."""

    def keys(self) -> set[str]: ...


class Admissions:
    """An `admit` that remembers, and can look at the target at that moment."""

    def __init__(self, target: memoryview) -> None:
        self._target = target
        self.sizes: list[int] = []
        self.untouched = True

    async def __call__(self, size: int) -> None:
        self.sizes.append(size)
        self.untouched = self.untouched and not any(self._target)


def room(size: int) -> memoryview:
    return memoryview(bytearray(size))


class ObjectStoreSuite:
    """A backend's test class inherits from it and gives the fixtures `store`, `bucket` and `outside`."""

    async def test_an_object_is_read_into_the_given_memory(self, store, bucket, outside) -> None:
        body = bytes(range(1, 256)) * 8_000  # 2 MB: many packets.
        outside.put("a/b.jpg", body, "image/x-own")
        target = room(len(body) + 10)
        admit = Admissions(target)
        fetched = await store.get_into(bucket, "a/b.jpg", target, admit)
        assert (fetched.size, fetched.content_type) == (len(body), "image/x-own")
        assert target[: len(body)] == body
        assert not any(target[len(body) :])
        assert admit.sizes == [len(body)]
        assert admit.untouched

    async def test_an_object_as_large_as_the_limit_is_read(self, store, bucket, outside) -> None:
        outside.put("k", b"x" * 1000)
        target = room(1000)
        assert (await store.get_into(bucket, "k", target, Admissions(target))).size == 1000

    async def test_an_object_over_the_limit_is_refused_before_it_is_read(
        self, store, bucket, outside
    ) -> None:
        outside.put("k", b"x" * 1001)
        target = room(1000)
        admit = Admissions(target)
        with pytest.raises(SourceTooLarge, match="1001 bytes, the limit is 1000"):
            await store.get_into(bucket, "k", target, admit)
        assert admit.sizes == []
        assert not any(target)

    async def test_an_empty_object_is_read(self, store, bucket, outside) -> None:
        outside.put("k", b"")
        target = room(10)
        assert (await store.get_into(bucket, "k", target, Admissions(target))).size == 0

    async def test_a_missing_object_is_not_found_by_name(self, store, bucket) -> None:
        target = room(10)
        with pytest.raises(ObjectNotFound, match="not/there") as caught:
            await store.get_into(bucket, "not/there", target, Admissions(target))
        assert bucket in caught.value.message

    async def test_an_object_of_a_missing_bucket_is_not_the_photos_fault(self, store) -> None:
        target = room(10)
        with pytest.raises(StorageUnavailable, match="no-such-bucket"):
            await store.get_into("no-such-bucket", "k", target, Admissions(target))

    async def test_a_refused_admission_reaches_the_caller_and_harms_nothing(
        self, store, bucket, outside
    ) -> None:
        outside.put("k", b"x" * 100_000)

        async def refuse(size: int) -> None:
            raise LookupError("no room")

        for _ in range(3):
            with pytest.raises(LookupError, match="no room"):
                await store.get_into(bucket, "k", room(100_000), refuse)
        target = room(100_000)
        assert (await store.get_into(bucket, "k", target, Admissions(target))).size == 100_000

    async def test_objects_are_written_with_type_and_metadata(self, store, bucket, outside) -> None:
        small = Upload(
            "t/sm.jpg", b"small", "image/jpeg", {"size": "thumb_sm", "width": "150", "photo-id": "p.1"}
        )
        large = Upload("t/lg.webp", b"L" * 3_000_000, "image/webp", {})
        await store.put_all(bucket, [small, large])
        for upload in (small, large):
            assert outside.get(upload.key) == (upload.body, upload.content_type, dict(upload.metadata))

    async def test_writing_again_replaces(self, store, bucket, outside) -> None:
        for body in (b"first, longer", b"second"):
            await store.put_all(bucket, [Upload("k", body, "image/jpeg", {})])
        assert outside.get("k")[0] == b"second"
        assert outside.keys() == {"k"}

    async def test_what_must_be_new_replaces_nothing(self, store, bucket, outside) -> None:
        await store.put_all(bucket, [Upload("k", b"first", "image/jpeg", {}, only_new=True)])
        with pytest.raises(StorageUnavailable, match="PreconditionFailed"):
            await store.put_all(bucket, [Upload("k", b"second", "image/jpeg", {}, only_new=True)])
        assert outside.get("k")[0] == b"first"

    async def test_writing_nothing_is_fine(self, store, bucket) -> None:
        await store.put_all(bucket, [])

    async def test_writing_to_a_missing_bucket_fails_and_makes_none(self, store) -> None:
        for _ in range(2):
            with pytest.raises(StorageUnavailable, match="no-such-bucket/k"):
                await store.put_all("no-such-bucket", [Upload("k", b"x", "image/jpeg", {})])

    @pytest.mark.parametrize("key", STRANGE_KEYS)
    async def test_a_strange_key_means_itself(self, store, bucket, outside, key) -> None:
        await store.put_all(bucket, [Upload(key, b"ours", "image/jpeg", {})])
        assert outside.keys() == {key}
        outside.put(key, b"theirs")
        target = room(10)
        fetched = await store.get_into(bucket, key, target, Admissions(target))
        assert target[: fetched.size] == b"theirs"

    async def test_many_objects_move_at_once(self, store, bucket, outside) -> None:
        uploads = [Upload(f"k{n}", bytes([n]) * 10_000, "image/jpeg", {}) for n in range(40)]
        await store.put_all(bucket, uploads)
        targets = [room(10_000) for _ in uploads]
        reads = (
            store.get_into(bucket, upload.key, target, Admissions(target))
            for upload, target in zip(uploads, targets, strict=True)
        )
        await asyncio.gather(*reads)
        assert [bytes(target) for target in targets] == [upload.body for upload in uploads]

    async def test_check_is_silent_where_all_is_well(self, store, bucket) -> None:
        await store.check([bucket])

    async def test_check_names_a_missing_bucket(self, store, bucket) -> None:
        with pytest.raises(Unreachable, match=r"MINIO_BUCKET.*'no-such-bucket'"):
            await store.check([bucket, "no-such-bucket"])

    async def test_close_can_be_repeated(self, store, bucket) -> None:
        await store.check([bucket])
        await store.close()
        await store.close()
