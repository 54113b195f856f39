"""Runs ``seed.check``, the query that finds what a seed has made."""

from typing import Final

from .. import log
from ..errors import RefusedError, UnreachableError
from ..postgres import blockers, ownership
from ..postgres.opening import CANCELLED
from ..postgres.session import Session, translated

CHECK_SOON_S: Final = 5.0  # seconds before a seed, half of them for a lock
CHECK_LATE_S: Final = 30.0  # seconds after a seed, whose success it must prove


def _refuse_superuser(session: Session) -> None:
    if ownership.lesser_content(session):
        raise RefusedError(
            "the start did not run seed.check: the role is a superuser, and the query might call "
            "code that another role has defined in this database",
            remedy="Give the service a role of its own in DATABASE_URL.",
        )


def is_there(
    session: Session, check: str, tenant: str | None, timeout_s: float = CHECK_SOON_S
) -> bool | None:
    """Whether ``seed.check`` finds a row; if not, the start seeds again.

    Runs read-only, as the service's role and with its search_path. Returns None, and logs why, if
    the server does not answer within ``timeout_s`` seconds, for example because a session has
    locked the table. Logs a failed check, or one that a superuser must not run, and counts it as no
    row. Leaves an open transaction as it was. Raises `UnreachableError` if the connection is gone.
    """
    try:
        with translated("running seed.check", remedy="Correct seed.check."):
            with session.transaction():
                _refuse_superuser(session)
            with session.transaction(names="default", undone=True, timeout_s=timeout_s):
                session.connection.execute("set transaction read only")
                row = session.connection.execute(check, {"tenant_id": tenant}).fetchone()
    except RefusedError as error:
        log.event("warning", "seed.check_failed", error=error.message, remedy=error.remedy)
        return False
    except UnreachableError as error:
        if error.fields.get("sqlstate") not in CANCELLED:
            raise
        message = f"{error.message}: {waited_for(session)}"
        log.event("warning", "seed.check_failed", error=message, remedy=error.remedy)
        return None
    return row is not None


def waited_for(session: Session) -> str:
    """Name the sessions whose locks keep readers waiting, for a check without an answer."""
    found = blockers.of_readers(session)
    return ", ".join(found) or "the query took too long"
