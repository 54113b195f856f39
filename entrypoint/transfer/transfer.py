"""Plan a transfer, look for what stands in its way, and move."""

from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import replace
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING

import psycopg

from ..config.environment import Environment
from ..errors import TransferError
from ..operator.server import Server
from ..postgres import quarantine as quarantines
from ..postgres.session import Session, translated
from . import archive, compatibility, locks, obstacle, preflight, rehearsal, sessions, throwaway
from . import target as target_module
from . import tools as tools_module
from .move import move
from .plan import Plan
from .preflight import Prepared
from .progress import Progress
from .report import NotAgreedError, describe
from .request import Request

if TYPE_CHECKING:
    from ..operator.report import Transferred


@contextmanager
def preparing(
    session: Session, request: Request, plan: Plan, progress: Progress
) -> Iterator[Prepared]:
    """Look for what stands in the plan's way, in the session's open transaction, and end that.

    Then rehearse the plan while watching other sessions. During the body a thread removes what the
    rehearsal made. Raises `RefusedError`, `UnreachableError` and `Terminated`.
    """
    superuser, bypass = preflight.rights(session, plan)
    with closing(sessions.begin(request.source, session, plan)) as watch:
        prepared = _prepare(session, request, plan, superuser=superuser, bypass=bypass)
        end(session)
        with rehearsal.rehearsed(session, request, prepared, progress) as failed:
            problems = [*prepared.problems, *failed, *watch.problems()]
            watch.close()
            yield prepared._replace(problems=obstacle.unique(problems))


def _prepare(
    session: Session, request: Request, plan: Plan, *, superuser: bool, bypass: bool
) -> Prepared:
    quick = replace(request.source, lock_timeout_s=locks.PLAN_S)

    def reading() -> AbstractContextManager[Server]:
        if superuser:
            return throwaway.reading(quick, session.database, plan)
        return nullcontext(quick)

    problems = preflight.problems(session, plan, reading, superuser=superuser, bypass_rls=bypass)
    apart = superuser, superuser
    problems += locks.problems(session, plan)
    owners = [each.owner for each in plan.relations] or [plan.source.owner]
    most = max(set(owners), key=owners.count)
    place, others = target_module.look((request.source, request.target), session, plan, most)
    with closing(request.target.open()) as there:
        other = request.target is not request.source
        if other:
            apart = superuser, throwaway.superuser(there)
        place, lacking = compatibility.look(session, there, plan, place, other=other)
        problems += lacking
        versions = session.server_version, there.server_version
    problems += archive.problems(session, plan, blobs=all(apart))
    found = tools_module.find(Environment.of_container(), *versions)
    without = [each.schema for each in quarantines.find(session)]
    return Prepared(plan, place, found, [*problems, *others], apart, without)


def _known(plan: Plan, extra: Collection[str]) -> None:
    """Raise `TransferError` for a ``--with`` that is unknown, ambiguous, or does not move."""
    extensions = {*plan.source.extensions.values()}
    for name in extra:
        found = [each for each in plan.source.relations.values() if name in each.names()]
        if not (found or name in extensions):
            raise TransferError(
                f"there is no {name!r} in the source",
                remedy="Correct --with: it takes a table, an extension, or SCHEMA.NAME.",
            )
        if len(found) > 1:
            full = sorted(f"{each.schema}.{each.name}" for each in found)
            raise TransferError(
                f"{name!r} is the name of {len(found)} objects: {', '.join(full)}",
                remedy="Add the schema: --with SCHEMA.NAME.",
            )
        if found and found[0].oid not in plan.moving and name not in extensions:
            raise TransferError(
                f"{name!r} cannot move on its own",
                remedy="Use --with to name the table whose column owns it, or the extension.",
            )


def begin(session: Session) -> None:
    """Begin to look at the source: one snapshot, read-only, with short waits for locks."""
    with translated("beginning to look", remedy="Run the command again."):
        session.connection.execute(
            "begin isolation level repeatable read read only; set local lock_timeout ="
            f" {int(locks.PLAN_S * 1000)}".encode()
        )


def end(session: Session) -> None:
    """Roll back what `begin` began."""
    try:
        session.connection.execute("rollback")
    except psycopg.Error:
        session.close()


def _nothing(session: Session, request: Request, plan: Plan, *, dry_run: bool) -> "Transferred":
    """The answer if nothing moves, because an earlier move did it or there is nothing."""
    before = [each.schema for each in quarantines.find(session, request.service.name)]
    if not before:
        _known(plan, request.extra)
    if not dry_run:
        target_module.tidy(request.target, request.service.database)
    lines = request.commands.moved() if before else []
    return request.answer("nothing to move", quarantine=before, next=lines)


def _in_its_place(database: str) -> TransferError:
    return TransferError(
        f"{database!r} is the service's own database: its objects are in place already",
        remedy="Use --from to name the database that the service shares with others.",
    )


def transfer(
    request: Request,
    *,
    dry_run: bool,
    agree: "Callable[[Transferred], None] | None",
    progress: Progress,
) -> "Transferred":
    """Plan, ask unless ``agree`` is None, and move. Raises `TransferError` for a refusal."""
    service, database = request.service, request.database
    own = database == service.database
    if own and request.target is request.source:
        raise _in_its_place(database)
    with closing(locks.open_source(request.source, database, alone=not dry_run)) as session:
        request, same = request.met(session)
        if own and same:
            raise _in_its_place(database)
        source, target = request.source, request.target
        # A dry run, too, removes what killed transfers left, because it makes such things itself.
        archive.remove_old()
        for server in {id(each): each for each in (source, target)}.values():
            rehearsal.remove_old(server)
            throwaway.remove_old(server)
        begin(session)
        plan = request.plan(session)
        if not plan.moving and not plan.own:
            return _nothing(session, request, plan, dry_run=dry_run)
        _known(plan, request.extra)
        with preparing(session, request, plan, progress) as prepared:
            obstacle.refuse_unknown(prepared.problems, request.allowed)
            if dry_run:
                return describe(request, prepared)
            if not all(obstacle.agreed(each, request.allowed) for each in prepared.problems):
                answer = describe(request, prepared)
                raise NotAgreedError(answer.model_copy(update={"result": "refused"}))
            if agree is not None:
                agree(describe(request, prepared))
            # Import what the answer needs (pydantic, rich) while the tools and the server work.
            Thread(target=import_module, args=("entrypoint.operator.render",)).start()
            jobs = request.jobs
            with (
                closing(locks.open_target(target, service.database)) as there,
                throwaway.hired(
                    (session, there), (source, target), plan, jobs, apart=prepared.apart
                ) as hands,
            ):
                return move(session, request, prepared, hands, progress)
