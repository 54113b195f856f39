"""``seed.check``: whether the tenant's rows are there."""

from contextlib import nullcontext

from psycopg.pq import TransactionStatus

from .. import log
from ..errors import RefusedError
from ..postgres.session import Session, translated


def is_there(session: Session, check: str, tenant: str | None) -> bool:
    """Whether ``seed.check`` finds a row: data that somebody emptied is seeded again.

    A check that fails finds none, and is logged. Leaves an open transaction as it was. Raises
    `UnreachableError` when the connection is gone.
    """
    connection = session.connection
    in_transaction = connection.info.transaction_status == TransactionStatus.INTRANS
    try:
        savepoint = connection.transaction() if in_transaction else nullcontext()
        with translated("running seed.check", remedy="Correct seed.check."), savepoint:
            row = connection.execute(check, {"tenant_id": tenant}).fetchone()
    except RefusedError as error:
        log.event("warning", "seed.check_failed", error=error.message, remedy=error.remedy)
        return False
    return row is not None
