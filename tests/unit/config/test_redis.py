"""The connection's settings: how messages name the server."""

from __future__ import annotations

import pytest

from fastproc.config.redis import RedisConfig


@pytest.mark.parametrize(
    ("config", "where"),
    [
        (RedisConfig(), "localhost:6379 (REDIS_HOST, REDIS_PORT)"),
        (RedisConfig(host="::1", port=7), "[::1]:7 (REDIS_HOST, REDIS_PORT)"),
        (RedisConfig(host="x", url="rediss://me:hush@h:1/0"), "rediss://me:********@h:1/0 (REDIS_URL)"),
        (RedisConfig(url="redis://h:1?password=hush&db=2"), "redis://h:1?password=********&db=2 (REDIS_URL)"),
        (RedisConfig(url="unix:///run/redis.sock"), "unix:///run/redis.sock (REDIS_URL)"),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else "",
)
def test_the_server_is_named_by_its_variables_and_without_its_password(
    config: RedisConfig, where: str
) -> None:
    assert config.where == where


def test_a_cluster_is_told_by_its_url() -> None:
    assert RedisConfig(url="redis+cluster://h:1").is_cluster
    assert not RedisConfig(url="redis+sentinel://h:1/m").is_cluster
    assert not RedisConfig().is_cluster
