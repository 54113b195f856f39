"""Steps 4 and 5 under the lock, and their ledger. Only a start with work to do imports it."""

import gc
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from .. import log
from ..config.conninfo import Conninfo
from ..config.keys import bare
from ..errors import LockError, RefusedError, SeedError, UnreachableError
from ..postgres import ledger, lock, opening, ownership, placement
from ..postgres.session import Session
from ..postgres.sql import quoted
from ..process import child
from . import extensions, misplaced, program, push, seed, wait
from .plan import FORCED, Action, Decision, StartPlan, older, refuse_older, tell_skipped
from .seed_check import is_there
from .steps import step

CLEANUP_S: Final = 5.0  # seconds to open a session that ends a child's sessions


def work(plan: StartPlan, target: Conninfo, session: Session, connect: wait.Connect) -> None:
    """Take the lock, look again, run the steps that have work, and record them.

    Records what succeeded before a failure, too. Always closes the session. Raises `LockError`,
    `PushError`, `SeedError`, `RefusedError`, `UnreachableError` and `Terminated`.
    """
    gc.freeze()  # a first collection of all that the imports made would take 15 ms
    gc.enable()  # the children run much longer than a warm start
    config = plan.config
    with step("lock", end="acquired"):
        deadline = time.monotonic() + config.lock_timeout_s

        def reopen() -> Session:
            left_s = deadline - time.monotonic()
            return _session(target, connect, min(left_s, config.wait_timeout_s))

        held = lock.acquire(session, reopen, timeout_s=config.lock_timeout_s)
    with held:
        try:
            _work(plan, target, held, connect)
            child.reap()  # PID 1 inherited the children's orphans; the service must not
        except UnreachableError as error:
            if not held.broken:
                raise
            # Any statement may notice the loss first; another start may be at work by now.
            lost = held.lost_error()
            lost.message += f" ({error.message})"
            lost.step, lost.elapsed_s = error.step, error.elapsed_s
            raise lost from None


def _work(plan: StartPlan, target: Conninfo, held: lock.Held, connect: wait.Connect) -> None:
    found = ledger.look(held.session)
    if found.ledger.problem:
        log.event("warning", "ledger.ignored", reason=found.ledger.problem)
    if plan.owned_by_stranger(found):
        raise owned_by_stranger(held.session, found.stranger)
    _tell_exposed(plan, held)
    record = _Record(plan, held, found)
    try:
        _extensions(plan, target, held, connect)
        _push(plan, target, record, found, connect)
        _seed(plan, record, connect)
    except LockError:
        raise  # without the lock nothing may be recorded
    except BaseException:
        with suppress(UnreachableError):  # the first failure is the one to report
            record.write()
        raise
    record.see()
    record.write()


def owned_by_stranger(session: Session, owner: str | None) -> RefusedError:
    """The error of a start that finds an existing database of somebody else's."""
    user, name = session.connection.info.user, session.database
    error = RefusedError(
        f"the existing database {name!r} belongs to {owner!r}; neither {user!r} nor a role that "
        f"{user!r} is a member of owns it or anything in it",
        remedy="Find out who created it. If it is the service's, run ALTER DATABASE "
        f"{quoted(name)} OWNER TO {quoted(user)}, or accept its owner by "
        f"ENTRYPOINT_DATABASE_OWNER={owner}; if not, let its owner drop it and start again.",
    )
    error.step = "database"
    return error


def _tell_exposed(plan: StartPlan, held: lock.Held) -> None:
    """Warn of PUBLIC's rights in a database that should be closed to other roles."""
    if plan.config.isolate and (found := ownership.exposed(held.session)):
        log.event(
            "warning",
            "database.exposed",
            database=held.session.database,
            public_may=list(found),
            remedy=f"Run {'; '.join(found.values())}.",
        )


