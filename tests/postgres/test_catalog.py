"""The schema's fingerprint changes with the schema, and with nothing else."""

from __future__ import annotations

import contextlib
import os
import subprocess
import uuid
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

from entrypoint.config.conninfo import Conninfo
from entrypoint.postgres import guard, snapshot
from entrypoint.postgres.session import Session, first_rows, open_session
from entrypoint.postgres.sql import load_sql

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg.rows import TupleRow

    from tests.conftest import RoleFactory
    from tests.support.server import Endpoint, Server

    Connection = psycopg.Connection[TupleRow]

BASE = r"""
create schema app;
create type mood as enum ('sad', 'ok', 'happy');
create domain positive as integer default 1 constraint above_zero check (value > 0);
create domain label as text;
create type pair as (a integer, b text);
create type lone as (a integer);
create type span as range (subtype = numeric);
create type gap as range (subtype = text);
create sequence counter increment 2;

create function touch() returns trigger language plpgsql as
  $$ begin new.note = 'touched'; return new; end $$;
create function tax_of(amount numeric) returns numeric language sql immutable as
  'select amount * 0.1';
create function initial(mood) returns text language sql immutable as
  'select left($1::text, 1)';
create procedure clean() language sql as 'select 1';
create aggregate total (numeric) (sfunc = numeric_add, stype = numeric, initcond = '0');

create table tenants (
  id bigint generated always as identity primary key,
  name varchar(50) not null default 'none',
  mood mood default 'ok',
  size positive,
  code text collate "C",
  parts pair,
  labels text[] default array['a', 'b'],
  since timestamptz default '2024-01-01 12:00+00',
  day date default '2024-02-01',
  every interval default '1 day 02:03:04',
  ratio float8 default '0.30000000000000004',
  raw bytea default '\x00ff',
  price money default '1.50',
  path text default 'c:\temp'
);
create table orders (
  id serial primary key,
  tenant_id bigint not null constraint of_tenant references tenants on delete cascade,
  amount numeric(12, 2) default 0,
  status varchar(20) not null default 'new' constraint known check (status in ('new', 'done')),
  placed timestamptz not null default now(),
  spans span,
  note text,
  gone integer,
  constraint once unique (tenant_id, placed)
);
alter table orders add constraint fits check (amount < 1000000) not valid;
create index orders_open on orders (placed) where status in ('new', 'old');
create unique index tenants_name on tenants (lower(name));
create statistics orders_stats (dependencies) on tenant_id, status from orders;
create view open_orders with (security_barrier) as
  select o.id, t.name from orders o join tenants t on t.id = o.tenant_id where o.status <> 'done';
create materialized view totals as
  select tenant_id, sum(amount) as amount from orders group by tenant_id;
create unique index totals_tenant on totals (tenant_id);
create trigger touched before update of amount on orders
  for each row when (old.amount <> new.amount) execute function touch();
create policy own on orders for select using (tenant_id = 1);
create table events (at date not null, what text) partition by range (at);
create table events_2024 partition of events for values from ('2024-01-01') to ('2025-01-01');
create table events_2023 partition of events for values from ('2023-01-01') to ('2024-01-01');
create index events_what on events (what);
create index events_at on only events (at);
create index events_2024_at on events_2024 (at);
create table loose (at date not null, what text, short varchar(5), n numeric(3, 1));
create table apart (at date not null, what text);
create table computed (a integer, b integer generated always as (a * 2) stored);
create table parent (id integer);
create table child (extra integer) inherits (parent);
create table single (id integer not null);
create unique index single_id on single (id);
create rule quiet as on delete to parent do instead nothing;
"""

# Quotes, a newline, a semicolon, upper case, and more than Latin-1.
ODD = 'app."Odd ""name""\nof two lines; naïve - 表"'
ODD_CHECK = '"it\'s ""so"""'
BASE += f"""
create table {ODD} ("Größe" integer constraint {ODD_CHECK} check ("Größe" > 0));
create view app."Odd view" as table {ODD};
"""

