"""What moves and an older server cannot have, or a newer one would have otherwise."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from ..postgres.session import Session, translated
from .plan import Plan
from .preflight import Problem


class _Kind(NamedTuple):
    since: int
    """The major version since which there is such a thing."""

    name: str
    what: str
    """With its label in it."""

    remedy: str
    query: str
    """Labels, and what the remedy has to name, of what has it among relations ``oids``."""


_RELATION: Final = "case nspname when 'public' then '' else nspname || '.' end || relname"

_OF_CONSTRAINTS: Final = f"""
select {_RELATION} || '.' || conname, format('%%I.%%I', nspname, relname), quote_ident(conname)
from pg_constraint k join pg_class c on c.oid = conrelid join pg_namespace n on n.oid = relnamespace
where conrelid = any (%(oids)s) and
"""  # noqa: S608  a text of our own

_KINDS: Final = (
    _Kind(
        18,
        "virtual",
        "the column {} is generated and virtual",
        "Run ALTER TABLE {1} DROP COLUMN {2}, and add it again as STORED.",
        f"""
        select {_RELATION} || '.' || attname, format('%%I.%%I', nspname, relname),
          quote_ident(attname)
        from pg_attribute join pg_class c on c.oid = attrelid
        join pg_namespace n on n.oid = relnamespace
        where attrelid = any (%(oids)s) and attgenerated = 'v' and not attisdropped
        """,  # noqa: S608  a text of our own
    ),
    _Kind(
        18,
        "not_null",
        "NOT NULL {} is not valid",
        "Run ALTER TABLE {1} VALIDATE CONSTRAINT {2}.",
        f"{_OF_CONSTRAINTS} contype = 'n' and not convalidated",
    ),
    _Kind(
        18,
        "not_null",
        "NOT NULL {} is not inherited",
        "Run ALTER TABLE {1} ALTER CONSTRAINT {2} INHERIT.",
        f"{_OF_CONSTRAINTS} contype = 'n' and connoinherit",
    ),
    _Kind(
        18,
        "comment",
        "NOT NULL {} has a comment",
        "Run COMMENT ON CONSTRAINT {2} ON {1} IS NULL.",
        f"{_OF_CONSTRAINTS} contype = 'n' and obj_description(k.oid, 'pg_constraint') <> ''",
    ),
    _Kind(
        18,
        "constraint",
        "the constraint {} is not enforced, or has WITHOUT OVERLAPS or PERIOD",
        "Run ALTER TABLE {1} DROP CONSTRAINT {2}.",
        # Read as JSON, because the columns are newer than the oldest server.
        f"{_OF_CONSTRAINTS} (to_jsonb(k) ->> 'conenforced' = 'false'"
        " or to_jsonb(k) ->> 'conperiod' = 'true')",
    ),
    _Kind(
        17,
        "maintain",
        "somebody has MAINTAIN, and not ALL, of {}",
        "Run REVOKE MAINTAIN ON {1} FROM {2}.",
        f"""
        select {_RELATION}, format('%%I.%%I', nspname, relname),
          string_agg(case grantee when 0 then 'PUBLIC' else quote_ident(rolname) end, ', ')
        from pg_class c join pg_namespace n on n.oid = relnamespace cross join lateral (
          select grantee from aclexplode(relacl) where grantee <> relowner group by grantee, grantor
          having bool_or(privilege_type = 'MAINTAIN') and count(*) < 8) each
        left join pg_roles r on r.oid = grantee
        where c.oid = any (%(oids)s) group by 1, 2
        """,  # noqa: S608  a text of our own
    ),
    _Kind(
        15,
        "index",
        "the index {} takes nulls for equal (NULLS NOT DISTINCT)",
        "Make it again without that.",
        """
        select i.relname from pg_index x join pg_class i on i.oid = indexrelid
        where indrelid = any (%(oids)s) and to_jsonb(x) ->> 'indnullsnotdistinct' = 'true'
        """,
    ),
    _Kind(
        15,
        "view",
        "the view {} reads with the rights of who asks (security_invoker)",
        "Run ALTER VIEW {1} RESET (security_invoker).",
        f"""
        select {_RELATION}, format('%%I.%%I', nspname, relname)
        from pg_class c join pg_namespace n on n.oid = relnamespace
        where c.oid = any (%(oids)s) and relkind = 'v' and exists (
          select from unnest(reloptions) each where each ~ '^security_invoker=')
        """,  # noqa: S608  a text of our own
    ),
)

NOT_NULL_INHERITED_SINCE: Final = 18

# The parent's NOT NULL is the child's too, when a newer server makes them.
_NULLABLE: Final = f"""
select {_RELATION} || '.' || a.attname, format('%%I.%%I', nspname, relname), quote_ident(a.attname)
from pg_inherits join pg_attribute p on p.attrelid = inhparent and p.attnotnull
join pg_attribute a on a.attrelid = inhrelid and a.attname = p.attname and not a.attnotnull
join pg_class c on c.oid = inhrelid join pg_namespace n on n.oid = relnamespace
where inhrelid = any (%(oids)s) and p.attnum > 0 and not p.attisdropped
"""  # noqa: S608  a text of our own


def problems(source: Session, there: Session, plan: Plan) -> Iterator[Problem]:
    """What is known of two versions; a rehearsal tells the rest. Nothing where they are one.

    Raises `RefusedError` and `UnreachableError`.
    """
    old, new = source.server_version // 10000, there.server_version // 10000
    params = {"oids": [*plan.moving]}
    for kind in _KINDS:
        if not new < kind.since <= old:
            continue
        with translated("looking at what is new", remedy="Start again."):
            rows = source.connection.execute(kind.query.encode(), params).fetchall()
        for label, *names in rows:
            yield Problem(
                f"{kind.name}:{label}",
                f"{kind.what.format(repr(label))}, which the target's server does not know: it is "
                f"of version {new}, and there is such since {kind.since}",
                kind.remedy.format(label, *names),
                allowable=False,
            )
    if old < NOT_NULL_INHERITED_SINCE <= new:
        with translated("looking at NOT NULL", remedy="Start again."):
            rows = source.connection.execute(_NULLABLE.encode(), params).fetchall()
        for label, table, column in rows:
            yield Problem(
                f"not_null:{label}",
                f"{label!r} may be null and its parent's may not: since version "
                f"{NOT_NULL_INHERITED_SINCE} a NOT NULL is inherited",
                f"Run ALTER TABLE {table} ALTER COLUMN {column} SET NOT NULL, or DROP NOT NULL of "
                "the parent's.",
                allowable=False,
            )
