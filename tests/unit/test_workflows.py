""".github/workflows/ is what GitHub accepts, and builds and tests what the Makefile does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from entrypoint import __version__

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").iterdir())
CHECK = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]


def workflow(name: str) -> dict[str, Any]:
    """A workflow; YAML 1.1 reads its `on` as true."""
    found = yaml.safe_load((ROOT / ".github/workflows" / name).read_text())
    assert isinstance(found, dict)
    return found


CI, IMAGE = workflow("ci.yml"), workflow("image.yml")


def steps(jobs: dict[str, Any], key: str) -> list[str]:
    """What all steps of a workflow's jobs have under a key."""
    every = [step for job in jobs["jobs"].values() for step in job.get("steps", [])]
    return [step[key] for step in every if key in step]


def test_github_accepts_them() -> None:
    """Both fit the schema of workflows."""
    assert [path.name for path in WORKFLOWS] == ["ci.yml", "image.yml"]
    done = subprocess.run([*CHECK, *WORKFLOWS], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_check_refuses_what_github_does_not_know(tmp_path: Path) -> None:
    """A misspelt key of a job does not pass."""
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(WORKFLOWS[0].read_text().replace("runs-on:", "run-on:", 1))
    done = subprocess.run([*CHECK, wrong], check=False, capture_output=True, text=True)
    assert done.returncode == 1


@pytest.mark.parametrize("found", [CI, IMAGE], ids=["ci", "image"])
def test_a_workflow_may_only_read_the_repository(found: dict[str, Any]) -> None:
    """No job has another permission, and every action is pinned to a major version."""
    assert found["permissions"] == {"contents": "read"}
    assert [job for job in found["jobs"].values() if "permissions" in job] == []
    assert [name for name in steps(found, "uses") if not re.fullmatch(r"[\w./-]+@v\d+", name)] == []


def test_ci_runs_what_a_person_runs() -> None:
    """Its commands are the Makefile's targets, on every Python that the package supports."""
    made = [word for run in steps(CI, "run") for word in re.findall(r"^make ([\w-]+)", run)]
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    pythons = CI["jobs"]["test"]["strategy"]["matrix"]["python"]
    oldest = re.search(r'requires-python = ">=([\d.]+)"', (ROOT / "pyproject.toml").read_text())

    assert made == ["lint", "test", "test-docker"]
    assert set(made) <= set(targets)
    assert oldest
    assert pythons[0] == oldest[1]
    assert pythons == ["3.11", "3.12", "3.13"]


def test_both_architectures_are_built_and_tested_as_such() -> None:
    """amd64 and arm64 each have their own machine, for the container tests and for the images."""
    both = ["ubuntu-24.04", "ubuntu-24.04-arm"]

    assert CI["jobs"]["containers"]["strategy"]["matrix"]["runner"] == both
    assert IMAGE["jobs"]["build"]["strategy"]["matrix"]["runner"] == both
    assert IMAGE["jobs"]["ci"] == {"uses": "./.github/workflows/ci.yml"}
    assert IMAGE["jobs"]["build"]["needs"] == "ci"


def test_every_image_of_the_makefile_is_published() -> None:
    """Each flavour is built from the Makefile's target, on the base that the tests ran on."""
    makefile = (ROOT / "Makefile").read_text()
    made = set(re.findall(r"--target (\w+)[^\n]*(?:\n\t[^\n]*)?1-(\w+) \.", makefile))
    matrix = IMAGE["jobs"]["build"]["strategy"]["matrix"]
    bases = dict(re.findall(r"^PYTHON_(SLIM|ALPINE) \?= (\S+)$", makefile, re.MULTILINE))
    tested = re.findall(r"PYTHON_SLIM=(\S+)", "\n".join(steps(CI, "run")))
    [build] = [step for step in IMAGE["jobs"]["build"]["steps"] if step.get("id") == "build"]

    assert {(each["target"], each["flavour"]) for each in matrix["include"]} == made
    assert matrix["flavour"] == IMAGE["jobs"]["publish"]["strategy"]["matrix"]["flavour"]
    assert {each["python"] for each in matrix["include"]} == {bases["ALPINE"], *tested}
    assert tested == [f"{bases['SLIM']}-bookworm"]
    assert (build["with"]["provenance"], build["with"]["sbom"]) == ("mode=max", True)


def test_a_release_publishes_the_tags_that_are_copied_from() -> None:
    """A tag is that of the code, and its major version is that of every image that is named."""
    files = ["Makefile", "Dockerfile", "README.md", "docker-compose.test.yml"]
    files += [str(path) for path in ROOT.glob("examples/*/Dockerfile")]
    named = {
        major
        for file in files
        for major in re.findall(r"gaqno/entrypoint:(\d+)-", (ROOT / file).read_text())
    }
    checks = [run for run in steps(IMAGE, "run") if "grep -Fx" in run]
    published = [run for run in steps(IMAGE, "run") if "imagetools create" in run]

    assert named == {__version__.partition(".")[0]}
    assert len(checks) == len(published) == 1
    assert "${version%%.*}" in published[0]