CHANGES = {
    "new schema": "create schema more",
    "schema renamed": "alter schema app rename to app2",
    "new table": "create table more ()",
    "table renamed": "alter table loose rename to loose2",
    "table to another schema": "alter table loose set schema app",
    "table dropped": "drop table loose",
    "table unlogged": "alter table loose set unlogged",
    "fillfactor": "alter table loose set (fillfactor = 50)",
    "toast option": "alter table loose set (toast.autovacuum_enabled = off)",
    "replica identity full": "alter table loose replica identity full",
    "replica identity index": "alter table single replica identity using index single_id",
    "inheritance": "alter table child no inherit parent",
    "new heir": "alter table single inherit parent",
    "table of a type": "alter table single drop column id, add a integer, add b text;"
    "alter table single of pair",
    "new column": "alter table loose add extra integer",
    "column renamed": "alter table loose rename what to which",
    "column dropped": "alter table loose drop what",
    "columns swapped": "alter table loose drop what, add what text",
    "column's type": "alter table orders alter note type varchar",
    "column's length": "alter table loose alter short type varchar(6)",
    "column's precision": "alter table loose alter n type numeric(3, 2)",
    "column's collation": 'alter table orders alter note type text collate "C"',
    "column's storage": "alter table loose alter what set storage external",
    "column's statistics": "alter table loose alter what set statistics 500",
    "column's options": "alter table loose alter what set (n_distinct = 5)",
    "default added": "alter table orders alter note set default 'x'",
    "default changed": "alter table tenants alter name set default 'nobody'",
    "default dropped": "alter table tenants alter name drop default",
    "not null": "alter table orders alter note set not null",
    "null": "alter table tenants alter name drop not null",
    "identity kind": "alter table tenants alter id set generated by default",
    "identity increment": "alter table tenants alter id set increment 5",
    "identity dropped": "alter table tenants alter id drop identity",
    "generated expression": "alter table computed drop b,"
    "  add b integer generated always as (a * 3) stored",
    "generated no more": "alter table computed alter b drop expression",
    "generated turned default": "alter table computed drop b, add b integer default 2",
    "new check": "alter table orders add check (id > 0)",
    "check changed": "alter table orders drop constraint fits;"
    "alter table orders add constraint fits check (amount < 2000000) not valid",
    "check validated": "alter table orders validate constraint fits",
    "check on fewer values": "alter table orders drop constraint known;"
    "alter table orders add constraint known check (status in ('new'))",
    "check on other values": "alter table orders drop constraint known;"
    "alter table orders add constraint known check (status in ('new', 'old'))",
    "constraint renamed": "alter table orders rename constraint fits to fits2",
    "foreign key's action": "alter table orders drop constraint of_tenant;"
    "alter table orders add constraint of_tenant foreign key (tenant_id) references tenants"
    "  on delete set null",
    "foreign key deferrable": "alter table orders alter constraint of_tenant deferrable",
    "foreign key deferred": "alter table orders alter constraint of_tenant initially deferred",
    "foreign key dropped": "alter table orders drop constraint of_tenant",
    "foreign key not enforced": "alter table orders disable trigger all",
    "unique's columns": "alter table orders drop constraint once;"
    "alter table orders add constraint once unique (placed, tenant_id)",
    "unique deferrable": "alter table orders drop constraint once;"
    "alter table orders add constraint once unique (tenant_id, placed) deferrable",
    "primary key dropped": "alter table orders drop constraint orders_pkey",
    "primary key's option": "alter index orders_pkey set (fillfactor = 50)",
    "exclusion": "alter table loose add constraint alone exclude (at with =)",
    "new index": "create index on orders (note)",
    "index dropped": "drop index orders_open",
    "index renamed": "alter index orders_open rename to orders_open2",
    "index predicate": "drop index orders_open;"
    "create index orders_open on orders (placed) where status in ('new', 'done')",
    "index columns": "drop index orders_open;"
    "create index orders_open on orders (placed, id) where status in ('new', 'old')",
    "index order": "drop index orders_open;"
    "create index orders_open on orders (placed desc) where status in ('new', 'old')",
    "index included column": "drop index orders_open;"
    "create index orders_open on orders (placed) include (id) where status in ('new', 'old')",
    "index method": "drop index orders_open;"
    "create index orders_open on orders using hash (placed) where status in ('new', 'old')",
    "index unique": "drop index orders_open;"
    "create unique index orders_open on orders (placed) where status in ('new', 'old')",
    "index option": "alter index orders_open set (fillfactor = 50)",
    "index statistics": "alter index tenants_name alter column 1 set statistics 500",
    "index on a materialized view": "drop index totals_tenant",
    "index attached": "alter index events_at attach partition events_2024_at",
    "enum value added": "alter type mood add value 'great'",
    "enum value renamed": "alter type mood rename value 'ok' to 'fine'",
    "enum order": "alter type mood rename value 'ok' to 'x'; "
    "alter type mood rename value 'sad' to 'ok'; alter type mood rename value 'x' to 'sad'",
    "type renamed": "alter type mood rename to humour",
    "new type": "create type other as enum ()",
    "shell type": "create type nothing",
    "domain check": "alter domain positive add check (value < 100)",
    "domain check dropped": "alter domain positive drop constraint above_zero",
    "domain default": "alter domain positive set default 2",
    "domain not null": "alter domain positive set not null",
    "domain's base": "drop domain label; create domain label as varchar",
    "domain's collation": 'drop domain label; create domain label as text collate "C"',
    "composite attribute": "alter type pair add attribute c integer",
    "composite attribute's type": "alter type lone alter attribute a type bigint",
    "range's subtype": "drop type gap; create type gap as range (subtype = integer)",
    "range's operators": "drop type gap;"
    "create type gap as range (subtype = text, subtype_opclass = text_pattern_ops)",
    "range's collation": 'drop type gap;create type gap as range (subtype = text, collation = "C")',
    "view text": "create or replace view open_orders with (security_barrier) as"
    "  select o.id, t.name from orders o join tenants t on t.id = o.tenant_id",
    "view option": "alter view open_orders reset (security_barrier)",
    "view column's default": "alter view open_orders alter name set default 'x'",
    "view dropped": "drop view open_orders",
    "materialized view text": "drop materialized view totals; create materialized view totals as"
    "  select tenant_id, max(amount) as amount from orders group by tenant_id;"
    "create unique index totals_tenant on totals (tenant_id)",
    "function body": "create or replace function tax_of(amount numeric) returns numeric"
    "  language sql immutable as 'select amount * 0.2'",
    "function overloaded": "create function tax_of(amount integer) returns numeric"
    "  language sql immutable as 'select amount * 0.1'",
    "function volatility": "alter function tax_of stable",
    "function security definer": "alter function tax_of security definer",
    "function strict": "alter function tax_of strict",
    "function setting": "alter function tax_of set search_path = app",
    "function cost": "alter function tax_of cost 5",
    "function renamed": "alter function tax_of rename to tax_on",
    "argument's default": "create or replace function tax_of(amount numeric default 1)"
    "  returns numeric language sql immutable as 'select amount * 0.1'",
    "new function": "create function one() returns int language sql as 'select 1'",
    "procedure": "create or replace procedure clean() language sql as 'select 2'",
    "aggregate's start": "create or replace aggregate total (numeric)"
    "  (sfunc = numeric_add, stype = numeric, initcond = '1')",
    "aggregate's function": "create or replace aggregate total (numeric)"
    "  (sfunc = numeric_mul, stype = numeric, initcond = '0')",
    "aggregate parallel": "create or replace aggregate total (numeric)"
    "  (sfunc = numeric_add, stype = numeric, initcond = '0', parallel = safe)",
    "new trigger": "create trigger also before insert on orders for each row"
    "  execute function touch()",
    "trigger dropped": "drop trigger touched on orders",
    "trigger disabled": "alter table orders disable trigger touched",
    "trigger always": "alter table orders enable always trigger touched",
    "trigger changed": "drop trigger touched on orders; create trigger touched after update"
    "  on orders for each row execute function touch()",
    "trigger condition": "drop trigger touched on orders; create trigger touched"
    "  before update of amount on orders for each row when (old.amount < new.amount)"
    "  execute function touch()",
    "new policy": "create policy more on orders for insert with check (true)",
    "policy expression": "alter policy own on orders using (tenant_id = 2)",
    "policy role": "alter policy own on orders to pg_monitor",
    "policy restrictive": "drop policy own on orders;"
    "create policy own on orders as restrictive for select using (tenant_id = 1)",
    "policy command": "drop policy own on orders;"
    "create policy own on orders for delete using (tenant_id = 1)",
    "row security": "alter table orders enable row level security",
    "row security forced": "alter table orders force row level security",
    "new partition": "create table events_2025 partition of events"
    "  for values from ('2025-01-01') to ('2026-01-01')",
    "default partition": "create table events_rest partition of events default",
    "partition bound": "alter table events detach partition events_2024; alter table events"
    "  attach partition events_2024 for values from ('2024-01-01') to ('2024-07-01')",
    "partition detached": "alter table events detach partition events_2024",
    "partition attached": "alter table events attach partition apart"
    "  for values from ('2026-01-01') to ('2027-01-01')",
    "partition key": "drop table events; create table events (at date not null, what text)"
    "  partition by list (at)",
    "sequence increment": "alter sequence counter increment 3",
    "sequence start": "alter sequence counter start 5",
    "sequence cycle": "alter sequence counter cycle",
    "sequence cache": "alter sequence counter cache 10",
    "sequence type": "alter sequence counter as integer",
    "sequence owned by": "alter sequence counter owned by loose.at",
    "sequence owned by another": "alter sequence orders_id_seq owned by orders.amount",
    "sequence owned by none": "alter sequence orders_id_seq owned by none",
    "rule": "create or replace rule quiet as on delete to parent do also nothing",
    "rule disabled": "alter table parent disable rule quiet",
    "rule dropped": "drop rule quiet on parent",
    "statistics' columns": "drop statistics orders_stats;"
    "create statistics orders_stats (dependencies) on tenant_id, placed from orders",
    "statistics' kind": "drop statistics orders_stats;"
    "create statistics orders_stats (mcv) on tenant_id, status from orders",
    "statistics' target": "alter statistics orders_stats set statistics 500",
    "new extension": "create extension hstore",
    "extension elsewhere": "create extension hstore schema app",
    "new collation": 'create collation german from "C"',
    "new operator": "create operator ==="
    "  (leftarg = integer, rightarg = integer, procedure = int4eq)",
    "new cast": "create cast (mood as text) with function initial",
    "new search configuration": "create text search configuration plain (copy = simple)",
    "new event trigger": "create function told() returns event_trigger language plpgsql as"
    "  'begin end'; create event trigger teller on ddl_command_end execute function told()",
    "odd name's column": f'alter table {ODD} rename "Größe" to "größe"',
    "odd name's constraint": f"alter table {ODD} drop constraint {ODD_CHECK}",
}

