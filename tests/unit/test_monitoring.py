"""The dashboard, the alerts and the runbook fit together: each part by its own rules, and each to the others.

What needs Prometheus itself: `tests/integration/test_alerts.py`, `tests/integration/test_prometheus.py`.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
import yaml

from tests import prometheus
from tests.unit.test_docs import anchors, series, text_of

KINDS = {"row", "stat", "timeseries", "heatmap", "state-timeline", "table"}
VARIABLES = {"datasource", "job", "queue", "instance"}
#: Variables that Grafana sets itself.
BUILT_IN = {"__rate_interval", "__range"}
SEVERITIES = {"critical", "warning", "info"}
ROWS = ["Verdict", "Throughput", "Latency", "Queue", "Workers", "Neighbours", "Errors", "Supervisor and host"]
PANELS = [panel for panel in prometheus.panels() if panel["type"] != "row"]
ALERTS = prometheus.rules("alert")


def shown(panel: dict[str, Any]) -> str:
    return str(panel["title"])


# --- the dashboard


def test_every_panel_has_an_id_of_its_own_and_a_kind_that_grafana_brings() -> None:
    ids = Counter(panel["id"] for panel in prometheus.panels())
    assert [number for number, count in ids.items() if count > 1] == []
    assert {panel["type"] for panel in prometheus.panels()} == KINDS
    titles = Counter(panel["title"] for panel in prometheus.panels())
    assert [title for title, count in titles.items() if count > 1] == []


def test_no_panel_lies_on_another_or_beyond_the_grid() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in prometheus.panels():
        at = panel["gridPos"]
        assert 0 <= at["x"] < at["x"] + at["w"] <= 24, shown(panel)
        for cell in ((at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])):
            assert taken.setdefault(cell, shown(panel)) == shown(panel)


def test_the_rows_are_in_the_order_in_which_one_asks() -> None:
    rows = [panel for panel in prometheus.dashboard()["panels"] if panel["type"] == "row"]
    assert [row["title"] for row in rows] == ROWS
    assert [row["gridPos"]["y"] for row in rows] == sorted(row["gridPos"]["y"] for row in rows)


@pytest.mark.parametrize("panel", PANELS, ids=shown)
def test_a_panel_says_what_it_shows_and_asks_the_chosen_source(panel: dict[str, Any]) -> None:
    source = {"type": "prometheus", "uid": "${datasource}"}
    assert len(panel["description"]) > 10
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"] == source
    assert [target["datasource"] for target in panel["targets"]] == [source] * len(panel["targets"])
    refs = [target["refId"] for target in panel["targets"]]
    assert len(refs) == len(set(refs)) > 0


def test_the_variables_are_there_and_every_one_that_is_used_is() -> None:
    board = prometheus.dashboard()
    assert {one["name"] for one in board["templating"]["list"]} == VARIABLES
    [source] = [one for one in board["templating"]["list"] if one["type"] == "datasource"]
    assert source["query"] == "prometheus"
    used = {name for text in prometheus.asked_for() for name in re.findall(r"\$\{?(\w+)", text)}
    assert used <= VARIABLES | BUILT_IN
    assert used >= VARIABLES - {"datasource"}
    assert (board["uid"], board["id"]) == ("fastproc", None)
    assert board["schemaVersion"] >= 39


def test_every_series_that_is_asked_for_exists_and_every_one_that_exists_is_shown() -> None:
    base = {re.sub(r"_(bucket|sum|count)$", "", name) for name in prometheus.names()}
    assert {name for name in base if not name.startswith("fastproc_supervisor_process_")} - series() == set()
    text = prometheus.DASHBOARD.read_text()
    # Which is the sum of the supervisors that are ready, but for the moment before one is.
    elsewhere = {"fastproc_supervisors_alive", "fastproc_jobs_taken_total"}
    assert {name for name in series() if name not in text} == elsewhere


# --- the alerts


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_it_is_what_to_do_and_where_that_is_written(name: str) -> None:
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in SEVERITIES
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    anchor = rule["annotations"]["runbook_url"].partition("operations.md#")[2]
    assert anchor == name.lower()
    assert anchor in anchors("docs/operations.md")


def test_the_runbook_has_no_alert_that_does_not_exist_and_each_says_three_things() -> None:
    _, _, chapter = text_of("docs/operations.md").partition("\n## Alerts\n")
    chapter, _, _ = chapter.partition("\n## ")
    sections = dict(re.findall(r"^### (Fastproc\w+)\n(.*?)(?=^### |\Z)", chapter, re.MULTILINE | re.DOTALL))
    assert sections.keys() == ALERTS.keys()
    words = ("**Means**", "**Look at**", "**Do**")
    assert {name: word for name, text in sections.items() for word in words if word not in text} == {}


def test_every_threshold_of_an_alert_has_its_reason() -> None:
    """A comment before each, in the rules themselves."""
    lines = prometheus.RULES.read_text().splitlines()
    bare = [lines[n] for n, line in enumerate(lines) if "- alert:" in line and "#" not in lines[n - 1]]
    assert bare == []


# --- autoscaling


def test_what_scales_by_the_backlog_asks_for_what_the_rules_record() -> None:
    folder = prometheus.DEPLOY / "kubernetes"
    component = yaml.safe_load((folder / "by-backlog" / "kustomization.yaml").read_text())
    scaled = yaml.safe_load((folder / "scaled-object.yaml").read_text())
    assert component["kind"] == "Component"
    [patch] = component["patches"]
    assert patch["target"] == {"kind": "ScaledObject", "name": scaled["metadata"]["name"]}
    [operation] = yaml.safe_load(patch["patch"])
    assert (operation["op"], operation["path"]) == ("replace", "/spec/triggers")
    [trigger] = operation["value"]
    assert trigger["metricType"] == "Value"
    recorded = set(re.findall(r"fastproc:\w+", trigger["metadata"]["query"]))
    assert recorded == {"fastproc:backlog_seconds"} <= prometheus.rules("record").keys()
    assert trigger["metadata"]["ignoreNullValues"] == "false"
