"""What stands in the way of a transfer; each is agreed to by its name, or mended. Reads only."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing
from typing import Final, NamedTuple

from psycopg import errors, sql

from ...errors import RefusedError
from ...postgres.session import Session, translated
from ...services import claimant
from ..server import Server
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
select rolname::text, rolsuper, rolcreatedb or rolsuper, rolbypassrls or rolsuper,
  has_database_privilege(oid, current_database(), 'create')
from pg_catalog.pg_roles where rolname = any (%s)
"""

_WRITERS: Final = """
select distinct a.pid, coalesce(nullif(a.application_name, ''), 'no name'), a.usename
from pg_catalog.pg_stat_activity a join pg_catalog.pg_locks l using (pid)
where l.relation = any (%s) and l.mode in ('RowExclusiveLock', 'AccessExclusiveLock',
    'ShareRowExclusiveLock', 'ExclusiveLock') and a.pid <> pg_catalog.pg_backend_pid()
  and l.database = (select oid from pg_catalog.pg_database where datname = current_database())
order by 1
"""

# What a restore evaluates with an empty search_path, once for each row, and is not all the server's
# own.
_EXPRESSIONS: Final = """
with expression (kind, name, relation, text, classid, objid) as (
  select 'index', i.relname, indrelid, pg_get_expr(indexprs, indrelid), 'pg_class'::regclass,
    indexrelid
  from pg_index join pg_class i on i.oid = indexrelid where indexprs is not null
  union all
  select 'index', i.relname, indrelid, pg_get_expr(indpred, indrelid), 'pg_class', indexrelid
  from pg_index join pg_class i on i.oid = indexrelid where indpred is not null
  union all
  select 'check', conname, conrelid, pg_get_expr(conbin, conrelid), 'pg_constraint', oid
  from pg_constraint where contype = 'c' and conrelid > 0
  union all
  select 'generated', attname, attrelid, pg_get_expr(adbin, adrelid), 'pg_attrdef', d.oid
  from pg_attribute join pg_attrdef d on adrelid = attrelid and adnum = attnum
  where attgenerated <> ''
)
select kind, name, relation::int8, text from expression e
where relation = any (%(oids)s) and exists (
  select from pg_depend d where refobjid >= 16384 and (d.classid = e.classid and d.objid = e.objid
      or kind = 'generated' and d.classid = 'pg_class'::regclass and d.objid = relation)
    and refclassid in ('pg_proc'::regclass, 'pg_operator'::regclass, 'pg_type'::regclass))
"""

# What only a superuser may make, and what its making depends on comes later than that.
_PRIVILEGED: Final = """
with member as materialized (
  select classid, objid from pg_depend
  where deptype = 'e' or deptype = 'i' and classid = 'pg_proc'::regclass
), privileged (classid, objid) as (
  select 'pg_proc'::regclass::oid, p.oid from pg_proc p join pg_language l on l.oid = prolang
  left join pg_aggregate a on aggfnoid = p.oid
  where prokind <> 'a' and not lanpltrusted or proleakproof or aggtranstype = 'internal'::regtype
    or aggmtranstype = 'internal'::regtype or exists (
      select from unnest(proconfig) as each join pg_settings s
        on lower(s.name) = lower(split_part(each, '=', 1)) where s.context = 'superuser')
  union all select 'pg_type'::regclass, t.oid from pg_type t where typtype = 'b' and not exists (
    select from pg_type e where e.typarray = t.oid)
  union all select 'pg_opclass'::regclass, oid from pg_opclass
  union all select 'pg_opfamily'::regclass, oid from pg_opfamily
  union all select 'pg_cast'::regclass, oid from pg_cast where castmethod = 'b'
  union all select 'pg_language'::regclass, oid from pg_language
  union all select 'pg_foreign_data_wrapper'::regclass, oid from pg_foreign_data_wrapper
  union all select 'pg_ts_parser'::regclass, oid from pg_ts_parser
  union all select 'pg_ts_template'::regclass, oid from pg_ts_template
)
select classid::int8, objid::int8, type, identity from privileged
cross join pg_identify_object(classid, objid, 0)
where objid >= 16384 and (classid, objid) not in (select classid, objid from member)
order by 3, 4
"""

# Those that we cannot turn off for ourselves.
_ALWAYS: Final = """
select evtname::text, case evtevent when 'login' then 'DISABLE' else 'ENABLE' end
from pg_event_trigger where evtenabled <> 'D' and evtevent = 'login'
  or evtenabled in ('A', 'R') and current_setting('server_version_num')::int < 170000
"""

_MAPPINGS: Final = """
select format('%I for %I', srvname, usename) from pg_user_mappings where umoptions is not null
"""


