"""Settings of the object store: which server, with which credentials, and in which buckets.

Rule 1: `MINIO_*` go before `AWS_*`, and what names neither is the reference deployment: MinIO on this host with its
        well-known keys.
Rule 2: those keys are never sent to AWS: where anything points there, credentials come from `AWS_*` or from boto3's
        chain (`keys` is None), which reads its own variables and files.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Struct

from fastproc.config import values
from fastproc.config.aws import AwsConfig
from fastproc.config.values import var
from fastproc.core.naming import SAFE_NAME

#: The reference deployment's.
_HOST, _PORT, _ACCESS_KEY, _SECRET_KEY, _REGION = (
    "localhost",
    9000,
    "minioadmin",
    "minioadmin123",
    "us-east-1",
)

#: Buckets that can be part of a host name. Source: "Bucket naming rules" of the S3 user guide.
_DNS_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class Server(Struct, frozen=True):
    """One S3 server: its address as a URL has it, the variables that name it, and whether it is AWS's by region."""

    scheme: str
    netloc: str
    named_by: str
    of_region: bool = False

    @property
    def host(self) -> str:
        """Without port and brackets."""
        return urlsplit(f"//{self.netloc}").hostname or ""

    @property
    def is_aws(self) -> bool:
        return self.host.endswith((".amazonaws.com", ".amazonaws.com.cn"))


