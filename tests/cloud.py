"""A small AWS on loopback: STS, container and instance metadata hand out credentials, an S3 checks every signature.

No server of the registries has these together. What S3 checks is computed here from AWS's own description ("Signature
Calculations: Using Query Parameters"), not by botocore, which signs on the other side.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, quote, unquote, urlsplit

REGION = "eu-west-1"
#: What the provider must be shown.
TOKEN = "the-projected-token"


class Cloud:
    """Everything of it. `life_s`: how long credentials are valid; `away`: no provider answers."""

    def __init__(self, life_s: float = 3600.0) -> None:
        self.life_s, self.away = life_s, False
        self.objects: dict[str, bytes] = {}
        self.headers: dict[str, dict[str, str]] = {}
        #: Access key -> secret, session token, end.
        self.issued: dict[str, tuple[str, str, float]] = {}
        self.looks: Counter[str] = Counter()
        #: S3's refusals by code, and the access keys that passed, in order.
        self.refusals: Counter[str] = Counter()
        self.used: list[str] = []
        self.skew_s = 0.0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"cloud": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def issue(self, provider: str) -> tuple[str, str, str, str]:
        """New credentials: access key, secret key, session token, expiration."""
        self.looks[provider] += 1
        number = len(self.issued) + 1
        end = time.time() + self.life_s
        self.issued[f"ASIA{number:04}"] = (f"secret{number}", f"token/{number}+=", end)
        expiration = datetime.fromtimestamp(end, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return f"ASIA{number:04}", f"secret{number}", f"token/{number}+=", expiration

    def refusal(self, method: str, target: str, headers: Any) -> str:
        """The code that S3 would refuse a signed request with, "" where it is good."""
        path, _, query = target.partition("?")
        given = dict(parse_qsl(query, keep_blank_values=True))
        access_key, day, *scope = given.get("X-Amz-Credential", "").split("/")
        if access_key not in self.issued:
            return "InvalidAccessKeyId"
        secret, token, end = self.issued[access_key]
        if given.get("X-Amz-Security-Token") != token:
            return "InvalidToken"
        if time.time() > end:
            return "ExpiredToken"
        signed_at = datetime.strptime(given["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        if abs(time.time() + self.skew_s - signed_at) > 900:
            return "RequestTimeTooSkewed"
        if signed_at + int(given["X-Amz-Expires"]) > end + 1:
            return "TheAddressOutlivesItsCredentials"
        claimed = given.pop("X-Amz-Signature")
        names = given["X-Amz-SignedHeaders"].split(";")
        if any(name.lower().startswith("x-amz-") and name.lower() not in names for name in headers):
            return "AccessDenied"  # "There were headers present in the request which were not signed."
        canonical = "\n".join(
            [
                method,
                path,
                "&".join(f"{_quoted(key)}={_quoted(value)}" for key, value in sorted(given.items())),
                *(f"{name}:{' '.join(headers[name].split())}" for name in names),
                "",
                ";".join(names),
                "UNSIGNED-PAYLOAD",
            ]
        )  # fmt: skip
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        text = "\n".join(["AWS4-HMAC-SHA256", given["X-Amz-Date"], "/".join((day, *scope)), digest])
        key = f"AWS4{secret}".encode()
        for part in (day, *scope):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        return "" if hmac.compare_digest(signature, claimed) else "SignatureDoesNotMatch"


def _quoted(text: str) -> str:
    return quote(text, safe="-_.~")


class _Handler(BaseHTTPRequestHandler):
    cloud: Cloud
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def _json(self, provider: str) -> None:
        access, secret, token, end = self.cloud.issue(provider)
        words = {"Code": "Success", "AccessKeyId": access, "SecretAccessKey": secret, "Token": token}
        self._answer(200, json.dumps({**words, "Expiration": end}).encode())

    def do_POST(self) -> None:
        asked = dict(parse_qsl(self._body().decode()))
        if self.cloud.away or asked.get("WebIdentityToken") != TOKEN:
            self._answer(503 if self.cloud.away else 400, b"<Error><Code>Unavailable</Code></Error>")
            return
        access, secret, token, end = self.cloud.issue("sts")
        self._answer(
            200,
            (
                '<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
                "<AssumeRoleWithWebIdentityResult><Credentials>"
                f"<AccessKeyId>{access}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>"
                f"<SessionToken>{token}</SessionToken><Expiration>{end}</Expiration></Credentials>"
                "<AssumedRoleUser><Arn>arn:aws:sts::1:assumed-role/r/s</Arn><AssumedRoleId>r:s</AssumedRoleId>"
                "</AssumedRoleUser></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
            ).encode(),
            {"Content-Type": "text/xml"},
        )

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path.startswith("/latest/") or path == "/container":
            self._metadata(path)
            return
        body = self.cloud.objects.get(unquote(path))
        if not self._refused():
            if body is None:
                self._error(404, "NoSuchKey")
            else:
                self._answer(200, body, {"ETag": '"1"', "Content-Type": "image/jpeg"})

    def _metadata(self, path: str) -> None:
        shown = self.headers.get("X-aws-ec2-metadata-token"), self.headers.get("Authorization")
        if self.cloud.away or shown not in ((TOKEN, None), (None, TOKEN)):
            self._answer(503 if self.cloud.away else 401, b"no")
        elif path == "/container":
            self._json("container")
        elif path.endswith("/iam/security-credentials/"):
            self._answer(200, b"the-role")
        else:
            self._json("instance")

    def do_PUT(self) -> None:
        body, path = self._body(), unquote(urlsplit(self.path).path)
        if path == "/latest/api/token":
            self._answer(503 if self.cloud.away else 200, TOKEN.encode())
        elif not self._refused():
            self.cloud.objects[path] = body
            self.cloud.headers[path] = {name.lower(): value for name, value in self.headers.items()}
            self._answer(200, b"", {"ETag": '"1"'})

    def _refused(self) -> bool:
        code = self.cloud.refusal(self.command, self.path, self.headers)
        if code:
            self.cloud.refusals[code] += 1
            self._error(403, code)
        else:
            query = dict(parse_qsl(urlsplit(self.path).query))
            self.cloud.used.append(query["X-Amz-Credential"].partition("/")[0])
        return bool(code)

    def _error(self, status: int, code: str) -> None:
        self._answer(status, f"<Error><Code>{code}</Code><Message>so it is</Message></Error>".encode())
