"""What operators' commands print: names that lie, terminals, JSON, and what the pages say."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
import termios
from fcntl import ioctl
from typing import TYPE_CHECKING, Any

import pytest
from psycopg import sql
from rich.cells import cell_len

from entrypoint.operator import report
from tests.operator.conftest import RPG_DB

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

    from tests.operator.conftest import Operator

LIES = {
    "quotes": "a\"b'c`d",
    "space": "rpg_two words",
    "newline": "rpg_x\n misplaced   postgres   table forged",
    "return": "rpg_x\r\x1b[2K clean",
    "tab": "rpg_x\ty",
    "override": "rpg_\u202egnp.elbat",
    "isolates": "rpg_\u2066x\u2069",
    "invisible": "rpg_\u200b\u200d\ufeff",
    "separator": "rpg_\u2028x\u0085y",
    "escape": "rpg_\x1b[31mred\x1b]0;title\x07",
    "one byte escape": "rpg_\x9b31m\x9dtitle\x9c",
    "delete": "rpg_\x7f\x08\x08",
    "markup": "rpg_[bold]x[/bold] [/] [red]",
    "emoji": "rpg_:smile: [link=http://x]y[/link]",
    "link": "http://x/rpg_",
    "sql": "rpg_x; drop table rpg_x; --",
    "format": "rpg_%s %(x)s {x} {url}",
    "wide": "rpg_表格 é ñ",
    "combining": "rpg_e\u0301\u0301\u0301",
}
"""Names of tables, each with what it would do to whoever just printed it."""


@pytest.fixture
def liars(operator: Operator) -> Operator:
    """A server whose `postgres` has a table of each of these names."""
    with operator.server.connect() as connection:
        for name in LIES.values():
            statement = sql.SQL("create table {} (id int)").format(sql.Identifier(name))
            connection.execute(statement)
    return operator


def on_a_terminal(
    operator: Operator, *words: str, columns: int = 400, environ: Mapping[str, str] | None = None
) -> str:
    """What a command writes to a terminal of so many columns."""
    ours, theirs = os.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    argv = [sys.executable, "-I", "-m", "entrypoint", *words]
    variables = {"DATABASE_URL": operator.url, "TERM": "xterm-256color", **(environ or {})}
    process = subprocess.Popen(
        argv, env=variables, cwd=operator.directory, stdout=theirs, stderr=subprocess.DEVNULL
    )
    os.close(theirs)
    written = b"".join(iter(lambda: read(ours), b""))
    process.wait()
    os.close(ours)
    return written.decode().replace("\r\n", "\n")


def read(terminal: int) -> bytes:
    """What is there to be read; nothing when everybody has closed it."""
    try:
        return os.read(terminal, 1 << 16)
    except OSError:
        return b""


STYLE = re.compile(r"\x1b\[[0-9;]*m")


def escaped(name: str) -> str:
    """A name as it may be shown: one line, and nothing that a terminal acts on."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def test_json_has_the_very_name(liars: Operator) -> None:
    """In ASCII, whatever it is; each table once."""
    answer = liars.run("verify", "--json")

    assert answer.out.isascii()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", answer.out)
    assert sorted(found["object"] for found in answer.findings) == sorted(LIES.values())
    assert answer.code == 9


@pytest.mark.parametrize("where", ["terminal", "pipe"])
def test_names_are_shown_escaped(liars: Operator, where: str) -> None:
    """No name forges a row, moves the cursor, paints, or is taken for markup."""
    if where == "terminal":
        text = on_a_terminal(liars, "verify")
        assert STYLE.search(text)
        text = STYLE.sub("", text)
    else:
        text = liars.run("verify").out

    assert {c for c in text if not c.isprintable()} == {"\n"}
    rows = [line for line in text.splitlines() if line.lstrip().startswith("misplaced ")]
    assert len(rows) == len(LIES)
    for name in LIES.values():
        shown = escaped(name)[:20]
        assert sum(f" table {shown}" in row for row in rows) == 1, name
    assert f"{len(LIES)} misplaced" in text.splitlines()[-1]


