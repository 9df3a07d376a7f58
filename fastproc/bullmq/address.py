"""Where Redis is, however it is deployed: one server, behind Sentinel, or a cluster. From REDIS_URL to connections.

    redis://[user:password@]host[:port][/db]           rediss:// with TLS, unix://[user:password@]/path
    redis+sentinel://[user:password@]host:port,host:port/service[/db][?sentinel_password=...]
    redis+cluster://[user:password@]host:port,host:port           (QUEUE_PREFIX needs a hash tag: {bull})

Rule 1: the address is looked up anew for every connection, so that a failover is followed by reconnecting.
Rule 2: redis-py's own retries and its default socket timeout are off: they resend, which would lose jobs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from msgspec import Struct
from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException

from fastproc.config.redis import RedisConfig

CONNECT_TIMEOUT_S = 5.0
#: Longest wait for a reply, of a batch or of a lookup. Redis answers in microseconds; longer is gone or frozen.
REPLY_TIMEOUT_S = 15.0

#: Makes a new connection, not connected yet, to where Redis is now. Raises RedisError or OSError.
Connect = Callable[[], Awaitable[AbstractConnection]]

_QUICK: dict[str, Any] = {
    "socket_timeout": CONNECT_TIMEOUT_S,
    "socket_connect_timeout": CONNECT_TIMEOUT_S,
    "retry": Retry(NoBackoff(), 0),
}


class _Many(Struct, frozen=True):
    """A URL with several hosts, taken apart."""

    hosts: tuple[tuple[str, int], ...]
    login: dict[str, Any]
    tls: bool
    path: tuple[str, ...]
    query: dict[str, str]


def connector(config: RedisConfig, key: str, client_name: str | None = None) -> Connect:
    """Return a maker of connections to the server that holds `key`. Raises ValueError for a URL that cannot be read."""
    own: dict[str, Any] = {
        "socket_timeout": None,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
        "client_name": client_name,
        "protocol": 2,
    }
    if many := _taken_apart(config):
        locate = _locator(config, many, key)
        tcp: type[Connection] = SSLConnection if many.tls else Connection
        database: dict[str, Any] = {"db": int(many.path[1])} if len(many.path) > 1 else {}

        async def make() -> AbstractConnection:
            host, port = await locate()
            return tcp(host=host, port=port, socket_keepalive=True, **many.login, **database, **own)

        return make
    kind, arguments = _single(config)

    async def make_single() -> AbstractConnection:
        return kind(**arguments, **own)

    return make_single


async def plain_client(config: RedisConfig, key: str) -> Redis:
    """Return redis-py's own client, connected to the server that holds `key`, for slow and rare commands."""
    if many := _taken_apart(config):
        host, port = await _locator(config, many, key)()
        return Redis(host=host, port=port, ssl=many.tls, protocol=2, **many.login, **_QUICK)
    if config.url:
        return Redis.from_url(config.url, protocol=2, **_QUICK)
    return Redis(host=config.host, port=config.port, password=config.password, protocol=2, **_QUICK)


def _taken_apart(config: RedisConfig) -> _Many | None:
    several = config.url and urlsplit(config.url).scheme.endswith(("+sentinel", "+cluster"))
    return _many(config.url) if config.url and several else None


def _locator(config: RedisConfig, many: _Many, key: str) -> Callable[[], Awaitable[tuple[str, int]]]:
    return _by_cluster(many, key) if config.is_cluster else _by_sentinel(many)


def _single(config: RedisConfig) -> tuple[type[AbstractConnection], dict[str, Any]]:
    if not config.url:
        where = {"host": config.host, "port": config.port, "password": config.password}
        return Connection, {**where, "socket_keepalive": True}
    arguments: dict[str, Any] = dict(parse_url(config.url))
    kind: type[AbstractConnection] = arguments.pop("connection_class", Connection)
    keepalive = {} if kind is UnixDomainSocketConnection else {"socket_keepalive": True}
    return kind, {**arguments, **keepalive}


def _many(url: str) -> _Many:
    """Raises ValueError."""
    parts = urlsplit(url)
    user, at, where = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    login = {"username": unquote(name) or None, "password": unquote(password) or None} if at else {}
    default = 26379 if parts.scheme.endswith("+sentinel") else 6379
    hosts = []
    for each in where.split(","):
        host, colon, port = each.rpartition(":")
        hosts.append((host.strip("[]"), int(port)) if colon else (each, default))
    path = tuple(part for part in parts.path.split("/") if part)
    return _Many(tuple(hosts), login, parts.scheme.startswith("rediss"), path, dict(parse_qsl(parts.query)))


def _by_sentinel(many: _Many) -> Callable[[], Awaitable[tuple[str, int]]]:
    options = {**_QUICK, "password": many.query.get("sentinel_password"), "ssl": many.tls}

    async def locate() -> tuple[str, int]:
        sentinel = Sentinel(many.hosts, sentinel_kwargs=options)  # type: ignore[no-untyped-call]
        try:
            host, port = await sentinel.discover_master(many.path[0])
            return str(host), int(port)
        finally:
            for client in sentinel.sentinels:
                await client.aclose()

    return locate


def _by_cluster(many: _Many, key: str) -> Callable[[], Awaitable[tuple[str, int]]]:
    async def locate() -> tuple[str, int]:
        cluster = await _cluster(many)
        try:
            node = cluster.get_node_from_key(key)
        finally:
            await cluster.aclose()
        if node is None:
            raise RedisConnectionError("no node of the cluster holds the queue's slot")
        return str(node.host), int(node.port)

    return locate


async def _cluster(many: _Many) -> RedisCluster:
    nodes = [ClusterNode(host, port) for host, port in many.hosts]
    cluster = RedisCluster(
        startup_nodes=nodes, ssl=many.tls, protocol=2, **many.login, socket_timeout=CONNECT_TIMEOUT_S
    )
    try:
        return await cluster.initialize()
    except RedisClusterException as error:
        # Not one of redis-py's RedisErrors, though it says the same: nobody there answers.
        await cluster.aclose()
        raise RedisConnectionError(str(error)) from error
