"""The shape of the tests where no tool looks: every one states a claim."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def claims(path: Path) -> dict[str, str]:
    """The docstring of every test in a file."""
    tree = ast.walk(ast.parse(path.read_text()))
    functions = [node for node in tree if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    tests = [node for node in functions if node.name.startswith("test_")]
    return {node.name: ast.get_docstring(node) or "" for node in tests}


@pytest.mark.parametrize("path", TESTS, ids=name)
def test_every_test_states_its_claim(path: Path) -> None:
    """Every test has a docstring that says in a sentence what it proves."""
    found = claims(path)
    assert found
    assert [test for test, claim in found.items() if not claim.endswith(".")] == []


@pytest.mark.parametrize("path", TESTS, ids=name)
def test_no_claim_is_made_twice(path: Path) -> None:
    """A docstring that stands above two tests says too little about one of them."""
    found = list(claims(path).values())
    assert [claim for claim in found if found.count(claim) > 1] == []


def test_a_class_has_a_name_of_its_own() -> None:
    """No two classes of the package have one name, so a name in a traceback is one place."""
    found: dict[str, list[str]] = {}
    for path in (ROOT / "entrypoint").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(name(path))
    assert {each: where for each, where in found.items() if len(where) > 1} == {}
