"""The container start, in order: settings, gates, wait, database, push, seed, handoff."""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

from .. import __version__, log
from ..config import registry as services
from ..config.conninfo import Conninfo
from ..config.environment import Environment, forget_libpq_variables
from ..config.keys import STEPS
from ..config.load import load
from ..config.settings import Lying
from ..health import progress, state
from ..postgres import opening
from ..process import signals
from . import budget, handoff, proof
from .plan import StartPlan
from .steps import since, step

if TYPE_CHECKING:
    from .full import Full


def run(argv: tuple[str, ...]) -> NoReturn:
    """Do everything that `prepare` does, then become the service. Raises any error in `errors`."""
    started = time.monotonic()
    progress.begin()
    with step("settings"):
        environ = Environment.of_container()
        service = handoff.find(argv, environ)
        plan = _load(environ)
    _prepare(plan)
    with step("handoff", brief=True):
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
    name = opening.application_name(config.service)
    with step("wait") as fields:
        began = time.monotonic()
        way = proof.look(plan, target, name) or _in_full(plan, target, name, began)
        fields["server"] = target.where()
    with step("database", brief=isinstance(way, proof.Proved)) as fields:
        fields.update(way.database())
    way.finish()


def _in_full(plan: StartPlan, target: Conninfo, name: str, began: float) -> "Full":
    left_s = began + plan.config.wait_timeout_s - time.monotonic()
    with signals.late():  # as all imports
        from .full import Full  # whose imports take longer than all else of a warm start

    return Full(plan, target, name, time.monotonic() + left_s)  # the imports are no wait


def _look(
    named: Conninfo, own: services.Service, registry: Mapping[str, services.Service]
) -> Lying | None:
    from . import former  # only a start that fails needs it

    return former.look(named, own, registry)


def _load(environ: Environment) -> StartPlan:
    config = load(environ, look=_look)
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
    if preview := config.preview:
        log.event(
            "info",
            "preview.found",
            preview=preview.id,
            named_by=preview.by,
            branch=preview.branch,
            database=config.database.database if config.database else None,
            changed=list(preview.changed),
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
