"""Who may import whom: rooms one way, a driver in its own file, a core without a clock.

The rules are data on top, `breaches` reads them against one module's source. To add a driver, add a line with its
one file to ONLY_IN; to let a room look into another, say why beside it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[2] / "fastproc"
MODULES = sorted(str(path.relative_to(HOUSE)) for path in HOUSE.rglob("*.py"))

#: room -> what it may import besides itself; an entry with a dot opens that one module. Read it downwards:
#: nothing names a room above it.
MAY: dict[str, set[str]] = {
    "__init__": set(),
    "core": set(),
    "exits": set(),
    "host": set(),
    "logs": set(),
    "console": {"core"},
    "config_values": {"core"},
    "config_quarantine": {"config_values"},
    "config_pipeline": {"core", "config_values"},
    "config": {"core", "config_values", "config_pipeline", "config_quarantine"},
    "ipc": {"core"},
    "bullmq": {"core", "config"},
    "worker": {"core", "config", "ipc"},
    "supervisor": {"core", "config", "ipc"},
    # The ports' data, so that a backend can say what it returns. Whether it fits is proved by mypy in `app`.
    "backends": {"core", "config", "config_quarantine", "supervisor.ports"},
    "app": {"core", "config", "host", "ipc", "bullmq", "worker", "supervisor", "backends"},
    # Errands beside the service. Each is a composition root of its own and reaches what it needs of the rooms.
    "commands": {"core", "config", "console", "app", "bullmq", "supervisor", "backends"},
    # The guided run puts the servers up and is the application at both ends of the queue.
    "demo": {"core", "config", "host", "console", "app", "bullmq", "backends.metadata_sqlite", "commands"},
    "local": {"core", "config", "console", "app", "supervisor.pool", "commands", "demo.sheet"},
    "quarantine": {"core", "config", "console", "app", "supervisor", "backends"},
    "cli": {
        "core",
        "config",
        "console",
        "host",
        "exits",
        "logs",
        "app",
        "commands",
        "demo",
        "local",
        "quarantine",
    },
    "__main__": {"cli"},
}

#: package -> the only files (or folders, with a slash) that may import it. A third-party package without a line
#: here may not be imported at all, but those of FREE.
ONLY_IN: dict[str, set[str]] = {
    "pyvips": {"worker/image.py"},
    "pi_heif": {"worker/heif.py"},
    "pyjpegli": {"worker/jpegli.py"},
    # Seccomp, prctl and a library without a binding: what Python has no module for.
    "ctypes": {"worker/jpegli.py", "worker/kernel.py", "worker/main.py"},
    "redis": {"bullmq/address.py", "bullmq/connection.py", "bullmq/producer.py"},
    "bullmq": {"bullmq/producer.py"},
    "msgpack": {"bullmq/protocol.py"},
    "croniter": {"bullmq/scheduler.py"},
    # The demo makes the bucket and fetches results as an application would.
    "boto3": {"demo/servers.py"},
    "botocore": {"backends/s3_signing.py", "demo/servers.py"},
    "aiohttp": {"backends/objects_s3.py", "backends/s3_http.py", "supervisor/http.py"},
    "yarl": {"backends/s3_http.py"},
    "awscrt": {"backends/s3_answers.py"},
    # The demo reads the rows back, as the API would.
    "sqlite3": {"backends/metadata_sqlite.py", "demo/tour.py"},
    "psycopg": {"backends/metadata_postgres.py"},
    "prometheus_client": {"supervisor/metrics.py"},
    "uvloop": {"cli.py"},
    "click": {"cli.py"},
    "rich": {"console.py", "commands.py", "local.py", "quarantine.py", "demo/tour.py"},
    "PIL": {"demo/"},
}
FREE = {"msgspec"}

#: All that core may import; a name with a dot opens that one module of its package.
PURE = {
    "__future__",
    "collections",
    "enum",
    "hashlib",
    "math",
    "msgspec",
    "re",
    "struct",
    "typing",
    "urllib.parse",
}
#: Built-ins through which a pure function would reach the outside.
IMPURE = {"open", "print", "input", "eval", "exec", "compile", "__import__"}

#: What a worker has no use for: it holds one socket, which is ipc's.
NO_WORKER = {
    "asyncio",
    "http",
    "multiprocessing",
    "selectors",
    "socket",
    "sqlite3",
    "ssl",
    "subprocess",
    "threading",
}

#: The one door for plug-ins.
LOADS_BY_NAME = {"worker/stage.py"}


def imports(tree: ast.AST) -> Iterator[str]:
    """Every module or `module.name` that is imported, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)


def within(name: str, allowed: set[str]) -> bool:
    """Whether a dotted name is one of the allowed, or inside one."""
    return any(name == one or name.startswith(one + ".") for one in allowed)


def breaches(module: str, source: str) -> list[str]:
    """What a module (its path inside the package) does against the rules."""
    tree = ast.parse(source)
    room = module.split("/")[0].removesuffix(".py")
    found = [problem for name in imports(tree) for problem in wrong_import(module, room, name)]
    if room == "core":
        found += impure(tree)
    if module not in LOADS_BY_NAME:
        found += [f"loads a module by name, line {node.lineno}" for node in ast.walk(tree) if loads(node)]
    return found


