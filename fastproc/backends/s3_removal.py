"""Removes objects from an S3 store: for commands that clean up after themselves. The service removes nothing.

Rule 1: by boto3 and key by key, since not every store can remove several at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from fastproc.config.s3 import S3Config

#: Requests at a time: enough to hide a store's latency, and less than one worker's uploads.
_AT_ONCE: Final = 8


def remove(config: S3Config, objects: Sequence[tuple[str, str]]) -> list[str]:
    """Remove objects by bucket ("" for the configured one) and key; return a sentence for each that could not be.

    An object that is not there is no failure. It blocks: call it in a thread.
    """
    clients = {bucket: _client(config, bucket or config.bucket) for bucket, _ in objects}

    def one(bucket: str, key: str) -> str:
        try:
            clients[bucket].delete_object(Bucket=bucket or config.bucket, Key=key)
        except (BotoCoreError, ClientError) as error:
            return f"{key}: {error}"
        return ""

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        said = list(threads.map(lambda each: one(*each), objects))
    for client in clients.values():
        client.close()
    return [words for words in said if words]


def _client(config: S3Config, bucket: str) -> Any:
    access_key, secret_key, token = config.keys or (None, None, None)
    return boto3.client(
        "s3",
        endpoint_url=f"{config.server.scheme}://{config.server.netloc}",
        region_name=config.region,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        aws_session_token=token,
        verify=config.authorities[0] if config.authorities else None,
        config=Config(
            s3={"addressing_style": "virtual" if config.is_virtual(bucket) else "path"},
            max_pool_connections=_AT_ONCE,
        ),
    )
