"""Random databases that two services share, as SQL: what a transfer meets, in every combination.

`sources` draws a list of statements of about fifty kinds. Names say whose an object is: ``rpg_`` is
the service's that moves, ``sso_`` another's that stays, and anything else is claimed by nobody.
Most objects need only what is of their own side; a share of the sources has *crossings*, in either
direction. Every statement succeeds on PostgreSQL 15 and later, run in order by a superuser.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

RPG, SSO, NOBODY = "rpg", "sso", ""

ROLES: Final = {RPG: "rpg_app", SSO: "sso_app", NOBODY: 'the "Odd" role'}
"""Who owns and uses what, by side; they are there before a source is made."""

WAYS: Final = ("superuser", "superuser", "superuser", "owner", "other server")
"""By a superuser, by the least role that can, or to another server of the same version."""

EXTENSIONS: Final = ("btree_gist", "citext", "file_fdw", "hstore", "pg_trgm")
"""What the wheel, Debian and npm all have."""

VIRTUAL_SINCE: Final = 18

_STEMS: Final = (
    "item",
    "user",
    "order",
    "select",
    "Camel",
    "two words",
    'a"b',
    "it's",
    "x.y",
    "50%",
    "back\\slash",
    "{brace}",
    "Größe",
    "日本",
    "; drop table x; --",
    "LONG",
)
"""What names are made of; LONG fills a name up to what PostgreSQL keeps of it."""

_PREFIXES: Final = {
    RPG: ("rpg_", "rpg_", "rpg_", "dnd_", "rpg_sso_"),
    SSO: ("sso_", "sso_", "sso_", "sso_rpg_"),
    NOBODY: ("", "shared_", "rpgx_", "sso"),
}

_TYPES: Final = (
    "bytea",
    "date",
    "double precision[]",
    "int4range",
    "jsonb",
    "numeric(10, 2)",
    "text[]",
    "timestamptz",
    "uuid",
    "varchar(30)",
)


class Piece(NamedTuple):
    """One kind's statements, separated so that each can fail for itself."""

    kind: str
    statements: tuple[str, ...]


class Call(NamedTuple):
    """A statement of a service's, for its battery."""

    side: str
    text: str


class Source(NamedTuple):
    """A database, as it is made, and what its services do there."""

    pieces: tuple[Piece, ...]
    calls: tuple[Call, ...]
    crossing: int
    """Percent of needs that may be another side's."""

    way: str = "superuser"
    """Who moves it, or where to: one of `WAYS`."""

    @property
    def script(self) -> str:
        """All of it, as psql takes it."""
        return "\n".join(f"{each};" for piece in self.pieces for each in piece.statements)


@dataclass(frozen=True)
class Thing:
    """An object that later ones may need."""

    side: str
    sql: str
    """Schema-qualified and quoted."""

    bare: str
    """Quoted."""

    more: Any = None
    """What its kind knows besides."""

    number: int = 0
    """What is older has a smaller one."""


@dataclass
class Maker:
    """Makes one source, piece by piece."""

    random: Random
    major: int
    crossing: int = 0
    pieces: list[Piece] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    schemas: list[str] = field(default_factory=lambda: ["public"])
    made: dict[str, list[Thing]] = field(default_factory=dict)
    extensions: set[str] = field(default_factory=set)
    count: int = 0

    def chance(self, percent: int) -> bool:
        """True in so many of a hundred cases."""
        return self.random.randrange(100) < percent

    def one(self, choices: Sequence[Any]) -> Any:  # noqa: ANN401  of what is in it
        """One of them."""
        return self.random.choice(choices)

    def side(self) -> str:
        """Whose the next object is."""
        return str(self.one((RPG, SSO, RPG, SSO, NOBODY)))

    def number(self) -> int:
        """A number that was in use nowhere yet."""
        self.count += 1
        return self.count

    def name(self, side: str) -> str:
        """A new name that says whose it is, not quoted."""
        stem = self.one(_STEMS) if self.chance(25) else self.one(_STEMS[:2])
        name = f"{self.one(_PREFIXES[side])}{stem}_{self.number()}"
        return name.replace("LONG", "x" * (67 - len(name))) if "LONG" in name else name

    def thing(self, side: str, more: Any = None) -> Thing:  # noqa: ANN401  see Thing
        """A name for a new object, in one of the schemas."""
        bare = quoted(self.name(side))
        schema = self.schemas[0] if self.chance(70) else self.one(self.schemas)
        return Thing(side, f"{quoted(schema)}.{bare}", bare, more, self.count)

    def keep(self, kind: str, thing: Thing) -> Thing:
        """Let later objects need it."""
        self.made.setdefault(kind, []).append(thing)
        return thing

    def find(
        self, kinds: str, side: str, test: Callable[[Thing], bool] = lambda _: True
    ) -> Thing | None:
        """Something of these kinds that an object of the side may need."""
        crosses = self.chance(self.crossing)
        found = [
            each
            for kind in kinds.split()
            for each in self.made.get(kind, ())
            if (crosses or each.side in self._reach(kind, side)) and test(each)
        ]
        return self.one(found) if found else None

    @staticmethod
    def _reach(kind: str, side: str) -> tuple[str, ...]:
        shared = kind not in ("table", "parted", "view", "matview", "sequence", "counter", "log")
        return (side, NOBODY) if shared else (side,)

    def add(self, kind: str, *statements: str) -> None:
        """Add a piece."""
        self.pieces.append(Piece(kind, statements))

    def call(self, side: str, text: str, *, shared: bool = True) -> None:
        """Add a statement to the battery of a service; what is nobody's may be `shared`."""
        if side or shared:
            self.calls.append(Call(side, text))

    def text_of(self, side: str, column: str = "name") -> str:
        """An immutable expression of a text column."""
        called = self.find("text_function", side)
        return f"{called.sql}({column})" if called and self.chance(60) else f"lower({column})"

    def owned(self, what: str, thing: Thing) -> list[str]:
        """Statements that give it to its service's role, or let that role use it."""
        role = quoted(ROLES[thing.side])
        if self.chance(60):
            return [f"alter {what} {thing.sql} owner to {role}"]
        on = "" if what in ("table", "view", "materialized view") else f"{what} "
        return [f"grant all on {on}{thing.sql} to {role}"]


