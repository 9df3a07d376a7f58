"""Who may import whom: rooms one way, a driver in its own file, a core without a clock.

The plan of the house is the table MAY; `breaches` reads it against one module's source. To add a driver, add a line
with its one file to ONLY_IN; to let a room look into another, say why beside it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[2] / "fastproc"
MODULES = sorted(str(path.relative_to(HOUSE)) for path in HOUSE.rglob("*.py"))

#: room -> the rooms (or, after a dot, the parts of them) that it may import besides itself. Read it downwards: from
#: what knows nothing of the others to the command line; no room names one below it. A room within a room has a line
#: of its own, and may not import what surrounds it unless the line says so.
MAY: dict[str, set[str]] = {
    "__init__": set(),
    # What a signal does to a command: below all, because it is there before anything else is imported.
    "interruption": set(),
    # Pure decisions.
    "core": set(),
    "core.gate": {"core"},
    # Beside each other: what crosses the process boundary, and the settings.
    "ipc": {"core"},
    "config": {"core"},
    # The jailed process. Its rooms are libraries for it: they know nothing of the pipeline.
    "worker": {"core", "ipc"},
    "worker.colour": {"core"},
    "worker.vips": {"core", "worker.colour"},
    "worker.jail": {"core"},
    "worker.exif": {"worker.dates", "worker.texts"},
    "worker.xmp": {"worker.dates", "worker.texts"},
    "worker.containers": {"core"},
    # Its sums are libvips' work.
    "worker.digest": {"worker.vips"},
    "worker.libheif": set(),
    "worker.gain_map": {
        "core",
        "worker.colour",
        "worker.exif",
        "worker.jpeg_segments",
        "worker.vips",
        "worker.xmp",
    },
    # The process that owns all I/O, by ports alone: it knows no server.
    "supervisor": {"core", "ipc"},
    "supervisor.workers": {"core", "ipc"},
    # What an operator sees and orders over HTTP, of one supervisor or of several.
    "desk": {"core", "ipc", "supervisor"},
    # The outside. Backends say what they return in the ports' words; the queue's port is proved by mypy in `app`.
    "bullmq": {"core", "config"},
    "backends": {"core", "config", "supervisor.ports", "supervisor.book_ports"},
    # The composition root, and the parts of it that commands use as well.
    "parts": {"core", "ipc", "config", "supervisor", "backends"},
    "live": {"core", "config", "supervisor", "bullmq", "parts"},
    "replaying": {"core", "config", "supervisor.ports", "parts"},
    "operating": {"core", "config", "supervisor", "desk", "backends", "replaying"},
    "ordering": {"core", "config", "bullmq"},
    "app": {
        "core",
        "ipc",
        "config",
        "supervisor",
        "desk",
        "bullmq",
        "backends",
        "parts",
        "live",
        "operating",
        "ordering",
    },
    # The process that leads several supervisors.
    "master": {"core", "ipc", "supervisor", "desk"},
    # What a person sees, and servers to try things with. The service needs neither.
    "terminal": {"core"},
    "embedded": {"interruption", "core", "config", "backends"},
    # A service on trial: what the chaos tests and the soak bench share, because neither may import the other.
    "embedded.trial": {"core", "config", "bullmq", "backends", "embedded"},
    # The guided tour puts the servers up, and is the application at both ends of the queue.
    "demo": {"interruption", "core", "config", "bullmq", "app", "terminal", "embedded"},
    # A load test is an application too, and looks at what its jobs cost.
    "load": {"core", "config", "bullmq", "backends", "supervisor.ports", "terminal", "embedded", "demo"},
    # Errands beside the service: each file reaches what it needs.
    "commands": {
        "interruption",
        "core",
        "ipc",
        "config",
        "supervisor",
        "bullmq",
        "backends",
        "app",
        "parts",
        "replaying",
        "operating",
        "master",
        "terminal",
        "demo",
        "load",
    },
    "__main__": {"interruption", "commands", "terminal"},
}

#: package -> the only files (or folders, with a slash) that may import it. A third-party package without a line
#: here may not be imported at all, but those of FREE.
ONLY_IN: dict[str, set[str]] = {
    "pyvips": {"worker/vips/library.py"},
    "pyjpegli": {"worker/jpegli.py"},
    # Seccomp, prctl and libraries without a full binding: what Python has no module for.
    "ctypes": {
        "worker/jpegli.py",
        "worker/libheif/",
        "worker/jail/kernel.py",
        "worker/main.py",
        "embedded/trial/network.py",
    },
    "redis": {"bullmq/address.py", "bullmq/connection.py", "bullmq/producer.py", "embedded/trial/"},
    "hiredis": {"bullmq/connection.py"},
    "bullmq": {"bullmq/producer.py"},
    # The demo makes the bucket and fetches results as an application would; a load test removes what it wrote.
    "boto3": {"backends/s3_removal.py", "embedded/seaweedfs.py"},
    "botocore": {
        "backends/s3_removal.py",
        "backends/s3_chain.py",
        "embedded/seaweedfs.py",
    },
    "aiohttp": {
        "backends/webhook/gate.py",
        "backends/webhook/http.py",
        "supervisor/listening.py",
    },
    "yarl": {"backends/webhook/http.py"},
    # Their two uses: the head of an answer, and a connection to one of several addresses.
    "httptools": {"backends/s3_wire/heads.py"},
    "aiohappyeyeballs": {"backends/s3_wire/connections.py"},
    "awscrt": {"backends/s3_answers.py"},
    # The demo and the trial read the rows back, as the API would.
    "sqlite3": {"backends/metadata_sqlite.py", "demo/results.py", "embedded/trial/"},
    "psycopg": {
        "backends/metadata_postgresql.py",
        "backends/postgresql_clock.py",
        "backends/postgresql_link.py",
        "backends/postgresql_rows.py",
        "backends/postgresql_schema.py",
        "embedded/",
    },
    "prometheus_client": {
        "supervisor/metrics.py",
        "supervisor/vitals.py",
        "master/answers.py",
        "master/metrics.py",
    },
    "psutil": {"supervisor/vitals.py", "load/usage.py"},
    "uvloop": {"commands/running.py"},
    "sentry_sdk": {"backends/reports_sentry.py"},
    "opentelemetry": {"backends/traces_otlp.py"},
    "click": {"commands/"},
    "rich": {"commands/", "terminal/", "demo/", "load/table.py"},
    "PIL": {"demo/", "terminal/contact_sheet.py", "embedded/trial/", "load/plot.py"},
}
PIL_PLACES = "demo/, embedded/trial/, load/plot.py, terminal/contact_sheet.py"
FREE = {"msgspec"}

#: All that core may import; a name with a dot opens that one module of its package.
PURE = {
    "__future__",
    "collections",
    "enum",
    "hashlib",
    "ipaddress",
    "itertools",
    "math",
    "msgspec",
    "re",
    "struct",
    "typing",
    "urllib.parse",
    "zlib",
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

#: The door for plug-ins, and the backends and commands that their file names register.
LOADS_BY_NAME = {"worker/stage.py", "backends/factories.py", "commands/cli.py"}


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
    room = room_of(module)
    found = [problem for name in imports(tree) for problem in wrong_import(module, room, name)]
    if room.split(".")[0] == "core":
        found += impure(tree)
    if module not in LOADS_BY_NAME:
        found += [f"loads a module by name, line {node.lineno}" for node in ast.walk(tree) if loads(node)]
    return found


def room_of(module: str) -> str:
    """The innermost room that a module lies in; a module that no room holds is its own."""
    dotted = module.removesuffix(".py").replace("/", ".")
    inside = [room for room in MAY if within(dotted, {room})]
    return max(inside, key=len, default=dotted.split(".")[0])


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
    if room.split(".")[0] == "core" and not within(name, PURE):
        yield f"core is pure, it may not import {name}"
    if room.split(".")[0] == "worker" and top in NO_WORKER:
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
    assert {room_of(module) for module in MODULES} - set(MAY) == set()


def test_every_rule_has_a_room() -> None:
    assert set(MAY) - {room_of(module) for module in MODULES} == set()


def test_rooms_are_in_order_and_nobody_looks_up() -> None:
    order = list(MAY)
    up = [
        (room, other)
        for room, allowed in MAY.items()
        for other in allowed
        if order.index(room_of(f"{other.replace('.', '/')}.py")) >= order.index(room)
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
        ("core/plan.py", "import fastproc.config.http", "core may not import fastproc.config.http"),
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
        ("worker/vips/library.py", "import socket", "a worker has no use for socket"),
        ("core/gate/png.py", "import time", "core is pure, it may not import time"),
        ("worker/exif/tiff.py", "import fastproc.worker.source", "worker.exif may not import fastproc.worker.source"),
        ("supervisor/workers/pool.py", "import fastproc.supervisor.job",
         "supervisor.workers may not import fastproc.supervisor.job"),
        ("supervisor/job.py", "import pyvips", "pyvips belongs in worker/vips/library.py"),
        ("core/plan.py", "if 1:\n  import PIL", f"PIL belongs in {PIL_PLACES}"),
        ("worker/heif.py", "from PIL import Image", f"PIL belongs in {PIL_PLACES}"),
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
        ("worker/vips/library.py", "import pyvips"),
        ("demo/paint.py", "from PIL import Image"),
        ("worker/stage.py", "import importlib\nimportlib.import_module('a')"),
    ],
)
def test_what_is_allowed_passes(module: str, source: str) -> None:
    assert breaches(module, source) == []