def rights(session: Session, plan: Plan) -> tuple[bool, bool]:
    """Whether the role is a superuser, and sees every row.

    Raises `RefusedError` with all that it lacks. Only who owns all that moves, and a superuser, who
    makes roles for it, may let it be evaluated: another member of its owner has rights besides,
    which the content would get.
    """
    owners = {relation.owner for relation in plan.relations}
    with translated("looking at the role's rights", remedy="Start again."):
        [(user,)] = session.connection.execute("select current_user::text").fetchall()
        rows = session.connection.execute(_RIGHTS, [[user, *owners]]).fetchall()
    by_name = {name: each for name, *each in rows}
    superuser, createdb, bypass, create = by_name[user]
    if superuser:
        return True, True
    if owners <= {user}:
        if lacking := _lacking(session, user, createdb=createdb, create=create):
            raise RefusedError(
                f"the role {quoted(user)} lacks {len(lacking)} of the rights that a transfer needs",
                remedy=f"Run {'; '.join(lacking)}.",
            )
        return False, bool(bypass)
    names = ", ".join(map(quoted, sorted(owners)))
    remedy = "Name a superuser by --server, which no content of these tables gets to be."
    if len(owners) == 1 and not by_name[owner := next(iter(owners))][0]:
        _, createdb, _, create = by_name[owner]
        lacking = _lacking(session, owner, createdb=createdb, create=create)
        first = f"run {'; '.join(lacking)}, and " if lacking else ""
        remedy = (
            f"Name the role {names} by --server (for that {first}let it log in), or a superuser."
        )
    raise RefusedError(
        f"the role {quoted(user)} does not own all that moves, which is {names}'s, and is no "
        "superuser",
        remedy=remedy,
    )


def _lacking(session: Session, role: str, *, createdb: bool, create: bool) -> list[str]:
    statements = [] if createdb else [f"ALTER ROLE {quoted(role)} CREATEDB"]
    if not create:
        on = quoted(session.database)
        statements.append(f"GRANT CREATE ON DATABASE {on} TO {quoted(role)}")
    return statements


Reading = Callable[[], AbstractContextManager[Server]]
"""Makes a role that may read what moves and nothing else."""


def problems(
    session: Session, plan: Plan, reading: Reading | None, *, bypass_rls: bool
) -> list[Problem]:
    """Everything about the source.

    Without ``reading`` what moves is the session's own role's, which evaluates it. Raises
    `RefusedError` and `UnreachableError`.
    """
    return [
        *_crossing(plan),
        *_shared_types(plan),
        *_lost(plan),
        *_lookalikes(plan),
        *_relations(plan, bypass_rls=bypass_rls),
        *_bodies(session, plan, reading),
        *_privileged(session, plan),
        *(_superusers(session) if reading else ()),
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
        if relation.owner_table is not None:
            continue
        if plan.service.lists(relation.name, f"{relation.schema}.{relation.name}"):
            yield Problem(
                f"lookalike:{relation.label()}",
                f"{relation.label()!r} is among the service's names in the registry, and here it "
                "may be another's",
                "Name it by --with if it is the service's, or agree that it stays.",
            )
            continue
        if not relation.name.lower().startswith(prefixes):
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


def _bodies(session: Session, plan: Plan, reading: Reading | None) -> Iterator[Problem]:
    """Try each expression that a restore evaluates, as it does: with an empty search_path."""
    oids = [relation.oid for relation in plan.relations if relation.kind in "rpm"]
    with translated("looking at expressions", remedy="Start again."):
        rows = session.connection.execute(_EXPRESSIONS.encode(), {"oids": oids}).fetchall()
    if not rows:
        return
    with ExitStack() as stack:
        reader = session
        if reading is not None:
            server = stack.enter_context(reading())
            reader = stack.enter_context(closing(server.session(session.database)))
            reader.connection.execute("begin read only")
        failures = [
            (kind, name, relation, error)
            for kind, name, oid, expression in rows
            if (error := _fails(reader, relation := plan.source.relations[oid], expression))
        ]
    for kind, name, relation, error in failures:
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
    except errors.InsufficientPrivilege:
        return None  # the restore's role owns what it calls; this one may not call it
    except (errors.ProgrammingError, errors.InternalError_, errors.DataError) as error:
        return error.diag.message_primary or type(error).__name__
    finally:
        if not connection.broken:
            connection.execute("rollback to body; release body")
    return None


def _privileged(session: Session, plan: Plan) -> Iterator[Problem]:
    with translated("looking at what a superuser made", remedy="Start again."):
        rows = session.connection.execute(_PRIVILEGED).fetchall()
    for catalog, oid, kind, identity in rows:
        if (catalog, oid) not in plan.left_out:
            yield Problem(
                f"superuser:{identity}",
                f"only a superuser may make the {kind} {identity}, and nothing that others "
                "wrote is restored by a superuser",
                "Drop it, or make it part of an extension (ALTER EXTENSION ... ADD).",
                allowable=False,
            )


def event_triggers(session: Session) -> list[Problem]:
    """Those that would run as the session's role, whatever it does about it."""
    with translated("looking at event triggers", remedy="Start again."):
        superuser = "select rolsuper from pg_catalog.pg_roles where rolname = current_user"
        if session.connection.execute(superuser).fetchone() != (True,):
            return []
        rows = session.connection.execute(_ALWAYS).fetchall()
    return [
        Problem(
            f"event_trigger:{name}",
            f"the event trigger {name!r} fires whatever is done, and would run as a superuser",
            f"Run ALTER EVENT TRIGGER {quoted(name)} {mend} until it is done.",
            allowable=False,
        )
        for name, mend in rows
    ]


def _superusers(session: Session) -> Iterator[Problem]:
    yield from event_triggers(session)
    with translated("looking at user mappings", remedy="Start again."):
        mappings = session.connection.execute(_MAPPINGS).fetchall()
    for (name,) in mappings:
        yield Problem(
            f"user_mapping:{name}",
            f"the user mapping of server {name} has options, such as a password",
            "Agree, and set them in the target by ALTER USER MAPPING: it gets the mapping alone.",
        )


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
