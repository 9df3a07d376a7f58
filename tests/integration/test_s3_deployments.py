"""A real S3 server as deployments have it: behind TLS, by host names, and told what to do with results."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme
from msgspec.structs import replace

from fastproc.backends.objects_s3 import S3ObjectStore
from fastproc.config.s3 import S3Config
from fastproc.config.uploads import UploadConfig
from fastproc.core.errors import ConfigError, ObjectNotFound, Unreachable
from fastproc.supervisor.ports import Upload
from tests import pictures, tls
from tests.integration.service import Place, Start
from tests.scripted_s3 import Scripted, error, says


def result(key: str = "k", body: bytes = b"x") -> Upload:
    return Upload(key, body, "image/jpeg", {"size": "s"}, is_result=True)


async def fetched(store: S3ObjectStore, bucket: str, key: str) -> bytes:
    room = memoryview(bytearray(1000))

    async def admit(size: int) -> None:
        pass

    return bytes(room[: (await store.get_into(bucket, key, room, admit)).size])


# --- what is written

ATTRIBUTES = UploadConfig(
    cache_control="public, max-age=31536000, immutable",
    storage_class="STANDARD_IA",
    tags=("team=a b", "kind=rendition"),
)


async def test_a_real_server_keeps_the_attributes_of_results_and_of_nothing_else(
    s3: S3Config, s3_client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    store = S3ObjectStore(s3, uploads=ATTRIBUTES)
    await store.check([s3.bucket])
    assert caplog.messages == []
    key = "results/é k.jpg"
    await store.put_all(s3.bucket, [result(key), Upload("photo", b"x", "image/jpeg", {})])
    await store.close()
    found = s3_client.head_object(Bucket=s3.bucket, Key=key)
    assert found["CacheControl"] == "public, max-age=31536000, immutable"
    assert found["StorageClass"] == "STANDARD_IA"
    assert found["Metadata"] == {"size": "s"}
    tags = s3_client.get_object_tagging(Bucket=s3.bucket, Key=key)["TagSet"]
    assert {each["Key"]: each["Value"] for each in tags} == {"team": "a b", "kind": "rendition"}
    photo = s3_client.head_object(Bucket=s3.bucket, Key="photo")
    assert not {"CacheControl", "StorageClass", "ServerSideEncryption"} & set(photo)


async def test_encryption_goes_with_everything_that_is_written(s3: S3Config, s3_client: Any) -> None:
    store = S3ObjectStore(s3, uploads=UploadConfig(sse="aes256"))
    await store.check([s3.bucket])
    await store.put_all(s3.bucket, [result(), Upload("photo", b"secret", "image/jpeg", {})])
    for key in ("k", "photo"):
        assert s3_client.head_object(Bucket=s3.bucket, Key=key)["ServerSideEncryption"] == "AES256"
    assert await fetched(store, s3.bucket, "photo") == b"secret"
    await store.close()


async def test_without_settings_an_upload_is_what_it_was_and_the_check_writes_nothing(
    s3: S3Config, s3_client: Any, scripted: Scripted
) -> None:
    store = S3ObjectStore(s3)
    await store.check([s3.bucket])
    assert "Contents" not in s3_client.list_objects_v2(Bucket=s3.bucket)
    await store.close()
    scripted.answer = says(b"HTTP/1.1 200 OK\r\nETag: 1\r\nContent-Length: 0\r\n\r\n")
    store = S3ObjectStore(await scripted.start())
    await store.put_all("photos", [result("k")])
    await store.close()
    [head] = scripted.requests
    names = {line.partition(b":")[0].lower() for line in head.split(b"\r\n")[1:] if line}
    assert names == {
        b"host", b"accept", b"accept-encoding", b"user-agent", b"content-type", b"content-length",
        b"x-amz-meta-size", b"x-amz-checksum-crc32c",
    }  # fmt: skip


async def test_every_attribute_is_signed(scripted: Scripted) -> None:
    scripted.answer = says(b"HTTP/1.1 200 OK\r\nETag: 1\r\nContent-Length: 0\r\n\r\n")
    uploads = UploadConfig(
        cache_control="no-cache", acl="public-read", storage_class="X", tags=("a=b",), sse="aws:kms",
        sse_kms_key_id="k", sse_bucket_key=True,
    )  # fmt: skip
    store = S3ObjectStore(await scripted.start(), uploads=uploads)
    await store.put_all("photos", [result()])
    await store.close()
    [head] = scripted.requests
    signed = head.partition(b"X-Amz-SignedHeaders=")[2].partition(b"&")[0].split(b"%3B")
    assert {name.lower().encode() for name in uploads.attributes} <= set(signed)
    assert len(uploads.attributes) == 7


@pytest.mark.parametrize("code", ["AccessDenied", "AccessControlListNotSupported", "NoSuchBucket"])
async def test_a_bucket_that_takes_no_results_ends_the_start(scripted: Scripted, code: str) -> None:
    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        await (error(403, code) if head.startswith(b"PUT /out/") else error(404, "NoSuchKey"))(head, writer)

    scripted.answer = answer
    uploads = UploadConfig(bucket="out", acl="public-read")
    store = S3ObjectStore(await scripted.start(), uploads=uploads)
    with pytest.raises(Unreachable, match=rf"^UPLOAD_BUCKET, UPLOAD_ACL: .* to 'out' .*{code}"):
        await store.check(["photos"])
    await store.close()


async def test_a_further_supervisor_makes_no_trial_of_its_own(scripted: Scripted) -> None:
    scripted.answer = error(404, "NoSuchKey")
    store = S3ObjectStore(await scripted.start(), uploads=ATTRIBUTES)
    await store.check(["photos"], trial=False)
    await store.close()
    assert [head.split()[0] for head in scripted.requests] == [b"GET"]


async def test_what_the_server_ignores_is_said_at_the_start(
    scripted: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    deaf = says(b"HTTP/1.1 200 OK\r\nETag: 1\r\nContent-Length: 0\r\n\r\n")

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        await (error(404, "NoSuchKey") if b"no-such-object" in head else deaf)(head, writer)

    scripted.answer = answer
    store = S3ObjectStore(await scripted.start(), uploads=replace(ATTRIBUTES, sse="aes256"))
    await store.check(["photos"])
    await store.close()
    ignored = {message.partition(": ")[2].partition(":")[0] for message in caplog.messages}
    assert ignored == {"UPLOAD_SSE", "UPLOAD_CACHE_CONTROL", "UPLOAD_STORAGE_CLASS", "UPLOAD_TAGS"}


# --- how the server is reached


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every name under s3.test is this host; the names that were looked up."""
    seen: list[str] = []
    real = socket.getaddrinfo

    def found(host: Any, *args: Any, **more: Any) -> Any:
        seen.append(host)
        return real("127.0.0.1" if str(host).endswith("s3.test") else host, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", found)
    return seen


async def test_a_bucket_in_the_host_name_is_signed_and_served(
    s3: S3Config, s3_client: Any, names: list[str]
) -> None:
    store = S3ObjectStore(replace(s3, endpoint="s3.test", addressing="virtual"))
    await store.check([s3.bucket])
    key = "a b/é+%.jpg"
    await store.put_all(s3.bucket, [result(key, b"ours")])
    assert s3_client.get_object(Bucket=s3.bucket, Key=key)["Body"].read() == b"ours"
    assert await fetched(store, s3.bucket, key) == b"ours"
    with pytest.raises(ObjectNotFound):
        await fetched(store, s3.bucket, "none")
    assert set(names) == {f"{s3.bucket}.s3.test"}
    assert store.url(s3.bucket, key) == f"http://{s3.bucket}.s3.test:{s3.port}/a%20b/%C3%A9%2B%25.jpg"
    await store.close()


def test_awss_own_endpoint_has_the_bucket_in_its_host_name_and_no_port() -> None:
    store = S3ObjectStore(S3Config(aws_region="eu-west-1"))
    assert store.url("photos", "k") == "https://photos.s3.eu-west-1.amazonaws.com/k"
    assert store.url("a.b", "k") == "https://s3.eu-west-1.amazonaws.com/a.b/k"
    assert (
        S3ObjectStore(S3Config(aws_region="eu-west-1", public_url="https://cdn/")).url("b", "k")
        == "https://cdn/b/k"
    )


async def test_an_authority_of_ones_own_is_trusted_where_it_is_named(
    s3: S3Config, tmp_path: Path, names: list[str]
) -> None:
    authority, ca = trustme.CA(), tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    context = tls.context(authority, "s3.test", "*.s3.test", "127.0.0.1")
    assert s3.port
    async with tls.front(context, s3.port) as port:
        secure = replace(s3, endpoint="s3.test", port=port, use_ssl=True)
        for trusting in (
            replace(secure, ca_file=str(ca)),
            replace(secure, aws_ca_bundle=str(ca)),
            replace(secure, ca_file=str(ca), addressing="virtual"),
        ):
            store = S3ObjectStore(trusting)
            await store.check([s3.bucket])
            await store.put_all(s3.bucket, [result("k", b"over TLS")])
            assert await fetched(store, s3.bucket, "k") == b"over TLS"
            await store.close()
        stranger = S3ObjectStore(secure)
        with pytest.raises(Unreachable, match=r"MINIO_CA_FILE, AWS_CA_BUNDLE: .*certificate verify failed"):
            await stranger.check([s3.bucket])
        await stranger.close()
        assert await usable_by_the_environment(secure, ca)


async def usable_by_the_environment(config: S3Config, ca: Path) -> bool:
    """Whether OpenSSL's own variable is enough, for who trusts an authority everywhere. It is read once a process."""
    program = (
        "import asyncio, os; from fastproc.config.settings import load; from fastproc.parts import checked_objects\n"
        "async def look():\n async with checked_objects(load(os.environ, 1)): print('usable')\n"
        "asyncio.run(look())"
    )
    env = {
        "PATH": os.environ["PATH"],
        "SSL_CERT_FILE": str(ca),
        "MINIO_ENDPOINT": "127.0.0.1",
        "MINIO_PORT": str(config.port),
        "MINIO_USE_SSL": "true",
        "MINIO_BUCKET": config.bucket,
        "MINIO_ACCESS_KEY": str(config.access_key),
        "MINIO_SECRET_KEY": str(config.secret_key),
    }
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", program, env=env, stdout=pipe)
    said, _ = await child.communicate()
    return said == b"usable\n"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "No such file"),
        ("", "NO_CERTIFICATE_OR_CRL|no certificate"),
        ("no PEM", "NO_CERTIFICATE|PEM lib"),
    ],
)
def test_a_file_without_authorities_is_named(tmp_path: Path, content: str | None, why: str) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=rf"^MINIO_CA_FILE: cannot read certificates from .*({why})"):
        S3ObjectStore(S3Config(use_ssl=True, ca_file=str(path)))


