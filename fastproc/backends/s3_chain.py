"""boto3's chain of credential providers: environment, profile, web identity, container, instance.

Rule 1: each look asks the providers anew: files and tokens are read again, nothing comes from a cache, and nothing is
        renewed by anybody else. Their session stays, so that looks cost little memory (tuning.md, "credentials").
Rule 2: botocore's session is loaded with the first look, so that who gives keys does not pay for it.
Rule 3: every wait has an end, where the provider lets us set one.
"""

from __future__ import annotations

import logging
from typing import Any

from fastproc.backends.s3_credentials import Found, Given, Renewed, Source
from fastproc.backends.s3_signing import Credentials
from fastproc.config.s3 import S3Config

#: Seconds for a connection to STS and for its answer, and how often it is tried at once.
_CONNECT_S, _READ_S, _TRIES = 5, 10, 2


class NoCredentials(Exception):
    """No provider of the chain has any."""


class Chain:
    """The chain of this process's environment. `region`: where STS is asked; without it, by the chain's own rules."""

    def __init__(self, region: str | None = None) -> None:
        self._region = region
        self._cache: dict[str, Any] = {}
        self._opened: Any = None

    def look(self) -> Found:
        """Ask the providers in boto3's order. Blocks. Raises what botocore raises, NoCredentials."""
        self._cache.clear()
        held = self._providers.load_credentials()
        if held is None:
            raise NoCredentials(
                "no provider has any: set MINIO_ACCESS_KEY and MINIO_SECRET_KEY, or what boto3's chain reads"
            )
        keys = held.get_frozen_credentials()
        # Botocore has no public name for it.
        expires = getattr(held, "_expiry_time", None)
        return Found(
            Credentials(
                keys.access_key, keys.secret_key, keys.token, expires.timestamp() if expires else None
            ),
            str(held.method),
        )

    def forget(self) -> None:
        """Let the providers go, and their connections with them."""
        self._opened = None

    @property
    def _providers(self) -> Any:
        if self._opened is None:
            from botocore.config import Config
            from botocore.credentials import create_credential_resolver
            from botocore.session import Session

            # What fails is said by the caller, once; botocore writes a traceback each time.
            logging.getLogger("botocore.credentials").setLevel(logging.ERROR)
            session = Session()
            if self._region:
                session.set_config_variable("region", self._region)
            session.set_default_client_config(
                Config(
                    connect_timeout=_CONNECT_S,
                    read_timeout=_READ_S,
                    retries={"total_max_attempts": _TRIES},
                )
            )
            self._opened = create_credential_resolver(session, self._cache, self._region)
        return self._opened


def configured(config: S3Config) -> Source:
    """Return the credentials that the configuration gives, or those of the chain."""
    if config.keys is None:
        chain = Chain(config.minio_region or config.aws_region)
        return Renewed(chain.look, chain.forget)
    return Given(Credentials(*config.keys), f"keys of {config.keys_named_by}")
