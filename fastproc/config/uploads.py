"""Settings of what is written to the object store: where results go, and what the store is told of them.

Rule 1: unset, an upload is what the contract says: type and user metadata, and nothing else.
Rule 2: encryption goes with everything that is written, photos in quarantine too; the rest with results alone, because
        what makes results public or cheap must not do so to a photo.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import quote

from msgspec import Struct

from fastproc.config.values import names, var
from fastproc.core import keys
from fastproc.core.keys import Results
from fastproc.core.model import Options, Rendition, own_stages
from fastproc.core.naming import SAFE_NAME

#: Source: PutObject and "Categorizing your objects using tags" of the S3 documentation.
_MAX_TAGS, _MAX_TAG_KEY, _MAX_TAG_VALUE = 10, 128, 256
#: Classes from which nothing can be read at once: every URL of a rendition would be dead.
_ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
#: Stages of ours and the renditions that they make, by content type.
_TYPES = {"jpeg": "image/jpeg", "webp": "image/webp", "avif": "image/avif"}

Acl = Literal[
    "private",
    "public-read",
    "authenticated-read",
    "aws-exec-read",
    "bucket-owner-read",
    "bucket-owner-full-control",
]


def header_value(text: str) -> str:
    """A header's value. Raises ValueError for what no header can carry."""
    if not re.fullmatch(r"[ -~]{1,512}", text):
        raise ValueError("expected at most 512 printable ASCII characters")
    return text


def storage_class(text: str) -> str:
    """A storage class: servers have their own. Raises ValueError for one from which nothing can be read at once."""
    if not re.fullmatch(r"[A-Z][A-Z0-9_]{0,63}", text):
        raise ValueError("expected capital letters, such as STANDARD_IA")
    if text in _ARCHIVES:
        raise ValueError("renditions in an archive could not be read by their URLs")
    return text


def tags(text: str) -> tuple[str, ...]:
    """Parse `key=value,key=value`. Raises ValueError for more than S3 allows."""
    found = names(text)
    pairs = [each.partition("=") for each in found]
    if len(found) > _MAX_TAGS:
        raise ValueError(f"expected at most {_MAX_TAGS} tags")
    for key, equals, value in pairs:
        fits = equals and 0 < len(key) <= _MAX_TAG_KEY and len(value) <= _MAX_TAG_VALUE
        if not fits or not re.fullmatch(r"[\w +=.:/@-]*", key + value):
            raise ValueError("expected key=value,key=value of letters, digits, spaces and + - = . _ : / @")
    if len({key for key, _, _ in pairs}) < len(pairs):
        raise ValueError("two tags have the same key")
    return found


def template(text: str) -> str:
    """A template of keys. Raises ValueError."""
    if problem := keys.template_problem(text):
        raise ValueError(problem)
    return text


