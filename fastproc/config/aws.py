"""Settings of the object store by AWS's own names, for deployments that already have them.

Rule 1: what boto3's chain of providers reads itself (profile, web identity, container) is here only because its
        presence says that credentials come from there; its value is never used by us.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Struct

from fastproc.config import values
from fastproc.config.values import var

#: For a variable whose value boto3 reads from the environment: it cannot come from a file instead.
_BOTO3 = {"no_file": True}


class AwsConfig(Struct, frozen=True, kw_only=True):
    """AWS's variables; used where `MINIO_*` are not set."""

    aws_access_key_id: Annotated[
        str | None, var("AWS_ACCESS_KEY_ID", "access key where no `MINIO_*` key is set")
    ] = None
    aws_secret_access_key: Annotated[
        str | None, var("AWS_SECRET_ACCESS_KEY", "its secret key", extra={"secret": True})
    ] = None
    aws_session_token: Annotated[
        str | None,
        var("AWS_SESSION_TOKEN", "its session token, where it is a temporary one", extra={"secret": True}),
    ] = None
    aws_region: Annotated[
        str | None,
        var("AWS_REGION", "region where MINIO_REGION is not set; without an endpoint, AWS's own is used"),
    ] = None
    aws_default_region: Annotated[str | None, var("AWS_DEFAULT_REGION", "the same, after AWS_REGION")] = None
    aws_endpoint_url_s3: Annotated[
        str | None,
        var(
            "AWS_ENDPOINT_URL_S3",
            "URL of the S3 server where no MINIO_ENDPOINT, MINIO_PORT or MINIO_USE_SSL is set",
            extra={"parse": values.server_url},
        ),
    ] = None
    aws_endpoint_url: Annotated[
        str | None,
        var("AWS_ENDPOINT_URL", "the same, after AWS_ENDPOINT_URL_S3", extra={"parse": values.server_url}),
    ] = None
    aws_ca_bundle: Annotated[
        str | None, var("AWS_CA_BUNDLE", "file of certificate authorities where MINIO_CA_FILE is not set")
    ] = None
    aws_profile: Annotated[
        str | None, var("AWS_PROFILE", "profile of boto3's configuration files", extra=_BOTO3)
    ] = None
    aws_shared_credentials_file: Annotated[
        str | None, var("AWS_SHARED_CREDENTIALS_FILE", "boto3's file of credentials", extra=_BOTO3)
    ] = None
    aws_config_file: Annotated[
        str | None, var("AWS_CONFIG_FILE", "boto3's file of profiles", extra=_BOTO3)
    ] = None
    aws_web_identity_token_file: Annotated[
        str | None,
        var("AWS_WEB_IDENTITY_TOKEN_FILE", "token for a role (IRSA), with AWS_ROLE_ARN", extra=_BOTO3),
    ] = None
    aws_container_uri: Annotated[
        str | None,
        var("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "container's credentials (ECS)", extra=_BOTO3),
    ] = None
    aws_container_full_uri: Annotated[
        str | None,
        var("AWS_CONTAINER_CREDENTIALS_FULL_URI", "container's credentials (EKS Pod Identity)", extra=_BOTO3),
    ] = None

    @property
    def names_provider(self) -> bool:
        """Whether a variable of boto3's chain is set, its keys included."""
        return any(
            (
                self.aws_access_key_id,
                self.aws_secret_access_key,
                self.aws_profile,
                self.aws_shared_credentials_file,
                self.aws_config_file,
                self.aws_web_identity_token_file,
                self.aws_container_uri,
                self.aws_container_full_uri,
            )
        )

    @property
    def points_to_aws(self) -> bool:
        """Whether AWS's own endpoint is meant where no endpoint is given."""
        return self.names_provider or bool(self.aws_region or self.aws_default_region)

    def half_pairs(self) -> list[str]:
        """Return the problems of a key without its secret, and of a token without keys."""
        pair = {
            "AWS_ACCESS_KEY_ID": self.aws_access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.aws_secret_access_key,
        }
        missing = [name for name, value in pair.items() if not value]
        if len(missing) == 1:
            [other] = set(pair) - set(missing)
            return [f"{other}: it is set, but {missing[0]} is not"]
        if missing and self.aws_session_token:
            return ["AWS_SESSION_TOKEN: it is set, but AWS_ACCESS_KEY_ID is not"]
        return []
