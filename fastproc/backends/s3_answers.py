"""What an S3 server's answer means: an object, a refusal, or not S3's answer at all. Values only, nothing is sent.

Rule 1: nothing final follows from an answer that anybody but S3 could have given. A photo is missing only where the
        server says `NoSuchKey`, or that such a key cannot exist; all else may pass (StorageUnavailable).
Rule 2: an object has an ETag, and a length or chunks: without them a page with status 200, or half a body, would be
        taken for the photo.
Rule 3: what the store knows of the content is compared with what came: CRC-32C and CRC-64/NVME at 0.02 ms a megabyte,
        CRC-32 at 0.14. An MD5 (the ETag) would cost 1.1, more than the whole transfer.
"""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Callable, Mapping

from awscrt import checksums
from msgspec import Struct

from fastproc.core.errors import ObjectNotFound, StorageUnavailable, TaskError, UnsupportedFormat

#: Enough of an error's XML to find its code.
ERROR_BYTES = 4096

#: Asks the store for an object's checksum, where it keeps one.
TELL_CHECKSUM = {"x-amz-checksum-mode": "ENABLED"}

#: S3's and MinIO's codes for keys that cannot exist.
_IMPOSSIBLE_KEYS = frozenset({"KeyTooLongError", "XMinioInvalidObjectName"})

#: S3's codes for credentials that the server does not know, that do not fit, or that are over.
_OF_KEYS = frozenset(
    {
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "InvalidToken",
        "ExpiredToken",
        "ExpiredTokenException",
        "TokenRefreshRequired",
        "InvalidClientTokenId",
        "UnrecognizedClientException",
    }
)
#: How S3, and MinIO, refuse a signed address whose time does not fit the server's clock: as AccessDenied.
_OUT_OF_TIME = re.compile(r"request has expired|request is not (yet valid|valid yet)", re.IGNORECASE)

#: Codes of servers that do not know a header.
_UNKNOWN_HEADER = frozenset({"NotImplemented", "InvalidArgument"})

#: Header -> its checksum's size in bytes and function. A store names the one that the object was written with.
_CHECKSUMS: Mapping[str, tuple[int, Callable[..., int]]] = {
    "x-amz-checksum-crc32c": (4, checksums.crc32c),
    "x-amz-checksum-crc64nvme": (8, checksums.crc64nvme),
    "x-amz-checksum-crc32": (4, zlib.crc32),
}


class Refusal(Struct, frozen=True):
    """An answer other than 200: its status, and S3's code and message where it gave them."""

    status: int
    code: str
    message: str

    def __str__(self) -> str:  # On one line, and not long, whatever the server says.
        return " ".join(f"{self.status} {self.code} {self.message}".split())[:300]

    @property
    def of_checksums(self) -> bool:
        """Whether the server refused the request because it does not know checksums."""
        return self.code in _UNKNOWN_HEADER and "x-amz-checksum" in self.message.lower()

    @property
    def of_keys(self) -> bool:
        """Whether the server refused the credentials: others may pass."""
        return self.code in _OF_KEYS

    @property
    def of_clock(self) -> bool:
        """Whether the server refused the time of the signature: this host's clock or the server's is wrong."""
        if self.code in ("RequestTimeTooSkewed", "RequestExpired"):
            return True
        return self.code == "AccessDenied" and bool(_OUT_OF_TIME.search(self.message))


def refusal(status: int, body: bytes) -> Refusal:
    """Read S3's error, as much as there is of it, without what would drive a terminal."""
    text = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e]", " ", body.decode(errors="replace"))
    code, message = (re.search(f"<{tag}>([^<]*)</{tag}>", text) for tag in ("Code", "Message"))
    redirect = "a redirect, which is not followed" if 300 <= status < 400 else ""
    return Refusal(status, code[1] if code else "", message[1] if message else redirect)


def not_read(name: str, refused: Refusal) -> TaskError:
    """The error of a GET that was refused: ObjectNotFound where S3 itself says that there is no such object."""
    missing = refused.status == 404 and refused.code == "NoSuchKey"
    impossible = refused.status == 400 and refused.code in _IMPOSSIBLE_KEYS
    if missing or impossible:
        return ObjectNotFound(f"{name}: {refused}")
    return StorageUnavailable(f"GET {name}: {refused}")


def announced_bytes(name: str, headers: Mapping[str, str]) -> int | None:
    """The size that an answer of status 200 announces, None where it comes in chunks.

    `headers` must not distinguish upper and lower case. Raises StorageUnavailable for what is no object's answer;
    UnsupportedFormat for an object that was stored encoded.
    """
    if "ETag" not in headers:
        raise StorageUnavailable(
            f"GET {name}: the answer has no ETag: so nothing confirms that it is an object"
        )
    if encoding := _encoding(headers.get("Content-Encoding", "")):
        # A proxy that encodes an answer on its way must make the ETag a weak one (RFC 9110, 8.8.3.3).
        if headers["ETag"].startswith("W/"):
            raise StorageUnavailable(f"GET {name}: the body was encoded on its way as {encoding!r}")
        raise UnsupportedFormat(f"{name} was stored with Content-Encoding {encoding!r}: store it as it is")
    if headers.get("Transfer-Encoding", "").lower() == "chunked":
        return None
    length = headers.get("Content-Length", "")
    if not (length.isascii() and length.isdigit()):
        raise StorageUnavailable(
            f"GET {name}: the answer has no length: so nothing would show that it is whole"
        )
    return int(length)


def _encoding(value: str) -> str:
    """The encodings that really were applied; `aws-chunked` is how an upload travelled, and is not undone twice."""
    applied = (each.strip().lower() for each in value.split(","))
    return ", ".join(each for each in applied if each not in ("", "identity", "aws-chunked"))[:40]


class Sums:
    """The checksums that an answer names, of the content as it comes: piece by piece, while it is in the cache.

    A checksum of checksums (an object written in parts, `...-3`) does not cover the whole and is ignored.
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        named = ((header, headers.get(header)) for header in _CHECKSUMS)
        self._announced = {header: text for header, text in named if text is not None and "-" not in text}
        self._found: dict[str, int] = {}

    def add(self, piece: memoryview) -> None:
        """The content goes on with these bytes."""
        for header in self._announced:
            _, function = _CHECKSUMS[header]
            before = self._found.get(header)
            self._found[header] = function(piece) if before is None else function(piece, before)

    def compare(self, name: str) -> None:
        """The content is at its end. Raises StorageUnavailable."""
        for header, announced in self._announced.items():
            found = _text(self._found.get(header, 0), _CHECKSUMS[header][0])
            if found != announced:
                raise StorageUnavailable(
                    f"GET {name}: {header} is {announced[:40]!r}, the bytes that came have {found!r}"
                )


def checksum(body: bytes) -> dict[str, str]:
    """The header that lets the server refuse an upload whose bytes changed on the way. Cost: 0.02 ms a megabyte."""
    return {"x-amz-checksum-crc32c": _text(checksums.crc32c(body), 4)}


def _text(value: int, size: int) -> str:
    return base64.b64encode(value.to_bytes(size, "big")).decode()
