"""Which object needs which: every edge between what users made, in one moment. Reads catalogs only.

An edge leads from a *unit*, such as a table, to another. What belongs to a unit (its indexes,
constraints, triggers, the type of its rows) is lifted to it, and the edge remembers the *part* that
it came from. Which catalogs are lifted to what stands in `_LIFTED`: an object of a catalog that
does not is a unit of no known kind, and whoever plans must not pass over it.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from psycopg import Connection
from psycopg.rows import TupleRow

Key = tuple[int, int]
"""An object's address in pg_depend: the OID of its catalog, and its own."""

PG_CLASS: Final = 1259
"""The OID of pg_class, the same in every database; so are the others."""

PG_TYPE: Final = 1247
PG_PROC: Final = 1255
PG_EXTENSION: Final = 3079


class Part(NamedTuple):
    """What of a unit needs something: its name is unique among the unit's parts of that kind."""

    kind: str
    """As obstacles are called: ``fk``, ``check``, ``index``, ``trigger`` …"""

    name: str
    """As SQL writes it."""

    key: Key
    """Its entry in a dump, if it has one of its own."""

    plain: str
    """The name as it is."""


class Edge(NamedTuple):
    """A unit that needs another."""

    user: Key
    used: Key
    part: Part | None
    """None where the user as such needs it."""

    via: Key
    """What it needs of the used unit: the unit, or a sequence of a table's."""

    soft: bool = False
    """A name in a text that is looked up when it runs: nothing but that depends on it."""


class Strange(NamedTuple):
    """A unit that is neither a relation nor another object of the source's."""

    name: str
    """In the server's words."""

    known: bool
    """Whether its catalog is: then it is out of the way, such as in a quarantine."""


class Text(NamedTuple):
    """A text in which objects are named."""

    user: Key
    part: Part | None
    text: str


class Named(NamedTuple):
    """What a text may name."""

    key: Key
    schema: str
    name: str
    function: bool


class Graph(NamedTuple):
    """All edges between different units."""

    edges: tuple[Edge, ...]
    strange: Mapping[Key, Strange]


