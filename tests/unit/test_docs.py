"""Documents do not lie: links lead somewhere, commands exist, tables are those of the code.

What is checked is what a reader would type, follow or look up. To add a document, write it: every Markdown file of the
repository is found here.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from fastproc.commands.cli import main
from fastproc.config.settings import Config, table
from fastproc.core.errors import BY_CODE
from fastproc.core.remedies import REMEDIES
from fastproc.master.answers import Answers
from fastproc.supervisor.metrics import Metrics
from fastproc.supervisor.vitals import Vitals
from fastproc.terminal.exits import Exit

ROOT = Path(__file__).parents[2]
HOUSE = ROOT / "fastproc"
DOCUMENTS = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "deploy/**/*.md")
    for path in ROOT.glob(pattern)
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
SPAN = re.compile(r"`([^`\n]+)`")
#: Names in capitals that are somebody else's.
FOREIGN = {
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_SDK_DISABLED",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "SSL_CERT_FILE",
    "SQLITE_BUSY",
    "SQLITE_FULL",
    "SQLITE_READONLY",
    "SOCK_SEQPACKET",
    "M_TRIM_THRESHOLD",
    "M_MMAP_THRESHOLD",
}


#: Scripts that hand their arguments on to a command.
RUNS = {"scripts/bench": "bench", "scripts/demo": "demo"}


def text_of(document: str) -> str:
    return (ROOT / document).read_text()


def prose(document: str) -> str:
    """A document without its fenced blocks."""
    return FENCE.sub("", text_of(document))


def anchors(document: str) -> set[str]:
    """The headings of a document as a browser of Markdown names them."""
    found: dict[str, int] = {}
    for heading in re.findall(r"^#+ +(.+?) *$", prose(document), re.MULTILINE):
        words = re.sub(r"[^\w\- ]", "", LINK.sub("", heading).lower()).replace(" ", "-")
        found[words] = found.get(words, 0) + 1
    return {name if n == 0 else f"{name}-{n}" for name, count in found.items() for n in range(count)}


def dead_links(document: str, text: str) -> list[str]:
    """Relative links of a text that lead to no file, or to no heading of it."""
    dead = []
    for link in LINK.findall(text):
        if re.match(r"https?://|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / document).parent / path if path else ROOT / document
        if not target.exists() or (anchor and anchor not in anchors(str(target.resolve().relative_to(ROOT)))):
            dead.append(link)
    return dead


def commands(document: str) -> Iterator[list[str]]:
    """Every command of a document, in a `sh` block or in a line of text, as words."""
    text = text_of(document)
    lines = [line for kind, block in FENCE.findall(text) if kind == "sh" for line in block.splitlines()]
    lines += SPAN.findall(FENCE.sub("", text))
    for line in lines:
        if not re.match(r"([A-Z_]+=\S* )*(fastproc |scripts/|python |\.ci/)", line):
            continue
        words = shlex.split(line.replace("...", " "), comments=True)
        while words and re.match(r"[A-Z_]+=", words[0]):
            words.pop(0)
        if words:
            yield words


def wrong_command(words: list[str]) -> str:
    """Why a command cannot be typed as it stands, or ""."""
    program, *rest = words
    if program == "fastproc":
        return _wrong_subcommand(rest)
    if program == "python":
        program, *rest = rest
        if program.startswith("-") or "." not in program:
            return ""
    path = ROOT / program
    if program in RUNS and rest[:1] != ["kernels"]:
        return _wrong_subcommand([RUNS[program], *rest])
    if not path.is_file():
        return f"there is no {program}"
    if path.suffix != ".py" and not os.access(path, os.X_OK):
        return f"{program} cannot be executed"
    # A script in sh hands its arguments on; a program's options stand in its source.
    options = [word for word in rest if word.startswith("--") and path.suffix == ".py"]
    unknown = [option for option in options if f'"{option}"' not in _sources(path)]
    return f"{program} has no {', '.join(unknown)}" if unknown else ""


def _sources(path: Path) -> str:
    """A program's source, with that of the program it stands for: `bench/queue.py` runs `queue_cost.py`."""
    source = path.read_text()
    named = re.findall(r'with_name\("(\w+\.py)"\)', source)
    return source + "".join(path.with_name(name).read_text() for name in named)


def _wrong_subcommand(words: list[str]) -> str:
    command: click.Command = main
    name = "fastproc"
    for word in words:
        context = click.Context(command)
        if word.startswith("--"):
            known = {option for parameter in command.get_params(context) for option in parameter.opts}
            if word not in known:
                return f"{name} has no {word}"
        elif isinstance(command, click.Group) and word != "COMMAND":
            if word not in command.list_commands(context):
                return f"there is no command {word!r}"
            command, name = command.get_command(context, word) or command, word
    return ""


