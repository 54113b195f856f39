"""What `create` and `verify` do, as SQL for pgAdmin's query tool and for psql. Asks no server."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from textwrap import indent
from typing import Final

from psycopg import sql

from ..config import tools
from ..config.registry import Service
from ..postgres import databases, objects, placement
from ..postgres.quarantine import MARK
from ..postgres.session import SEARCH_PATH
from .server import Registered

_HEAD_OF_CREATE: Final = """\
-- The databases of the services, from the registry: made by `entrypoint create --sql`.
--
-- pgAdmin: a server creates no database among other statements, so mark one of them and execute it,
-- then the next one. psql -f: all at once. For one that is there already the server says "already
-- exists", and nothing is changed.
"""

_CLOSING: Final = """
-- A new database lets every role connect. Execute this for each that you have made; one that was
-- there may have users whom nobody has given CONNECT.
"""

_MISSING: Final = """
-- What is missing still; no row is good.
select name as missing from ({}) as service (name)
where name not in (select datname::text from pg_catalog.pg_database) order by name;
"""

_HEAD_OF_VERIFY: Final = """\
-- Every object that is not where it belongs, and whose it is: made by `entrypoint verify --sql`.
--
-- Execute it as a whole in the database {default}, in which every row is one too many, and in each
-- service's own. It reads catalogs, and writes nothing. RESET search_path, or a new session, undoes
-- its first line, without which a database's owner could put functions before the server's.
set search_path = {path};
"""

# The decisions are those of `placement`, of which a test proves each by both.
_VERIFY: Final = """\
with service (name, database) as ({services}),
selected (name) as ({selected}),
prefix (service, prefix) as ({prefixes}),
listed (service, name) as ({names}),
-- The tables by which tools remember what they did; with columns, where the name tells too little.
book (name, columns) as ({books}),
object (kind, schema, name, arguments, rows, bytes, users, comment, columns) as (
{objects}
),
claim (name, service) as (
  select each.name, (
    select prefix.service from prefix where starts_with(each.name, prefix.prefix)
    order by length(prefix.prefix) desc limit 1)
  from (select name::text from object union select unnest(users) from object) as each (name)
),
here (name, prefixed) as (
  select name, exists (select from prefix where prefix.service = service.name)
  from service where database = current_database()
),
judged as (
  select object.*, claim.service as claimed, object.kind in ({follow}) as follows,
    array[object.name::text, object.schema || '.' || object.name] as names
  from object join claim on claim.name = object.name
  where not starts_with(coalesce(comment, ''), {quarantine}) and not exists (
    select from book where book.name in (object.name, object.schema || '.' || object.name)
      and (book.columns is null
        or book.columns::text[] @> object.columns and object.columns @> book.columns::text[]))
),
used as (
  select judged.*, case when follows then (
    select case count(distinct coalesce(claim.service, '')) when 1 then min(claim.service) end
    from unnest(users) as each (name) join claim using (name)) end as used_by,
  follows and exists (
    select from here, unnest(users) as each (name) join claim using (name)
    where claim.service = here.name or claim.service is null and (not here.prefixed or exists (
      select from listed where listed.service = here.name and listed.name = each.name))
  ) as used_here
  from judged
),
stray as (
  select used.*, coalesce(claimed, used_by) as whose, 'stray_object' as finding
  from used where current_database() = {default}
  union all
  select used.*, claimed,
    case when claimed is null then 'unprefixed_object' else 'foreign_object' end
  from used, here where here.name in (select name from selected) and not used_here
    and claimed is distinct from here.name
    and not (claimed is null and (not here.prefixed or exists (
      select from listed where listed.service = here.name and listed.name = any (names))))
)
select finding, kind,
  case schema when 'public' then '' else schema || '.' end || name
    || coalesce('(' || arguments || ')', '') as object,
  coalesce(whose, (select 'perhaps ' || string_agg(distinct service, ' or ') from listed
    where listed.name = any (names))) as whose,
  rows, pg_size_pretty(bytes) as size
from stray where finding <> 'stray_object' or {whole} or whose in (select name from selected)
union all
select 'quarantine', 'schema', nspname, null, null, null from pg_namespace
where starts_with(obj_description(oid, 'pg_namespace'), {quarantine})
order by 1 desc, 4, 3;
"""


def create(services: Iterable[Service], *, isolate: bool) -> str:
    """Statements that create the databases, each by itself, as `databases.create` does."""
    services = list(services)
    names = sorted({service.database for service in services})
    made = [databases.creation(service.database, service.owner).as_string() for service in services]
    closing = [databases.closing(service.database).as_string() for service in services]
    missing = sql.SQL(_MISSING).format(_rows([[name] for name in names])).as_string()
    parts = [_HEAD_OF_CREATE, "\n", *_statements(made)]
    if isolate:
        parts += [_CLOSING, *(f"-- {line}" for line in _statements(closing))]
    return "".join([*parts, missing])


def verify(known: Registered) -> str:
    """A query for what `verify` finds of objects, in the database that it is run in."""
    registry, selected = known.registry, known.selected
    books: Mapping[str, Collection[str] | None] = tools.bookkeeping()
    if known.bookkeeping is not None:
        books = dict.fromkeys(known.bookkeeping)
    services = registry.values()
    doubtful = [name for name, columns in books.items() if columns]
    query = sql.SQL(_VERIFY).format(
        services=_rows([[each.name, each.database] for each in services]),
        selected=_rows([[each.name] for each in selected]),
        prefixes=_rows([[each.name, prefix] for each in services for prefix in each.prefixes], 2),
        names=_rows([[each.name, name] for each in services for name in each.names], 2),
        books=_rows([[name, columns and sorted(columns)] for name, columns in books.items()], 2),
        objects=sql.SQL(indent(objects.query(doubtful).as_string().strip(), "  ")),
        follow=sql.SQL(", ").join(map(sql.Literal, sorted(placement.FOLLOW))),
        quarantine=sql.Literal(MARK),
        default=sql.Literal(placement.DEFAULT),
        whole=sql.Literal(len(selected) == len(registry)),
    )
    head = sql.SQL(_HEAD_OF_VERIFY).format(
        default=sql.Identifier(placement.DEFAULT), path=sql.SQL(SEARCH_PATH)
    )
    return (head + query).as_string()


def _rows(rows: Sequence[Sequence[object]], width: int = 1) -> sql.Composable:
    """As a query; PostgreSQL has no empty VALUES."""
    if not rows:
        return sql.SQL("select {} where false").format(
            sql.SQL(", ").join([sql.SQL("null::text")] * width)
        )
    each = (sql.SQL("({})").format(sql.SQL(", ").join(map(sql.Literal, row))) for row in rows)
    return sql.SQL("values\n  {}").format(sql.SQL(",\n  ").join(each))


def _statements(texts: Iterable[str]) -> list[str]:
    return [f"{text};\n" for text in texts]
