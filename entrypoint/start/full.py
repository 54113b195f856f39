"""A start that one look could not prove needless: it waits, creates, works and connects again."""

import time
from contextlib import suppress
from functools import partial
from typing import Any

from ..config.conninfo import Conninfo
from ..errors import UnreachableError
from ..postgres import ledger
from ..postgres.opening import PATIENCE_S
from ..postgres.session import open_session
from ..postgres.sql import load_sql
from . import database, seed_check, wait
from .plan import StartPlan
from .steps import step


class Full:
    """A start whose server has answered."""

    def __init__(self, plan: StartPlan, target: Conninfo, name: str, deadline: float) -> None:
        """Wait for the server until ``deadline``, as application_name ``name``.

        Raises `RefusedError` and `UnreachableError`.
        """
        self._plan, self._target, self._deadline = plan, target, deadline
        config = plan.config
        self._connect = partial(open_session, application_name=name, patience_s=PATIENCE_S)
        self._options = database.CreateOptions(
            config.admin or target,
            config.maintenance_databases,
            config.isolate,
            config.preview,
        )
        probe = load_sql("postgres/probe") if plan.provable or config.preview else ""
        self._reached = wait.until_answered(
            target,
            partial(self._connect, probe=probe),
            deadline=deadline,
            ask=partial(database.ask, target, self._options, self._connect),
        )

    def database(self) -> dict[str, Any]:
        """Create the database if it is missing; the fields of the step `database`."""
        self._session, self._created = database.database(
            self._target, self._reached, self._options, self._connect, self._deadline
        )
        name, pooled = self._session.database, self._session.pooled
        return {"created": self._created, "database": name, "pooled": pooled}

    def finish(self) -> None:
        """Run the steps that have work, and make sure that the service can connect."""
        plan, config, session, connect = self._plan, self._plan.config, self._session, self._connect
        own, known = config.database or self._target, None
        if config.direct:
            with step("connection", variable=own.variable):
                with suppress(UnreachableError):  # as_service fails again then
                    known = database.place(session)
                # A pooler remembers for a while that a new database did not exist.
                late = time.monotonic() + database.AFTER_CREATE_S if self._created else 0.0
                until = max(self._deadline, late)
                database.as_service(own, config.direct, known, connect, until)
        left_s = max(0.0, self._deadline - time.monotonic())
        found = ledger.found(session.probed) if session.probed else None
        if found:
            plan.warn_of_others(found, session.database)
        if found and found.leftovers:
            from ..postgres import leftovers  # only a start that finds some needs it

            leftovers.remove(session)
        if found or config.idle:
            found = found or ledger.UNKNOWN
            if why := plan.needless(found, partial(seed_check.is_there, session)):
                plan.tell_needless(found, why)
                session.close()
                return
        from . import under_lock  # no start without work needs it

        under_lock.work(plan, self._target, session, connect)
        # A push may change its own role, and other replicas may have held the lock for long.
        with step("connection", variable=own.variable):
            database.as_service(own, config.direct, known, connect, time.monotonic() + left_s)
