"""What each service's database is like right now. Reads only."""

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from typing import Any, Final

from ..errors import RefusedError, UnreachableError
from ..postgres import databases, ledger
from ..postgres.databases import Database
from ..postgres.lock import HELD
from ..postgres.session import Session, translated
from ..services import Service
from . import look
from .look import Look
from .report import Holder, LastPush, ServiceStatus, Status
from .server import NAME, Server
from .verify import failure

# The server tells a plain role neither backend_type nor anything else of a stranger's session but
# who and where it is; its own workers have no user.
_SESSIONS: Final = """
select datname, count(*) from pg_catalog.pg_stat_activity
where datname is not null and usesysid is not null and application_name <> %s
  and coalesce(backend_type, 'client backend') = 'client backend'
group by datname
"""

# A child's sessions are named after the lock's: entrypoint/<service>/<host>/push-<number>.
_HOLDERS: Final = f"""
with holder as ({HELD})
select datname, json_build_object(
  'application_name', coalesce(h.application_name, ''), 'pid', h.pid, 'client_addr', client_addr,
  'since', since, 'doing', coalesce((
    select string_agg(distinct substring(a.application_name from '/([a-z]+)-[0-9a-f]+$')
      || case when a.wait_event_type = 'Lock' then ', waiting for a lock' else '' end, ', ')
    from pg_catalog.pg_stat_activity a
    where a.datname = h.datname
      and starts_with(a.application_name, h.application_name || '/')), 'between steps'))
from holder h
"""  # noqa: S608  a query of our own


def status(server: Server) -> Status:
    """Look at every selected service's database, `server.MAX_SESSIONS` at once.

    Raises `RefusedError` or `UnreachableError` when the server's databases cannot be listed; one
    that cannot be looked at has a failure in its row.
    """
    with closing(server.open()) as session, look.snapshot(session):
        there = {database.name: database for database in databases.find(session)}
        sessions = Counter(dict(_rows(session, _SESSIONS, [NAME])))
        holders = dict(_rows(session, _HOLDERS))
    names = [service.database for service in server.selected if service.database in there]
    looks = look.at_each(names, lambda name: look.at(server, name))
    rows = []
    for service in server.selected:
        name = service.database
        if name not in there:
            rows.append(ServiceStatus(service=service.name, database=name, exists=False))
            continue
        holder = holders.get(name)
        row = _row(service, there[name], looks[name])
        update = {"sessions": sessions[name], "holder": Holder(**holder) if holder else None}
        rows.append(row.model_copy(update=update))
    return Status(server=server.conninfo.where(), services=rows)


def exit_code(answer: Status) -> int:
    """0, or that of what could not be looked at."""
    return max((row.failure.exit_code for row in answer.services if row.failure), default=0)


def _rows(session: Session, query: str, params: Sequence[object] | None = None) -> list[Any]:
    with translated("looking at sessions", remedy="Start again."):
        return session.connection.execute(query.encode(), params).fetchall()


def _row(
    service: Service, database: Database, seen: Look | RefusedError | UnreachableError
) -> ServiceStatus:
    """The row of a database that is there; its ledger can be read without connecting to it."""
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
