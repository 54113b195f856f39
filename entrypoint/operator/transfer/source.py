"""What the source database holds, as far as a transfer needs to know. Reads catalogs only."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from psycopg.rows import TupleRow

from ...postgres.objects import QUARANTINE
from ...postgres.session import Session, first_rows, translated
from .needs import LINKS, PARTS, PUBLICATIONS, USES

Key = tuple[int, int]
"""An object's address in pg_depend: the OID of its catalog, and its own."""


_KINDS: Final = {
    "r": "TABLE",
    "p": "TABLE",
    "f": "FOREIGN TABLE",
    "v": "VIEW",
    "m": "MATERIALIZED VIEW",
    "S": "SEQUENCE",
}


class Relation(NamedTuple):
    """A table, view, sequence or foreign table of a user."""

    oid: int
    schema: str
    name: str
    kind: str
    """pg_class.relkind"""

    size_bytes: int
    rows: int
    parents: tuple[int, ...]
    """What it is a partition of, or inherits from."""

    owner_table: int | None
    """Of a sequence, the table whose column owns it."""

    extension: bool
    partition: bool
    forced_rls: bool
    owner: str

    def label(self) -> str:
        """For people."""
        return self.name if self.schema == "public" else f"{self.schema}.{self.name}"

    def sql_kind(self) -> str:
        """As ALTER and DROP have it."""
        return _KINDS[self.kind]

    def quoted(self) -> str:
        """As SQL, and as a pattern for pg_dump that has no wildcards."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"


class Other(NamedTuple):
    """A type, domain, function or the like."""

    key: Key
    kind: str
    """As ALTER has it: TYPE, DOMAIN, FUNCTION, PROCEDURE, AGGREGATE."""

    schema: str
    name: str
    identity: str
    """Schema-qualified SQL, with a function's argument types."""

    body: str


class Publication(NamedTuple):
    """What is published, to whom it may concern."""

    key: Key
    name: str
    tables: Mapping[Key, int]
    """Those that it names, by their entries; none when it is for all, or for schemas."""

    schemas: tuple[Key, ...]
    """The entries of those that it names."""


class Edge(NamedTuple):
    """A foreign key, a view's or a default's use of a relation: ``user`` needs ``used``."""

    kind: str
    """``fk``, ``view`` or ``sequence``."""

    name: str
    key: Key
    user: int
    used: int


class Source(NamedTuple):
    """A database to move from; mappings are by OID."""

    relations: Mapping[int, Relation]
    others: Mapping[Key, Other]
    edges: tuple[Edge, ...]
    parts: frozenset[tuple[int, Key]]
    """Views, and their indexes, triggers and rules."""

    uses: frozenset[tuple[int, Key]]
    """Relations, and the types and functions that they use, directly or through others."""

    links: frozenset[tuple[Key, Key]]
    """What needs a type, a function or the rowtype of a relation, and is no part of a relation."""

    publications: tuple[Publication, ...]
    extensions: tuple[str, ...]
    large_objects: int
    settings: tuple[tuple[str | None, str], ...]
    """ALTER DATABASE ... SET: the role, or None for all, and ``name=value``."""

    encoding: str
    locale: tuple[str, str]
    owner: str

    def used_by(self, relations: set[int]) -> set[Key]:
        """The types and functions that these relations use."""
        return {key for relation, key in self.uses if relation in relations}


_SPACE: Final = f"""
space as materialized (
  select n.oid, nspname from pg_namespace n
  where left(nspname, 3) <> 'pg_' and nspname <> 'information_schema'
    and not starts_with(coalesce(obj_description(n.oid, 'pg_namespace'), ''), '{QUARANTINE}')
), member as materialized (select classid, objid from pg_depend where deptype = 'e')
"""  # noqa: S608  a text of our own

_RELATIONS: Final = f"""
with {_SPACE}
select json_agg(json_build_array(c.oid::int8, nspname, relname, relkind,
    case when relkind in ('r', 'm', 'S') then coalesce(pg_total_relation_size(c.oid), 0) else 0 end,
    greatest(case when reltuples < 0 then pg_stat_get_live_tuples(c.oid) else reltuples end,
      0)::int8,
    coalesce((select json_agg(inhparent::int8) from pg_inherits where inhrelid = c.oid), '[]'),
    (select refobjid::int8 from pg_depend d where d.classid = 'pg_class'::regclass
     and d.objid = c.oid and relkind = 'S' and d.refclassid = 'pg_class'::regclass
     and d.refobjsubid > 0 and d.deptype in ('a', 'i') limit 1),
    ('pg_class'::regclass::oid, c.oid) in (select classid, objid from member),
    relispartition, relforcerowsecurity, pg_get_userbyid(relowner)))
from pg_class c join space s on s.oid = relnamespace
where relkind in ('r', 'p', 'v', 'm', 'S', 'f') and relpersistence <> 't'
"""  # noqa: S608  texts of our own

