"""Writes what the pages in docs/reference say about the code, from the code.

A generated part stands between two markers, such as ``<!-- events -->`` and ``<!-- /events -->``.
People write everything around it. ``--check`` writes nothing, lists the pages that are out of date,
and ends with 1 if there are any.
"""

import argparse
import ast
import inspect
import itertools
import json
import re
import sys
import tomllib
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, Literal, get_args, get_origin

from pydantic import BaseModel

from entrypoint import errors
from entrypoint.cli import main as cli
from entrypoint.cli import parser
from entrypoint.config import keys as config
from entrypoint.config import registry as services
from entrypoint.operator import report
from entrypoint.start import forecast

DOCS: Final = Path(__file__).parent


def table(*head: str, rows: Iterable[Iterable[str]]) -> str:
    """A table of Markdown; a cell is one line, and a `|` in it is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(cell, line))} |".replace("|  |", "| |") for line in lines)


def cell(text: str) -> str:
    """A text as a cell has it."""
    return " ".join(text.split()).replace("|", "\\|")


def code(names: Iterable[str]) -> str:
    """Names in code, with blanks between them."""
    return " ".join(f"`{name}`" for name in names)


def plain(doc: str) -> str:
    """A docstring's text as Markdown."""
    return doc.replace("``", "`")


def events() -> Iterator[str]:
    """A table for each part of the program."""
    for part, rows in tomllib.loads((DOCS / "events.toml").read_text()).items():
        yield f"## {part}"
        yield table(
            "event",
            "level",
            "when the program logs it",
            "fields",
            "what to do",
            rows=(
                [
                    code(name.replace("<step>", step) for step in row.get("of", [""])),
                    ", ".join(row["level"]),
                    row["when"],
                    code(row["fields"]),
                    row.get("do", ""),
                ]
                for name, row in rows.items()
            ),
        )


def argument(action: argparse.Action) -> str:
    """An argument as people write it."""
    value = action.metavar if isinstance(action.metavar, str) else ""
    value = f"[{value}]" if action.nargs == "?" else value
    names = ", ".join(action.option_strings)
    choices = ", ".join(f"`{choice}`" for choice in action.choices or ())
    return f"`{f'{names} {value}'.strip() or action.dest}`{choices and f': {choices}'}"


def commands() -> Iterator[str]:
    """A section for each command: what it does, its arguments, its exit codes, examples."""
    for name, command in parser.commands().items():
        yield f"## {name}"
        yield f"{command.description}"
        rows = [
            [argument(action), (action.help or "") % vars(action)]
            for action in command._actions  # noqa: SLF001  argparse has no public list
            if action.dest != "help"
        ]
        if rows:
            yield table("argument", "meaning", rows=rows)
        examples, _, codes = (command.epilog or "").partition("\nexit codes")
        yield "Exit codes:"
        found = re.findall(r"^  (\d+) +(.*)$", codes, re.MULTILINE)
        yield "\n".join(f"- {code}: {meaning}" for code, meaning in found)
        yield f"```text\n{inspect.cleandoc(examples.removeprefix('examples:'))}\n```"


def unset(key: config.Key) -> str:
    """What holds where nobody sets it."""
    match key.default:
        case _ if key.unset:
            return key.unset
        case bool() | str() as value:
            return f"`{str(value).lower()}`"
        case float() as seconds:
            return f"{seconds:.0f}"
        case tuple() as names if names:
            return f"`{json.dumps(names)}`"
    return "none"


def keys(head: str, table_: Mapping[str, config.Key]) -> str:
    """A row for each key of the file, or each variable."""
    rows = ([f"`{name}`", key.doc, unset(key)] for name, key in table_.items())
    return table(head, "meaning", "default", rows=rows)


def settings() -> Iterator[str]:
    """The keys of the file; then the variables, without those that override a key of a section."""
    others = {name: key for name, key in config.ELSEWHERE.items() if name.isupper()}
    gates = {name: key for name, key in config.ELSEWHERE.items() if name not in others}
    yield keys("in `entrypoint.toml`", {**config.IN_FILE, **gates})
    overriding = {config.variable(key) for key in config.IN_FILE if "." in key}
    own = {name: key for name, key in config.IN_ENVIRONMENT.items() if name not in overriding}
    yield keys("variable", {**others, **config.OUR_SECRETS, **own})


def registry() -> Iterator[str]:
    """The keys of a row."""
    rows = ([f"`{name}`", *texts] for name, texts in services.KEYS.items())
    yield table("key", "meaning", "default", rows=rows)


