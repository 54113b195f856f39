"""What a start would do now, and why: for a person before a deploy, or a job that branches on it.

It reads what a start reads, decides by the same code, and writes nothing: it takes no lock, creates
nothing and runs no program. A start may find something else when it comes.
"""

import time
from contextlib import closing
from functools import partial
from typing import Final

from ..config.environment import Environment, forget_libpq_variables
from ..config.keys import STEPS
from ..config.load import load
from ..config.settings import Settings
from ..operator.report import LastPush, Planned, PlannedStep
from ..postgres import ledger, opening
from ..postgres.cause import Kind
from ..postgres.session import Session, open_session
from . import extensions, former, under_lock, wait
from .plan import Action, Decision, StartPlan, refuse_older
from .seed_check import is_there

WORK: Final = 11  # the exit code if a start would have work
MAX_WAIT_S: Final = 10.0  # seconds; a start waits longer, as nobody watches it
_MISSING: Final = Decision(Action.RUN, "first")


def forecast(environ: Environment) -> Planned:
    """Look at the server once, and decide.

    Blocks for `MAX_WAIT_S` seconds for the server, and for `seed.check`. Raises what a start would
    raise before it works: `SettingsError`, `UnreachableError`, `RefusedError`, and `PushError` for
    an older release that ``push.on_older`` fails.
    """
    config = load(environ, look=former.look)
    plan = StartPlan.of(config)
    target = config.direct or config.database
    forget_libpq_variables()
    if target is None or config.skip >= set(STEPS):
        none = PlannedStep(action="skip", reason="ENTRYPOINT_SKIP")
        return Planned(service=config.service, push=none, seed=none)
    name = opening.application_name(config.service)
    connect = partial(open_session, application_name=name, patience_s=opening.PATIENCE_S)
    deadline = time.monotonic() + min(config.wait_timeout_s, MAX_WAIT_S)
    reached = wait.until_answered(target, connect, deadline=deadline)
    base = Planned(
        service=config.service,
        server=target.where(),
        database=target.database,
        push=_without(config, "push"),
        seed=_without(config, "seed"),
    )
    if isinstance(reached, Session):
        with closing(reached):
            return base.model_copy(update=_found(plan, reached))
    unclear = reached.text if reached.kind is Kind.UNCLEAR else None
    update = {"exists": False, "unclear": unclear, "extensions": list(config.extensions)}
    return base.model_copy(update=update)


def exit_code(answer: Planned) -> int:
    """`WORK` if a start would create, push, seed or make extensions, else 0."""
    runs = "run" in (answer.push.action, answer.seed.action)
    return WORK if runs or answer.exists is False or answer.extensions else 0


def _without(config: Settings, step: str) -> PlannedStep:
    reason = config.no_work(step)
    return _told(Decision(Action.SKIP, reason) if reason else _MISSING)


def _told(decision: Decision) -> PlannedStep:
    return PlannedStep(
        action="run" if decision.runs else "skip", reason=decision.reason, tenant=decision.tenant
    )


def _found(plan: StartPlan, session: Session) -> dict[str, object]:
    """What a start would find in its database, and do."""
    config = plan.config
    found = ledger.look(session)
    if plan.owned_by_stranger(found):
        raise under_lock.owned_by_stranger(session, found.stranger)
    push = plan.push(found)
    refuse_older(push)
    seed = plan.seed(found, partial(is_there, session))
    fields: dict[str, object] = {
        "exists": True,
        "extensions": extensions.missing(session, config.extensions),
        "push": _told(push),
        "seed": _told(seed),
    }
    for last in found.ledger.of(config.service)[-1:]:
        at, release, host, elapsed_s = last.at, last.release, last.host, last.elapsed_s
        fields["last_push"] = LastPush(at=at, release=release, host=host, elapsed_s=elapsed_s)
    return fields