def quoted(name: str) -> str:
    """An SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """An SQL text."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


KINDS: Final[dict[str, tuple[Callable[[Maker, str], None], int]]] = {}
"""What makes a piece of each kind for a side, and how often. A kind that finds nothing that it
could be about makes nothing."""


def kind(weight: int = 4) -> Callable[[Callable[[Maker, str], None]], Callable[[Maker, str], None]]:
    """Register what makes a kind."""

    def register(make: Callable[[Maker, str], None]) -> Callable[[Maker, str], None]:
        KINDS[make.__name__.strip("_")] = make, weight
        return make

    return register


# Schemas, extensions, types.


@kind(3)
def schema(m: Maker, side: str) -> None:
    name = m.name(side)
    roles = ", ".join(map(quoted, ROLES.values()))
    m.schemas.append(name)
    m.add(
        "schema", f"create schema {quoted(name)}", f"grant all on schema {quoted(name)} to {roles}"
    )
    if m.chance(30):
        m.add("comment", f"comment on schema {quoted(name)} is {literal(name)}")


@kind(2)
def extension(m: Maker, _: str) -> None:
    name = m.one(EXTENSIONS)
    if name not in m.extensions:
        m.extensions.add(name)
        where = f" schema {quoted(m.one(m.schemas))}" if m.chance(30) else ""
        if where:
            m.extensions.add(f"{name} elsewhere")
        m.add("extension", f"create extension {name}{where}")


@kind()
def enum(m: Maker, side: str) -> None:
    made = m.keep("type", m.thing(side))
    m.add("enum", f"create type {made.sql} as enum ('a', 'b c', 'd''e')", *m.owned("type", made))
    m.call(side, f"select enum_range(null::{made.sql})", shared=False)


@kind()
def composite(m: Maker, side: str) -> None:
    inner = m.find("type", side)
    more = f", c {inner.sql}" if inner else ""
    made = m.keep("type", m.thing(side))
    m.add("composite", f"create type {made.sql} as (a int, b text{more})")
    m.call(side, f"select (null::{made.sql}).b", shared=False)


@kind()
def domain(m: Maker, side: str) -> None:
    under = m.find("text_domain", side) if m.chance(40) else None
    made = m.keep("text_domain", m.thing(side))
    m.keep("type", made)
    base = under.sql if under else "text"
    name = "domain over domain" if under else "domain"
    check = f"check ({m.text_of(side, 'value')} <> 'x')" if m.chance(60) else ""
    default = " default 'd'" if m.chance(30) else ""
    m.add(name, f"create domain {made.sql} as {base}{default} {check}")
    m.call(side, f"select 'x'::{made.sql}", shared=False)
    if m.chance(20):
        late = f"alter domain {made.sql} add constraint late check (length(value) < 90) not valid"
        m.add("domain not valid", late)


@kind(2)
def range_(m: Maker, side: str) -> None:
    made = m.keep("type", m.thing(side))
    m.add("range", f"create type {made.sql} as range (subtype = {m.one(('float8', 'text'))})")
    m.call(side, f"select 'empty'::{made.sql}", shared=False)


@kind(2)
def collation(m: Maker, side: str) -> None:
    made = m.keep("collation", m.thing(side))
    m.add("collation", f"create collation {made.sql} (provider = libc, locale = 'C')")


@kind(2)
def text_search(m: Maker, side: str) -> None:
    words = m.thing(side)
    made = m.keep("ts_config", m.thing(side))
    m.add(
        "text search",
        f"create text search dictionary {words.sql} (template = pg_catalog.simple)",
        f"create text search configuration {made.sql} (copy = pg_catalog.simple)",
        f"alter text search configuration {made.sql} alter mapping for word with {words.sql}",
    )
    m.call(side, f"select to_tsvector({literal(made.sql)}::regconfig, 'one two')")


