"""Pushes by psql itself, whose exit code says little: in other languages, and for a late server."""

from __future__ import annotations

import json
import os
import re
import shlex
import tomllib
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.support import versions
from tests.support.program import python
from tests.support.server import Server
from tests.support.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.program import Program

PSQL = "psql --no-psqlrc --quiet"
GOOD = "create table if not exists rpg_items (id int);\n"
BAD = "create table if not exists rpg_items (id int);\nnope;\ncreate table rpg_more ();\n"


def pushed(stage: Stage, script: str, **files: str) -> Program:
    """Start with a push that is a shell script beside these files of SQL."""
    bindir = getattr(stage.server, "pg_bin", None)
    stage.environ["PATH"] = f"{bindir}:{os.environ['PATH']}" if bindir else os.environ["PATH"]
    stage.environ["ENTRYPOINT_SKIP"] = "seed"
    for name, text in files.items():
        (stage.directory / f"{name}.sql").write_text(text)
    stage.push = ["sh", "-c", script]
    return stage.start()


def refused(program: Program) -> dict[str, Any]:
    """Exit 7 and no service, with a remedy."""
    assert program.wait() == 7, program.output
    assert "handoff.executed" not in program.names()
    failure = program.one("push.failed")
    assert failure["remedy"]
    return failure


def believed(program: Program) -> dict[str, Any]:
    """It ended well; what its push is said to have said."""
    assert program.wait() == 0, program.output
    return program.one("push.finished")


def tables(stage: Stage) -> set[str]:
    """The service's tables."""
    with stage.connect() as connection:
        query = "select relname from pg_class where relkind = 'r' and relname like 'rpg%'"
        return {name for (name,) in connection.execute(query).fetchall()}


@pytest.fixture
def speaking(tmp_path: Path) -> Iterator[Callable[[str], Stage]]:
    """A service on a server that speaks a language."""
    with ExitStack() as stack:

        def begin(language: str) -> Stage:
            server = stack.enter_context(
                Server.start(prefix=versions.prefix(15), language=language)
            )
            with server.connect() as connection, pytest.raises(psycopg.Error) as caught:
                connection.execute("nope")
            if caught.value.diag.severity == "ERROR":
                pytest.skip("the server here speaks English only")
            stage = Stage(tmp_path, server, "rpg_db", server.superuser, server.password)
            stage.environ |= {"LC_ALL": "C.UTF-8", "LANGUAGE": language}
            return stage

        yield begin


@pytest.mark.parametrize(("language", "how"), [("de", "--file=push.sql"), ("zh_CN", "<push.sql")])
def test_an_error_in_another_language(
    speaking: Callable[[str], Stage], language: str, how: str
) -> None:
    """Half a schema is not believed, nor a file that is not there, whatever they are called."""
    stage = speaking(language)
    failure = refused(pushed(stage, f'{PSQL} {how} "$DATABASE_URL"', push=BAD))

    assert failure["returncode"] == 0
    assert failure["output"].startswith("psql reported an error: ")
    assert "ERROR" not in failure["output"]
    assert tables(stage) == {"rpg_items", "rpg_more"}

    script = f'{PSQL} -f gone.sql "$DATABASE_URL"; {PSQL} -f push.sql "$DATABASE_URL"'
    failure = refused(pushed(stage, script, push=GOOD))
    assert "gone.sql" in failure["output"]


def test_the_remedy_for_half_a_schema(stage: Stage) -> None:
    """With the flags that it names a push that fails leaves nothing, and the next one is whole."""
    remedy = refused(pushed(stage, f'{PSQL} -f push.sql "$DATABASE_URL"', push=BAD))["remedy"]
    assert tables(stage) == {"rpg_items", "rpg_more"}
    with stage.connect() as connection:
        connection.execute("drop table rpg_items, rpg_more")

    [flags] = re.findall(r"-v ON_ERROR_STOP=1 --single-transaction", remedy)
    command = f'{PSQL} {flags} -f push.sql "$DATABASE_URL"'
    assert refused(pushed(stage, command))["returncode"] == 3
    assert tables(stage) == set()
    assert believed(pushed(stage, command, push=GOOD))["returncode"] == 0


WAITS = 'until {psql} --command="select 1" "$LATE"; do sleep 0.1; done'


@pytest.fixture
def late(own_server: Server, stage: Stage) -> Server:
    """A server that the push waits for, which is down."""
    stage.environ["LATE"] = own_server.url()
    own_server.stop()
    return own_server


