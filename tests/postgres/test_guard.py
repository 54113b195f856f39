"""While a guard is armed nobody else drops or empties what has rows; it leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import uuid
from contextlib import closing
from dataclasses import dataclass, field, replace
from threading import Thread, Timer
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql
from psycopg.errors import InvalidTextRepresentation, RaiseException

from entrypoint.config.conninfo import Conninfo
from entrypoint.errors import PushError
from entrypoint.postgres import guard, leftovers, lock, sessions, snapshot
from entrypoint.postgres import refusal as refusals
from entrypoint.postgres.refusal import REFUSES
from entrypoint.postgres.session import Session, first_rows, open_session
from entrypoint.postgres.sql import load_sql
from tests.conftest import Role
from tests.support import guards
from tests.support.program import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg.rows import TupleRow

    from entrypoint.postgres.guard import Guard
    from tests.conftest import RoleFactory
    from tests.support.server import Endpoint, Server

    Connection = psycopg.Connection[TupleRow]

SINCE_14 = 140000

LASTS_S = 600.0

REFUSAL = (RaiseException, InvalidTextRepresentation)
"""Of a drop, and of TRUNCATE, whose refusal is quoted as a text that is no boolean."""

ODD_SCHEMA = '"Sche,ma ""x"""'
ODD = f'{ODD_SCHEMA}."Ta.ble; ""%s"",{{}} é"'
ODD_COLUMN = '"a.b ""c"""'
ODD_LABEL = 'Sche,ma "x".Ta.ble; "%s",{} é'

SCHEMA = f"""
create type mood as enum ('sad', 'happy');
create domain positive as int check (value > 0);
create type shape as (id int, note text);
create table plain (id int primary key, note text, more text);
create table referring (id int references plain);
create table single (id int primary key, note text not null default 'x' check (note <> ''));
create table "Upper" ("Id" int, "Note" text);
create table typed (id int, m mood, p positive);
create table shaped of shape;
create table parted (id int, note text) partition by range (id);
create table parted_1 partition of parted for values from (0) to (10);
create table parted_2 partition of parted for values from (10) to (20);
create table parent (id int, note text);
create table child (more int) inherits (parent);
create table empty (id int primary key, note text);
create table follower (id int references empty);
create table empty_parted (id int, note text) partition by range (id);
create table empty_part partition of empty_parted for values from (0) to (10);
create schema away;
create table away.stock (id int, note text);
create table away.void ();
create schema bare;
create table bare.void (id int, note text);
create schema {ODD_SCHEMA};
create table {ODD} ({ODD_COLUMN} int, id int);
create view seen as select id, note from plain;
create materialized view summed as select count(*) from plain;
create index plain_note on plain (note);
create foreign data wrapper nothing;
create server nowhere foreign data wrapper nothing;
create foreign table elsewhere (id int, note text) server nowhere;
create function drop_it() returns void language plpgsql as
  $$ begin drop table single; end $$;
create function truncate_it() returns void language sql as 'truncate single';

insert into plain values (1, 'x', 'y'), (2, 'x', 'y');
insert into referring values (1);
insert into single values (1);
insert into "Upper" values (1, 'x');
insert into typed values (1, 'sad', 1);
insert into shaped values (1, 'x');
insert into parted values (1, 'x');
insert into child values (1, 'x', 2);
insert into follower values (null);
insert into away.stock values (1, 'x');
insert into {ODD} values (1, 2);
refresh materialized view summed;
"""  # noqa: S608  names of our own


@dataclass(frozen=True)
class Database:
    """One with `SCHEMA` in it, and what a test does there."""

    server: Endpoint
    name: str
    push: str = "entrypoint/test/host/push-c0ffee"
    """The application_name of the push that is guarded."""

    tables: dict[int, snapshot.Table] = field(default_factory=dict)
    """What there was when a guard was armed."""

    def later(self) -> Database:
        """The same for another push."""
        return replace(self, push="entrypoint/test/host/push-decade")

    def url(self, role: Role | None = None) -> str:
        """The superuser's by default."""
        login = (role.name, role.password) if role else ()
        return self.server.url(self.name, *login)

    def connect(self, role: Role | None = None) -> Connection:
        """A session in autocommit mode, of anybody."""
        return psycopg.connect(self.url(role), autocommit=True)

    def pushing(self, role: Role | None = None) -> Connection:
        """The same of the push."""
        return psycopg.connect(self.url(role), autocommit=True, application_name=self.push)

    def session(self, role: Role | None = None) -> Session:
        """The same as the program has it."""
        return session(self.url(role))

    def arm(self, *allowed: str, role: Role | None = None) -> Guard:
        """Arm a guard as a push does, for all tables that have rows."""
        with closing(self.session(role)) as looking:
            looking.connection.execute("begin")
            before = snapshot.take(looking)
        self.tables.update(before.tables)
        tables = before.filled
        return guard.arm(self.session(role), tables, allowed, self.push, LASTS_S)

    @contextlib.contextmanager
    def held(self) -> Iterator[Connection]:
        """The lock under which a push runs, and so its guard."""
        with self.connect() as connection:
            connection.execute(f"begin; select pg_advisory_xact_lock({lock.KEY})")
            yield connection

    @contextlib.contextmanager
    def armed(self, *allowed: str, role: Role | None = None) -> Iterator[Guard]:
        """A guard that is disarmed at the end."""
        made = self.arm(*allowed, role=role)
        try:
            yield made
        finally:
            made.disarm()

    def remains(self) -> list[str]:
        """What there is of guards."""
        with self.connect() as connection:
            return guards.remains(connection)

    def swept(self) -> list[str]:
        """The same after what the next start does first."""
        with closing(self.session()) as looking:
            leftovers.remove(looking)
        return self.remains()

    def contents(self) -> list[tuple[str, list[str], int]]:
        """All tables with their columns and the number of their rows."""
        found = []
        with self.connect() as connection:
            tables = "select oid::regclass::text from pg_class where relkind in ('r', 'p')"
            tables += " and oid >= 16384 order by oid"
            for (table,) in connection.execute(tables).fetchall():
                cursor = connection.execute(f"table {table}".encode())
                columns = [column.name for column in cursor.description or []]
                found.append((table, columns, cursor.rowcount))
        return found

    def gone(self, pid: int) -> bool:
        """Whether that session has ended."""
        with self.connect() as connection:
            query = "select from pg_stat_activity where pid = %s"
            return not connection.execute(query, [pid]).rowcount