# Sequences and tables.


@kind()
def sequence(m: Maker, side: str) -> None:
    made = m.keep("sequence", m.thing(side))
    options = m.one(("", "increment 3 start 7", "as int cycle maxvalue 50", "cache 5"))
    m.add("sequence", f"create sequence {made.sql} {options}", *m.owned("sequence", made))
    m.add("grant", f"grant usage on sequence {made.sql} to {quoted(ROLES[m.side()])}")


class Table(NamedTuple):
    """What a table is like."""

    given: bool
    """Whether an INSERT says its id."""

    key: bool
    """Whether its id alone is a key."""

    plain: bool = True
    logged: bool = True

    def insert(self, table: str, number: int) -> str:
        """A row that none was like."""
        if self.given:
            return f"insert into {table} (id, name) values ({number}, 'n{number}')"
        return f"insert into {table} (name) values ('n{number}')"


def _id(m: Maker, side: str) -> tuple[str, bool]:
    """A column of numbers, and whether an INSERT says it."""
    counter = m.find("sequence", side)
    if counter and m.chance(30):
        regclass = "::regclass" if m.chance(70) else "::text::regclass"
        return f"id bigint not null default nextval({literal(counter.sql)}{regclass})", False
    words = (
        "id serial",
        "id bigserial",
        "id bigint generated always as identity",
        "id int generated by default as identity (start 3 increment 2)",
        "id int not null",
    )
    chosen = str(m.one(words))
    return chosen, chosen == words[-1]


def _type(m: Maker, side: str, of: Thing | None = None) -> str:
    """A type of a column, no younger than the table: no row may hold one of its own type."""
    plain = [*_TYPES, *({"citext", "hstore"} & m.extensions - _elsewhere(m))]
    number = of.number if of else m.count + 1
    own = m.find("type table view", side, lambda each: each.number < number)
    if own is None or m.chance(50):
        return str(m.one(sorted(plain)))
    return f"{own.sql}[]" if m.chance(30) else own.sql


def _elsewhere(m: Maker) -> set[str]:
    return {each.removesuffix(" elsewhere") for each in m.extensions if " " in each}


def _name(m: Maker, side: str) -> str:
    """A column of texts."""
    base = m.find("text_domain", side) if m.chance(15) else None
    order = m.find("collation", side) if m.chance(20) else None
    collate = f" collate {order.sql}" if order else ""
    maker = m.find("default_function", side) if m.chance(25) else None
    default = f" default {maker.sql}()" if maker else " default 'none'" if m.chance(30) else ""
    return f"name {base.sql if base else 'text'}{collate}{default}"


def _extras(m: Maker, side: str) -> list[str]:
    """More columns, and constraints."""
    found = [f"{quoted(m.name(side))} {_type(m, side)}" for _ in range(m.one((0, 0, 1, 2, 3)))]
    if m.chance(20):
        found.append(f"made text generated always as ({m.text_of(side)}) stored")
    if m.major >= VIRTUAL_SINCE and m.chance(20):
        found.append("twice bigint generated always as (id * 2) virtual")
    if m.chance(20):
        found.append(f"constraint {quoted(m.name(side))} check ({m.text_of(side)} <> 'never')")
    if m.major >= VIRTUAL_SINCE and m.chance(10):
        found.append("check (id > 1000) not enforced")
    if m.chance(10):
        found.append("span int4range, exclude using gist (span with &&)")
    if m.chance(10):
        nulls = m.one(("", "nulls not distinct "))
        found.append(f"unique {nulls}(name, id)")
    return found


def _rows(m: Maker, made: Thing) -> list[str]:
    """Rows, in spite of whatever fires."""
    inserts = [made.more.insert(made.sql, m.number()) for _ in range(m.one((0, 1, 3)))]
    quiet = ["set session_replication_role = replica", *inserts, "reset session_replication_role"]
    return quiet if inserts else []


@kind(12)
def table(m: Maker, side: str) -> None:
    number, given = _id(m, side)
    key, unlogged = m.chance(70), m.chance(8)
    columns = [f"{number}{' primary key' if key else ''}", _name(m, side), *_extras(m, side)]
    made = m.thing(side, Table(given, key and not unlogged, logged=not unlogged))
    m.add(
        "unlogged table" if unlogged else "table",
        f"create {'unlogged ' if unlogged else ''}table {made.sql} ({', '.join(columns)})",
        *m.owned("table", made),
        *_rows(m, made),
    )
    _known(m, made)


def _known(m: Maker, made: Thing) -> None:
    m.keep("table" if made.more.plain else "parted", made)
    if not made.more.given:
        m.keep("log", made)
    for _ in range(2):
        m.call(made.side, f"{made.more.insert(made.sql, 900 + m.number())} returning *")


