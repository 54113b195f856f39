"""Names that mean something else: an owner shadows everything that our SQL mentions.

He has put a search_path of his before the server's, and in every schema of it functions, operators,
casts, domains and relations that write into the server's log who evaluates them.
"""

from __future__ import annotations

import re
import threading
import time
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from entrypoint.config import registry as services
from entrypoint.config.conninfo import Conninfo
from entrypoint.errors import LockError, RefusedError
from entrypoint.operator import create, server, status, verify
from entrypoint.postgres import (
    blockers,
    databases,
    guard,
    ledger,
    lock,
    objects,
    ownership,
    sessions,
    snapshot,
)
from entrypoint.postgres.session import Session, open_session
from entrypoint.postgres.sql import load_sql
from entrypoint.start import extensions, seed_check
from tests.attacks.conftest import PASSWORD, World
from tests.conftest import Role
from tests.support.pooler import PROGRAM, Pooler
from tests.support.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.server import Endpoint

ROOT = Path(__file__).parents[2]

SOURCE = "\n".join(path.read_text() for path in sorted((ROOT / "entrypoint").rglob("*.py")))

CALLED = sorted(set(re.findall(r"\b([a-z][a-z0-9_]*)\s?\(", SOURCE)))
"""Every name that something in the program may call in SQL; the server knows which are its own."""

MENTIONED = sorted(set(re.findall(r"\bpg_[a-z_]+\b", SOURCE)))

TYPES = [
    *("oid", "int4", "int8", "float8", "text", "name", "varchar", "bool", '"char"', "timestamptz"),
    *("regclass", "regtype", "json", "jsonb", "inet", "interval", "oid[]", "int4[]", "text[]"),
]

SYMBOLS = ["=", "<>", "<", ">", "<=", ">=", "||", "~", "~~", "->>", "&&", "+", "-", "*", "/"]

MARK = "EVALUATED"

TRAP = """
create schema evil;
grant usage on schema evil to public;
create function evil.run(what text) returns bool language plpgsql immutable
  set search_path = pg_catalog, pg_temp as $f$
begin
  if session_user <> '{owner}' then
    raise log 'EVALUATED % as % in %', what, session_user, current_database();
  end if;
  return true;
end $f$;
"""

IN_EACH = """
do $each$
declare
  statement text;
begin
  foreach statement in array %s::text[] loop
    begin
      execute statement;
    exception when others then  -- the server's own rules forbid some of them
    end;
  end loop;
end $each$
"""

BETTER = [
    *("varchar", "name", "oid, name", "anyelement", "text, text", "name, text", "regclass", "oid"),
    *("varchar, varchar", "int4", "int8", "variadic text[]", "variadic anyarray", "anyarray"),
    *("anyelement, anyelement", "int8, int8", "int4, int4", "name, varchar"),
]
"""Arguments that fit ours, some of them better than those of the server's function."""

TABLES = """
create table {0}.rpg_heroes (id int, more text default evil.run('default')::text,
  constraint k check (evil.run('check')));
insert into {0}.rpg_heroes values (1, 'x');
create index on {0}.rpg_heroes ((id + evil.run('index expression')::int));
create index on {0}.rpg_heroes (id) where evil.run('index predicate');
create statistics {0}.s on (id + evil.run('statistics')::int), (id + 1) from {0}.rpg_heroes;
create view {0}.rpg_view as select evil.run('view') from {0}.rpg_heroes;
create rule r as on update to {0}.rpg_heroes do also select evil.run('rule');
create table {0}.rpg_policed (id int);
insert into {0}.rpg_policed values (1);
alter table {0}.rpg_policed enable row level security, force row level security;
create policy p on {0}.rpg_policed using (evil.run('policy'));
create function {0}.fired() returns trigger language plpgsql as
  'begin perform evil.run(''trigger''); return new; end';
create trigger t before insert or update or delete or truncate on {0}.rpg_heroes
  for each statement execute function {0}.fired();
create materialized view {0}.rpg_kept as select evil.run('materialized view');
create table {0}.rpg_parts (id int) partition by list ((id + evil.run('partition key')::int));
create table {0}.rpg_part partition of {0}.rpg_parts default;
insert into {0}.rpg_parts values (1);
create function {0}.ddl() returns event_trigger language plpgsql as
  'begin perform evil.run(''event trigger''); end';
create type {0}.own as (id int);
create cast ({0}.own as text) with inout as implicit;
create function {0}.cast_it(x {0}.own) returns int8 language plpgsql as
  'begin perform evil.run(''cast''); return 1; end';
create cast ({0}.own as int8) with function {0}.cast_it as implicit;
create table {0}."'; select evil.run('name'); --" ("'||evil.run('column')||'" int, own {0}.own);
insert into {0}."'; select evil.run('name'); --" values (1);
comment on table {0}.rpg_heroes is '''; select evil.run(''comment''); --'
"""