@dataclass
class _Record:
    """The ledger to write at the end of the lock, and the schema that it describes."""

    plan: StartPlan
    held: lock.Held
    found: ledger.Found

    def __post_init__(self) -> None:
        self.before, self.looked = self.found.ledger, False
        mark = self.plan.mark(self.before)
        if mark and self.before.writable:
            self.book = self.before._replace(preview=mark)

    @property
    def book(self) -> ledger.Ledger:
        return self.found.ledger

    @book.setter
    def book(self, changed: ledger.Ledger) -> None:
        self.found = self.found._replace(ledger=changed)

    def damaged(self, damages: Sequence[ledger.Damage]) -> None:
        self.book = self.book._replace(damages=tuple(damages)[-ledger.MAX_DAMAGES :])

    def record_loss(self, pushed: push.Pushed) -> None:
        """Record what a push lost; if it removed a table's rows, no tenant counts as seeded."""
        if told := pushed.loss.told():
            losses = ledger.Losses(tuple(told), self.plan.config.release, opening.host(), _now())
            self.book = self.book.with_losses(losses)
        if pushed.emptied:
            self.book = self.book._replace(seeds={})

    def pushed(self, pushed: push.Pushed, decision: Decision) -> None:
        """Record a push with the schema's fingerprint after it, which later starts compare."""
        self._saw(pushed.after)
        if pushed.after.catalog is None:
            remedy = "No action needed: the next start pushes again."
            self._not_written("another session is changing the schema", remedy)
            return
        if decision.reason == FORCED:
            mine = self.book.of(self.plan.config.service)
            self.book = self.book._replace(pushes=mine)
        self._current(round(pushed.elapsed_s, 3))

    def current(self) -> None:
        """Record that this release is current, although it had nothing to push."""
        if self.plan.is_new(self.found):
            self._current()

    def seeded(self, tenant: str | None) -> None:
        """Record a seed; its tables are no drift if the schema before it was the push's."""
        who = self.plan.who
        key = self.book.key(tenant, who.service)
        self.book = self.book.seeded(key, self.plan.seed_fingerprint or "", _now())
        before = self.found.catalog
        self._saw(ledger.look(self.held.session, to_record=True))
        mine, after = self.book.of(who.service), self.found.catalog
        if not mine or mine[-1].fingerprint != who.fingerprint:
            return
        if mine[-1].catalog and mine[-1].catalog == before and after:
            self.book = self.book.pushed(mine[-1]._replace(catalog=after))

    def _saw(self, after: ledger.Found) -> None:
        self.found, self.looked = after._replace(ledger=self.book), True

    def _current(self, elapsed_s: float | None = None) -> None:
        """Record this start as the last one; ``elapsed_s`` is its push's, if it pushed."""
        who, pushes = self.plan.who, self.book.of(self.plan.config.service)
        same = next((p for p in pushes if p.fingerprint == who.fingerprint), None)
        # A late replica of the release before, with the same inputs, does not become the newest.
        late = older(self.book, self.found.catalog, who) and same is pushes[-1]
        release = () if late or who.release is None else (who.release,)
        service = who.service or (same.service if same else None)
        if elapsed_s is None and same:
            self.book = self.book.pushed(same._replace(releases=release, service=service))
            return
        record = ledger.PushRecord(
            fingerprint=who.fingerprint or "",
            catalog=(self.found.catalog or "") if self.plan.config.push.command else "",
            releases=release,
            host=opening.host(),
            at=_now(),
            elapsed_s=elapsed_s or 0.0,
            service=service,
            older=older(self.before, None, who) and not late,
        )
        self.book = self.book.pushed(record)

    def see(self) -> None:
        """Look at the schema's state for an entry that no push and no seed looked for."""
        if self.book == self.before or self.looked:
            return
        after = ledger.look(self.held.session, to_record=True)
        if after.catalog == self.found.catalog:  # else the next start looks for itself
            self._saw(after)

    def write(self) -> None:
        """Write the ledger if it changed; log a failure to write, and go on."""
        if self.book == self.before:
            return
        self.book = self.book._replace(seen=self.found.seen)
        session = self.held.session
        if not self.book.writable:
            why = self.book.problem or "the role does not own the database"
            remedy = (
                "Use an image with the current version of entrypoint."
                if self.book.problem
                else f'Run ALTER DATABASE "{session.database}" OWNER TO the role of the '
                "database's URL, or GRANT the owner to it; until then every start pushes and seeds."
            )
            self._not_written(why, remedy)
            return
        try:
            ledger.write(session, self.book)
        except (RefusedError, UnreachableError) as error:
            if self.held.broken:
                raise
            self._not_written(error.message, error.remedy)

    def _not_written(self, reason: str, remedy: str) -> None:
        log.event("warning", "ledger.not_written", reason=reason, remedy=remedy)


def _extensions(plan: StartPlan, target: Conninfo, held: lock.Held, connect: wait.Connect) -> None:
    config = plan.config
    missing = extensions.missing(held.session, config.extensions)
    if not missing:
        return
    with step("extensions") as fields:
        fields["created"] = missing
        # Not in the lock's transaction, whose changes the push could not see. The service's own
        # role has enough rights to create most extensions, so it tries first.
        with closing(_session(target, connect, config.wait_timeout_s)) as session:
            where, last = extensions.schema(session), config.admin is None
            missing = extensions.create(session, missing, where, last=last)
        if missing and config.admin:
            admin = config.admin.with_database(target.database)
            with closing(_session(admin, connect, config.wait_timeout_s)) as session:
                extensions.create(session, missing, where, last=True)


