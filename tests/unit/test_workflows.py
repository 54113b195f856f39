""".github/workflows/ is what GitHub accepts, and builds and tests what the Makefile does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from entrypoint import __version__
from tests.support import formats

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").iterdir())
DEPENDABOT = ROOT / ".github/dependabot.yml"

READ = {"contents": "read"}
MORE = {"publish": {"id-token": "write", "attestations": "write"}}
"""The permissions of the jobs that need more: here, to sign what they publish."""

OTHERS = ("pull_request_target", "workflow_run", "issue_comment", "issues")
"""Triggers that run with the repository's rights on what somebody else wrote."""


def workflow(name: str) -> dict[Any, Any]:
    """A workflow; YAML 1.1 reads its `on` as true."""
    found = yaml.safe_load((ROOT / ".github/workflows" / name).read_text())
    assert isinstance(found, dict)
    return found


CI, IMAGE = workflow("ci.yml"), workflow("image.yml")


def complaints(text: str) -> set[str]:
    """How a workflow would let somebody else's code, or somebody else, do more than it must."""
    found = yaml.safe_load(text)
    jobs = found["jobs"]
    every = [step for job in jobs.values() for step in job.get("steps", [])]
    checkouts = [step for step in every if "actions/checkout@" in step.get("uses", "")]
    uses = [line for line in text.splitlines() if re.match(r"\s*(- )?[\"']?uses\b", line)]
    pinned = r"\s*(- )?uses: (\./\S+|[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+)"
    faults = {
        "permissions of the workflow": found.get("permissions") != READ,
        "permissions of a job": any(
            job.get("permissions", MORE.get(name)) != MORE.get(name) for name, job in jobs.items()
        ),
        "secrets of a job": any("secrets" in job for job in jobs.values()),
        "trigger": not set(OTHERS).isdisjoint(found[True]),
        "expression in a shell": any("${{" in step.get("run", "") for step in every),
        "credentials": any(
            step.get("with", {}).get("persist-credentials", True) for step in checkouts
        ),
        "pin": not all(re.fullmatch(pinned, line) for line in uses),
    }
    return {fault for fault, there in faults.items() if there}


def steps(jobs: dict[str, Any], key: str) -> list[str]:
    """What all steps of a workflow's jobs have under a key."""
    every = [step for job in jobs["jobs"].values() for step in job.get("steps", [])]
    return [step[key] for step in every if key in step]


def test_github_accepts_them() -> None:
    """All fit the schema of workflows."""
    assert [path.name for path in WORKFLOWS] == ["audit.yml", "ci.yml", "image.yml"]
    assert formats.complaints("vendor.github-workflows", *WORKFLOWS) == ""


@pytest.mark.parametrize("name", ["bug", "question", "config"])
def test_github_accepts_the_issue_templates(name: str) -> None:
    """They fit the schema of forms, and a bug's needs the last event and the exit code."""
    path = ROOT / f".github/ISSUE_TEMPLATE/{name}.yml"
    schema = f"vendor.github-issue-{'config' if name == 'config' else 'forms'}"
    assert formats.complaints(schema, path) == ""
    if name == "bug":
        fields = {each.get("id"): each for each in yaml.safe_load(path.read_text())["body"]}
        assert fields["event"]["validations"]["required"]
        assert fields["exit-code"]["validations"]["required"]


def test_the_check_refuses_what_github_does_not_know(tmp_path: Path) -> None:
    """A misspelt key of a job does not pass."""
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(WORKFLOWS[0].read_text().replace("runs-on:", "run-on:", 1))
    assert "'runs-on' is a required property" in formats.complaints(
        "vendor.github-workflows", wrong
    )


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_gives_nothing_away(path: Path) -> None:
    """It may read, its actions are pinned by commit, no token is left, no shell runs others' words.

    One job may sign, and nothing else.
    """
    assert complaints(path.read_text()) == set()


