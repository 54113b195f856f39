"""What is told to run next: each line does what it says when it is pasted into a shell."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from entrypoint.config.conninfo import Conninfo
from entrypoint.transfer import command_lines
from tests.operator.transfer.conftest import RPG, RPG_DB, SMALL, World
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

SHELLS = [each for each in ("sh", "dash", "bash", "zsh") if shutil.which(each)]


@pytest.fixture
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A second server, with nothing on it."""
    with Server.start() as server:
        world = World.on(server, tmp_path_factory.mktemp("other"))
        yield world
        world.close()


def shell(
    world: World, line: str, environ: dict[str, str] | None = None, program: str = "sh"
) -> subprocess.CompletedProcess[str]:
    """Paste a line into a shell; what asks a person is agreed to."""
    assert world.server.password not in line
    asks = line.startswith("entrypoint transfer ") and "--dry-run" not in line
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    variables = {"PATH": path, "DATABASE_URL": world.operator.url, **world.environ(environ)}
    return subprocess.run(
        [program, "-c", f"{line} --yes" if asks else line],
        env=variables,
        cwd=world.operator.directory,
        check=False,
        capture_output=True,
        text=True,
    )


def there(world: World, database: str, table: str = "rpg_items") -> bool:
    """Whether a table is in schema public of a database."""
    if database not in world.databases():
        return False
    query = "select 1 from pg_tables where schemaname = 'public' and tablename = '{}'"
    return bool(world.sql(query.format(table), database))


@pytest.mark.parametrize(
    ("mode", "program"), [("same", "sh"), ("from", "sh"), ("server", "bash"), ("to", "sh")]
)
def test_each_next_line_does_what_it_says(
    world: World, other: World, mode: str, program: str
) -> None:
    """After a move, an undo and a removal the lines lead to the right server and database."""
    source, url = ("it's here" if mode == "from" else "postgres"), other.server.url()
    if mode == "from":
        world.sql(f'create database "{source}"')
    world.sql(SMALL, source)
    target = other if mode == "to" else world
    words = {
        "from": ["--from", source],
        "to": ["--to", url],
        "server": ["--server", world.server.url()],
    }.get(mode, [])
    more = {"to": {"NEW_SERVER": url}, "server": {"OLD": world.server.url(), "DATABASE_URL": url}}
    environ = more.get(mode, {})

    def run(line: str, code: int = 0) -> str:
        done = shell(world, line, environ, program)
        assert done.returncode == code, (line, done.stdout, done.stderr)
        return done.stdout

    def answer(*more: str) -> list[str]:
        done = world.transfer("--json", *words, *more, environ=environ)
        assert done.code == 0, done.err
        lines: list[str] = done.json["next"]
        return lines

    show, verify, undo, _ = answer()
    assert run(show).strip().startswith(f"DATABASE_URL={target.server.url(RPG_DB).split('?')[0]}")
    run(verify)
    run(undo)
    assert there(world, source)
    assert not there(target, RPG_DB)
    assert there(target, f"{RPG_DB}__undone")
    [line] = answer("--dry-run")
    run(line)
    assert there(target, RPG_DB)
    look, aside = answer("--undo")
    assert "planned" in run(look)
    assert f"{RPG_DB}__undone_2" in target.databases()
    run(aside)
    assert not [name for name in target.databases() if name.startswith(f"{RPG_DB}__")]
    assert not there(target, RPG_DB)
    *_, drop = answer()
    run(drop)
    assert there(target, RPG_DB)
    for database in (source, "postgres"):
        assert not world.sql("select from pg_namespace where nspname ~ '^moved_'", database)
    assert there(world, source, "sso_users")


def test_a_removal_says_how_to_look_at_the_target(small: World, other: World) -> None:
    """The line after --drop-quarantine looks at the server that has the service now."""
    url = other.server.url()
    *_, drop = small.moved("--to", url)["next"]
    assert drop.endswith("--drop-quarantine")
    dropped = small.transfer("--json", "--drop-quarantine", "--to", url).json
    [line] = dropped["next"]
    done = shell(small, line, {"TO_URL": url})
    assert done.returncode == 0, done.stderr
    assert f"{other.server.port}" in done.stdout


def test_a_url_with_a_password_is_asked_for(small: World, other: World) -> None:
    """What no variable holds is not printed: the shell says which option's URL it lacks."""
    lines = small.moved("--to", other.server.url())["next"]
    for line in lines:
        asked = shell(small, line)
        assert asked.returncode != 0
        assert "TO_URL: set it to the URL that --to had" in asked.stderr
    done = shell(small, lines[0], {"TO_URL": other.server.url()})
    assert f":{other.server.port}/{RPG_DB}" in done.stdout


