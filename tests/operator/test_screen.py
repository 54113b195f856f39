"""What a person sees: the commands' answers on the screen of a terminal, and in a pipe."""

from __future__ import annotations

import os
import re
import signal
import struct
import subprocess
import sys
import termios
from datetime import UTC, datetime, timedelta
from fcntl import ioctl
from typing import TYPE_CHECKING

import pyte
import pytest

from entrypoint.operator.render import age
from tests.operator.conftest import RPG, RPG_DB, answer
from tests.operator.test_output import STYLE, on_a_terminal, read

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.operator.conftest import Operator

LONG = "rpg_heroes_of_the_long_and_winding_road_that_leads_nowhere_x"


def screen(operator: Operator, *words: str, columns: int, **environ: str) -> pyte.Screen:
    """The screen when a command has ended."""
    made = pyte.Screen(columns, 300)
    text = on_a_terminal(operator, *words, columns=columns, environ=environ)
    pyte.Stream(made).feed(text.replace("\n", "\r\n"))
    return made


def lines(operator: Operator, *words: str, columns: int) -> list[str]:
    """Those on it, without what is to the right of them and below."""
    shown = [line.rstrip() for line in screen(operator, *words, columns=columns).display]
    while shown and not shown[-1]:
        shown.pop()
    return shown


