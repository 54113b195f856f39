"""The container start, in order: settings, wait, database, lock, push, seed, handoff."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

from .. import __version__, log, settings, signals
from ..environment import Environment, forget_libpq_variables
from ..errors import EntrypointError, RefusedError, SettingsError, Terminated
from ..fields import STEPS
from ..postgres import lock, sessions
from ..postgres.conninfo import Conninfo
from ..postgres.diagnosis import Cause, Kind
from ..postgres.session import Session, open_session
from ..settings import Settings
from . import child, database, handoff, push, seed, wait

AFTER_CREATE_S: Final = 15.0
"""Seconds in which a database that was just created must let us in."""

CLEANUP_S: Final = 5.0
"""Seconds in which a session must open that ends those of a child."""


def run(argv: tuple[str, ...]) -> NoReturn:
    """Start the service: everything `prepare` does, then exec.

    Nothing runs after a failed step. Raises what `errors` lists; does not return.
    """
    started = time.monotonic()
    with step("settings"):
        environ = Environment.of_container()
        service = handoff.find(argv, environ)
        config = _load(environ)
    _prepare(config)
    with step("handoff"):
        log.event("info", "handoff.exec", argv=list(argv), elapsed_s=_since(started))
        handoff.become(service, config.service_environment)


def prepare() -> None:
    """Everything but the handoff, for an init container, a Job or a pre-deploy step."""
    started = time.monotonic()
    with step("settings"):
        config = _load(Environment.of_container())
    _prepare(config)
    log.event("info", "prepare.finished", elapsed_s=_since(started))


def _prepare(config: Settings) -> None:
    target = config.direct or config.database
    if target is None or config.skip >= set(STEPS):
        for name in ("wait", "database", *STEPS):
            log.event("info", f"{name}.skipped", reason="ENTRYPOINT_SKIP")
        return
    forget_libpq_variables()
    name = sessions.application_name(config.service)
    connect = partial(open_session, application_name=name)
    deadline = time.monotonic() + config.wait_timeout_s
    with step("wait") as fields:
        reached = wait.until_answered(target, connect, deadline=deadline)
        fields["server"] = target.where()
    with step("database") as fields:
        session, fields["created"] = _database(config, target, reached, connect, deadline)
        fields |= {"database": session.database, "pooled": session.pooled}
    with step("lock", end="acquired"):
        reopen = partial(_session, target, connect, config.wait_timeout_s)
        held = lock.acquire(session, reopen, timeout_s=config.lock_timeout_s)
    with held:
        _extensions(config, target, held, connect)
        _push(config, target, held, connect)
        _seed(config, held, connect)


def _load(environ: Environment) -> Settings:
    config = settings.load(environ, Path())
    if config.service:
        log.bind(service=config.service)
    log.event(
        "info",
        "entrypoint.started",
        version=__version__,
        release=config.release,
        database_url=config.database.safe() if config.database else None,
    )
    if config.gates:
        log.event("warning", "gates.skipped", count=config.gates, reason="not waited for yet")
    problems = [
        f"{name}.command: {command[0]!r} is not found on PATH"
        for name, command in (("push", config.push.command), ("seed", config.seed.command))
        if command and name not in config.skip and not child.find(command, environ)
    ]
    if problems:
        raise SettingsError(
            problems, remedy="Correct the command, or install the program in the image."
        )
    return config


def _database(
    config: Settings,
    target: Conninfo,
    reached: Session | Cause,
    connect: wait.Connect,
    deadline: float,
) -> tuple[Session, bool]:
    """A session in the service's database, and whether it had to be created."""
    created = False
    if isinstance(reached, Session):
        session = reached
    else:
        admin = _maintenance(config, config.admin or target, connect, deadline)
        if admin is not None:
            with closing(admin):
                created = database.create(
                    admin,
                    target.database,
                    owner=target.user,
                    isolate=config.isolate,
                    deadline=deadline,
                )
        if created:
            log.event("info", "database.created", database=target.database, owner=target.user)
        late = max(deadline, time.monotonic() + AFTER_CREATE_S)
        session = wait.until_ready(target, connect, deadline=late)
    if session.database != target.database:
        session.close()
        raise SettingsError(
            [f"{target.variable} names {target.database!r} and leads to {session.database!r}"],
            remedy=f"Correct the pooler's alias, or name the database itself in {target.variable}.",
        )
    return session, created


