"""Options of REDIS_URL: what redis-py cannot use is the operator's fault, and said before anything starts."""

from __future__ import annotations

import pytest

from fastproc.bullmq.address import connector, plain_client
from fastproc.config.redis import RedisConfig
from fastproc.core.errors import ConfigError


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("max_connections=5", "'max_connections'"),
        ("protocol=3", "'protocol'"),
        ("socket_timeout=hush", "'socket_timeout'"),
        ("db=1&foo=hush", "'foo'"),
        ("username=u&credential_provider=hush", "credential_provider"),
    ],
)
async def test_an_option_that_cannot_be_used_is_named_and_its_value_is_not(options: str, named: str) -> None:
    config = RedisConfig(url=f"redis://127.0.0.1:1/0?password=hush&{options}")
    with pytest.raises(ConfigError) as of_service:
        connector(config, "key")
    with pytest.raises(ConfigError) as of_command:
        await plain_client(config, "key")
    for problem in (str(of_service.value), str(of_command.value)):
        assert problem.startswith("REDIS_URL: ")
        assert named in problem
        assert "hush" not in problem


@pytest.mark.parametrize(
    "url", ["redis://h?client_name=me&db=1", "unix:///run/redis?db=1", "rediss://h?ssl_cert_reqs=none"]
)
async def test_options_of_connections_are_taken(url: str) -> None:
    assert connector(RedisConfig(url=url), "key")