@kind(3)
def partitioned_table(m: Maker, side: str) -> None:
    number, given = _id(m, side)
    if " identity" in number:  # of partitioned tables only since 17
        number, given = "id int not null", True
    how = m.one(("list (name)", "range (id)", "hash (id)"))
    key = "id" in how and m.chance(60)
    made = m.thing(side, Table(given, key, plain=False))
    columns = [f"{number}{', primary key (id)' if key else ''}", "name text", "more int"]
    statements = [f"create table {made.sql} ({', '.join(columns)}) partition by {how}"]
    bounds = {
        "list (name)": ("in ('n1', 'n2', null)",),
        "range (id)": ("from (minvalue) to (5)", "from (5) to (maxvalue)"),
        "hash (id)": ("with (modulus 2, remainder 0)", "with (modulus 2, remainder 1)"),
    }[how]
    for bound in bounds:
        child = m.thing(m.side() if m.chance(m.crossing) else m.one((side, NOBODY)))
        statements.append(f"create table {child.sql} partition of {made.sql} for values {bound}")
    if how == "list (name)":
        child = m.thing(m.one((side, NOBODY)))
        statements.append(f"create table {child.sql} partition of {made.sql} default")
    m.add(f"partitioned by {how}", *statements, *m.owned("table", made), *_rows(m, made))
    _known(m, made)


@kind(2)
def inheritance(m: Maker, side: str) -> None:
    if parent := m.find("table", side, lambda each: not each.more.given):
        made = m.thing(m.side() if m.chance(m.crossing) else m.one((side, NOBODY)), parent.more)
        # With a column that its parent gets later it would be refused: a dump orders them anew.
        own = "more int" if m.crossing else ""
        m.add("inheritance", f"create table {made.sql} ({own}) inherits ({parent.sql})")
        m.call(side, f"select count(*) from {parent.sql}")


@kind(2)
def partition_of_its_own(m: Maker, side: str) -> None:
    if m.major >= VIRTUAL_SINCE and "btree_gist" in m.extensions - _elsewhere(m):
        made = m.thing(side)
        m.add(
            "temporal key",
            f"create table {made.sql} (id int, valid int4range,"
            " primary key (id, valid without overlaps))",
            f"insert into {made.sql} values (1, '[1,5)')",
        )


@kind(5)
def foreign_key(m: Maker, side: str) -> None:
    child = m.find("table parted", side)
    parent = m.find("table parted", side, lambda each: each.more.key)
    if child is None or parent is None:
        return
    if child.more.plain and m.chance(10):
        parent = child if child.more.key else parent
    column, name = quoted(m.name(side)), quoted(m.name(side))
    acts = m.one(("", "on delete cascade", "on delete set null", "on update cascade"))
    late = m.one(("", "deferrable", "deferrable initially deferred"))
    valid = " not valid" if child.more.plain and parent.more.plain and m.chance(15) else ""
    statements = [f"alter table {child.sql} add column {column} bigint"]
    if parent.more.plain and m.chance(15):
        unique, text = quoted(m.name(side)), quoted(m.name(side))
        statements.append(f"alter table {child.sql} add column {text} text")
        statements.append(f"alter table {parent.sql} add constraint {unique} unique (id, name)")
        ours, theirs = f"{column}, {text}", "id, name"
        valid = ""
    else:
        ours, theirs = column, "id"
    statements.append(
        f"alter table {child.sql} add constraint {name} foreign key ({ours})"
        f" references {parent.sql} ({theirs}) {acts} {late}{valid}"
    )
    m.add("foreign key", *statements)


@kind(2)
def owned_sequence(m: Maker, side: str) -> None:
    made = m.find("table", side)
    if made is not None:
        schema_name = made.sql[: -len(made.bare) - 1]
        name = f"{schema_name}.{quoted(m.name(side))}"
        m.add(
            "owned sequence",
            f"create sequence {name}",
            f"alter table {made.sql} add column {quoted(m.name(side))} int",
            f"do $$begin execute format('alter sequence %s owner to %I', {literal(name)},"
            f" (select relowner::regrole::text from pg_class where oid = {literal(made.sql)}"
            "::regclass)); exception when undefined_object then null; end$$",
        )


@kind(3)
def column(m: Maker, side: str) -> None:
    made = m.find("table", side)
    if made is None:
        return
    name = quoted(m.name(side))
    m.add(
        "column",
        f"alter table {made.sql} add column {name} {_type(m, side, made)}",
        *([f"alter table {made.sql} drop column {name}"] if m.chance(50) else []),
    )


@kind(2)
def default(m: Maker, side: str) -> None:
    made, maker = m.find("table parted", side), m.find("default_function", side)
    if made and maker:
        m.add("default", f"alter table {made.sql} alter column name set default {maker.sql}()")


@kind(2)
def storage(m: Maker, side: str) -> None:
    if made := m.find("table", side):
        words = (
            "set (fillfactor = 70)",
            "replica identity full",
            "alter column name set statistics 77",
            "alter column name set storage external",
            "set (autovacuum_enabled = off)",
        )
        m.add("storage", f"alter table {made.sql} {m.one(words)}")