# What belongs to a unit, the unit, and the part: kind, name, and its entry in a dump. A unit of its
# own has no part. A unit 0 is nobody's business: what the server keeps for itself, such as TOAST.
_LIFTED: Final = """
owned as materialized (
  select distinct on (objid) objid, refobjid from pg_depend
  join pg_class s on s.oid = objid and relkind = 'S'
  where classid = 'pg_class'::regclass and refclassid = 'pg_class'::regclass and refobjsubid > 0
    and deptype in ('a', 'i')
), con (oid, root) as materialized (
  select oid, oid from pg_constraint where conparentid = 0
  union all select k.oid, con.root from con join pg_constraint k on k.conparentid = con.oid
), constrained as materialized (
  select k.oid, case when k.conrelid > 0 then 'pg_class' else 'pg_type' end::regclass::oid as class,
    case when k.conrelid > 0 then k.conrelid else k.contypid end as unit,
    case when k.conrelid > 0 then case k.contype when 'f' then 'fk' when 'c' then 'check'
      when 'n' then 'check' when 't' then 'trigger' else 'index' end end as kind, r.conname as name
  from pg_constraint k join con using (oid) join pg_constraint r on r.oid = con.root
), typed as materialized (
  select t.oid,
    case when c.relkind <> 'c' then 'pg_class' else 'pg_type' end::regclass::oid as class,
    case when c.relkind <> 'c' then c.oid else b.oid end as unit
  from pg_type t left join pg_type e on e.typarray = t.oid
  left join pg_range r on r.rngmultitypid = coalesce(e.oid, t.oid)
  join pg_type b on b.oid = coalesce(r.rngtypid, e.oid, t.oid)
  left join pg_class c on c.oid = b.typrelid where t.oid >= 16384
), lifted (classid, objid, class, unit, kind, name, entryclass, entry) as materialized (
  select 'pg_class'::regclass::oid, c.oid,
    case relkind when 'c' then 'pg_type' else 'pg_class' end::regclass::oid,
    case when relkind = 't' or relnamespace = 'pg_toast'::regnamespace then 0
      when relkind = 'c' then reltype else coalesce(indrelid, o.refobjid, c.oid) end,
    case when relkind in ('i', 'I') then 'index' when o.objid > 0 then 'sequence' end, relname,
    case when k.oid > 0 then 'pg_constraint' else 'pg_class' end::regclass::oid,
    coalesce(k.oid, c.oid)
  from pg_class c left join pg_index i on indexrelid = c.oid left join owned o on o.objid = c.oid
  left join pg_constraint k on k.conindid = c.oid and k.conrelid = i.indrelid
    and k.contype in ('p', 'u', 'x')
  where c.oid >= 16384
  union all select 'pg_type'::regclass, oid, class, unit, null, null, 0, 0 from typed
  union all
  select 'pg_constraint'::regclass, oid, class, unit, kind, name, 'pg_constraint'::regclass, oid
  from constrained
  union all
  select 'pg_attrdef'::regclass, d.oid, 'pg_class'::regclass, adrelid,
    case attgenerated when '' then 'default' else 'generated' end, attname, 'pg_attrdef'::regclass,
    d.oid
  from pg_attrdef d join pg_attribute on attrelid = adrelid and attnum = adnum
  union all
  select 'pg_trigger'::regclass, t.oid, coalesce(k.class, 'pg_class'::regclass),
    coalesce(k.unit, tgrelid), coalesce(k.kind, 'trigger'), coalesce(k.name, tgname),
    case when k.oid > 0 then 'pg_constraint' else 'pg_trigger' end::regclass, coalesce(k.oid, t.oid)
  from pg_trigger t left join constrained k on tgisinternal and k.oid = tgconstraint
  union all
  select 'pg_rewrite'::regclass, oid, 'pg_class'::regclass, ev_class,
    case when rulename <> '_RETURN' then 'rule' end, rulename, 'pg_rewrite'::regclass, oid
  from pg_rewrite
  union all
  select 'pg_policy'::regclass, oid, 'pg_class'::regclass, polrelid, 'policy', polname,
    'pg_policy'::regclass, oid from pg_policy
  union all
  select 'pg_statistic_ext'::regclass, oid, 'pg_class'::regclass, stxrelid, 'statistics', stxname,
    'pg_statistic_ext'::regclass, oid from pg_statistic_ext
  union all
  select 'pg_proc'::regclass, p.oid, coalesce(y.class, 'pg_proc'::regclass),
    coalesce(y.unit, p.oid), null, null, 0, 0
  from pg_proc p left join (
    select distinct on (objid) objid, class, unit from pg_depend join typed on typed.oid = refobjid
    where classid = 'pg_proc'::regclass and refclassid = 'pg_type'::regclass and deptype = 'i'
  ) y on y.objid = p.oid where p.oid >= 16384
  union all
  select 'pg_cast'::regclass, k.oid, coalesce(typed.class, 'pg_cast'::regclass),
    coalesce(typed.unit, k.oid), null, null, 0, 0
  from pg_cast k left join pg_depend i on i.classid = 'pg_cast'::regclass and i.objid = k.oid
    and i.deptype = 'i' and i.refclassid = 'pg_type'::regclass and i.refobjid = castsource
  left join typed on typed.oid = i.refobjid where k.oid >= 16384
  union all
  select 'pg_amop'::regclass, oid, 'pg_opfamily'::regclass, amopfamily, null, null, 0, 0
  from pg_amop where oid >= 16384
  union all
  select 'pg_amproc'::regclass, oid, 'pg_opfamily'::regclass, amprocfamily, null, null, 0, 0
  from pg_amproc where oid >= 16384
  union all
  select 'pg_publication_rel'::regclass, oid, 'pg_publication'::regclass, prpubid, null, null, 0, 0
  from pg_publication_rel
  union all
  select distinct classid, objid, 0, 0, null, null, 0, 0 from pg_depend
  where classid = to_regclass('pg_publication_namespace')
  union all select 'pg_default_acl'::regclass, oid, 0, 0, null, null, 0, 0 from pg_default_acl
  union all select 'pg_namespace'::regclass, oid, 0, 0, null, null, 0, 0 from pg_namespace
  union all select classid, objid, classid, objid, null, null, 0, 0 from alone
)
"""

