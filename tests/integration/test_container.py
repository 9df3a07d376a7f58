"""The image of the Dockerfile, built by podman on a debootstrap root, at work under the limits that compose.yaml sets.

What runs in it has a read-only root without /tmp, no capability, no new privileges, Docker's seccomp profile, a uid of
its own, and limits of memory and processes. Valkey and S3 run outside.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from fastproc.embedded.child import free_ports
from fastproc.terminal.exits import Exit
from tests import engine
from tests.integration.service import PATIENCE_S, Place, eventually
from tests.pictures import jpeg

UID = 10001


@pytest.fixture(scope="module")
def image() -> None:
    """The image of the checkout as it is; layers that are unchanged come from the cache."""
    try:
        engine.prepare()
    except engine.NoEngine as error:
        pytest.skip(str(error))


class Container:
    """One container in the foreground: podman ends with it, with its exit code."""

    def __init__(
        self, place: Place, folder: Path, *arguments: str, settings: Mapping[str, str] | None = None
    ) -> None:
        self.name = f"fastproc-{place.queue}-{time.monotonic_ns()}"
        data = Path(place.sqlite_path).parent
        self._log = folder / f"{self.name}.log"
        environment = {**place.environment, "SQLITE_PATH": "/data/photos.db", **(settings or {})}
        del environment["PATH"]
        options = [f"--env={name}={value}" for name, value in environment.items()]
        command = engine.run(
            arguments, [*options, f"--volume={data}:/data", f"--volume={folder}:/photos"], self.name
        )
        with self._log.open("wb") as log:
            self.podman = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace")

    def first(self) -> psutil.Process:
        """The container's PID 1, as the host sees it."""
        found = subprocess.run(
            engine.podman("inspect", "--format={{.State.Pid}}", self.name),
            capture_output=True,
            text=True,
            check=True,
        )
        return psutil.Process(int(found.stdout))

    def wait(self) -> int:
        return self.podman.wait(PATIENCE_S)

    def terminate(self) -> int:
        """As `docker stop`: SIGTERM to PID 1."""
        self.first().send_signal(signal.SIGTERM)
        return self.wait()

    def close(self) -> None:
        if self.podman.poll() is None:
            subprocess.run(
                engine.podman("rm", "--force", "--time=0", self.name), capture_output=True, check=False
            )
            self.wait()


class Yard:
    """Starts containers of one test, and removes them at its end."""

    def __init__(self, place: Place, folder: Path, stack: contextlib.ExitStack) -> None:
        self.place, self._folder, self._stack = place, folder, stack

    def start(self, *arguments: str, **settings: str) -> Container:
        container = Container(self.place, self._folder, *arguments, settings=settings)
        self._stack.callback(container.close)
        return container

    def run(self, *arguments: str, **settings: str) -> tuple[int, str]:
        """Run a command to its end; return exit code and output."""
        container = self.start(*arguments, **settings)
        return container.wait(), container.said


@pytest.fixture
def yard(image: None, place: Place, tmp_path: Path) -> Iterator[Yard]:
    """Containers on the place's servers. The database's folder is the service's own, as a volume of the image is."""
    data = tmp_path / "data"
    data.mkdir()
    os.chown(data, UID, UID)
    place.sqlite_path = str(data / "photos.db")
    (tmp_path / "photo.jpg").write_bytes(jpeg(640, 480))
    tmp_path.chmod(0o755)
    with contextlib.ExitStack() as stack:
        yield Yard(place, tmp_path, stack)


