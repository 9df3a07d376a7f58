"""Move photos and renditions between memory and an S3 server.

Rule 1: one request a call, no retry: the queue retries. Whatever may pass is StorageUnavailable.
Rule 2: botocore signs, aiohttp moves the bytes: a tenth of boto3's CPU a request. URLs are signed and sent in one
        encoding (`_path`), never quoted again.
Rule 3: nothing is believed that was not asked for: no redirect is followed, no encoding is undone, and no byte past
        the limit is kept.
Rule 4: content is not hashed. An ETag's MD5 would cost 1.1 ms of CPU a megabyte, more than the whole transfer;
        TCP guards the way, the announced length the end, and decoding the content.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from io import BytesIO
from urllib.parse import quote

import aiohttp
import yarl
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from msgspec import Struct

from fastproc.config.s3 import S3Config
from fastproc.core.errors import ObjectNotFound, SourceTooLarge, StorageUnavailable, Unreachable
from fastproc.supervisor.ports import Admit, Download, ObjectStore, Upload

log = logging.getLogger(__name__)

#: Seconds that a signed URL is good for. It is used at once; the rest is for clocks that differ.
_EXPIRES_S = 900

#: Enough of an error's XML to find its code.
_ERROR_BYTES = 4096

#: S3's codes for credentials that the server does not know, or that do not fit.
_REFUSED_KEYS = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken"})

#: S3's and MinIO's codes for keys that cannot exist.
_IMPOSSIBLE_KEYS = frozenset({"KeyTooLongError", "XMinioInvalidObjectName"})

#: An object that nobody has: asking for it says whether the bucket and the credentials are good, and needs no right
#: but the one that every photo needs.
_NOBODYS_KEY = "fastproc/check/no-such-object"


class Timeouts(Struct, frozen=True, kw_only=True):
    """Seconds: for a connection, without any byte, for a whole request (waiting for admission not counted)."""

    connect_s: float = 5.0
    idle_s: float = 15.0
    total_s: float = 120.0


class _Refusal(Struct, frozen=True):
    """An answer other than 200: its status, and S3's code and message where it gave them."""

    status: int
    code: str
    message: str

    def __str__(self) -> str:  # On one line, and not long, whatever the server says.
        return " ".join(f"{self.status} {self.code} {self.message}".split())[:300]


def create(config: S3Config) -> ObjectStore:
    """Return the store, not connected yet."""
    return S3ObjectStore(config)