SINCE = {
    140000: [
        "alter table loose alter what set compression pglz",
        "create function three() returns int begin atomic select 3; end",
        "alter type span_multirange rename to spans_multirange",
    ],
    150000: [
        "alter view open_orders set (security_invoker)",
        "create unique index on loose (what) nulls not distinct",
        """
        alter table orders drop constraint of_tenant, add constraint of_tenant
          foreign key (tenant_id) references tenants on delete set null (tenant_id)
        """,
    ],
    180000: [
        "alter table loose add length int generated always as (length(what)) virtual",
        "alter table orders rename constraint orders_status_not_null to status_not_null",
        "alter table loose add constraint late not null what not valid",
        "alter table orders alter constraint of_tenant not enforced",
    ],
}

UNCHANGED = {
    "comments": """
        comment on schema app is 'x'; comment on table orders is 'x';
        comment on column orders.id is 'x'; comment on constraint fits on orders is 'x';
        comment on index orders_open is 'x'; comment on type mood is 'x';
        comment on domain positive is 'x'; comment on view open_orders is 'x';
        comment on materialized view totals is 'x'; comment on function tax_of is 'x';
        comment on procedure clean is 'x'; comment on aggregate total(numeric) is 'x';
        comment on trigger touched on orders is 'x'; comment on policy own on orders is 'x';
        comment on sequence counter is 'x'; comment on rule quiet on parent is 'x';
        comment on statistics orders_stats is 'x'; comment on extension plpgsql is 'x'
        """,
    # PostgreSQL 17.12 puts such a one on every new column, with a number that no dump restores.
    "the server's own mark on columns": """
        update pg_attribute set attoptions = array['pg_attver=22119664'] || attoptions
        where attrelid in ('orders'::regclass, 'tenants'::regclass)
        """,
    "rows": """
        insert into tenants (name) values ('a'), ('b');
        insert into orders (tenant_id, amount) select id, 3 from tenants;
        insert into events values ('2024-05-05', 'x'); insert into child values (1, 2);
        update orders set amount = 4; delete from tenants where name = 'b'; truncate single
        """,
    "analyze": "insert into loose select '2024-01-01', 'x' from generate_series(1, 100); analyze",
    "nextval": "select nextval('counter'), nextval('orders_id_seq'), setval('tenants_id_seq', 99)",
    "restarted sequence": "alter sequence counter restart with 77",
    "refresh": "refresh materialized view totals",
    "emptied materialized view": "refresh materialized view totals with no data",
    "grant": """
        grant all on orders, open_orders, counter to pg_monitor;
        grant select (id) on tenants to public; grant usage on schema app to public;
        grant execute on function tax_of to pg_monitor; grant usage on type mood to pg_monitor;
        alter default privileges in schema app grant select on tables to public
        """,
    "revoke": "revoke all on schema public from public; revoke all on function tax_of from public",
    "owner": """
        alter table orders owner to pg_monitor; alter schema app owner to pg_monitor;
        alter function tax_of owner to pg_monitor; alter type mood owner to pg_monitor;
        alter view open_orders owner to pg_monitor; alter sequence counter owner to pg_monitor
        """,
    "temporary objects": """
        create temporary table t (id serial primary key, m mood, check (id > 0));
        create temporary view v as select * from t; create temporary sequence s;
        create type pg_temp.e as enum ('x'); create domain pg_temp.d as int;
        create function pg_temp.f() returns int language sql as 'select 1';
        create trigger r before insert on t for each row execute function touch();
        create operator pg_temp.=== (leftarg = integer, rightarg = integer, procedure = int4eq)
        """,
    "temporary tables with names of the catalog's": """
        create temporary table pg_class (oid oid); create temporary table pg_attribute (x int);
        create temporary view pg_namespace as select 1 as oid
        """,
    "database's settings": "alter database {} set search_path = app",
    "role's settings": "alter role current_user set search_path = app",
    "reindexed": "reindex table orders",
    "clustered": "cluster orders using orders_pkey",
    "dropped and created again": """
        drop view open_orders;
        drop trigger touched on orders;
        create trigger touched before update of amount on orders
          for each row when (old.amount <> new.amount) execute function touch();
        create view open_orders with (security_barrier) as
          select o.id, t.name from orders o join tenants t on t.id = o.tenant_id
          where o.status <> 'done';
        drop index orders_open;
        create index orders_open on orders (placed) where status in ('new', 'old');
        drop policy own on orders; create policy own on orders for select using (tenant_id = 1);
        drop table parent cascade; drop table loose;
        create table loose (at date not null, what text, short varchar(5), n numeric(3, 1));
        create table parent (id integer); create table child (extra integer) inherits (parent);
        create rule quiet as on delete to parent do instead nothing
        """,
    "last column dropped and added": "alter table orders drop gone, add gone int",
    "generated column dropped and added": "alter table computed drop b,"
    "  add b integer generated always as (a * 2) stored",
    "constraints dropped and added": """
        alter table orders drop constraint once, drop constraint of_tenant, drop constraint fits;
        alter table orders
          add constraint fits check (amount < 1000000) not valid,
          add constraint of_tenant foreign key (tenant_id) references tenants on delete cascade,
          add constraint once unique (tenant_id, placed)
        """,
    "range dropped and created": "drop type gap; create type gap as range (subtype = text)",
    "column added and dropped": "alter table loose add extra int; alter table loose drop extra",
    "renamed there and back": "alter table loose rename to x; alter table x rename to loose",
    "same default again": "alter table tenants alter name set default 'none'",
    "same function again": "create or replace function tax_of(amount numeric) returns numeric"
    " language sql immutable as 'select amount * 0.1'",
    "expression as it is after a restore": """
        alter table orders drop constraint known;
        alter table orders add constraint known check
          ((status)::text = any (array[('new'::varchar)::text, ('done'::varchar)::text]))
        """,
    "publication": "create publication told for table loose",
    "prepared statement": "prepare p as select 1",
}