KINDS = ("functions", "operators", "relations", "domains", "tables")

SCHEMAS = ("evil", "public", "$user", 'q"; --')


class Trap(NamedTuple):
    """What he makes, where, and who comes along."""

    kinds: frozenset[str]
    path: tuple[str, ...]
    types: tuple[str, ...]
    superuser: bool
    pooled: bool


TRAPS = st.builds(
    Trap,
    kinds=st.sets(st.sampled_from(KINDS), min_size=3).map(frozenset),
    path=st.permutations(SCHEMAS).flatmap(
        lambda path: st.integers(1, len(path)).map(lambda size: tuple(path[:size]))
    ),
    types=st.lists(st.sampled_from(TYPES), min_size=8, unique=True).map(tuple),
    superuser=st.booleans(),
    pooled=st.booleans(),
)

ALL = Trap(frozenset(KINDS), SCHEMAS, tuple(TYPES), superuser=True, pooled=False)


def shadows(world: World, trap: Trap, schema: str) -> Iterator[str]:
    """Statements that fill one schema, of which the server refuses some."""
    if "functions" in trap.kinds:
        yield from functions(world, schema)
    if "operators" in trap.kinds:
        yield from operators(trap, schema)
    if "relations" in trap.kinds:
        yield from relations(world, schema)
    if "domains" in trap.kinds:
        for kind in trap.types:
            if "[" not in kind:
                check = f"check (evil.run('domain {kind.strip(chr(34))}'))"
                yield f"create domain {schema}.{kind} as pg_catalog.{kind} {check}"
    if "tables" in trap.kinds:
        yield from filter(None, map(str.strip, TABLES.format(schema).split(";\n")))


def function(schema: str, name: str, arguments: str, returns: str) -> str:
    """One that tells who called it, and returns nothing."""
    told = f"{schema}.{name}({arguments})".replace("'", "").replace('"', "")
    return (
        f'create function {schema}."{name}"({arguments}) returns {returns} language plpgsql as'
        f" $f$ begin perform evil.run('function {told}'); return null; end $f$"
    )


def functions(world: World, schema: str) -> Iterator[str]:
    own = world.sql(
        "select distinct proname, pg_get_function_identity_arguments(oid),"  # noqa: S608  names of the server's own
        " prorettype::regtype::text from pg_proc"
        " where pronamespace = 'pg_catalog'::regnamespace and prokind <> 'p'"
        f" and proname in ({', '.join(map(repr, CALLED))}) order by 1, 2"
    )
    for name, arguments, returns in own:
        fitting = re.sub(r'"any"', "anyelement", arguments).replace("VARIADIC anyel", "anyel")
        yield function(schema, name, fitting, "text" if returns.startswith("any") else returns)
    returned = {name: returns for name, _, returns in own}
    for name, returns in returned.items():
        for arguments in BETTER:
            yield function(schema, name, arguments, "text" if "any" in returns else returns)


def operators(trap: Trap, schema: str) -> Iterator[str]:
    for left, right in product(trap.types, repeat=2):
        told = f"{left} {right}".replace('"', "")
        yield (
            f"create function {schema}.op({left}, {right}) returns bool language plpgsql as"
            f" $f$ begin perform evil.run('operator {told}'); return true; end $f$"
        )
        for symbol in SYMBOLS:
            yield (
                f"create operator {schema}.{symbol}"
                f" (leftarg = {left}, rightarg = {right}, function = {schema}.op)"
            )


def relations(world: World, schema: str) -> Iterator[str]:
    own = world.sql(
        "select relname from pg_class where relnamespace = 'pg_catalog'::regnamespace"  # noqa: S608  names of the server's own
        f" and relkind in ('r', 'v') and relname in ({', '.join(map(repr, MENTIONED))})"
    )
    for (name,) in own:
        yield (
            f"create view {schema}.{name} as select * from pg_catalog.{name}"  # noqa: S608  names of the server's own
            f" where evil.run('relation {name}')"
        )


