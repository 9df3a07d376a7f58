"""Settings of the object store: where the photos are, and in which buckets."""

from __future__ import annotations

from typing import Annotated

from msgspec import Struct

from fastproc.config import values
from fastproc.config.values import var
from fastproc.core.naming import SAFE_NAME


class S3Config(Struct, frozen=True, kw_only=True):
    """Where the photos are. `endpoint` is a host name or an address; an IPv6 address has no brackets here."""

    endpoint: Annotated[str, var("MINIO_ENDPOINT", "S3 host", extra={"parse": values.host_name})] = (
        "localhost"
    )
    port: Annotated[int, var("MINIO_PORT", "S3 port", ge=1, le=65535)] = 9000
    use_ssl: Annotated[bool, var("MINIO_USE_SSL", "`true` for https to S3")] = False
    access_key: Annotated[str, var("MINIO_ACCESS_KEY", "S3 access key")] = "minioadmin"
    secret_key: Annotated[str, var("MINIO_SECRET_KEY", "S3 secret key", extra={"secret": True})] = (
        "minioadmin123"
    )
    bucket: Annotated[str, var("MINIO_BUCKET", "bucket of photos and results")] = "photos"
    region: Annotated[str, var("MINIO_REGION", "region that requests are signed for")] = "us-east-1"
    allowed_buckets: Annotated[
        tuple[str, ...],
        var(
            "ALLOWED_BUCKETS",
            "buckets that a job may name, separated by commas",
            extra={"parse": values.names, "shown": "MINIO_BUCKET"},
        ),
    ] = ()
    public_url: Annotated[
        str | None,
        var(
            "PUBLIC_URL",
            "beginning of the renditions' URLs",
            extra={"parse": values.url("http", "https"), "shown": "the S3 endpoint"},
        ),
    ] = None

    @property
    def buckets(self) -> tuple[str, ...]:
        """The buckets that a job may name."""
        return self.allowed_buckets or (self.bucket,)

    @property
    def host_and_port(self) -> str:
        """The server as a URL names it: `minio:9000`, `[::1]:9000`."""
        return values.host_and_port(self.endpoint, self.port)

    def conflicts(self) -> list[str]:
        """Return the problems between these settings, each beginning with its variable."""
        variable = "ALLOWED_BUCKETS" if self.allowed_buckets else "MINIO_BUCKET"
        wrong = [name for name in self.buckets if not SAFE_NAME.fullmatch(name)]
        return [f"{variable}: {name!r} is not a bucket name" for name in wrong]