def talk(
    operator: Operator,
    *words: str,
    columns: int,
    says: str = "",
    look: Callable[[pyte.Screen], object] = id,
    **environ: str,
) -> tuple[list[str], int]:
    """All lines of a terminal when a command has ended that is answered so; its exit code.

    Whenever something has come, `look` looks at the screen.
    """
    made = pyte.HistoryScreen(columns, 50, history=2000)
    stream = pyte.ByteStream(made)
    ours, theirs = os.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    variables = {
        "DATABASE_URL": operator.url,
        "TERM": "xterm-256color",
        "PATH": os.environ["PATH"],
        "PG_BINDIR": str(operator.server.pg_bin),
        **environ,
    }
    argv = [sys.executable, "-I", "-m", "entrypoint", *words]
    with subprocess.Popen(
        argv, env=variables, cwd=operator.directory, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        while data := read(ours):
            stream.feed(data)
            look(made)
            if says and any("[yes/no]" in line for line in made.display):
                os.write(ours, f"{says}\n".encode())
                says = ""
        code = process.wait()
    os.close(ours)
    above = ["".join(row[x].data for x in range(columns)) for row in made.history.top]
    return [line.rstrip() for line in [*above, *made.display]], code


def where(operator: Operator) -> str:
    """The server, as people are told."""
    return f"{operator.server.host}:{operator.server.port}"


@pytest.fixture
def strewn(operator: Operator) -> Operator:
    """A server with strays in two databases."""
    operator.execute(
        f"create table {LONG} (id int) with (autovacuum_enabled = off);"  # no page for its map
        "create view loose as select 1 as a;"
        f"insert into {LONG} select generate_series(1, 12000); analyze"
    )
    operator.execute("create table sso_x (id int); create table odd (id int)", RPG_DB)
    return operator


@pytest.mark.parametrize("columns", [80, 100, 140])
def test_no_name_is_broken(strewn: Operator, columns: int) -> None:
    """Each stands in one line, to be marked; so do commands' words in what to do."""
    shown = lines(strewn, "verify", columns=columns)
    words = [word.strip("'.,") for line in shown for word in line.split()]
    assert words.count(LONG) == 1
    assert {"loose", "sso_x", "odd", RPG, "gaqno_sso_db"} <= set(words)


@pytest.mark.parametrize("columns", [80, 100, 140, 240])
@pytest.mark.parametrize("words", [["verify"], ["status"], ["create", "--dry-run"]])
def test_no_long_name_is_broken(operator: Operator, words: list[str], columns: int) -> None:
    """Services and databases whose names are as long as PostgreSQL lets them be, and wide ones."""
    long, wide = "d" + "_long" * 12 + "_x", "表" * 21
    environ = operator.registry((f"s{long[1:]}", long, ["l_"]), (wide[:10], wide, ["w_"]))
    made = pyte.Screen(columns, 300)
    pyte.Stream(made).feed(
        on_a_terminal(operator, *words, columns=columns, environ=environ).replace("\n", "\r\n")
    )
    # A wide character takes two cells, of which the second is empty.
    shown = ["".join(made.buffer[y][x].data for x in range(columns)) for y in range(300)]
    for name in (long, f"s{long[1:]}", wide, wide[:10]):
        assert any(name in line for line in shown), name


def test_a_wide_terminal_has_tables(strewn: Operator) -> None:
    """By database, with the sum in the title, without columns in which nothing is."""
    shown = lines(strewn, "verify", columns=140)
    at = shown.index("postgres: 2 misplaced, 0 notices")
    assert shown[at + 1].split() == ["level", "what", "whose", "rows", "size", "what", "to", "do"]
    assert set(shown[at + 2]) == {"─"}
    end = shown.index("", at)
    assert sum(line.startswith("misplaced ") for line in shown[at + 3 : end]) == 2
    assert shown.index(f"{RPG_DB}: 1 misplaced, 1 notice") > at
    strewn.execute(f"drop table {LONG}")
    shown = lines(strewn, "verify", columns=140)
    at = shown.index("postgres: 1 misplaced, 0 notices")
    assert shown[at + 1].split() == ["level", "what", "what", "to", "do"]


def test_numbers_stand_below_each_other(strewn: Operator) -> None:
    """They end where their column's head does."""
    strewn.execute("create table rpg_few (id int); insert into rpg_few values (1); analyze")
    shown = lines(strewn, "verify", columns=140)
    head = next(line for line in shown if line.startswith("level") and " rows" in line)
    end = head.index("rows") + len("rows")
    numbers = [line[:end].split()[-1] for line in shown if re.search(r"table rpg_", line)]
    assert numbers == ["1", "12,000"]


def test_a_narrow_terminal_has_lists(strewn: Operator) -> None:
    """Below 100 columns each finding is a few lines that fit, and no table is drawn."""
    shown = lines(strewn, "verify", columns=80)
    assert not any("─" in line for line in shown)
    at = shown.index(f"misplaced  table {LONG}")
    assert shown[at + 1 : at + 3] == [
        f"  whose: {RPG}  rows: 12,000  size: 456 kB",
        f"  what to do: Run entrypoint transfer {RPG}.",
    ]


def test_services_of_a_small_terminal_fit(operator: Operator) -> None:
    """At 80 columns and 24 lines all six are seen at once, below a line that says what is what."""
    shown = lines(operator, "status", columns=80)
    assert shown[0] == "service, database:"
    assert f"{RPG}  {RPG_DB}" in shown
    assert len(shown) < 24


@pytest.mark.parametrize("words", [["verify"], ["status"], ["create", "--dry-run"]])
def test_a_very_narrow_terminal(operator: Operator, words: list[str]) -> None:
    """At 40 columns every line fits whose longest word does."""
    operator.execute("create table rpg_x (id int)")
    operator.execute(f"create database {RPG_DB}__replaced")
    shown = lines(operator, *words, columns=40)
    assert len(shown) > 6
    text = STYLE.sub("", on_a_terminal(operator, *words, columns=40))
    assert max(map(len, text.splitlines())) <= 40


def test_findings_of_a_service_stand_together(operator: Operator) -> None:
    """Within a database, those of nobody last."""
    operator.execute("create table rpg_a (); create table odd (); create table sso_b ()")
    operator.execute("create table rpg_c (); create table a_odd ()")
    shown = lines(operator, "verify", columns=140)
    at = shown.index("postgres: 5 misplaced, 0 notices") + 3
    names = [line.split()[2] for line in shown[at : at + 5]]
    assert names == ["rpg_a", "rpg_c", "sso_b", "a_odd", "odd"]


@pytest.mark.parametrize("background", ["15;0", "0;15"], ids=["dark", "light"])
def test_colours_for_any_background(strewn: Operator, background: str) -> None:
    """None is yellow, white, black or grey, which one of the two would swallow."""
    seen = screen(strewn, "verify", columns=140, COLORFGBG=background)
    cells = [seen.buffer[y][x] for y in range(300) for x in range(140)]
    assert {cell.fg for cell in cells} == {"default", "red", "magenta"}
    assert {cell.bg for cell in cells} == {"default"}
    assert all(cell.bold for cell in cells if cell.fg != "default")


def test_an_error_on_a_terminal(operator: Operator) -> None:
    """Its sentences stand below the event, a line for each problem, and no word is broken."""
    words = "verify", "--service", "rpg", "--service", "nobody"
    shown, code = talk(operator, *words, columns=80)
    assert code == 3
    assert shown[0].endswith("verify.failed            exit_code=3")
    assert shown[1:4] == [
        "  error      2 settings are missing or wrong",
        f"  problems   the registry has no service 'rpg'; the nearest is {RPG}",
        "             the registry has no service 'nobody'; it has gaqno-sso-service,",
    ]
    assert [line for line in shown if line][-1] == (
        "  remedy     Use the name of a service in the registry."
    )


def test_a_table_that_does_not_fit_is_a_list(strewn: Operator) -> None:
    """Rather than break its longest name."""
    shown = lines(strewn, "verify", columns=100)
    at = shown.index("postgres: 2 misplaced, 0 notices")
    assert f"misplaced  table {LONG}" in shown[at:]
    later = shown[shown.index(f"{RPG_DB}: 1 misplaced, 1 notice") :]
    assert later[1].startswith("level")


def test_a_pipe_has_a_line_for_each(strewn: Operator) -> None:
    """A line that grep finds says it all: where, what, whose and what to do."""
    out = strewn.run("verify").out.splitlines()
    [found] = [line for line in out if LONG in line]
    cells = re.split(r" {2,}", found)
    assert cells[:4] == ["misplaced", "postgres", f"table {LONG}", RPG]
    assert cells[4:] == ["12,000", "456 kB", f"Run entrypoint transfer {RPG}."]
    [found] = [line for line in out if "table odd" in line]
    assert found.endswith("find out which service uses it before you drop it.")


def test_a_line_for_each_service(strewn: Operator) -> None:
    """How much of it is misplaced, and how big that is."""
    out = strewn.run("verify").out.splitlines()
    [summary] = [line.split() for line in out if line.startswith(RPG)]
    assert summary == [RPG, "1", "0", "12,000", "456", "kB"]
    assert out[-1].endswith(f"on {where(strewn)}: 3 misplaced, 1 notice")


def test_status_says_where_and_when(operator: Operator) -> None:
    """The server and its clock stand below the services."""
    shown = lines(operator, "status", columns=160)
    assert shown[0].split()[:3] == ["service", "database", "size"]
    assert re.fullmatch(rf"{where(operator)}, 20\S+ \S+ UTC", shown[-1])


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-2, "0 s"), (59, "59 s"), (60, "1 min"), (3599, "59 min"), (90000, "1 d"), (7200, "2 h")],
)
def test_ages(seconds: int, words: str) -> None:
    """In the largest unit, and never in the future, because clocks differ."""
    now = datetime(2026, 1, 2, tzinfo=UTC)
    moment = (now - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert age(moment, now) == words
    assert age("sometime", now) == "sometime"


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
@pytest.mark.parametrize("command", ["verify", "status", "create"])
def test_no_colour_where_it_is_not_wanted(
    strewn: Operator, command: str, environ: dict[str, str]
) -> None:
    """By NO_COLOR no cell of the screen has one; a dumb terminal gets no escape at all."""
    seen = screen(strewn, command, columns=140, **environ)
    cells = [seen.buffer[y][x] for y in range(300) for x in range(140)]
    assert {cell.fg for cell in cells} == {"default"}
    if "TERM" in environ:
        assert "\x1b" not in on_a_terminal(strewn, command, environ=environ)
    else:
        assert any(cell.bold for cell in cells)


def test_a_watch_shows_what_fits(operator: Operator) -> None:
    """The first services and the clock, and how many lines there are besides, on a low terminal."""
    made = pyte.Screen(80, 10)
    stream = pyte.ByteStream(made)
    ours, theirs = os.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 80, 0, 0))
    argv = [sys.executable, "-I", "-m", "entrypoint", "status", "--watch", "0.1"]
    environ = {"DATABASE_URL": operator.url, "TERM": "xterm"}
    with subprocess.Popen(argv, env=environ, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        text = b""
        while text.count(b"UTC") < 2:
            text += (data := read(ours))
            stream.feed(data)
        process.send_signal(signal.SIGINT)
        while read(ours):
            pass
        assert process.wait() == 0
    os.close(ours)
    shown = [line.rstrip() for line in made.display]
    assert shown[0] == "service, database:"
    assert shown[1] == "gaqno-sso-service  gaqno_sso_db"
    assert shown[7] == "(7 more lines; --service NAME shows less)"
    assert shown[8].startswith(f"{where(operator)}, 20")
    assert shown[9] == ""


def test_a_dumb_terminal_is_not_emptied(operator: Operator) -> None:
    """What it cannot obey it would show: a watch puts one answer below the other."""
    ours, theirs = os.openpty()
    argv = [sys.executable, "-I", "-m", "entrypoint", "status", "--watch", "0.1"]
    with subprocess.Popen(
        argv, env={"DATABASE_URL": operator.url, "TERM": "dumb"}, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        text = b""
        while text.count(b"service ") + text.count(b"gaqno-sso-service ") < 3:
            text += read(ours)
        process.send_signal(signal.SIGINT)
        while read(ours):
            pass
        assert process.wait() == 0
    os.close(ours)
    assert b"\x1b" not in text


@pytest.mark.parametrize("words", [["verify"], ["status"], ["create", "--dry-run"]])
def test_a_locale_without_the_names_characters(operator: Operator, words: list[str]) -> None:
    """They are shown escaped, in a pipe and on a terminal, and the exit code is the same."""
    environ = operator.registry(("größe", "größe_db", ["größe_"]))
    operator.execute('create table "größe_表" (id int)')
    narrow = {**environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    # An isolated interpreter heeds no PYTHON variables: this one is started as a console script.
    usual = answer(operator.start(*words, environ=environ))
    program = operator.start(*words, environ=narrow, launcher=("-X", "utf8=0", "-m", "entrypoint"))
    found = answer(program)
    assert found.code == usual.code
    assert "Error" not in found.err
    assert "größe" in usual.out
    assert found.out.isascii()
    assert "gr\\xf6\\xdfe" in found.out


@pytest.mark.parametrize("words", [["verify"], ["status"], ["--help"], ["verify", "--sql"]])
def test_a_reader_that_has_seen_enough(strewn: Operator, words: list[str]) -> None:
    """As `| head` does: nothing is told, and the exit code is the command's own."""
    usual = strewn.run(*words).code
    reader, writer = os.pipe()
    os.close(reader)
    argv = [sys.executable, "-I", "-m", "entrypoint", *words]
    with subprocess.Popen(
        argv, env={"DATABASE_URL": strewn.url}, stdout=writer, stderr=subprocess.PIPE
    ) as process:
        os.close(writer)
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait() == usual


@pytest.mark.parametrize("environ", [{"FORCE_COLOR": "1"}, {"CLICOLOR_FORCE": "1"}])
@pytest.mark.parametrize("words", [["verify"], ["status"], ["verify", "--json"]])
def test_a_pipe_gets_no_escapes(
    strewn: Operator, words: list[str], environ: dict[str, str]
) -> None:
    """Whatever CI has set for others, a file and grep get the plain lines."""
    said = strewn.run(*words, environ={"TERM": "xterm-256color", **environ})
    assert "\x1b" not in said.out + said.err


@pytest.mark.parametrize("command", ["create", "verify", "status", "transfer", "url", "env"])
def test_help_breaks_no_word(operator: Operator, command: str) -> None:
    """At 70 columns; only an example is one line however long it is, because it is to be pasted."""
    environ = {"COLUMNS": "70"}
    shown = operator.run(command, "--help", environ=environ).out.splitlines()
    assert [line for line in shown if len(line) > 70 and "entrypoint " not in line] == []
    assert any("ENTRYPOINT_ADMIN_URL" in line for line in shown)
    codes = shown.index("exit codes; 0 is success:")
    assert all(re.match(r"  \d+ |       \w", line) for line in shown[codes + 1 :])


def test_a_question_stands_below_its_table(stranger: Operator) -> None:
    """Nothing is written over it while it waits, and a yes moves what the table says."""
    stranger.execute("create table rpg_x (id int primary key)")
    screen = pyte.Screen(120, 60)
    stream = pyte.ByteStream(screen)
    ours, theirs = os.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 60, 120, 0, 0))
    environ = {
        "DATABASE_URL": stranger.url,
        "TERM": "xterm-256color",
        "PATH": os.environ["PATH"],
        "PG_BINDIR": str(stranger.server.pg_bin),
    }
    argv = [sys.executable, "-I", "-m", "entrypoint", "transfer", RPG]
    with subprocess.Popen(
        argv, env=environ, cwd=stranger.directory, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        while not any("[yes/no]" in line for line in screen.display):
            stream.feed(read(ours))
        asked = [line.rstrip() for line in screen.display]
        [at] = [at for at, line in enumerate(asked) if "[yes/no]" in line]
        question = " ".join(asked[at - 1 : at + 1]) if "Move" not in asked[at] else asked[at]
        assert "Move 1 object and block" in question
        assert not any(asked[at + 1 :])
        head = next(i for i, line in enumerate(asked) if line.startswith("moves"))
        assert head < at
        assert asked[head + 2].split()[:2] == ["rpg_x", "table"]
        os.write(ours, b"yes\n")
        while data := read(ours):
            stream.feed(data)
        assert process.wait() == 0
    os.close(ours)
    assert any(f"{RPG}: moved" in line for line in screen.display)


def test_what_is_logged_stands_above_the_bars(stranger: Operator) -> None:
    """An event while the bars move is a line of its own, and every bar is there once."""
    stranger.execute("create table rpg_x (id int primary key)")
    words = "transfer", RPG, "--yes"
    shown, code = talk(stranger, *words, columns=150, ENTRYPOINT_LOG_LEVEL="debug")
    assert code == 0
    told = [line for line in shown if "transfer.printed" in line]
    assert len(told) > 10
    assert all(re.match(r"20\S+Z \[debug  \] transfer\.printed ", line) for line in told)
    bars = [line for line in shown if "━" in line]
    assert [line.split()[0] for line in bars] == [
        *("rehearse", "lock", "dump", "restore", "analyze", "compare", "swap")
    ]
    assert all(re.fullmatch(r"\w+ +━+ \d:\d\d:\d\d.*", line) for line in bars)


def test_a_bar_tells_what_is_done(stranger: Operator) -> None:
    """While the last table is restored its bytes are not there yet, in the words nor in the bar."""
    stranger.execute(
        "create table rpg_a as select i as id, repeat(md5(i::text), 40) as t"
        " from generate_series(1, 3000) i;"
        "create function rpg_slow(i int) returns bool language plpgsql as"
        " $$begin perform pg_catalog.pg_sleep(0.4); return true; end$$;"
        "create table rpg_z as select i as id, repeat(md5(i::text), 200000) as t"
        " from generate_series(1, 4) i;"
        "alter table rpg_z add check (rpg_slow(id))"
    )
    frames: list[tuple[str, int]] = []

    def look(made: pyte.Screen) -> None:
        for y, line in enumerate(made.display):
            if line.startswith("restore ") and " MB" in line:
                cells = [made.buffer[y][x] for x in range(150)]
                colours = [cell.fg for cell in cells if cell.data in "━╸╺"]
                frames.append((line.rstrip(), colours.count(colours[0])))

    words = "transfer", RPG, "--yes", "--allow", "all"
    assert talk(stranger, *words, columns=150, look=look)[1] == 0
    told = [(re.search(r"([\d.,]+) of ([\d.,]+) MB  (.*)", line), full) for line, full in frames]
    parts = [(float(found[1]), float(found[2]), full) for found, full in told if found]
    assert parts
    assert max(done for done, _, _ in parts) < parts[0][1]
    for done, whole, full in parts:
        assert abs(full - 40 * done / whole) <= 2 or not done


@pytest.mark.parametrize("word", ["--undo", "--drop-quarantine"])
@pytest.mark.parametrize("columns", [70, 140])
def test_a_question_breaks_no_word(stranger: Operator, word: str, columns: int) -> None:
    """What an undo or a removal asks ends in its `[yes/no]`, and each name is in one line."""
    stranger.execute(f"create table {LONG} (id int primary key)")
    assert talk(stranger, "transfer", RPG, columns=140, says="yes")[1] == 0
    shown, code = talk(stranger, "transfer", RPG, word, columns=columns, says="no")
    assert code == 10
    [at] = [at for at, line in enumerate(shown) if "[yes/no]" in line]
    assert shown[at].endswith("[yes/no] no")
    asked = " ".join(shown[:at])
    assert LONG in asked
    assert "the operator did not agree; nothing was changed" in " ".join(shown[at + 1 :])
    words = [word for line in shown[:at] for word in line.split()]
    assert max(len(line) for line in shown[:at]) <= columns
    assert any(word.strip("':,.") == LONG for word in words)


@pytest.mark.parametrize("columns", [40, 80])
def test_a_refusal_on_a_terminal(stranger: Operator, columns: int) -> None:
    """The plan, each obstacle once, one line to paste, and nothing that is for machines."""
    stranger.execute("create table rpg_x (id int primary key)")
    stranger.execute("create table sso_x (id int references rpg_x)")
    stranger.execute("create table sso_y (id int references rpg_x)")
    shown, code = talk(stranger, "transfer", RPG, columns=columns)
    assert code == 10
    text = "\n".join(shown)
    assert "{" not in text
    names = ["fk:sso_x.sso_x_id_fkey", "fk:sso_y.sso_y_id_fkey"]
    assert [line for line in shown if line in names] == names
    paste = "".join(shown).partition("next: ")[2]
    line = f"entrypoint transfer {RPG} --allow {names[0]} --allow {names[1]}"
    assert paste.startswith(line)
    if columns == 80:
        assert "  error      the move has 2 obstacles: fk:sso_x.sso_x_id_fkey," in shown


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {}])
def test_a_start_s_log_on_a_terminal(operator: Operator, environ: dict[str, str]) -> None:
    """Colours are the terminal's only where it wants some; sentences fit its width."""
    ours, theirs = os.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 80, 0, 0))
    variables = {"DATABASE_URL": operator.url, "TERM": "xterm-256color", **environ}
    argv = [sys.executable, "-I", "-m", "entrypoint", "run", "--", "true"]
    with subprocess.Popen(argv, env=variables, cwd=operator.directory, stderr=theirs) as process:
        os.close(theirs)
        text = b"".join(iter(lambda: read(ours), b"")).decode()
        assert process.wait() == 3
    os.close(ours)
    assert ("\x1b[" in text) is not bool(environ)
    assert set(re.findall(r"\x1b\[([0-9;]+)m", text)) <= {"0", "1", "2", "35", "1;31"}
    told = STYLE.sub("", text).splitlines()
    at = next(i for i, line in enumerate(told) if line.startswith("  error "))
    assert "names the database 'postgres'" in " ".join(told[at:])
    assert max(map(len, told[at:])) <= 80


def test_a_dumb_terminal_has_events(stranger: Operator) -> None:
    """Nothing can move there, so a transfer's phases are told, without an escape."""
    stranger.execute("create table rpg_x (id int primary key)")
    shown, code = talk(stranger, "transfer", RPG, "--yes", columns=140, TERM="dumb")
    assert code == 0
    text = "\n".join(shown)
    assert "━" not in text
    assert "transfer.phase_finished" in text
    assert f"{RPG}: moved" in text
