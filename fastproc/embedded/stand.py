"""A place to run the service in: embedded servers, a database, and the environment that leads there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from fastproc.backends.metadata_sqlite import create_schema
from fastproc.config.host import usable_cores
from fastproc.config.settings import Config, load
from fastproc.embedded.servers import SeaweedFS, Valkey, together


class Stand(Struct, frozen=True):
    """Running servers, and the variables and the configuration of a service that uses them."""

    valkey: Valkey
    seaweedfs: SeaweedFS
    environment: dict[str, str]
    config: Config

    @property
    def database(self) -> Path:
        return Path(self.environment["SQLITE_PATH"])


@contextmanager
def stand(folder: Path, settings: Mapping[str, str]) -> Iterator[Stand]:
    """Start the servers with their data in `folder`; `settings` are further variables of the service.

    The rate limit is off and no HTTP port is opened, unless `settings` say so. Raises ServerFailed, ConfigError.
    """
    valkey, seaweedfs = Valkey(folder / "valkey"), SeaweedFS(folder / "seaweedfs")
    database = folder / "photos.db"
    create_schema(str(database))
    with together(valkey, seaweedfs):
        s3 = seaweedfs.config
        environment = {
            "REDIS_URL": valkey.url,
            "MINIO_ENDPOINT": s3.endpoint,
            "MINIO_PORT": str(s3.port),
            "MINIO_ACCESS_KEY": s3.access_key,
            "MINIO_SECRET_KEY": s3.secret_key,
            "MINIO_BUCKET": s3.bucket,
            "SQLITE_PATH": str(database),
            "RATE_LIMIT_MAX": "0",
            "HTTP_PORT": "0",
            **settings,
        }
        yield Stand(valkey, seaweedfs, environment, load(environment, usable_cores()))
