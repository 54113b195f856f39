"""deploy/kubernetes/ is what the API accepts, and agrees with itself, the image and the pages."""

from __future__ import annotations

import re
import shlex
import subprocess
from typing import TYPE_CHECKING, Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from entrypoint import errors
from entrypoint.start.budget import longest_s
from tests.support.manifests import EXAMPLE, ROOT, loaded

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = ROOT / "deploy/kubernetes"

RELEASES = ["1.29", kubernetes_validate.latest_version()]
"""The oldest release of Kubernetes that the files are held to, and the latest known one."""


def manifest(name: str) -> dict[str, Any]:
    """A file's one object."""
    found = yaml.safe_load((FOLDER / name).read_text())
    assert isinstance(found, dict)
    return found


def patched(base: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """A strategic merge of what the patch holds: objects, and lists that the base has not."""
    merged = dict(base)
    for key, value in patch.items():
        old = merged.get(key)
        assert not isinstance(old, list)
        merged[key] = patched(old, value) if isinstance(old, dict) else value
    return merged


DEPLOYMENT, JOB, SERVICE = manifest("deployment.yml"), manifest("job.yml"), manifest("service.yml")
PREPARED = patched(DEPLOYMENT, manifest("init-container.yml"))
OBJECTS = {"deployment": DEPLOYMENT, "job": JOB, "service": SERVICE, "init-container": PREPARED}


def pod(workload: dict[str, Any]) -> dict[str, Any]:
    """What its pods are."""
    spec = workload["spec"]["template"]["spec"]
    assert isinstance(spec, dict)
    return spec


def containers(workload: dict[str, Any]) -> list[dict[str, Any]]:
    """All containers of its pods."""
    return [*pod(workload).get("initContainers", []), *pod(workload)["containers"]]


WORKLOADS = {"deployment": DEPLOYMENT, "job": JOB, "init-container": PREPARED}
CONTAINERS = {
    f"{name}/{container['name']}": (workload, container)
    for name, workload in WORKLOADS.items()
    for container in containers(workload)
}


def budget_s(container: dict[str, Any]) -> float:
    """The longest that its start can take, as it would say itself."""
    plain = {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}
    return longest_s(loaded(plain))


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("name", OBJECTS)
def test_the_api_accepts_it(name: str, release: str) -> None:
    """Every object fits its schema, without a field that the API does not know."""
    kubernetes_validate.validate(OBJECTS[name], release, strict=True)


def test_the_validator_refuses_what_the_api_does_not_know() -> None:
    """A misspelt field does not pass."""
    wrong = patched(DEPLOYMENT, {"spec": {"progressDeadline": 900}})
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, RELEASES[-1], strict=True)


def test_every_file_is_looked_at() -> None:
    """Each manifest of the folder is one of those that these tests read."""
    assert {path.stem for path in FOLDER.iterdir()} == OBJECTS.keys()


def patience_s(workload: dict[str, Any]) -> float:
    """How long a pod's service may be not ready after its init containers."""
    [container] = pod(workload)["containers"]
    probe = container["startupProbe"]
    return float(probe["periodSeconds"] * probe["failureThreshold"])


def test_the_startup_probe_outlasts_the_budget() -> None:
    """The start ends by itself before the probe's patience does."""
    [container] = pod(DEPLOYMENT)["containers"]
    assert 0 < budget_s(container) < patience_s(DEPLOYMENT)


@pytest.mark.parametrize("name", ["deployment", "init-container"])
def test_the_rollout_outlasts_the_pod(name: str) -> None:
    """Init containers run first and take their own time, which the rollout has to allow as well."""
    workload = WORKLOADS[name]
    before_s = sum(budget_s(container) for container in pod(workload).get("initContainers", []))
    assert before_s + patience_s(workload) < workload["spec"]["progressDeadlineSeconds"]


def test_a_job_outlasts_the_budget() -> None:
    """The Job ends its pod only after the start has given up by itself."""
    [container] = pod(JOB)["containers"]
    assert 0 < budget_s(container) < JOB["spec"]["activeDeadlineSeconds"]


def test_a_job_is_tried_again_only_where_that_may_help() -> None:
    """Of our own exit codes only those of a server or a lock not ready in time get another try."""
    [rule] = JOB["spec"]["podFailurePolicy"]["rules"]
    kinds = errors.EntrypointError.__subclasses__()
    codes = {kind.exit_code for kind in kinds} | {1, 2, 126, 127}
    may_help = {errors.UnreachableError.exit_code, errors.LockError.exit_code}
    never_here = {errors.TransferError.exit_code}

    assert set(rule["onExitCodes"]["values"]) == codes - may_help - never_here
    assert [rule["onExitCodes"]["containerName"]] == [c["name"] for c in containers(JOB)]