def set_up(world: World, trap: Trap) -> None:
    """Make his database anew, with his path for everybody in it, and fill it as him."""
    owner = world.mallory.name
    with world.server.connect() as connection:
        for statement in (
            f"drop database if exists {world.name} with (force)",
            f"create database {world.name} owner {owner}",
            f"revoke all on database {world.name} from public",
            f"grant connect, temporary on database {world.name} to public",
        ):
            connection.execute(statement)
    with world.connect(world.mallory) as mallory:
        mallory.execute(TRAP.format(owner=owner))
        for name in trap.path:
            schema = f'"{owner}"' if name == "$user" else sql.Identifier(name).as_string()
            mallory.execute(f"create schema if not exists {schema}".encode())
            with suppress(psycopg.Error):  # public is not everywhere his
                mallory.execute(f"grant usage on schema {schema} to public".encode())
            statements = list(shadows(world, trap, schema))
            mallory.execute(psycopg.ClientCursor(mallory).mogrify(IN_EACH, [statements]).encode())
        names = sql.SQL(", ").join(map(sql.Identifier, (*trap.path, "pg_catalog")))
        here = sql.Identifier(world.name)
        mallory.execute(sql.SQL("alter database {} set search_path = {}").format(here, names))
        mallory.execute(sql.SQL("alter database {} set constraint_exclusion = on").format(here))


@contextmanager
def watched(world: World) -> Iterator[list[str]]:
    """What of his was evaluated in the body by anybody but himself, as the server's log has it."""
    seen: list[str] = []
    before = world.server.log.stat().st_size
    yield seen
    text = world.server.log.read_bytes()[before:].decode(errors="replace")
    seen += re.findall(rf"{MARK} (.*) in {world.name}\b", text)


@dataclass(frozen=True)
class Visitor:
    """A role of ours that comes to a hostile database, perhaps through a pooler."""

    world: World
    endpoint: Endpoint
    role: Role

    def conninfo(self, database: str | None = None) -> Conninfo:
        """The hostile database by default."""
        params = {
            "host": self.endpoint.host,
            "port": str(self.endpoint.port),
            "user": self.role.name,
            "password": self.role.password,
            "dbname": database or self.world.name,
        }
        return Conninfo(params, "DATABASE_URL")

    def connect(self) -> psycopg.Connection[Any]:
        """A client's session that is not the program's."""
        url = self.endpoint.url(self.world.name, self.role.name, self.role.password)
        return psycopg.connect(url, autocommit=True)

    def open(self, probe: str = "", name: str = "test/names") -> Session:
        """A session as the program has it."""
        return open_session(self.conninfo(), 5.0, application_name=name, probe=probe)


def visit(visitor: Visitor, *, superuser: bool) -> None:
    """Do all that a start does to a database, but for its children."""
    with closing(visitor.open(load_sql("postgres/probe"))) as first:
        ledger.found(first.probed)
    held = lock.acquire(visitor.open(), visitor.open, timeout_s=1.0)
    with held:
        with pytest.raises(LockError):
            lock.acquire(visitor.open(), visitor.open, timeout_s=0.0)
        under_lock(held.session)
        if superuser:
            assert not seed_check.is_there(held.session, "select 1", None)
            if not held.session.pooled:
                tables = snapshot.take(held.session).filled
                armed = guard.arm(visitor.open(), tables, (), "test/push", 60.0)
                assert armed.drops is None
                assert armed.disarm() == []
    with closing(visitor.open(name="test/child")), closing(visitor.open()) as session:
        sessions.end(session, "test/child", timeout_s=5.0)
    if superuser:
        extend(visitor)
    operate(visitor)


def under_lock(session: Session) -> None:
    found = ledger.look(session)
    assert found.catalog is not None
    snapshot.take(session)
    ownership.exposed(session)
    ownership.lesser_content(session)
    objects.find(session)
    blockers.find(session, "test/names", [1])
    with suppress(RefusedError):  # a plain role may not
        ledger.write(session, found.ledger.seeded("-", "x", "now"))


EXTENSIONS = ("citext", "hstore", "pg_trgm", "cube", "earthdistance", "tablefunc", "xml2")


def extend(visitor: Visitor) -> None:
    with closing(visitor.open()) as session:
        where = extensions.schema(session)
        for name in extensions.missing(session, EXTENSIONS):
            with suppress(RefusedError):  # not on this server, or not beside his
                extensions.create(session, [name], where, last=True)


def operate(visitor: Visitor) -> None:
    """Do what the operator's commands do."""
    missing = f"{visitor.world.name}_new"
    registry = {
        name: services.Service(name, name, ("rpg_",), "tenant")
        for name in (visitor.world.name, missing)
    }
    at = server.Server(
        visitor.conninfo(), registry, tuple(registry.values()), (visitor.world.name,), (), None
    )
    assert not verify.verify(at).failures
    status.status(at)
    create.create(at, isolate=True, dry_run=False)
    with visitor.world.server.connect() as connection:
        connection.execute(f"drop database if exists {missing} with (force)")


