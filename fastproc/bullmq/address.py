"""Where Redis is, however it is deployed: from REDIS_URL (one server, Sentinel or a cluster) to connections.

    redis://[user:password@]host[:port][/db]           rediss:// with TLS, unix://[user:password@]/path
    redis+sentinel://[user:password@]host:port,host:port/service[/db][?sentinel_password=...]
    redis+cluster://[user:password@]host:port,host:port           (QUEUE_PREFIX needs a hash tag: {bull})

Rule 1: the address is looked up anew for every connection, so that a failover is followed by reconnecting.
Rule 2: redis-py's own retries are off, since they send again, which would do a move twice; a lookup in a cluster has
        them, and only reads. The connections that carry jobs have no time-out of the socket either: `pipe` and
        `waiter` have their own.
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
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.asyncio.connection import Connection as TcpConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException, RedisError

from fastproc.bullmq.connection import Connection
from fastproc.config.redis import RedisConfig
from fastproc.core.errors import ConfigError

CONNECT_TIMEOUT_S = 5.0
#: Longest wait for the replies of a batch, or for a new connection. Redis answers in microseconds; a server that takes
#: longer is gone or frozen.
REPLY_TIMEOUT_S = 15.0

#: Makes a new connection, not connected yet, to where Redis is now. Raises RedisError or OSError.
Connect = Callable[[], Awaitable[Connection]]

#: For connections that ask one thing and are closed again.
_SHORT_LIVED: dict[str, Any] = {
    "socket_timeout": CONNECT_TIMEOUT_S,
    "socket_connect_timeout": CONNECT_TIMEOUT_S,
    "retry": Retry(NoBackoff(), 0),
}


class _Hosts(Struct, frozen=True):
    """The parts of a URL with several hosts."""

    addresses: tuple[tuple[str, int], ...]
    login: dict[str, Any]
    tls: bool
    path: tuple[str, ...]
    query: dict[str, str]


def connector(config: RedisConfig, key: str) -> Connect:
    """Return what connects to the server that holds `key`. Raises ConfigError for options that cannot be used."""
    own: dict[str, Any] = {
        "socket_timeout": None,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }
    if hosts := _several_hosts(config):
        locate = _locator(config, hosts, key)
        tcp: type[TcpConnection] = SSLConnection if hosts.tls else TcpConnection
        database: dict[str, Any] = {"db": int(hosts.path[1])} if len(hosts.path) > 1 else {}

        async def connect_located() -> Connection:
            host, port = await locate()
            raw = tcp(host=host, port=port, socket_keepalive=True, **hosts.login, **database, **own)
            return Connection(raw)

        return connect_located
    connection_class, arguments = _one_server(config, own)

    async def connect() -> Connection:
        return Connection(connection_class(**arguments))

    return connect


async def plain_client(config: RedisConfig, key: str) -> Redis:
    """Return redis-py's own client, connected to the server that holds `key`, for slow and rare commands.

    Raises ConfigError, as `connector`.
    """
    if hosts := _several_hosts(config):
        host, port = await _locator(config, hosts, key)()
        return Redis(host=host, port=port, ssl=hosts.tls, protocol=2, **hosts.login, **_SHORT_LIVED)
    if config.url:
        _one_server(config, {"protocol": 2, **_SHORT_LIVED})
        return Redis.from_url(config.url, protocol=2, **_SHORT_LIVED)
    return Redis(host=config.host, port=config.port, password=config.password, protocol=2, **_SHORT_LIVED)


def _several_hosts(config: RedisConfig) -> _Hosts | None:
    several = config.url and urlsplit(config.url).scheme.endswith(("+sentinel", "+cluster"))
    return _parse_hosts(config.url) if config.url and several else None


def _locator(config: RedisConfig, hosts: _Hosts, key: str) -> Callable[[], Awaitable[tuple[str, int]]]:
    return _by_cluster(hosts, key) if config.is_cluster else _by_sentinel(hosts)


def _one_server(config: RedisConfig, own: dict[str, Any]) -> tuple[type[AbstractConnection], dict[str, Any]]:
    """Return the connection's class and its arguments. Raises ConfigError."""
    if not config.url:
        where = {"host": config.host, "port": config.port, "password": config.password}
        return TcpConnection, {**where, "socket_keepalive": True, **own}
    try:
        arguments: dict[str, Any] = dict(parse_url(config.url))
        connection_class: type[AbstractConnection] = arguments.pop("connection_class", TcpConnection)
        # redis-py looks at the options when it makes a connection, which is not connected yet.
        connection_class(**arguments, **own)
    except (TypeError, ValueError, RedisError) as error:
        # What stands behind a colon may be the value, which may be a secret.
        words = str(error).rpartition("() ")[2].partition(": ")[0]
        raise ConfigError([f"REDIS_URL: what follows `?` cannot be used here: {words}"]) from None
    keepalive = {} if connection_class is UnixDomainSocketConnection else {"socket_keepalive": True}
    return connection_class, {**arguments, **keepalive, **own}


def _parse_hosts(url: str) -> _Hosts:
    """Raises ValueError."""
    parts = urlsplit(url)
    user, at, where = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    login = {"username": unquote(name) or None, "password": unquote(password) or None} if at else {}
    default = 26379 if parts.scheme.endswith("+sentinel") else 6379
    addresses = []
    for each in where.split(","):
        host, colon, port = each.rpartition(":")
        addresses.append((host.strip("[]"), int(port)) if colon else (each, default))
    path = tuple(part for part in parts.path.split("/") if part)
    return _Hosts(
        tuple(addresses), login, parts.scheme.startswith("rediss"), path, dict(parse_qsl(parts.query))
    )


def _by_sentinel(hosts: _Hosts) -> Callable[[], Awaitable[tuple[str, int]]]:
    options = {**_SHORT_LIVED, "password": hosts.query.get("sentinel_password"), "ssl": hosts.tls}

    async def locate() -> tuple[str, int]:
        sentinel = Sentinel(hosts.addresses, sentinel_kwargs=options)  # type: ignore[no-untyped-call]
        try:
            host, port = await sentinel.discover_master(hosts.path[0])
            return str(host), int(port)
        finally:
            for client in sentinel.sentinels:
                await client.aclose()

    return locate


def _by_cluster(hosts: _Hosts, key: str) -> Callable[[], Awaitable[tuple[str, int]]]:
    async def locate() -> tuple[str, int]:
        cluster = await _cluster(hosts)
        try:
            node = cluster.get_node_from_key(key)
        finally:
            await cluster.aclose()
        if node is None:
            raise RedisConnectionError("no node of the cluster holds the queue's slot")
        return str(node.host), int(node.port)

    return locate


async def _cluster(hosts: _Hosts) -> RedisCluster:
    nodes = [ClusterNode(host, port) for host, port in hosts.addresses]
    cluster = RedisCluster(
        startup_nodes=nodes, ssl=hosts.tls, protocol=2, **hosts.login, socket_timeout=CONNECT_TIMEOUT_S
    )
    try:
        return await cluster.initialize()
    except RedisClusterException as error:
        # Not one of redis-py's RedisErrors, though its meaning is the same: nobody there answers.
        await cluster.aclose()
        raise RedisConnectionError(str(error)) from error
