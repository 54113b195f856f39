"""Undo the last move of a service, or remove the quarantines of all its moves."""

from collections.abc import Sequence
from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import psycopg

from ..config.conninfo import suffixed
from ..config.registry import Service
from ..errors import EntrypointError, TransferError
from ..operator.server import Server
from ..postgres import quarantine as quarantines
from ..postgres import transfers
from ..postgres.quarantine import Quarantine
from ..postgres.session import Session, translated
from ..postgres.sql import load_sql, quoted
from ..postgres.transfers import REPLACED
from . import locks, preflight, quarantine, removal, sessions
from .locks import TIMEOUT_S
from .removal import Agree
from .request import Request
from .rows import TableCount, both, count
from .target import free

if TYPE_CHECKING:
    from ..operator.report import TableRows, Transferred

_DATABASE: Final = "select oid::text from pg_catalog.pg_database where datname = %s"
_NAMED: Final = "select datname::text from pg_catalog.pg_database where oid = %s::oid"


class _Place(NamedTuple):
    """The target that an undo puts aside."""

    server: Server
    name: str = ""  # empty if it is gone, or on a server that the operator did not name
    aside: str = ""  # its new name
    back: str = ""  # the database that the move replaced, and that gets its name back
    note: str = ""  # what becomes of a target that the undo cannot put aside


class EarlierMove:
    """One run of ``--undo`` or ``--drop-quarantine``."""

    def __init__(self, session: Session, request: Request) -> None:
        self.session = session
        self.request = request
        self.answer: Transferred | None = None  # of a success; set before the first change

    def undo(self, agree: Agree | None, *, dry_run: bool) -> "Transferred":
        """Put the objects of the last move back where they came from, in one transaction.

        The target keeps what it has under another name, because the service may have written there.
        A database that the move replaced gets its name back. On another server the undo puts the
        target aside first. Blocks for about `TIMEOUT_S` seconds for locks. An error leaves
        everything as it was, except a target on another server.
        """
        session, request = self.session, self.request
        there = _quarantines(session, request.service)
        found = quarantines.newest(there)
        quarantine.require_ours(session, found, request.service.database)
        if not found[0].where:
            request, _ = request.met(session)
        place = _place(request, found[0])
        _check(session, found, place)
        locks.require_room(session, quarantine.locks_to_empty(session, found))
        rows = _rows(request, found, place) if dry_run or agree is not None else []
        what = f"the objects of the move at {found[0].at}"
        plan = request.answer(
            "planned",
            rows=rows,
            notes=[f"the undo puts {what} back into {request.database!r}", *_aside(place, found)],
            next=[request.commands.transfer("--undo")],
        )
        if dry_run:
            return plan
        if agree is not None:
            agree(plan, f"Put the objects back into {request.database!r}?")
        here = _count(request.source, request.database, found)
        notes = [f"put {what} back into {request.database!r}", *_aside(place, found)]
        if older := [each for each in there if each not in found]:
            notes.append(f"the quarantine of an earlier move, at {older[-1].at}, is still there")
        self.answer = request.answer(
            "undone",
            quarantine=[each.schema for each in older],
            kept_database=place.aside or None,
            rows=rows,
            notes=notes,
            next=request.commands.undone(aside=bool(place.aside)),
        )
        _put_back(session, request, found, place)
        rows = _beside(here, found, place._replace(name=place.aside))
        return self.answer.model_copy(update={"rows": rows})

    def drop(self, agree: Agree | None, *, dry_run: bool) -> "Transferred":
        """Remove the quarantined objects of all moves for ever; a second run finishes a first."""
        session, request = self.session, self.request
        found = _quarantines(session, request.service)
        if not found[-1].where:
            request, _ = request.met(session)
        elsewhere = request.target is request.source and bool(found[-1].where)
        place = _Place(request.target, "" if elsewhere else found[-1].database)
        rows = _rows(request, found, place)
        pointing = [
            f"the removal also drops the foreign key {name}"
            for name in quarantine.pointing(session, found)
        ]
        plan = request.answer(
            "planned",
            quarantine=[each.schema for each in found],
            rows=rows,
            notes=pointing,
            next=[request.commands.transfer("--drop-quarantine")],
        )
        if dry_run:
            return plan
        if agree is not None:
            database = request.database
            agree(plan, f"Remove what {request.service.name} left in {database!r} for ever?")
        aside = removal.names(request)
        gone = [f"removed {each.schema}, of the move at {each.at}" for each in found]
        kept = [f"the database {name!r} is still put aside" for name in aside]
        self.answer = request.answer(
            "dropped",
            rows=rows,
            notes=[*gone, *pointing, *kept],
            next=request.commands.dropped(aside=bool(aside)),
        )
        with translated("removing the quarantine", remedy="Run the command again."):
            quarantine.drop(session, found)
        return self.answer


def _quarantines(session: Session, service: Service) -> list[Quarantine]:
    for each in preflight.event_triggers(session):
        raise TransferError(each.message, remedy=each.remedy)
    found = quarantines.find(session, service.name)
    if not found:
        raise TransferError(
            f"there is no quarantine of {service.name}",
            remedy="Use --from to name the database that the service moved from.",
        )
    return found