@pytest.mark.parametrize("loud", [True, False])
@pytest.mark.parametrize("refusal", ["stopped", "no database"])
def test_a_server_that_comes_up_late(
    stage: Stage, own_server: Server, *, loud: bool, refusal: str
) -> None:
    """What psql was refused, and waited for, is no failure; nor is it at the second start."""
    stage.environ["LATE"] = own_server.url("late")
    if refusal == "stopped":
        own_server.stop()
    psql = PSQL if not loud else "psql --no-psqlrc"
    wait = WAITS.format(psql=psql if loud else f"{psql} --output=/dev/null")
    script = f'{wait}; {psql} --file=push.sql "$DATABASE_URL"'
    program = pushed(stage, script, push=GOOD)
    program.until("push.printed")
    if refusal == "stopped":
        own_server.resume()
    with own_server.connect() as connection:
        connection.execute("create database late")

    assert believed(program)["output"] == "psql: succeeded"
    assert tables(stage) == {"rpg_items"}
    stage.environ["ENTRYPOINT_FORCE"] = "push"
    assert believed(stage.start())["returncode"] == 0


def test_a_server_that_never_came(stage: Stage, late: Server) -> None:
    """A script that goes on without it has pushed nothing, on a database that has tables too."""
    del late
    push = f'{PSQL} --file=push.sql "$DATABASE_URL"'
    believed(pushed(stage, push, push=GOOD))

    failure = refused(pushed(stage, f'{PSQL} --file=push.sql "$LATE"; true'))
    assert failure["returncode"] == 0
    assert "connection to server" in failure["output"]


def test_a_server_that_went_in_between(stage: Stage, late: Server) -> None:
    """What came first is there, what came second is not, and the exit code hides it."""
    del late
    first = 'psql --no-psqlrc --file=push.sql "$DATABASE_URL"'
    failure = refused(pushed(stage, f'{first}; {PSQL} --file=push.sql "$LATE"; true', push=GOOD))

    assert "connection to server" in failure["output"]
    assert tables(stage) == {"rpg_items"}


def test_an_error_is_not_undone_by_what_follows(stage: Stage) -> None:
    """A second file that works does not make the first one whole."""
    both = "; ".join(f'psql -X -f {name}.sql "$DATABASE_URL"' for name in ("bad", "good"))
    failure = refused(pushed(stage, both, bad=BAD, good=GOOD))

    assert failure["output"] == (
        'psql reported an error: psql:bad.sql:2: ERROR:  syntax error at or near "nope"'
    )


def test_uvicorns_form(stage: Stage) -> None:
    """A push that logs an error in the form of uvicorn, and succeeds, is believed."""
    stage.environ["ENTRYPOINT_SKIP"] = "seed"
    stage.push = python("push", "complain", "ERROR:    no cache", "complain", "ERROR:root:no cache")

    assert believed(stage.start())["output"] == "not recognised"


SAID = 'push.command = ["sh", "-c", "… && echo pushed"] and push.success = "^pushed$".'


@pytest.mark.parametrize(
    ("lines", "code"),
    [(["[✓] Changes applied", "Error: no cache"], 0), (["Reading config file"], 0), (["x"], 3)],
)
def test_the_remedy_of_an_unsure_verdict(stage: Stage, lines: list[str], code: int) -> None:
    """What it says to write into entrypoint.toml works, and believes no push that fails."""
    stage.environ["ENTRYPOINT_SKIP"] = "seed"
    words = [word for line in lines for word in ("say", line)]
    stage.push = python("push", *words, "exit", str(code))
    failure = refused(stage.start())
    assert code or SAID in failure["remedy"]
    command, success = re.findall(r"push\.(command|success) = (\[.*?\]|\".*?\")", SAID)
    section = tomllib.loads("\n".join(f"{name} = {value}" for name, value in (command, success)))
    section["command"] = [word.replace("…", shlex.join(stage.push)) for word in section["command"]]
    stage.push = section.pop("command")
    stage.sections["push"] = section

    program = stage.start()
    if code:
        assert refused(program)["returncode"] == code
    else:
        assert believed(program)["output"] == "push.success: succeeded"


def test_the_remedy_of_an_unsure_verdict_of_a_seed(stage: Stage) -> None:
    """A seed has no push.success: what its remedy says to write instead works."""
    stage.push = python("push", "sql", "create table if not exists rpg_heroes (name text)")
    stage.seed = python("push", "say", "Reading config file")
    program = stage.start()

    assert program.wait() == 8
    remedy = program.one("seed.failed")["remedy"]
    assert "push.success" not in remedy
    [command] = re.findall(r"seed\.command = (\[.*?\])", remedy)
    stage.seed = [word.replace("…", shlex.join(stage.seed)) for word in json.loads(command)]
    program = stage.start()
    assert program.wait() == 0, program.output
    assert program.one("seed.finished")["output"] == "not recognised"