@contextmanager
def visitors(world: World) -> Iterator[Callable[[Trap], Visitor]]:
    """Who comes along: the superuser or a plain role, directly or through a transaction pooler."""
    plain = Role(f"{world.name}_plain", PASSWORD)
    world.sql(f"create role {plain.name} login password '{PASSWORD}'")
    mighty = Role(world.server.superuser, world.server.password)
    users = {role.name: role.password for role in (plain, mighty)}
    try:
        with Pooler(world.server, mode="transaction", auth="scram-sha-256", users=users) as pooler:

            def chosen(trap: Trap) -> Visitor:
                endpoint = pooler if trap.pooled else world.server
                return Visitor(world, endpoint, mighty if trap.superuser else plain)

            yield chosen
    finally:
        with world.server.connect() as connection:
            connection.execute(f"drop database if exists {world.name} with (force)")
            connection.execute(f"drop role {plain.name}")


needs_pooler = pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed")


def leave_in_pg_temp(visitor: Visitor) -> None:
    """Somebody of the same role leaves temporary objects in the pooler's server connection."""
    with closing(visitor.connect()) as client:
        client.execute("set search_path = pg_catalog")
        for name in ("pg_class", "pg_database", "pg_roles", "pg_namespace", "pg_stat_activity"):
            client.execute(
                f"create view pg_temp.{name} as select * from pg_catalog.{name}"  # noqa: S608  names of the server's own
                f" where evil.run('temporary relation {name}')"
            )
        for name in ("oid", "text", "bool", "int8", "timestamptz", "regclass"):
            client.execute(
                f"create domain pg_temp.{name} as pg_catalog.{name}"
                f" check (evil.run('temporary domain {name}'))"
            )