# --- the whole service


async def test_results_go_where_and_how_the_operator_said(
    place: Place, start: Start, tmp_path: Path, s3_client: Any
) -> None:
    out = f"{place.s3.bucket}-out"
    s3_client.create_bucket(Bucket=out)
    (tmp_path / "secret").write_text(f"{place.s3.secret_key}\n")
    start(
        MINIO_SECRET_KEY="",
        MINIO_SECRET_KEY_FILE=str(tmp_path / "secret"),
        UPLOAD_BUCKET=out,
        UPLOAD_KEY_TEMPLATE="img/{dir}/{photoId}/{name}.{ext}",
        UPLOAD_CACHE_CONTROL="max-age=60",
        UPLOAD_TAGS="kind=rendition",
        PUBLIC_URL="https://cdn.example",
    )
    place.put("2026/cat.jpg", pictures.jpeg())
    good = await place.add({"photoId": "p", "s3Key": "2026/cat.jpg"})
    bad = await place.add({"photoId": "q", "s3Key": "/cat.jpg"})
    place.until("completed", good)
    place.until("failed", bad)
    assert place.job(bad)["failedReason"].startswith("INVALID_JOB: its key or id leads out of")
    told = json.loads(place.job(good)["returnvalue"])["thumbnails"]
    keys = [f"img/2026/p/thumb_{size}.jpg" for size in ("sm", "md", "lg")]
    assert [each["s3Key"] for each in told] == keys
    assert [each["url"] for each in told] == [f"https://cdn.example/{out}/{key}" for key in keys]
    listed = {each["Key"] for each in s3_client.list_objects_v2(Bucket=out)["Contents"]}
    assert listed == {*keys, "fastproc/check/upload"}
    found = s3_client.head_object(Bucket=out, Key=keys[0])
    assert (found["CacheControl"], found["ContentType"]) == ("max-age=60", "image/jpeg")
    kept = {each["Key"] for each in s3_client.list_objects_v2(Bucket=place.s3.bucket)["Contents"]}
    assert kept == {"2026/cat.jpg"}
