"""Writes what the pages in docs/reference say about the code, from the code.

A generated part stands between two markers, such as ``<!-- events -->`` and ``<!-- /events -->``.
People write everything around it. ``--check`` writes nothing, lists the pages that are out of date,
and ends with 1 if there are any.
"""

import argparse
import inspect
import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from entrypoint import arguments, cli, errors, fields, services

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
    for name, command in arguments.commands().items():
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


def unset(key: fields.Key) -> str:
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


def keys(head: str, table_: Mapping[str, fields.Key]) -> str:
    """A row for each key of the file, or each variable."""
    rows = ([f"`{name}`", key.doc, unset(key)] for name, key in table_.items())
    return table(head, "meaning", "default", rows=rows)


def settings() -> Iterator[str]:
    """The keys of the file; then the variables, without those that override a key of a section."""
    others = {name: key for name, key in fields.ELSEWHERE.items() if name.isupper()}
    gates = {name: key for name, key in fields.ELSEWHERE.items() if name not in others}
    yield keys("in `entrypoint.toml`", {**fields.IN_FILE, **gates})
    overriding = {fields.variable(key) for key in fields.IN_FILE if "." in key}
    own = {name: key for name, key in fields.IN_ENVIRONMENT.items() if name not in overriding}
    yield keys("variable", {**others, **fields.OUR_SECRETS, **own})


def registry() -> Iterator[str]:
    """The keys of a row."""
    rows = ([f"`{name}`", *texts] for name, texts in services.KEYS.items())
    yield table("key", "meaning", "default", rows=rows)


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
    yield table("code", "class", "when", "start again?", rows=rows)


PARTS: Final[dict[str, dict[str, Callable[[], Iterator[str]]]]] = {
    "events": {"events": events},
    "settings": {"settings": settings, "registry": registry},
    "commands": {"commands": commands},
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
