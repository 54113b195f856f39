"""What each service's database is like right now. Reads only."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from datetime import datetime, timedelta
from typing import Any, Final

from ..errors import RefusedError, UnreachableError
from ..postgres import databases, ledger, placement, quarantine, transfers
from ..postgres.databases import Database
from ..postgres.session import Session, translated
from . import look, previews
from .look import Look
from .report import Concern, Holder, Kept, LastPush, ServiceStatus, Status, Work, failure
from .server import NAME, Server

WAIT_S: Final = 60  # seconds after which a session that waits for a lock is a concern
OPEN_S: Final = 3600  # seconds until an open transaction, which holds back VACUUM, is a concern


def status(server: Server) -> Status:
    """Look at every selected service's database, `server.MAX_SESSIONS` at once.

    A database that the command cannot look at has a failure in its row. Raises `RefusedError` or
    `UnreachableError` if the command cannot list the server's databases.
    """
    with closing(server.open()) as session, look.snapshot(session):
        there = {database.name: database for database in databases.find(session)}
        sessions = Counter(dict(_rows(session, "operator/session_counts", [NAME])))
        waiting = dict(_rows(session, "operator/waiting_sessions", [WAIT_S]))
        holders = dict(_rows(session, "operator/lock_holders_at_work"))
        oldest = dict(_rows(session, "operator/oldest_transactions", [NAME]))
        moves = dict(_rows(session, "operator/transfers_under_way", [transfers.TARGET_KEY >> 32]))
        kept = {session.database: quarantine.find(session)}
        at = look.moment(session)
    claimed = {service.database for service in server.registry.values()}
    names = [service.database for service in server.selected if service.database in there]
    looks = look.at_each(names, lambda name: look.at(server, name))
    kept |= {name: seen.quarantines for name, seen in looks.items() if isinstance(seen, Look)}
    if placement.DEFAULT in there and placement.DEFAULT not in kept:
        with (
            suppress(RefusedError, UnreachableError),
            closing(server.session(placement.DEFAULT)) as other,
            look.snapshot(other),
        ):
            kept[placement.DEFAULT] = quarantine.find(other)
    quarantines: dict[str, list[Kept]] = {}
    for place, found in kept.items():
        for each in found:
            one = Kept(database=place, name=each.schema)
            quarantines.setdefault(each.service, []).append(one)
    mine: dict[str, list[str]] = {}
    for database in there.values():
        if found_of := previews.of(database, server.registry.values()):
            mine.setdefault(found_of[0].name, []).append(database.name)
    # Filtered once, because every service looks for its own among them.
    aside = [each for each in there.values() if transfers.aside(each.comment)]
    rows = []
    for service in server.selected:
        name = service.database
        fields: dict[str, Any] = {
            "transfer": _work(moves.get(transfers.target_key(name) & 0xFFFFFFFF)),
            "quarantines": quarantines.get(service.name, []),
            "previews": mine.get(service.name, []),
            "put_aside": [
                each.name
                for each in aside
                if transfers.is_aside(each, name) and each.name not in claimed
            ],
        }
        book = ledger.parse(there[name].comment if name in there else None)
        waits, too_long = waiting.get(name, (0, False))
        if name in there:
            holder = holders.get(name)
            fields |= _seen(there[name], book, looks[name]) | {
                "sessions": sessions[name],
                "waiting": waits,
                "oldest_transaction": _work(oldest.get(name)),
                "holder": Holder(**holder) if holder else None,
            }
        exists = name in there
        row = ServiceStatus(service=service.name, database=name, exists=exists, **fields)
        concerns = [*_concerns(row, at, damaged=bool(book.damages), waits=too_long)]
        rows.append(row.model_copy(update={"concerns": concerns}))
    return Status(server=server.conninfo.where(), at=at, services=rows)


def _concerns(row: ServiceStatus, at: str, *, damaged: bool, waits: bool) -> Iterator[Concern]:
    if not row.exists:
        yield "missing"
    if row.drift:
        yield "drifted"
    if damaged:
        yield "damaged"
    if row.quarantines or row.put_aside:
        yield "kept"
    if waits:
        yield "waiting"
    since = row.oldest_transaction and row.oldest_transaction.since
    if since and _moment(at) - _moment(since) > timedelta(seconds=OPEN_S):
        yield "transaction"


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def arranged(answer: Status, by: str) -> Status:
    """Put the services into an order of `SORTS`."""
    return answer.model_copy(update={"services": sorted(answer.services, key=SORTS[by])})


SORTS: Final[Mapping[str, Callable[[ServiceStatus], Any]]] = {
    "registry": lambda _: 0,
    "name": lambda row: row.service,
    "size": lambda row: -(row.size_bytes or 0),
    "age": lambda row: row.last_push.at if row.last_push else "",
}
"""By size, the largest first; by age, databases without a push, then the oldest push."""


def exit_code(answer: Status, *, fail: bool) -> int:
    """The greatest code of the failures, else 9 if concerns are to ``fail`` the command, else 0."""
    failures = [row.failure.exit_code for row in answer.services if row.failure]
    if failures:
        return max(failures)
    return 9 if fail and any(row.concerns for row in answer.services) else 0


def _rows(session: Session, query: str, params: Sequence[object] | None = None) -> list[Any]:
    with translated("looking at sessions", remedy="Start again."):
        return session.rows(query, params)


def _work(found: dict[str, Any] | None) -> Work | None:
    return Work(**found) if found else None


def _seen(
    database: Database, book: ledger.Ledger, seen: Look | RefusedError | UnreachableError
) -> dict[str, Any]:
    """Fields of an existing database, whose ledger the server shows without a connection to it."""
    last = book.last
    fields: dict[str, Any] = {
        "size_bytes": database.size_bytes,
        "tenants": [tenant for tenant in book.seeds if tenant != "-"],
    }
    if last:
        at, host, elapsed_s = last.at, last.host, last.elapsed_s
        push = LastPush(at=at, release=last.release, host=host, elapsed_s=elapsed_s)
        fields["last_push"] = push
    if not isinstance(seen, Look):
        return {**fields, "failure": failure(database.name, seen)}
    catalog = seen.found.catalog
    fields["tables"] = sum(each.kind == "table" for each in seen.objects)
    fields["drift"] = catalog != last.catalog if last and catalog is not None else None
    return fields