def session(url: str) -> Session:
    params = {key: str(value) for key, value in psycopg.conninfo.conninfo_to_dict(url).items()}
    return open_session(Conninfo(params), 5, application_name="test")


def others(db: Database, armed: Guard) -> frozenset[str]:
    """What of `SCHEMA` others lost, by the labels that it had."""
    return armed.others(db.tables)


def create(server: Endpoint, name: str, template: str = "template0") -> Database:
    statement = sql.SQL("create database {} template {}")
    with server.connect() as connection:
        connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
    return Database(server, name)


@contextlib.contextmanager
def temporary(server: Endpoint, template: str = "template0") -> Iterator[Database]:
    name = f"test_{uuid.uuid4().hex[:12]}"
    try:
        yield create(server, name, template)
    finally:
        with server.connect() as connection:
            connection.execute(f"drop database if exists {name} with (force)")


@pytest.fixture(scope="module")
def template(server: Endpoint) -> Iterator[str]:
    """A database with `SCHEMA`, to make copies of."""
    with temporary(server) as made:
        with made.connect() as connection:
            connection.execute(SCHEMA)
        yield made.name


@pytest.fixture(scope="module")
def guarded(server: Endpoint, template: str) -> Iterator[Database]:
    """A copy with a guard that all tests share."""
    with (
        pytest.MonkeyPatch.context() as patch,  # none of these tests waits for it to be seen
        temporary(server, template) as made,
        made.held(),
    ):
        patch.setattr(refusals, "PATIENCE_S", 0.0)
        armed = made.arm()
        patch.undo()
        assert armed.drops is None
        assert armed.unguarded == {}
        yield made
        armed.disarm()


@pytest.fixture
def db(server: Endpoint, template: str, database: str) -> Database:
    """A copy for one test, nothing armed."""
    return create(server, database, template)


@pytest.fixture
def owned(db: Database, role: RoleFactory) -> tuple[Database, Role]:
    """A copy with a plain role that owns `plain`, `single` and `empty` in it."""
    owner = role()
    with db.connect() as connection:
        for table in ("plain", "single", "empty"):
            connection.execute(f"alter table {table} owner to {owner.name}")
        connection.execute(f"grant create on schema public to {owner.name}")
    return db, owner


def refusal(connection: Connection, statement: str) -> str:
    """What the server refuses to lose by that statement."""
    with pytest.raises(REFUSAL) as caught:
        connection.execute(statement.encode())
    text = caught.value.diag.message_primary or ""
    if caught.type is InvalidTextRepresentation:
        text = text.partition('"')[2].removesuffix('"')
    match = re.fullmatch(f"{REFUSES} (.+); allow it once with ENTRYPOINT_ALLOW_LOSS=(.+)", text)
    assert match
    assert match[2] == match[1].replace(", ", ",")
    return match[1]