RARE = {
    "new collation",
    "new operator",
    "new search configuration",
    "new event trigger",
}
"""Changes that leave no state, so that each start computes the fingerprint."""

SAME_STATE = {
    *("comments", "rows", "analyze", "nextval", "refresh"),
    *("emptied materialized view", "temporary tables with names of the catalog's"),
    *("database's settings", "role's settings", "reindexed", "publication"),
    "prepared statement",
}
"""Of the names in `UNCHANGED`, what leaves the state too, so that a start is as quick as before."""

SETTINGS = {
    "search_path": "app,public",
    "quote_all_identifiers": "on",
    "standard_conforming_strings": "off",
    "DateStyle": "German,DMY",
    "IntervalStyle": "iso_8601",
    "TimeZone": "Asia/Tokyo",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "default_transaction_isolation": "serializable",
    "client_encoding": "latin1",
    "enable_hashjoin": "off",
    "row_security": "off",
}


def fingerprint(connection: Connection) -> str:
    """Ask for it, and leave an open transaction as it was."""
    with connection.transaction(force_rollback=True):
        settings = load_sql("postgres/fingerprint_settings")
        query = load_sql("postgres/schema_fingerprint")
        *_, (found,) = first_rows(connection, f"{settings};{query}")
    assert isinstance(found, str)
    assert len(found) == 64
    return found


