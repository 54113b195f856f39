"""``seed.check``: whether the tenant's rows are there."""

from typing import Final

from .. import log
from ..errors import RefusedError, UnreachableError
from ..postgres import ownership
from ..postgres.session import CANCELLED, Session, translated

SOON_S: Final = 5.0
"""Seconds that a check may take before a seed, and half as many to wait for a lock."""

LATE_S: Final = 30.0
"""The same after a seed, which is not believed without it."""


def _refuse_superuser(session: Session) -> None:
    if ownership.lesser_content(session):
        raise RefusedError(
            "seed.check was not asked: the role is a superuser, and the query might call what "
            "another role has defined in this database",
            remedy="Give the service a role of its own in DATABASE_URL.",
        )


def is_there(
    session: Session, check: str, tenant: str | None, timeout_s: float = SOON_S
) -> bool | None:
    """Whether ``seed.check`` finds a row: data that somebody emptied is seeded again.

    It runs as the service's own role, with that one's search_path, and can write nothing. None when
    the server has no answer in ``timeout_s`` seconds, such as while somebody has locked the table,
    so that nothing is proved; that is logged. A check that fails finds no row, and is logged; so is
    one that a superuser must not ask. Leaves an open transaction as it was. Raises
    `UnreachableError` when the connection is gone.
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
    """Who has locked tables so that nobody can read them, in words; for a check without answer."""
    from ..postgres import blockers

    found = blockers.of_readers(session)
    return ", ".join(found) or "it took too long"