@kind()
def index(m: Maker, side: str) -> None:
    made = m.find("table parted matview", side)
    if made is None:
        return
    name = quoted(m.name(side))
    config = m.find("ts_config", side)
    words = [
        "(name)",
        "(id desc nulls last, name)",
        "(name) where id > 1",
        f"({m.text_of(side)})",
        f"(id) where {m.text_of(side)} <> 'z'",
        "(name) include (id)",
        "using hash (name)",
        "using brin (id)",
        "using gist (int8range(id, id + 1))",
        "using gin (to_tsvector('pg_catalog.simple'::regconfig, name))",
    ]
    if config:
        words.append(f"using gin (to_tsvector({literal(config.sql)}::regconfig, name))")
    if "pg_trgm" in m.extensions - _elsewhere(m):
        words.append("using gin ((name::text) public.gin_trgm_ops)")
    chosen = str(m.one(words))
    if "int8range" in chosen:
        chosen = chosen.replace("(id, id + 1)", "(id::bigint, id::bigint + 1)")
    m.add("index", f"create index {name} on {made.sql} {chosen}")


@kind(2)
def statistics(m: Maker, side: str) -> None:
    if made := m.find("table parted", side):
        name = m.thing(side)
        what = m.one(("id, name", "(lower(name)), id", f"({m.text_of(side)}), id"))
        m.add("statistics", f"create statistics {name.sql} on {what} from {made.sql}")


# Functions.


def _body(m: Maker, side: str, argument: str) -> str:
    inner = m.find("text_function", side)
    if inner and m.chance(40):
        return f"{inner.sql}({argument})"
    return f"lower({argument})"


@kind(6)
def text_function(m: Maker, side: str) -> None:
    made = m.thing(side)
    head = f"create function {made.sql}(t text) returns text immutable"
    settings = m.one(("", "", " set search_path = pg_catalog", " set datestyle = 'iso, dmy'"))
    body = _body(m, side, "t")
    if not settings and m.chance(10):  # as people write it: what a restore does not find
        body = body.replace('"public".', "")
    words = {
        "function in SQL": f"{head}{settings} language sql as {literal('select ' + body)}",
        "function in standard SQL": f"{head}{settings} language sql return {body}",
        "function in atomic SQL": f"{head} language sql begin atomic; select {body}; end",
        "function in plpgsql": f"{head}{settings} language plpgsql as"
        f" {literal(f'begin return {body}; end')}",
    }
    chosen = m.one(tuple(words))
    m.keep("text_function", made)
    m.add(chosen, words[chosen], *m.owned("function", made))
    m.call(side, f"select {made.sql}('Some Text')")


def _reads(m: Maker, side: str) -> Thing | None:
    return m.find("table parted view matview", side)


@kind(3)
def counting_function(m: Maker, side: str) -> None:
    if not (read := _reads(m, side)):
        return
    made = m.thing(side)
    table_name = read.bare if m.chance(20) else read.sql
    query = f"select count(*) from {table_name}"
    head = f"create function {made.sql}() returns bigint stable"
    words = {
        "function reading": f"{head} language sql as {literal(query)}",
        "function reading in atomic SQL": f"{head} language sql begin atomic;"
        f" select count(*) from {read.sql}; end",
        "function reading in plpgsql": f"{head} language plpgsql as"
        f" {literal(f'begin return ({query}); end')}",
        "function with dynamic SQL": f"{head} language plpgsql as"
        f" {literal(f'declare n bigint; begin execute {literal(query)} into n; return n; end')}",
        "function that defines": f"{head} security definer set search_path = public, pg_catalog"
        f" language sql as {literal(query)}",
    }
    chosen = m.one(tuple(words))
    m.add(chosen, "set check_function_bodies = off", words[chosen], "reset check_function_bodies")
    m.keep("counting_function", made)
    m.call(side, f"select {made.sql}()")


@kind(3)
def row_function(m: Maker, side: str) -> None:
    if not (read := _reads(m, side)):
        return
    made, name = m.thing(side), read.sql
    fetch = f"select * into r from {name} limit 1"
    body = f"declare r {name}%rowtype; begin {fetch}; return r.name; end"
    words = {
        "function with rowtype": f"create function {made.sql}() returns text language plpgsql as"
        f" {literal(body)}",
        "function of a row": f"create function {made.sql}(r {name}) returns text language sql as"
        " 'select $1.name'",
        "function returning rows": f"create function {made.sql}() returns setof {name}"
        f" language sql as {literal(f'select * from {name}')}",
        "function returning a table": f"create function {made.sql}() returns table (n text)"
        f" language sql as {literal(f'select name from {name}')}",
    }
    chosen = m.one(tuple(words))
    m.add(chosen, "set check_function_bodies = off", words[chosen], "reset check_function_bodies")
    if chosen == "function of a row":
        m.call(side, f"select count({made.sql}(r)) from {name} r")
    else:
        m.call(side, f"select count(*) from {made.sql}()")