def test_a_url_without_a_password_stands_in_the_lines(small: World) -> None:
    """Where the server asks for none, each line can be pasted as it is, quoted for the shell."""
    url = f"postgresql://postgres@/postgres?host={small.server.socket_dir}"
    url += f"&port={small.server.port}"
    moved = small.moved("--server", url)
    *_, drop = moved["next"]
    done = shell(small, drop, {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/postgres"})
    assert done.returncode == 0, done.stderr
    assert "$" not in drop


def test_a_refusal_gives_one_line_to_paste(world: World) -> None:
    """It agrees to all that is in the way, each once and quoted, and moves when it is pasted."""
    world.sql(SMALL)
    world.sql(
        'create view "sso it\'s" as select * from rpg_items; create view sso_b as select 1 from'
        ' dnd_rolls; create table "RPG_Old" (id int)'
    )
    names = {'view:"sso it\'s"', "view:sso_b", 'lookalike:"RPG_Old"'}
    refused = world.transfer("--json", "--allow", "view:sso_b", "--with", "RPG_Old")
    assert refused.code == 10
    event = refused.failed()
    assert event["event"] == "transfer.failed"
    assert len(event["error"]) < 200
    assert event["obstacles"] == [
        {
            "name": 'view:"sso it\'s"',
            "message": event["obstacles"][0]["message"],
            "remedy": event["obstacles"][0]["remedy"],
            "allowable": True,
        }
    ]
    assert refused.json["result"] == "refused"
    [line] = refused.json["next"]
    assert line in event["remedy"]
    assert line.count("--allow") == 2
    assert world.databases() == {"postgres"}

    all_of_it = world.transfer("--json", "--dry-run").json
    assert {each["name"] for each in all_of_it["obstacles"]} == names
    done = shell(world, line)
    assert done.returncode == 0, done.stderr
    assert there(world, RPG_DB, "RPG_Old")


@pytest.mark.parametrize("program", SHELLS)
def test_names_that_no_terminal_shows_can_be_pasted(small: World, program: str) -> None:
    """Newlines and escapes in names are written as every shell reads them, and run nothing."""
    name = "sso_\\n'$(touch found)\n\x1b[31m`touch found`!x %s %% é\x9b-\n"
    view = f'create view "{name}" as select * from rpg_items'  # noqa: S608  a name of our own
    small.sql(view)
    small.sql(f"comment on view \"{name}\" is 'theirs'")
    small.sql(
        'create view "rpg_\nv" as select * from sso_users; comment on view "rpg_\nv" is $$it$$'
    )
    refused = small.transfer("--json")
    [line] = refused.json["next"]
    assert line.isprintable()
    done = shell(small, line, program=program)
    assert done.returncode == 0, done.stderr
    assert not (small.operator.directory / "found").exists()
    assert there(small, RPG_DB)
    assert small.value(f'select count(*) from "{name}"') == 500  # noqa: S608  a name of our own


@pytest.mark.parametrize("program", SHELLS)
@pytest.mark.parametrize("name", ["-\n", "\n\n", "%s\\t\t'", "a\x1b", " \x7fé "])
def test_a_database_of_any_name_can_be_pasted(program: str, name: str) -> None:
    """A shell makes the very name of what is written for it, also where that ends in newlines."""
    arguments = argparse.Namespace(
        service="rpg", server=None, database=name, to=None, extra=(), jobs=2
    )
    nowhere = Conninfo({})
    line = command_lines.of(arguments, {}, nowhere, nowhere).transfer("--undo")
    assert line.isprintable()
    said = subprocess.run(
        [program, "-c", line.replace("entrypoint ", "printf '%s|' ", 1)],
        check=True,
        capture_output=True,
    )
    assert said.stdout.decode() == f"transfer|rpg|--from|{name}|--undo|"


def test_what_nobody_can_agree_to_is_told_first(small: World) -> None:
    """The remedy of it comes before the line, which moves all when it is mended."""
    small.sql(
        "create table sso_places (id int, region text) partition by list (region);"
        "create table rpg_places partition of sso_places for values in ('eu');"
        "create view sso_v as select * from rpg_items"
    )
    refused = small.transfer("--json")
    assert refused.code == 10
    event = refused.failed()
    assert [each["allowable"] for each in event["obstacles"]] == [False, True]
    assert event["remedy"].startswith("Fix what --allow does not cover: [partition:rpg_places] ")
    [line] = refused.json["next"]
    assert "partition:" not in line
    assert shell(small, line).returncode == 10
    small.sql("alter table sso_places detach partition rpg_places")
    assert shell(small, line).returncode == 0
    assert there(small, RPG_DB, "rpg_places")


def test_a_refusal_shows_people_the_plan(small: World) -> None:
    """Without --json the tables of a dry run are on stdout, and the event says it in a sentence."""
    small.sql("create view sso_v as select * from rpg_items")
    refused = small.transfer()
    assert refused.code == 10
    assert f"{RPG}: refused" in refused.out
    assert "rpg_items" in refused.out
    assert f"next: entrypoint transfer {RPG} --allow view:sso_v" in refused.out
    assert refused.obstacles == ["view:sso_v"]


@pytest.mark.parametrize("word", ["--dry-run", "--undo", "--drop-quarantine", ""])
def test_a_report_is_written_of_each(small: World, word: str) -> None:
    """--report holds the answer of a plan, an undo, a removal and a refusal, too."""
    path = small.operator.directory / "report.md"
    if word in ("--undo", "--drop-quarantine"):
        small.moved()
    if not word:
        small.sql("create view sso_v as select * from rpg_items")
    done = small.transfer("--json", "--report", str(path), *filter(None, [word]))
    assert done.code == (0 if word else 10)
    text = path.read_text()
    assert text.startswith(f"# {RPG}: {done.json['result']}")
    for line in done.json["next"]:
        assert f"`{line}`" in text