# Kinds that stand for themselves.
_ALONE: Final = """
alone (classid, objid) as materialized (
  select 'pg_opclass'::regclass::oid, oid from pg_opclass
  union all select 'pg_opfamily'::regclass, oid from pg_opfamily
  union all select 'pg_operator'::regclass, oid from pg_operator
  union all select 'pg_collation'::regclass, oid from pg_collation
  union all select 'pg_conversion'::regclass, oid from pg_conversion
  union all select 'pg_transform'::regclass, oid from pg_transform
  union all select 'pg_ts_config'::regclass, oid from pg_ts_config
  union all select 'pg_ts_dict'::regclass, oid from pg_ts_dict
  union all select 'pg_ts_parser'::regclass, oid from pg_ts_parser
  union all select 'pg_ts_template'::regclass, oid from pg_ts_template
  union all select 'pg_language'::regclass, oid from pg_language
  union all select 'pg_foreign_data_wrapper'::regclass, oid from pg_foreign_data_wrapper
  union all select 'pg_foreign_server'::regclass, oid from pg_foreign_server
  union all select 'pg_user_mapping'::regclass, umid from pg_user_mappings
  union all select 'pg_event_trigger'::regclass, oid from pg_event_trigger
  union all select 'pg_publication'::regclass, oid from pg_publication
  union all select 'pg_extension'::regclass, oid from pg_extension
), member as materialized (
  select classid, objid, refobjid as extension from pg_depend
  where deptype = 'e' and refclassid = 'pg_extension'::regclass
)
"""

_EDGES: Final = f"""
with recursive {_ALONE.strip()}, {_LIFTED.strip()}, edge as (
  select case when um.extension > 0 then 'pg_extension'::regclass::oid
      else coalesce(u.class, d.classid) end as userclass,
    coalesce(um.extension, u.unit, d.objid) as userid,
    case when rm.extension > 0 then 'pg_extension'::regclass::oid
      else coalesce(r.class, d.refclassid) end as usedclass,
    coalesce(rm.extension, r.unit, d.refobjid) as usedid,
    case when u.kind is not null then u.kind when c.relkind in ('r', 'p', 'f')
      and attname is not null then case attgenerated when '' then 'column' else 'generated' end
      end as kind,
    case when u.kind is not null then u.name when c.relkind in ('r', 'p', 'f') then attname
      end as name,
    coalesce(u.entryclass, 0) as entryclass, coalesce(u.entry, 0) as entry,
    case when r.kind = 'sequence' then d.refclassid else 0 end as viaclass,
    case when r.kind = 'sequence' then d.refobjid else 0 end as viaid,
    u.class is not null as userknown, r.class is not null as usedknown
  from pg_depend d
  left join lifted u on u.classid = d.classid and u.objid = d.objid
  left join lifted r on r.classid = d.refclassid and r.objid = d.refobjid
  left join member um on um.classid = coalesce(u.class, d.classid)
    and um.objid = coalesce(u.unit, d.objid) and u.kind is null
  left join member rm on rm.classid = coalesce(r.class, d.refclassid)
    and rm.objid = coalesce(r.unit, d.refobjid)
  left join pg_class c on u.class = 'pg_class'::regclass and c.oid = u.unit
  left join pg_attribute a on d.classid = 'pg_class'::regclass and d.objsubid > 0
    and attrelid = d.objid and attnum = d.objsubid
  where d.deptype <> 'e' and d.objid >= 16384 and d.refobjid >= 16384
    and d.refclassid <> 'pg_namespace'::regclass
)
select distinct userclass::int8, userid::int8, usedclass::int8, usedid::int8, kind, name::text,
  quote_ident(name), entryclass::int8, entry::int8, viaclass::int8, viaid::int8, userknown,
  usedknown
from edge where (userclass, userid) <> (usedclass, usedid) and userid > 0 and usedid > 0
  -- What is published is no need: it is told of by itself.
  and (userclass <> 'pg_publication'::regclass or usedclass <> 'pg_class'::regclass)
"""  # noqa: S608  texts of our own

