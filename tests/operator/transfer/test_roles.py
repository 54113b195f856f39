"""Who may transfer, what nobody gets to see, another server, and the service's first start."""

from __future__ import annotations

import os
import re
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.operator.conftest import create_role
from tests.operator.transfer.conftest import PHASES, RPG, RPG_DB, World
from tests.support.program import Program, until
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

CANARY = "c4n4ry-p4ssw0rd"

OWNED = """
create schema game authorization rpg_owner;
set role rpg_owner;
create type game.rpg_kind as enum ('a', 'b');
create table game.rpg_heroes (id int primary key, kind game.rpg_kind);
insert into game.rpg_heroes select i, 'a' from generate_series(1, 100) i;
create table game.rpg_secret (id int);
insert into game.rpg_secret values (1);
alter table game.rpg_secret enable row level security;
create policy rpg_p on game.rpg_secret using (id > 0);
create view game.rpg_v as select id from game.rpg_heroes;
reset role
"""

DATABASE_OWNER = "select datdba::regrole::text from pg_database where datname ="

PUSH = """
import os, psycopg
with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as c:
    c.execute("create table if not exists rpg_items (id bigserial primary key, name text)")
    c.execute("create table if not exists pushes (at timestamptz default now())")
    c.execute("insert into pushes default values")
print("Changes applied")
"""

SEED = """
import os, psycopg
with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as c:
    c.execute("insert into rpg_items (id, name) values (1, 'seeded') on conflict do nothing")
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[World]:
    """Another server."""
    with Server.start() as server:
        (tmp_path / "other").mkdir()
        yield World.on(server, tmp_path / "other")


class Spy:
    """Reads the command lines and the files of a transfer while it runs."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.argv: set[bytes] = set()
        self.found: list[str] = []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._work)
        self.thread.start()

    def _work(self) -> None:
        while not self.stop.is_set():
            for process in Path("/proc").iterdir():
                try:
                    self.argv.add((process / "cmdline").read_bytes())
                except OSError:
                    continue
            for folder, _, names in os.walk(self.world.temp):  # goes on where one is gone
                for path in (Path(folder, name) for name in names):
                    try:
                        if CANARY.encode() in path.read_bytes():
                            self.found.append(str(path))
                    except OSError:
                        continue

    def end(self) -> None:
        """Stop reading."""
        self.stop.set()
        self.thread.join()


def test_no_password_is_seen_anywhere(small: World, tmp_path: Path) -> None:
    """Not in a command line, a file, the answer, the report or the log, at any level."""
    url = create_role(small.server, "mover", "superuser")
    small.sql(f"alter role mover password '{CANARY}'")
    spy = Spy(small)
    report = tmp_path / "report.md"
    url = url.replace("its-password", CANARY)
    try:
        environ = {"DATABASE_URL": url, "ENTRYPOINT_LOG_LEVEL": "debug"}
        done = small.transfer("--report", str(report), environ=environ)
    finally:
        spy.end()
    assert done.code == 0, done.err
    assert any(b"pg_dump" in argv for argv in spy.argv)
    assert [argv for argv in spy.argv if CANARY.encode() in argv] == []
    assert spy.found == []
    assert "transfer.printed" in done.err
    for text in (done.out, done.err, report.read_text()):
        assert CANARY not in text
        assert small.server.password not in text


def test_the_owner_with_the_listed_rights_can_do_it(small: World) -> None:
    """CREATEDB and CREATE on the source are all that the service's own role needs besides."""
    url = create_role(small.server, "rpg_owner", "createdb")
    small.sql(OWNED)
    small.sql("drop table rpg_items, dnd_rolls")
    small.sql("grant create on database postgres to rpg_owner")
    rows = {name: each for name, each in small.rows("postgres").items() if "rpg_" in name}
    done = small.transfer("--json", environ={"DATABASE_URL": url})
    assert done.code == 0, done.err
    assert small.rows(RPG_DB) == rows
    owner = "select tableowner from pg_tables where tablename = 'rpg_heroes'"
    assert small.value(owner, RPG_DB) == "rpg_owner"
    assert small.value(f"{DATABASE_OWNER} '{RPG_DB}'") == "rpg_owner"
    assert small.transfer("--undo", environ={"DATABASE_URL": url}).code == 0
    assert small.rows("postgres").items() >= rows.items()


