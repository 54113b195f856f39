"""`check`: what is wrong with an image, without a network and without a deployment's variables."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.program import Program, namespaces, python, toml

if TYPE_CHECKING:
    from pathlib import Path

CANARY = "canary-5e7d"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A service's image in which all is well."""
    (tmp_path / "push.js").touch()
    (tmp_path / "main.js").touch()
    write(tmp_path)
    return tmp_path


def write(folder: Path, **sections: dict[str, object]) -> None:
    """Write the settings, with a push and whatever else."""
    push: dict[str, object] = {"command": python("push"), "inputs": ["push.js"]}
    every: dict[str, dict[str, object]] = {"push": push, **sections}
    (folder / "entrypoint.toml").write_text(toml(every, service="gaqno-rpg-service"))


def checked(folder: Path, *words: str, **variables: str) -> tuple[int, dict[str, Any]]:
    """The exit code, and the answer to --json."""
    environ = {"PATH": os.environ["PATH"], **variables}
    program = Program.start("check", "--json", *words, environ=environ, directory=folder)
    code = program.wait()
    assert program.events == [], program.output
    answer: dict[str, Any] = json.loads(program.stdout)
    return code, answer


def messages(answer: dict[str, Any]) -> list[tuple[str, str]]:
    """Each problem's level and message."""
    return [(each["level"], each["message"]) for each in answer["problems"]]


def test_nothing_is_wrong(folder: Path) -> None:
    """Neither a URL nor a tenant nor a port is there, which only the deployment knows."""
    write(folder, seed={"command": python("seed", "{tenant_id}"), "when": "always"})

    code, answer = checked(folder, "--", sys.executable, "main.js")

    assert (code, answer) == (
        0,
        {"format": 1, "service": "gaqno-rpg-service", "uid": os.geteuid(), "problems": []},
    )


def test_all_at_once(folder: Path) -> None:
    """Settings, inputs, programs and the service's command; a warning is no error."""
    (folder / "push.sh").write_text("#!/bin/sh\r\n")
    (folder / "push.sh").chmod(0o755)
    write(folder, push={"command": ["./push.sh"]}, health={"url": "http://127.0.0.1:${PORT}/"})
    code, answer = checked(folder, "--", "node-that-is-missing", "main.js")
    assert code == 3
    assert messages(answer) == [
        ("error", "push.command: './push.sh' has a carriage return at the end of its #! line"),
        ("warning", "entrypoint.toml: health.url needs the variable PORT, which is not set"),
        ("error", "the service's command: 'node-that-is-missing' is not found on PATH"),
    ]

    write(folder, push={"command": ["no-push"], "inputs": ["x/**"]}, seed={"command": ["no-seed"]})
    code, answer = checked(folder, "--", sys.executable, "dist/main.js")
    assert code == 3
    assert messages(answer) == [
        ("error", "push.command: 'no-push' is not found on PATH"),
        ("error", "push.inputs: 'x/**' matches no file"),
        ("error", "seed.command: 'no-seed' is not found on PATH"),
        ("error", f"the service's command: the file 'dist/main.js' is not in {folder}"),
    ]

    (folder / "entrypoint.toml").write_text("service = 1\n[push]\ncomand = []\n")
    code, answer = checked(folder)
    assert code == 3
    assert [level for level, _ in messages(answer)] == ["error"] * 2


def test_a_warning_alone(folder: Path) -> None:
    """It ends with 0."""
    write(folder, health={"url": "http://127.0.0.1:4001/"})

    code, answer = checked(folder, PORT="4002")

    assert (code, messages(answer)) == (
        0,
        [("warning", "health.url asks port 4001, and PORT is 4002")],
    )


def test_the_deployment_s_variables_too(folder: Path) -> None:
    """In CI they may be there; they are checked as a start would, and never shown."""
    code, answer = checked(folder, DATABASE_URL=f"postgres://u:{CANARY}@db/postgres")

    assert code == 3
    assert "which must hold no application table" in messages(answer)[0][1]
    assert CANARY not in json.dumps(answer)


def test_without_a_network(folder: Path) -> None:
    """It connects to nothing: neither a server, nor a gate, nor a name server is there."""
    write(folder, notify={"url": "http://hooks.invalid/"})
    environ = {"PATH": os.environ["PATH"], "DATABASE_URL": "postgres://u:p@db.invalid/gaqno_rpg_db"}

    program = Program.start("check", environ=environ, directory=folder, through=namespaces("--net"))

    assert program.wait() == 0, program.output


def test_annotations(folder: Path) -> None:
    """One line each, which no name can break."""
    write(folder, push={"command": ["no\npush", "100%"]})
    environ = {"PATH": os.environ["PATH"]}

    program = Program.start("check", "--github", environ=environ, directory=folder)

    assert program.wait() == 3
    [line] = program.stdout.decode().splitlines()
    assert line.startswith("::error title=entrypoint check::push.command: 'no\\npush' is not found")


def test_no_folder_for_the_state(folder: Path, tmp_path: Path) -> None:
    """The user who checks is the one who would start."""
    kept = tmp_path / "kept"
    code, answer = checked(folder, ENTRYPOINT_STATE_DIR=str(kept))

    assert code == 0
    [(level, message)] = messages(answer)
    assert level == "warning"
    assert f"can write to none of {kept}" in message