_STRANGE: Final = """
select class, id, pg_describe_object(class::oid, id::oid, 0)
from unnest(%s::int8[], %s::int8[]) as each (class, id)
where coalesce((pg_identify_object(class::oid, id::oid, 0)).schema, '') !~ '^pg_(temp|toast)'
"""

# What may look up an object by a text when it is evaluated, such as nextval('x'::text): functions
# of the server that take a name, users' functions, and casts to types that stand for a name. The
# trees are read as they are stored, because to write them as SQL locks what they are about.
_CONSTANTS: Final = """
with looking as materialized (
  select ':funcid (' || string_agg(oid::text, '|') || '|[1-9][0-9]{4,}) '
    || '|:resulttype (24|2202|2203|2204|2205|2206|3734|3769|4191) ' as pattern
  from pg_proc where pronamespace = 'pg_catalog'::regnamespace and (
    proname in ('regclass', 'row_security_active', 'pg_get_serial_sequence', 'ts_stat',
      'ts_rewrite', 'pg_get_object_address')
    or proname ~ '^to_reg' or proname ~ '^query_to_xml' or proname ~ '^has_.*_privilege$')
), tree (catalog, unit, kind, name, class, entry, expression) as (
  select 'pg_class'::regclass::oid, adrelid,
    case attgenerated when '' then 'default' else 'generated' end, attname,
    'pg_attrdef'::regclass::oid, d.oid, adbin::text
  from pg_attrdef d join pg_attribute on attrelid = adrelid and attnum = adnum
  union all
  select case when conrelid > 0 then 'pg_class' else 'pg_type' end::regclass,
    case when conrelid > 0 then conrelid else contypid end,
    case when conrelid > 0 then 'check' end, conname, 'pg_constraint'::regclass, oid, conbin::text
  from pg_constraint where contype = 'c'
  union all select 'pg_type'::regclass, oid, null, null, 0, 0, typdefaultbin::text
  from pg_type where typtype = 'd'
  union all
  select 'pg_class'::regclass, polrelid, 'policy', polname, 'pg_policy'::regclass, oid, each
  from pg_policy cross join unnest(array[polqual::text, polwithcheck::text]) as each
  union all
  select 'pg_class'::regclass, ev_class, case when rulename <> '_RETURN' then 'rule' end, rulename,
    'pg_rewrite'::regclass, oid, each
  from pg_rewrite cross join unnest(array[ev_qual::text, ev_action::text]) as each
  union all
  select 'pg_class'::regclass, tgrelid, 'trigger', tgname, 'pg_trigger'::regclass, oid, tgqual::text
  from pg_trigger where not tgisinternal
  union all
  select 'pg_class'::regclass, indrelid, 'index', relname, 'pg_class'::regclass, i.oid, each
  from pg_index join pg_class i on i.oid = indexrelid
  cross join unnest(array[indexprs::text, indpred::text]) as each
  union all select 'pg_proc'::regclass, oid, null, null, 0, 0, each
  from pg_proc cross join unnest(array[proargdefaults::text, prosqlbody::text]) as each
)
select catalog::int8, unit::int8, kind, name::text, quote_ident(name), class::int8, entry::int8,
  expression
from tree where unit >= 16384
  and expression like any ('{%:consttype 25 %,%:consttype 1043 %,%:consttype 19 %,'
    '%:consttype 1009 %,%:consttype 1015 %,%:consttype 1003 %}')
  and expression ~ (select pattern from looking)
  and (catalog, unit) not in (select classid, objid from pg_depend where deptype = 'e')
"""

_ARGUMENTS: Final = """
select 'pg_class'::regclass::int8, tgrelid::int8, 'trigger', tgname::text, quote_ident(tgname),
  'pg_trigger'::regclass::int8, oid::int8, tgargs
from pg_trigger where not tgisinternal and tgnargs > 0
"""

# A constant of the types text, varchar or name, or an array of them, in a stored tree: its bytes,
# as signed numbers.
_CONSTANT: Final = re.compile(
    r"\{CONST :consttype (25|1043|19|1009|1015|1003) [^{}]*?:constvalue \d+ \[ ([-\d ]*)\]"
)

# A comment, unless it is in a string.
_COMMENT: Final = re.compile(r"('(?:[^']|'')*')|--[^\n]*|/\*.*?\*/", re.DOTALL)

