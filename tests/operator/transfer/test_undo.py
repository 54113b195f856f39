"""What an undo and a removal say, whom they refuse for, and in what order moves come back."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import termios
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.operator.conftest import Answer, answer, create_role
from tests.operator.transfer.conftest import RPG, RPG_DB, World, lent
from tests.support import versions
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WRITTEN = """
insert into rpg_items (name) values ('new'), ('newer');
update rpg_items set name = 'other' where id <= 3;
delete from dnd_rolls where item > 90;
create table rpg_later (id int); insert into rpg_later values (1)
"""

SIDES = {
    "dnd_rolls": (100, 90, 10),
    "rpg_items": (500, 502, 5),
    "rpg_later": (None, 1, 1),
}
"""Rows in the source and in the target, and changes in the target, after `WRITTEN`."""

AGAIN = "create table rpg_items (id bigserial primary key, name text)"
"""What an old replica's push makes in the source again."""


@pytest.fixture(scope="module", params=(15, 18))
def host(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server for the tests of this file."""
    with versions.started(request.param) as server:
        yield server


@pytest.fixture
def twice(host: Server, tmp_path: Path) -> Iterator[World]:
    """The two services' small tables on it."""
    yield from lent(host, tmp_path)


def rows(answer: dict[str, Any]) -> dict[str, tuple[int | None, ...]]:
    """What an answer says of each table."""
    return {e["object"]: (e["source"], e["target"], e["written"]) for e in answer["rows"]}


def asked(world: World, *words: str) -> tuple[int, str]:
    """Run the command on a terminal that answers no; its code, and all that was on the terminal."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, 120))  # else it is as wide as the terminal of the tests
    environ = {"PATH": os.environ["PATH"], "DATABASE_URL": world.operator.url, **world.environ()}
    argv = [sys.executable, "-I", "-m", "entrypoint", "transfer", RPG, *words]
    process = subprocess.Popen(
        argv, env=environ, cwd=world.operator.directory, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    said, answered = b"", False
    while True:
        try:
            said += os.read(ours, 4096)
        except OSError:
            break
        if b"[y" in said and not answered:
            os.write(ours, b"no\n")
            answered = True
    os.close(ours)
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", said.decode())
    return process.wait(60), re.sub(r"\s+", " ", plain)


@pytest.mark.parametrize("role", ["superuser", "owner"])
@pytest.mark.parametrize("word", ["--undo", "--drop-quarantine"])
def test_rows_written_since_the_move_are_told(twice: World, word: str, role: str) -> None:
    """Per table rows here and there, also what was changed: in the question and in the answer."""
    environ = {}
    if role == "owner":
        environ["DATABASE_URL"] = create_role(twice.server, "rpg_owner", "createdb")
        twice.sql(
            "grant create on database postgres to rpg_owner;"
            " grant all on schema public to rpg_owner"
        )
        twice.sql(
            "alter table rpg_items owner to rpg_owner; alter table dnd_rolls owner to rpg_owner"
        )
    try:
        assert twice.transfer("--json", environ=environ).code == 0
        with twice.server.connect(RPG_DB) as connection:
            if environ:
                connection.execute("set role rpg_owner")
            connection.execute(WRITTEN.encode())
        if not environ:
            code, text = asked(twice, word)
            assert code == 10
            assert "rpg_items 500 502 5" in text
            assert "[yes/no]" in text
            assert "the operator did not agree; nothing was changed" in text
        done = twice.transfer(word, "--json", environ=environ)
        assert done.code == 0, done.err
        assert rows(done.json) == SIDES
        assert done.json["quarantine"] == []
        assert twice.left() == []
    finally:
        if environ:
            for name in twice.databases():
                twice.sql("reassign owned by rpg_owner to postgres; drop owned by rpg_owner", name)
            twice.sql("drop role rpg_owner")


def test_a_count_has_nobody_s_rights(twice: World) -> None:
    """A function in an index, which the server runs to plan a count, never runs as a superuser."""
    twice.moved()
    create_role(twice.server, "rpg_owner")
    twice.sql(f"grant all on database {RPG_DB} to rpg_owner")
    hostile = """
        grant all on schema public to rpg_owner; set role rpg_owner;
        create function evil(int) returns int language plpgsql immutable as $$ begin
          if current_setting('application_name') like 'entrypoint%' and (
            select rolsuper from pg_roles where rolname = session_user
          ) then raise exception 'it runs as a superuser'; end if; return $1; end $$;
        create table rpg_evil (id int);
        create index on rpg_evil ((evil(1) + id)); insert into rpg_evil values (1)
        """
    try:
        with twice.server.connect(RPG_DB) as connection:
            connection.execute(hostile.encode())
        done = twice.transfer("--undo", "--json")
        assert done.code == 0, done.err
        assert rows(done.json)["rpg_evil"] == (None, 1, 1)
        assert twice.left() == []
    finally:
        for name in twice.databases():
            twice.sql("drop owned by rpg_owner cascade", name)
        twice.sql("drop role rpg_owner")


def test_the_newest_move_comes_back_first(twice: World) -> None:
    """Moved twice: one undo brings the replaced database back, the other one the first move."""
    before = twice.dump("postgres")
    twice.moved()
    twice.sql(AGAIN)
    twice.sql("insert into rpg_items (name) values ('stray')")
    first = twice.moved("--allow", "target")
    assert first["kept_database"] == f"{RPG_DB}__replaced"
    assert len(twice.sql("select 1 from pg_namespace where nspname ~ '^moved_'")) == 2

    done = twice.transfer("--undo", "--json")
    assert done.code == 0, done.err
    assert rows(done.json)["rpg_items"] == (1, 1, 0)
    assert done.json["quarantine"] == ["moved_gaqno_rpg_db_public"]
    assert any("of an earlier move" in each for each in done.json["notes"])
    assert twice.value("select count(*) from rpg_items", RPG_DB) == 500
    assert twice.value("select count(*) from rpg_items") == 1
    assert twice.databases() == {"postgres", RPG_DB, f"{RPG_DB}__undone"}

    taken = twice.transfer("--undo")
    assert taken.code == 10
    assert "'public' has" in taken.failed()["error"]
    assert "rpg_items" in taken.failed()["error"]
    assert twice.value("select count(*) from rpg_items", RPG_DB) == 500
    twice.sql("drop table rpg_items")
    done = twice.transfer("--undo", "--json")
    assert done.code == 0, done.err
    assert twice.dump("postgres") == before
    assert twice.databases() == {"postgres", f"{RPG_DB}__undone", f"{RPG_DB}__undone_2"}


def test_a_note_of_an_earlier_version_is_read(twice: World) -> None:
    """A quarantine whose note says less is put back, and its target is put aside."""
    twice.moved()
    [(schema, comment)] = twice.sql(
        "select nspname, obj_description(oid) from pg_namespace where nspname ~ '^moved_'"
    )
    head, _, text = comment.partition("{")
    note = {key: json.loads("{" + text)[key] for key in ("service", "database", "origin")}
    note["at"] = "2026-01-02T03:04:05Z"
    twice.sql(f"comment on schema {schema} is '{head}{json.dumps(note)}'")
    done = twice.transfer("--undo", "--json")
    assert done.code == 0, done.err
    assert done.json["kept_database"] == f"{RPG_DB}__undone"
    assert twice.value("select count(*) from rpg_items") == 500


def test_an_undo_beside_the_service_says_who_is_connected(twice: World) -> None:
    """Whoever is in the target keeps it from being put aside, by name; nothing is changed."""
    twice.moved()
    before = twice.dump("postgres")
    with psycopg.connect(twice.server.url(RPG_DB), application_name="the api"):
        refused = twice.transfer("--undo")
        assert refused.code == 10
        assert "connected to it: the api (role postgres, from 127.0.0.1)" in refused.err
        assert twice.dump("postgres") == before
    assert twice.transfer("--undo").code == 0


@pytest.mark.parametrize("word", ["--undo", "--drop-quarantine"])
def test_who_uses_the_quarantine_is_named_and_not_kept_waiting(twice: World, word: str) -> None:
    """Behind an open transaction it gives up, says whose, and others read on all the while."""
    twice.sql("create view sso_items as select * from rpg_items")
    twice.moved("--allow", "view:sso_items")
    if word == "--drop-quarantine":
        twice.sql("drop view sso_items; create view sso_items as select 1 as id")
    reads = b"select count(*) from moved_gaqno_rpg_db_public.rpg_items"
    with psycopg.connect(twice.server.url(), application_name="a report") as connection:
        connection.execute(reads)
        program = twice.start(word)
        with twice.server.connect() as other:
            other.execute("set lock_timeout = '4s'")
            while program.process.poll() is None:
                other.execute(reads)
        assert program.wait() == 10, program.output
        [event] = program.events
        pid = connection.info.backend_pid
        assert f"pid {pid} (a report, role postgres, from 127.0.0.1, since 20" in event["error"]
        assert "holds AccessShareLock on moved_gaqno_rpg_db_public.rpg_items" in event["error"]
        assert f"SELECT pg_terminate_backend({pid})" in event["remedy"]
    assert twice.transfer(word).code == 0


def test_an_empty_source_replaces_nothing(twice: World) -> None:
    """Nobody can agree to it; the statements that are proposed clear it, and nothing is to move."""
    twice.moved()
    twice.sql(
        f"{AGAIN}; create table dnd_rolls (item bigint references rpg_items, rolled int);"
        " create view rpg_v as select 1 as one; create type rpg_kind as enum ('a')"
    )
    twice.sql("insert into rpg_items (name) values ('gone'); delete from rpg_items")
    refused = twice.transfer("--json", "--allow", "all")
    assert refused.code == 10
    assert refused.obstacles == ["empty_source"]
    found = {each["name"]: each for each in refused.json["obstacles"]}
    said = found["target"]["message"]
    assert "rpg_items 0 and 500" in said
    assert "dnd_rolls 0 and 100" in said
    assert "in all 0 and 600" in said
    statements = found["empty_source"]["remedy"].partition("run there: ")[2].rstrip(".")
    twice.sql(statements)
    done = twice.transfer("--json")
    assert (done.code, done.json["result"]) == (0, "nothing to move")
    clean = twice.operator.run("verify", "--json", "--service", RPG)
    assert {each["finding"] for each in clean.findings} == {"quarantine"}
    assert twice.value("select count(*) from rpg_items", RPG_DB) == 500


def test_one_row_is_no_empty_source(twice: World) -> None:
    """Estimates say nothing: a row that no statistics know of makes it an ordinary move."""
    twice.moved()
    twice.sql(AGAIN)
    twice.sql("insert into rpg_items (name) values ('kept')")
    refused = twice.transfer()
    assert refused.obstacles == ["target"]
    assert "rpg_items 1 and 500" in refused.err


@pytest.fixture
def other(twice: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A second server of the same version, with nothing on it."""
    major = twice.value("select current_setting('server_version_num')::int / 10000")
    with Server.start(prefix=versions.prefix(major)) as server:
        world = World.on(server, tmp_path_factory.mktemp("other"))
        yield world
        world.close()


def test_an_undo_to_another_server_puts_the_target_there_aside(twice: World, other: World) -> None:
    """With --to it is renamed there; a database of that name on the source's server stays."""
    before = twice.dump("postgres")
    to = ("--to", other.server.url())
    twice.moved(*to)
    twice.sql(f"create database {RPG_DB}")
    other.sql("insert into rpg_items (name) values ('new')", RPG_DB)
    with psycopg.connect(other.server.url(RPG_DB), application_name="the api"):
        refused = twice.transfer("--undo", *to)
        assert refused.code == 10
        assert "connected to it: the api" in refused.err
    done = twice.transfer("--undo", "--json", *to)
    assert done.code == 0, done.err
    assert done.json["kept_database"] == f"{RPG_DB}__undone"
    assert rows(done.json)["rpg_items"] == (500, 501, 1)
    assert other.databases() == {"postgres", f"{RPG_DB}__undone"}
    assert twice.databases() == {"postgres", RPG_DB}
    assert twice.dump("postgres") == before


def test_an_undo_that_knows_no_other_server_says_what_stays(twice: World, other: World) -> None:
    """Without --to the target there is left alone, which is said; so is one of its name here."""
    twice.moved("--to", other.server.url())
    twice.sql(f"create database {RPG_DB}")
    done = twice.transfer("--undo", "--json")
    assert done.code == 0, done.err
    assert done.json["kept_database"] is None
    where = f"127.0.0.1:{other.server.port}"
    stays = [each for each in done.json["notes"] if f"on {where} stays as it is" in each]
    assert len(stays) == 1
    assert other.databases() == {"postgres", RPG_DB}
    assert twice.databases() == {"postgres", RPG_DB}


def test_an_undo_of_a_move_on_one_server_takes_no_other(twice: World, other: World) -> None:
    """--to of a move that went nowhere else is refused, and nothing is renamed on either."""
    twice.moved()
    twice.sql(f"create database {RPG_DB}_x")
    other.sql(f"create database {RPG_DB}")
    refused = twice.transfer("--undo", "--to", other.server.url())
    assert refused.code == 10
    assert "on the source's server" in refused.failed()["error"]
    assert other.databases() == {"postgres", RPG_DB}
    assert twice.transfer("--undo").code == 0


SSO = "gaqno-sso-service"


def sso(world: World, *words: str) -> Answer:
    """A transfer of the other service's."""
    environ = world.environ()
    return answer(world.operator.start("transfer", SSO, "--yes", *words, environ=environ))


def test_a_default_on_a_quarantined_sequence_gets_one_of_its_own(twice: World) -> None:
    """The remedy's statements lose no number, and then the table moves and both quarantines go."""
    create_role(twice.server, "its_owner")
    twice.sql("grant usage on schema public to its_owner")
    twice.sql(
        "create sequence sso_seq; create table rpg_s (i int default nextval('sso_seq'), n text);"
        "insert into rpg_s (n) select 'x' from generate_series(1, 7)"
    )
    twice.sql("alter table rpg_s owner to its_owner; grant usage on sequence sso_seq to its_owner")
    try:
        assert sso(twice, "--allow", "all").code == 0
        used = sso(twice, "--drop-quarantine").failed()
        assert (used["event"], used["exit_code"]) == ("transfer.failed", 10)
        assert "default value for column i of table public.rpg_s" in used["error"]
        [found] = twice.transfer("--dry-run", "--json").json["obstacles"]
        assert (found["name"], found["allowable"]) == ("default:rpg_s.i", False)
        twice.sql(found["remedy"].removeprefix("Give it a sequence of its own: ").rstrip("."))
        assert sso(twice, "--drop-quarantine").code == 0
        twice.sql("set role its_owner; insert into rpg_s (n) values ('own')")
        twice.moved()
        twice.sql("set role its_owner; insert into rpg_s (n) values ('moved')", RPG_DB)
        rows = twice.sql("select i from rpg_s where n in ('own', 'moved') order by 1", RPG_DB)
        assert [i for (i,) in rows] == [9, 10]
        assert twice.transfer("--drop-quarantine").code == 0
    finally:
        for name in twice.databases() - {"postgres"}:
            twice.sql("drop owned by its_owner", name)
        twice.sql("drop owned by its_owner; drop role its_owner")


POINTING = """
alter table sso_users add item bigint references rpg_items;
alter table rpg_items add u int references sso_users;
update sso_users set item = 5; update rpg_items set u = 1 where id < 10
"""


@pytest.mark.parametrize("undone", [False, True], ids=["both", "undo"])
def test_quarantines_that_point_to_each_other_can_be_removed(twice: World, *, undone: bool) -> None:
    """Either goes with the other's foreign key, which is told, and the other keeps its rows."""
    twice.sql(POINTING)
    assert sso(twice, "--allow", "all").code == 0
    rows = twice.rows("postgres")["public.rpg_items"]
    twice.moved("--allow", "all")
    dropped = sso(twice, "--drop-quarantine", "--json")
    assert dropped.code == 0, dropped.err
    key = "rpg_items_u_fkey of moved_gaqno_rpg_db_public.rpg_items"
    assert f"the removal also drops the foreign key {key}" in dropped.json["notes"]
    if undone:
        assert twice.transfer("--undo").code == 0
        assert twice.rows("postgres")["public.rpg_items"] == rows
    else:
        assert twice.transfer("--drop-quarantine").code == 0
        assert twice.sql("select from pg_namespace where nspname ~ '^moved_'") == []


def test_a_view_in_another_quarantine_is_removed_with_that_first(twice: World) -> None:
    """The refusal names the service whose quarantine goes first, and so it goes."""
    twice.sql("create view rpg_v as select * from sso_users")
    assert sso(twice, "--allow", "all").code == 0
    twice.moved("--allow", "all")
    refused = sso(twice, "--drop-quarantine").failed()
    assert refused["remedy"].startswith(f"Run entrypoint transfer {RPG} --drop-quarantine first")
    assert "rule _RETURN on view moved_gaqno_rpg_db_public.rpg_v" in refused["error"]
    assert twice.transfer("--drop-quarantine").code == 0
    assert sso(twice, "--drop-quarantine").code == 0
