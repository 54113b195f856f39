"""What the source database holds, as far as a transfer needs to know. Reads catalogs only."""

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from ..postgres.quarantine import MARK
from ..postgres.session import Session, first_rows, quoted, translated
from . import graph
from .graph import PG_CLASS, PG_EXTENSION, Graph, Key, Named

_KINDS: Final = {
    "r": "TABLE",
    "p": "TABLE",
    "f": "FOREIGN TABLE",
    "v": "VIEW",
    "m": "MATERIALIZED VIEW",
    "S": "SEQUENCE",
}


class Subject(NamedTuple):
    """What entries without an OID of their own are about."""

    schema: str
    kind: str
    name: str
    """With the types of its arguments, if it is a function."""

    also: str | None = None
    """The name with another spelling of the arguments."""

    on: str | None = None
    """The table of a part."""


class Relation(NamedTuple):
    """A table, view, sequence or foreign table of a user."""

    oid: int
    schema: str
    name: str
    kind: str
    """pg_class.relkind"""

    size_bytes: int
    """With indexes, of what moves; 0 of what stays, and of what somebody has locked."""

    rows: int
    parents: tuple[int, ...]
    """What it is a partition of, or inherits from."""

    owner_table: int | None
    """Of a sequence, the table whose column owns it."""

    extension: int
    """Whose it is: the extension's OID, or 0."""

    partition: bool
    forced_rls: bool
    owner: str
    identity: str
    """As SQL writes it where names are looked up in ``public``: unique, and fit to be pasted."""

    @property
    def key(self) -> Key:
        """Its address."""
        return PG_CLASS, self.oid

    def label(self) -> str:
        """For people."""
        return self.name if self.schema == "public" else f"{self.schema}.{self.name}"

    def names(self) -> set[str]:
        """What people may call it."""
        return {self.name, f"{self.schema}.{self.name}", self.identity}

    def subject(self) -> Subject:
        """What a dump's comments call it."""
        return Subject(self.schema, self.sql_kind(), self.name)

    def sql_kind(self) -> str:
        """As ALTER and DROP have it."""
        return _KINDS[self.kind]

    def quoted(self) -> str:
        """As SQL, and as a pattern for pg_dump that has no wildcards."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"


class Other(NamedTuple):
    """A type, domain, function or the like: what is neither a relation nor an extension."""

    key: Key
    kind: str
    """As ALTER has it: TYPE, DOMAIN, FUNCTION, PROCEDURE, AGGREGATE, OPERATOR …"""

    schema: str
    name: str
    """As a dump's comments spell it, of a kind with more than one object of a name."""

    identity: str
    """Schema-qualified SQL, with a function's argument types."""

    body: str
    owner: str
    """Empty for what has none, such as a cast."""

    trigger: bool
    """Whether it is a function that triggers call."""

    arguments: str | None
    """The types of a function's arguments, as the rights of an aggregate have them in a dump."""

    named: str | None
    """The same with modes and names, as all other rights and comments have them."""

    def subject(self) -> Subject:
        """What a dump's comments call it."""
        if self.arguments is None:
            return Subject(self.schema, self.kind, self.name)
        spelt = (f"{self.name}({each})" for each in (self.arguments, self.named))
        return Subject(self.schema, self.kind, *spelt)

    @property
    def plain(self) -> str:
        """The name as it is; empty for what has none that says whose it is, such as a cast."""
        if self.kind in _NAMELESS:
            return ""
        if self.key[0] in (graph.PG_TYPE, graph.PG_PROC):
            return self.name
        match = _FIRST.match(self.name)
        return match[1].replace('""', '"') if match else self.name.split(" USING ")[0]

    def movable(self) -> bool:
        """Whether ALTER puts it into another schema, or it goes along with what it is of."""
        return self.kind in MOVABLE


MOVABLE: Final = (
    *("CAST", "OPERATOR", "OPERATOR CLASS", "OPERATOR FAMILY", "AGGREGATE", "FUNCTION"),
    *("PROCEDURE", "DOMAIN", "TYPE", "TEXT SEARCH CONFIGURATION", "TEXT SEARCH DICTIONARY"),
    *("TEXT SEARCH PARSER", "TEXT SEARCH TEMPLATE", "COLLATION", "CONVERSION"),
)
"""Kinds of `Other` that can be in a quarantine, in an order in which they can be dropped."""