def docs(model: type[BaseModel]) -> dict[str, str]:
    """The comments behind a model's fields, as sentences; else the docstrings below them."""
    source = inspect.getsource(model)
    [definition] = ast.parse(source).body
    found = {}
    for match in re.finditer(r"^    (\w+): .*?  # (.+)$", source, re.MULTILINE):
        found[match[1]] = f"{match[2][0].upper()}{match[2][1:]}."
    for node, following in itertools.pairwise(ast.iter_child_nodes(definition)):
        match node, following:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=doc)):
                found[name] = plain(str(doc))
    return found


def kind(annotation: object, models: dict[str, type[BaseModel]]) -> str:
    """A field's type in words; notes the models that it names."""
    inner = [kind(each, models) for each in get_args(annotation) if not isinstance(each, str)]
    match get_origin(annotation):
        case origin if origin is Literal:
            return ", ".join(f"`{each}`" for each in get_args(annotation))
        case types.UnionType:
            return " or ".join(inner)
        case origin if origin is list:
            return f"list of {inner[0]}"
        case origin if origin is dict:
            return f"object of {inner[1]}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        models[annotation.__name__] = annotation
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    words: dict[object, str] = {str: "text", int: "integer", float: "number", bool: "boolean"}
    return {**words, types.NoneType: "null"}.get(annotation, "anything")


def json_answers() -> Iterator[str]:
    """A section for the answer of each command, and one for each model in it."""
    models: dict[str, type[BaseModel]] = {
        "Verification": report.Verification,
        "Creations": report.Creations,
        "Status": report.Status,
        "Transferred": report.Transferred,
        "Unanswered": report.Unanswered,
    }
    done: set[str] = set()
    while left := [model for name, model in models.items() if name not in done]:
        for model in left:
            done.add(model.__name__)
            said = docs(model)
            yield f"## {model.__name__}"
            yield plain(inspect.getdoc(model) or "")
            rows = [
                [f"`{name}`", kind(field.annotation, models), said.get(name, "")]
                for name, field in model.model_fields.items()
            ]
            yield table("field", "type", "meaning", rows=rows)


def findings() -> Iterator[str]:
    """A row for each finding of verify, and each level that it can have."""
    rows = (
        [f"`{name}`", level, meaning]
        for name, levels in report.FINDINGS.items()
        for level, meaning in levels.items()
    )
    yield table("finding", "level", "meaning", rows=rows)


def exit_codes() -> Iterator[str]:
    """A row for each class of `errors`, and the two codes that have none."""
    rows = [["0", "", "Done.", ""], [f"{cli.BUG}", "", "A bug of ours.", "report the traceback"]]
    several = {errors.ExecError: "126, 127", errors.Terminated: "128+n"}
    ends: list[type[errors.EntrypointError | errors.Terminated]]
    ends = [*errors.EntrypointError.__subclasses__(), errors.Terminated]
    for each in ends:
        when, again = (inspect.getdoc(each) or "").split("\n\nStart again: ")
        number = several.get(each) or str(each.exit_code)
        rows.append([number, f"`{each.__name__}`", plain(when), again.rstrip(".")])
    work = [f"{forecast.WORK}", "", "`plan` says that a start would have work; nothing failed.", ""]
    rows.insert(rows.index(next(row for row in rows if row[0] == "126, 127")), work)
    yield table("code", "class", "when", "start again?", rows=rows)


PARTS: Final[dict[str, dict[str, Callable[[], Iterator[str]]]]] = {
    "events": {"events": events},
    "settings": {"settings": settings, "registry": registry},
    "commands": {"commands": commands},
    "findings": {"findings": findings},
    "json": {"answers": json_answers},
    "exit-codes": {"exit-codes": exit_codes},
}
"""By page and marker, what writes the part."""


def filled(text: str, marker: str, part: str) -> str:
    """A page with a part between its markers. Raises ValueError if the page lacks them."""
    begin, end = f"<!-- {marker} -->", f"<!-- /{marker} -->"
    found = re.subn(
        f"{begin}.*?{end}", lambda _: f"{begin}\n\n{part}\n\n{end}", text, flags=re.DOTALL
    )
    if found[1] != 1:
        raise ValueError(f"no {begin} or no {end}")
    return found[0]


def main(arguments: list[str]) -> int:
    """Write every page, or check it; the exit code."""
    stale = []
    for name, parts in PARTS.items():
        path = DOCS / "reference" / f"{name}.md"
        text = before = path.read_text()
        for marker, write in parts.items():
            text = filled(text, marker, "\n\n".join(write()))
        if text != before:
            stale.append(path.name)
            if "--check" not in arguments:
                path.write_text(text)
    sys.stdout.writelines(f"docs/reference/{name}\n" for name in stale)
    return int(bool(stale) and "--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
