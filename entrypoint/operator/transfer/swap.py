"""The last moment of a move: nobody gets between what was compared and the commit."""

import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import closing
from typing import Final, NamedTuple

import psycopg
from psycopg import sql

from ...errors import TransferError
from ...postgres.session import Session, translated
from ..server import Server
from . import quarantine
from . import target as target_module
from .destination import Target
from .locks import TIMEOUT_S
from .plan import Plan
from .source import Relation

ATTEMPT_S: Final = 2.0
"""Seconds that one attempt waits for its locks, while others wait behind it; longer than the
server needs to find a deadlock."""

Position = tuple[int, bool]
"""A sequence's last_value and is_called."""

# Who waits for us and keeps us waiting would do so for ever: the server finds a deadlock, and we
# would be its victim. A sequence's next number must not be given out after it was read.
_CANCEL: Final = """
select pg_catalog.pg_cancel_backend(pid) from (
  select distinct w.pid from pg_catalog.pg_locks w where not w.granted and exists (
    select from pg_catalog.pg_locks h
    where h.pid = w.pid and h.granted <> %(waiting)s and h.relation = any (%(oids)s)
      and h.database = (select oid from pg_catalog.pg_database where datname = current_database()))
) each (pid) where pg_catalog.pg_backend_pid() = any (pg_catalog.pg_blocking_pids(pid))
"""


class Sides(NamedTuple):
    """What is put into place."""

    server: Server
    plan: Plan
    target: Target


def swap(source: Session, sides: Sides, positions: Mapping[str, Position]) -> list[str]:
    """Move the source's objects into quarantine and the target into its place, in one commit.

    ``positions`` are those of the target's sequences, by label. Returns the quarantine's schemas.
    On two servers the target's commit comes first. Raises `RefusedError`, `UnreachableError` and
    `TransferError`.
    """
    server, plan, target = sides
    sequences = [each for each in plan.relations if each.kind == "S"]
    with translated("moving the source's objects", remedy="Run the transfer again."):
        schemas = _into_quarantine(source, plan)
        moved = [each._replace(schema=schemas[each.schema]) for each in sequences]
        now = zip(sequences, read(source, moved), strict=True)
        late = {each: at for each, at in now if positions.get(each.label(), at) != at}
        if late:
            with closing(target.server.session(target.incoming)) as session:
                _advance(session, late)
        _cancel(source, [each.oid for each in sequences], waiting=True)
        if target.server is server:
            target_module.swap(source, target)
            source.connection.execute("commit")
            return list(schemas.values())
    with closing(target.server.open()) as admin:
        admin.connection.execute("begin")
        target_module.swap(admin, target)
        admin.connection.execute("commit")
    with translated("moving the source's objects", remedy="Look at both databases."):
        source.connection.execute("commit")
    return list(schemas.values())


def _into_quarantine(source: Session, plan: Plan) -> dict[str, str]:
    """Try until it succeeds or `TIMEOUT_S` seconds are over."""
    connection = source.connection
    deadline = time.monotonic() + TIMEOUT_S
    oids = [each.oid for each in plan.relations]
    connection.execute(f"set local lock_timeout = {int(ATTEMPT_S * 1000)}")
    while True:
        _cancel(source, oids, waiting=False)
        connection.execute("savepoint quarantine")
        try:
            return quarantine.fill(source, plan)
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            connection.execute("rollback to quarantine")
            if time.monotonic() > deadline:
                raise TransferError(
                    f"somebody has read from the tables for more than {TIMEOUT_S:.0f} s",
                    remedy="End the transactions that are open there, and run it again.",
                ) from None


def _cancel(source: Session, oids: Collection[int], *, waiting: bool) -> None:
    """Cancel those who wait for us, and hold or wait for one of these relations."""
    connection = source.connection
    connection.execute("savepoint cancel")
    try:
        connection.execute(_CANCEL, {"oids": list(oids), "waiting": waiting})
    except psycopg.errors.InsufficientPrivilege:
        connection.execute("rollback to cancel")


def read(session: Session, sequences: Iterable[Relation]) -> list[Position]:
    """Where each sequence is; no snapshot has a part in it."""
    query = sql.SQL("select last_value, is_called from {}")
    found: list[Position] = []
    for each in sequences:
        name = sql.Identifier(each.schema, each.name)
        found += session.connection.execute(query.format(name)).fetchall()
    return found


def _advance(session: Session, late: Mapping[Relation, Position]) -> None:
    for each, (value, called) in late.items():
        session.connection.execute(
            "select pg_catalog.setval(%s::regclass, %s, %s)", [each.quoted(), value, called]
        )