@pytest.mark.parametrize(
    ("right", "wrong", "complaint"),
    [
        (r"@[0-9a-f]{40} # v", "@v", "pin"),
        (r"@[0-9a-f]{40} # v", "@main # v", "pin"),
        (r"(@[0-9a-f]{40}) # v\S+", r"\1", "pin"),
        (r"(@[0-9a-f]{39})[0-9a-f] # v", r"\1 # v", "pin"),
        (
            r"permissions:\n  contents: read",
            "permissions: write-all",
            "permissions of the workflow",
        ),
        (r"permissions:\n  contents: read\n", "", "permissions of the workflow"),
        (r"contents: read", "contents: write", "permissions of the workflow"),
        (
            r"    runs-on: ubuntu-24.04\n",
            r"\g<0>    permissions: {packages: write}\n",
            "permissions of a job",
        ),
        (r"jobs:\n  \w+:\n", r"\g<0>    secrets: inherit\n", "secrets of a job"),
        (r"on:\n", r"on:\n  pull_request_target:\n", "trigger"),
        (r"        with:\n          persist-credentials: false\n", "", "credentials"),
        (r"persist-credentials: false", "persist-credentials: true", "credentials"),
        (r"run: make", "run: echo ${{ github.head_ref }}; make", "expression in a shell"),
    ],
)
def test_a_workflow_that_gives_something_away_is_found(
    right: str, wrong: str, complaint: str
) -> None:
    """Each of these changes to a workflow that is well makes the same check complain of it."""
    for name in ("audit.yml", "ci.yml"):
        text = (ROOT / ".github/workflows" / name).read_text()
        changed, count = re.subn(right, wrong, text, count=1)
        assert count == 1
        assert complaints(changed) == {complaint}


def test_only_what_is_published_is_signed() -> None:
    """The job that may sign runs no code of the repository, and signs the digest that it made."""
    [signed] = [job for job in IMAGE["jobs"].values() if "permissions" in job]
    [last] = [step for step in signed["steps"] if "actions/attest@" in step.get("uses", "")]

    assert signed is IMAGE["jobs"]["publish"]
    assert [step for step in signed["steps"] if "actions/checkout@" in step.get("uses", "")] == []
    assert signed["steps"][-1] is last
    assert last["with"]["subject-name"] == "${{ env.IMAGE }}"
    assert last["with"]["subject-digest"] == "${{ steps.tags.outputs.digest }}"
    [tags] = [step["run"] for step in signed["steps"] if step.get("id") == "tags"]
    assert '"containerimage.descriptor".digest' in tags


def test_what_is_pinned_does_not_rot() -> None:
    """Newer actions and packages are proposed, and GitHub accepts how that is asked for."""
    asked = yaml.safe_load(DEPENDABOT.read_text())["updates"]

    assert formats.complaints("vendor.dependabot", DEPENDABOT) == ""
    assert {(each["package-ecosystem"], each["directory"]) for each in asked} == {
        ("github-actions", "/"),
        ("pip", "/requirements"),
    }


def test_the_network_is_asked_every_week() -> None:
    """A vulnerability that the repository's list does not know yet is found without a commit."""
    audit = workflow("audit.yml")
    assert audit[True]["schedule"] == [{"cron": "17 5 * * 1"}]
    assert steps(audit, "run") == ["make audit PYTHON=python"]


def test_ci_runs_what_a_person_runs() -> None:
    """Its commands are the Makefile's targets, on every Python that the package supports."""
    made = [word for run in steps(CI, "run") for word in re.findall(r"^make ([\w-]+)", run)]
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    pythons = CI["jobs"]["test"]["strategy"]["matrix"]["python"]
    oldest = re.search(r'requires-python = ">=([\d.]+)"', (ROOT / "pyproject.toml").read_text())

    assert made == ["lint", "test-all", "test-docker"]
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
    files = ["Makefile", "Dockerfile", "README.md", "docs/image.md", "docker-compose.test.yml"]
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