@kind(3)
def default_function(m: Maker, side: str) -> None:
    made = m.keep("default_function", m.thing(side))
    counter = m.find("sequence", side)
    read = m.find("counting_function", side) if m.chance(30) else None
    body = "'made'::text"
    if read:
        body = f"{read.sql}()::text"
    elif counter and m.chance(40):
        body = f"nextval({literal(counter.sql)})::text"
    m.add(
        "function for defaults",
        f"create function {made.sql}() returns text language sql as {literal('select ' + body)}",
    )
    m.call(side, f"select {made.sql}()")


@kind(2)
def polymorphic_function(m: Maker, side: str) -> None:
    made = m.thing(side)
    m.add(
        "polymorphic function",
        f"create function {made.sql}(a anyelement, variadic b anyarray)"
        " returns anyelement language sql as 'select coalesce($1, $2[1])'",
    )
    m.call(side, f"select {made.sql}(1, 2, 3)")


@kind(2)
def typed_function(m: Maker, side: str) -> None:
    if of := m.find("type", side):
        made = m.thing(side)
        m.keep("typed_function", Thing(side, made.sql, made.bare, of))
        m.add(
            "function of a type",
            f"create function {made.sql}(a {of.sql}) returns bool immutable language sql as"
            " 'select $1 is not null'",
        )
        m.call(side or of.side, f"select {made.sql}(null)", shared=False)


@kind(2)
def procedure(m: Maker, side: str) -> None:
    if read := m.find("table parted", side):
        made = m.thing(side)
        body = f"begin update {read.sql} set name = name where id = n; end"
        m.add(
            "procedure",
            f"create procedure {made.sql}(n int) language plpgsql as {literal(body)}",
        )
        m.call(side, f"call {made.sql}(1)")


@kind(2)
def aggregate(m: Maker, side: str) -> None:
    step, made = m.thing(side), m.thing(side)
    m.add(
        "aggregate",
        f"create function {step.sql}(a text, b text) returns text immutable language sql as"
        " 'select coalesce($1, '''') || $2'",
        f"create aggregate {made.sql}(text) (sfunc = {step.sql}, stype = text, initcond = '')",
    )
    m.call(side, f"select {made.sql}(x) from (values ('a'), ('b')) v (x)")


@kind(2)
def operator(m: Maker, side: str) -> None:
    of = m.find("type", side)
    if of is None and side == RPG and not m.crossing:
        return  # one of the server's types is everybody's
    made = m.thing(side)
    what = of.sql if of else "point"
    schema_name = quoted(m.one(m.schemas))
    sign = "#" + f"{m.number():b}".replace("1", "<").replace("0", "=")
    m.add(
        "operator",
        f"create function {made.sql}(a {what}, b {what}) returns bool immutable language sql as"
        " 'select $1::text = $2::text'",
        f"create operator {schema_name}.{sign} (leftarg = {what}, rightarg = {what},"
        f" function = {made.sql})",
    )
    text = f"select null::{what} operator({schema_name}.{sign}) null::{what}"
    m.call(side or (of.side if of else NOBODY), text, shared=of is None)


@kind(1)
def operator_class(m: Maker, side: str) -> None:
    made, name = m.thing(side), m.thing(side)
    m.add(
        "operator class",
        f"create function {made.sql}(a text, b text) returns int immutable language sql as"
        " 'select bttextcmp($1, $2)'",
        f"create operator class {name.sql} for type text using btree as operator 1 <,"
        f" operator 2 <=, operator 3 =, operator 4 >=, operator 5 >, function 1 {made.sql}"
        "(text, text)",
    )


@kind(1)
def cast(m: Maker, side: str) -> None:
    of = m.find("typed_function", side, lambda each: not m.made.get(f"cast of {each.more.sql}"))
    if of is not None and of.more.sql not in {d.sql for d in m.made.get("text_domain", ())}:
        m.keep(f"cast of {of.more.sql}", of)
        m.add("cast", f"create cast ({of.more.sql} as bool) with function {of.sql}({of.more.sql})")
        m.call(side or of.more.side, f"select null::{of.more.sql}::bool", shared=False)


# Views, rules, triggers, policies.


def _query(m: Maker, side: str, kinds: str = "table parted view matview") -> str | None:
    read, other = m.find(kinds, side), m.find(kinds, side)
    counts = m.find("counting_function", side) if "view" in kinds else None
    if read is None:
        return None
    words = [
        f"select id, name from {read.sql}",
        f"select id, {m.text_of(side, 'name::text')} as name from {read.sql} where id > 0",
    ]
    if other:
        words.append(
            f"select a.id, b.name from {read.sql} a left join {other.sql} b on a.id = b.id"
        )
        words.append(
            f"select id, name::text from {read.sql} union all"
            f" select id, name::text from {other.sql}"
        )
    if counts:
        words.append(f"select {counts.sql}()::int as id, name from {read.sql}")
    return str(m.one(words))


@kind(6)
def view(m: Maker, side: str) -> None:
    if query := _query(m, side):
        made = m.keep("view", m.thing(side))
        option = m.one(("", "", " with (security_barrier)", " with (security_invoker)"))
        m.add("view", f"create view {made.sql}{option} as {query}", *m.owned("view", made))


