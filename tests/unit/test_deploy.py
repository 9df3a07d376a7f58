"""What deploys the service is valid, and says what the service means: names of variables, keys, ports, times, limits.

What needs a program to judge it, and the image itself: `tests/integration/test_container.py`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from fastproc.config.settings import Config, table
from fastproc.terminal.exits import Exit
from tests import engine

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
UNIT = ROOT / "deploy" / "systemd" / "fastproc.service"
VARIABLES = {row.env for row in table(Config())}
#: Seconds that a stop takes at most beyond the grace (docs/operations.md, "Start and stop").
CLOSING_S = 3


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return found


def manifests() -> dict[str, dict[str, Any]]:
    found = [
        document for path in KUBERNETES.glob("*.yaml") for document in yaml.safe_load_all(path.read_text())
    ]
    return {document["kind"]: document for document in found}


def unit() -> dict[str, list[str]]:
    """The unit's assignments, section by section in one: every value of each name."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def grace_s() -> int:
    return Config().pool.shutdown_grace_s


# --- compose.yaml


def test_compose_is_the_reference_deployment_as_three_replicas() -> None:
    service = compose()["services"]["fastproc"]
    assert service["deploy"]["replicas"] == 3
    first, last = re.fullmatch(r"127\.0\.0\.1:(\d+)-(\d+):8080", service["ports"][0]).groups()
    assert int(last) - int(first) + 1 == 3
    assert int(service["stop_grace_period"].removesuffix("s")) >= grace_s() + CLOSING_S


def test_compose_publishes_nothing_beyond_this_host() -> None:
    published = [port for each in compose()["services"].values() for port in each.get("ports", [])]
    assert published
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


def test_compose_limits_the_service_as_the_container_is_tested() -> None:
    for name in ("fastproc", "setup"):
        service = compose()["services"][name]
        assert f"--pids-limit={service['pids_limit']}" in engine.HARDENED
        assert f"--memory={service['mem_limit']}" in engine.HARDENED
        assert [f"--cap-drop={each.lower()}" for each in service["cap_drop"]] == ["--cap-drop=all"]
        assert "--cap-drop=all" in engine.HARDENED
        assert service["read_only"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "tmpfs" not in service


def test_a_wrong_setting_starts_no_replica() -> None:
    """The one-shot service has the same settings, tries all of them, and is never restarted."""
    services = compose()["services"]
    assert services["fastproc"]["depends_on"]["setup"] == {"condition": "service_completed_successfully"}
    assert services["setup"]["restart"] == "no"
    assert services["setup"]["environment"] == services["fastproc"]["environment"]
    assert services["setup"]["entrypoint"][-1] == "fastproc init-db && fastproc check"


def test_every_server_of_compose_is_waited_for_until_it_is_healthy_and_has_a_version() -> None:
    services = compose()["services"]
    servers = {name: each for name, each in services.items() if name not in ("fastproc", "setup")}
    for user in ("fastproc", "setup"):
        needed = services[user]["depends_on"]
        assert {name: needed[name]["condition"] for name in servers} == dict.fromkeys(
            servers, "service_healthy"
        )
    for server in servers.values():
        assert server["healthcheck"]["test"]
        assert re.fullmatch(r"[\w./-]+:\d[\w.-]*", server["image"])


def test_the_variables_of_compose_exist() -> None:
    assert set(compose()["services"]["fastproc"]["environment"]) - VARIABLES == set()


# --- Kubernetes


@pytest.mark.parametrize("kind", ["Deployment", "PodDisruptionBudget"])
def test_a_manifest_is_valid_for_the_newest_kubernetes_that_is_known_here(kind: str) -> None:
    kubernetes_validate.validate(manifests()[kind], kubernetes_validate.latest_version(), strict=True)


def test_kustomize_takes_every_manifest() -> None:
    files = {path.name for path in KUBERNETES.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(manifests()["Kustomization"]["resources"]) == files


def test_the_variables_of_the_manifests_exist() -> None:
    [settings] = manifests()["Kustomization"]["configMapGenerator"]
    named = {literal.partition("=")[0] for literal in settings["literals"]}
    triggers = manifests()["ScaledObject"]["spec"]["triggers"]
    named |= {
        value for each in triggers for key, value in each["metadata"].items() if key.endswith("FromEnv")
    }
    assert named - VARIABLES == set()


def test_a_pod_is_locked_down_and_probed_as_the_service_answers() -> None:
    pod = manifests()["Deployment"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] >= grace_s() + CLOSING_S
    assert not pod["enableServiceLinks"]  # They would set REDIS_PORT to an address.
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    [service], [setup] = pod["containers"], pod["initContainers"]
    for container in (service, setup):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"].keys() == {"cpu", "memory"}
        assert container["envFrom"] == service["envFrom"]
    paths = {
        probe: service[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "liveness", "readiness")
    }
    assert paths == {"startup": "/health", "liveness": "/health", "readiness": "/ready"}
    assert service["ports"] == [{"name": "http", "containerPort": Config().http.port}]


def test_the_budget_is_for_the_pods_of_the_deployment() -> None:
    found = manifests()
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert found["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert found["ScaledObject"]["spec"]["scaleTargetRef"]["name"] == found["Deployment"]["metadata"]["name"]


def test_keda_counts_the_jobs_that_wait_in_the_default_queue() -> None:
    queue = Config().queue
    lists = [each["metadata"]["listName"] for each in manifests()["ScaledObject"]["spec"]["triggers"]]
    assert lists == [f"{queue.prefix}:{queue.name}:{state}" for state in ("wait", "prioritized")]


# --- systemd


def test_the_unit_leaves_time_to_stop_and_does_not_restart_for_a_wrong_setting() -> None:
    found = unit()
    assert int(found["TimeoutStopSec"][0]) >= grace_s() + CLOSING_S
    assert found["KillMode"] == ["mixed"]
    assert found["RestartPreventExitStatus"] == [f"{Exit.USAGE} {Exit.CONFIG}"]


def test_the_unit_allows_what_the_workers_jail_calls() -> None:
    """Landlock and seccomp are in no group that every systemd has."""
    allowed = {call for line in unit()["SystemCallFilter"] for call in line.split()}
    assert {"seccomp", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"} <= allowed


def test_the_variables_of_the_units_example_exist() -> None:
    lines = (UNIT.parent / "fastproc.env.example").read_text().splitlines()
    named = {line.partition("=")[0] for line in lines if "=" in line and not line.startswith("#")}
    assert named - VARIABLES == set()