def test_probes_ask_what_the_service_answers() -> None:
    """The start is asked of `entrypoint health`, the service at its health.url's port and path."""
    [container] = pod(DEPLOYMENT)["containers"]
    [port] = container["ports"]
    url = loaded({}).health_url
    ready = container["readinessProbe"]["httpGet"]

    dockerfile = (EXAMPLE / "Dockerfile").read_text()
    check = shlex.join(container["startupProbe"]["exec"]["command"])
    assert check == "/opt/entrypoint/bin/entrypoint health"
    assert '["/opt/entrypoint/bin/entrypoint", "health"]' in dockerfile
    assert f"EXPOSE {port['containerPort']}\n" in dockerfile
    assert url == f"http://127.0.0.1:{port['containerPort']}{ready['path']}"
    assert {ready["port"], container["livenessProbe"]["tcpSocket"]["port"]} == {port["name"]}
    assert {each["targetPort"] for each in SERVICE["spec"]["ports"]} == {port["name"]}


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_is_restricted(name: str) -> None:
    """What Pod Security calls restricted, with a read-only root, and a folder for the push."""
    workload, container = CONTAINERS[name]
    spec, context = pod(workload), container["securityContext"]

    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 1000
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert context["allowPrivilegeEscalation"] is False
    assert context["readOnlyRootFilesystem"] is True
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert not {"privileged", "runAsUser"} & context.keys()
    assert spec["automountServiceAccountToken"] is False
    assert "restartPolicy" not in container, "a native sidecar"
    assert "USER 1000:1000\n" in (EXAMPLE / "Dockerfile").read_text()


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_finds_its_secret_and_its_folders(name: str) -> None:
    """Every mount is a volume of the pod, the secret's file is where the variable says."""
    workload, container = CONTAINERS[name]
    volumes = {volume["name"]: volume for volume in pod(workload)["volumes"]}
    mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
    env = {entry["name"]: entry.get("value") for entry in container["env"]}
    folder, _, file = env["DATABASE_URL_FILE"].rpartition("/")

    assert file in {item["path"] for item in mounts[folder]["secret"]["items"]}
    assert "emptyDir" in mounts["/tmp"]  # noqa: S108  the container's
    assert pod(workload)["securityContext"]["fsGroup"] == 1000


def test_one_image_and_one_release() -> None:
    """All containers have the same image, and its tag is the release that the ledger gets."""
    images = {container["image"] for _, container in CONTAINERS.values()}
    env = [entry for _, container in CONTAINERS.values() for entry in container["env"]]
    releases = {entry["value"] for entry in env if entry["name"] == "ENTRYPOINT_RELEASE"}

    assert len(images) == 1
    assert {image.rpartition(":")[2] for image in images} == releases


def test_only_the_service_keeps_the_images_entrypoint() -> None:
    """`prepare` replaces it by itself; the service's container must not, nor its arguments."""
    for _, container in CONTAINERS.values():
        replaced = {key: container[key] for key in ("command", "args") if key in container}
        prepare = ["/opt/entrypoint/bin/entrypoint", "prepare"]
        assert replaced == ({"command": prepare} if container["name"] == "prepare" else {})


def test_only_the_init_container_has_the_admin_url() -> None:
    """The service's own container is given no right beyond its database's."""
    having = [
        name
        for name, (_, container) in CONTAINERS.items()
        if "ENTRYPOINT_ADMIN_URL" in {entry["name"] for entry in container["env"]}
    ]
    assert having == ["init-container/prepare"]


def test_every_secret_is_made_by_a_command() -> None:
    """Each key that a pod cannot start without is in a command that creates its Secret."""
    needed = set()
    for workload, container in CONTAINERS.values():
        values = [
            entry["valueFrom"]["secretKeyRef"] for entry in container["env"] if "valueFrom" in entry
        ]
        needed |= {(ref["name"], ref["key"]) for ref in values if not ref.get("optional")}
        secrets = [volume["secret"] for volume in pod(workload)["volumes"] if "secret" in volume]
        needed |= {(each["secretName"], item["key"]) for each in secrets for item in each["items"]}
    text = "".join(path.read_text() for path in FOLDER.iterdir())
    made = re.findall(r"kubectl create secret generic (\S+) --from-literal=([^=]+)=", text)

    assert needed == {
        ("gaqno-rpg-service", "database-url"),
        ("gaqno-rpg-service-admin", "admin-url"),
    }
    assert needed <= set(made)


def commands(name: str) -> str:
    """The shell commands that a file begins with."""
    return "".join(re.findall(r"^#   (.*\n)", (FOLDER / name).read_text(), re.MULTILINE))


KUBECTL = """#!/bin/sh
case "$*" in
create*) echo job.batch/made ;;
"wait --for=condition=$BECOMES "*"job.batch/made") ;;
wait*--for=condition=*) exec sleep 600 ;;
*) echo "$*" >>"$SAID" ;;
esac
"""
"""Answers as kubectl does about a Job that became complete or failed; the other wait goes on."""


@pytest.mark.parametrize("becomes", ["complete", "failed"])
@pytest.mark.parametrize("options", ["-c", "-ec"])
def test_a_pipeline_goes_on_only_after_a_job_that_is_complete(
    becomes: str, options: str, tmp_path: Path
) -> None:
    """The commands end as soon as the Job has, either way, and leave nobody waiting."""
    (tmp_path / "kubectl").write_text(KUBECTL)
    (tmp_path / "kubectl").chmod(0o755)
    said = tmp_path / "said"
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin", "BECOMES": becomes, "SAID": str(said)}

    # Its stdout is at its end only when nobody has it any more.
    argv = ["bash", options, commands("job.yml")]
    done = subprocess.run(argv, env=environ, capture_output=True, check=False, timeout=60)

    if becomes == "complete":
        assert done.returncode == 0
        assert said.read_text() == "apply -f deploy/kubernetes/deployment.yml\n"
    else:
        assert done.returncode == 1
        assert said.read_text() == "logs --tail=20 job.batch/made\n"


def test_a_pipeline_waits_for_longer_than_a_job_may_take() -> None:
    """Nobody gives up on a Job before its own deadline, and its pod's grace after it."""
    waits = re.findall(r"--timeout=(\d+)m", commands("job.yml"))
    longest_s = JOB["spec"]["activeDeadlineSeconds"] + pod(JOB)["terminationGracePeriodSeconds"]
    assert len(waits) == 2
    assert min(int(minutes) * 60 for minutes in waits) > longest_s