def refuses(connection: Connection, statement: str) -> bool:
    """Whether it is refused, in a transaction that is rolled back."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(statement.encode())
    except REFUSAL as error:
        return REFUSES in (error.diag.message_primary or "")
    return False


REFUSED = {
    "drop table single": "single",
    "drop table if exists empty, single cascade": "single",
    "drop table plain cascade": "plain",
    "drop table plain, referring cascade": "plain referring",
    'drop table "Upper"': "Upper",
    "drop table parted": "parted_1",
    "drop table parted_1": "parted_1",
    "drop table parent cascade": "child",
    "drop table child": "child",
    "drop table away.stock": "away.stock",
    "drop schema away cascade": "away.stock",
    "drop schema public cascade": "plain referring single Upper typed shaped parted_1 child"
    " follower",
    "drop type shape cascade": "shaped",
    "alter table plain drop column note cascade": "plain.note",
    "alter table plain drop more, drop note cascade": "plain.more plain.note",
    'alter table "Upper" drop "Note"': "Upper.Note",
    "alter table away.stock drop note": "away.stock.note",
    "alter table parted drop note": "parted_1.note",
    "alter table parent drop note": "child.note",
    "alter table child drop more": "child.more",
    "drop type mood cascade": "typed.m",
    "drop domain positive cascade": "typed.p",
    "alter type shape drop attribute note cascade": "shaped.note",
    "truncate single": "single",
    "truncate empty_parted, single, plain, referring": "single",
    "truncate plain cascade": "plain",
    "truncate empty cascade": "follower",
    "truncate parted": "parted_1",
    "truncate parted_1": "parted_1",
    "truncate parent": "child",
    "truncate single restart identity": "single",
    'truncate "Upper"': "Upper",
    "truncate away.stock": "away.stock",
    "create table made as select 1; drop table single": "single",
    "do $$ begin drop table single; end $$": "single",
    "do $$ begin execute 'truncate single'; end $$": "single",
    "select drop_it()": "single",
    "select truncate_it()": "single",
    "delete from single; drop table single": "single",
    "alter table single rename to other; drop table other": "other",
    "alter table single rename to other; truncate other": "single",
    "alter table single rename note to text; alter table single drop text": "single.text",
    "alter table single set schema bare; drop table bare.single": "bare.single",
    "alter table parted detach partition parted_1; drop table parted_1": "parted_1",
    "set search_path = away; drop table stock": "away.stock",
    "create temporary table single (); drop table public.single": "single",
}


@pytest.mark.parametrize("statement", REFUSED)
def test_refused(guarded: Database, statement: str) -> None:
    """Whatever would lose rows fails before it does, names what has them, and changes nothing."""
    before = guarded.contents()

    with guarded.pushing() as push:
        label = refusal(push, statement)

    assert set(REFUSED[statement].split()) <= set(label.split(", "))
    assert "empty" not in label
    assert guarded.contents() == before


@pytest.mark.parametrize(
    ("statement", "label"),
    [
        (f"drop table {ODD}", ODD_LABEL),
        (f"truncate {ODD}", ODD_LABEL),
        (f"alter table {ODD} drop {ODD_COLUMN}", f'{ODD_LABEL}.a.b "c"'),
        (f"drop schema {ODD_SCHEMA} cascade", ODD_LABEL),
    ],
)
def test_odd_names(guarded: Database, statement: str, label: str) -> None:
    """Quotes, dots, commas, semicolons, braces and upper case are parts of a name."""
    with guarded.pushing() as push:
        assert refusal(push, statement) == label


@pytest.mark.parametrize("statement", ["drop table single", "truncate single"])
def test_the_whole_transaction_rolls_back(guarded: Database, statement: str) -> None:
    """What an explicit transaction did before it was refused is not done either."""
    before = guarded.contents()

    with guarded.pushing() as push:
        push.execute("begin")
        push.execute("create table made (); insert into plain values (3)")
        refusal(push, statement)
        push.execute("commit")

    assert guarded.contents() == before


PASSING = [
    "drop table empty cascade",
    "drop table empty_parted",
    "drop table empty_part",
    "drop table parted_2",
    "drop table away.void",
    "drop schema bare cascade",
    "drop foreign table elsewhere",
    "alter foreign table elsewhere drop note",
    "alter table empty drop note",
    "alter table parted_2 rename to other; drop table other",
    "truncate empty_parted, bare.void, parted_2",
    "truncate only parent",
    "create table made as select 1 as id, 2 as note; drop table made",
    "create table made as select 1 as id, 2 as note; truncate made",
    "create temporary table made as select 1 as id, 2 as note; truncate made",
    "create temporary table made as select 1 as id, 2 as note; alter table made drop note",
    "create temporary table made as select 1 as id, 2 as note; drop table made",
    "create temporary table single as select 1 as id, 2 as note; drop table single",
    "drop view seen",
    "drop materialized view summed",
    "refresh materialized view summed",
    "drop index plain_note",
    "reindex table plain",
    "cluster single using single_pkey",
    "alter table single drop constraint single_pkey",
    "alter table single drop constraint single_note_check",
    "alter table plain drop constraint plain_pkey cascade",
    "alter table single alter note drop default, alter note drop not null",
    "alter table single rename to other",
    "alter table single rename note to text",
    "alter table single set schema bare",
    "alter table parted detach partition parted_1",
    "alter table child no inherit parent",
    "alter table single alter id type bigint, alter note type varchar(50)",
    "alter table single alter id type text using id::text",
    "alter table plain add column other int default 1",
    "alter table single set unlogged",
    "create table made (id serial primary key); drop table made",
    "drop function drop_it()",
    "create type made as enum ('x'); drop type made",
    "delete from single",
    "update single set note = 'y'",
]


@pytest.mark.parametrize("statement", PASSING)
def test_passes(guarded: Database, statement: str) -> None:
    """What loses no rows is not held up."""
    with guarded.pushing() as push, push.transaction(force_rollback=True):
        push.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "create table made as select 1 as id, 2 as note; alter table made drop note",
        """
        create table made (id int, note int) partition by range (id);
        create table part partition of made default;
        insert into made values (1, 2); alter table made drop note; drop table made
        """,
    ],
)
def test_a_column_of_a_table_that_the_push_made(guarded: Database, statement: str) -> None:
    """A push that runs many migrations may drop what it has just filled."""
    with guarded.pushing() as push, push.transaction(force_rollback=True):
        push.execute(statement)


def test_a_column_that_its_heirs_keep(guarded: Database) -> None:
    """Rows of a child are none of its parent's."""
    with guarded.pushing() as push, push.transaction(force_rollback=True):
        push.execute("alter table only parent drop note")
        assert push.execute("select note from child").fetchall() == [("x",)]


