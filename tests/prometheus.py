"""Prometheus' own programs, what they say, and what the rules and the dashboard ask for.

Rule 1: the programs come from Debian's package `prometheus`, which `.ci/run` installs; without them the tests that need
        them are skipped.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fastproc.embedded.child import Child, free_ports

DEPLOY = Path(__file__).parents[1] / "deploy"
RULES = DEPLOY / "prometheus" / "fastproc.rules.yaml"
CONFIG = DEPLOY / "prometheus" / "prometheus.yaml"
DASHBOARD = DEPLOY / "grafana" / "fastproc.json"
#: The oldest Prometheus that the rules are written for: Debian 12's.
OLDEST = (2, 42)

SERIES = re.compile(r"\bfastproc_[a-z_]+[a-z]\b")


def program(name: str) -> str:
    """Return the path of `promtool` or `prometheus`; skip where it is not installed."""
    found = shutil.which(name)
    if not found:
        pytest.skip(f"{name} is not installed (on Debian: apt-get install prometheus)")
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=True)
    version = re.search(r"version (\d+)\.(\d+)", said.stdout + said.stderr)
    assert version
    assert tuple(map(int, version.groups())) >= OLDEST
    return found


def promtool(*arguments: str) -> str:
    """Run promtool; return what it said. Fails with it where it is not content."""
    done = subprocess.run([program("promtool"), *arguments], capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def groups() -> list[dict[str, Any]]:
    """The groups of rules."""
    found: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"]
    return found


def rules(kind: str) -> dict[str, dict[str, Any]]:
    """The rules of a kind (`alert`, `record`) by name."""
    return {rule[kind]: rule for group in groups() for rule in group["rules"] if kind in rule}


def dashboard() -> dict[str, Any]:
    """The dashboard."""
    found: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return found


def panels() -> Iterator[dict[str, Any]]:
    """Every panel, those within a row too."""
    for panel in dashboard()["panels"]:
        yield panel
        yield from panel.get("panels", ())


def asked_for() -> list[str]:
    """Every expression of the rules and of the dashboard's panels, variables and annotations."""
    board = dashboard()
    found = [rule["expr"] for kind in ("alert", "record") for rule in rules(kind).values()]
    found += [target["expr"] for panel in panels() for target in panel.get("targets", ())]
    found += [one["query"]["query"] for one in board["templating"]["list"] if one["type"] == "query"]
    return found + [one["expr"] for one in board["annotations"]["list"] if "expr" in one]


def names() -> set[str]:
    """Every series that is asked for, as Prometheus names it."""
    return {name for expression in asked_for() for name in SERIES.findall(expression)}


class Server:
    """A running Prometheus that scrapes one service every second, with the rules loaded; what waits, waits a second."""

    def __init__(self, folder: Path, target: int) -> None:
        self.port = free_ports(1)[0]
        self._child = Child(folder, "prometheus")
        # Nobody waits for an hour here: the times are promtool's to judge.
        (folder / "rules.yaml").write_text(re.sub(r"for: \d+[mh]", "for: 1s", RULES.read_text()))
        config = yaml.safe_load(CONFIG.read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = ["rules.yaml"]
        config["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{target}"]
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        self._command = [
            program("prometheus"),
            "--config.file=config.yaml",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--log.level=warn",
        ]

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._child.spawn(self._command, {"GOMAXPROCS": "1"})
        self._child.wait_until(self._answers, lambda: self._child.spawn(self._command, {}), 30)

    def stop(self) -> None:
        """End it; nobody wants its data."""
        self._child.stop(grace_s=0)

    def get(self, path: str, **query: str) -> Any:
        """The data of an answer of the API. Fails with what it says where it is no success."""
        address = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{query}: {error.read().decode()}") from None

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an expression now."""
        found: list[dict[str, Any]] = self.get("query", query=expression)["result"]
        return found

    def firing(self) -> dict[str, list[dict[str, Any]]]:
        """The alerts that fire now, by name."""
        found: dict[str, list[dict[str, Any]]] = {}
        for alert in self.get("alerts")["alerts"]:
            if alert["state"] == "firing":
                found.setdefault(alert["labels"]["alertname"], []).append(alert)
        return found

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
