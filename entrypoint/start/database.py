"""Opens a session in the service's database, creates the database, and tests the service's URL."""

import time
from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from .. import log
from ..config.conninfo import Conninfo
from ..errors import EntrypointError, RefusedError, SettingsError, UnreachableError, plural
from ..postgres.cause import Cause, ConnectError, Kind
from ..postgres.session import WORD_S, Session, translated
from . import wait
from .wait import Connect

if TYPE_CHECKING:
    from ..config.previews import Preview

_PUBLIC_CLOSED_SINCE: Final = 150000  # PUBLIC has no right to create in schema public
_UNLISTED: Final = "no such database: "  # PgBouncer's words for what its list lacks
AFTER_CREATE_S: Final = 20.0  # PgBouncer retries a failed login after 15 s by default


class Place(NamedTuple):
    """Identifies a database and its server; every role may ask for it, poolers included."""

    started_at: float  # of the server: differs between a server and its copies, and after a restart
    oid: int


class CreateOptions(NamedTuple):
    """How to create a missing database: as which role, from which databases, open to whom."""

    admin: Conninfo
    maintenance_databases: tuple[str, ...]
    isolate: bool
    preview: "Preview | None" = None  # whose database it is


def ask(
    target: Conninfo, options: CreateOptions, connect: Connect, timeout_s: float
) -> Cause | bool:
    """Ask the maintenance databases whether the target is missing: `Cause` if it is.

    Otherwise, whether a server or pooler responded, which may only be slow. Blocks up to
    ``timeout_s`` seconds and one short attempt.
    """
    deadline = time.monotonic() + timeout_s
    for name in options.maintenance_databases:
        try:
            session = connect(options.admin.with_database(name), deadline - time.monotonic())
        except ConnectError as error:
            if error.cause.sqlstate is not None:
                return True  # it refuses us, but it responds
            if error.cause.silent:
                return False
            continue
        with closing(session):
            # Outside a transaction, so this may be a pooler's session with a strange search_path.
            query = "select from pg_catalog.pg_database where datname operator(pg_catalog.=) %s"
            with translated("looking for the database", remedy="Start again."):
                if session.connection.execute(query, [target.database]).fetchone():
                    return True
        text = "connections to it get no answer, and the server has no such database"
        return Cause(Kind.MISSING, text, "Create the database.")
    return False


def database(
    target: Conninfo,
    reached: Session | Cause,
    options: CreateOptions,
    connect: Connect,
    deadline: float,
) -> tuple[Session, bool]:
    """Return a session in the target, and whether this call created the database.

    Raises `SettingsError` if the session is in another database than the URL names, and what
    `wait` and `databases.create` raise.
    """
    if isinstance(reached, Session):
        _check_name(target, reached)
        return reached, False
    if options.preview and _UNLISTED in reached.text:
        # To create the database would not help, and nobody would drop it.
        raise RefusedError(
            f"the preview's database cannot be reached: {reached.text}",
            remedy="Add * to the pooler's list of databases, or give previews a URL past the "
            "pooler.",
        )
    created = _create(target, options, connect, deadline)
    return _open(target, connect, max(deadline, time.monotonic() + AFTER_CREATE_S)), created


def _check_name(target: Conninfo, session: Session) -> None:
    if session.database != target.database:
        session.close()
        raise SettingsError(
            [f"{target.variable} names {target.database!r}, but leads to {session.database!r}"],
            remedy=f"Correct the pooler's alias, or name the database itself in {target.source}.",
        )


def place(session: Session) -> Place:
    """Return a session's place. Raises `RefusedError` and `UnreachableError`."""
    doing = "asking which server this is"
    with translated(doing, remedy="Start again."), session.patience(WORD_S):
        return Place(*session.rows("start/place")[0])


