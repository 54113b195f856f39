"""docs/reference/ says what the code says, and the table of events has every event."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.support.manifests import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

EVENTS: dict[str, dict[str, Any]] = {
    name: row
    for part in tomllib.loads((ROOT / "docs/events.toml").read_text()).values()
    for name, row in part.items()
}


def test_the_pages_are_fresh() -> None:
    """`make docs` would change nothing."""
    check = [sys.executable, "docs/generate.py", "--check"]
    done = subprocess.run(check, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0), "run `make docs`"


class Logged(NamedTuple):
    """A call that logs an event; in a name ``<step>`` stands for each step or command."""

    names: list[str]
    levels: list[str]
    fields: set[str]


def texts(node: ast.expr) -> list[str]:
    """What an argument may be. Raises ValueError for what cannot be read in the source."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.IfExp(body=body, orelse=otherwise):
            return [*texts(body), *texts(otherwise)]
        case ast.JoinedStr(values=[ast.FormattedValue(), ast.Constant(value=str(rest))]):
            return [f"<step>{rest}"]
        case ast.JoinedStr(values=[ast.FormattedValue(), _, ast.FormattedValue()]):
            return []  # how a step ends: its call says so
    raise ValueError(ast.unparse(node))


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Every call in the package, with the name of what it calls."""
    for path in (ROOT / "entrypoint").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield ast.unparse(node.func), node


def logged() -> Iterator[Logged]:
    """Every call that logs an event, the end of every step, and the reminders of every wait."""
    for function, call in calls():
        fields = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
        if function in ("event", "log.event"):
            level, name = call.args
            if isinstance(name, ast.Attribute):  # a `Wait`, whose own call says so
                continue
            yield Logged(texts(name), texts(level), {*fields})
        elif function == "Wait":
            level = fields.pop("level", ast.Constant("warning"))
            yield Logged(texts(call.args[0]), texts(level), {*fields} - {"about"})
        elif function == "step":
            end, _ = fields.pop("end", None), fields.pop("brief", None)
            names = [f"{texts(call.args[0])[0]}.{texts(end)[0]}"] if end else ["<step>.finished"]
            yield Logged(names, ["info"], set())
            yield Logged(["<step>.started"], ["info"], {*fields})


def test_every_event_is_documented() -> None:
    """The table has the events that the code logs, and no other, at the same levels."""
    found: dict[str, set[str]] = defaultdict(set)
    for call in logged():
        for name in call.names:
            found[name].update(call.levels)
    assert {name: {*row["level"]} for name, row in EVENTS.items()} == found


def test_an_event_says_what_happened() -> None:
    """A name is noun.verb_past; the verb may have its object, or a not, before it."""
    rule = r"(<step>|[a-z]+)\.([a-z]+_)*([a-z]+ed|found|sent|written)"
    assert [name for name in EVENTS if not re.fullmatch(rule, name)] == []


def test_every_field_of_an_event_is_documented() -> None:
    """A row has each field that a call names."""
    for call in logged():
        for name in call.names:
            assert call.fields <= {*EVENTS[name]["fields"]}, name


def test_steps_are_those_of_the_start() -> None:
    """Only a row for steps names them, and that of `started` names every step of the start."""
    assert [n for n, row in EVENTS.items() if ("of" in row) != n.startswith("<step>")] == []
    steps = {texts(call.args[0])[0] for function, call in calls() if function == "step"}
    assert {*EVENTS["<step>.started"]["of"]} == steps