@pytest.mark.parametrize("name", ["plain", "public.plain"])
def test_a_tables_name_allows_all_of_it(db: Database, name: str) -> None:
    """Its rows, its columns and the table itself may go, and nothing else."""
    with db.armed(name), db.pushing() as push:
        assert refuses(push, "truncate plain cascade")  # which empties another
        assert not refuses(
            push, "alter table referring drop constraint referring_id_fkey; truncate plain"
        )
        assert not refuses(push, "alter table plain drop note cascade")
        assert not refuses(push, "drop table plain cascade")
        assert refuses(push, "drop table single")
        assert refuses(push, "drop table away.stock")


@pytest.mark.parametrize("name", ["plain.more", "public.plain.more"])
def test_a_columns_name_allows_the_column(db: Database, name: str) -> None:
    """Neither another column of its table may go, nor the table."""
    with db.armed(name, "note") as armed, db.pushing() as push:
        assert not refuses(push, "alter table plain drop more")
        assert not armed.refused()
        assert refuses(push, "alter table plain drop more, drop note cascade")
        assert refuses(push, "drop table plain cascade")
        assert refuses(push, "truncate plain cascade")


def test_a_name_of_another_schema_allows_nothing(db: Database) -> None:
    """A schema's name is not looked over, and a bare name is good in every schema."""
    with db.armed("away.single", "stock") as armed, db.pushing() as push:
        assert not refuses(push, "drop table away.stock")
        assert not refuses(push, "alter table away.stock drop note")
        assert not armed.refused()
        assert refuses(push, "drop table single")


def test_sessions_of_others_are_left_alone(db: Database, role: RoleFactory) -> None:
    """A live service goes on with what it does, in old sessions and new ones, and is told of."""
    other = role()
    with db.connect() as connection:
        connection.execute(f"grant truncate on referring to {other.name}")
    with db.connect() as service, db.held(), db.armed() as armed:
        with db.connect(other) as guest:
            guest.execute("truncate referring")
        with db.connect() as new:
            new.execute("truncate single")
            new.execute("begin; truncate parted_1; rollback")
        service.execute("alter table plain drop note cascade")
        service.execute(
            "begin; create table fresh as select * from child; alter table child rename to old;"
            "alter table fresh rename to child; drop table old; commit"
        )
        with db.pushing() as push:
            assert refuses(push, "drop table parted")
        assert others(db, armed) == {"plain.note", "child", "single", "referring"}
        assert armed.refused()


def test_a_push_without_the_mark(db: Database) -> None:
    """What a new session loses is held against the push as long as nobody saw the mark."""
    with db.held(), db.armed() as armed, db.connect() as push:
        push.execute("truncate single; drop table away.stock")
        assert others(db, armed) == set()
        assert not armed.refused()


def test_the_mark_of_a_client_that_names_itself(db: Database) -> None:
    """A push's session is known by a setting too, and by neither of another push's."""
    name, mark = db.push, sessions.mark(db.push)
    with db.armed():
        for called, options, refused in [
            ("mine", f"-c entrypoint.push={mark}", True),
            ("mine", f"-c entrypoint.push={mark}0", False),
            (f"{name}0", "", False),
        ]:
            with psycopg.connect(
                db.url(), autocommit=True, application_name=called, options=options
            ) as push:
                assert refuses(push, "truncate single") == refused
                assert refuses(push, "drop table single") == refused


@pytest.mark.parametrize("statement", ["truncate single", "drop table single"])
def test_a_push_that_sets_a_role(owned: tuple[Database, Role], statement: str) -> None:
    """SET ROLE takes no session out of the push."""
    db, owner = owned
    with db.armed() as armed, db.pushing() as push:
        push.execute(f"set role {owner.name}")
        assert refuses(push, statement)
        assert armed.refused()


def test_other_databases_are_left_alone(server: Endpoint, db: Database, template: str) -> None:
    """A guard is its own database's."""
    with temporary(server, template) as other, db.armed() as armed, other.pushing() as push:
        assert other.remains() == []
        push.execute("truncate single; drop table plain cascade")
        assert not armed.refused()


HIDDEN = [
    "do $$ begin drop table single; exception when others then null; end $$",
    "do $$ begin truncate single; exception when others then null; end $$",
    "do $$ begin alter table single drop note; exception when others then null; end $$",
]


@pytest.mark.parametrize("statement", HIDDEN)
def test_a_hidden_refusal_is_counted(db: Database, statement: str) -> None:
    """A push that swallows the error, or rolls back, cannot hide it."""
    with db.held(), db.armed() as armed:
        with db.pushing() as push:
            push.execute("truncate empty_parted; drop table away.void")
            push.execute("begin")
            push.execute(statement)
            push.execute("rollback")
            pid = push.info.backend_pid
        until(lambda: db.gone(pid), "the push's session has ended")
        assert armed.refused()


