"""Which tests `make test` runs: tests/support/rings.py, in a pytest of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.versions import ALL

ROOT = Path(__file__).parents[2]

FILE = f"""
import pytest

def test_first(): pass

@pytest.mark.parametrize("major", [{min(ALL)}, {max(ALL)}])
@pytest.mark.parametrize("word", ["one", "two"])
def test_second(major, word): pass

def test_third(): pass
"""

LONG = """
import pytest

@pytest.mark.long
def test_marked(): pass
"""

SETTINGS = "[pytest]\ntestpaths = tests\nmarkers = long: of the long ring\n"


def chosen(folder: Path, *words: str) -> tuple[set[str], str]:
    """The tests that a run has, and its last lines."""
    (folder / "pytest.ini").write_text(SETTINGS)
    for name, text in {"unit": FILE, "process": FILE, "operator": LONG}.items():
        file = folder / "tests" / name / f"test_{name}.py"
        file.parent.mkdir(parents=True)
        file.write_text(text)
    argv = [sys.executable, "-m", "pytest", "-p", "tests.support.rings", "-v", *words]
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = subprocess.run(argv, cwd=folder, env=environ, capture_output=True, text=True, check=True)
    passed = [line for line in done.stdout.splitlines() if "PASSED" in line]
    tests = {word.partition("/")[2] for line in passed for word in line.split() if "::" in word}
    return tests, done.stdout


@pytest.mark.parametrize("workers", ["0", "2"])
def test_the_fast_ring(tmp_path: Path, workers: str) -> None:
    """It has every unit test on the newest PostgreSQL, and a file's first ones elsewhere."""
    tests, told = chosen(tmp_path, "--fast", "-n", workers)

    newest = f"test_second[one-{max(ALL)}]"
    assert tests == {
        "process/test_process.py::test_first",
        f"process/test_process.py::{newest}",
        "unit/test_unit.py::test_first",
        f"unit/test_unit.py::{newest}",
        f"unit/test_unit.py::{newest.replace('one', 'two')}",
        "unit/test_unit.py::test_third",
    }
    assert "The long ring has 7 tests more: make test-all" in told


@pytest.mark.parametrize("words", [("tests/process", "tests/operator"), ("-k", "not unit")])
def test_a_test_that_is_named_runs(tmp_path: Path, words: tuple[str, ...]) -> None:
    """A path, or words with -k, choose from both rings."""
    tests, told = chosen(tmp_path, "--fast", *words)

    assert len(tests) == 7
    assert "operator/test_operator.py::test_marked" in tests
    assert "long ring" not in told


def test_all(tmp_path: Path) -> None:
    """Without --fast every test runs."""
    tests, told = chosen(tmp_path)

    assert len(tests) == 13
    assert "long ring" not in told