class S3Config(AwsConfig, frozen=True, kw_only=True):
    """Where the photos are. `endpoint` is a host name or an address; an IPv6 address has no brackets here."""

    endpoint: Annotated[
        str | None, var("MINIO_ENDPOINT", "S3 host", extra={"parse": values.host_name, "shown": _HOST})
    ] = None
    port: Annotated[int | None, var("MINIO_PORT", "S3 port", ge=1, le=65535, extra={"shown": str(_PORT)})] = (
        None
    )
    use_ssl: Annotated[
        bool | None, var("MINIO_USE_SSL", "`true` for https to S3", extra={"shown": "false"})
    ] = None
    access_key: Annotated[
        str | None, var("MINIO_ACCESS_KEY", "S3 access key", extra={"shown": _ACCESS_KEY})
    ] = None
    secret_key: Annotated[
        str | None, var("MINIO_SECRET_KEY", "S3 secret key", extra={"secret": True, "shown": _SECRET_KEY})
    ] = None
    credentials: Annotated[
        Literal["auto", "chain"],
        var(
            "S3_CREDENTIALS",
            "`auto`: by the variables that are set; `chain`: always by boto3's chain of providers",
        ),
    ] = "auto"
    bucket: Annotated[str, var("MINIO_BUCKET", "bucket of photos and results")] = "photos"
    minio_region: Annotated[
        str | None,
        var("MINIO_REGION", "region that requests are signed for", extra={"shown": _REGION}),
    ] = None
    addressing: Annotated[
        Literal["auto", "path", "virtual"],
        var(
            "S3_ADDRESSING_STYLE",
            "`path`: buckets in the path; `virtual`: in the host name; `auto`: in the host name of AWS's own endpoint,"
            " in the path of one that is given",
        ),
    ] = "auto"
    ca_file: Annotated[
        str | None,
        var(
            "MINIO_CA_FILE",
            "file of the certificate authorities (PEM) that are trusted for https to S3",
            extra={"shown": "those of the system"},
        ),
    ] = None
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
    def region(self) -> str:
        """The region that requests are signed for."""
        return self.minio_region or self.aws_region or self.aws_default_region or _REGION

    @property
    def server(self) -> Server:
        """The server that the variables name: MINIO_*, else AWS_ENDPOINT_URL*, else AWS's own, else on this host."""
        given = (self.endpoint, self.port, self.use_ssl) != (None, None, None)
        if not given:
            for name, url in (
                ("AWS_ENDPOINT_URL_S3", self.aws_endpoint_url_s3),
                ("AWS_ENDPOINT_URL", self.aws_endpoint_url),
            ):
                if url:
                    parts = urlsplit(url)
                    return Server(parts.scheme, parts.netloc, name)
            if not self._own_keys and (self.points_to_aws or self.credentials == "chain"):
                ending = "amazonaws.com.cn" if self.region.startswith("cn-") else "amazonaws.com"
                return Server("https", f"s3.{self.region}.{ending}", "AWS_REGION", of_region=True)
        netloc = values.host_and_port(self.endpoint or _HOST, self.port or _PORT)
        return Server(
            "https" if self.use_ssl else "http", netloc, "MINIO_ENDPOINT, MINIO_PORT, MINIO_USE_SSL"
        )

    @property
    def _own_keys(self) -> bool:
        return bool(self.access_key or self.secret_key)

    @property
    def keys(self) -> tuple[str, str, str | None] | None:
        """Access key, secret key and session token that are given; None where boto3's chain is asked."""
        if self._own_keys:
            return self.access_key or _ACCESS_KEY, self.secret_key or _SECRET_KEY, None
        if self.credentials == "chain":
            return None
        if self.aws_access_key_id and self.aws_secret_access_key:
            return self.aws_access_key_id, self.aws_secret_access_key, self.aws_session_token
        return None if self._wants_chain else (_ACCESS_KEY, _SECRET_KEY, None)

    @property
    def _wants_chain(self) -> bool:
        server = self.server
        return self.names_provider or server.is_aws or server.named_by.startswith("AWS_")

    @property
    def has_default_keys(self) -> bool:
        """Whether the keys are MinIO's well-known ones, because none are set."""
        return not self._own_keys and self.keys == (_ACCESS_KEY, _SECRET_KEY, None)

    @property
    def unused(self) -> frozenset[str]:
        """Fields whose defaults are not in force, because AWS's names say otherwise."""
        found: list[str] = []
        if self.server.named_by.startswith("AWS_"):
            found += ["endpoint", "port", "use_ssl"]
        if not self._own_keys and not self.has_default_keys:
            found += ["access_key", "secret_key"]
        if not self.minio_region and self.region != _REGION:
            found.append("minio_region")
        return frozenset(found)

    @property
    def keys_named_by(self) -> str:
        """Where the credentials are from, for messages that name the variable to look at."""
        if self._own_keys:
            return "MINIO_ACCESS_KEY, MINIO_SECRET_KEY"
        if self.keys is None:
            return "credentials"
        if self.has_default_keys:
            return "MINIO_ACCESS_KEY, MINIO_SECRET_KEY (not set: MinIO's well-known ones)"
        return "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY"

    @property
    def authorities(self) -> tuple[str, str] | None:
        """The file of certificate authorities and the variable that names it, if one does."""
        if self.ca_file:
            return self.ca_file, "MINIO_CA_FILE"
        return (self.aws_ca_bundle, "AWS_CA_BUNDLE") if self.aws_ca_bundle else None

    @property
    def host_and_port(self) -> str:
        """The server as a URL names it: `minio:9000`, `[::1]:9000`."""
        return self.server.netloc

    def is_virtual(self, bucket: str) -> bool:
        """Whether the bucket is part of the host name; `auto` spares names that no certificate of AWS fits."""
        if self.addressing == "auto":
            return self.server.of_region and bool(_DNS_BUCKET.fullmatch(bucket)) and "." not in bucket
        return self.addressing == "virtual"

    def conflicts(self, further_buckets: Sequence[str] = ()) -> list[str]:
        """Return the problems between these settings, each beginning with its variable."""
        variable = "ALLOWED_BUCKETS" if self.allowed_buckets else "MINIO_BUCKET"
        wrong = [name for name in self.buckets if not SAFE_NAME.fullmatch(name)]
        found = [f"{variable}: {name!r} is not a bucket name" for name in wrong]
        found += self._unfit_hosts((*self.buckets, *further_buckets))
        if self._own_keys and self.credentials == "chain":
            found.append("S3_CREDENTIALS: it is chain, and MINIO_ACCESS_KEY or MINIO_SECRET_KEY is set too")
        if self._own_keys and not (self.access_key and self.secret_key) and self._wants_chain:
            there = "MINIO_ACCESS_KEY" if self.access_key else "MINIO_SECRET_KEY"
            found.append(f"{there}: the other key is not set, and MinIO's default is not for AWS")
        return found if self._own_keys else found + self.half_pairs()

    def _unfit_hosts(self, buckets: Sequence[str]) -> list[str]:
        if self.addressing != "virtual":
            return []
        if _is_address(self.server.host):
            return [f"S3_ADDRESSING_STYLE: virtual needs a host name, not the address {self.server.host}"]
        secure = self.server.scheme == "https"
        unfit = [name for name in buckets if not _DNS_BUCKET.fullmatch(name) or (secure and "." in name)]
        return [
            f"S3_ADDRESSING_STYLE: virtual cannot be used with the bucket {name!r}: no host name or no certificate"
            " fits it"
            for name in unfit
        ]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