def test_what_was_not_refused_is_not_counted(db: Database) -> None:
    """Drops that pass, and errors of another kind, are no refusal."""
    with db.armed("away.stock") as armed:
        with db.pushing() as push:
            push.execute("truncate empty_parted; drop table away.stock, away.void")
            with pytest.raises(psycopg.errors.DependentObjectsStillExist):
                push.execute("drop table plain")
            pid = push.info.backend_pid
        until(lambda: db.gone(pid), "the push's session has ended")
        assert not armed.refused()


def test_a_plain_owner(owned: tuple[Database, Role]) -> None:
    """It has no event trigger, and says why; TRUNCATE is refused on what is its own."""
    db, owner = owned
    with db.armed(role=owner) as armed:
        assert "permission denied to create event trigger" in (armed.drops or "")
        assert set(armed.unguarded) >= {"referring", "Upper", "parted_1", "away.stock", ODD_LABEL}
        assert not set(armed.unguarded) & {"plain", "single", "empty"}
        assert armed.unguarded["typed"] == "must be owner of table typed"
        with db.pushing(owner) as push:
            assert refusal(push, "truncate single") == "single"
            push.execute("drop table empty cascade; drop table single")
        with db.pushing() as push:
            assert refusal(push, "truncate plain cascade") == "plain"
        assert not armed.refused()  # a plain role may not have it counted
    assert db.remains() == []


def test_drop_owned(owned: tuple[Database, Role]) -> None:
    """DROP OWNED is refused to the role itself, whatever else it owns."""
    db, owner = owned
    with db.armed() as armed, db.pushing(owner) as push:
        label = refusal(push, "drop owned by current_user cascade")
        assert set(label.split(", ")) == {"plain", "single"}
        assert armed.drops is None


def test_forced_row_security(owned: tuple[Database, Role]) -> None:
    """Rows that its owner cannot see are not lost for it."""
    db, owner = owned
    with db.connect() as connection:
        connection.execute("alter table single enable row level security")
        connection.execute("alter table single force row level security")
    with db.armed(role=owner) as armed, db.pushing(owner) as push:
        assert "single" not in armed.unguarded
        assert push.execute("select from single").fetchall() == []
        assert refusal(push, "truncate single") == "single"


def test_a_table_that_its_owner_may_not_read(owned: tuple[Database, Role]) -> None:
    """Of rows that nobody may count it is enough that the table is not empty."""
    db, owner = owned
    with db.connect() as connection:
        connection.execute("create table hollow ()")
        connection.execute(f"alter table hollow owner to {owner.name}")
        connection.execute(f"revoke all on hollow, single from {owner.name}")
        connection.execute(f"grant truncate, trigger on hollow, single to {owner.name}")
    with db.armed(role=owner), db.pushing(owner) as push:
        assert refusal(push, "truncate single") == "single"
        assert not refuses(push, "truncate hollow")


def test_a_role_that_owns_nothing(db: Database, role: RoleFactory) -> None:
    """What it might guard, and could not remove again, it leaves alone and says so."""
    guest = role()
    with db.connect() as connection:
        connection.execute(f"grant all on single to {guest.name}")
    with db.armed(role=guest) as armed, db.pushing() as push:
        assert armed.unguarded["single"] == "must be owner of table single"
        push.execute("truncate single")
        assert db.remains() == []


def test_no_temporary_objects(owned: tuple[Database, Role]) -> None:
    """A role that may make none still refuses TRUNCATE, which needs none."""
    db, owner = owned
    with db.connect() as connection:
        connection.execute(f"revoke temporary on database {db.name} from public")
    with db.armed(role=owner) as armed, db.pushing(owner) as push:
        assert "temporary" in (armed.drops or "")
        assert refusal(push, "truncate single") == "single"


def test_no_right_to_use_the_language(owned: tuple[Database, Role]) -> None:
    """The same without USAGE on PL/pgSQL."""
    db, owner = owned
    with db.connect() as connection:
        connection.execute("revoke usage on language plpgsql from public")
    with db.armed(role=owner) as armed, db.pushing(owner) as push:
        assert "plpgsql" in (armed.drops or "")
        assert refusal(push, "truncate single") == "single"


@pytest.mark.parametrize("superuser", [True, False])
def test_no_language(owned: tuple[Database, Role], *, superuser: bool) -> None:
    """A database without PL/pgSQL has no guard against drops, which is said and stops no push."""
    db, owner = owned
    with db.connect() as connection:
        connection.execute("drop extension plpgsql cascade")
    with db.armed(role=None if superuser else owner) as armed, db.pushing(owner) as push:
        assert "plpgsql" in (armed.drops or "")
        assert not armed.refused()
        assert refusal(push, "truncate single") == "single"
    assert db.remains() == []


@pytest.mark.parametrize(
    "function",
    ["pg_sleep(double precision)", "pg_notify(text, text)", "pg_stat_get_activity(int)"],
)
@pytest.mark.parametrize("superuser", [True, False])
def test_a_function_that_is_not_everybodys(
    owned: tuple[Database, Role], function: str, *, superuser: bool
) -> None:
    """Where what the guard calls is revoked nobody's TRUNCATE or DROP fails, and it is said."""
    db, owner = owned
    with db.connect() as connection:
        connection.execute(f"revoke execute on function pg_catalog.{function} from public")
    with db.held(), db.armed(role=None if superuser else owner) as armed:
        if not (superuser and "activity" in function):
            name = function.partition("(")[0]
            assert name in (armed.drops or "")
            assert name in armed.unguarded["single"]
        assert not armed.refused()
        assert others(db, armed) == set()
        with db.connect(owner) as service:
            service.execute("truncate single; drop table plain cascade")
    assert db.remains() == []