_NAMELESS: Final = ("CAST", "OPERATOR", "TRANSFORM", "USER MAPPING")

# Of the rarer kinds, a name is quoted where it must be.
_FIRST: Final = re.compile(r'"((?:[^"]|"")*)"')


class Publication(NamedTuple):
    """What is published, to whom it may concern."""

    key: Key
    name: str
    tables: Mapping[Key, int]
    """Those that it names, by their entries; none when it is for all, or for schemas."""

    schemas: Mapping[Key, str]
    """The entries of those that it names."""

    everything: bool
    identity: str


class Subscription(NamedTuple):
    """What fills tables with what another server publishes."""

    identity: str
    tables: frozenset[int]


class Source(NamedTuple):
    """A database to move from; mappings are by OID."""

    relations: Mapping[int, Relation]
    others: Mapping[Key, Other]
    graph: Graph
    parts: frozenset[tuple[Key, Key]]
    """Views and domains, and what a dump has of each besides, such as indexes and rules."""

    publications: tuple[Publication, ...]
    subscriptions: tuple[Subscription, ...]
    extensions: Mapping[Key, str]
    granted: tuple[tuple[Key, Key, Subject], ...]
    """Extensions, and what of theirs has rights that a dump may hold."""

    large_objects: int
    settings: tuple[tuple[str | None, str], ...]
    """ALTER DATABASE ... SET: the role, or None for all, and ``name=value``."""

    encoding: str
    locale: tuple[str, str]
    owner: str
    role: str
    """Whose eyes looked."""

    superuser: bool
    digest: str = ""
    """Of the catalogs; see `digest.of`. Empty where nobody asks again."""


_SPACE: Final = f"""
space as materialized (
  select n.oid, nspname from pg_namespace n
  where left(nspname, 3) <> 'pg_' and nspname <> 'information_schema'
    and not starts_with(coalesce(obj_description(n.oid, 'pg_namespace'), ''), '{MARK}')
), member as materialized (
  select classid, objid, refobjid as extension from pg_depend
  where deptype = 'e' and refclassid = 'pg_extension'::regclass)
"""  # noqa: S608  a text of our own

LOCKED: Final = """
locked as materialized (
  select coalesce(indrelid, relation) as oid from pg_locks left join pg_index
    on indexrelid = relation
  where mode = 'AccessExclusiveLock' and pid is distinct from pg_backend_pid()
    and database = (select oid from pg_database where datname = current_database())
)
"""
"""What somebody has locked against everybody, or waits to: who asks for its size waits behind."""

_SIZES: Final = f"""
with {LOCKED}
select c.oid::int8, pg_total_relation_size(c.oid) from pg_class c
where c.oid = any (%s) and relkind in ('r', 'm', 'S') and c.oid not in (select oid from locked)
"""  # noqa: S608  texts of our own

_RELATIONS: Final = f"""
with {_SPACE}
select json_agg(json_build_array(c.oid::int8, nspname, relname, relkind, 0,
    greatest(case when reltuples < 0 then pg_stat_get_live_tuples(c.oid) else reltuples end,
      0)::int8,
    coalesce((select json_agg(inhparent::int8) from pg_inherits where inhrelid = c.oid), '[]'),
    (select refobjid::int8 from pg_depend d where d.classid = 'pg_class'::regclass
     and d.objid = c.oid and relkind = 'S' and d.refclassid = 'pg_class'::regclass
     and d.refobjsubid > 0 and d.deptype in ('a', 'i') limit 1),
    coalesce((select extension from member where classid = 'pg_class'::regclass
      and objid = c.oid), 0)::int8,
    relispartition, relforcerowsecurity, pg_get_userbyid(relowner),
    case nspname when 'public' then quote_ident(relname)
      else format('%I.%I', nspname, relname) end))
from pg_class c join space s on s.oid = relnamespace
where relkind in ('r', 'p', 'v', 'm', 'S', 'f') and relpersistence <> 't'
"""  # noqa: S608  texts of our own