@pytest.mark.long
@needs_pooler
def test_nothing_of_his_is_evaluated(world: World) -> None:
    """Whatever he made, no query of ours evaluates it: a start's nor an operator's command's."""
    with visitors(world) as chosen:

        @settings(
            max_examples=3,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(TRAPS)
        def visited(trap: Trap) -> None:
            set_up(world, trap)
            visitor = chosen(trap)
            with watched(world) as seen:
                if trap.pooled:
                    leave_in_pg_temp(visitor)
                visit(visitor, superuser=trap.superuser)
            assert seen == []

        visited()


@pytest.mark.long
@needs_pooler
def test_nothing_of_all_that_is_evaluated(world: World) -> None:
    """The same where he made all of it at once, for a superuser, directly and through a pooler."""
    with visitors(world) as chosen:
        set_up(world, ALL)
        with watched(world) as seen:
            visit(chosen(ALL), superuser=True)
            pooled = chosen(ALL._replace(pooled=True))
            leave_in_pg_temp(pooled)
            visit(pooled, superuser=True)
    assert seen == []


def test_a_whole_start(world: World, tmp_path: Path) -> None:
    """A superuser's start with a guarded push evaluates nothing of it either."""
    set_up(world, ALL._replace(path=("evil", "public")))
    superuser, password = world.server.superuser, world.server.password
    stage = Stage(tmp_path, world.server, world.name, superuser, password)
    stage.push = ["echo", "pushed"]
    stage.seed = ["true"]
    stage.sections = {"push": {"success": "pushed"}, "database": {"extensions": ["citext"]}}
    stage.environ["ENTRYPOINT_DATABASE_OWNER"] = world.mallory.name
    stage.environ["ENTRYPOINT_DIRECT_URL"] = stage.url  # nobody can tell that it never connects
    with watched(world) as seen:
        program = stage.start()
        assert program.wait() == 0, program.output
    assert program.one("guard.armed")["tables"] > 0
    assert seen == []


CONTROLS = {
    "function": "select lower(relname) from pg_catalog.pg_class limit 1",
    "operator": "select oid || relname from pg_catalog.pg_class limit 1",
    "relation": "select from pg_class limit 1",
    "domain": "select 1::int8",
    "index expression": "select from only rpg_heroes limit 1",
}


@pytest.mark.parametrize("kind", CONTROLS)
def test_a_session_with_his_path(world: World, kind: str) -> None:
    """The control: whoever comes without a path of his own evaluates what this role has made."""
    set_up(world, ALL._replace(path=("evil",), types=("oid", "name", "text", "int8", "int4")))
    with watched(world) as seen, world.connect() as careless:
        careless.execute(CONTROLS[kind].encode())
    assert any(tag.startswith(kind) for tag in seen)


def direct(world: World) -> Visitor:
    """The superuser, past any pooler."""
    return Visitor(world, world.server, Role(world.server.superuser, world.server.password))


def small(world: World) -> None:
    """His database with one schema, in which he has some objects."""
    set_up(world, ALL._replace(kinds=frozenset({"tables"}), path=("evil",)))


def test_a_role_for_all_sessions(world: World) -> None:
    """A role that a pooler's session has kept makes a superuser create no extension carelessly."""
    small(world)
    with closing(direct(world).open()) as session:
        session.connection.execute(f"set role {world.mallory.name}")
        # The control: what asks who the session is now believes that it is his.
        assert session.connection.info.parameter_status("is_superuser") == "off"
        assert extensions.create(session, ["citext"], "evil", last=True) == []
    owner = "select extowner::regrole::text from pg_extension where extname = 'citext'"
    assert world.sql(owner) == [(world.server.superuser,)]


def test_an_extension_that_requires_another(world: World) -> None:
    """A script that finds names in another extension's schema is not run where his objects are."""
    small(world)
    world.sql("create schema clean; create extension cube schema evil")
    with closing(direct(world).open()) as session:
        with pytest.raises(RefusedError, match="another role in 'evil'"):
            extensions.create(session, ["earthdistance"], "clean", last=True)
        world.sql("create extension earthdistance schema clean")  # the control: it would have run


def test_rows_of_his_tables(world: World) -> None:
    """A superuser does not count them, for a plan runs his index expressions, but sees a size."""
    small(world)
    with world.connect(world.mallory) as mallory:
        mallory.execute("create table evil.rpg_empty (id int)")
    with watched(world) as seen, closing(direct(world).open()) as session, session.transaction():
        tables = {table.name: table for table in snapshot.take(session).tables.values()}
    assert seen == []
    assert tables["rpg_heroes"].rows is None
    assert tables["rpg_empty"].rows == 0


SETTINGS = """
select name, setting from pg_settings
where source = 'session' and name <> 'application_name'  -- which PgBouncer itself hands on
order by 1
"""


@needs_pooler
def test_a_pooled_session_is_left_as_it_was(world: World) -> None:
    """The pooler's next client on our server connection has its role's settings, and no lock."""
    admin = Role(f"{world.name}_admin", PASSWORD)
    world.sql(
        f"create role {admin.name} login createdb password '{PASSWORD}';"
        f"alter database {world.name} owner to {admin.name};"
        f"alter role {admin.name} set search_path = his, public;"
        f"alter role {admin.name} set lock_timeout = '7s'"
    )
    users = {admin.name: admin.password}
    with Pooler(world.server, mode="transaction", auth="scram-sha-256", users=users) as pooler:
        visitor = Visitor(world, pooler, admin)
        with closing(visitor.connect()) as client:
            before = client.execute(SETTINGS).fetchall()
        visit(visitor, superuser=False)
        with closing(visitor.connect()) as client:
            assert client.execute(SETTINGS).fetchall() == before
            assert client.execute("show search_path").fetchone() == ("his, public",)
            assert client.execute("show lock_timeout").fetchone() == ("7s",)
            held = "select count(*) from pg_locks where locktype = 'advisory'"
            assert client.execute(held).fetchone() == (0,)
    world.sql(f"alter database {world.name} owner to postgres; drop role {admin.name}")


@needs_pooler
def test_a_timeout_is_as_it_was(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What creates and closes a database outlives the role's limit, which the next client has."""
    admin = Role(f"{world.name}_admin", PASSWORD)
    world.sql(
        f"create role {admin.name} login createdb password '{PASSWORD}';"
        f"alter role {admin.name} set statement_timeout = '300ms'"
    )
    made = f"{world.name}_made"
    slow = sql.SQL("select pg_sleep(0.5); ") + databases.closing(made)
    monkeypatch.setattr(databases, "closing", lambda _name: slow)
    users = {admin.name: admin.password}
    with Pooler(world.server, mode="transaction", auth="scram-sha-256", users=users) as pooler:
        visitor = Visitor(world, pooler, admin)
        with closing(visitor.open()) as session:
            assert session.pooled
            deadline = time.monotonic() + 30
            with closing(world.server.connect()) as other:
                other.execute("begin; lock table pg_database in share mode")
                release = threading.Timer(0.5, other.rollback)
                release.start()
                databases.create(session, made, owner=admin.name, isolate=True, deadline=deadline)
                release.join()
        with closing(visitor.connect()) as client:
            assert client.execute("show statement_timeout").fetchone() == ("300ms",)
    with world.server.connect() as connection:
        connection.execute(f"drop database {made} with (force)")
        connection.execute(f"drop role {admin.name}")
