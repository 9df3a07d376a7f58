"""Builds and runs the image by a real engine, without a registry: podman, on a base that debootstrap makes.

`python -m tests.engine` prepares both, as `.ci/run` does before the tests; later runs build only what has changed.

Rule 1: the builder reads the Dockerfile itself, so that no step is told twice. What stands in for the base image is
        Debian's own Python, of the same release (Debian 13, Python 3.13), with what the slim image has.
Rule 2: base and layers lie in the user's cache, outside the checkout. Builds of several processes follow each other.
Rule 3: every podman has its own mount namespace, so no mount outlives it; a container has the network of the host.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "fastproc-tests"
#: The release of Debian whose name stands in the Dockerfile's base.
RELEASE = "trixie"
#: What python:3.13-slim has beside the smallest Debian.
PACKAGES = "python3,python3-venv,ca-certificates,netbase,tzdata"
BASE = f"localhost/fastproc-base:{RELEASE}"
IMAGE = "localhost/fastproc:test"
#: Debian's Docker Compose, of that release, to read compose.yaml with.
COMPOSE = "localhost/fastproc-compose:test"
_COMPOSE_FILE = f"""FROM {BASE}
RUN apt-get update && apt-get install --yes --no-install-recommends docker-compose && rm -rf /var/lib/apt/lists/*
"""
#: What the build may see, as .dockerignore has it.
CONTEXT = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
#: As the reference deployment runs it (compose.yaml), and no /tmp at all.
HARDENED = (
    "--read-only",
    "--read-only-tmpfs=false",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
    "--memory=1g",
    "--pids-limit=512",
)
#: Descriptors, and processes, that a container may have at most; this machine's own limits where they are lower.
MOST = 16384
#: Podman's runtime refuses a host that has both versions of cgroups mounted.
_ONE_CGROUP = 'umount /sys/fs/cgroup/unified 2>/dev/null; exec podman "$@"'


class NoEngine(Exception):
    """This machine cannot build and run an image; the message says what is missing."""


def require() -> None:
    """Raises NoEngine."""
    if os.getuid() != 0:
        raise NoEngine("needs root: to build and run an image")
    for program in ("podman", "debootstrap", "unshare"):
        if not shutil.which(program):
            raise NoEngine(f"{program} is not installed")


def podman(*arguments: str | Path) -> list[str]:
    """Return the command line of podman with these arguments (rule 3)."""
    store = ("--cgroup-manager=cgroupfs", "--root", str(CACHE / "images"))
    return ["unshare", "--mount", "sh", "-c", _ONE_CGROUP, "podman", *store, *map(str, arguments)]


def limits() -> list[str]:
    """Return the limits that this process has itself: without CAP_SYS_RESOURCE podman's own are refused."""
    names = {"nofile": resource.RLIMIT_NOFILE, "nproc": resource.RLIMIT_NPROC}
    # RLIM_INFINITY is -1; what podman itself starts counts as well, so it gives less than it has.
    hard = {name: resource.getrlimit(number)[1] for name, number in names.items()}
    given = {name: MOST if value < 0 else min(value, MOST) for name, value in hard.items()}
    return [f"--ulimit={name}={value}:{value}" for name, value in given.items()]


def run(arguments: Sequence[str], options: Sequence[str] = (), name: str = "") -> list[str]:
    """Return the command line that runs the image, hardened, with these arguments of its entry point."""
    named = [f"--name={name}"] if name else []
    given = ["--rm", "--network=host", "--no-healthcheck", *limits(), *HARDENED, *named, *options]
    return podman("run", *given, IMAGE, *arguments)


def prepare() -> None:
    """Build the image as the checkout is now; the base first, where there is none. Raises NoEngine, RuntimeError."""
    require()
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if subprocess.run(podman("image", "exists", BASE), check=False).returncode:
            _make_base()
        if subprocess.run(podman("image", "exists", COMPOSE), check=False).returncode:
            _said(podman("build", *limits(), "--network=host", f"--tag={COMPOSE}", "-"), _COMPOSE_FILE)
        made_of = f"made-of={_digest()}"
        if subprocess.run(
            podman("images", "--quiet", f"--filter=reference={IMAGE}", f"--filter=label={made_of}"),
            capture_output=True,
            check=True,
        ).stdout:
            return
        with _pip_settings() as volumes:
            # Docker's format: the other one has no health check.
            arguments = [
                "--format=docker",
                "--layers",
                "--network=host",
                f"--build-arg=BASE={BASE}",
                *volumes,
            ]
            _said(podman("build", *limits(), *arguments, f"--label={made_of}", f"--tag={IMAGE}", ROOT))


def _digest() -> str:
    """Return a digest of all that an image is made of."""
    given = [ROOT / "Dockerfile", *(ROOT / name for name in CONTEXT)]
    files = sorted(path for each in given for path in ([each] if each.is_file() else each.rglob("*")))
    found = hashlib.sha256()
    for path in files:
        if path.is_file() and "__pycache__" not in path.parts:
            found.update(f"{path.relative_to(ROOT)}\0{path.stat().st_mode:o}\0".encode() + path.read_bytes())
    return found.hexdigest()[:16]


def _mirror() -> str:
    """Return the mirror that this machine's own packages come from; it has all releases. Raises NoEngine."""
    asked = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    found = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
    mirrors = [uri for uri in found if "security" not in uri]
    if not mirrors:
        raise NoEngine("apt knows no mirror of Debian")
    return mirrors[0]


def _make_base() -> None:
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        root = Path(folder) / "root"
        _said(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", RELEASE, str(root), _mirror()])
        (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
        for waste in ("var/cache/apt/archives", "var/lib/apt/lists"):
            shutil.rmtree(root / waste)
            (root / waste / "partial").mkdir(parents=True)
        archive = Path(folder) / "root.tar"
        _said(["tar", "-C", str(root), "--exclude=./proc/*", "--exclude=./dev/*", "-cf", str(archive), "."])
        path = "ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
        _said(podman("import", "--change", path, archive, BASE))


@contextmanager
def _pip_settings() -> Iterator[list[str]]:
    """Yield the volumes by which pip in the build reaches the index of this machine, with its certificates."""
    found = subprocess.run(
        ["python3", "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    settings = dict(line.split("=", 1) for line in found.splitlines() if "=" in line)
    kept: dict[str, str] = {}
    for key, value in settings.items():  # `global.index-url='https://...'`, `:env:.cert='...'`
        option = key.rpartition(".")[2]
        if option in ("index-url", "cert", "proxy", "trusted-host", "timeout", "default-timeout"):
            kept[option] = value.strip("'")
    with tempfile.TemporaryDirectory() as folder:
        volumes = []
        if certificates := kept.get("cert"):
            volumes.append(f"--volume={certificates}:/etc/pip-certificates.pem:ro")
            kept["cert"] = "/etc/pip-certificates.pem"
        configuration = Path(folder) / "pip.conf"
        lines = ["[global]", *(f"{option} = {value}" for option, value in kept.items())]
        configuration.write_text("\n".join(lines) + "\n")
        yield [f"--volume={configuration}:/etc/pip.conf:ro", *volumes]


def _said(command: Sequence[str], given: str = "") -> None:
    """Run a command, with `given` as its input; what it said is in the error where it fails."""
    done = subprocess.run(
        command, input=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:12])} ended with {done.returncode}:\n{done.stdout[-4000:]}")


if __name__ == "__main__":
    prepare()
    print(f"{IMAGE} is built in {CACHE}")