@kind(3)
def materialized_view(m: Maker, side: str) -> None:
    if query := _query(m, side, "table parted"):  # filled at once, by whoever owns what is between
        filled = m.chance(70)
        made = m.thing(side)
        m.add(
            "materialized view" if filled else "materialized view without data",
            f"create materialized view {made.sql} as {query} with {'' if filled else 'no '}data",
            *m.owned("materialized view", made),
        )
        if filled:
            m.keep("matview", made)


@kind(2)
def rule(m: Maker, side: str) -> None:
    made, log = m.find("table view", side), m.find("log", side)
    if made is None:
        return
    is_view = made in m.made.get("view", ())
    words = [f"on update to {made.sql} do also notify {quoted(m.name(side))}"]
    if not is_view:
        words.append(f"on delete to {made.sql} do instead nothing")
    if log:
        into = f"insert into {log.sql} (name) values ('ruled')"
        words += [f"on insert to {made.sql} do {'instead' if is_view else 'also'} {into}"]
        words += [] if is_view else [f"on update to {made.sql} where new.id > 1 do also {into}"]
    m.add("rule", f"create rule {quoted(m.name(side))} as {m.one(words)}")


@kind()
def trigger_function(m: Maker, side: str) -> None:
    made = m.keep("trigger_function", m.thing(side))
    log, called = m.find("log", side), m.find("text_function", side)
    words = ["null"]
    if log:
        words.append(f"insert into {log.sql} (name) values (tg_op)")
        words.append(
            f"execute {literal(f'insert into {log.bare} (name) values (tg_name)')}"
            if m.chance(10)
            else f"perform count(*) from {log.sql}"
        )
    if called:
        words.append(f"perform {called.sql}(tg_op)")
    body = (
        f"begin if pg_trigger_depth() < 3 then {m.one(words)}; end if;"
        " return coalesce(new, old); end"
    )
    m.add(
        "trigger function",
        f"create function {made.sql}() returns trigger language plpgsql as {literal(body)}",
        *m.owned("function", made),
    )


@kind()
def trigger(m: Maker, side: str) -> None:
    fired = m.find("trigger_function", side)
    made = m.find("table table parted view", side)
    if fired is None or made is None:
        return
    name = quoted(m.name(side))
    run = f"execute function {fired.sql}()"
    plain, is_view = made in m.made.get("table", ()), made in m.made.get("view", ())
    words = ["after insert or update on {} for each row", "before insert on {} for each row"]
    words += ["before update on {} for each row when (new.id > 0)", "after delete on {}"]
    if plain:
        words += [
            "after insert on {} referencing new table as fresh for each statement",
            "after update of name on {} for each row",
            "constraint",
        ]
    chosen = "instead of insert or update on {} for each row" if is_view else str(m.one(words))
    if chosen == "constraint":
        statement = (
            f"create constraint trigger {name} after insert on {made.sql} deferrable"
            f" initially deferred for each row {run}"
        )
    else:
        statement = f"create trigger {name} {chosen.format(made.sql)} {run}"
    states = ("", "disable", "enable always", "enable replica")
    state = m.one(states) if plain and m.chance(40) else ""
    more = [f"alter table {made.sql} {state} trigger {name}"] if state else []
    m.add("trigger", statement, *more)


@kind(3)
def policy(m: Maker, side: str) -> None:
    made = m.find("table", side)
    if made is None:
        return
    other = m.find("table parted", side)
    words = ["true", "id is not null", f"{m.text_of(side)} is distinct from 'q'"]
    if other:
        words.append(f"exists (select from {other.sql} o where o.id is not null)")
    which = m.one(("", " for select", " for insert", " as restrictive for update"))
    check = f"{'with check' if 'insert' in which else 'using'} ({m.one(words)})"
    to = quoted(ROLES[m.side()]) if m.chance(40) else "public"
    m.add(
        "policy",
        f"create policy {quoted(m.name(side))} on {made.sql}{which} to {to} {check}",
        f"alter table {made.sql} {m.one(('enable', 'enable', 'force'))} row level security",
    )


@kind(1)
def event_trigger(m: Maker, side: str) -> None:
    made, name = m.thing(side), quoted(m.name(side))
    m.add(
        "event trigger",
        f"create function {made.sql}() returns event_trigger language plpgsql as"
        " 'begin perform 1; end'",
        f"create event trigger {name} on {m.one(('ddl_command_end', 'sql_drop'))}"
        f" execute function {made.sql}()",
    )


# What is about others.


@kind(2)
def publication(m: Maker, side: str) -> None:
    name = quoted(m.name(side))
    found = [m.find("table", side, lambda each: each.more.logged) for _ in range(2)]
    tables = [each.sql for each in found if each]
    words = []
    if m.crossing:
        words += ["for all tables", f"for tables in schema {quoted(m.one(m.schemas))}"]
    words += [f"for table {', '.join(sorted({*tables}))}"] * 4 if tables else []
    words += [f"for table {tables[0]} where (id > 1)"] if tables else []
    with_ = m.one(("", " with (publish = 'insert, delete')"))
    if words:
        m.add("publication", f"create publication {name} {m.one(words)}{with_}")


