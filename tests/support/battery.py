"""What a service does with its database, statement by statement, and what it is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Answers = list[tuple[str, str]]
"""Each statement, and its rows or its SQLSTATE and message."""

MOST_ROWS: Final = 30

_COLUMNS: Final = """
select nspname, relname, relkind::text, array_agg(attname::text order by attnum)
  filter (where attgenerated = '' and attidentity <> 'a')
from pg_class c join pg_namespace n on n.oid = relnamespace
left join pg_attribute a on attrelid = c.oid and attnum > 0 and not attisdropped
where case when nspname = 'public' then relname else nspname || '.' || relname end = any (%s)
group by 1, 2, 3 order by 1, 2
"""

_POSITIONS: Final = """
select format('%I.%I', nspname, relname) from pg_class c
join pg_namespace n on n.oid = relnamespace where relkind = 'S'
"""


def statements(connection: psycopg.Connection[Any], labels: Iterable[str]) -> list[str]:
    """What can be done with relations; ``labels`` name them as the program does."""
    found = []
    for schema, name, kind, columns in connection.execute(_COLUMNS, [list(labels)]).fetchall():
        table = sql.Identifier(schema, name).as_string(connection)
        names = [sql.Identifier(each).as_string(connection) for each in columns or ()]
        found += _of(table, kind, names)
    return found


def _of(table: str, kind: str, columns: Sequence[str]) -> list[str]:
    if kind == "S":
        return [f"select nextval('{table.replace(chr(39), chr(39) * 2)}')"]
    found = [f"select t.* from {table} t order by t::text", f"select count(*) from {table}"]
    if kind in "rpv":
        first, every = columns[0], ", ".join(columns)
        found += [
            f"insert into {table} default values returning *",
            f"insert into {table} ({every}) select {every} from {table} limit 1",
            f"update {table} set {first} = {first} returning *",
            f"delete from {table} returning *",
            f"create table pg_temp.alike (like {table} including all)",
            f"create view pg_temp.seen as select * from {table}",
            f"grant select on {table} to current_user",
        ]
    if kind in "rp":
        found += [
            f"alter table {table} add column battery int default 1",
            f"alter table {table} alter column name type varchar(90)",
            f"alter table {table} rename column name to battery",
            f"alter table {table} disable trigger user",
            f"create index on {table} (name)",
            f"truncate {table}",
            f"analyze {table}",
            f"drop table {table}",
        ]
    if kind == "r":
        found += [f"reindex table {table}", f"alter table {table} alter column name set not null"]
    if kind == "v":
        found.append(f"drop view {table}")
    if kind == "m":
        found += [f"refresh materialized view {table}", f"drop materialized view {table}"]
    return found


def run(connection: psycopg.Connection[Any], role: str, texts: Iterable[str]) -> Answers:
    """Ask all of it as a role, one after the other; nothing of it stays, nor do sequences go on."""
    before = _positions(connection)
    notices: list[str] = []

    def hear(notice: psycopg.errors.Diagnostic) -> None:
        notices.append(notice.message_primary or "")

    connection.add_notice_handler(hear)
    name = sql.Identifier(role).as_string(connection)
    connection.execute(f"begin; set session authorization {name}".encode())
    found = []
    for text in texts:
        notices.clear()
        connection.execute("savepoint battery")
        answer = _answer(connection, text)
        connection.execute("rollback to battery; release battery")
        found.append((text, " ".join([answer, *notices])))
    connection.execute("rollback; reset session authorization")
    connection.remove_notice_handler(hear)
    _restore(connection, before)
    return found


def _answer(connection: psycopg.Connection[Any], text: str) -> str:
    try:
        cursor = connection.execute(text.encode())
        rows = cursor.fetchmany(MOST_ROWS) if cursor.description else cursor.rowcount
        connection.execute("set constraints all immediate")
    except psycopg.Error as error:
        # Of several keys or dependents in the way, the server tells whichever it sees first.
        reason = "" if error.sqlstate in ("0A000", "23505") else error.diag.message_primary
        return f"{error.sqlstate}: {reason}"
    return repr(rows)


def _positions(connection: psycopg.Connection[Any]) -> dict[str, tuple[int, bool]]:
    found = {}
    for (name,) in connection.execute(_POSITIONS).fetchall():
        query = f"select last_value, is_called from {name}"
        [found[name]] = connection.execute(query.encode()).fetchall()
    return found


def _restore(connection: psycopg.Connection[Any], positions: dict[str, tuple[int, bool]]) -> None:
    for name, now in _positions(connection).items():
        if now != positions[name]:
            connection.execute("select setval(%s::regclass, %s, %s)", [name, *positions[name]])
