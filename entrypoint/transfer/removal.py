"""Remove for ever the databases that moves and undos put aside and marked."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg import sql

from ..errors import EntrypointError, TransferError
from ..postgres import databases, transfers
from ..postgres import quarantine as quarantines
from ..postgres.databases import Database
from ..postgres.session import Session, translated
from ..postgres.sql import quoted
from . import locks, sessions
from .request import Request
from .rows import TableCount, count
from .source import queried

if TYPE_CHECKING:
    from ..operator.report import PutAside, Transferred

DROP_S: Final = 300.0  # seconds that one removal may take: the server makes a checkpoint first
Agree = Callable[["Transferred", str], None]  # asks a person; `TransferError` for another answer


def names(request: Request) -> list[str]:
    """The databases that `Removal.go` would remove; none if nobody can look."""
    with suppress(EntrypointError), closing(request.target.open()) as admin:
        return [each.name for each in _look(admin, request)[0]]
    return []


def _look(admin: Session, request: Request) -> tuple[list[Database], list[str]]:
    """The databases, and why each other one of such a name stays, with the SQL that removes it."""
    own, registry = request.service.database, request.source.registry
    claimed = {each.database: each.name for each in registry.values()}
    ours, others = [], []
    for each in databases.find(admin):
        if each.name in claimed or not transfers.is_kept(each.name, own):
            continue
        if transfers.is_aside(each, own):
            ours.append(each)
        else:
            others.append(
                f"the database {each.name!r} has no mark of a transfer, so it stays; if nobody "
                f"needs it, run DROP DATABASE {quoted(each.name)}"
            )
    return ours, others


class Removal:
    """One run of ``--drop-aside``, which knows what it removed even after an error."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.found: list[PutAside] = []
        self.notes: list[str] = []
        self.removed: list[str] = []

    def open(self, *, dry_run: bool) -> Session:
        """Open a session for `go`; except in a dry run it keeps transfers from the target.

        Raises `RefusedError`, `UnreachableError`, and `TransferError` behind a pooler or while a
        transfer runs.
        """
        server = self.request.target
        if not dry_run:
            return locks.open_target(server, self.request.service.database)
        session = server.open()
        locks.require_direct(session)
        return session

    def go(self, admin: Session, agree: Agree | None, *, dry_run: bool) -> "Transferred":
        """Remove every database that a transfer of the service put aside, one after the other.

        Removes none while a session is connected to one of them. Each may block for `DROP_S`
        seconds. Raises `TransferError` for a refusal, `RefusedError` and `UnreachableError`; then
        ``removed`` names those that are gone, and the others are as they were.
        """
        request = self.request
        found, others = _look(admin, request)
        self.notes = list(others)
        if not found:
            return self._nothing(others)
        self._check(admin, found)
        self.found = [self._counted(each) for each in found]
        self.notes += self._undos(admin)
        plan = request.answer(
            "planned",
            put_aside=self.found,
            notes=self.notes,
            next=[request.commands.transfer("--drop-aside")],
        )
        if dry_run:
            return plan
        if agree is not None:
            what = "this database" if len(found) == 1 else f"these {len(found)} databases"
            agree(plan, f"Remove {what} with all content for ever?")
        with translated("removing a database", remedy="Run the command again."):
            admin.connection.execute(f"set statement_timeout = {int(DROP_S * 1000)}".encode())
        for each in found:
            self._drop(admin, each.name)
        return self.answer()

    def answer(self) -> "Transferred":
        """The answer after the removal of all of them."""
        request = self.request
        ours = [each for each in self.found if each.database in self.removed]
        return request.answer(
            "dropped", put_aside=ours, notes=self.notes, next=request.commands.dropped()
        )

    def left(self, session: Session) -> list[str]:
        """The databases that are still there."""
        return [each.name for each in _look(session, self.request)[0]]

    def _nothing(self, others: Sequence[str]) -> "Transferred":
        name, where = self.request.service.name, self.request.target.conninfo.where()
        if others:
            raise TransferError(
                f"no transfer has put a database of {name} aside: {'; '.join(others)}",
                remedy="Check what is in it before you drop it.",
            )
        return self.request.answer(
            "nothing to drop",
            notes=[f"no database of {name} is put aside on {where}"],
            next=self.request.commands.dropped(),
        )

    def _check(self, admin: Session, found: Sequence[Database]) -> None:
        """Raise `TransferError` for anything that would stop the removal half way."""
        names = [each.name for each in found]
        for name in (each.name for each in found if each.template):
            raise TransferError(
                f"the database {name!r} is a template; nothing was removed",
                remedy=f"Run ALTER DATABASE {quoted(name)} IS_TEMPLATE false, and try again.",
            )
        rows = queried(admin, "looking at databases", "transfer/databases_and_rights", [names])
        self._oids = {name: oid for name, oid, _ in rows}
        role = admin.connection.info.user
        for name, _, may in rows:
            if not may:
                raise TransferError(
                    f"the role {role!r} does not own {name!r}; nothing was removed",
                    remedy="Use --server to name its owner or a superuser, or run DROP DATABASE "
                    f"{quoted(name)} as one of them.",
                )
            if name == admin.database:
                raise TransferError(
                    f"no session can remove its own database, and the role {role!r} may connect to "
                    f"{name!r} only; nothing was removed",
                    remedy=f'Run GRANT CONNECT ON DATABASE postgres TO "{role}", and run the '
                    "command again.",
                )
        for name in names:
            self._refuse_sessions(name, sessions.leave(admin, name))
            self._check_replication(admin, name)

    def _check_replication(self, admin: Session, name: str) -> None:
        found = queried(admin, "looking at replication", "transfer/replication", {"name": name})
        subscriptions = [each for subscribes, each in found if subscribes]
        if subscriptions:
            drop = "; ".join(f"DROP SUBSCRIPTION {quoted(each)}" for each in subscriptions)
            raise TransferError(
                f"the server cannot remove the database {name!r} while it has subscriptions: "
                f"{', '.join(subscriptions)}; nothing was removed",
                remedy=f"Run {drop} in it, and run the command again.",
            )
        self.notes += [f"the replication slot {each!r} goes with {name!r}" for _, each in found]

    def _unchanged(self, admin: Session, name: str) -> None:
        """Wait until no session renames it: DROP removes any database that has the name then."""
        deadline = time.monotonic() + locks.TIMEOUT_S
        with translated("looking for sessions that rename it", remedy="Run the command again."):
            while rows := admin.rows("transfer/renaming_sessions", [self._oids.get(name)]):
                if time.monotonic() > deadline:
                    pid = rows[0][0]
                    raise TransferError(
                        f"pid {pid} is renaming or removing the database {name!r}; {self._done()}",
                        remedy="Wait for its end, or run SELECT "
                        f"pg_terminate_backend({pid}), and run the command again.",
                    )
                time.sleep(locks.PAUSE_S)

    def _refuse_sessions(self, name: str, who: Sequence[str]) -> None:
        if who:
            raise TransferError(
                f"the server cannot remove the database {name!r} while sessions are connected to "
                f"it: {', '.join(who)}; {self._done()}",
                remedy="Stop every listed session, end a prepared transaction with ROLLBACK "
                "PREPARED in that database, and run the command again.",
            )

    def _done(self) -> str:
        done = ", ".join(map(repr, self.removed))
        return f"this run removed {done}" if done else "nothing was removed"

    def _counted(self, database: Database) -> "PutAside":
        from ..operator.report import PutAside

        tables: list[TableCount] | None = None
        with suppress(EntrypointError):
            tables = count(self.request.target, database.name)
        rows = [each.rows for each in tables] if tables is not None else [None]
        found = transfers.aside(database.comment)
        return PutAside(
            database=database.name,
            owner=database.owner,
            size_bytes=database.size_bytes,
            tables=None if tables is None else len(tables),
            rows=None if None in rows else sum(each or 0 for each in rows),
            since=found.at if found else "",
        )

    def _undos(self, admin: Session) -> list[str]:
        """Notes on the databases that an undo would have given their names back."""
        request = self.request
        if request.target is not request.source:
            return []
        with suppress(EntrypointError):
            here: AbstractContextManager[Session] = nullcontext(admin)
            if admin.database != request.database:
                here = closing(request.source.session(request.database))
            with here as session:
                kept = quarantines.find(session, request.service.name)
            return [
                f"--undo of the move at {each.at} would give {name!r} its name back, and cannot "
                "after the removal"
                for name, oid in self._oids.items()
                for each in quarantines.newest(kept)[:1]
                if each.replaced == oid
            ]
        return []

    def _drop(self, admin: Session, name: str) -> None:
        """Remove one, unless it is gone or another database has its name now."""
        self._unchanged(admin, name)
        rows = queried(admin, "looking at databases", "transfer/databases_and_rights", [[name]])
        gone = f"{name!r} was gone already: another session removed or renamed it"
        if [oid for _, oid, _ in rows] != [self._oids.get(name)]:
            self.notes.append(gone)
            return
        statement = sql.SQL("drop database {}").format(sql.Identifier(name))
        with translated(f"removing {name!r}", remedy="Fix that, and run the command again."):
            try:
                admin.connection.execute(statement)
            except psycopg.errors.ObjectInUse:  # the server has waited for 5 s
                self._refuse_sessions(name, sessions.connected(admin, name))
                raise
            except psycopg.errors.InvalidCatalogName:
                self.notes.append(gone)
                return
        self.removed.append(name)
