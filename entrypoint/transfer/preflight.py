"""What stands in the way of a transfer, as far as the source shows it. Reads only."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from typing import Final, NamedTuple

from psycopg import errors, sql
from psycopg.pq import TransactionStatus as _Status

from ..config.registry import claimant
from ..errors import RefusedError
from ..operator.server import Server
from ..postgres.session import WORD_S, NoAnswerError, Session, translated
from ..postgres.sql import quoted
from ..process import child
from .obstacle import Problem, final
from .plan import Plan
from .source import Relation, queried
from .target import Target
from .throwaway import superuser
from .tools import Tools


class Prepared(NamedTuple):
    """A plan, what stands in its way, and the tools and roles that it runs with."""

    plan: Plan
    target: Target
    tools: Tools
    problems: list[Problem]
    apart: tuple[bool, bool]  # whether the transfer's own roles evaluate the source and the target
    without: list[str]


MULTIRANGE_FOLLOWS_SINCE: Final = 170000  # since then a multirange follows its range to an owner


def rights(session: Session, plan: Plan) -> tuple[bool, bool]:
    """Whether the role is a superuser, and whether it sees every row.

    Raises `RefusedError` with SQL for all rights that it lacks. Only the owner of everything that
    moves, or a superuser, who makes roles for that, may have the content evaluated. Another member
    of the owner's role has rights of its own, which the content would get.
    """
    owners = {relation.owner for relation in plan.relations}
    with translated("looking at the role's rights", remedy="Run the command again."):
        [(user,)] = session.connection.execute("select current_user::text").fetchall()
        rows = session.rows("transfer/roles_rights", [[user, *owners]])
    by_name = {name: each for name, *each in rows}
    superuser, createdb, bypass, create = by_name[user]
    if superuser:
        return True, True
    if owners <= {user}:
        if lacking := _lacking(session, plan, user, createdb=createdb, create=create):
            raise RefusedError(
                f"the role {quoted(user)} lacks {len(lacking)} of the rights that a transfer needs",
                remedy=f"Run {'; '.join(lacking)}.",
            )
        return False, bool(bypass)
    names = ", ".join(map(quoted, sorted(owners)))
    remedy = "Use --server to name a superuser: no content of these tables runs as that superuser."
    if len(owners) == 1 and not by_name[owner := next(iter(owners))][0]:
        _, createdb, _, create = by_name[owner]
        lacking = _lacking(session, plan, owner, createdb=createdb, create=create)
        first = f"run {'; '.join(lacking)}, and " if lacking else ""
        remedy = (
            f"Use --server to name the role {names} (first {first}let it log in), or a superuser."
        )
    raise RefusedError(
        f"the role {quoted(user)} is no superuser and does not own all that moves, which belongs "
        f"to {names}",
        remedy=remedy,
    )


def _lacking(session: Session, plan: Plan, role: str, *, createdb: bool, create: bool) -> list[str]:
    statements = [] if createdb else [f"ALTER ROLE {quoted(role)} CREATEDB"]
    if not create:
        on = quoted(session.database)
        statements.append(f"GRANT CREATE ON DATABASE {on} TO {quoted(role)}")
    of_others = [
        f"{each.kind} {each.identity}" for each in plan.own if each.owner not in ("", role)
    ]
    types = [each.key[1] for each in plan.own if each.kind == "TYPE"]
    params = {"relations": [*plan.moving], "types": types}
    rows = queried(session, "looking at owners", "transfer/parts_to_move", params)
    of_others += [
        f"{kind} {name}"
        for kind, name, _, owner in rows
        if owner != role and (kind != "TYPE" or session.server_version < MULTIRANGE_FOLLOWS_SINCE)
    ]
    return [*statements, *(f"ALTER {each} OWNER TO {quoted(role)}" for each in of_others)]


# Evaluated code may ignore a cancel, and the server does not notice that its client is gone.
_END: Final = "select pg_catalog.pg_terminate_backend(%s, 10000)"
Reading = Callable[[], AbstractContextManager[Server]]  # as a role that may read and evaluate


def problems(
    session: Session, plan: Plan, reading: Reading, *, superuser: bool, bypass_rls: bool
) -> list[Problem]:
    """Report everything on the source that stands in the way.

    The role of ``reading`` does the evaluating. ``superuser`` says whether the session's role is
    one. Raises `RefusedError` and `UnreachableError`.
    """
    return [
        *plan.crossing,
        *_lookalikes(plan),
        *_relations(plan, bypass_rls=bypass_rls),
        *_bodies(session, plan, reading),
        *_privileged(session, plan),
        *(_superusers(session, plan) if superuser else ()),
    ]


def _lookalikes(plan: Plan) -> Iterator[Problem]:
    prefixes = tuple(prefix.lower() for prefix in plan.service.prefixes)
    for relation in plan.staying:
        label, what = repr(relation.label()), ""
        if relation.owner_table is not None:
            continue
        if plan.service.lists(relation.name, f"{relation.schema}.{relation.name}"):
            what = f"the registry lists {label} for the service, but here it may belong to another"
        elif not relation.name.lower().startswith(prefixes):
            continue
        elif claimant(relation.name, {plan.service.name: plan.service}) is None:
            what = f"{label} looks like the service's but has another spelling"
        elif relation.extension:
            yield Problem(
                f"extension:{relation.identity}",
                f"{label} looks like the service's but belongs to an extension",
                "Agree: the extension creates its own in the target.",
            )
        if what:
            yield Problem(
                f"lookalike:{relation.identity}",
                what,
                f"Add --with {relation.identity} if it is the service's, or agree that it stays.",
            )


def _relations(plan: Plan, *, bypass_rls: bool) -> Iterator[Problem]:
    for relation in plan.relations:
        if relation.kind == "f":
            yield Problem(
                f"foreign_table:{relation.identity}",
                f"{relation.label()!r} is a foreign table; its rows are on another server",
                "Agree: its definition moves, and the transfer does not compare its rows.",
            )
        if relation.forced_rls and not bypass_rls:
            yield final(
                f"rls:{relation.identity}",
                f"{relation.label()!r} forces row-level security on its owner, and this role does "
                "not bypass it",
                "Run ALTER ROLE ... BYPASSRLS, or use another role.",
            )


def _bodies(session: Session, plan: Plan, reading: Reading) -> Iterator[Problem]:
    """Try each expression that a restore evaluates, with the empty search_path that it has."""
    asked = {"oids": [relation.oid for relation in plan.relations if relation.kind in "rpm"]}
    rows = queried(session, "looking at expressions", "transfer/evaluated_expressions", asked)
    if not rows:
        return
    with reading() as server, closing(server.session(session.database)) as reader:
        reader.connection.execute("begin read only")
        pid = reader.connection.info.backend_pid
        try:
            failures = [
                failure
                for kind, name, oid, expression in rows
                if not reader.connection.broken
                and (failure := _fails(reader, plan.source.relations[oid], kind, name, expression))
            ]
        finally:
            if reader.connection.info.transaction_status != _Status.INTRANS:
                end = "ending a session of ours"
                with translated(end, remedy="End it; run the transfer again."):
                    session.connection.execute(_END, [pid])
    yield from failures


def _fails(
    session: Session, relation: Relation, kind: str, name: str, expression: str
) -> Problem | None:
    key, what = f"body:{relation.identity}.{name}", f"the {kind} {name!r} of {relation.label()!r}"
    table = sql.Identifier(relation.schema, relation.name).as_string(session.connection)
    query = f"select {expression} from only {table} limit 1"  # noqa: S608  the server's own words
    if relation.kind == "p":
        query = query.replace(" from only ", " from ", 1)
    settings = (
        "set local search_path = ''; set local lock_timeout = '1s';"
        f" set local statement_timeout = {int(child.SILENT_S * 1000)}"
    )
    patience = session.patience(child.SILENT_S + WORD_S)  # evaluated code may go on
    try:
        with session.savepoint(settings, undone=True), patience:
            session.connection.execute(query.encode())
    except errors.InsufficientPrivilege:
        return None  # the restore's role owns what it calls; this one may not call it
    except errors.LockNotAvailable:
        return None  # `locks.locked` reports it
    except (errors.QueryCanceled, NoAnswerError):
        return Problem(
            key,
            f"{what} takes more than {child.SILENT_S:.0f} s for one row",
            "Change the function that it calls, or agree: the restore evaluates it for each row "
            "while writers wait.",
        )
    except (errors.ProgrammingError, errors.InternalError_, errors.DataError) as error:
        return final(
            key,
            f"{what} fails in a restore: {error.diag.message_primary or type(error).__name__}",
            "Run ALTER FUNCTION ... SET search_path for the function that it calls, or qualify "
            "the names in its body.",
        )
    return None


def _privileged(session: Session, plan: Plan) -> Iterator[Problem]:
    rows = queried(session, "looking at what a superuser made", "transfer/privileged_objects")
    for catalog, oid, kind, identity in rows:
        if (catalog, oid) not in plan.left_out:
            yield final(
                f"superuser:{identity}",
                f"only a superuser may create the {kind} {identity}, and the transfer restores "
                "no code as a superuser",
                "Drop it, or make it part of an extension (ALTER EXTENSION ... ADD).",
            )


def event_triggers(session: Session) -> list[Problem]:
    """Report event triggers that would run as a superuser, whatever the session sets."""
    if not superuser(session):
        return []
    doing = "looking at event triggers"
    rows = queried(session, doing, "transfer/unavoidable_event_triggers")
    return [
        final(
            f"event_trigger:{name}",
            f"the event trigger {name!r} fires in every session, and would run as a superuser",
            f"Run ALTER EVENT TRIGGER {quoted(name)} {mend} until the command is done.",
        )
        for name, mend in rows
    ]


def _superusers(session: Session, plan: Plan) -> Iterator[Problem]:
    yield from event_triggers(session)
    mappings = queried(session, "looking at user mappings", "transfer/user_mappings")
    for catalog, oid, name in mappings:
        if (catalog, oid) in plan.left_out:
            continue
        yield Problem(
            f"user_mapping:{name}",
            f"the user mapping of server {name} has options, such as a password",
            "Agree, and run ALTER USER MAPPING in the target, which gets the mapping without them.",
        )