_OTHERS: Final = f"""
with {_SPACE}
select json_agg(json_build_array('pg_type'::regclass::int8, t.oid::int8,
    case typtype when 'd' then 'DOMAIN' else 'TYPE' end, nspname, typname,
    format('%I.%I', nspname, typname), '', pg_get_userbyid(typowner), false, null, null))
from pg_type t join space s on s.oid = typnamespace
where (typtype in ('e', 'd', 'r') or typtype = 'b' and typcategory <> 'A'
    or typtype = 'c' and exists (select from pg_class where oid = typrelid and relkind = 'c'))
  and ('pg_type'::regclass::oid, t.oid) not in (select classid, objid from member)
union all
select json_agg(json_build_array('pg_proc'::regclass::int8, p.oid::int8,
    case prokind when 'p' then 'PROCEDURE' when 'a' then 'AGGREGATE' else 'FUNCTION' end,
    nspname, proname, format('%I.%I(%s)', nspname, proname,
      pg_get_function_identity_arguments(p.oid)),
    case when prolang in (12, 13) then '' else coalesce(prosrc, '') end, pg_get_userbyid(proowner),
    prorettype = 'trigger'::regtype, coalesce((select string_agg(format_type(type, null), ', '
      order by number) from unnest(proargtypes) with ordinality as each (type, number)),
      case prokind when 'a' then '*' else '' end), pg_get_function_identity_arguments(p.oid)))
from pg_proc p join space s on s.oid = pronamespace
where ('pg_proc'::regclass::oid, p.oid) not in (select classid, objid from member)
  and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass
    and d.objid = p.oid and d.deptype = 'i')
"""  # noqa: S608  the same

# What a dump takes along whatever relations are left out.
_RARER: Final = """
with each (classid, objid, owner) as (
  select 'pg_opclass'::regclass::oid, oid, opcowner from pg_opclass
  union all select 'pg_opfamily'::regclass, oid, opfowner from pg_opfamily
  union all select 'pg_operator'::regclass, oid, oprowner from pg_operator
  union all select 'pg_cast'::regclass, oid, 0 from pg_cast
  union all select 'pg_collation'::regclass, oid, collowner from pg_collation
  union all select 'pg_conversion'::regclass, oid, conowner from pg_conversion
  union all select 'pg_transform'::regclass, oid, 0 from pg_transform
  union all select 'pg_ts_config'::regclass, oid, cfgowner from pg_ts_config
  union all select 'pg_ts_dict'::regclass, oid, dictowner from pg_ts_dict
  union all select 'pg_ts_parser'::regclass, oid, 0 from pg_ts_parser
  union all select 'pg_ts_template'::regclass, oid, 0 from pg_ts_template
  union all select 'pg_language'::regclass, oid, lanowner from pg_language
  union all select 'pg_foreign_data_wrapper'::regclass, oid, fdwowner from pg_foreign_data_wrapper
  union all select 'pg_foreign_server'::regclass, oid, srvowner from pg_foreign_server
  union all select 'pg_user_mapping'::regclass, umid, 0 from pg_user_mappings
  union all select 'pg_event_trigger'::regclass, oid, evtowner from pg_event_trigger
)
select json_agg(json_build_array(classid::int8, objid::int8, upper(type), coalesce(
    (parse_ident(schema))[1], '-'),
  coalesce(name, spelt, identity), identity, '',
  case when owner > 0 then pg_get_userbyid(owner) else '' end, false, null, null))
from each cross join pg_identify_object(classid, objid, 0)
left join (
  select 'pg_operator'::regclass, oid, format('%s (%s, %s)', oprname,
    case oprleft when 0 then 'NONE' else format_type(oprleft, null) end,
    case oprright when 0 then 'NONE' else format_type(oprright, null) end) from pg_operator
  union all select 'pg_opclass'::regclass, o.oid, format('%I USING %I', opcname, amname)
  from pg_opclass o join pg_am a on a.oid = opcmethod
  union all select 'pg_opfamily'::regclass, o.oid, format('%I USING %I', opfname, amname)
  from pg_opfamily o join pg_am a on a.oid = opfmethod
  union all select 'pg_transform'::regclass, t.oid,
    format('FOR %s LANGUAGE %I', format_type(trftype, null), lanname)
  from pg_transform t join pg_language l on l.oid = trflang
  union all select 'pg_cast'::regclass, oid,
    format('(%s AS %s)', format_type(castsource, null), format_type(casttarget, null)) from pg_cast
) as dumped (class, id, spelt) on class = classid and id = objid
where objid >= 16384 and (classid, objid) not in (
  select classid, objid from pg_depend
  where deptype = 'e' or deptype = 'i' and classid = 'pg_cast'::regclass)
"""

