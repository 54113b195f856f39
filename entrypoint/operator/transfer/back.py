"""After a transfer: put everything back, or remove what stayed behind."""

from typing import TYPE_CHECKING

from ...errors import TransferError
from ...postgres.session import Session, translated
from ...services import Service
from . import preflight, quarantine
from .asked import Ends
from .destination import free
from .locks import TIMEOUT_S
from .source import quoted
from .throwaway import QUIET

if TYPE_CHECKING:
    from ..report import Transferred


def undo(session: Session, ends: Ends) -> "Transferred":
    """Put the quarantined objects back where they came from, in one transaction.

    The target keeps what it has under another name, because the service may have written there.
    """
    found = _quarantines(session, ends.service)
    database = ends.service.database
    aside = free(session, database, "__undone")
    connection = session.connection
    with translated("putting the objects back", remedy="Stop what uses them; run it again."):
        connection.execute("begin")
        connection.execute(QUIET)
        connection.execute(f"set local lock_timeout = {int(TIMEOUT_S * 1000)}")
        for each in found:
            quarantine.empty(session, each)
        there = "select from pg_catalog.pg_database where datname = %s"
        exists = connection.execute(there, [database]).fetchone() is not None
        if exists:
            rename = f"alter database {quoted(database)} rename to {quoted(aside)}"
            connection.execute(rename.encode())
        connection.execute("commit")
    schemas = [each.schema for each in found]
    return ends.answer("undone", quarantine=schemas, kept_database=aside if exists else None)


def drop(session: Session, ends: Ends) -> "Transferred":
    """Remove the quarantined objects for ever, in one transaction."""
    found = _quarantines(session, ends.service)
    connection = session.connection
    with translated("removing the quarantine", remedy="Run it again."):
        connection.execute("begin")
        connection.execute(QUIET)
        connection.execute(f"set local lock_timeout = {int(TIMEOUT_S * 1000)}")
        quarantine.drop(session, found)
        connection.execute("commit")
    return ends.answer("dropped", quarantine=[each.schema for each in found])


def _quarantines(session: Session, service: Service) -> list[quarantine.Quarantine]:
    for each in preflight.event_triggers(session):
        raise TransferError(each.message, remedy=each.remedy)
    found = quarantine.find(session, service.name)
    if not found:
        raise TransferError(
            f"there is no quarantine of {service.name}",
            remedy="Name the database that it was moved from by --from.",
        )
    return found