class S3ObjectStore:
    """Objects of one S3 server, path style. All its methods belong to one event loop."""

    def __init__(self, config: S3Config, timeouts: Timeouts | None = None) -> None:
        scheme = "https" if config.use_ssl else "http"
        self._endpoint = f"{scheme}://{config.host_and_port}"
        self._bucket = config.bucket
        self._public_url = (config.public_url or self._endpoint).rstrip("/")
        self._timeouts = timeouts or Timeouts()
        credentials = ReadOnlyCredentials(config.access_key, config.secret_key, None)
        self._buckets_from = "ALLOWED_BUCKETS, MINIO_BUCKET" if config.allowed_buckets else "MINIO_BUCKET"
        self._signer = S3SigV4QueryAuth(credentials, "s3", config.region, expires=_EXPIRES_S)
        self._opened: aiohttp.ClientSession | None = None

    async def get_into(self, bucket: str, key: str, target: memoryview, admit: Admit) -> Download:
        """Read an object into `target` (writable bytes; its length is the limit).

        `admit` is awaited before the body is read, with its announced size, or with the limit where there is none.
        Raises: ObjectNotFound (no such object, no such bucket), SourceTooLarge, StorageUnavailable. That includes
        403: wrong or rotated credentials, a clock, a policy. An operator can mend that; until then photos wait.
        """
        name = _name(bucket, key)
        async with self._asking("GET", bucket, key, {"Accept-Encoding": "identity"}) as (response, deadline):
            if response.status != 200:
                refusal = await _refusal(response)
                if refusal.status == 404 or refusal.code in _IMPOSSIBLE_KEYS:
                    raise ObjectNotFound(f"{name}: {refusal}")
                raise StorageUnavailable(f"GET {name}: {refusal}")
            if (encoding := response.headers.get("Content-Encoding", "identity")) != "identity":
                raise StorageUnavailable(f"GET {name}: the body is encoded as {encoding!r}")
            if (announced := response.content_length) is not None and announced > len(target):
                raise SourceTooLarge(f"{name} has {announced} bytes, the limit is {len(target)}")
            deadline.reschedule(None)
            await admit(len(target) if announced is None else announced)
            deadline.reschedule(asyncio.get_running_loop().time() + self._timeouts.total_s)
            size = await _read_into(response, target, name)
            if announced is not None and size != announced:
                raise StorageUnavailable(f"GET {name}: {size} of {announced} bytes came")
            # A header can hold bytes that are no text, which no message to a worker could carry.
            kind = response.headers.get("Content-Type", "")
            return Download(size, kind if kind and kind.isprintable() else None)

    async def put_all(self, bucket: str, uploads: Sequence[Upload]) -> None:
        """Write the objects side by side; return when every one is confirmed.

        The first failure cancels the others and waits for their end. Raises StorageUnavailable.
        """
        try:
            async with asyncio.TaskGroup() as group:
                for upload in uploads:
                    group.create_task(self._put(bucket, upload))
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _put(self, bucket: str, upload: Upload) -> None:
        name = _name(bucket, upload.key)
        # All of these are signed, so that the server refuses the upload if one is lost or changed on its way.
        headers = {f"x-amz-meta-{field}": value for field, value in upload.metadata.items()}
        headers["Content-Type"] = upload.content_type
        async with self._asking("PUT", bucket, upload.key, headers, upload.body) as (response, _):
            if response.status != 200:
                raise StorageUnavailable(f"PUT {name}: {await _refusal(response)}")
            # Every S3 server answers a stored object with its ETag; a proxy's page with status 200 has none.
            if "ETag" not in response.headers:
                raise StorageUnavailable(
                    f"PUT {name}: the answer has no ETag: nothing says that it was stored"
                )

    def url(self, bucket: str, key: str) -> str:
        """The object's address for people and pages (not signed): PUBLIC_URL or the endpoint, bucket, key."""
        return f"{self._public_url}{_path(bucket, key)}"

    async def check(self, buckets: Sequence[str]) -> None:
        """Raises Unreachable with a sentence that names the variable to look at."""
        for bucket in buckets:
            try:
                async with self._asking("GET", bucket, _NOBODYS_KEY, {}) as (response, _):
                    refusal = await _refusal(response)
            except StorageUnavailable as error:
                raise Unreachable(
                    f"MINIO_ENDPOINT, MINIO_PORT, MINIO_USE_SSL: no S3 server answers at {self._endpoint} ({error})"
                ) from error
            if problem := self._problem(bucket, refusal):
                raise Unreachable(problem)

    async def probe(self) -> None:
        """Ask for an object that nobody has. Raises StorageUnavailable unless the answer is a store's."""
        async with self._asking("GET", self._bucket, _NOBODYS_KEY, {}) as (response, _):
            refusal = await _refusal(response)
        if refusal.code not in ("NoSuchKey", "AccessDenied"):
            raise StorageUnavailable(str(self._problem(self._bucket, refusal)))

    def _problem(self, bucket: str, refusal: _Refusal) -> str | None:
        """What is wrong, if anything, with an answer to the request for `_NOBODYS_KEY`."""
        if refusal.code == "NoSuchKey":
            return None
        if refusal.code == "NoSuchBucket":
            return f"{self._buckets_from}: there is no bucket {bucket!r} at {self._endpoint}"
        if refusal.code in _REFUSED_KEYS:
            return f"MINIO_ACCESS_KEY, MINIO_SECRET_KEY: {self._endpoint} refused them ({refusal})"
        if refusal.code == "AccessDenied":
            # Where listing is not allowed, S3 says this of every object that does not exist.
            log.warning("bucket %r: the server does not say whether it can be read (%s)", bucket, refusal)
            return None
        return f"MINIO_ENDPOINT, MINIO_PORT: {self._endpoint} does not answer like an S3 server ({refusal})"

    async def close(self) -> None:
        """Close connections. Idempotent."""
        if self._opened is not None:
            await self._opened.close()
            self._opened = None

    @asynccontextmanager
    async def _asking(
        self, method: str, bucket: str, key: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> AsyncIterator[tuple[aiohttp.ClientResponse, asyncio.Timeout]]:
        """Send one signed request; what goes wrong until the block's end is StorageUnavailable."""
        try:
            async with asyncio.timeout(self._timeouts.total_s) as deadline:
                async with self._session.request(
                    method,
                    self._signed(method, bucket, key, headers),
                    headers=headers,
                    # Not the bytes themselves: aiohttp warns of more than 1 MiB, which it writes in one go.
                    data=None if body is None else BytesIO(body),
                    allow_redirects=False,
                ) as response:
                    yield response, deadline
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError.
            # Some of aiohttp's messages quote the URL, and with it the signature; some, on further lines, the body.
            said = re.split(r"\?|\n|\\n", str(error), maxsplit=1)[0][:300]
            said = said or f"it took more than {self._timeouts.total_s:g} s"
            raise StorageUnavailable(f"{method} {_name(bucket, key)}: {said}") from error

    def _signed(self, method: str, bucket: str, key: str, headers: Mapping[str, str]) -> yarl.URL:
        # Cost: 0.05 ms; boto3's generate_presigned_url makes the same URL in 0.15 ms.
        request = AWSRequest(method, f"{self._endpoint}{_path(bucket, key)}", headers=headers)
        self._signer.add_auth(request)
        return yarl.URL(str(request.url), encoded=True)

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._opened is None:
            times = self._timeouts
            self._opened = aiohttp.ClientSession(
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("Content-Type",),
                timeout=aiohttp.ClientTimeout(sock_connect=times.connect_s, sock_read=times.idle_s),
            )
        return self._opened


async def _read_into(response: aiohttp.ClientResponse, target: memoryview, name: str) -> int:
    size = 0
    async for chunk in response.content.iter_any():
        end = size + len(chunk)
        if end > len(target):
            raise SourceTooLarge(f"{name} has more than {len(target)} bytes")
        target[size:end] = chunk
        size = end
    return size


async def _refusal(response: aiohttp.ClientResponse) -> _Refusal:
    """Read S3's error, as much as there is of it, without what would drive a terminal."""
    body = (await response.content.read(_ERROR_BYTES)).decode(errors="replace")
    body = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e]", " ", body)
    code, message = (re.search(f"<{tag}>([^<]*)</{tag}>", body) for tag in ("Code", "Message"))
    redirect = "a redirect, which is not followed" if 300 <= response.status < 400 else ""
    return _Refusal(response.status, code[1] if code else "", message[1] if message else redirect)


def _path(bucket: str, key: str) -> str:
    """The path of an object: every byte but S3's unreserved ones percent-encoded, slashes kept.

    Source: "Create a canonical request" in the S3 API reference, UriEncode.
    """
    try:
        return f"/{quote(bucket, safe='')}/{quote(key, safe='-._~/')}"
    except UnicodeEncodeError:
        raise ObjectNotFound(f"{_name(bucket, key)} is not Unicode text") from None


def _name(bucket: str, key: str) -> str:
    """Bucket and key for messages, on one line whatever they contain."""
    return repr(f"{bucket}/{key}")