def test_a_watch_that_is_ended_before_it_began(owned: tuple[Database, Role]) -> None:
    """A server that has not begun with the watch when it is to end it is asked once more."""
    db, owner = owned
    with db.held(), db.armed(role=owner) as armed:
        assert not armed.refused()
        connection = armed.session.connection
        pid = connection.info.backend_pid
        os.kill(pid, signal.SIGSTOP)
        thaw = Timer(0.3, os.kill, [pid, signal.SIGCONT])
        thaw.start()
        connection.pgconn.send_query(b"select pg_sleep(60)")
        connection.pgconn.flush()
        assert not armed.refused()
        thaw.join()


@pytest.mark.parametrize("tag", ["CREATE FUNCTION", "CREATE TRIGGER"])
@pytest.mark.parametrize("superuser", [True, False])
def test_somebody_who_forbids_ddl(
    owned: tuple[Database, Role], tag: str, *, superuser: bool
) -> None:
    """Only a plain role meets event triggers, one of which leaves its push unguarded."""
    db, owner = owned
    with db.connect() as connection:
        connection.execute(
            "create function never() returns event_trigger language plpgsql as"
            " 'begin raise exception ''not today''; end';"
            f"create event trigger never on ddl_command_start when tag in ('{tag}')"
            " execute function never()"
        )
    with db.armed(role=None if superuser else owner) as armed:
        forbidden = not superuser and tag == "CREATE TRIGGER"
        assert armed.unguarded.get("single") == ("not today" if forbidden else None)
        assert (armed.drops is None) == superuser
    with db.connect() as connection:
        connection.execute("drop event trigger never")
    assert db.remains() == []


def test_nothing_is_left_after_disarm(db: Database) -> None:
    """No table keeps anything, the session is closed, and what was refused passes."""
    with db.held():
        armed = db.arm()
        assert len(db.remains()) == 11 + 1 + 1
        armed.check()
        assert not armed.refused()
        armed.check()
        assert armed.disarm() == []
    assert db.remains() == []
    assert armed.session.connection.closed
    with db.pushing() as push:
        push.execute("truncate single; drop table plain cascade")


@pytest.mark.parametrize("how", ["closed", "terminated", "terminated under the lock"])
def test_what_a_lost_session_leaves(db: Database, how: str) -> None:
    """However the guard's session ends, what stays is dead and the next start's to remove."""
    with db.held() if "lock" in how else contextlib.nullcontext():
        armed = db.arm()
        armed.check()
        if how == "closed":
            armed.session.close()
        else:
            with db.connect() as connection:
                pid = armed.session.connection.info.backend_pid
                connection.execute("select pg_terminate_backend(%s)", [pid])
        until(lambda: len(db.remains()) == 11, "the server has removed the event trigger")
    with db.later().pushing() as push:
        assert not refuses(push, "truncate single; drop table plain cascade")
    assert db.swept() == []
    if how != "closed":
        until(armed.session.gone, "the news has come")
        with pytest.raises(PushError, match="guarded"):
            armed.check()
        with pytest.raises(PushError, match="guarded"):
            armed.refused()
        assert others(db, armed) == set()
    assert armed.disarm() == []


@pytest.mark.parametrize("how", ["restart", "kill"])
def test_what_a_restart_leaves(own_server: Server, how: str) -> None:
    """A server that is restarted leaves dead triggers, as do orphans of the postmaster."""
    own_server.reload({"synchronous_commit": "on"})  # or they may do it in vain
    db = create(own_server, "restarted")
    with db.connect() as connection:
        connection.execute(SCHEMA)
    armed = db.arm()
    assert len(db.remains()) == 11 + 1 + 1

    if how == "kill":
        own_server.kill()
        own_server.resume()
    else:
        own_server.restart()

    assert len(db.remains()) == 11
    with db.later().pushing() as push:
        assert not refuses(push, "truncate single; drop table plain cascade")
    assert db.swept() == []
    assert armed.disarm() == []


def test_what_somebody_elses_push_needs_stays(db: Database) -> None:
    """A start that finds a guard leaves it alone while its push holds the lock."""
    with db.armed(), db.pushing() as push:
        with db.held():
            assert len(db.swept()) == 11 + 1 + 1
            assert refuses(push, "truncate single")
        assert db.swept() == []


def test_a_plain_role_sweeps_its_own(owned: tuple[Database, Role]) -> None:
    """It removes what it owns, and is not told of the rest, at which it would try for ever."""
    db, owner = owned
    armed = db.arm()
    with closing(db.session(owner)) as session:
        assert first_rows(session.connection, load_sql("postgres/leftovers_here")) == [(True,)]
        leftovers.remove(session)
        assert first_rows(session.connection, load_sql("postgres/leftovers_here")) == [(False,)]
    assert len(db.remains()) == 11 + 1 + 1 - 2
    armed.disarm()
    assert db.remains() == []


