"""Credentials as deployments have them, from real endpoints to an S3 that checks every signature."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fastproc.backends.objects_s3 import S3ObjectStore
from fastproc.backends.s3_chain import Chain
from fastproc.backends.s3_credentials import Found, Renewed
from fastproc.config.s3 import S3Config
from fastproc.config.settings import load
from fastproc.core.errors import ObjectNotFound, StorageUnavailable, Unreachable
from fastproc.embedded.child import free_ports
from fastproc.supervisor.ports import Upload
from tests import pictures
from tests.cloud import REGION, TOKEN, Cloud
from tests.integration.service import Place, Start, eventually

AWS = ("AWS_", "MINIO_")


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with Cloud() as running:
        yield running


def web_identity(cloud: Cloud, folder: Path) -> dict[str, str]:
    """The environment that EKS gives a pod with a service account (IRSA)."""
    token = folder / "token"
    token.write_text(TOKEN)
    return {
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
        "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/photos",
        "AWS_ENDPOINT_URL_STS": cloud.url,
    }


def container(cloud: Cloud, folder: Path) -> dict[str, str]:
    """That of ECS and of EKS Pod Identity."""
    return {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{cloud.url}/container",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": TOKEN,
    }


def instance(cloud: Cloud, folder: Path) -> dict[str, str]:
    """A virtual machine with a role: nothing but the region says where it is."""
    return {"AWS_EC2_METADATA_SERVICE_ENDPOINT": cloud.url}


def profile(cloud: Cloud, folder: Path) -> dict[str, str]:
    """A file of profiles, one of which takes a role."""
    path = folder / "config"
    role = web_identity(cloud, folder)
    path.write_text(
        f"[profile photos]\nrole_arn={role['AWS_ROLE_ARN']}\n"
        f"web_identity_token_file={role['AWS_WEB_IDENTITY_TOKEN_FILE']}\n"
    )
    return {
        "AWS_PROFILE": "photos",
        "AWS_CONFIG_FILE": str(path),
        "AWS_ENDPOINT_URL_STS": cloud.url,
    }


PROVIDERS = [web_identity, container, instance, profile]


def environment(cloud: Cloud, provider: Any, folder: Path) -> dict[str, str]:
    return {
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL_S3": cloud.url,
        "AWS_EC2_METADATA_DISABLED": "false" if provider is instance else "true",
        # Nothing of this host's own.
        "HOME": str(folder),
        **provider(cloud, folder),
    }


@pytest.fixture(params=PROVIDERS, ids=lambda provider: str(provider.__name__))
def config(
    request: pytest.FixtureRequest, cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> S3Config:
    """The settings of a service in such a place; its variables are set, as boto3 reads them itself."""
    env = environment(cloud, request.param, tmp_path)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return load(env, 1).s3


@pytest_asyncio.fixture
async def store(config: S3Config) -> AsyncIterator[S3ObjectStore]:
    opened = S3ObjectStore(config)
    yield opened
    await opened.close()


async def fetched(store: S3ObjectStore, key: str) -> bytes:
    room = memoryview(bytearray(1000))

    async def admit(size: int) -> None:
        pass

    return bytes(room[: (await store.get_into("photos", key, room, admit)).size])


async def test_a_provider_of_the_chain_signs_what_the_server_checks(
    cloud: Cloud, store: S3ObjectStore
) -> None:
    await store.check(["photos"])
    await store.put_all("photos", [Upload("a b/é.jpg", b"ours", "image/jpeg", {"size": "s"})])
    assert cloud.objects["/photos/a b/é.jpg"] == b"ours"
    assert await fetched(store, "a b/é.jpg") == b"ours"
    assert cloud.refusals == {}
    assert "valid until 20" in store.about
    assert not any(word in store.about for word in ("ASIA", "secret", "token/"))


async def test_what_the_server_takes_no_more_is_looked_up_once_and_then_passes(
    cloud: Cloud, store: S3ObjectStore
) -> None:
    await store.check(["photos"])
    looks = cloud.looks.total()
    cloud.issued.clear()  # Somebody revoked the session.
    with pytest.raises(StorageUnavailable, match="InvalidAccessKeyId"):
        await fetched(store, "k")
    with pytest.raises(ObjectNotFound):
        await fetched(store, "k")
    again = cloud.looks.total()
    assert again > looks
    cloud.issued.clear()
    for _ in range(5):  # Not at every refusal: a server may be what is wrong.
        with pytest.raises(StorageUnavailable, match="InvalidAccessKeyId"):
            await fetched(store, "k")
    assert cloud.looks.total() == again


@pytest.mark.parametrize("config", [container], indirect=True)
async def test_a_clock_that_is_wrong_is_named_and_no_credentials_are_looked_for(
    cloud: Cloud, store: S3ObjectStore
) -> None:
    await store.check(["photos"])
    looks, cloud.skew_s = cloud.looks.total(), 3600
    with pytest.raises(Unreachable, match=r"^clock: .*RequestTimeTooSkewed"):
        await store.check(["photos"])
    with pytest.raises(StorageUnavailable, match="clock"):
        await store.probe(False)
    assert cloud.looks.total() == looks


@pytest.mark.parametrize("config", [container, web_identity], indirect=True)
async def test_a_provider_that_is_away_ends_the_start_with_its_name_and_no_secret(
    cloud: Cloud, store: S3ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    cloud.away = True
    with pytest.raises(Unreachable, match=r"^credentials: "):
        await store.check(["photos"])
    assert TOKEN not in caplog.text
    assert "Traceback" not in caplog.text


async def test_no_log_line_has_a_secret_even_at_level_debug(
    cloud: Cloud, store: S3ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await store.check(["photos"])
    assert not [word for word in (TOKEN, "secret1", "token/1") if word in caplog.text]


async def test_without_any_provider_the_start_says_what_to_set(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    store = S3ObjectStore(load({"S3_CREDENTIALS": "chain", "MINIO_ENDPOINT": "127.0.0.1"}, 1).s3)
    with pytest.raises(Unreachable, match=r"^credentials: no provider has any: set MINIO_ACCESS_KEY and"):
        await store.check(["photos"])
    await store.close()


async def test_keys_in_a_file_that_were_changed_are_read_again(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "credentials"

    def write() -> None:
        access, secret, token, _ = cloud.issue("by hand")
        path.write_text(
            f"[default]\naws_access_key_id={access}\naws_secret_access_key={secret}\naws_session_token={token}\n"
        )

    write()
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    env = {"AWS_SHARED_CREDENTIALS_FILE": str(path), "AWS_REGION": REGION, "AWS_ENDPOINT_URL_S3": cloud.url}
    store = S3ObjectStore(load(env, 1).s3)
    await store.check(["photos"])
    assert "without an end" in store.about
    cloud.issued.clear()
    cloud.issue("somebody else's")
    write()
    await store.check(["photos"])
    await store.close()


def test_each_look_is_a_new_one_and_leaves_nothing_behind(config: S3Config, cloud: Cloud) -> None:
    chain = Chain(REGION)
    found = [chain.look() for _ in range(3)]
    chain.forget()
    assert len({each.credentials.access_key for each in found}) == 3
    assert all(each.credentials.session_token and each.credentials.expires for each in found)


async def test_a_provider_that_never_answers_holds_neither_request_nor_end_up() -> None:
    def look() -> Found:
        time.sleep(5)
        raise AssertionError

    source = Renewed(look)
    began = time.monotonic()
    with pytest.raises(StorageUnavailable, match="has not answered yet"):
        await source.now(0.1)
    assert time.monotonic() - began < 1


# --- the whole service


async def test_jobs_go_on_while_credentials_change_and_wait_while_there_are_none(
    place: Place, start: Start, cloud: Cloud, tmp_path: Path
) -> None:
    cloud.life_s = 4.0
    photo = pictures.jpeg()
    for number in range(30):
        cloud.objects[f"/photos/{number}.jpg"] = photo
    [port] = free_ports(1)
    nothing = {name: "" for name in place.environment if name.startswith("MINIO_")}
    settings = {**environment(cloud, web_identity, tmp_path), **nothing, "HTTP_PORT": str(port)}
    service = start(**settings)
    ids = []
    for number in range(20):
        ids.append(await place.add({"photoId": f"p{number}", "s3Key": f"{number}.jpg"}))
        await asyncio.sleep(0.2)
    place.until("completed", *ids)
    assert len(set(cloud.used)) >= 2  # They changed under the jobs,
    assert cloud.refusals == {}  # in time.

    cloud.away = True
    eventually(lambda: service.get(port, "/ready")[0] == 503, "the store is away")
    assert '"storage":false' in service.get(port, "/ready")[1].replace(" ", "")
    assert "credentials: " in service.get(port, "/ready")[1]
    waiting = [await place.add({"photoId": f"q{n}", "s3Key": f"{n}.jpg"}) for n in range(20, 30)]
    await asyncio.sleep(1.0)
    assert place.ids("failed") == []
    cloud.away = False
    place.until("completed", *waiting)
    assert {place.job(each).get("atm") for each in waiting} == {"1"}
    assert place.ids("failed") == []
    assert cloud.refusals == {}
    said = service.said
    assert said.count("no new credentials") == 1
    assert not [word for word in (TOKEN, "secret1", "token/1") if word in said]
    assert service.terminate() == 0
