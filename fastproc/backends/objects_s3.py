"""Photos and renditions between memory and an S3 server: the port `ObjectStore`.

Rule 1: nothing is tried twice here: the queue retries. Whatever may pass is StorageUnavailable.
Rule 2: nothing is believed that was not asked for: no byte past the limit is kept, and an answer counts only if it is
        S3's (`s3_answers`). How a request is signed and sent: `s3_signing`, `s3_http`.
Rule 3: checksums are sent and asked for, until the server answers that it does not know them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

import aiohttp

from fastproc.backends import s3_answers as answers
from fastproc.backends.s3_http import Requests, Timeouts, Timer, read_into
from fastproc.backends.s3_signing import Credentials, Signer, name
from fastproc.config.s3 import S3Config
from fastproc.core.errors import SourceTooLarge, StorageUnavailable, Unreachable
from fastproc.supervisor.ports import Admit, Download, ObjectStore, Upload

log = logging.getLogger(__name__)

#: S3's codes for credentials that the server does not know, or that do not fit.
_REFUSED_KEYS = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken"})

#: An object that does not exist: asking for it says whether the bucket and the credentials are good, and needs no right
#: but the one that every photo needs.
_MISSING_KEY = "fastproc/check/no-such-object"
#: How much a probe reads of a photo, so that it costs no more than one.
_PROBE_BYTES = 4 << 20
#: What a healthy store answers to that; the second where listing is not allowed.
_ALIVE = frozenset({"NoSuchKey", "AccessDenied"})


def create(config: S3Config) -> ObjectStore:
    """Return the store, not connected yet."""
    return S3ObjectStore(config)


class S3ObjectStore:
    """Objects of one S3 server, path style. All its methods belong to one event loop."""

    def __init__(
        self,
        config: S3Config,
        timeouts: Timeouts | None = None,
        credentials: Callable[[], Credentials] | None = None,
    ) -> None:
        """`credentials`: asked at each request; without it, the configured keys are used."""
        self._signer = Signer(config, credentials)
        self._buckets_from = "ALLOWED_BUCKETS, MINIO_BUCKET" if config.allowed_buckets else "MINIO_BUCKET"
        self._bucket = config.bucket
        self._last_read: tuple[str, str] | None = None
        self._checksums = True
        self._requests = Requests(timeouts or Timeouts())

    async def get_into(self, bucket: str, key: str, target: memoryview, admit: Admit) -> Download:
        """Read an object into `target` (writable bytes; its length is the limit).

        `admit` is awaited before the body is read, with its announced size, or with the limit where it comes in chunks.
        Raises: ObjectNotFound (S3 says that there is no such object), SourceTooLarge, StorageUnavailable. That includes
        a missing bucket and 403: wrong or rotated credentials, a clock, a policy. An operator can mend those; until
        then photos wait.
        """
        named = name(bucket, key)
        async with self._send("GET", bucket, key, self._asked()) as (response, timer):
            if response.status != 200:
                raise answers.not_read(named, await self._refusal(response))
            announced = answers.announced_bytes(named, response.headers)
            if announced is not None and announced > len(target):
                raise SourceTooLarge(f"{named} has {announced} bytes, the limit is {len(target)}")
            timer.stop()
            await admit(len(target) if announced is None else announced)
            size = await read_into(response, target, named, timer)
            if announced is not None and size != announced:
                raise StorageUnavailable(f"GET {named}: {size} of {announced} bytes came")
            with target[:size] as content:
                answers.compare(named, response.headers, content)
            self._last_read = (bucket, key)
            # A header can hold bytes that are no text, which no message to a worker could carry.
            kind = response.headers.get("Content-Type", "")
            return Download(size, kind if kind and kind.isprintable() else None)

    async def put_all(self, bucket: str, uploads: Sequence[Upload]) -> None:
        """Write the objects side by side; return when every one is confirmed.

        The first failure cancels the others and waits for their end. Raises StorageUnavailable.
        """
        if not uploads:
            return
        tasks = [asyncio.create_task(self._put(bucket, upload)) for upload in uploads]
        try:
            # No TaskGroup: one that holds a failure forgets that its own task was cancelled meanwhile.
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        for end in ended:
            if isinstance(end, Exception):  # Not a cancellation: those are ours.
                raise end

    async def _put(self, bucket: str, upload: Upload) -> None:
        named = name(bucket, upload.key)
        # All of these are signed, so that the server refuses the upload if one is lost or changed on its way.
        headers = {f"x-amz-meta-{field}": value for field, value in upload.metadata.items()}
        headers["Content-Type"] = upload.content_type
        if self._checksums:
            headers |= answers.checksum(upload.body)
        async with self._send("PUT", bucket, upload.key, headers, upload.body) as (response, _):
            if response.status != 200:
                raise StorageUnavailable(f"PUT {named}: {await self._refusal(response)}")
            # Every S3 server answers a stored object with its ETag; a proxy's page with status 200 has none.
            if "ETag" not in response.headers:
                raise StorageUnavailable(
                    f"PUT {named}: the answer has no ETag, so nothing confirms that it was stored"
                )

    def url(self, bucket: str, key: str) -> str:
        """The object's address for people and pages (not signed): PUBLIC_URL or the endpoint, bucket, key."""
        return self._signer.public_url(bucket, key)

    async def check(self, buckets: Sequence[str]) -> None:
        """Raises Unreachable with a sentence that names the variable to look at."""
        for bucket in buckets:
            asked = self._checksums
            refused = await self._ask_for_missing(bucket)
            if asked and not self._checksums:
                refused = await self._ask_for_missing(bucket)
            if problem := self._problem(bucket, refused):
                raise Unreachable(problem)

    async def probe(self, deep: bool) -> bool:
        """Ask for an object that does not exist; `deep`: and read the one that was read last.

        Return whether that could be read. Raises StorageUnavailable.
        """
        async with self._send("GET", self._bucket, _MISSING_KEY, self._asked()) as (response, _):
            refused = await self._refusal(response)
        if refused.code not in _ALIVE:
            raise StorageUnavailable(self._problem(self._bucket, refused) or str(refused))
        return deep and self._last_read is not None and await self._can_read(*self._last_read)

    async def _can_read(self, bucket: str, key: str) -> bool:
        """Read an object as a job does, up to a limit; False where it is gone, which is no evidence.

        Raises StorageUnavailable.
        """
        room = memoryview(bytearray(_PROBE_BYTES))
        async with self._send("GET", bucket, key, {"Range": f"bytes=0-{_PROBE_BYTES - 1}"}) as (
            response,
            timer,
        ):
            if response.status in (200, 206):
                # Whole: a proxy that cuts long bodies lets the first byte pass.
                return await read_into(response, room, name(bucket, key), timer) > 0
            refused = await self._refusal(response)
        if response.status == 404 and refused.code == "NoSuchKey":
            self._last_read = None
            return False
        raise StorageUnavailable(f"GET {name(bucket, key)}: {refused}")

    async def _ask_for_missing(self, bucket: str) -> answers.Refusal:
        try:
            async with self._send("GET", bucket, _MISSING_KEY, self._asked()) as (response, _):
                return await self._refusal(response)
        except StorageUnavailable as error:
            raise Unreachable(
                "MINIO_ENDPOINT, MINIO_PORT, MINIO_USE_SSL: "
                f"no S3 server answers at {self._signer.endpoint} ({error})"
            ) from error

    def _problem(self, bucket: str, refused: answers.Refusal) -> str | None:
        """What is wrong, if anything, with an answer to the request for `_MISSING_KEY`."""
        endpoint = self._signer.endpoint
        if refused.code == "NoSuchKey":
            return None
        if refused.code == "NoSuchBucket":
            return f"{self._buckets_from}: there is no bucket {bucket!r} at {endpoint}"
        if refused.code in _REFUSED_KEYS:
            return f"MINIO_ACCESS_KEY, MINIO_SECRET_KEY: {endpoint} refused them ({refused})"
        if refused.code == "AccessDenied":
            # Where listing is not allowed, S3 answers this for every object that does not exist.
            log.warning("bucket %r: the server does not tell whether it can be read (%s)", bucket, refused)
            return None
        return f"MINIO_ENDPOINT, MINIO_PORT: {endpoint} does not answer like an S3 server ({refused})"

    async def close(self) -> None:
        """Close connections. Idempotent."""
        await self._requests.close()

    def _asked(self) -> Mapping[str, str]:
        """The signed headers of a GET."""
        return answers.TELL_CHECKSUM if self._checksums else {}

    async def _refusal(self, response: aiohttp.ClientResponse) -> answers.Refusal:
        """The server's refusal. Where it is of checksums, none are sent from now on."""
        refused = answers.refusal(response.status, await response.content.read(answers.ERROR_BYTES))
        if self._checksums and refused.of_checksums:
            self._checksums = False
            log.warning("the S3 server knows no checksums, none are used from now on (%s)", refused)
        return refused

    def _send(
        self, method: str, bucket: str, key: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> AbstractAsyncContextManager[tuple[aiohttp.ClientResponse, Timer]]:
        """Send one request with signed headers; what goes wrong until the block's end is StorageUnavailable."""
        url = self._signer.signed(method, bucket, key, headers)
        return self._requests.send(method, url, name(bucket, key), headers, body)