def state(connection: Connection) -> str | None:
    """Ask for the state that stands for a fingerprint, and leave an open transaction as it was."""
    with connection.transaction(force_rollback=True):
        settings = load_sql("postgres/fingerprint_settings")
        *_, (found,) = first_rows(connection, f"{settings};{load_sql('postgres/schema_state')}")
    assert found is None or isinstance(found, str)
    return found


def create(server: Endpoint, name: str, template: str = "template0", options: str = "") -> None:
    statement = sql.SQL("create database {} template {} " + options)
    with server.connect() as connection:
        connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))


@contextlib.contextmanager
def temporary(server: Endpoint, template: str = "template0", options: str = "") -> Iterator[str]:
    """A database that is dropped at the end."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    create(server, name, template, options)
    try:
        yield name
    finally:
        with server.connect() as connection:
            statement = sql.SQL("drop database if exists {} with (force)")
            connection.execute(statement.format(sql.Identifier(name)))


@pytest.fixture(scope="module")
def template(server: Endpoint) -> Iterator[str]:
    """A database with the schema `BASE`, to make copies of."""
    with temporary(server) as name:
        with server.connect(name) as connection:
            connection.execute(BASE)
        yield name


@pytest.fixture(scope="module")
def shared(server: Endpoint, template: str) -> Iterator[Connection]:
    """A connection to a copy of it that all tests use."""
    with temporary(server, template) as name, server.connect(name) as connection:
        yield connection


@pytest.fixture
def base(shared: Connection) -> Iterator[Connection]:
    """The same in a transaction that is rolled back."""
    with shared.transaction(force_rollback=True):
        yield shared


@pytest.fixture
def copy(server: Endpoint, template: str, database: str) -> Iterator[Connection]:
    """A connection, in autocommit mode, to a copy for one test."""
    create(server, database, template)
    with server.connect(database) as connection:
        yield connection


@pytest.mark.parametrize("name", CHANGES)
def test_changes_with_the_schema(base: Connection, name: str) -> None:
    """Every way of changing the schema changes the fingerprint, and its state."""
    before, known = fingerprint(base), state(base)
    base.execute(CHANGES[name])
    assert fingerprint(base) != before
    assert known
    assert state(base) != known
    assert (state(base) is None) == (name in RARE)


def test_changes_with_what_newer_servers_know(shared: Connection) -> None:
    """What only later versions of PostgreSQL can do to a schema is seen there."""
    version = shared.info.server_version
    for change in [each for since, some in SINCE.items() if since <= version for each in some]:
        with shared.transaction(force_rollback=True):
            before, known = fingerprint(shared), state(shared)
            shared.execute(change)
            assert fingerprint(shared) != before, change
            assert known != state(shared), change


def test_one_snapshot_has_state_and_fingerprint(base: Connection) -> None:
    """What a start records of them comes from one statement."""
    with base.transaction(force_rollback=True):
        *_, both, again = first_rows(base, load_sql("postgres/probe_to_record"))
    assert tuple(both) == (state(base), fingerprint(base))
    assert tuple(again) == (state(base),)


def test_a_guards_trigger_leaves_no_state(base: Connection) -> None:
    """Whoever owns the table: a start looks for what a guard left, until it is gone."""
    base.execute(
        "create trigger entrypoint_guard before truncate on loose execute function touch()"
    )
    assert state(base) is None


@pytest.mark.parametrize("name", UNCHANGED)
def test_stays_with_everything_else(base: Connection, name: str) -> None:
    """Nothing that leaves the schema as it is changes the fingerprint."""
    before, known = fingerprint(base), state(base)
    base.execute(UNCHANGED[name].format(base.info.dbname))
    assert fingerprint(base) == before
    assert (state(base) == known) == (name in SAME_STATE)


@pytest.mark.parametrize(
    "statement",
    [
        "vacuum",
        "vacuum full analyze",
        "reindex index concurrently orders_open",
        "refresh materialized view concurrently totals",
        "cluster",
    ],
)
def test_stays_after_maintenance(copy: Connection, statement: str) -> None:
    """What runs outside of transactions to tidy up leaves the fingerprint as it is."""
    before = fingerprint(copy)
    copy.execute("insert into tenants (name) values ('a'); delete from tenants")
    copy.execute(statement)
    assert fingerprint(copy) == before


def test_rows_of_a_table_being_changed_do_not_matter(
    server: Endpoint, copy: Connection, database: str
) -> None:
    """A transaction that writes rows neither changes the fingerprint nor blocks it."""
    before = fingerprint(copy)
    with server.connect(database) as other, other.transaction(force_rollback=True):
        other.execute("insert into tenants (name) values ('a'); select from orders for update")
        copy.execute("set lock_timeout = '5s'")
        assert fingerprint(copy) == before


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_do_not_matter(server: Endpoint, shared: Connection, name: str) -> None:
    """No setting of a role, a database or a client changes the fingerprint."""
    database = shared.info.dbname
    with psycopg.connect(server.url(database), autocommit=True) as connection:
        connection.execute("select set_config(%s, %s, false)", [name, SETTINGS[name]])
        assert fingerprint(connection) == fingerprint(shared)


def test_roles_do_not_matter(server: Endpoint, copy: Connection, role: RoleFactory) -> None:
    """A role that may read nothing gets the fingerprint that the superuser gets."""
    copy.execute("revoke all on schema public from public")
    guest = role()
    url = server.url(copy.info.dbname, guest.name, guest.password)
    with psycopg.connect(url, autocommit=True) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select from public.orders")
        assert fingerprint(connection) == fingerprint(copy)


def test_role_of_a_policy_is_its_name(base: Connection) -> None:
    """The roles of a policy count, in whichever order they were named; their attributes do not."""
    base.execute(
        "create role entrypoint_test_a; create role entrypoint_test_b;"
        "alter policy own on orders to entrypoint_test_a, entrypoint_test_b"
    )
    before = fingerprint(base)
    base.execute("alter role entrypoint_test_a createdb login password 'x'")
    base.execute("alter policy own on orders to entrypoint_test_b, entrypoint_test_a")
    assert fingerprint(base) == before
    base.execute("alter policy own on orders to entrypoint_test_b")
    assert fingerprint(base) != before


def test_invalid_index_counts(copy: Connection) -> None:
    """An index that could not be built concurrently is not the index that was wanted."""
    copy.execute("insert into loose values ('2024-01-01', 'a'), ('2024-01-01', 'a')")
    with pytest.raises(psycopg.errors.UniqueViolation):
        copy.execute("create unique index concurrently loose_at on loose (at)")
    invalid = fingerprint(copy)
    copy.execute("delete from loose")
    copy.execute("reindex index loose_at")
    assert fingerprint(copy) != invalid


def test_extension_counts_as_one(base: Connection) -> None:
    """An extension made again is the same; its members do not count one by one."""
    base.execute("create extension hstore")
    before = fingerprint(base)
    base.execute("drop extension hstore; create table other (); create extension hstore")
    base.execute("drop table other")
    assert fingerprint(base) == before
    base.execute(
        "alter function hstore(record) cost 77; alter type hstore set (storage = external)"
    )
    assert fingerprint(base) == before


@pytest.mark.parametrize(
    ("kind", "statement"),
    [
        ("table loose", "alter table loose add y integer"),
        ("function tax_of", "alter function tax_of cost 7"),
        ("type mood", "alter type mood add value 'x'"),
        ("sequence counter", "alter sequence counter increment 9"),
        ("view open_orders", "alter view open_orders reset (security_barrier)"),
        ("schema app", "create table app.more ()"),
    ],
)
def test_members_of_extensions_do_not_count(base: Connection, kind: str, statement: str) -> None:
    """What belongs to an extension is the extension's; given back, it counts again."""
    before = fingerprint(base)
    base.execute(f"create extension hstore; alter extension hstore add {kind}")
    as_member = fingerprint(base)
    base.execute(statement)
    assert fingerprint(base) == as_member
    base.execute(f"alter extension hstore drop {kind}; drop extension hstore")
    assert fingerprint(base) != before


