"""The commands: plan, move, put back, remove."""

from collections.abc import Callable, Collection
from contextlib import closing
from functools import partial
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING

import psycopg

from ...environment import Environment
from ...errors import TransferError
from ...postgres.session import Session, translated
from . import destination, elsewhere, folder, locks, preflight, quarantine, run, throwaway
from . import target as target_module
from . import tools as tools_module
from .asked import Ends
from .outcome import Prepared, describe, done
from .plan import Plan
from .progress import Progress
from .throwaway import Hands

if TYPE_CHECKING:
    from ..report import Transferred


def prepare(session: Session, ends: Ends, plan: Plan) -> Prepared:
    """Look for what stands in the plan's way, in the session's open transaction."""
    superuser, bypass = preflight.rights(session, plan)
    reading = partial(throwaway.reading, ends.source, session.database, plan) if superuser else None
    problems = preflight.problems(session, plan, reading, bypass_rls=bypass)
    apart = superuser, superuser
    place, others = destination.look(ends.target, session, plan, _owner(plan))
    with closing(ends.target.open()) as there:
        if ends.target is not ends.source:
            problems += elsewhere.problems(session, there, plan)
            apart = superuser, elsewhere.superuser(there)
        versions = session.server_version, there.server_version
    found = tools_module.find(Environment.of_container(), *versions)
    without = [each.schema for each in quarantine.find(session)]
    return Prepared(plan, place, found, problems + others, apart, without)


def _known(plan: Plan, extra: Collection[str]) -> None:
    names = {name for each in plan.relations for name in (each.name, f"{each.schema}.{each.name}")}
    if unknown := [name for name in extra if name not in names]:
        raise TransferError(
            f"there is no {', '.join(map(repr, unknown))} in the source",
            remedy="Correct --with: a table's name, or schema.name.",
        )


def _owner(plan: Plan) -> str:
    owners = [each.owner for each in plan.relations]
    return max(set(owners), key=owners.count) if owners else plan.source.owner


def move(
    session: Session, ends: Ends, prepared: Prepared, hands: Hands, progress: Progress
) -> "Transferred":
    """Move everything that the plan says; raises what `run.Transfer` does."""
    with progress.of("lock"):
        locks.take(session, prepared.plan)
        plan = ends.plan(session)
    if set(plan.moving) != set(prepared.plan.moving):
        raise TransferError(
            "somebody made or dropped tables of the service meanwhile",
            remedy="Run the transfer again.",
        )
    progress.total_bytes = plan.size_bytes
    work = run.Transfer(
        ends.source,
        plan,
        prepared.target,
        prepared.tools,
        Environment.of_container(),
        ends.options.jobs,
        all(prepared.apart),
        progress,
        prepared.without,
        hands,
    )
    moved = work.go(session)
    return done(ends, prepared._replace(plan=plan), moved, progress.durations)


def begin(session: Session) -> None:
    """Begin to look at the source: one moment, nothing written."""
    with translated("beginning to look", remedy="Start again."):
        session.connection.execute("begin isolation level repeatable read read only")


def end(session: Session) -> None:
    """End what `begin` began."""
    try:
        session.connection.execute("rollback")
    except psycopg.Error:
        session.close()


def _nothing(session: Session, ends: Ends, plan: Plan, *, dry_run: bool) -> "Transferred":
    """The answer where nothing moves, because it did before or was never there."""
    if not quarantine.find(session, ends.service.name):
        _known(plan, ends.options.extra)
    if not dry_run:
        target_module.tidy(ends.target, ends.service.database)
    return ends.answer("nothing to move")


def transfer(
    ends: Ends,
    *,
    dry_run: bool,
    agree: "Callable[[Transferred], None] | None",
    progress: Progress,
) -> "Transferred":
    """Plan, ask unless ``agree`` is None, and move. Raises `TransferError` for what was refused."""
    with closing(locks.open_source(ends.source, ends.options.database)) as session:
        if not dry_run:
            folder.remove_old()
            for server in {id(each): each for each in (ends.source, ends.target)}.values():
                throwaway.remove_old(server)
        begin(session)
        plan = ends.plan(session)
        if not plan.moving and not plan.own:
            return _nothing(session, ends, plan, dry_run=dry_run)
        _known(plan, ends.options.extra)
        prepared = prepare(session, ends, plan)
        end(session)
        if dry_run:
            return describe(ends, prepared)
        if refused := prepared.refused(ends.options.allowed):
            raise TransferError(
                f"{len(refused)} things stand in the way: "
                + "; ".join(f"[{each.name}] {each.message}" for each in refused),
                remedy="Mend each, or agree to it by --allow NAME where that is possible: "
                + " ".join(f"[{each.name}] {each.remedy}" for each in refused),
                obstacles=[each.name for each in refused],
            )
        if agree is not None:
            agree(describe(ends, prepared))
        # What the answer needs (pydantic, rich) is loaded while the tools and the server work.
        Thread(target=import_module, args=("entrypoint.operator.show",)).start()
        servers = ends.source, ends.target
        with (
            closing(locks.open_target(ends.target, ends.service.database)) as there,
            throwaway.hired(
                (session, there), servers, plan, ends.options.jobs, apart=prepared.apart
            ) as hands,
        ):
            return move(session, ends, prepared, hands, progress)
