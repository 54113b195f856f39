"""What the pages tell people to fill in is what deploy/ has, and leaves a start its budget."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from entrypoint.start.budget import longest_s
from tests.support import formats
from tests.support.docs import block, page, section
from tests.support.manifests import ROOT, loaded

if TYPE_CHECKING:
    from pathlib import Path

STACK = ROOT / "deploy/swarm/stack.yml"
DEPLOYMENT = ROOT / "deploy/kubernetes/deployment.yml"
UNITS = {"s": 1, "m": 60}


def seconds(duration: str) -> int:
    """A duration of compose."""
    return int(duration[:-1]) * UNITS[duration[-1]]


def compose_example() -> str:
    """The file that the page on compose shows."""
    return block("docs/how-to/compose", "One service", "yaml")


def row(platform: str) -> str:
    """What the page on health checks says about how long a start may take there."""
    text = section("docs/how-to/health-checks", "How long a start may take")
    [found] = re.findall(rf"^\| \[{platform}\].*$", text, re.MULTILINE)
    assert isinstance(found, str)
    return found


def swarm_service() -> dict[str, Any]:
    """The service of the stack, as it stands there."""
    found = yaml.safe_load(STACK.read_text())["services"]["rpg-service"]
    assert isinstance(found, dict)
    return found


def test_the_stack_leaves_a_start_its_budget() -> None:
    """Swarm gives up on a replica only after its start has ended by itself."""
    service = swarm_service()
    budget_s = longest_s(loaded(service["environment"]))
    assert 0 < budget_s < seconds(service["healthcheck"]["start_period"])


def test_the_stack_watches_an_update_for_long_enough() -> None:
    """A replica that becomes unwell after its start is noticed while the update is watched."""
    service = swarm_service()
    check, update = service["healthcheck"], service["deploy"]["update_config"]
    assert seconds(check["interval"]) * check["retries"] < seconds(update["monitor"])


@pytest.mark.parametrize("where", ["the stack", "the page"])
def test_the_servers_node_is_labelled_as_the_stack_wants_it(where: str) -> None:
    """The command that labels it is told, in the file and on the page about Swarm."""
    server = yaml.safe_load(STACK.read_text())["services"]["postgres"]
    [constraint] = server["deploy"]["placement"]["constraints"]
    text = STACK.read_text() if where == "the stack" else page("docs/how-to/swarm")
    label = constraint.removeprefix("node.labels.").replace(" == ", "=")

    assert f"docker node update --label-add {label} NODE" in text


@pytest.mark.parametrize("name", ["the stack", "the page's example", "the tutorial's"])
def test_compose_accepts_it(name: str, tmp_path: Path) -> None:
    """The file fits the schema of compose."""
    path = tmp_path / "compose.yml"
    texts = {
        "the stack": STACK.read_text(),
        "the page's example": compose_example(),
        "the tutorial's": block("docs/tutorial", "4. The image", "yaml"),
    }
    path.write_text(texts[name])
    assert formats.complaints("vendor.compose-spec", path) == ""


def test_compose_and_swarm_have_one_health_check() -> None:
    """The page's example for compose has the stack's, and looks more often during a start."""
    example = yaml.safe_load(compose_example())["services"]["rpg-service"]
    check = dict(example["healthcheck"])

    assert check.pop("start_interval") == "2s"
    assert check == swarm_service()["healthcheck"]
    assert example["stop_grace_period"] == swarm_service()["stop_grace_period"]


def test_dokploy_has_the_same_health_check() -> None:
    """In Swarm's own words, with its durations in nanoseconds."""
    check = swarm_service()["healthcheck"]
    times = {"Interval": "interval", "Timeout": "timeout", "StartPeriod": "start_period"}
    told = json.loads(block("docs/how-to/dokploy", "Deploy on Dokploy", "json"))

    assert told.pop("Test") == check["test"]
    assert told.pop("Retries") == check["retries"]
    assert told == {theirs: seconds(check[ours]) * 10**9 for theirs, ours in times.items()}


def test_the_table_of_budgets_has_the_stacks_fields() -> None:
    """What it gives for Swarm is what is deployed."""
    service = swarm_service()
    update = service["deploy"]["update_config"]
    kept = {key: update[key] for key in ("order", "failure_action", "monitor")}
    told = ", ".join(f"{key}: {value}" for key, value in kept.items())

    assert f"`update_config: {{{told}}}`" in row("Swarm")
    assert f"`start_period: {service['healthcheck']['start_period']}`" in row("Swarm")


def test_the_table_of_budgets_has_the_deployments_fields() -> None:
    """What it gives for Kubernetes is what is deployed."""
    spec = yaml.safe_load(DEPLOYMENT.read_text())["spec"]
    probe = spec["template"]["spec"]["containers"][0]["startupProbe"]
    kept = ", ".join(f"{key}: {probe[key]}" for key in ("periodSeconds", "failureThreshold"))

    assert f"`startupProbe: {{{kept}}}`" in row("Kubernetes")
    assert f"`progressDeadlineSeconds: {spec['progressDeadlineSeconds']}`" in row("Kubernetes")


def test_every_file_for_a_platform_is_linked() -> None:
    """The pages on Swarm and Kubernetes lead to each file of deploy/."""
    pages = page("docs/how-to/swarm") + page("docs/how-to/kubernetes")
    linked = set(re.findall(r"\]\(\.\./\.\./(deploy/[^)]+\.yml)\)", pages))
    assert linked == {str(path.relative_to(ROOT)) for path in (ROOT / "deploy").rglob("*.yml")}
