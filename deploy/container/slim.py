"""Takes out of the image's Python what the service never loads: 194 MB of packages become 100.

Run by the Dockerfile with the Python whose packages are to be made smaller: `python slim.py`. Standard library alone.

Rule 1: only what is listed goes, and each line says why it can. What is listed and not there is an error, so the list
        is renewed with the lock file.
Rule 2: it prints what each line has saved, in MB of disk; docs/deployment.md has the table.
Rule 3: `tests/integration/test_container.py` runs what is left: the service, `check`, `process`, `enqueue`, `status`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

#: botocore's descriptions of services: the store, and what a session may ask for credentials (role, single sign-on).
SERVICES = {"s3", "sts", "sso", "sso-oidc", "signin"}
#: Sources that a wheel carries beside what was made of them.
SOURCES = {".pyx", ".pxd", ".pxi", ".c", ".h", ".cpp"}


def services(packages: Path) -> Iterator[Path]:
    """Every service of AWS but those that are used; the files beside the folders are of all services."""
    kept = packages / "botocore" / "data"
    missing = sorted(SERVICES - {path.name for path in kept.iterdir()})
    if missing:
        raise SystemExit(f"botocore describes no {', '.join(missing)}")
    yield from (path for path in kept.iterdir() if path.is_dir() and path.name not in SERVICES)


def named(*names: str) -> Callable[[Path], Iterator[Path]]:
    """Files and folders by name, with what pip knows of them."""

    def found(packages: Path) -> Iterator[Path]:
        for name in names:
            yield packages / name
            yield from packages.glob(f"{name}-*.dist-info")

    return found


def sources(packages: Path) -> Iterator[Path]:
    """Files by their ending; the service compiles nothing."""
    yield from (path for path in packages.rglob("*") if path.suffix in SOURCES and path.is_file())


#: What goes, and where it is. Pip is the last: nothing is installed any more.
PARTS: dict[str, Callable[[Path], Iterator[Path]]] = {
    "botocore's descriptions of AWS services other than S3, STS and single sign-on": services,
    "Pygments, markdown-it and mdurl: rich's colours for source code and Markdown": named(
        "pygments", "markdown_it", "markdown_it_py", "mdurl"
    ),
    "node_modules, packed into the wheel of bullmq by mistake": named("node_modules"),
    "sources in C and Cython": sources,
    "pip and setuptools": named("setuptools", "_distutils_hack", "distutils-precedence.pth", "pip"),
}


def size(path: Path) -> int:
    """Bytes of disk of a file, or of a folder's files; a link has none."""
    if path.is_symlink() or not path.exists():
        return 0
    if path.is_dir():
        return sum(size(inner) for inner in path.iterdir())
    return path.stat().st_blocks * 512


def remove(path: Path) -> int:
    """Remove a file or a folder; return the bytes of disk that it had."""
    freed = size(path)
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    return freed


def strip(packages: Path) -> int:
    """Take symbols for debuggers out of every extension module; return the bytes of disk that they had.

    As Debian does with every library. The libraries beside them (`*.libs`) come without.
    """
    modules = [path for path in packages.rglob("*.so") if not path.is_symlink()]
    before = sum(map(size, modules))
    subprocess.run(["strip", "--strip-unneeded", *modules], check=True)
    return before - sum(map(size, modules))


def main() -> None:
    """Print a line for each part, and the sum."""
    packages = Path(sysconfig.get_path("purelib"))
    before = size(packages)
    for why, find in PARTS.items():
        freed = sum(remove(path) for path in list(find(packages)))
        if not freed:
            raise SystemExit(f"nothing to remove: {why}")
        print(f"{freed / 1e6:6.1f} MB  {why}")
    print(f"{strip(packages) / 1e6:6.1f} MB  symbols for debuggers")
    for name in ("pip", "pip3", f"pip3.{sys.version_info.minor}"):
        remove(Path(sys.prefix, "bin", name))
    print(f"{before / 1e6:.1f} MB are {size(packages) / 1e6:.1f} MB now")


if __name__ == "__main__":
    main()
