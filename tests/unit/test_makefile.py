"""What `make image` tells the builds."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from entrypoint import __version__

ROOT = Path(__file__).parents[2]
SOME = ["-c", "user.name=Some", "-c", "user.email=some@example.org"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """What the Makefile reads for a build, in no repository."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "entrypoint").mkdir()
    shutil.copy(ROOT / "entrypoint/__init__.py", tmp_path / "entrypoint")
    return tmp_path


def run(tree: Path, *words: str) -> str:
    """Run a program there; what it prints."""
    return subprocess.run(words, cwd=tree, check=True, capture_output=True, text=True).stdout


def arguments(tree: Path) -> dict[str, str]:
    """The arguments that each build gets, as the shell expands them."""
    told = run(tree, "make", "--silent", "image-slim", "DOCKER=echo")
    return dict(re.findall(r"--build-arg (\w+)=(\S*)", told))


def commit(tree: Path) -> str:
    """Commit all that is there; the commit."""
    run(tree, "git", "init", "--quiet")
    run(tree, "git", "add", ".")
    run(tree, "git", *SOME, "commit", "--quiet", "--message=All")
    return run(tree, "git", "rev-parse", "HEAD").strip()


def test_an_image_of_a_tag_has_the_commit_as_its_revision(tree: Path) -> None:
    """A release's annotated tag does not stand in for it; the version is that of the code."""
    revision = commit(tree)
    run(tree, "git", *SOME, "tag", "--annotate", f"v{__version__}", "--message=A release")

    assert arguments(tree)["VERSION"] == __version__
    assert arguments(tree)["REVISION"] == revision


def test_an_image_of_a_changed_tree_says_so(tree: Path) -> None:
    """What is not committed cannot be found by its revision."""
    revision = commit(tree)
    with (tree / "Makefile").open("a") as opened:
        opened.write("# changed\n")

    assert arguments(tree)["REVISION"] == f"{revision}-dirty"


def test_an_image_of_no_repository_has_no_known_revision(tree: Path) -> None:
    """A source archive builds too."""
    assert arguments(tree)["REVISION"] == "unknown"