# Views, and what a dump has of each besides; domains, whose checks may be apart from them.
_PARTS: Final = """
select json_agg(json_build_array('pg_class'::regclass::int8, relation::int8, classid::int8,
  objid::int8)) from (
  select ev_class, 'pg_rewrite'::regclass::oid, oid from pg_rewrite where ev_class >= 16384
  union all select indrelid, 'pg_class'::regclass, indexrelid from pg_index
    where indexrelid >= 16384
  union all select tgrelid, 'pg_trigger'::regclass, oid from pg_trigger where not tgisinternal
  union all select stxrelid, 'pg_statistic_ext'::regclass, oid from pg_statistic_ext
) as part (relation, classid, objid)
join pg_class c on c.oid = relation and relkind in ('v', 'm')
union all
select json_agg(json_build_array('pg_type'::regclass::int8, contypid::int8,
  'pg_constraint'::regclass::int8, oid::int8))
from pg_constraint where contypid >= 16384
"""

# Publications with the tables that they name; the entries of tables and (since 15) of schemas.
_PUBLICATIONS: Final = """
select json_agg(json_build_array('pg_publication'::regclass::int8, p.oid::int8, pubname, coalesce((
    select json_agg(json_build_array('pg_publication_rel'::regclass::int8, oid::int8,
      prrelid::int8)) from pg_publication_rel where prpubid = p.oid), '[]'), coalesce((
    select json_agg(json_build_array(d.classid::int8, d.objid::int8, nspname)) from pg_depend d
    join pg_depend s on s.classid = d.classid and s.objid = d.objid
      and s.refclassid = 'pg_namespace'::regclass
    join pg_namespace n on n.oid = s.refobjid
    where d.refclassid = 'pg_publication'::regclass and d.refobjid = p.oid
      and d.classid = to_regclass('pg_publication_namespace')), '[]'), puballtables,
  quote_ident(pubname)))
from pg_publication p
"""

_SUBSCRIPTIONS: Final = """
select json_agg(json_build_array(quote_ident(subname), (
  select coalesce(json_agg(srrelid::int8), '[]') from pg_subscription_rel where srsubid = s.oid)))
from pg_subscription s
where subdbid = (select oid from pg_database where datname = current_database())
"""

# What is named like something of an extension's. Names that the server has too say nothing.
_MEMBERS: Final = """
select refobjid::int8, name, nspname, classid = 'pg_proc'::regclass from (
  select m.refobjid, m.classid, coalesce(relname, typname, proname)::text as name,
    coalesce(relnamespace, typnamespace, pronamespace) as space
  from pg_depend m left join pg_class c on m.classid = 'pg_class'::regclass and c.oid = m.objid
  left join pg_type t on m.classid = 'pg_type'::regclass and t.oid = m.objid
  left join pg_proc p on m.classid = 'pg_proc'::regclass and p.oid = m.objid
  where m.deptype = 'e' and m.refclassid = 'pg_extension'::regclass
) each join pg_namespace n on n.oid = space
where name not in (select proname from pg_proc where pronamespace = 'pg_catalog'::regnamespace)
"""

_GRANTED: Final = """
with member as materialized (
  select classid, objid, refobjid as extension from pg_depend
  where deptype = 'e' and refclassid = 'pg_extension'::regclass
)
select json_agg(json_build_array(extension::int8, class::int8, id::int8, coalesce(nspname, '-'),
  kind, name, also)) from (
  select 'pg_proc'::regclass, oid, pronamespace,
    case prokind when 'p' then 'PROCEDURE' when 'a' then 'AGGREGATE' else 'FUNCTION' end,
    format('%s(%s)', proname, pg_get_function_identity_arguments(oid)),
    format('%s(%s)', proname, coalesce((select string_agg(format_type(type, null), ', '
      order by number) from unnest(proargtypes) with ordinality as each (type, number)),
      case prokind when 'a' then '*' else '' end))
  from pg_proc where proacl is not null
  union all select 'pg_type'::regclass, oid, typnamespace, 'TYPE', typname, null
  from pg_type where typacl is not null
  union all select 'pg_language'::regclass, oid, 0, 'LANGUAGE', lanname, null
  from pg_language where lanacl is not null
  union all select 'pg_foreign_data_wrapper'::regclass, oid, 0, 'FOREIGN DATA WRAPPER',
    fdwname, null from pg_foreign_data_wrapper where fdwacl is not null
  union all select 'pg_foreign_server'::regclass, oid, 0, 'SERVER', srvname, null
  from pg_foreign_server where srvacl is not null
) each (class, id, space, kind, name, also)
join member on classid = class and objid = id left join pg_namespace n on n.oid = space
"""