class UploadConfig(Struct, frozen=True, kw_only=True):
    """Where results go, and with which attributes objects are written."""

    bucket: Annotated[
        str | None, var("UPLOAD_BUCKET", "bucket of the results", extra={"shown": "the photo's bucket"})
    ] = None
    key_template: Annotated[
        str | None,
        var(
            "UPLOAD_KEY_TEMPLATE",
            "keys of the results, such as `img/{photoId}/{name}.{ext}`; fields are "
            + ", ".join(f"`{{{name}}}`" for name in keys.FIELDS),
            extra={"parse": template, "shown": "the contract's keys"},
        ),
    ] = None
    cache_control: Annotated[
        str | None,
        var("UPLOAD_CACHE_CONTROL", "`Cache-Control` of the results", extra={"parse": header_value}),
    ] = None
    acl: Annotated[Acl | None, var("UPLOAD_ACL", "canned ACL of the results, such as `public-read`")] = None
    storage_class: Annotated[
        str | None,
        var(
            "UPLOAD_STORAGE_CLASS",
            "storage class of the results, such as `STANDARD_IA`",
            extra={"parse": storage_class},
        ),
    ] = None
    tags: Annotated[
        tuple[str, ...],
        var("UPLOAD_TAGS", "tags of the results: `key=value,key=value`", extra={"parse": tags}),
    ] = ()
    sse: Annotated[
        Literal["aes256", "aws:kms", "aws:kms:dsse"] | None,
        var(
            "UPLOAD_SSE",
            "encryption by the store of all that is written: `AES256`, `aws:kms`, `aws:kms:dsse`",
        ),
    ] = None
    sse_kms_key_id: Annotated[
        str | None,
        var(
            "UPLOAD_SSE_KMS_KEY_ID",
            "key of `aws:kms`",
            extra={"parse": header_value, "shown": "AWS's own key"},
        ),
    ] = None
    sse_bucket_key: Annotated[
        bool, var("UPLOAD_SSE_BUCKET_KEY", "`true` for a bucket key, which saves requests to KMS")
    ] = False

    @property
    def buckets(self) -> tuple[str, ...]:
        """The results' own bucket, if there is one."""
        return (self.bucket,) if self.bucket else ()

    @property
    def results(self) -> Results:
        """Where results go."""
        return Results(self.bucket or "", self.key_template or "")

    @property
    def is_set(self) -> bool:
        """Whether the store may refuse an upload for any of this."""
        return self != UploadConfig(key_template=self.key_template)

    @property
    def encryption(self) -> dict[str, str]:
        """The headers of everything that is written."""
        if not self.sse:
            return {}
        kind: str = self.sse
        headers = {"x-amz-server-side-encryption": "AES256" if kind == "aes256" else kind}
        if self.sse_kms_key_id:
            headers["x-amz-server-side-encryption-aws-kms-key-id"] = self.sse_kms_key_id
        if self.sse_bucket_key:
            headers["x-amz-server-side-encryption-bucket-key-enabled"] = "true"
        return headers

    @property
    def attributes(self) -> dict[str, str]:
        """The headers of a result, encryption included."""
        pairs = (each.partition("=") for each in self.tags)
        tagging = "&".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, _, value in pairs)
        found = {
            "Cache-Control": self.cache_control,
            "x-amz-acl": self.acl,
            "x-amz-storage-class": self.storage_class,
            "x-amz-tagging": tagging,
        }
        return {name: value for name, value in found.items() if value} | self.encryption

    def conflicts(self, options: Options) -> list[str]:
        """Return the problems between these settings and what the pipeline makes, each beginning with its variable."""
        found = []
        if self.bucket and not SAFE_NAME.fullmatch(self.bucket):
            found.append(f"UPLOAD_BUCKET: {self.bucket!r} is not a bucket name")
        if self.sse_kms_key_id and self.sse not in ("aws:kms", "aws:kms:dsse"):
            found.append("UPLOAD_SSE_KMS_KEY_ID: it needs UPLOAD_SSE=aws:kms")
        if self.sse_bucket_key and self.sse != "aws:kms":
            found.append("UPLOAD_SSE_BUCKET_KEY: it needs UPLOAD_SSE=aws:kms")
        if self.key_template:
            found += _collisions(self.key_template, options)
        return found


def _collisions(template: str, options: Options) -> list[str]:
    """The renditions of the stages that are known; those of other stages have names that nobody knows here."""
    others = own_stages(options.stages)
    if others and "{stage}" not in template:
        return [f"UPLOAD_KEY_TEMPLATE: it lacks {{stage}}, which the renditions of stage {others[0]!r} need"]
    made = [("thumbnails", spec.name, options.format_of(spec)) for spec in options.thumbnails]
    made.append(("optimization", "optimized", options.optimize_format))
    clash = keys.colliding(
        template,
        [
            Rendition(stage=stage, name=name, width=1, height=1, offset=0, size=0, content_type=_TYPES[kind])
            for stage, name, kind in made
            if stage in options.stages
        ],
    )
    if not clash:
        return []
    return [f"UPLOAD_KEY_TEMPLATE: {clash[0]} and {clash[1]} could have one key, of one photo or of two"]
