"""What an answer to a check at the start means, in a sentence that names the variable to look at. Values only."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

from fastproc.backends.s3_answers import Refusal
from fastproc.config.s3 import S3Config
from fastproc.config.uploads import UploadConfig

log = logging.getLogger(__name__)

#: The object that is written where results have attributes or a bucket of their own: only a write shows whether the
#: server, its policy and its keys allow them. It stays, because deleting is no right that the service needs.
TRIAL_KEY = "fastproc/check/upload"
TRIAL = b"fastproc wrote this to see whether it can\n"

#: Header of an upload -> the header that confirms it, in the answer to the upload and in that to a read.
_CONFIRMED = {
    "x-amz-server-side-encryption": ("x-amz-server-side-encryption", "UPLOAD_SSE"),
    "Cache-Control": ("Cache-Control", "UPLOAD_CACHE_CONTROL"),
    "x-amz-storage-class": ("x-amz-storage-class", "UPLOAD_STORAGE_CLASS"),
    "x-amz-tagging": ("x-amz-tagging-count", "UPLOAD_TAGS"),
}


def problem(config: S3Config, bucket: str, refused: Refusal) -> str | None:
    """What is wrong, if anything, with an answer to the request for an object that does not exist."""
    server = config.server
    endpoint, named_by = f"{server.scheme}://{server.netloc}", server.named_by
    if refused.code == "NoSuchKey":
        return None
    if refused.code == "NoSuchBucket":
        buckets_from = "ALLOWED_BUCKETS, MINIO_BUCKET" if config.allowed_buckets else "MINIO_BUCKET"
        return f"{buckets_from}: there is no bucket {bucket!r} at {endpoint}"
    if refused.of_keys:
        return f"{config.keys_named_by}: {endpoint} refused them ({refused})"
    if refused.of_clock:
        return f"clock: this host's and that of {endpoint} differ ({refused})"
    if refused.code == "AccessDenied":
        # Where listing is not allowed, S3 answers this for every object that does not exist.
        log.warning("bucket %r: the server does not tell whether it can be read (%s)", bucket, refused)
        return None
    if refused.code in (
        "AuthorizationHeaderMalformed",
        "PermanentRedirect",
        "IllegalLocationConstraintException",
    ):
        return f"MINIO_REGION, AWS_REGION: {endpoint} wants another region for {bucket!r} ({refused})"
    return f"{named_by.removesuffix(', MINIO_USE_SSL')}: {endpoint} does not answer like an S3 server ({refused})"


def no_answer(config: S3Config, error: str) -> str:
    """The sentence for a server that did not answer at all."""
    server = config.server
    named_by = server.named_by
    if "certificate verify failed" in error.lower():
        named_by = f"{named_by}, MINIO_CA_FILE, AWS_CA_BUNDLE"
    return f"{named_by}: no S3 server answers at {server.scheme}://{server.netloc} ({error})"


def not_written(uploads: UploadConfig, bucket: str, error: str) -> str:
    """The sentence for a bucket to which results cannot be written."""
    variables = {
        "UPLOAD_BUCKET": uploads.bucket,
        "UPLOAD_CACHE_CONTROL": uploads.cache_control,
        "UPLOAD_ACL": uploads.acl,
        "UPLOAD_STORAGE_CLASS": uploads.storage_class,
        "UPLOAD_TAGS": uploads.tags,
        "UPLOAD_SSE": uploads.sse,
    }
    named = ", ".join(name for name, value in variables.items() if value)
    return f"{named}: results cannot be written to {bucket!r} ({error})"


def ignored(
    sent: Mapping[str, str], answer: Mapping[str, str], stored: Mapping[str, str] | None
) -> Iterator[str]:
    """What the server seems to have ignored: `answer` is that to the upload, `stored` the object's headers as read.

    Where it could not be read, only the encryption can be seen. The class STANDARD is never named by a server.
    """
    for header, (confirms, variable) in _CONFIRMED.items():
        value = sent.get(header)
        if value is None or value == "STANDARD":
            continue
        if header == "x-amz-server-side-encryption":
            found = answer.get(confirms) or (stored or {}).get(confirms)
        elif stored is None:
            continue
        else:
            found = stored.get(confirms)
        expected = str(value.count("=")) if header == "x-amz-tagging" else value
        if found != expected:
            yield f"{variable}: the server does not confirm it ({confirms} is {found!r})"
