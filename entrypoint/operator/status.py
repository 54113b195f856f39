"""What each service's database is like right now. Reads only."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from datetime import datetime, timedelta
from typing import Any, Final

from ..config.registry import Service
from ..errors import RefusedError, UnreachableError
from ..postgres import databases, ledger, placement, quarantine, transfers
from ..postgres.databases import Database
from ..postgres.session import Session, translated
from . import look
from .look import Look
from .report import Concern, Holder, Kept, LastPush, ServiceStatus, Status, Work
from .server import NAME, Server
from .verify import failure

WAIT_S: Final = 60  # seconds after which a session that waits for a lock is a concern
OPEN_S: Final = 3600  # seconds until an open transaction, which holds back VACUUM, is a concern
_NOBODY: Final = (0, False)


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
    # Filtered once, because every service looks for its own among them.
    aside = [each for each in there.values() if transfers.aside(each.comment)]
    rows = []
    for service in server.selected:
        name = service.database
        update: dict[str, Any] = {
            "transfer": _work(moves.get(transfers.target_key(name) & 0xFFFFFFFF)),
            "quarantines": quarantines.get(service.name, []),
            "put_aside": [
                each.name
                for each in aside
                if transfers.is_aside(each, name) and each.name not in claimed
            ],
        }
        if name not in there:
            row = ServiceStatus(service=service.name, database=name, exists=False)
        else:
            row = _row(service, there[name], looks[name])
            holder = holders.get(name)
            update |= {
                "sessions": sessions[name],
                "waiting": waiting.get(name, _NOBODY)[0],
                "oldest_transaction": _work(oldest.get(name)),
                "holder": Holder(**holder) if holder else None,
            }
        row = row.model_copy(update=update)
        waits = waiting.get(name, _NOBODY)[1]
        damaged = name in there and bool(ledger.parse(there[name].comment).damages)
        concerns = [*_concerns(row, at, damaged=damaged, waits=waits)]
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


def _row(
    service: Service, database: Database, seen: Look | RefusedError | UnreachableError
) -> ServiceStatus:
    """The row of an existing database; the server shows its ledger without a connection to it."""
    book = ledger.parse(database.comment)
    last = book.last
    row = ServiceStatus(
        service=service.name,
        database=database.name,
        exists=True,
        size_bytes=database.size_bytes,
        last_push=LastPush(
            at=last.at, release=last.release, host=last.host, elapsed_s=last.elapsed_s
        )
        if last
        else None,
        tenants=[tenant for tenant in book.seeds if tenant != "-"],
    )
    if not isinstance(seen, Look):
        return row.model_copy(update={"failure": failure(database.name, seen)})
    known = last is not None and seen.found.catalog is not None
    return row.model_copy(
        update={
            "tables": sum(each.kind == "table" for each in seen.objects),
            "drift": seen.found.catalog != last.catalog if known and last else None,
        }
    )
