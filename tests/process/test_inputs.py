"""What counts as a push's input, seen from the starts that follow."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.program import python
from tests.unit.test_inputs import pod

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.program import Program
    from tests.support.stage import Stage


def done(program: Program) -> Program:
    """It ended well."""
    assert program.wait() == 0, program.output
    return program


def pushed(program: Program) -> Any:  # noqa: ANN401  JSON's own
    """Why a start pushed, or did not."""
    [event] = [e for e in done(program).events if e["event"] in ("push.started", "push.skipped")]
    return event["reason"]


def refused(program: Program) -> list[str]:
    """What a start that ends with exit code 3 says of its settings."""
    assert program.wait() == 3, program.output
    event = program.one("settings.failed")
    assert "wait.started" not in program.names()
    return event.get("problems") or [event["error"]]


PUSH = """
import os, runpy, sys
sys.path.insert(0, "migrations")
import env
sys.argv = sys.argv[1:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.long
def test_a_push_that_compiles_its_inputs(stage: Stage) -> None:
    """Python writes __pycache__ beside migrations that are inputs; the next start is unchanged."""
    versions = stage.directory / "migrations/versions"
    versions.mkdir(parents=True)
    (versions / "one.py").write_text("revision = 'one'\n")
    (stage.directory / "migrations/env.py").write_text("from versions import one\n")
    (stage.directory / "push.py").write_text(PUSH)
    stage.push = [sys.executable, "push.py", *stage.push[1:]]
    stage.sections["push"] = {"inputs": ["migrations/**", "push.py"], "on_older": "fail"}
    assert pushed(stage.start()) == "first"
    assert list(versions.glob("__pycache__/*.pyc"))

    assert pushed(stage.start()) == "unchanged"

    (versions / "one.py").write_text("revision = 'two'\n")
    assert pushed(stage.start()) == "changed"


@pytest.mark.long
def test_a_config_map_that_is_replaced(stage: Stage) -> None:
    """Two pods with the same ConfigMap push once; a new one with other content pushes again."""
    one = pod(stage.directory, "2026_11_29_08_15_00.1", {"schema.sql": "one"})
    stage.sections["push"] = {"inputs": ["schema/**"]}
    assert pushed(stage.start()) == "first"
    other = stage.directory.parent / f"{stage.directory.name}-2"
    one.joinpath("schema").rename(stage.directory / "gone")
    pod(other, "2026_11_29_10_00_00.2", {"schema.sql": "one"})
    other.joinpath("schema").rename(stage.directory / "schema")

    assert pushed(stage.start()) == "unchanged"

    data = stage.directory / "schema/..data"
    (stage.directory / "schema/..2026_11_29_11_00_00.3").mkdir()
    (stage.directory / "schema/..2026_11_29_11_00_00.3/schema.sql").write_text("two")
    data.unlink()
    data.symlink_to("..2026_11_29_11_00_00.3")
    assert pushed(stage.start()) == "changed"


def workspace(stage: Stage) -> Path:
    """A package beside the service's folder, which links to it as pnpm does."""
    packages = stage.directory.parent / f"{stage.directory.name}-packages"
    (packages / "schema").mkdir(parents=True)
    (packages / "schema/heroes.ts").write_text("v1")
    (stage.directory / "schema").symlink_to(f"../{packages.name}/schema")
    stage.sections["push"] = {"inputs": ["schema/**"]}
    return packages


def test_a_workspace_s_package_is_no_blind_spot(stage: Stage) -> None:
    """It is refused with link and target, or its files count with the root that is proposed."""
    packages = workspace(stage)
    [problem] = refused(stage.start())
    assert problem == (
        f"push.inputs: the link 'schema' points to '../{packages.name}/schema', outside the "
        f"working directory: set inputs_root to its folder, such as '{packages}/schema'"
    )
    stage.environ["ENTRYPOINT_PUSH_INPUTS_ROOT"] = problem.rpartition("such as ")[2].strip("'")
    assert pushed(stage.start()) == "first"
    assert pushed(stage.start()) == "unchanged"

    (packages / "schema/heroes.ts").write_text("v2")

    assert pushed(stage.start()) == "changed"


def test_all_that_is_missing_is_told_at_once(stage: Stage) -> None:
    """Every pattern of push and seed that matches nothing, and every lost link, in one error."""
    (stage.directory / "lost").symlink_to("nowhere")
    (stage.directory / ".git").mkdir()
    (stage.directory / ".git/HEAD").write_text("ref")
    stage.sections["push"] = {"inputs": ["a/**", "entrypoint.toml", "b.ts", "lost"]}
    stage.sections["seed"] = {"inputs": ["c", ".git"], "inputs_root": "missing"}
    problems = refused(stage.start())
    assert problems[:3] == [
        "push.inputs: 'a/**' matches no file",
        "push.inputs: 'b.ts' matches no file",
        (
            "push.inputs: the link 'lost' points to 'nowhere', which does not exist: remove the "
            "link, or name inputs without it"
        ),
    ]
    assert problems[3:] == ["seed.inputs: the inputs_root 'missing' is not a folder"]
    del stage.sections["seed"]["inputs_root"]
    names = "__pycache__, *.pyc, .git, .hg, .svn, node_modules/.cache"
    assert refused(stage.start())[3:] == [
        "seed.inputs: 'c' matches no file",
        f"seed.inputs: '.git' matches only files that never count ({names})",
    ]


CANARY = "k4nary-of-a-schema"


@pytest.mark.parametrize("proof", ["inputs", "release"])
def test_a_variable_that_the_push_reads(stage: Stage, proof: str) -> None:
    """Another value pushes, so does an empty one; it is nowhere in the log and the ledger."""
    stage.push = python("push", "say", "ok")
    stage.sections["push"] = {"inputs_env": ["SCHEMA", "OTHER"]}
    stage.sections["seed"] = {"inputs_env": ["LOCALE"], "when": "always"}
    stage.environ["ENTRYPOINT_RELEASE"] = "1"
    if proof == "inputs":
        (stage.directory / "schema.ts").write_text("v1")
        stage.sections["push"]["inputs"] = ["schema.ts"]
    outputs = []
    for value, reason in [
        (None, "first"),
        (None, "unchanged"),
        ("", "changed"),
        ("", "unchanged"),
        (CANARY, "changed"),
        (CANARY, "unchanged"),
    ]:
        if value is not None:
            stage.environ["SCHEMA"] = value
        program = stage.start()
        assert pushed(program) == reason
        outputs.append(program.output)
    stage.environ["LOCALE"] = "pt"
    assert done(stage.start()).one("seed.started")["reason"] == "changed"
    with stage.connect() as connection:
        row = connection.execute(
            "select shobj_description(oid, 'pg_database') from pg_database where datname = %s",
            [stage.database],
        ).fetchone()
    assert CANARY not in "".join(outputs) + json.dumps(row)


def test_the_order_of_the_variables_is_no_input(stage: Stage) -> None:
    """The same variables in another order, or one twice, are the same."""
    stage.environ |= {"ENTRYPOINT_RELEASE": "1", "A": "1", "B": os.fsdecode(b"\xff=\n")}
    stage.environ["ENTRYPOINT_PUSH_INPUTS_ENV"] = "A B"
    assert pushed(stage.start()) == "first"
    stage.environ["ENTRYPOINT_PUSH_INPUTS_ENV"] = "B,A,B"
    assert pushed(stage.start()) == "unchanged"