def wrong_import(module: str, room: str, name: str) -> Iterator[str]:
    if name.startswith("."):
        yield f"relative import of {name}"
        return
    top, _, rest = name.partition(".")
    if top == "fastproc":
        if rest != "__version__" and not within(rest, MAY.get(room, set()) | {room}):
            yield f"{room} may not import {name}"
        if module.startswith("worker/stages/") and rest.startswith("worker.stages."):
            yield f"a stage knows no other: {name}"
        return
    if room == "core" and not within(name, PURE):
        yield f"core is pure, it may not import {name}"
    if room == "worker" and top in NO_WORKER:
        yield f"a worker has no use for {name}"
    if top in ONLY_IN:
        if not any(
            module == place or (place[-1] == "/" and module.startswith(place)) for place in ONLY_IN[top]
        ):
            yield f"{top} belongs in {', '.join(sorted(ONLY_IN[top]))}"
    elif top not in FREE and top not in sys.stdlib_module_names:
        yield f"{top} has no place yet: give it one file, in ONLY_IN"


def impure(tree: ast.AST) -> Iterator[str]:
    waits = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    for node in ast.walk(tree):
        if isinstance(node, waits):
            yield f"core does not wait: {type(node).__name__}, line {node.lineno}"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE:
            yield f"core is pure, it may not call {node.func.id}(), line {node.lineno}"


def loads(node: ast.AST) -> bool:
    """Whether a node uses `import_module` or `__import__`, by which every other rule could be got round."""
    if isinstance(node, ast.ImportFrom):
        return any(alias.name == "import_module" for alias in node.names)
    return (isinstance(node, ast.Attribute) and node.attr == "import_module") or (
        isinstance(node, ast.Name) and node.id == "__import__"
    )


@pytest.mark.parametrize("module", MODULES)
def test_a_module_keeps_to_its_room(module: str) -> None:
    assert breaches(module, (HOUSE / module).read_text()) == []


def test_every_room_has_a_rule() -> None:
    rooms = {module.split("/")[0].removesuffix(".py") for module in MODULES}
    assert rooms - set(MAY) == set()


def test_rooms_are_in_order_and_nobody_looks_up() -> None:
    order = list(MAY)
    up = [
        (room, other)
        for room, allowed in MAY.items()
        for other in allowed
        if order.index(other.split(".")[0]) >= order.index(room)
    ]
    assert up == []


@pytest.mark.parametrize("package", sorted(ONLY_IN))
def test_no_file_keeps_a_permission_that_it_does_not_use(package: str) -> None:
    """A permission for a file that is not there yet is a plan; for one that is there, it is a hole."""
    holes = [
        place
        for place in ONLY_IN[package]
        if (HOUSE / place).is_file()
        and package not in {name.split(".")[0] for name in imports(ast.parse((HOUSE / place).read_text()))}
    ]
    assert holes == []


@pytest.mark.parametrize(
    ("module", "source", "problem"),
    [
        ("core/plan.py", "from fastproc.config import Config", "core may not import fastproc.config.Config"),
        ("core/plan.py", "import fastproc.ipc.blob", "core may not import fastproc.ipc.blob"),
        ("ipc/blob.py", "import fastproc", "ipc may not import fastproc"),
        ("bullmq/client.py", "from fastproc.worker import main", "bullmq may not import fastproc.worker.main"),
        ("worker/main.py", "def f():\n  import fastproc.bullmq.queue", "worker may not import fastproc.bullmq.queue"),
        ("backends/x.py", "import fastproc.supervisor.job", "backends may not import fastproc.supervisor.job"),
        ("backends/x.py", "import fastproc.supervisor.ports_x", "backends may not import fastproc.supervisor.ports_x"),
        ("unheard_of.py", "import fastproc.core.plan", "unheard_of may not import fastproc.core.plan"),
        ("worker/stages/a.py", "import fastproc.worker.stages.b", "a stage knows no other: fastproc.worker.stages.b"),
        ("core/plan.py", "from .model import Job", "relative import of .model.Job"),
        ("core/plan.py", "import time", "core is pure, it may not import time"),
        ("core/plan.py", "from random import random", "core is pure, it may not import random.random"),
        ("core/plan.py", "def f():\n  import os.path", "core is pure, it may not import os.path"),
        ("core/plan.py", "from urllib import request", "core is pure, it may not import urllib.request"),
        ("core/plan.py", "async def f(): pass", "core does not wait: AsyncFunctionDef, line 1"),
        ("core/plan.py", "open('/etc/hosts')", "core is pure, it may not call open(), line 1"),
        ("worker/main.py", "import socket", "a worker has no use for socket"),
        ("supervisor/job.py", "import pyvips", "pyvips belongs in worker/image.py"),
        ("core/plan.py", "if 1:\n  import PIL.Image", "PIL belongs in demo/"),
        ("worker/image.py", "from PIL import Image", "PIL belongs in demo/"),
        ("app.py", "import left_pad.strings", "left_pad has no place yet: give it one file, in ONLY_IN"),
        ("app.py", "import importlib\nimportlib.import_module('pyvips')", "loads a module by name, line 2"),
        ("app.py", "from importlib import import_module", "loads a module by name, line 1"),
        ("app.py", "__import__('pyvips')", "loads a module by name, line 1"),
    ],
)  # fmt: skip
def test_a_breach_is_found(module: str, source: str, problem: str) -> None:
    assert problem in breaches(module, source)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "core/plan.py",
            "from urllib.parse import quote\nfrom fastproc.core.model import Job\nimport collections.abc",
        ),
        ("backends/x.py", "from fastproc.supervisor.ports import Row\nfrom fastproc.supervisor import ports"),
        ("app.py", "from fastproc import __version__\nimport asyncio, fastproc.core.plan"),
        ("worker/image.py", "import pyvips"),
        ("demo/paint.py", "from PIL import Image"),
        ("worker/stage.py", "import importlib\nimportlib.import_module('a')"),
    ],
)
def test_what_is_allowed_passes(module: str, source: str) -> None:
    assert breaches(module, source) == []
