"""The last moment of a move: no session gets between the comparison and the commit."""

import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import closing, suppress
from typing import Final

import psycopg
from psycopg import sql

from ..postgres.session import Session, translated
from . import commit, locks, quarantine
from . import target as target_module
from .dump import Dump
from .locks import TIMEOUT_S, batches
from .source import Relation

ATTEMPT_S: Final = 2.0  # seconds for the locks of one attempt; longer than a search for a deadlock
_OID: Final = "select oid::text from pg_catalog.pg_database where datname = %s"
_SETVAL: Final = "select pg_catalog.setval(%s::regclass, %s, %s)"
Position = tuple[int, bool]  # a sequence's last_value and is_called


def swap(source: Session, dump: Dump, positions: Mapping[str, Position]) -> list[str]:
    """Move the source's objects into quarantine and the target into its place, in one commit.

    ``positions`` are those of the target's sequences, by label. Returns the quarantines. On two
    servers the target's commit comes first. Raises `RefusedError`, `UnreachableError`,
    `TransferError`, and `Terminated` unless the signal came during the commit; ``dump.progress``
    says how far the swap came.
    """
    server, plan, target, commits = dump.server, dump.plan, dump.target, dump.progress.commits
    sequences = [each for each in plan.relations if each.kind == "S"]
    with translated("moving the source's objects", remedy="Run the transfer again."):
        schemas = _into_quarantine(source, dump)
        names = list(schemas.values())
        moved = [each._replace(schema=schemas[each.schema]) for each in sequences]
        now = zip(sequences, read(source, moved), strict=True)
        late = {each: at for each, at in now if positions.get(each.label(), at) != at}
        if late:
            with closing(target.server.session(target.incoming)) as session:
                for each, (value, called) in late.items():
                    position = [each.quoted(), value, called]
                    session.connection.execute(_SETVAL, position)
        _cancel(source, [each.oid for each in sequences], waiting=True)
        if target.server is server:
            target_module.swap(source, target)
            commits.source.run(source, server, commit.there(commit.SCHEMAS, names))
            return names
    with closing(target.server.open()) as admin:
        admin.connection.execute("begin")
        target_module.swap(admin, target)
        with translated("moving the source's objects", remedy="Run the transfer again."):
            commit.of(source)  # raises if the source's session is gone
            commits.target.run(admin, target.server, commit.there(commit.DATABASE, target.name))
    with translated("moving the source's objects", remedy="Run the transfer again."):
        commits.source.run(source, server, commit.there(commit.SCHEMAS, names))
    return names


def _into_quarantine(source: Session, dump: Dump) -> dict[str, str]:
    """Try again until `TIMEOUT_S` seconds are over."""
    plan, target = dump.plan, dump.target
    # What an undo must know: where the target is, or which database it replaced.
    note = {"where": target.server.conninfo.where()}
    if target.server is dump.server:
        row = source.connection.execute(_OID, [target.name]).fetchone()
        note = {"replaced": row[0] if row else "0"}
    deadline = time.monotonic() + TIMEOUT_S
    oids = [each.oid for each in plan.relations]
    source.connection.execute(f"set local lock_timeout = {int(ATTEMPT_S * 1000)}")
    while True:
        _cancel(source, oids, waiting=False)
        try:
            with source.savepoint():
                return quarantine.fill(source, plan, note)
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            if time.monotonic() > deadline:
                what = f"other sessions have used the tables for more than {TIMEOUT_S:.0f} s"
                raise locks.error(source, oids, "AccessExclusiveLock", what) from None


def _cancel(source: Session, oids: Collection[int], *, waiting: bool) -> None:
    """Cancel sessions that wait for this one, and hold or wait for one of these relations."""
    with suppress(psycopg.errors.InsufficientPrivilege), source.savepoint():
        source.rows("transfer/cancel_deadlock", {"oids": list(oids), "waiting": waiting})


def read(session: Session, sequences: Iterable[Relation]) -> list[Position]:
    """The current position of each sequence, whatever the snapshot."""
    query = sql.SQL("select {} as n, last_value, is_called from {}")
    found: list[Position] = []
    for batch in batches([*sequences]):
        parts = [
            query.format(sql.Literal(n), sql.Identifier(each.schema, each.name))
            for n, each in enumerate(batch)
        ]
        rows = session.connection.execute(sql.SQL(" union all ").join(parts)).fetchall()
        found += [(value, called) for _, value, called in sorted(rows)]
    return found