def crashed(server: Server, how: str) -> Database:
    """A database with an armed guard whose server crashed, and is there again."""
    server.reload({"synchronous_commit": "on"})  # what was armed must outlive the crash
    db = create(server, "crashed")
    with db.connect() as connection:
        connection.execute(SCHEMA)
    with db.connect() as connection:
        armed = db.arm()
        backend = connection.info.backend_pid
        if how == "server":
            server.stop("immediate")
            server.resume()
        else:
            os.kill(backend, signal.SIGKILL)
            until(armed.session.gone, "the server has ended all sessions")
    armed.session.close()

    def back() -> bool:
        with contextlib.suppress(psycopg.OperationalError):
            return bool(db.remains())
        return False

    until(back, "the server is back")
    return db.later()


@pytest.mark.parametrize("how", ["server", "backend"])
def test_what_a_crash_leaves_is_asleep(own_server: Server, how: str) -> None:
    """It refuses nothing, and the next guard takes its place and leaves nothing."""
    db = crashed(own_server, how)
    assert len(db.remains()) == 11 + 1 + 1
    with db.pushing() as push:
        assert not refuses(push, "truncate single, parted, parent")
        assert not refuses(push, "drop table plain cascade; alter table single drop note")

    with db.armed() as armed, db.pushing() as push:
        assert armed.drops is None
        assert armed.unguarded == {}
        assert refuses(push, "truncate single")
        assert refuses(push, "drop table single")

    assert db.remains() == []


def test_what_a_crash_leaves_goes_with_its_slot(own_server: Server) -> None:
    """Whoever gets the place of the guard's session and makes a temporary object removes it."""
    db = crashed(own_server, "backend")
    with contextlib.ExitStack() as sessions:
        for _ in range(100):
            connection = sessions.enter_context(db.connect())
            connection.execute("create temporary table mine ()")
    assert len(db.remains()) == 11
    assert db.swept() == []


def test_what_a_crash_leaves_on_a_table_in_use(own_server: Server) -> None:
    """A reader that stays does not keep the next guard from its work, or from its end."""
    db = crashed(own_server, "server")
    with db.connect() as reader:
        reader.execute("begin; select from single")
        armed = db.arm()
        assert armed.drops is None
        reader.execute("rollback")
        with db.pushing() as push:
            assert refuses(push, "drop table single")
            if push.info.server_version >= SINCE_14:
                assert armed.unguarded == {}
                assert refuses(push, "truncate single")
        reader.execute("begin; select from single")
        assert armed.disarm(0.5) == ["public.single"]
    with db.armed():
        pass
    until(lambda: db.remains() == [], "nothing is left")


def test_a_plain_role_after_a_superusers_crash(own_server: Server) -> None:
    """What it may not remove does not keep it from guarding its own tables."""
    db = crashed(own_server, "server")
    owner = Role("own", "own-password")
    with db.connect() as connection:
        connection.execute("create role own login password 'own-password'")
        connection.execute("alter table single owner to own; alter table plain owner to own")
    with db.armed(role=owner) as armed, db.pushing(owner) as push:
        assert armed.drops
        assert not {"single", "plain"} & set(armed.unguarded)
        assert refuses(push, "truncate single")
    with db.armed(), db.pushing(owner) as push:
        assert refuses(push, "drop table single")
    assert db.remains() == []


def test_disarming_with_a_reader(db: Database) -> None:
    """A table that somebody reads all the time keeps a trigger that never fires, and no queue."""
    armed = db.arm()
    with db.connect() as reader, db.connect() as other:
        reader.execute("begin; select from single")
        left: list[list[str]] = []
        disarming = Thread(target=lambda: left.append(armed.disarm(1.0)))
        disarming.start()
        other.execute("set lock_timeout = '3s'")
        number = 1
        while disarming.is_alive():
            number += 1
            other.execute("insert into single values (%s)", [number])
            other.execute("select count(*) from single")
        disarming.join()
        assert left == [["public.single"]]
        other.execute("insert into single values (0)")
        reader.execute("commit")
    with db.later().pushing() as push:
        push.execute("truncate single; drop table plain cascade")
    assert db.swept() == []


def test_the_next_guard_takes_the_dead_triggers_place(db: Database) -> None:
    """Whether or not its table is still read, it guards again, and removes it when it can."""
    with db.connect() as reader:
        reader.execute("begin; select from single")
        assert db.arm().disarm(0.0) == ["public.single"]
        armed = db.arm()
        reader.execute("rollback")
        with db.pushing() as push:
            assert refuses(push, "drop table single")
            if push.info.server_version >= SINCE_14:
                assert armed.unguarded == {}
                assert refuses(push, "truncate single")
    armed.disarm()
    until(lambda: db.remains() == [], "nothing is left")


def test_disarming_with_a_reader_of_everything(db: Database) -> None:
    """However many tables somebody reads (a dump), it takes no longer than for one."""
    with db.connect() as connection:
        connection.execute(
            "do $$ begin for i in 1..200 loop"
            " execute format('create table read_%s as select 1 as id', i); end loop; end $$"
        )
    armed = db.arm()
    with db.connect() as reader:
        reader.execute("begin")
        tables = [f"read_{number}" for number in range(1, 201)]
        reader.execute(f"lock {', '.join(tables)} in access share mode")
        assert len(armed.disarm(0.5)) == 200
        with db.connect() as service:
            service.execute("set lock_timeout = '3s'; insert into read_7 values (2)")
    with db.armed():
        pass
    until(lambda: db.remains() == [], "nothing is left")