def _place(request: Request, moved: Quarantine) -> _Place:
    name, server = moved.database, request.target
    if server is request.source and moved.where:
        # A database of that name on this server is another one.
        note = f"the database {name!r} on {moved.where} stays as it is: stop what writes to it"
        return _Place(server, note=f"{note}, or undo with --to and that server's URL")
    if server is not request.source and not moved.where and moved.replaced:
        raise TransferError(
            f"the move went to {name!r} on the source's server, not to {server.conninfo.where()}",
            remedy="Run the command without --to.",
        )
    looking = translated("looking at the target", remedy="Run the command again.")
    with closing(server.open()) as admin, looking:
        if admin.connection.execute(_DATABASE, [name]).fetchone() is None:
            return _Place(server, note=f"there was no database {name!r} to put aside")
        aside, back = free(admin, name, "__undone"), ""
        if server is request.source and moved.replaced:
            row = admin.connection.execute(_NAMED, [moved.replaced]).fetchone()
            # In a copy of the server, another database may have this OID.
            if row and row[0].startswith(suffixed(name, REPLACED)):
                back = row[0]
    return _Place(server, name, aside, back)


def _check(session: Session, found: Sequence[Quarantine], place: _Place) -> None:
    """Raise `TransferError` for anything that an undo would fail at, before it asks or locks."""
    for each in found:
        asked = {"schema": each.schema, "origin": each.origin}
        with translated("looking at what is there", remedy="Run the command again."):
            taken = [name for (name,) in session.rows("transfer/taken_names", asked)]
            there = session.connection.execute(
                "select from pg_namespace where nspname = %s", [each.origin]
            ).fetchone()
        if taken:
            raise TransferError(
                f"the schema {each.origin!r} has {len(taken)} of the names that the undo puts "
                f"back: {', '.join(taken[:10])}",
                remedy=f"Check their rows, then drop or rename them in {each.origin!r} and run the "
                f"command again; the objects of the move at {each.at} stay in {each.schema!r}.",
                schema=each.schema,
            )
        if there is None:
            raise TransferError(
                f"the schema {each.origin!r}, from which {each.schema!r} came, is gone",
                remedy=f"Run CREATE SCHEMA {quoted(each.origin)}, and run the command again.",
            )
    if place.aside:
        with closing(place.server.open()) as admin:
            _refuse_sessions(sessions.leave(admin, place.name), place)


def _refuse_sessions(who: Sequence[str], place: _Place) -> None:
    if who:
        raise TransferError(
            f"the undo cannot put the database {place.name!r} aside while sessions are connected "
            f"to it: {', '.join(who)}; nothing was changed",
            remedy="Stop the service and every other listed session, and run the command again.",
        )


def _put_back(
    session: Session, request: Request, found: Sequence[Quarantine], place: _Place
) -> None:
    connection = session.connection

    def work() -> None:
        for each in found:
            quarantine.empty(session, each)

    with translated("putting the objects back", remedy="Stop their users; run the command again."):
        connection.execute("begin")
        connection.execute(load_sql("transfer/quiet"))
        locks.insist(session, TIMEOUT_S, work, partial(quarantine.in_use, session, found))
        if place.aside and place.server is request.source:
            _rename(session, place)
        elif place.aside:
            with closing(place.server.open()) as admin:
                admin.connection.execute("begin")
                _rename(admin, place)
                admin.connection.execute("commit")
        connection.execute("commit")


def _rename(session: Session, place: _Place) -> None:
    renames = [(place.name, place.aside)]
    renames += [(place.back, place.name)] if place.back else []
    for old, new in renames:
        statement = f"alter database {quoted(old)} rename to {quoted(new)}"
        try:
            session.connection.execute(statement.encode())
        except psycopg.errors.ObjectInUse:  # a session that came after the check
            session.connection.execute("rollback")
            who = sessions.connected(session, old) or ["a session that has ended since"]
            _refuse_sessions(who, place._replace(name=old))
    transfers.mark(session, place.name, place.aside)
    if place.back:
        transfers.unmark(session, place.name)


def _count(server: Server, database: str, found: Sequence[Quarantine] | None) -> list[TableCount]:
    """The rows, or nothing if nobody can count them, which is no reason to refuse."""
    schemas = None if found is None else [each.schema for each in found]
    with suppress(EntrypointError):
        return count(server, database, schemas)
    return []


def _rows(request: Request, found: Sequence[Quarantine], place: _Place) -> "list[TableRows]":
    return _beside(_count(request.source, request.database, found), found, place)


def _beside(
    here: Sequence[TableCount], found: Sequence[Quarantine], place: _Place
) -> "list[TableRows]":
    there = _count(place.server, place.name, None) if place.name else []
    return both(here, there, {each.schema: each.origin for each in found})


def _aside(place: _Place, found: Sequence[Quarantine]) -> list[str]:
    """What becomes of the target, and of the database that the move replaced."""
    if not place.aside:
        return [place.note]
    said = [f"the database {place.name!r} stays as {place.aside!r}, with all its content"]
    if place.back:
        said.append(f"{place.back!r}, which the move had replaced, is {place.name!r} again")
    elif found[0].replaced not in ("", "0") and not found[0].where:
        said.append(
            f"the database that was {place.name!r} before the move had no row, or is gone since: "
            "no database has that name then"
        )
    return said