_REST: Final = """
select (select json_agg(json_build_array(oid::int8, extname) order by extname) from pg_extension
    where extname <> 'plpgsql'),
  (select count(*) from pg_largeobject_metadata),
  (select json_agg(json_build_array(rolname, setting)) from pg_db_role_setting
   cross join unnest(setconfig) as each (setting) left join pg_roles r on r.oid = setrole
   where setdatabase = d.oid),
  pg_encoding_to_char(encoding), datcollate, datctype, pg_get_userbyid(datdba),
  current_user::text, (select rolsuper from pg_roles where rolname = current_user)
from pg_database d where datname = current_database()
"""


_QUERIES: Final = (
    _RELATIONS,
    _OTHERS,
    _RARER,
    _PARTS,
    _PUBLICATIONS,
    _SUBSCRIPTIONS,
    _GRANTED,
)


def read(session: Session) -> Source:
    """Look at the session's database in its open transaction.

    Waits for no lock on a table. Raises `RefusedError` and `UnreachableError`.
    """
    with translated("looking at the source", remedy="Let the role read its catalogs."):
        connection = session.connection
        path = "set local search_path = pg_catalog, pg_temp; set local lock_timeout = '1s'"
        connection.execute(f"savepoint source; {path}")
        relations, others, rarer, parts, published, subscribed, granted = (
            [row for (part,) in connection.execute(query.encode()).fetchall() for row in part or []]
            for query in _QUERIES
        )
        [rest] = connection.execute(_REST).fetchall()
        by_oid = {row[0]: Relation(*[*row[:6], tuple(row[6]), *row[7:]]) for row in relations}
        by_key = {(row[0], row[1]): Other((row[0], row[1]), *row[2:]) for row in others + rarer}
        named = [
            Named(each.key, each.schema, each.name, function=False)
            for each in by_oid.values()
            if not each.extension
        ]
        named += [
            Named(key, each.schema, each.plain, function=key[0] == graph.PG_PROC)
            for key, each in by_key.items()
            if each.plain
        ]
        named += [
            Named((PG_EXTENSION, oid), schema, name, function=function)
            for oid, name, schema, function in connection.execute(_MEMBERS).fetchall()
        ]
        extensions = {(PG_EXTENSION, oid): name for oid, name in rest[0] or ()}
        bodies = {key: each.body for key, each in by_key.items()}
        edges = graph.read(connection, named, bodies, extensions)
        first_rows(connection, "rollback to source; release source")
    _, blobs, settings, encoding, collate, ctype, owner, role, superuser = rest
    return Source(
        by_oid,
        by_key,
        edges,
        frozenset(((kind, unit), (catalog, oid)) for kind, unit, catalog, oid in parts),
        tuple(
            Publication(
                (catalog, oid),
                name,
                {(entry, of): table for entry, of, table in tables},
                {(entry, of): schema for entry, of, schema in schemas},
                everything,
                identity,
            )
            for catalog, oid, name, tables, schemas, everything, identity in published
        ),
        tuple(Subscription(name, frozenset(tables)) for name, tables in subscribed),
        extensions,
        tuple(
            ((PG_EXTENSION, extension), (catalog, oid), Subject(*subject))
            for extension, catalog, oid, *subject in granted
        ),
        blobs,
        tuple((role, setting) for role, setting in settings or ()),
        encoding,
        (collate, ctype),
        owner,
        role,
        superuser,
    )


def sizes(session: Session, oids: Iterable[int]) -> dict[int, int]:
    """Bytes of relations with their indexes, but for what somebody has locked.

    Raises `RefusedError` and `UnreachableError`.
    """
    with translated("looking at sizes", remedy="Start again."):
        rows = session.connection.execute(_SIZES, [[*oids]]).fetchall()
    return {oid: size or 0 for oid, size in rows}