@kind(1)
def subscription(m: Maker, side: str) -> None:
    m.add(
        "subscription",
        f"create subscription sub_{side}_{m.number()} connection 'host=127.0.0.1 port=1'"
        f" publication {quoted(m.name(side))} with (connect = false, slot_name = none)",
    )


@kind(3)
def comment(m: Maker, side: str) -> None:
    words = []
    if made := m.find("table", side):
        words += [f"table {made.sql}", f"column {made.sql}.name"]
    if made := m.find("view", side):
        words.append(f"view {made.sql}")
    if made := m.find("text_function", side):
        words.append(f"function {made.sql}(text)")
    if made := m.find("sequence", side):
        words.append(f"sequence {made.sql}")
    if words:
        m.add("comment", f"comment on {m.one(words)} is {literal('about ' + m.name(side))}")


@kind(4)
def grant(m: Maker, side: str) -> None:
    role = quoted(ROLES[m.side()])
    words, more = [], ""
    if made := m.find("table view matview parted", side):
        words += [
            f"grant select on {made.sql} to {role}",
            f"grant select (id), update (name) on {made.sql} to {role}",
            f"grant insert on {made.sql} to {role} with grant option",
            f"grant select on {made.sql} to public",
        ]
    if made := m.find("text_function", side):
        words += [
            f"revoke execute on function {made.sql}(text) from public",
            f"grant execute on function {made.sql}(text) to {role}",
        ]
        # Owners of tables that are made later call it in their indexes.
        roles = ", ".join(map(quoted, ROLES.values()))
        more = f"grant execute on function {made.sql}(text) to {roles}"
    if made := m.find("type", side):
        words.append(f"grant usage on type {made.sql} to {role}")
    if words:
        chosen = str(m.one(words))
        m.add("grant", chosen, *([more] if chosen.startswith("revoke") else []))


@kind(1)
def default_privileges(m: Maker, side: str) -> None:
    where = f" in schema {quoted(m.one(m.schemas))}" if m.chance(60) else ""
    what = m.one(("select on tables", "execute on functions", "usage on sequences"))
    m.add(
        "default privileges",
        f"alter default privileges for role {quoted(ROLES[side])}{where} grant {what} to"
        f" {quoted(ROLES[m.side()])}",
    )


@kind(1)
def large_object(m: Maker, side: str) -> None:
    oid = 70000 + m.number()
    m.add(
        "large object",
        f"select lo_from_bytea({oid}, 'content')",
        f"grant select on large object {oid} to {quoted(ROLES[side])}",
    )
    m.call(side, f"select lo_get({oid})")


@kind(1)
def foreign_table(m: Maker, side: str) -> None:
    if "file_fdw" not in m.extensions:
        return
    server, made = quoted(m.name(side)), m.thing(side)
    m.add(
        "foreign table",
        f"create server {server} foreign data wrapper file_fdw",
        f"create foreign table {made.sql} (id int, name text) server {server}"
        " options (filename '/dev/null', format 'csv')",
        f"grant select on {made.sql} to {quoted(ROLES[side])}",
    )


@kind(1)
def setting(m: Maker, side: str) -> None:
    name = m.one(("work_mem to '5MB'", 'search_path to "$user", public, pg_catalog'))
    m.add("setting", f"alter role {quoted(ROLES[side])} in database {{database}} set {name}")


_LOT: Final = tuple(name for name, (_, weight) in KINDS.items() for _ in range(weight))

_REFUSED: Final = ("event_trigger", "foreign_table", "subscription")
"""Kinds for which a plan asks or refuses whatever else there is."""

_CALM: Final = tuple(name for name in _LOT if name not in _REFUSED)

_NOT_MOVED: Final = ("operator_class", "publication")
"""Kinds for which it does where they are the service's."""

FIRST: Final = (("table", RPG), ("table", SSO), ("text_function", NOBODY), ("sequence", RPG))


def source(random: Random, major: int, most: int = 60) -> Source:
    """A database of up to ``most`` pieces, of what a server of this version knows."""
    made = Maker(random, major)
    made.crossing = made.one((0, 0, 0, 10, 40))
    roles = ", ".join(map(quoted, ROLES.values()))
    made.add("grant", f"grant all on schema public to {roles}")
    for name, side in FIRST:
        KINDS[name][0](made, side)
    lot = _LOT if made.crossing else _CALM
    for _ in range(random.randint(most // 4, most)):
        chosen = made.one(lot)
        calm = not made.crossing and chosen in _NOT_MOVED
        KINDS[chosen][0](made, SSO if calm else made.side())
    way = made.one(WAYS)
    return Source(tuple(made.pieces), tuple(made.calls), made.crossing, way)


def sources(major: int) -> st.SearchStrategy[Source]:
    """Such databases.

    Hypothesis draws where chance begins and not each choice: it would play variants of one source,
    and a round is too dear for that.
    """
    return st.randoms(use_true_random=True).map(lambda random: source(random, major))