def rows(document: str, mark: str) -> list[list[str]]:
    """The cells of the table between `<!-- mark -->` and `<!-- /mark -->`, without its head."""
    _, begin, rest = text_of(document).partition(f"<!-- {mark} -->\n")
    found, end, _ = rest.partition(f"<!-- /{mark} -->")
    assert begin, f"{document} lacks the mark {mark}"
    assert end, f"{document} lacks the end of the mark {mark}"
    lines = [line for line in found.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


@cache
def trees() -> tuple[ast.Module, ...]:
    """The package's modules, parsed."""
    return tuple(ast.parse(path.read_text()) for path in sorted(HOUSE.rglob("*.py")))


@cache
def constants() -> tuple[str, ...]:
    """Every text in the package's code that is not a docstring."""
    found: list[str] = []
    for tree in trees():
        said = {
            id(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        }
        found += [
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said
        ]
    return tuple(found)


@cache
def code() -> str:
    """Everything that is code or configuration here, to look names up in."""
    others = [ROOT / "Dockerfile", ROOT / "compose.yaml", ROOT / ".ci" / "run"]
    files = [*HOUSE.rglob("*.py"), *(ROOT / "bench").glob("*.py"), *others]
    return "\n".join(path.read_text() for path in files)


def watched() -> set[str]:
    """The series that are read at a scrape: the first argument of every call of `watch` and its kin of `Metrics`."""
    found: set[str] = set()
    for tree in trees():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            first = node.args[0]
            # Other rooms' `watch` takes a condition; a series is told by its meaning, and labels where it has some.
            kin = {"watch": 3, "watch_total": 3, "total": 3, "watch_each": 4, "watch_each_total": 4}
            if kin.get(name) == len(node.args) and isinstance(first, ast.Constant):
                found.add(f"fastproc_{first.value}{'_total' if name.endswith('total') else ''}")
    return found


@cache
def series() -> set[str]:
    """Every series that a service shows, as Prometheus names it, without those of the process itself."""
    metrics = Metrics()
    metrics.registry.register(Vitals(dict))
    master = Answers(1, dict, lambda number: False)
    families = [*metrics.registry.collect(), *master.registry.collect()]
    own = {f"{family.name}_total" if family.type == "counter" else family.name for family in families}
    return {name for name in own if not name.startswith("fastproc_supervisor_")} | watched()


# --- links, paths, names


@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_link_is_dead(document: str) -> None:
    assert dead_links(document, prose(document)) == []


def test_a_dead_link_is_found() -> None:
    text = "[a](docs/none.md) [b](README.md#none) [c](#numbers) [d](https://example.org/) [e](docs/README.md)"
    assert dead_links("README.md", text) == ["docs/none.md", "README.md#none"]


def test_every_document_can_be_reached_from_the_readme() -> None:
    reached, waiting = set(), ["README.md"]
    while waiting:
        document = waiting.pop()
        reached.add(document)
        for link in LINK.findall(prose(document)):
            target = ((ROOT / document).parent / link.partition("#")[0]).resolve()
            if target.suffix == ".md" and target.is_file():
                name = str(target.relative_to(ROOT))
                waiting += [name] if name not in reached else []
    assert set(DOCUMENTS) - reached == set()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_that_a_document_names_exists(document: str) -> None:
    spans = [span for span in SPAN.findall(prose(document)) if re.fullmatch(r"[\w.-]+(/[\w.-]+)+/?", span)]
    ours = {path.name for path in (*ROOT.iterdir(), *HOUSE.iterdir())}
    paths = [span for span in spans if span.split("/")[0] in ours and not re.search(r"_S$|\d$", span)]
    missing = [path for path in paths if not (ROOT / path).exists() and not (HOUSE / path).exists()]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_name_in_capitals_is_in_the_code(document: str) -> None:
    names = {
        span for span in SPAN.findall(prose(document)) if re.fullmatch(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+", span)
    }
    variables = {row.env for row in table(Config())}
    known = variables | {f"{name}_FILE" for name in variables} | set(BY_CODE) | FOREIGN
    unknown = [name for name in sorted(names - known) if not re.search(rf"\b{name}\b", code())]
    assert unknown == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_code_in_a_line_of_text_is_broken_across_lines(document: str) -> None:
    """It would escape the other tests here, and cannot be searched for."""
    assert [line for line in prose(document).splitlines() if line.count("`") % 2] == []


# --- commands


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_of_a_document_can_be_typed(document: str) -> None:
    assert {" ".join(words): why for words in commands(document) if (why := wrong_command(words))} == {}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_builds_packages_is_installed_before_those_that_are_built(document: str) -> None:
    built = [line for line in text_of(document).splitlines() if "--no-build-isolation" in line]
    assert [line for line in built if "requirements/build.txt" in line] == []


def test_every_subcommand_is_in_the_readme() -> None:
    typed = {tuple(words[1:2]) for words in commands("README.md") if words[0] == "fastproc"}
    assert {(name,) for name in main.list_commands(click.Context(main))} <= typed


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("fastproc prosess a.jpg", "there is no command 'prosess'"),
        ("fastproc quarantine empty", "there is no command 'empty'"),
        ("fastproc process a.jpg --into out", "process has no --into"),
        ("scripts/none", "there is no scripts/none"),
        ("python bench/throughput.py F --fast", "bench/throughput.py has no --fast"),
        ("python bench/queue.py --jobs 5", ""),
        ("fastproc status --json", ""),
        ("scripts/bench --swep 1,2", "bench has no --swep"),
        ("scripts/bench --sweep 1,2 --plots out", ""),
        ("scripts/bench kernels --benchmark-compare", ""),
    ],
)
def test_a_wrong_command_is_found(line: str, why: str) -> None:
    assert wrong_command(line.split()) == why


# --- tables


@pytest.mark.parametrize("document", ["docs/contract.md", "docs/operations.md"])
def test_the_tables_of_errors_are_the_codes(document: str) -> None:
    codes = [row[0].strip("`") for row in rows(document, "errors")]
    assert len(codes) == len(set(codes))
    assert set(codes) == set(BY_CODE)


def test_meanings_and_remedies_are_the_same_in_documents_and_commands() -> None:
    def plain(cells: list[str]) -> list[str]:
        return [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", cell) for cell in cells]

    contract = {row[0].strip("`"): plain([row[1], row[3]]) for row in rows("docs/contract.md", "errors")}
    operations = {row[0].strip("`"): plain(row[1:]) for row in rows("docs/operations.md", "errors")}
    assert contract == {code: [each.meaning, each.application] for code, each in REMEDIES.items()}
    assert operations == {code: [each.look, each.operator] for code, each in REMEDIES.items()}
    assert set(REMEDIES) == set(BY_CODE)


def test_the_contract_says_of_each_error_whether_it_is_retried() -> None:
    found = {row[0].strip("`"): row[2] for row in rows("docs/contract.md", "errors")}
    assert found == {code: "yes" if leaf.retryable else "no" for code, leaf in BY_CODE.items()}


@pytest.mark.parametrize("document", ["docs/contract.md", "docs/operations.md"])
def test_the_tables_of_exit_codes_are_those_of_the_command_line(document: str) -> None:
    found = {row[1].strip("`"): int(row[0]) for row in rows(document, "exits")}
    assert found == {code.name: code.value for code in Exit}


def test_the_table_of_metrics_is_what_a_service_shows() -> None:
    named = {row[0].strip("`").partition("{")[0] for row in rows("docs/operations.md", "metrics")}
    assert named - {"fastproc_supervisor_process_*"} == series()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_series_in_a_document_exists(document: str) -> None:
    named = set(re.findall(r"\bfastproc_[a-z_]+[a-z]\b(?!\.py|`?\])", prose(document)))
    of_histograms = {f"{name}_{part}" for name in series() for part in ("bucket", "sum", "count")}
    modules = {path.stem for path in ROOT.glob("examples/*/*.py")}
    unknown = {
        name for name in named - series() - of_histograms - modules if "fastproc_supervisor_" not in name
    }
    assert unknown == set()


def test_every_log_line_of_the_runbook_is_in_the_code() -> None:
    fragments = [row[0].strip("`") for row in rows("docs/operations.md", "log lines")]
    assert [one for one in fragments if not any(one in text for text in constants())] == []


def test_every_message_of_the_object_store_in_the_runbook_is_in_the_code() -> None:
    messages = [
        m for row in rows("docs/operations.md", "s3 messages") for m in re.findall("`([^`]+)`", row[0])
    ]
    # Numbers are set in, and what is before a comma may be of another text.
    parts = [part.strip() for message in messages for part in re.split(r", |[0-9]+", message)]
    assert len(parts) > 12
    assert [part for part in parts if not any(part in text for text in constants())] == []


def test_the_fields_of_the_log_are_those_of_the_runbook() -> None:
    named = {
        name for row in rows("docs/operations.md", "log fields") for name in re.findall(r"`(\w+)`", row[0])
    }
    calls = [
        node
        for path in (ROOT / "fastproc").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("fields", "of_job", "about", "told", "outages.begin", "outages.end")
    ]
    given = {keyword.arg for call in calls for keyword in call.keywords if keyword.arg}
    assert given - named == set()
    # Those that come by a dictionary, or from the line's own format.
    assert [name for name in sorted(named - given) if name not in constants()] == []


def test_every_row_of_tuning_that_the_code_names_is_there() -> None:
    source = re.sub(r"\n *#:? ?", " ", code())
    named = set(re.findall(r'tuning\.md,? "([^"]+)"', source))
    firsts = [line.split("|")[1] for line in text_of("tuning.md").splitlines() if line.startswith("|")]
    assert named
    assert [name for name in sorted(named) if not any(name in first for first in firsts)] == []


def test_the_worked_example_is_the_file_that_is_tested() -> None:
    _, _, rest = text_of("docs/stages.md").partition("<!-- example -->\n```python\n")
    source, _, _ = rest.partition("```\n<!-- /example -->")
    assert source == (ROOT / "examples" / "stage_square" / "fastproc_stage_square.py").read_text()