def _push(
    plan: StartPlan, target: Conninfo, record: _Record, found: ledger.Found, connect: wait.Connect
) -> None:
    config, held = plan.config, record.held
    decision = plan.push(found)
    if decision.action is Action.SKIP:
        tell_skipped("push", decision, found.ledger, config.service)
        record.damaged(push.look_again(config.push, held.session, record.book.damages))
        record.current()
        return
    with step("push", reason=decision.reason) as fields:
        refuse_older(decision)
        context = program.ChildContext(
            held,
            config.push_environment,
            config.service,
            partial(_session, target, connect, CLEANUP_S),
            same_role=True,
            pooled=held.session.pooled,
            lock_timeout_s=config.push.lock_timeout_s,
        )
        prefixes = config.registered.beginnings() if config.registered else ()
        opened = partial(_guard_sessions, plan, target, connect)
        expected = push.Expected(
            prefixes,
            config.verify.bookkeeping,
            record.book,
            plan.who,
            _now(),
            direct=not held.session.pooled and config.direct is None,
            left=record.damaged,
        )
        pushed = push.run(config.push, expected, found.catalog, context, opened)
        fields.update(pushed.fields)
        record.record_loss(pushed)
        if pushed.wrong:
            raise pushed.wrong
    if config.verify.at_start != "off":
        default = partial(_session, target.with_database(placement.DEFAULT), connect, 0.0)
        misplaced.run(config, held.session, default)
    record.pushed(pushed, decision)


def _guard_sessions(plan: StartPlan, target: Conninfo, connect: wait.Connect) -> Iterator[Session]:
    """Yield the admin's session, if it can be opened, then one of the service's own role."""
    admin = plan.config.admin
    if admin and admin.user != target.user:
        with suppress(RefusedError, UnreachableError):
            yield _enduring(_session(admin.with_database(target.database), connect, CLEANUP_S))
    yield _enduring(_session(target, connect, CLEANUP_S))


def _enduring(session: Session) -> Session:
    """Lift the limit for all statements: a guard times its own, and may send thousands."""
    session.connection.patience_s = math.inf
    return session


def _seed(plan: StartPlan, record: _Record, connect: wait.Connect) -> None:
    decision = plan.seed(record.found, partial(is_there, record.held.session))
    if not decision.runs:
        tell_skipped("seed", decision, record.book, plan.config.service)
        return
    config, held = plan.config, record.held
    assert config.database is not None  # noqa: S101  the lock's session is in it
    with step("seed", reason=decision.reason) as fields:
        tenant = fields["tenant_id"] = decision.tenant or _tenant(plan, held, connect)
        context = program.ChildContext(
            held,
            config.service_environment,
            config.service,
            partial(_session, config.database, connect, CLEANUP_S),
            same_role=config.direct is None or config.direct.user == config.database.user,
            # With a direct URL, the service's URL probably leads through a pooler.
            pooled=held.session.pooled or config.direct is not None,
            lock_timeout_s=config.push.lock_timeout_s,
            added=_told(plan, tenant),
        )
        fields.update(seed.run(config.seed._replace(tenant=tenant), held.session, context))
        record.seeded(tenant)


def _told(plan: StartPlan, tenant: str | None) -> dict[str, str]:
    """The seed's tenant variables. Raises `SeedError` if the container names another tenant."""
    name = plan.config.seed.variable or "SEED_TENANT_ID"
    if tenant is None:
        return {}
    there = bare(plan.config.service_environment.get(name, ""))
    if there and there.lower() != tenant.lower():
        raise SeedError(
            f"{name} names another tenant than the one that seed.tenant_lookup found, and the seed "
            f"reads its tenant from {name}",
            remedy=f"Unset {name} in the container, or set SEED_TENANT_ID to the tenant.",
        )
    return {"SEED_TENANT_ID": tenant, name: tenant}


def _tenant(plan: StartPlan, held: lock.Held, connect: wait.Connect) -> str | None:
    config = plan.config
    server = config.lookup_server or config.direct or config.database
    if not config.seed.lookup or server is None:
        return None
    from . import tenant  # only a lookup needs it

    return tenant.find(config.seed.lookup, server, connect, held.check)


def _session(conninfo: Conninfo, connect: wait.Connect, timeout_s: float) -> Session:
    return wait.until_ready(conninfo, connect, deadline=time.monotonic() + timeout_s)


def _now() -> str:
    return ledger.stamp(time.time())