def test_an_owner_without_rights_is_told_all_at_once(small: World) -> None:
    """All that is missing is listed as statements, before anything is locked or made."""
    url = create_role(small.server, "rpg_owner")
    small.sql(OWNED)
    small.sql("drop table rpg_items, dnd_rolls")
    refused = small.transfer(environ={"DATABASE_URL": url})
    assert refused.code == 5
    remedy = refused.failed()["remedy"]
    statements = remedy.removeprefix("Run ").removesuffix(".")
    assert statements == (
        'ALTER ROLE "rpg_owner" CREATEDB; GRANT CREATE ON DATABASE "postgres" TO "rpg_owner"'
    )
    assert small.databases() == {"postgres"}
    small.sql(statements)
    assert small.transfer(environ={"DATABASE_URL": url}).code == 0


OTHERS = """
create function game.rpg_add(int, int) returns int language sql immutable as 'select $1 + $2';
create procedure game.rpg_run(inout a int) language sql as 'select 1';
create aggregate game.rpg_sum(int) (sfunc = game.rpg_add, stype = int, initcond = '0');
create type game.rpg_pair as (a int, b text);
create type game.rpg_span as range (subtype = float8);
create domain game."rpg ; word" as text;
create statistics game.rpg_stats on id, kind from game.rpg_heroes
"""
"""What a superuser made for the service."""


def test_an_owner_is_told_what_of_the_service_is_another_s(each: World) -> None:
    """Functions, types and statistics of a superuser's stop it before any lock; given, all move."""
    url = create_role(each.server, "rpg_owner", "createdb")
    each.sql(f"{OWNED}; drop table rpg_items, dnd_rolls; {OTHERS}")
    each.sql("grant create on database postgres to rpg_owner")
    before = each.entries("postgres")
    refused = each.transfer(environ={"DATABASE_URL": url})
    assert refused.code == 5
    assert [event["event"] for event in refused.events] == ["transfer.failed"]
    assert 'the role "rpg_owner" lacks' in refused.failed()["error"]
    statements = refused.failed()["remedy"].removeprefix("Run ").removesuffix(".")
    assert 'ALTER FUNCTION game.rpg_add(integer, integer) OWNER TO "rpg_owner"' in statements
    assert each.entries("postgres") == before
    each.sql(statements)
    before = each.entries("postgres")
    done = each.transfer("--json", environ={"DATABASE_URL": url})
    assert done.code == 0, done.err
    assert each.value("select game.rpg_sum(1)", RPG_DB) == 1
    assert each.transfer("--undo", environ={"DATABASE_URL": url}).code == 0
    assert each.entries("postgres") == before


def test_a_member_of_the_owner_is_told_to_be_the_owner(small: World) -> None:
    """A role that may more than the owner is refused; what the remedy says works when done."""
    owner = create_role(small.server, "rpg_owner")
    mover = create_role(small.server, "mover", "createdb createrole")
    small.sql(OWNED)
    small.sql("drop table rpg_items, dnd_rolls")
    small.sql("grant rpg_owner to mover; grant create on database postgres to mover")
    refused = small.transfer(environ={"DATABASE_URL": mover})
    assert refused.code == 5
    remedy = refused.failed()["remedy"]
    assert remedy.startswith('Use --server to name the role "rpg_owner"')
    for statement in re.findall(r"(?:ALTER|GRANT) [^;]*?(?=;|,)", remedy):
        small.sql(statement)
    assert (small.databases(), small.left()) == ({"postgres"}, [])
    assert small.transfer(environ={"DATABASE_URL": owner}).code == 0


def test_owners_of_their_own_need_a_superuser(small: World) -> None:
    """No role but a superuser moves what two own, and the remedy says so."""
    url = create_role(small.server, "rpg_owner", "createdb")
    small.sql(OWNED)
    refused = small.transfer(environ={"DATABASE_URL": url})
    assert refused.code == 5
    assert 'which belongs to "postgres", "rpg_owner"' in refused.failed()["error"]
    assert refused.failed()["remedy"].startswith("Use --server to name a superuser")


