"""A stand to run the service on: embedded servers, a database, and the environment variables that lead there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from fastproc.backends.metadata_sqlite import create_schema
from fastproc.config.host import usable_cores
from fastproc.config.settings import Config, load
from fastproc.embedded.seaweedfs import SeaweedFS
from fastproc.embedded.together import together
from fastproc.embedded.valkey import Valkey


class Stand(Struct, frozen=True):
    """Running servers, and the variables and the configuration of a service that uses them."""

    valkey: Valkey
    seaweedfs: SeaweedFS
    database: Path
    environment: dict[str, str]
    config: Config


@contextmanager
def stand(folder: Path, settings: Mapping[str, str]) -> Iterator[Stand]:
    """Start the servers with their data in `folder`; `settings` are further variables of the service.

    The rate limit is off, no HTTP port is opened and the database is a file, unless `settings` say otherwise. Raises
    ServerFailed, ConfigError.
    """
    valkey, seaweedfs = Valkey(folder / "valkey"), SeaweedFS(folder / "seaweedfs")
    database = folder / "photos.db"
    create_schema(str(database))
    with together(valkey, seaweedfs):
        s3 = seaweedfs.config
        environment = {
            "REDIS_URL": valkey.url,
            "MINIO_ENDPOINT": str(s3.endpoint),
            "MINIO_PORT": str(s3.port),
            "MINIO_ACCESS_KEY": str(s3.access_key),
            "MINIO_SECRET_KEY": str(s3.secret_key),
            "MINIO_BUCKET": s3.bucket,
            **({} if "DATABASE_URL" in settings else {"SQLITE_PATH": str(database)}),
            "RATE_LIMIT_MAX": "0",
            "HTTP_PORT": "0",
            **settings,
        }
        yield Stand(valkey, seaweedfs, database, environment, load(environment, usable_cores()))
