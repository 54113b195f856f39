"""``seed.check``: whether the tenant's rows are there."""

from .. import log
from ..errors import RefusedError
from ..postgres import ownership
from ..postgres.session import Session, translated


def _refuse_superuser(session: Session) -> None:
    if ownership.lesser_content(session):
        raise RefusedError(
            "seed.check was not asked: the role is a superuser, and the query might call what "
            "another role has defined in this database",
            remedy="Give the service a role of its own in DATABASE_URL.",
        )


def is_there(session: Session, check: str, tenant: str | None) -> bool:
    """Whether ``seed.check`` finds a row: data that somebody emptied is seeded again.

    It runs as the service's own role, with that one's search_path, and can write nothing. A check
    that fails finds no row, and is logged; so is one that a superuser must not ask. Leaves an open
    transaction as it was. Raises `UnreachableError` when the connection is gone.
    """
    try:
        with translated("running seed.check", remedy="Correct seed.check."):
            with session.transaction():
                _refuse_superuser(session)
            with session.transaction(names="default", undone=True):
                session.connection.execute("set transaction read only")
                row = session.connection.execute(check, {"tenant_id": tenant}).fetchone()
    except RefusedError as error:
        log.event("warning", "seed.check_failed", error=error.message, remedy=error.remedy)
        return False
    return row is not None