_WORD: Final = re.compile(
    r'(?:(?P<schema>"(?:[^"]|"")+"|\w[\w$]*)\s*\.\s*)?(?P<name>"(?:[^"]|"")+"|\w[\w$]*)'
    r"(?P<call>\s*\()?"
)


def read(
    connection: Connection[TupleRow],
    named: Sequence[Named],
    bodies: Mapping[Key, str],
    extensions: Iterable[Key],
) -> Graph:
    """Every edge, in the connection's open transaction, whose search_path is the server's own.

    ``named`` are the units that a plan knows besides ``extensions``, as texts may name them; a name
    of an extension's member stands for the extension. ``bodies`` are the texts of functions. Raises
    psycopg's errors.
    """
    rows = connection.execute(_EDGES.encode()).fetchall()
    edges = list(map(_edge, rows))
    texts = [Text(key, None, body) for key, body in bodies.items() if body]
    for query, text_of in ((_CONSTANTS, _constants), (_ARGUMENTS, _arguments)):
        for row in connection.execute(query.encode()).fetchall():
            catalog, oid, kind, plain, name, *entry, found = row
            part = Part(kind, name, (entry[0], entry[1]), plain) if kind else None
            texts.append(Text((catalog, oid), part, text_of(found)))
    edges += names(texts, named)
    there = {each.key for each in named} | {*extensions}
    known = {row[0:2] for row in rows if row[11]} | {row[2:4] for row in rows if row[12]}
    lost = {key for edge in edges for key in (edge.user, edge.used)} - there
    asked = [[key[0] for key in lost], [key[1] for key in lost]]
    described = connection.execute(_STRANGE.encode(), asked).fetchall() if lost else []
    strange = {
        (catalog, oid): Strange(name, (catalog, oid) in known) for catalog, oid, name in described
    }
    there |= strange.keys()
    return Graph(tuple(e for e in edges if e.user in there and e.used in there), strange)


def _constants(tree: str) -> str:
    """The texts that are constants in a stored tree."""
    found = []
    for kind, numbers in _CONSTANT.findall(tree):
        value = bytes(int(number) & 255 for number in numbers.split())
        if kind not in ("19", "1003"):
            value = value[4:]  # behind its length
        # In an array, zeros are between the elements too.
        found.append(value.replace(b"\0", b" ").decode(errors="replace"))
    return " ".join(found)


def _arguments(arguments: bytes) -> str:
    """What a trigger's function is called with, each ended by a zero byte."""
    return arguments.replace(b"\0", b" ").decode(errors="replace")


def _edge(row: TupleRow) -> Edge:
    kind, plain, name, entryclass, entry, viaclass, via = row[4:11]
    part = Part(kind, name, (entryclass, entry), plain) if kind else None
    used = (row[2], row[3])
    return Edge((row[0], row[1]), used, part, (viaclass, via) if via else used)


def names(texts: Iterable[Text], named: Iterable[Named]) -> Iterator[Edge]:
    """What texts name, apart from their comments: a function by a call, all else by a word.

    A name behind a schema is that schema's only. Pure; takes as long as the texts are.
    """
    by_name: dict[str, list[Named]] = defaultdict(list)
    schemas = set()
    for each in named:
        by_name[each.name].append(each)
        schemas.add(each.schema)
    for text in texts:
        found = set()
        for word in _WORD.finditer(uncommented(text.text)):
            before, name = _plain(word["schema"]), _plain(word["name"])
            if before in schemas:
                within = [each for each in by_name.get(name, ()) if each.schema == before]
            else:
                within = [*by_name.get(name, ()), *by_name.get(before, ())]
            found |= {each.key for each in within if word["call"] or not each.function}
        found.discard(text.user)
        yield from (Edge(text.user, key, text.part, key, soft=True) for key in sorted(found))


def uncommented(text: str) -> str:
    """SQL, or a function's body, without its comments."""
    return _COMMENT.sub(r"\1 ", text)


def _plain(word: str | None) -> str:
    """The name that an identifier is: a quoted one as it is, another in small letters."""
    word = word or ""
    return word[1:-1].replace('""', '"') if word.startswith('"') else word.lower()
