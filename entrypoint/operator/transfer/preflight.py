"""What stands in the way of a transfer; each is agreed to by its name, or mended. Reads only."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from psycopg import errors, sql

from ...errors import RefusedError
from ...postgres.session import Session, translated
from ...services import claimant
from .plan import Plan
from .source import Relation, quoted


class Problem(NamedTuple):
    """Something that an operator must know before."""

    name: str
    """What ``--allow`` takes."""

    message: str
    remedy: str
    allowable: bool = True


_RIGHTS: Final = """
select rolsuper, rolcreatedb or rolsuper, rolbypassrls or rolsuper,
  has_database_privilege(current_database(), 'create')
from pg_catalog.pg_roles where rolname = current_user
"""

_WRITERS: Final = """
select distinct a.pid, coalesce(nullif(a.application_name, ''), 'no name'), a.usename
from pg_catalog.pg_stat_activity a join pg_catalog.pg_locks l using (pid)
where l.relation = any (%s) and l.mode in ('RowExclusiveLock', 'AccessExclusiveLock',
    'ShareRowExclusiveLock', 'ExclusiveLock') and a.pid <> pg_catalog.pg_backend_pid()
  and l.database = (select oid from pg_catalog.pg_database where datname = current_database())
order by 1
"""

# What a restore evaluates with an empty search_path, once for each row.
_EXPRESSIONS: Final = """
select 'index', i.relname, indrelid::int8, pg_get_expr(indexprs, indrelid) from pg_index
join pg_class i on i.oid = indexrelid where indrelid = any (%(oids)s) and indexprs is not null
union all
select 'index', i.relname, indrelid::int8, pg_get_expr(indpred, indrelid) from pg_index
join pg_class i on i.oid = indexrelid where indrelid = any (%(oids)s) and indpred is not null
union all
select 'check', conname, conrelid::int8, pg_get_expr(conbin, conrelid) from pg_constraint
where conrelid = any (%(oids)s) and contype = 'c'
union all
select 'generated', attname, attrelid::int8, pg_get_expr(adbin, adrelid) from pg_attribute
join pg_attrdef on adrelid = attrelid and adnum = attnum
where attrelid = any (%(oids)s) and attgenerated <> ''
"""


def rights(session: Session, plan: Plan) -> tuple[bool, bool]:
    """Whether the role is a superuser, and sees every row.

    Raises `RefusedError` with all that it lacks.
    """
    owners = sorted({relation.owner for relation in plan.relations})
    with translated("looking at the role's rights", remedy="Start again."):
        row = session.connection.execute(_RIGHTS).fetchone() or (False,) * 4
        member = session.connection.execute(
            "select owner from unnest(%s::text[]) as each (owner)"
            " where not pg_catalog.pg_has_role(owner::name, 'usage')",
            [owners],
        ).fetchall()
    superuser, createdb, bypass, create = row
    user = quoted(session.connection.info.user)
    lacking = [f"GRANT {quoted(owner)} TO {user}" for (owner,) in member]
    if not createdb:
        lacking.append(f"ALTER ROLE {user} CREATEDB")
    if not create:
        lacking.append(f"GRANT CREATE ON DATABASE {quoted(session.database)} TO {user}")
    if lacking:
        raise RefusedError(
            f"the role {user} lacks {len(lacking)} of the rights that a transfer needs",
            remedy=f"Run {'; '.join(lacking)}.",
        )
    return bool(superuser), bool(bypass)


def problems(session: Session, plan: Plan, *, bypass_rls: bool) -> list[Problem]:
    """Everything about the source. Raises `RefusedError` and `UnreachableError`."""
    return [
        *_crossing(plan),
        *_shared_types(plan),
        *_lost(plan),
        *_lookalikes(plan),
        *_relations(plan, bypass_rls=bypass_rls),
        *_bodies(session, plan),
        *_writers(session, plan),
    ]


def _crossing(plan: Plan) -> Iterator[Problem]:
    relations = plan.source.relations
    words = {
        "fk": ("the foreign key", "the target does not get it", "it points to the quarantine"),
        "view": ("the view", "the target does not get it", "it reads from the quarantine"),
        "sequence": ("the default", "the target gets a sequence of its own", "it goes on"),
    }
    for edge in plan.crossing:
        user, used = relations.get(edge.user), relations.get(edge.used)
        if user is None or used is None:
            continue
        what, out, back = words[edge.kind]
        leaves = edge.user in plan.moving
        yield Problem(
            f"{edge.kind}:{user.label() if edge.kind != 'fk' else edge.name}",
            f"{what} {edge.name!r} of {user.label()!r} ({'moves' if leaves else 'stays'}) needs "
            f"{used.label()!r} ({'stays' if leaves else 'moves'})",
            f"Drop it, or agree: {out if leaves else back}.",
        )


def _shared_types(plan: Plan) -> Iterator[Problem]:
    used = plan.source.used_by(set(plan.moving))
    elsewhere = plan.source.used_by({relation.oid for relation in plan.staying})
    for key in sorted(used & elsewhere):
        other = plan.source.others.get(key)
        if other is not None and other.kind in ("TYPE", "DOMAIN"):
            yield Problem(
                f"type:{other.identity}",
                f"the type {other.identity} is used by what moves and by what stays",
                "Agree: the target gets a type of its own, and the source keeps its.",
            )


def _lost(plan: Plan) -> Iterator[Problem]:
    for other in plan.own:
        if other.key in plan.left_out:
            kind = other.kind.lower()
            yield Problem(
                f"{kind}:{other.identity}",
                f"the {kind} {other.identity} needs the rows of a table that stays",
                "Drop it, or agree: the target does not get it.",
            )


def _lookalikes(plan: Plan) -> Iterator[Problem]:
    prefixes = tuple(prefix.lower() for prefix in plan.service.prefixes)
    for relation in plan.staying:
        if relation.owner_table is not None or not relation.name.lower().startswith(prefixes):
            continue
        if claimant(relation.name, {plan.service.name: plan.service}) is None:
            yield Problem(
                f"lookalike:{relation.label()}",
                f"{relation.label()!r} looks like the service's but is written differently",
                "Name it by --with if it is the service's, or agree that it stays.",
            )
        elif relation.extension:
            yield Problem(
                f"extension:{relation.label()}",
                f"{relation.label()!r} looks like the service's but belongs to an extension",
                "Agree: the extension makes its own in the target.",
            )


def _relations(plan: Plan, *, bypass_rls: bool) -> Iterator[Problem]:
    for relation in plan.relations:
        if relation.kind == "f":
            yield Problem(
                f"foreign_table:{relation.label()}",
                f"{relation.label()!r} is a foreign table; its rows are on another server",
                "Agree: its definition moves, and nobody compares its rows.",
            )
        if relation.forced_rls and not bypass_rls:
            yield Problem(
                f"rls:{relation.label()}",
                f"{relation.label()!r} forces row-level security on its owner, and this role does "
                "not bypass it",
                "Run ALTER ROLE ... BYPASSRLS, or use another role.",
                allowable=False,
            )
        if relation.partition and not any(parent in plan.moving for parent in relation.parents):
            yield Problem(
                f"partition:{relation.label()}",
                f"{relation.label()!r} is a partition of a table that stays",
                "Detach it, or name its parent by --with.",
                allowable=False,
            )


def _bodies(session: Session, plan: Plan) -> Iterator[Problem]:
    """Try each expression that a restore evaluates, as it does: with an empty search_path."""
    oids = [relation.oid for relation in plan.relations if relation.kind in "rpm"]
    connection = session.connection
    with translated("looking at expressions", remedy="Start again."):
        connection.execute("savepoint body; set local search_path = ''")  # names are qualified
        rows = connection.execute(_EXPRESSIONS.encode(), {"oids": oids}).fetchall()
        connection.execute("rollback to body; release body")
    for kind, name, oid, expression in rows:
        relation = plan.source.relations[oid]
        if error := _fails(session, relation, expression):
            yield Problem(
                f"body:{relation.label()}.{name}",
                f"the {kind} {name!r} of {relation.label()!r} cannot be restored: {error}",
                "Run ALTER FUNCTION ... SET search_path for the function that it calls, or qualify "
                "the names in its body.",
                allowable=False,
            )


def _fails(session: Session, relation: Relation, expression: str) -> str | None:
    table = sql.Identifier(relation.schema, relation.name).as_string(session.connection)
    query = f"select {expression} from only {table} limit 1"  # noqa: S608  the server's own words
    if relation.kind == "p":
        query = query.replace(" from only ", " from ", 1)
    connection = session.connection
    connection.execute("savepoint body; set local search_path = ''; set local lock_timeout = '1s'")
    try:
        connection.execute(query.encode())
    except (errors.ProgrammingError, errors.InternalError_, errors.DataError) as error:
        return error.diag.message_primary or type(error).__name__
    finally:
        if not connection.broken:
            connection.execute("rollback to body; release body")
    return None


def _writers(session: Session, plan: Plan) -> Iterator[Problem]:
    with translated("looking for writers", remedy="Start again."):
        rows = session.connection.execute(_WRITERS, [list(plan.moving)]).fetchall()
    if rows:
        who = ", ".join(f"{name} ({user}, pid {pid})" for pid, name, user in rows[:10])
        yield Problem(
            "writers",
            f"{len(rows)} sessions are writing to what moves: {who}",
            "Stop the service, or agree: they wait, and then fail because the tables are gone.",
        )
