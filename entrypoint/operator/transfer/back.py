"""After a transfer: put everything back, or remove what stayed behind."""

from ...errors import TransferError
from ...postgres.session import Session, translated
from ...services import Service
from ..report import Transferred
from ..server import Server
from . import quarantine
from .locks import TIMEOUT_S
from .source import quoted
from .target import free


def undo(session: Session, server: Server, service: Service, database: str) -> Transferred:
    """Put the quarantined objects back where they came from, in one transaction.

    The target keeps what it has under another name, because the service may have written there.
    """
    found = _quarantines(session, service)
    aside = free(session, service.database, "__undone")
    connection = session.connection
    with translated("putting the objects back", remedy="Stop what uses them; run it again."):
        connection.execute("begin")
        connection.execute(f"set local lock_timeout = {int(TIMEOUT_S * 1000)}")
        for each in found:
            quarantine.empty(session, each)
        there = "select from pg_catalog.pg_database where datname = %s"
        exists = connection.execute(there, [service.database]).fetchone() is not None
        if exists:
            rename = f"alter database {quoted(service.database)} rename to {quoted(aside)}"
            connection.execute(rename.encode())
        connection.execute("commit")
    return Transferred(
        service=service.name,
        source=f"{server.conninfo.where()}/{database}",
        target=f"{server.conninfo.where()}/{service.database}",
        result="undone",
        quarantine=[each.schema for each in found],
        kept_database=aside if exists else None,
    )


def drop(session: Session, server: Server, service: Service, database: str) -> Transferred:
    """Remove the quarantined objects for ever, in one transaction."""
    found = _quarantines(session, service)
    connection = session.connection
    with translated("removing the quarantine", remedy="Run it again."):
        connection.execute("begin")
        connection.execute(f"set local lock_timeout = {int(TIMEOUT_S * 1000)}")
        quarantine.drop(session, found)
        connection.execute("commit")
    return Transferred(
        service=service.name,
        source=f"{server.conninfo.where()}/{database}",
        target=f"{server.conninfo.where()}/{service.database}",
        result="dropped",
        quarantine=[each.schema for each in found],
    )


def _quarantines(session: Session, service: Service) -> list[quarantine.Quarantine]:
    found = quarantine.find(session, service.name)
    if not found:
        raise TransferError(
            f"there is no quarantine of {service.name}",
            remedy="Name the database that it was moved from by --from.",
        )
    return found