def as_service(
    own: Conninfo,
    direct: Conninfo | None,
    known: Place | None,
    connect: Connect,
    deadline: float,
) -> None:
    """Connect by the service's URL, and check that it leads where the start worked before.

    ``known`` is the place that ``direct`` led to; both are None if there is only one URL. Blocks
    until ``deadline``, an instant of ``time.monotonic``, and 24 s more. Raises `SettingsError` if
    the URL leads elsewhere, `RefusedError` and `UnreachableError`.
    """
    try:
        if direct is None:
            _open(own, connect, deadline).close()
            return
        found = _place(own, connect, deadline)
        # A restart between the two looks does not make it another server.
        if found == known or (_place(direct, connect, deadline) == _place(own, connect, deadline)):
            return
    except (RefusedError, UnreachableError) as error:
        error.message = f"{own.variable}, which the service gets, does not work: {error.message}"
        if direct and isinstance(error, UnreachableError):
            error.remedy = (
                f"Correct {own.source}, or the pooler's list of databases and roles: the server "
                f"itself accepts {direct.variable}."
            )
        raise
    where = f"{own.variable} leads to another server than {direct.variable} ({own.where()} and "
    what = "so the start would push to another database than the service uses"
    raise SettingsError(
        [f"{where}{direct.where()}), {what}"],
        remedy=f"Set {own.variable} to a pooler of the server that {direct.variable} names, or "
        f"unset {direct.variable}.",
    )


def _open(conninfo: Conninfo, connect: Connect, deadline: float) -> Session:
    session = wait.until_ready(conninfo, connect, deadline=deadline, attempt_s=wait.POOLER_S)
    _check_name(conninfo, session)
    return session


def _place(conninfo: Conninfo, connect: Connect, deadline: float) -> Place:
    with closing(_open(conninfo, connect, deadline)) as session:
        return place(session)


def _create(target: Conninfo, options: CreateOptions, connect: Connect, deadline: float) -> bool:
    from ..postgres import databases  # only a missing database needs it

    admin = _maintenance(options, connect, deadline)
    if admin is None:
        return False
    with closing(admin):
        if options.preview and options.preview.own:
            _check_room(admin, options.preview)
        version = admin.server_version
        owner = databases.acts_as(admin, target.user)
        created = databases.create(
            admin, target.database, owner=owner, isolate=options.isolate, deadline=deadline
        )
    if created:
        log.event("info", "database.created", database=target.database, owner=owner)
    if created and options.isolate and version < _PUBLIC_CLOSED_SINCE:
        admin_there = options.admin.with_database(target.database)
        _close_public(admin_there, owner, connect, deadline)
    return created


def _check_room(admin: Session, preview: "Preview") -> None:
    """Refuse one more preview than ``preview.max``. Those that start at once may all pass."""
    from ..config import previews
    from ..postgres import databases

    databases.read_any_encoding(admin)
    with translated("counting the previews", remedy="Start again."):
        rows = admin.connection.execute("select datname from pg_catalog.pg_database").fetchall()
    there = {previews.of_database(name, preview.own or "") for (name,) in rows} - {None}
    if preview.id in there or len(there) < preview.most:
        return
    raise RefusedError(
        f"{plural(len(there), 'preview')} of {preview.own!r} on the server already, and "
        f"preview.max is {preview.most}, so the start creates no database for preview {preview.id}",
        remedy="Run entrypoint previews to see them; drop those of closed pull requests with "
        "--drop-closed or --drop-older-than, and by hand those without a mark, or raise "
        "preview.max.",
    )


def _close_public(admin: Conninfo, owner: str, connect: Connect, deadline: float) -> None:
    """Do what newer servers do by default; `under_lock` reports it if our role may not."""
    from ..postgres import ownership

    ready = partial(wait.until_ready, admin, connect, deadline=deadline)
    with suppress(RefusedError), closing(ready()) as new:
        ownership.close_public(new, owner)


def _maintenance(options: CreateOptions, connect: Connect, deadline: float) -> Session | None:
    """Open a session to create the database from; None if a pooler hides the cause."""
    refusal: EntrypointError | None = None
    unclear = False
    for name in options.maintenance_databases:
        admin = options.admin.with_database(name)
        try:
            reached = wait.until_answered(admin, connect, deadline=deadline)
        except RefusedError as error:
            refusal = refusal or error
            continue
        if isinstance(reached, Session):
            return reached
        unclear = unclear or reached.kind is Kind.UNCLEAR
    if unclear:
        return None
    names = ", ".join(options.maintenance_databases)
    raise refusal or RefusedError(
        f"the server has none of the maintenance databases {names}",
        remedy="Set ENTRYPOINT_MAINTENANCE_DATABASE to a database that this role may connect to.",
    )