def get(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return int(answer.status)
    except OSError:
        return 0


def status_of(process: psutil.Process) -> dict[str, str]:
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def test_the_hardened_container_serves_jobs_and_stops_when_it_is_told(yard: Yard) -> None:
    place, port = yard.place, free_ports(1)[0]
    assert yard.run("init-db") == (0, "the table photos is in /data/photos.db (SQLITE_PATH)\n")
    service = yard.start("run", HTTP_PORT=str(port), WORKER_CONCURRENCY="2")
    eventually(lambda: get(port, "/ready") == 200 or service.podman.poll() is not None, service.said)
    assert _health_check(HTTP_PORT=str(port)) == 0
    code, said = yard.run("enqueue", "--upload", "/photos/photo.jpg")
    assert code == 0, said
    job_id, photo_id = said.splitlines()[-1].split()[:2]
    place.until("completed", job_id)
    assert _row(place, photo_id)["processing_status"] == "completed"
    # What the engine and the image promise, of the processes themselves.
    first = service.first()
    everyone = [first, *first.children(recursive=True)]
    assert len([each for each in everyone if "fastproc.worker.main" in each.cmdline()]) == 2
    for process in everyone:
        seen = status_of(process)
        assert (seen["Uid"].split()[0], seen["CapBnd"], seen["NoNewPrivs"]) == (str(UID), "0" * 16, "1")
        assert (int(seen["CapEff"], 16), seen["Seccomp"]) == (0, "2")
    assert "sandbox seccomp" in service.said
    assert "jail lacks" not in service.said
    # A worker that is killed has a successor; what somebody's `exec` leaves to PID 1 is reaped.
    victim = first.children(recursive=True)[-1]
    victim.kill()
    _leave_an_orphan(first)
    eventually(
        lambda: get(port, "/ready") == 200 and len(first.children(recursive=True)) == len(everyone) - 1,
        "a new worker",
    )
    eventually(lambda: not _zombies(first), "no zombies")
    assert service.terminate() == 0
    assert "stopped;" in service.said
    assert _health_check(HTTP_PORT=str(port)) == 1


def _health_check(**settings: str) -> int:
    """Run the image's HEALTHCHECK, and return its exit code; the network is the service's, that of the host."""
    found = subprocess.run(
        engine.podman("image", "inspect", "--format={{json .HealthCheck.Test}}", engine.IMAGE),
        capture_output=True,
        text=True,
        check=True,
    )
    kind, program, *arguments = json.loads(found.stdout)
    assert kind == "CMD"
    options = [f"--entrypoint={program}", *(f"--env={name}={value}" for name, value in settings.items())]
    return subprocess.run(engine.run(arguments, options), capture_output=True, check=False).returncode


def _row(place: Place, photo_id: str) -> dict[str, Any]:
    with contextlib.closing(sqlite3.connect(place.sqlite_path)) as database:
        database.row_factory = sqlite3.Row
        return dict(database.execute("select * from photos where id = ?", (photo_id,)).fetchone())


def _leave_an_orphan(first: psutil.Process) -> None:
    """Run a process in the container whose child outlives it, and ends as PID 1's."""
    inside = [
        "nsenter",
        "--target",
        str(first.pid),
        "--pid",
        "--mount",
        "sh",
        "-c",
        "sh -c 'exec sleep 0.2' & exit 0",
    ]
    subprocess.run(inside, check=True)
    eventually(lambda: any(child.name() == "sleep" for child in _children(first)), "the orphan is PID 1's")
    eventually(lambda: not any(child.name() == "sleep" for child in _children(first)), "the orphan is reaped")


def _children(process: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return [child for child in process.children() if child.is_running()]
    return []


def _zombies(process: psutil.Process) -> list[psutil.Process]:
    return [child for child in process.children(recursive=True) if child.status() == psutil.STATUS_ZOMBIE]


def test_arguments_and_exit_codes_pass_through_and_every_command_works_in_what_is_left(yard: Yard) -> None:
    """The slim image: what was taken out of its Python is missed by no command."""
    containers = [
        yard.start("--version"),
        yard.start("no-such-command"),
        yard.start("run", THUMBNAILS="nonsense"),
        yard.start("init-db"),
    ]
    assert [each.wait() for each in containers] == [Exit.OK, Exit.USAGE, Exit.CONFIG, Exit.OK]
    assert "THUMBNAILS" in containers[2].said
    commands = [
        yard.start("check"),
        yard.start("process", "/photos/photo.jpg", "--out", "/data/out"),
        yard.start("status"),
    ]
    assert [each.wait() for each in commands] == [Exit.OK] * 3, "\n".join(each.said for each in commands)
    assert all(
        f"ok   {part}" in commands[0].said for part in ("Redis", "S3", "database", "worker", "decoders")
    )
    assert (Path(yard.place.sqlite_path).parent / "out" / "contact-sheet.jpg").is_file()


def test_a_container_that_is_told_to_stop_while_it_loads_stops(yard: Yard) -> None:
    """Until Python handles signals, some tenths of a second, the kernel drops those of a PID 1 without a handler."""
    service = yard.start("run")
    first = eventually(lambda: _running(service), "a process")
    first.send_signal(signal.SIGTERM)
    assert service.wait() in (0, 128 + signal.SIGTERM)


def _running(container: Container) -> psutil.Process | None:
    """PID 1, once it is the entry point and not the engine's own beginning."""
    with contextlib.suppress(subprocess.CalledProcessError, ValueError, psutil.NoSuchProcess):
        first = container.first()
        return first if first.pid and Path(first.exe()).name not in ("crun", "runc") else None
    return None


# --- what the image is deployed with


def test_docker_compose_takes_the_file(image: None) -> None:
    options = [
        "--rm",
        "--network=none",
        *engine.limits(),
        f"--volume={engine.ROOT / 'compose.yaml'}:/srv/compose.yaml:ro",
    ]
    command = engine.podman(
        "run", *options, engine.COMPOSE, "docker-compose", "--file=/srv/compose.yaml", "config"
    )
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "published: 8080-8082" in done.stdout


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    unit = engine.ROOT / "deploy" / "systemd" / "fastproc.service"
    tried = tmp_path / unit.name
    tried.write_text(unit.read_text().replace("/opt/fastproc/bin/fastproc", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", tried], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