def test_order_of_creation_does_not_matter(server: Endpoint, database: str) -> None:
    """The same objects made in another order, with other OIDs, have the same fingerprint."""
    statements = [
        "create table a (id serial primary key, t text default 'x' check (t <> ''))",
        "create table b (id int generated always as identity, unique (id))",
        "create type c as enum ('x', 'y')",
        "create function d() returns int language sql as 'select 1'",
        "create domain e as int check (value > 0) not null",
        "create sequence f",
        "create schema g create table a (id int primary key) create view b as select id from a",
        "create extension pg_trgm",
        "create type h as (x int, y text)",
    ]
    create(server, database)
    with (
        temporary(server) as other,
        server.connect(database) as one,
        server.connect(other) as two,
    ):
        for statement in statements:
            one.execute(statement)
        two.execute("create table noise (id serial); drop table noise")
        for statement in reversed(statements):
            two.execute(statement)
        assert fingerprint(two) == fingerprint(one)


def test_order_of_enum_values_added_does_not_matter(base: Connection) -> None:
    """Of an enum's values only the order counts, not how they came to stand in it."""
    base.execute("create type size as enum ('s', 'm', 'l')")
    before = fingerprint(base)
    base.execute("drop type size; create type size as enum ('l')")
    base.execute("alter type size add value 's' before 'l'")
    base.execute("alter type size add value 'm' before 'l'")
    assert fingerprint(base) == before


