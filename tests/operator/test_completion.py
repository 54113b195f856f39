"""Completion scripts: shells accept them, and bash completes with them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.operator.conftest import RPG, SERVICES

if TYPE_CHECKING:
    from pathlib import Path

COMMANDS = [
    *("check", "completion", "create", "env", "health", "plan", "prepare", "previews"),
    *("run", "status", "transfer", "url", "verify"),
]


def script(shell: str, directory: Path | None = None) -> str:
    """What the program prints for a shell; no server is needed, nor any variable."""
    command = [sys.executable, "-I", "-m", "entrypoint", "completion", shell]
    done = subprocess.run(
        command, env={}, cwd=directory, capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stderr == ""
    return done.stdout


@pytest.fixture(scope="module")
def bash() -> str:
    """Bash's script."""
    return script("bash")


def completed(bash: str, *words: str) -> list[str]:
    """What bash offers for the last of these words."""
    ask = (
        f"{bash}\n[[ $(complete -p entrypoint) = *' -F _entrypoint entrypoint' ]] || exit 3\n"
        'COMP_WORDS=(entrypoint "$@"); COMP_CWORD=$#; _entrypoint; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    command = ["bash", "--norc", "--noprofile", "-uc", ask, "bash", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert done.stderr == ""
    return sorted(filter(None, done.stdout.splitlines()))


@pytest.mark.parametrize(("shell", "check"), [("bash", "-n"), ("zsh", "-n"), ("fish", "-n")])
def test_a_shell_accepts_it(shell: str, check: str) -> None:
    """Where the shell is installed, it finds no error; the script is there for all three."""
    text = script(shell)
    assert all(command in text for command in COMMANDS)
    assert all(service in text for service in SERVICES)
    if shutil.which(shell):
        subprocess.run([shell, check], input=text, text=True, check=True, timeout=30)


def test_commands(bash: str) -> None:
    """The first word is a command."""
    assert completed(bash, "") == COMMANDS
    assert completed(bash, "ver") == ["verify"]
    assert completed(bash, "x") == []


def test_options(bash: str) -> None:
    """A command's own, in their long form."""
    assert completed(bash, "verify", "--") == [
        "--help",
        "--html",
        "--ignore",
        "--json",
        "--server",
        "--service",
        "--sort",
        "--sql",
        "--strict",
    ]
    assert completed(bash, "status", "--w") == ["--watch"]
    assert completed(bash, "create", "--service", RPG, "--d") == ["--dry-run"]
    assert completed(bash, "completion", "") == ["--help", "bash", "fish", "zsh"]
    assert completed(bash, "no-such-command", "") == []


def test_services(bash: str) -> None:
    """Every registered service, where one may be named."""
    for words in (
        ["verify", "--service"],
        ["status", "--service"],
        ["create", "--service"],
        ["previews", "--service"],
        ["url"],
        ["transfer"],
    ):
        assert completed(bash, *words, "gaqno-") == sorted(SERVICES)
        assert completed(bash, *words, "gaqno-r") == [RPG]
    assert completed(bash, "run", "gaqno-") == completed(bash, "prepare", "gaqno-") == []


HOSTILE = "x'; touch hit; '"


def test_services_of_one_s_own(tmp_path: Path) -> None:
    """The registry of the folder counts; a name that a shell would evaluate is left out."""
    rows = (
        f'["{name}"]\ndatabase = "d{n}"\n' for n, name in enumerate(("orders", HOSTILE, "$(x)"))
    )
    (tmp_path / "entrypoint.toml").write_text('services = "team.toml"\n')
    (tmp_path / "team.toml").write_text("".join(rows))

    own = script("bash", tmp_path)
    assert completed(own, "verify", "--service", "") == sorted(
        ["database", "name", "orders", "size", *completed(own, "verify", "--service", "--")]
    )
    assert "touch" not in own
    (tmp_path / "team.toml").write_text("[orders")
    assert "orders" not in script("bash", tmp_path)


def test_an_unknown_shell() -> None:
    """Wrong usage: exit 2, and which there are."""
    command = [sys.executable, "-I", "-m", "entrypoint", "completion", "tcsh"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stdout) == (2, "")
    assert all(shell in done.stderr for shell in ("bash", "zsh", "fish"))
