"""The commands: plan, move, put back, remove."""

from collections.abc import Callable, Collection
from contextlib import closing
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING, Final, NamedTuple

import psycopg

from ...environment import Environment
from ...errors import TransferError
from ...postgres.session import Session, translated
from . import elsewhere, folder, locks, offline, preflight, quarantine, run
from . import target as target_module
from . import tools as tools_module
from .asked import Ends
from .plan import Plan
from .preflight import Problem
from .progress import Progress
from .rows import Counted
from .target import Target

if TYPE_CHECKING:
    from ..report import MovedObject, Transferred

_KINDS: Final = {
    "r": "table",
    "p": "partitioned table",
    "v": "view",
    "m": "materialized view",
    "S": "sequence",
    "f": "foreign table",
}


class Prepared(NamedTuple):
    """A plan, what stands in its way, and what it runs with."""

    plan: Plan
    target: Target
    tools: tools_module.Tools
    problems: list[Problem]
    superuser: bool
    without: list[str]

    def refused(self, allowed: Collection[str]) -> list[Problem]:
        """What was not agreed to."""
        return [each for each in self.problems if not (each.allowable and each.name in allowed)]


def prepare(session: Session, ends: Ends, plan: Plan) -> Prepared:
    """Look for what stands in the plan's way, in the session's open transaction."""
    more = offline.owners(session, plan) if ends.options.offline else []
    superuser, bypass = preflight.rights(session, plan, more)
    problems = preflight.problems(session, plan, bypass_rls=bypass)
    place, others = target_module.look(ends.target, plan, _owner(plan))
    with closing(ends.target.open()) as there:
        if ends.target is not ends.source:
            problems += elsewhere.problems(session, there, plan)
            superuser = superuser and elsewhere.superuser(there)
        versions = session.server_version, there.server_version
    found = tools_module.find(Environment.of_container(), *versions)
    without = [each.schema for each in quarantine.find(session)]
    return Prepared(plan, place, found, problems + others, superuser, without)


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
    session: Session, ends: Ends, prepared: Prepared, progress: Progress, since: str | None = None
) -> "Transferred":
    """Move everything that the plan says; ``since`` as `run.Transfer` has it, which raises."""
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
        prepared.superuser,
        progress,
        prepared.without,
        since,
        ends.options.checksum,
    )
    moved = work.go(session)
    answer = describe(ends, prepared._replace(plan=plan))
    counted = {each.relation.label(): each for each in moved.counted}
    name, service = prepared.target.name, ends.service.name
    return answer.model_copy(
        update={
            "result": "moved",
            "objects": [_counted(each, counted.get(each.object)) for each in answer.objects],
            "left_out": moved.left,
            "facts": moved.facts,
            "durations_s": progress.durations,
            "quarantine": moved.quarantine,
            "kept_database": moved.kept,
            "url": prepared.target.server.conninfo.with_database(name).safe(),
            "next": [
                f"entrypoint url {service} --env --show-password",
                f"entrypoint verify --service {service}",
                f"entrypoint transfer {service} --undo",
                f"entrypoint transfer {service} --drop-quarantine",
            ],
        }
    )


def _counted(each: "MovedObject", counted: Counted | None) -> "MovedObject":
    if counted is None:
        return each
    return each.model_copy(update={"rows": counted.rows, "checksum": counted.checksum})


def describe(ends: Ends, prepared: Prepared) -> "Transferred":
    """The plan as an answer."""
    from ..report import MovedObject, Obstacle

    plan = prepared.plan
    return ends.answer(
        "planned",
        objects=[
            MovedObject(
                kind=_KINDS[each.kind],
                object=each.label(),
                reason=plan.moving[each.oid],
                rows=each.rows if each.kind in "rm" else None,
                size_bytes=each.size_bytes,
            )
            for each in plan.relations
        ],
        along=[f"{each.kind.lower()} {each.identity}" for each in plan.carried],
        extensions=list(plan.source.extensions),
        settings=[setting for _, setting in plan.source.settings],
        large_objects=plan.source.large_objects,
        stays=sorted(each.label() for each in plan.staying),
        obstacles=[
            Obstacle(
                name=each.name,
                message=each.message,
                remedy=each.remedy,
                allowable=each.allowable,
                allowed=each.allowable and each.name in ends.options.allowed,
            )
            for each in prepared.problems
        ],
        size_bytes=plan.size_bytes,
        estimate_s=plan.estimate_s,
    )


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
        if not ends.options.offline:
            return move(session, ends, prepared, progress)
    try:
        with progress.of("copy"):
            since = offline.copy(ends.source, ends.options.database, prepared.target)
        with closing(locks.open_source(ends.source, ends.options.database)) as session:
            return move(session, ends, prepared, progress, since)
    except BaseException:
        target_module.clean(ends.target, prepared.target.incoming)
        raise
