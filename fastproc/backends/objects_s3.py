"""Photos and renditions between memory and an S3 server: the port `ObjectStore`.

Rule 1: nothing is tried twice here: the queue retries. Whatever may pass is StorageUnavailable.
Rule 2: nothing is believed that was not asked for: no byte past the limit is kept, and an answer counts only if it is
        S3's (`s3_answers`). How a request is signed and sent: `s3_signing`, `s3_http`.
Rule 3: checksums are sent and asked for, until the server answers that it does not know them.
Rule 4: whose credentials sign a request, and when others are looked for: `s3_credentials`, `s3_chain`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

from fastproc.backends import s3_answers as answers
from fastproc.backends import s3_checks
from fastproc.backends.s3_chain import configured
from fastproc.backends.s3_credentials import Source
from fastproc.backends.s3_http import Exchange, Request
from fastproc.backends.s3_links import Links
from fastproc.backends.s3_signing import Signer, name
from fastproc.backends.s3_times import Timeouts
from fastproc.backends.s3_wire.transfers import unseen
from fastproc.config.s3 import S3Config
from fastproc.config.uploads import UploadConfig
from fastproc.core.errors import SourceTooLarge, StorageUnavailable, Unreachable
from fastproc.supervisor.ports import Admit, Download, ObjectStore, Upload

log = logging.getLogger(__name__)

#: An object that does not exist: asking for it says whether the bucket and the credentials are good, and needs no right
#: but the one that every photo needs.
_MISSING_KEY = "fastproc/check/no-such-object"
#: How much a probe reads of a photo, so that it costs no more than one.
_PROBE_BYTES = 4 << 20
#: What a healthy store answers to _MISSING_KEY; the second where listing is not allowed.
_ALIVE = frozenset({"NoSuchKey", "AccessDenied"})

#: Seconds that an address on the operator's page is good for: it is loaded when it is shown.
LINK_S = 120
#: Seconds that the start waits for credentials: as long as a provider may need that is itself just starting.
_FIRST_S = 30.0


def create(config: S3Config, uploads: UploadConfig) -> ObjectStore:
    """Return the store, not connected yet. Raises ConfigError."""
    return S3ObjectStore(config, uploads=uploads)


class S3ObjectStore:
    """Objects of one S3 server. All its methods belong to one event loop."""

    def __init__(
        self,
        config: S3Config,
        timeouts: Timeouts | None = None,
        credentials: Source | None = None,
        uploads: UploadConfig | None = None,
    ) -> None:
        """`credentials`: those of each moment; without it, what the configuration says. Raises ConfigError."""
        self._config, self._uploads = config, uploads or UploadConfig()
        self._encryption, self._attributes = self._uploads.encryption, self._uploads.attributes
        self._signer = Signer(config)
        self._credentials = credentials or configured(config)
        self._last_read: tuple[str, str] | None = None
        self._checksums = True
        self._links = Links(timeouts or Timeouts(), config.authorities)

    @property
    def endpoint(self) -> str:
        return self._signer.endpoint

    @property
    def about(self) -> str:
        """The server, the credentials that it is asked with, and until when they are valid, for people."""
        return f"{self._signer.endpoint}, {self._credentials.about}"

    async def get_into(self, bucket: str, key: str, target: memoryview, admit: Admit) -> Download:
        """Read an object into `target` (writable bytes; its length is the limit).

        `admit` is awaited before the body is read, with its announced size, or with the limit where it comes in chunks.
        Raises: ObjectNotFound (S3 says that there is no such object), SourceTooLarge, StorageUnavailable. That includes
        a missing bucket and 403: wrong or rotated credentials, a clock, a policy. An operator can mend those; until
        then photos wait.
        """
        named = name(bucket, key)
        async with await self._send("GET", bucket, key, self._asked()) as response:
            if response.status != 200:
                raise answers.not_read(named, await self._refusal(response))
            announced = answers.announced_bytes(named, response.headers)
            if announced is not None and announced > len(target):
                raise SourceTooLarge(f"{named} has {announced} bytes, the limit is {len(target)}")
            await admit(len(target) if announced is None else announced)
            sums = answers.Sums(response.headers)
            size = await response.read_into(target, sums.add)
            if announced is not None and size != announced:
                raise StorageUnavailable(f"GET {named}: {size} of {announced} bytes came")
            sums.compare(named)
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
            if not all(task.done() for task in tasks):
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        # Of those that were cancelled nothing is to be told: that was here.
        if errors := [error for task in tasks if not task.cancelled() and (error := task.exception())]:
            raise errors[0]

    async def _put(self, bucket: str, upload: Upload) -> Mapping[str, str]:
        """Write one object; return the headers of the answer. Raises StorageUnavailable."""
        named = name(bucket, upload.key)
        # All of these are signed, so that the server refuses the upload if one is lost or changed on its way.
        headers = {f"x-amz-meta-{field}": value for field, value in upload.metadata.items()}
        headers["Content-Type"] = upload.content_type
        headers |= self._attributes if upload.is_result else self._encryption
        headers |= {"If-None-Match": "*"} if upload.only_new else {}
        if self._checksums:
            headers |= answers.checksum(upload.body)
        async with await self._send("PUT", bucket, upload.key, headers, upload.body) as response:
            if response.status != 200:
                raise StorageUnavailable(f"PUT {named}: {await self._refusal(response)}")
            # Every S3 server answers a stored object with its ETag; a proxy's page with status 200 has none.
            if "ETag" not in response.headers:
                raise StorageUnavailable(
                    f"PUT {named}: the answer has no ETag, so nothing confirms that it was stored"
                )
            return response.headers

    def url(self, bucket: str, key: str) -> str:
        """The object's address for people and pages (not signed): PUBLIC_URL or the endpoint, bucket, key."""
        return self._signer.public_url(bucket, key)

    async def check(self, buckets: Sequence[str], *, trial: bool = True) -> None:
        """Raises Unreachable with a sentence that names the variable to look at."""
        try:
            await self._credentials.now(_FIRST_S)
        except StorageUnavailable as error:
            raise Unreachable(error.message) from None
        for bucket in buckets:
            asked = self._checksums
            refused = await self._ask_for_missing(bucket)
            if (asked and not self._checksums) or refused.of_keys:
                refused = await self._ask_for_missing(bucket)
            if problem := s3_checks.problem(self._config, bucket, refused):
                raise Unreachable(problem)
        if trial and self._uploads.is_set:
            for bucket in self._uploads.buckets or buckets:
                await self._check_upload(bucket)

    async def _check_upload(self, bucket: str) -> None:
        """Write a small object as results are written, and log what the server ignored. Raises Unreachable."""
        trial = Upload(s3_checks.TRIAL_KEY, s3_checks.TRIAL, "text/plain", {}, is_result=True)
        try:
            answer = await self._put(bucket, trial)
        except StorageUnavailable as error:
            raise Unreachable(s3_checks.not_written(self._uploads, bucket, error.message)) from None
        stored: Mapping[str, str] | None = None
        async with await self._send("GET", bucket, trial.key, {}) as response:
            if response.status == 200:
                stored = response.headers
        for ignored in s3_checks.ignored(self._attributes, answer, stored):
            log.warning("bucket %r: %s", bucket, ignored)

    async def probe(self, deep: bool) -> bool:
        """Ask for an object that does not exist; `deep`: and read the one that was read last.

        Return whether that could be read. Raises StorageUnavailable.
        """
        bucket = self._config.bucket
        async with await self._send("GET", bucket, _MISSING_KEY, self._asked()) as response:
            refused = await self._refusal(response)
        if refused.code not in _ALIVE or refused.of_clock:
            raise StorageUnavailable(s3_checks.problem(self._config, bucket, refused) or str(refused))
        return deep and self._last_read is not None and await self._can_read(*self._last_read)

    async def _can_read(self, bucket: str, key: str) -> bool:
        """Read an object as a job does, up to a limit; False where it is gone, which is no evidence.

        Raises StorageUnavailable.
        """
        room = memoryview(bytearray(_PROBE_BYTES))
        ranged = {"Range": f"bytes=0-{_PROBE_BYTES - 1}"}
        async with await self._send("GET", bucket, key, ranged) as response:
            if response.status in (200, 206):
                # Whole: a proxy that cuts long bodies lets the first byte pass.
                return await response.read_into(room, unseen) > 0
            refused = await self._refusal(response)
        if response.status == 404 and refused.code == "NoSuchKey":
            self._last_read = None
            return False
        raise StorageUnavailable(f"GET {name(bucket, key)}: {refused}")

    async def _ask_for_missing(self, bucket: str) -> answers.Refusal:
        try:
            async with await self._send("GET", bucket, _MISSING_KEY, self._asked()) as response:
                return await self._refusal(response)
        except StorageUnavailable as error:
            raise Unreachable(s3_checks.no_answer(self._config, error.message)) from error

    async def links(self, bucket: str, key: str) -> Sequence[str]:
        """Addresses that show an object for LINK_S. Raises ObjectNotFound, StorageUnavailable."""
        return self._signer.links(await self._credentials.now(), bucket, key, LINK_S)

    async def close(self) -> None:
        """Close connections. Idempotent."""
        await self._links.close()
        self._credentials.close()

    def _asked(self) -> Mapping[str, str]:
        """The signed headers of a GET."""
        return answers.TELL_CHECKSUM if self._checksums else {}

    async def _refusal(self, response: Exchange) -> answers.Refusal:
        """The server's refusal. Where it is of checksums, none are sent from now on; of keys, others are looked for."""
        refused = answers.refusal(response.status, await response.read(answers.ERROR_BYTES))
        if refused.of_keys:
            self._credentials.refused(response.signed_by)
        if self._checksums and refused.of_checksums:
            self._checksums = False
            log.warning("the S3 server knows no checksums, none are used from now on (%s)", refused)
        return refused

    async def _send(
        self, method: str, bucket: str, key: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Exchange:
        """One request, sent when it is entered; until the block's end what goes wrong is StorageUnavailable."""
        credentials = await self._credentials.now()
        to = self._signer.request(credentials, method, bucket, key, headers)
        return Exchange(
            self._links, Request(method, to, name(bucket, key), headers, body, credentials.access_key)
        )