def _maintenance(
    config: Settings, admin: Conninfo, connect: wait.Connect, deadline: float
) -> Session | None:
    """A session to create the database from; None when a pooler does not say what is wrong."""
    refusal: EntrypointError | None = None
    unclear = False
    for name in config.maintenance_databases:
        try:
            reached = wait.until_answered(admin.with_database(name), connect, deadline=deadline)
        except RefusedError as error:
            refusal = refusal or error
            continue
        if isinstance(reached, Session):
            return reached
        unclear = unclear or reached.kind is Kind.UNCLEAR
    if unclear:
        return None
    raise refusal or RefusedError(
        f"none of the databases {', '.join(config.maintenance_databases)} exists to create another "
        "from",
        remedy="Set ENTRYPOINT_MAINTENANCE_DATABASE to a database that this role may connect to.",
    )


def _session(conninfo: Conninfo, connect: wait.Connect, timeout_s: float) -> Session:
    return wait.until_ready(conninfo, connect, deadline=time.monotonic() + timeout_s)


def _extensions(config: Settings, target: Conninfo, held: lock.Held, connect: wait.Connect) -> None:
    missing = database.missing_extensions(held.session, config.extensions)
    if not missing:
        return
    with step("extensions") as fields:
        fields["created"] = missing
        # Not in the lock's transaction: the push could not see them before it ends.
        creator = (config.admin or target).with_database(target.database)
        with closing(_session(creator, connect, config.wait_timeout_s)) as session:
            database.create_extensions(session, missing)


def _push(config: Settings, target: Conninfo, held: lock.Held, connect: wait.Connect) -> None:
    if "push" in config.skip or not config.push.command:
        reason = "ENTRYPOINT_SKIP" if "push" in config.skip else "no push.command"
        log.event("info", "push.skipped", reason=reason)
        return
    with step("push") as fields:
        around = child.Surroundings(
            held,
            config.push_environment,
            config.service,
            partial(_session, target, connect, CLEANUP_S),
            pooled=held.session.pooled,
            lock_timeout_s=config.push.lock_timeout_s,
        )
        finished = push.run(config.push.command, config.push.timeout_s, around)
        fields["returncode"] = finished.returncode


def _seed(config: Settings, held: lock.Held, connect: wait.Connect) -> None:
    reason = seed.skip_reason(config.seed.command, config.seed.when, config.seed.tenant)
    if "seed" in config.skip or reason:
        log.event("info", "seed.skipped", reason=reason or "ENTRYPOINT_SKIP")
        return
    with step("seed") as fields:
        fields["tenant_id"] = config.seed.tenant
        assert config.database is not None  # noqa: S101  prepared only with one
        around = child.Surroundings(
            held,
            config.service_environment,
            config.service,
            partial(_session, config.database, connect, CLEANUP_S),
            # With a direct URL beside it, this one is there for a pooler.
            pooled=held.session.pooled or config.direct is not None,
            lock_timeout_s=config.push.lock_timeout_s,
        )
        finished = seed.run(config.seed.command, config.seed.timeout_s, around)
        fields["returncode"] = finished.returncode


@contextmanager
def step(name: str, *, end: str = "finished") -> Iterator[dict[str, object]]:
    """Log ``<name>.started`` and ``<name>.<end>``, with the fields that the body put in.

    A failure carries the step's name and its seconds to the one place that logs it.
    """
    started = time.monotonic()
    fields: dict[str, object] = {}
    try:
        log.event("info", f"{name}.started")
        yield fields
        signals.check()
    except (EntrypointError, Terminated) as error:
        error.step, error.elapsed_s = name, _since(started)
        raise
    log.event("info", f"{name}.{end}", **fields, elapsed_s=_since(started))


def _since(started: float) -> float:
    return round(time.monotonic() - started, 3)