_OTHERS: Final = f"""
with {_SPACE}
select json_agg(json_build_array('pg_type'::regclass::int8, t.oid::int8,
    case typtype when 'd' then 'DOMAIN' else 'TYPE' end, nspname, typname,
    format('%I.%I', nspname, typname), ''))
from pg_type t join space s on s.oid = typnamespace
where (typtype in ('e', 'd', 'r') or typtype = 'b' and typcategory <> 'A'
    or typtype = 'c' and exists (select from pg_class where oid = typrelid and relkind = 'c'))
  and ('pg_type'::regclass::oid, t.oid) not in (select classid, objid from member)
union all
select json_agg(json_build_array('pg_proc'::regclass::int8, p.oid::int8,
    case prokind when 'p' then 'PROCEDURE' when 'a' then 'AGGREGATE' else 'FUNCTION' end,
    nspname, proname, format('%I.%I(%s)', nspname, proname,
      pg_get_function_identity_arguments(p.oid)), coalesce(prosrc, '')))
from pg_proc p join space s on s.oid = pronamespace
where ('pg_proc'::regclass::oid, p.oid) not in (select classid, objid from member)
  and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass
    and d.objid = p.oid and d.deptype = 'i')
"""  # noqa: S608  the same

_EDGES: Final = """
select json_agg(json_build_array('fk', conname, 'pg_constraint'::regclass::int8, oid::int8,
    conrelid::int8, confrelid::int8))
from pg_constraint where contype = 'f' and conparentid = 0
union all
select json_agg(distinct jsonb_build_array('view', v.relname, 'pg_class'::regclass::int8,
    v.oid::int8, v.oid::int8, d.refobjid::int8))
from pg_depend d join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
join pg_class v on v.oid = r.ev_class
where d.refclassid = 'pg_class'::regclass and d.refobjid <> v.oid and v.oid >= 16384
union all
select json_agg(distinct jsonb_build_array('sequence', s.relname, 'pg_attrdef'::regclass::int8,
    a.oid::int8, a.adrelid::int8, s.oid::int8))
from pg_depend d join pg_attrdef a on d.classid = 'pg_attrdef'::regclass and d.objid = a.oid
join pg_class s on d.refclassid = 'pg_class'::regclass and d.refobjid = s.oid and s.relkind = 'S'
"""

_REST: Final = """
select (select json_agg(extname order by extname) from pg_extension where extname <> 'plpgsql'),
  (select count(*) from pg_largeobject_metadata),
  (select json_agg(json_build_array(rolname, setting)) from pg_db_role_setting
   cross join unnest(setconfig) as each (setting) left join pg_roles r on r.oid = setrole
   where setdatabase = d.oid),
  pg_encoding_to_char(encoding), datcollate, datctype, pg_get_userbyid(datdba)
from pg_database d where datname = current_database()
"""


def read(session: Session) -> Source:
    """Look at the session's database in its open transaction.

    Blocks while somebody changes a table's definition. Raises `RefusedError` and
    `UnreachableError`.
    """
    with translated("looking at the source", remedy="Let the role read its catalogs."):
        path = "set local search_path = pg_catalog, pg_temp"
        queries = (_RELATIONS, _OTHERS, _EDGES, PARTS, USES, LINKS, PUBLICATIONS, _REST)
        session.connection.execute(f"savepoint source; {path}")
        relations, others, edges, parts, uses, links, published, rest = (
            session.connection.execute(query.encode()).fetchall() for query in queries
        )
        first_rows(session.connection, "rollback to source; release source")
    rows = [row for (part,) in relations for row in part or []]
    extensions, blobs, settings, encoding, collate, ctype, owner = rest[0]
    return Source(
        {row[0]: Relation(*[*row[:6], tuple(row[6]), *row[7:]]) for row in rows},
        {(row[0], row[1]): Other((row[0], row[1]), *row[2:]) for (p,) in others for row in p or []},
        tuple(
            Edge(kind, name, (catalog, oid), user, used)
            for (part,) in edges
            for kind, name, catalog, oid, user, used in part or []
        ),
        _pairs(parts),
        _pairs(uses),
        frozenset(((a, b), (c, d)) for a, b, c, d in links[0][0] or []),
        tuple(
            Publication(
                (catalog, oid),
                name,
                {(entry, of): table for entry, of, table in tables},
                tuple((entry, of) for entry, of in schemas),
            )
            for catalog, oid, name, tables, schemas in published[0][0] or []
        ),
        tuple(extensions or ()),
        blobs,
        tuple((role, setting) for role, setting in settings or ()),
        encoding,
        (collate, ctype),
        owner,
    )


def _pairs(rows: list[TupleRow]) -> frozenset[tuple[int, Key]]:
    return frozenset((relation, (catalog, oid)) for relation, catalog, oid in rows[0][0] or [])


def quoted(name: str) -> str:
    """An SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
