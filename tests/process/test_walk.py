"""The three changes of CONTRIBUTING's walk: each applies to a copy of the tree, and works there."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sysconfig
import venv
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.docs import block, page
from tests.support.manifests import ROOT

if TYPE_CHECKING:
    from tests.support.server import Server

WALK = page("CONTRIBUTING").partition("newcomer's walk")[2].partition("\n## ")[0]
CHANGES = re.findall(r"^### (.+)$", WALK, re.MULTILINE)
TOOL, FINDING, SETTING = CHANGES

MAX_FILES = 3

COPIED = ("bench", "docs", "entrypoint", "tests", "CONTRIBUTING.md", "pyproject.toml")

PUSH = """
import os, psycopg
psycopg.connect(os.environ["DATABASE_URL"], autocommit=True).execute("create table walk ()")
"""
"""A push that makes a table."""


class Copy:
    """A copy of the tree, with an interpreter that imports it and the packages of ours."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in COPIED:
            if (ROOT / name).is_dir():
                ignore = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / name, root / name, ignore=ignore)
            else:
                shutil.copy(ROOT / name, root)
        venv.create(root / ".venv", symlinks=True)
        own = sysconfig.get_path("purelib", vars={"base": str(root / ".venv")})
        (Path(own) / "walk.pth").write_text(f"{root}\n{sysconfig.get_path('purelib')}\n")

    def run(self, *words: str, **environ: str) -> str:
        """Run a program in it, which succeeds; all that it prints."""
        path = f"{self.root / '.venv/bin'}:{os.environ['PATH']}"
        done = subprocess.run(
            words,
            cwd=self.root,
            env={"PATH": path, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def python(self, *words: str, **environ: str) -> str:
        """Run its Python; all that it prints."""
        return self.run("python", *words, **environ)

    def apply(self, heading: str) -> None:
        """Apply the diff below a heading of the walk, which leaves nothing to a linter."""
        (self.root / "walk.diff").write_text(block("CONTRIBUTING", heading, "diff"))
        self.run("git", "apply", "walk.diff")
        self.python("-m", "ruff", "check", "--quiet", "--no-cache", "entrypoint", "tests")
        self.python("-m", "ruff", "format", "--check", "--no-cache", "entrypoint", "tests")

    def test(self, *words: str) -> None:
        """Run the change's own tests."""
        self.python("-m", "pytest", "--quiet", "-p", "no:cacheprovider", *words)

    def documented(self, name: str) -> str:
        """A page of the reference, as `make docs` writes it anew."""
        assert f"{name}.md" in self.python("docs/generate.py")
        return (self.root / f"docs/reference/{name}.md").read_text()


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    """A copy of the tree without a change."""
    return Copy(tmp_path)


@pytest.mark.parametrize("heading", CHANGES)
def test_a_change_needs_three_files(heading: str) -> None:
    """With its test among them."""
    files = re.findall(r"^\+\+\+ b/(\S+)$", block("CONTRIBUTING", heading, "diff"), re.MULTILINE)
    assert len(files) <= MAX_FILES
    assert any(name.startswith("tests/") for name in files)


@pytest.mark.long
def test_a_start_knows_the_new_tool(copy: Copy, own_server: Server) -> None:
    """The start believes goose's last line."""
    copy.apply(TOOL)
    copy.test("tests/unit/test_words.py", "tests/unit/test_tools.py", "-k goose or documents")
    line = "2026/03/06 15:03:14 goose: successfully migrated database to version: 2"
    log = copy.python("-I", "-m", "entrypoint", "prepare", **start(own_server, f"print({line!r})"))
    assert '"output": "goose: succeeded"' in log


@pytest.mark.long
def test_verify_reports_the_new_finding(copy: Copy) -> None:
    """Its test has a real database; the page of findings has its row."""
    copy.apply(FINDING)
    copy.test("tests/operator/test_hygiene.py", "-k test_a_template")
    assert "| `template` | notice |" in copy.documented("findings")


@pytest.mark.long
def test_a_start_obeys_the_new_setting(copy: Copy, own_server: Server) -> None:
    """The push lacks the variable; the page of settings has the key."""
    copy.apply(SETTING)
    copy.test("tests/unit/test_settings.py", "-k push_does_not_get or sample")
    tracer = "print('tracer:', os.environ.get('TRACER'))"
    environ = start(own_server, tracer, TRACER="on", ENTRYPOINT_PUSH_UNSET_ENV="TRACER")
    assert '"tracer: None"' in copy.python("-I", "-m", "entrypoint", "prepare", **environ)
    assert "| `push.unset_env` |" in copy.documented("settings")


def start(server: Server, push: str, **more: str) -> dict[str, str]:
    """The variables of a start whose push makes a table and then runs this code."""
    command = shlex.join(["python", "-c", PUSH + push])
    return {"DATABASE_URL": server.url("walk"), "ENTRYPOINT_PUSH_COMMAND": command, **more}
