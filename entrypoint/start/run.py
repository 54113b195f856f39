"""The container start, in order: settings, gates, wait, database, push, seed, handoff."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NoReturn

from .. import __version__, log
from ..config import registry as services
from ..config.conninfo import Conninfo
from ..config.environment import Environment, forget_libpq_variables
from ..config.keys import STEPS
from ..config.load import load
from ..config.settings import Lying
from ..errors import UnreachableError
from ..health import progress, state
from ..postgres import ledger, sessions
from ..postgres.session import PATIENCE_S, Session, open_session
from ..postgres.sql import load_sql
from . import budget, database, handoff, wait
from .plan import Action, StartPlan, tell_skipped
from .steps import since, step


def run(argv: tuple[str, ...]) -> NoReturn:
    """Do everything that `prepare` does, then become the service. Raises any error in `errors`."""
    started = time.monotonic()
    progress.begin()
    with step("settings"):
        environ = Environment.of_container()
        service = handoff.find(argv, environ)
        plan = _load(environ)
    _prepare(plan)
    with step("handoff"):
        progress.over(state.STARTED)
        log.event("info", "handoff.executed", argv=list(argv), elapsed_s=since(started))
        handoff.become(service, plan.config.service_environment)


def refuse(arguments: Sequence[str]) -> NoReturn:
    """Fail as a start does, with the `UsageError` of a misused command line."""
    progress.begin()
    with step("settings"):
        from . import shapes

        raise shapes.misused(arguments)


def prepare() -> None:
    """Do everything but the handoff, for an init container, a Job or a pre-deploy step."""
    started = time.monotonic()
    progress.begin()
    with step("settings"):
        plan = _load(Environment.of_container())
    _prepare(plan)
    progress.over(state.PREPARED)
    log.event("info", "prepare.finished", elapsed_s=since(started))


def _prepare(plan: StartPlan) -> None:
    config = plan.config
    target = config.direct or config.database
    if target is None or config.skip >= set(STEPS):
        for name in (*(["gates"] if config.gates else []), "wait", "database", *STEPS):
            log.event("info", f"{name}.skipped", reason="ENTRYPOINT_SKIP")
        return
    if config.gates:
        from . import gates  # only a start with gates needs it

        with step("gates", count=len(config.gates)):
            gates.wait(config.gates, config.service)
    forget_libpq_variables()
    name = sessions.application_name(config.service)
    connect = partial(open_session, application_name=name, patience_s=PATIENCE_S)
    probe = load_sql("postgres/probe") if plan.provable else ""
    deadline = time.monotonic() + config.wait_timeout_s
    options = database.CreateOptions(
        config.admin or target, config.maintenance_databases, config.isolate
    )
    with step("wait") as fields:
        reached = wait.until_answered(
            target,
            partial(connect, probe=probe),
            deadline=deadline,
            ask=partial(database.ask, target, options, connect),
        )
        fields["server"] = target.where()
    with step("database") as fields:
        session, created = database.database(target, reached, options, connect, deadline)
        fields |= {"created": created, "database": session.database, "pooled": session.pooled}
    own, known = config.database or target, None
    if config.direct:
        with step("connection", variable=own.variable):
            with suppress(UnreachableError):  # as_service fails again then
                known = database.place(session)
            # A pooler remembers for a while that a new database did not exist.
            late = time.monotonic() + database.AFTER_CREATE_S if created else deadline
            database.as_service(own, config.direct, known, connect, max(deadline, late))
    left_s = max(0.0, deadline - time.monotonic())
    found = ledger.found(session.probed) if session.probed else None
    if found and (others := found.ledger.others(config.service)):
        log.event(
            "warning",
            "database.shared",
            database=session.database,
            services=others,
            remedy="Give each service its own database. If one of these is a former name of this "
            "service, set ENTRYPOINT_FORCE=push for one start, which forgets that name.",
        )
    if found and found.leftovers:
        from ..postgres import leftovers  # only a start that finds some needs it

        leftovers.remove(session)
    if (found or config.idle) and _proved(plan, found or ledger.UNKNOWN, session):
        session.close()
        return
    from . import under_lock  # no warm start needs it

    under_lock.work(plan, target, session, connect)
    # A push may change its own role, and other replicas may have held the lock for long.
    with step("connection", variable=own.variable):
        database.as_service(own, config.direct, known, connect, time.monotonic() + left_s)


def _proved(plan: StartPlan, found: ledger.Found, session: Session) -> bool:
    """Whether the ledger proves that no step has work; then logs why each is skipped."""
    push = plan.push(found)
    if plan.owned_by_stranger(found) or push.runs:
        return False
    seed = plan.seed(found, session)
    if seed.runs or push.action is Action.FAIL or plan.to_record(found):
        return False
    tell_skipped("push", push, found.ledger, plan.config.service)
    tell_skipped("seed", seed, found.ledger, plan.config.service)
    return True


def _look(
    named: Conninfo, own: services.Service, registry: Mapping[str, services.Service]
) -> Lying | None:
    from . import former  # only a start that fails needs it

    return former.look(named, own, registry)


def _load(environ: Environment) -> StartPlan:
    config = load(environ, Path(), _look)
    progress.service(config.health_url, config.health_problem)
    if config.service:
        log.bind(service=config.service)
    log.event(
        "info",
        "entrypoint.started",
        version=__version__,
        release=config.release,
        **({"release_ignored": config.release_ignored} if config.release_ignored else {}),
        database_url=config.database.safe() if config.database else None,
        budget_s=budget.longest_s(config),
    )
    for reason, remedy in config.incomplete:
        log.event("warning", "settings.gap_found", reason=reason, remedy=remedy)
    if config.health_problem:
        log.event(
            "warning",
            "health.url_ignored",
            reason=config.health_problem,
            remedy="Set the variable, or give it a default as in ${PORT:-4001}.",
        )
    return StartPlan.of(config)