def test_disarming_with_a_writer(db: Database) -> None:
    """While somebody's transaction has written a table nobody queues up behind the dead guard."""
    armed = db.arm()
    with db.connect() as writer, db.connect() as service:
        writer.execute("begin; insert into single values (7)")
        assert armed.disarm(0.5) == ["public.single"]
        service.execute("set lock_timeout = '3s'")
        for number in range(100, 200):
            service.execute("insert into single values (%s)", [number])
            service.execute("select from single")
        service.execute("set statement_timeout = '20s'")
        service.execute("create index concurrently on plain (note)")
        writer.execute("commit")
        service.execute("truncate single")
    assert db.swept() == []


def test_a_start_that_dies_while_somebody_reads(db: Database) -> None:
    """Nobody queues up behind what it left, on whichever table, and it goes when it can."""
    with db.connect() as reader, db.connect() as service:
        reader.execute("begin; select from single")
        service.execute("set lock_timeout = '3s'")
        with db.held():
            db.arm().session.close()
        until(lambda: not awake(db), "it sleeps")
        for table in ("single", "plain", "parted", "away.stock"):
            service.execute(f"select from {table}".encode())
        for number in range(100, 200):
            service.execute("insert into single values (%s)", [number])
        with db.armed() as armed:
            assert armed.drops is None
            with db.pushing() as push:
                assert refuses(push, "drop table parted")
        assert "trigger on single" in db.remains()
        reader.execute("commit")
        service.execute("truncate single")
    with db.armed():
        pass
    until(lambda: db.remains() == [], "nothing is left")


def awake(db: Database) -> bool:
    """Whether a guard has its lock."""
    with db.connect() as connection:
        query = "select from pg_locks where locktype = 'advisory' and objsubid = 2 and database ="
        query += " (select oid from pg_database where datname = current_database())"
        return bool(connection.execute(query.encode()).rowcount)


def test_a_dead_guard_waits_for_no_reader(server: Endpoint, database: str) -> None:
    """A guard's session ends at once, whoever reads a table, and the next one is whole."""
    db = create(server, database)
    with db.connect() as reader:
        reader.execute("create table single as select 1 as id")
        reader.execute("begin; select from single")
        dead = db.arm().session
        pid = dead.connection.info.backend_pid
        dead.close()
        until(lambda: db.gone(pid), "the dead guard's session has ended")
        assert db.remains() == ["trigger on single"]
        if reader.info.server_version >= SINCE_14:
            armed = db.later().arm()
            assert (armed.drops, armed.unguarded) == (None, {})
            armed.disarm(0.0)
    assert db.swept() == []


def test_writers_while_arming(db: Database) -> None:
    """A table that somebody writes to for longer stays unguarded against TRUNCATE, alone."""
    with db.connect() as writer:
        writer.execute("begin; insert into single values (7)")
        armed = db.arm()
        writer.execute("commit")
    with db.pushing() as push:
        assert list(armed.unguarded) == ["single"]
        assert "lock timeout" in armed.unguarded["single"]
        assert not refuses(push, "truncate single")
        assert refuses(push, "drop table single")
        assert refuses(push, "truncate parted")
    assert armed.disarm() == []
    assert db.remains() == []


def test_arming_while_everything_is_locked(server: Endpoint, database: str) -> None:
    """However many tables others keep to themselves, a push does not wait for each of them."""
    db = create(server, database)
    with db.connect() as holder, closing(db.session()) as looking:
        holder.execute(
            "do $$ begin for i in 1..200 loop"
            " execute format('create table held_%s as select 1 as id', i); end loop; end $$"
        )
        looking.connection.execute("begin")
        tables = snapshot.take(looking).filled
        names = [table.name for table in tables]
        holder.execute("begin")
        holder.execute(f"lock {', '.join(names)} in access exclusive mode")
        armed = guard.arm(db.session(), tables, [], db.push, LASTS_S)
        assert set(armed.unguarded) == set(names)
        assert armed.drops is None
        armed.disarm(0.0)


def test_an_index_is_made_concurrently(db: Database) -> None:
    """The guard's session holds nothing that CREATE INDEX CONCURRENTLY waits for."""
    with db.held(), db.armed(), db.pushing() as push:
        push.execute("set statement_timeout = '20s'")
        push.execute("create index concurrently made on single (note)")
        push.execute("reindex index concurrently made")
        push.execute("drop index concurrently made")


def test_a_dump_succeeds(own_server: Server) -> None:
    """pg_dump reads what is guarded."""
    db = create(own_server, "dumped")
    with db.connect() as connection:
        connection.execute(SCHEMA)
    with db.armed():
        command = [str(own_server.pg_bin / "pg_dump"), db.url()]
        done = subprocess.run(
            command, check=True, capture_output=True, env={"PATH": os.defpath}, timeout=60
        )
    assert b"CREATE TABLE public.single" in done.stdout