def test_a_server_that_lets_only_its_superuser_in_is_told(small: World) -> None:
    """Where the transfer's roles cannot log in, nothing is locked, and the remedy works."""
    small.server.reload(hba="host all postgres 127.0.0.1/32 scram-sha-256")
    refused = small.transfer()
    assert refused.code == 5
    assert "a role that the transfer created cannot log in" in refused.failed()["error"]
    assert "pg_hba.conf" in refused.failed()["remedy"]
    assert (small.databases(), small.left()) == ({"postgres"}, [])
    small.server.reload(hba="host all all 127.0.0.1/32 scram-sha-256")
    small.moved()


def test_another_server_gets_it(small: World, other: World) -> None:
    """With --to the target is on the other server, whole, and the source keeps a quarantine."""
    before = small.rows("postgres")
    moved = small.moved("--to", other.server.url())
    assert other.databases() == {"postgres", RPG_DB}
    assert small.databases() == {"postgres"}
    theirs = {name: rows for name, rows in before.items() if "sso_" not in name}
    assert other.rows(RPG_DB) == theirs
    assert moved["quarantine"] == ["moved_gaqno_rpg_db_public"]
    assert str(other.server.port) in moved["url"]


def test_the_same_server_by_another_name_gets_it(small: World) -> None:
    """With --to and another address of the source's server the roles are there already."""
    small.moved("--to", small.server.url().replace("127.0.0.1", "localhost"))
    assert small.databases() == {"postgres", RPG_DB}
    assert small.left() == []


def test_roles_that_the_other_server_lacks_are_named_first(small: World, other: World) -> None:
    """Missing owners and grantees are an obstacle before anything is locked; made, all moves."""
    small.sql("create role rpg_owner; create role rpg_reader; create role sso_only")
    small.sql("alter table rpg_items owner to rpg_owner; grant select on dnd_rolls to rpg_reader")
    small.sql("grant select on sso_users to sso_only")
    refused = small.transfer("--to", other.server.url(), "--allow", "roles")
    assert refused.code == 10
    assert refused.obstacles == ["roles"]
    assert 'CREATE ROLE "rpg_owner"; CREATE ROLE "rpg_reader"' in refused.failed()["remedy"]
    assert "sso_only" not in refused.err
    other.sql("create role rpg_owner; create role rpg_reader")
    small.moved("--to", other.server.url())
    owner = "select tableowner from pg_tables where tablename = 'rpg_items'"
    assert other.value(owner, RPG_DB) == "rpg_owner"


def test_the_service_starts_on_its_new_database(small: World, tmp_path: Path) -> None:
    """The first start pushes and seeds once and doubles no row; the next one is warm."""
    small.moved()
    (tmp_path / "push.py").write_text(PUSH)
    (tmp_path / "seed.py").write_text(SEED)
    (tmp_path / "entrypoint.toml").write_text(
        f'service = "{RPG}"\n[push]\ncommand = ["{sys.executable}", "push.py"]\n'
        f'inputs = ["push.py"]\n[seed]\ncommand = ["{sys.executable}", "seed.py"]\n'
        'inputs = ["seed.py"]\nwhen = "always"\n'
    )
    for _ in range(2):
        environ = {"PATH": os.environ["PATH"], "DATABASE_URL": small.server.url(RPG_DB)}
        start = Program.start("run", "--", "true", environ=environ, directory=tmp_path)
        assert start.wait() == 0, start.output
    assert small.value("select count(*) from pushes", RPG_DB) == 1
    assert small.value("select count(*) from rpg_items", RPG_DB) == 500
    assert small.value("select count(*) from rpg_items where name = 'seeded'", RPG_DB) == 0


def test_memory_does_not_grow_with_the_data(small: World) -> None:
    """Fifty megabytes pass through the tools and the server, not through us."""
    small.sql(
        "create table rpg_big as select i, repeat(md5(i::text), 60) as v"
        " from generate_series(1, 26000) i"
    )
    assert small.value("select pg_relation_size('rpg_big') > 50e6") is True
    program = small.start()
    peaks = [0]
    status = Path(f"/proc/{program.process.pid}/status")

    def ended() -> bool:
        try:
            [line] = [each for each in status.read_text().splitlines() if "VmHWM" in each]
            peaks.append(int(line.split()[1]))
        except (OSError, ValueError):
            return True
        return False

    until(ended, "its end")
    assert program.wait() == 0, program.output
    assert [e["phase"] for e in program.all("transfer.phase_finished")] == list(PHASES)
    assert 0 < max(peaks) <= 120_000
