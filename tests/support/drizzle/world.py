"""A schema written once: for drizzle-orm, and as the catalog has it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from psycopg import sql

if TYPE_CHECKING:
    import psycopg

Schema = dict[str, str]
"""Columns by table, as in CREATE TABLE: types `integer` and `text`, words as in `METHODS`."""

METHODS = {"not null": ".notNull()", "primary key": ".primaryKey()", "unique": ".unique()"}

LOOK = """
select relname, string_agg(concat_ws(' ', attname, format_type(atttypid, null),
  case when attnotnull then 'not null' end,
  (select string_agg(case contype when 'p' then 'primary key' when 'u' then 'unique'
     else 'references ' || confrelid::regclass end, ' ') from pg_constraint
   where conrelid = c.oid and conkey = array[attnum] and contype in ('p', 'u', 'f'))
  ), ', ' order by attnum)
from pg_class c join pg_attribute on attrelid = c.oid and attnum > 0 and not attisdropped
where relkind = 'r' and relnamespace = 'public'::regnamespace group by relname
"""


class World(NamedTuple):
    """What a database has in `public`."""

    tables: Schema
    rows: dict[str, list[tuple[Any, ...]]]

    def lost(self, after: World) -> list[tuple[Any, ...]]:
        """The rows that are not there after, or have fewer or other values."""
        return [
            (table, *row)
            for table, rows in self.rows.items()
            for row in rows
            if row not in [now[: len(row)] for now in after.rows.get(table, [])]
        ]


def look(connection: psycopg.Connection[Any]) -> World:
    """The tables and all of their rows."""
    tables: Schema = dict(connection.execute(LOOK).fetchall())
    every = sql.SQL("select * from {}")
    rows = {t: connection.execute(every.format(sql.Identifier(t))).fetchall() for t in tables}
    return World(tables, rows)


def javascript(schema: Schema) -> str:
    """The same for drizzle-orm, as a CommonJS module."""
    lines = ["const { integer, pgTable, text } = require('drizzle-orm/pg-core');"]
    for table, columns in schema.items():
        fields = ", ".join(_field(column) for column in columns.split(", "))
        lines.append(f"const {table} = pgTable('{table}', {{ {fields} }});")
    return "\n".join([*lines, f"module.exports = {{ {', '.join(schema)} }};", ""])


def _field(column: str) -> str:
    name, kind, *_ = column.split()
    field = f"{name}: {kind}('{name}')"
    field += "".join(method for words, method in METHODS.items() if words in column)
    if match := re.search(r"references (\w+)", column):
        field += f".references(() => {match[1]}.id)"
    return field