def test_names_of_services_and_databases(operator: Operator) -> None:
    """The registry's and the server's are shown no other way than the tables'."""
    liars = [LIES[what] for what in ("quotes", "newline", "override", "escape", "markup", "sql")]
    environ = operator.registry(*((f"s {name}", f"d {name}", []) for name in liars))
    with operator.server.connect() as connection:
        for name in liars:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(f"u {name}")))
    for words in (["verify"], ["status"], ["create", "--dry-run"]):
        plain = operator.run(*words, environ=environ)
        shown = on_a_terminal(operator, *words, environ=environ)
        for text in (plain.out, STYLE.sub("", shown)):
            assert {c for c in text if not c.isprintable()} == {"\n"}
            assert [name for name in liars if f"d {escaped(name)[:5]}" not in text] == []
        assert plain.err == ""


def test_errors_are_one_line_of_json(operator: Operator) -> None:
    """What a person typed is quoted in it, and cannot forge an event."""
    name = 'x"\n{"level": "info", "event": "verify.finished"}\x1b[2J\u202e'
    answer = operator.run("verify", "--service", name)

    assert answer.code == 3
    assert answer.failed()["event"] == "verify.failed"
    assert answer.err.count("\n") == 1
    assert "\x1b" not in answer.err
    assert "\u202e" not in answer.err


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_any_width(liars: Operator, columns: int) -> None:
    """A line is wider than the terminal only where a single name is, which breaks nowhere."""
    text = STYLE.sub("", on_a_terminal(liars, "verify", columns=columns))

    longest = max(cell_len(word) for name in LIES.values() for word in escaped(name).split(" "))
    indent = len("  what to do  ") + len("table ")
    assert max(map(cell_len, text.splitlines())) <= max(columns, longest + indent)


def test_no_colours_where_they_are_not_wanted(operator: Operator) -> None:
    """Nor in a pipe, nor with NO_COLOR on a terminal."""
    operator.execute("create table rpg_x (id int)")
    assert "\x1b" not in operator.run("verify").out
    assert "\x1b[1;31m" in on_a_terminal(operator, "verify")
    shown = on_a_terminal(operator, "verify", environ={"NO_COLOR": "1"})
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", shown)


def test_watching_a_terminal_empties_it(operator: Operator) -> None:
    """Each time, so that the newest answer stands at the top."""
    ours, theirs = os.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
    argv = [sys.executable, "-I", "-m", "entrypoint", "status", "--watch", "0.1"]
    with subprocess.Popen(
        argv,
        env={"DATABASE_URL": operator.url, "TERM": "xterm"},
        stdout=theirs,
        stderr=subprocess.DEVNULL,
    ) as process:
        os.close(theirs)
        text = b""
        while text.count(b"\x1b[H\x1b[2J") < 3:
            text += read(ours)
        process.terminate()
        while read(ours):
            pass
        assert process.wait() == 143
    os.close(ours)
    assert text.startswith(b"\x1b[H\x1b[2J")


def listed(text: str) -> list[str]:
    """The names in code of a list."""
    return re.findall(r"`([^`]+)`", text)


def checked(model: type[BaseModel], data: Any) -> None:  # noqa: ANN401  parsed JSON
    """The model's very fields, all of them."""
    assert list(data) == list(model.model_fields)
    assert model.model_validate(data).model_dump(mode="json") == data


def test_the_output_is_the_schema(operator: Operator) -> None:
    """Every answer of --json has all fields, also those that are null."""
    operator.execute("create table rpg_x (id int)")
    operator.execute(f"alter database {RPG_DB} allow_connections false")
    try:
        answers = {
            command: json.loads(operator.run(command, "--json").out)
            for command in ("verify", "create", "status")
        }
    finally:
        operator.execute(f"alter database {RPG_DB} allow_connections true")

    checked(report.Verification, answers["verify"])
    checked(report.Finding, answers["verify"]["findings"][0])
    checked(report.Failure, answers["verify"]["failures"][0])
    checked(report.Creations, answers["create"])
    checked(report.Creation, answers["create"]["databases"][0])
    checked(report.Status, answers["status"])
    for row in answers["status"]["services"]:
        checked(report.ServiceStatus, row)
    assert {answer["format"] for answer in answers.values()} == {1}