def test_order_of_parents_counts(base: Connection) -> None:
    """Heirs of two parents tell them apart, whatever numbers the server gave them."""
    base.execute("create table p (); create table q (); create table heir () inherits (p, q)")
    before = fingerprint(base)
    base.execute("alter table heir no inherit p; alter table heir no inherit q")
    base.execute("alter table heir inherit q; alter table heir inherit p")
    assert fingerprint(base) != before
    base.execute("alter table heir no inherit q; alter table heir inherit q")
    assert fingerprint(base) == before


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('create schema a create table "b.c" ()', 'create schema "a.b" create table c ()'),
        ('create table t ("a,b" int)', "create table t (a int, b int)"),
        ('create table t ("a\nb" int)', "create table t (a int, b int)"),
        ("create type t as enum ('a,b')", "create type t as enum ('a', 'b')"),
        ("create table t (a text default 'x')", "create table t (a text default '''x''')"),
        ("create table t (a int, b int not null)", "create table t (a int not null, b int)"),
        ('create table "T" ()', "create table t ()"),
        ('create table "é" ()', 'create table "e\u0301" ()'),
    ],
)
def test_names_are_not_confused(base: Connection, one: str, other: str) -> None:
    """Two schemas that read alike without their quotes have different fingerprints."""
    found = []
    for statements in (one, other):
        with base.transaction(force_rollback=True):
            base.execute(statements)
            found.append(fingerprint(base))
    assert found[0] != found[1]


