"""Settings of the connection: where Redis or Valkey is, and with which password."""

from __future__ import annotations

from typing import Annotated

from msgspec import Struct

from fastproc.config import values
from fastproc.config.values import var


class RedisConfig(Struct, frozen=True, kw_only=True):
    """Where Redis or Valkey is."""

    host: Annotated[str, var("REDIS_HOST", "Redis or Valkey host")] = "localhost"
    port: Annotated[int, var("REDIS_PORT", "its port", ge=1, le=65535)] = 6379
    password: Annotated[str | None, var("REDIS_PASSWORD", "its password", extra={"secret": True})] = None
    url: Annotated[
        str | None,
        var(
            "REDIS_URL",
            "`redis://`, `rediss://`, `unix://`, `redis+sentinel://` or `redis+cluster://` URL;"
            " replaces host, port and password",
            extra={"parse": values.redis_url},
        ),
    ] = None

    @property
    def is_cluster(self) -> bool:
        return bool(self.url) and "+cluster://" in str(self.url)

    @property
    def where(self) -> str:
        """The server and the variables that name it, for messages; passwords masked."""
        if self.url:
            return f"{values.masked(self.url, secret=False)} (REDIS_URL)"
        return f"{values.host_and_port(self.host, self.port)} (REDIS_HOST, REDIS_PORT)"