def test_empty_database(server: Endpoint, database: str) -> None:
    """Databases without a schema of their own, even without public, have a fingerprint."""
    create(server, database)
    with temporary(server) as other, server.connect(database) as one, server.connect(other) as two:
        assert fingerprint(one) == fingerprint(two)
        one.execute("drop schema public; drop extension plpgsql")
        assert fingerprint(one) != fingerprint(two)


def test_encoding_does_not_matter(server: Endpoint, database: str) -> None:
    """Databases in Latin-1 and UTF-8 with the same names have the same fingerprint."""
    create(server, database, options="encoding 'latin1' locale 'C'")
    with temporary(server, options="encoding 'utf8' locale 'C'") as other:
        found = []
        for name in (database, other):
            with server.connect(name) as connection:
                connection.execute("set client_encoding = 'utf8'")
                connection.execute("create table größe (\"é\" text default 'ß')")
                found.append(fingerprint(connection))
    assert found[0] == found[1]


def test_database_without_encoding(server: Endpoint, database: str) -> None:
    """In SQL_ASCII, bytes that are no UTF-8 are taken as they are."""
    create(server, database, options="encoding 'sql_ascii' locale 'C'")
    with server.connect(database) as connection:
        connection.execute(b"create table t (a text default '\xe9')")
        connection.execute("set client_encoding = 'utf8'")
        before = fingerprint(connection)
        connection.execute("alter table t alter a set default 'e'")
        assert fingerprint(connection) != before


def test_a_guard_does_not_count(server: Endpoint, copy: Connection) -> None:
    """What guards a push while it runs is no schema, nor is what it may leave on a table."""
    copy.execute("insert into tenants (name) values ('a'); insert into parent values (1)")
    copy.execute(f"insert into {ODD} values (1)".encode())  # noqa: S608  a name of our own
    before = fingerprint(copy)
    with contextlib.closing(session(server, copy)) as looking:
        looking.connection.execute("begin")
        tables = snapshot.take(looking).filled
    armed = guard.arm(session(server, copy), tables, [], "test/push", 60.0)
    assert (armed.drops, armed.unguarded) == (None, {})
    assert fingerprint(copy) == before
    assert armed.disarm() == []
    assert fingerprint(copy) == before
    if copy.info.server_version >= 140000:
        copy.execute("begin; select from parent")
        armed = guard.arm(session(server, copy), tables, [], "test/push", 60.0)
        assert armed.disarm(0.0) == ["public.parent"]
        copy.execute("commit")
        assert fingerprint(copy) == before


def session(server: Endpoint, connection: Connection) -> Session:
    url = server.url(connection.info.dbname)
    params = {key: str(value) for key, value in psycopg.conninfo.conninfo_to_dict(url).items()}
    return open_session(Conninfo(params), 5, application_name="test")


def test_many_tables(base: Connection) -> None:
    """One column of one table among hundreds is seen, and seen to be undone."""
    base.execute(
        "do $$ begin for i in 1..300 loop execute format("
        "'create table many_%s (id int primary key, a text default ''x'', b int check (b > %s))',"
        " i, i); end loop; end $$"
    )
    before = fingerprint(base)
    base.execute("alter table many_217 alter a set default 'y'")
    assert fingerprint(base) != before
    base.execute("alter table many_217 alter a set default 'x'")
    assert fingerprint(base) == before


def test_restored_dump_is_the_same(own_server: Server) -> None:
    """A copy made with pg_dump and psql has the fingerprint of what it was made from."""

    def run(program: str, *arguments: str, text: bytes = b"") -> bytes:
        command = [str(own_server.pg_bin / program), *arguments]
        environment = {"PATH": os.defpath}
        done = subprocess.run(
            command, check=True, input=text, stdout=subprocess.PIPE, env=environment, timeout=60
        )
        return done.stdout

    create(own_server, "one")
    create(own_server, "two")
    with own_server.connect("one") as one, own_server.connect("two") as two:
        one.execute(BASE)
        one.execute("create extension hstore; alter table orders drop gone, add gone int")
        dump = run("pg_dump", own_server.url("one"))
        run("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", own_server.url("two"), text=dump)
        assert fingerprint(two) == fingerprint(one)
