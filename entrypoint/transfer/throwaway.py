"""Roles that live as long as a transfer: what others defined is evaluated by nobody mightier.

A restore, a comparison and even the planning of a query run what the owners of tables defined:
checks, defaults, generated columns, functions of indexes (those with constant arguments when a
query is planned), views. In a session that logged in as a superuser that would be done with a
superuser's rights, and SET ROLE is no help, because the content can say RESET ROLE. So it is done
by roles that log in for themselves and may do nothing else: the *writer* owns all that a restore
makes until nobody can be it any more; the *reader* may read what moves, in transactions that write
nothing. They are two, because the writer's content may give the writer another password, and must
not be there when what it made is compared.
"""

import re
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from typing import Final, NamedTuple

import psycopg
from psycopg import sql

from .. import log
from ..errors import EntrypointError, RefusedError, Terminated, TransferError
from ..operator.server import Server
from ..postgres.session import Session, quoted, translated
from ..postgres.sql import load_sql
from .lock_table import batches
from .plan import Plan

PREFIX: Final = "entrypoint_transfer_"

READERS: Final = 8
"""Sessions that a reader may have, beside pg_dump's jobs."""

END_S: Final = 10.0
"""Seconds in which the sessions of a role that is locked out must have ended."""

GRANT_S: Final = 1.0
"""Seconds that a GRANT waits for somebody else's."""

SHORTEST_S: Final = 3600.0
"""Seconds that a role can log in at the least, should nobody be left to remove it."""

_INHERIT_SINCE: Final = 160000
"""Since this version it is said for each membership."""

_OURS: Final = re.compile(f"{PREFIX}[0-9a-f]{{16}}")

_NOTE: Final = "a transfer's own, of the session "
"""What the comment on a role begins with; behind it who made it, by pid and start."""


class Throwaway(NamedTuple):
    """A role of a transfer's own."""

    name: str
    server: Server
    """The server as this role logs in to it."""


class Terms(NamedTuple):
    """What a role may besides what it is given."""

    sessions: int
    seconds: float
    """How long it can log in at the most, but no less than `SHORTEST_S`."""

    bypass_rls: bool
    """Whether it sees what row-level security hides from who does not own the table."""


class Hands(NamedTuple):
    """Who evaluates what: roles of the transfer's, or, without a name, the operator's own."""

    reader: Throwaway
    """Reads the source."""

    writer: Throwaway
    """Fills the target."""

    checker: Throwaway
    """Reads the target."""

    admin: Session
    """The operator's own, on the target's server."""

    @property
    def readers(self) -> list[str]:
        """Who was given rights that are no part of what moves."""
        return [each.name for each in (self.reader, self.checker) if each.name]


@contextmanager
def reading(server: Server, database: str, plan: Plan) -> Iterator[Server]:
    """The server as a role sees it that may read what moves, for the time before a move."""
    with closing(server.session(database)) as admin, _removing() as made:
        role = make(admin, server, Terms(1, 0, hidden(admin, plan)), made)
        may_read(admin, role.name, plan)
        yield role.server


@contextmanager
def counting(
    admin: Session, server: Server, oids: Sequence[int], *, bypass_rls: bool
) -> Iterator[Server]:
    """The server as a role sees it that may read these tables of the session's database only."""
    with _removing() as made:
        role = make(admin, server, Terms(1, 0, bypass_rls), made)
        _grant(
            admin,
            role.name,
            "transfer/grant_to_connect",
            {"database": admin.database},
        )
        _grant(
            admin,
            role.name,
            "transfer/grants_to_read",
            {"oids": list(oids), "functions": []},
        )
        yield role.server


@contextmanager
def hired(
    admins: tuple[Session, Session],
    servers: tuple[Server, Server],
    plan: Plan,
    jobs: int,
    *,
    apart: tuple[bool, bool],
) -> Iterator[Hands]:
    """The roles of one transfer, for the source and the target, ``apart`` from the operator's.

    The session in the source may not be in a transaction yet. Raises `RefusedError`.
    """
    (here, there), (source, target) = admins, servers
    same = source is target
    seconds = plan.estimate_s * 10
    with _removing() as made:
        reader = Throwaway("", source)
        writer = checker = Throwaway("", target)
        bypass = any(apart) and hidden(here, plan)
        if apart[0]:
            reader = make(here, source, Terms(jobs + READERS, seconds, bypass), made)
            may_read_objects(here, reader.name)
            _come_in(reader, here.database)
        if apart[1]:
            writer = make(there, target, Terms(jobs + 1, seconds, bypass), made)
            checker = reader
            if not (same and apart[0]):
                # Of one name, because a dump tells what the reader may of large objects.
                like = reader if reader.name else None
                checker = make(there, target, Terms(READERS, seconds, bypass), made, like)
        yield Hands(reader, writer, checker, there)


Made = list[tuple[Server, str]]
"""Roles by their servers, as the operator sees these."""


@contextmanager
def _removing() -> Iterator[Made]:
    """Remove the roles that are in the list in the end, with all that they were given.

    Where they cannot be removed, because the server is gone or we are killed, the next transfer
    does it.
    """
    made: Made = []
    try:
        yield made
    finally:
        for server in {id(each): each for each, _ in made}.values():
            with suppress(EntrypointError, psycopg.Error):
                remove(server, [name for each, name in made if each is server])


def _come_in(role: Throwaway, database: str) -> None:
    """Log in once before anything is locked: what a server asks for need not be a password."""
    try:
        role.server.session(database).close()
    except RefusedError as error:
        raise RefusedError(
            f"a role of the transfer's own cannot log in: {error.message}",
            remedy="Let all roles in by scram-sha-256 from here (pg_hba.conf), or name the role "
            "that owns what moves by --server.",
        ) from None


def make(
    admin: Session, server: Server, terms: Terms, made: Made, like: Throwaway | None = None
) -> Throwaway:
    """A role that may do nothing; it is noted in ``made`` for its removal.

    ``like`` is the same on another server, or on this one by another address. Raises
    `RefusedError`.
    """
    name = like.name if like else PREFIX + secrets.token_hex(8)
    password = secrets.token_urlsafe(32)
    if like:
        password = like.server.conninfo.params["password"]
    log.hide([password])
    pgconn = admin.connection.pgconn
    # The server gets what proves the password, not the password: nobody reads it in its log.
    verifier = pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
    until = max(SHORTEST_S, terms.seconds)
    with translated("making a role for the transfer", remedy="Start again."):
        [(maker,)] = admin.rows("transfer/throwaway_maker")
        [(end,)] = admin.connection.execute(
            "select (pg_catalog.clock_timestamp() + pg_catalog.make_interval(secs => %s))::text",
            [until],
        ).fetchall()
        statement = sql.SQL(load_sql("transfer/create_throwaway")).format(
            role=sql.Identifier(name),
            rls=sql.SQL("bypassrls" if terms.bypass_rls else "nobypassrls"),
            sessions=terms.sessions,
            verifier=verifier,
            end=end,
            note=_NOTE + maker,
        )
        try:
            admin.connection.execute(statement)
        except psycopg.errors.DuplicateObject:
            if like is None:
                raise
        except Terminated:  # the server makes it all the same
            made.append((server, name))
            raise
        else:
            made.append((server, name))
    return Throwaway(name, _as_role(server, name, password))


def _as_role(server: Server, name: str, password: str) -> Server:
    left = ("passfile", "sslpassword")
    params = {key: value for key, value in server.conninfo.params.items() if key not in left}
    params |= {"user": name, "password": password}
    return replace(server, conninfo=replace(server.conninfo, params=params, written_password=""))


def may_read(admin: Session, role: str, plan: Plan | None = None) -> None:
    """Let a role read what the plan moves, or all, in the session's database.

    Whatever it evaluates there has the rights of nobody but itself. `remove` and `revoke_all` take
    them away. A dump from a snapshot that is older does not know of them, and may read all the same
    but for large objects.
    """
    oids = functions = None
    if plan is not None:
        left = {each.oid for each in plan.not_copied}
        copied = (each for each in plan.source.relations.values() if not each.extension)
        oids = [each.oid for each in copied if each.oid not in left]
        functions = plan.used_functions()
    _grant(
        admin,
        role,
        "transfer/grants_to_read",
        {"oids": oids, "functions": functions or []},
    )


def may_read_all(admin: Session, role: str) -> None:
    """Let a role read every table, for a session that evaluates nothing.

    No table is changed by it, so it waits for nobody who changes one, and is in nobody's way.
    """
    with translated("letting a role read", remedy="Start again."):
        member = f"GRANT pg_read_all_data TO {quoted(role)}"
        if admin.server_version >= _INHERIT_SINCE:
            member += " WITH INHERIT TRUE"
        else:
            member = f"ALTER ROLE {quoted(role)} INHERIT; {member}"
        admin.connection.execute(member.encode())


def may_read_objects(admin: Session, role: str) -> None:
    """Let a role connect to the session's database and read its large objects."""
    _grant(
        admin,
        role,
        "transfer/grants_to_read_objects",
        {"database": admin.database},
    )


def _grant(admin: Session, role: str, query: str, params: dict[str, object]) -> None:
    """Who changes the same rights is waited for shortly: writers may be locked out meanwhile."""
    shortly = f"set local lock_timeout = {int(GRANT_S * 1000)}"
    with translated("letting a role read", remedy="Start again."):
        rows = admin.rows(query, params)
        grants = [f"GRANT {right} ON {on} TO {quoted(role)}" for right, on in rows]
        for batch in batches(grants):
            begin = [shortly, load_sql("transfer/quiet")]
            _insist(admin, "; ".join([*begin, *batch]).encode())


def _insist(admin: Session, statement: sql.Composed | bytes) -> None:
    """Run it again where somebody changes the same row of a catalog: the server refuses one.

    Two transfers do that, too, such as by the rights on the database that they look at.
    """
    deadline = time.monotonic() + GRANT_S
    while True:
        try:
            admin.connection.execute(statement)
        except psycopg.errors.InternalError_:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.005)
        else:
            return


def superuser(session: Session) -> bool:
    """Whether the session's role is one."""
    with translated("looking at the role", remedy="Start again."):
        row = session.connection.execute(
            "select rolsuper from pg_catalog.pg_roles where rolname = current_user"
        ).fetchone()
    return bool(row and row[0])


def hidden(session: Session, plan: Plan) -> bool:
    """Whether rows are hidden from who does not own their table, unless the role bypasses that."""
    with translated("looking at row-level security", remedy="Start again."):
        row = session.row("transfer/hidden_rows", [[*plan.source.relations]])
    return bool(row and row[0])


def lock_out(admin: Session, name: str) -> None:
    """See to it that nobody is this role, and nobody can be any more.

    Content that it evaluated may have changed its password. Blocks until its sessions have ended.
    Raises `TransferError` if one does not within `END_S` seconds.
    """
    role = sql.Identifier(name)
    deadline = time.monotonic() + END_S
    with translated("locking a role out", remedy=f"Run ALTER ROLE {name} NOLOGIN."):
        admin.connection.execute(
            sql.SQL("alter role {} nologin connection limit 0 password null").format(role)
        )
        while True:
            row = admin.row("transfer/end_sessions_of", [name])
            if not (row and row[0]):
                return
            if time.monotonic() > deadline:
                raise TransferError(
                    f"a session of the role {name} does not end",
                    remedy="End it by pg_terminate_backend, and run the transfer again.",
                )
            time.sleep(0.005)


def remove(server: Server, names: Sequence[str]) -> None:
    """Remove roles of a transfer's with what they were given, whoever is connected as them.

    What they own goes with them, in whichever database somebody made it who logged in as one of
    them. No database goes: that of a killed transfer is dropped by the next one to the same target.
    Raises `RefusedError`.
    """
    with closing(server.open()) as admin, ExitStack() as stack:
        # What a crash of the server brings back, the next transfer removes.
        admin.connection.execute("set synchronous_commit = off")
        if not (names := _there(admin, names)):
            return
        for name in names:
            lock_out(admin, name)
        roles = sql.SQL(", ").join(map(sql.Identifier, names))
        with translated("removing roles", remedy=f"Run DROP ROLE {', '.join(names)}."):
            for (database,) in admin.rows("transfer/databases_of_roles", [list(names)]):
                if database != admin.database:
                    revoke_all(stack.enter_context(closing(server.session(database))), *names)
            drop = sql.SQL("{}; drop owned by {}; drop role {}")
            _insist(admin, drop.format(sql.SQL(load_sql("transfer/quiet")), roles, roles))


def _there(admin: Session, names: Sequence[str]) -> list[str]:
    """Those of the roles that there are: a server may still be making one for who was ended."""
    deadline = time.monotonic() + GRANT_S
    query = "select rolname::text from pg_catalog.pg_roles where rolname = any (%s)"
    while True:
        found = [name for (name,) in admin.connection.execute(query, [list(names)]).fetchall()]
        if len(found) == len(names) or time.monotonic() > deadline:
            return found
        time.sleep(0.005)


def revoke_all(session: Session, *names: str) -> None:
    """Take away what roles, which own nothing, were given in the session's database."""
    roles = sql.SQL(", ").join(map(sql.Identifier, names))
    with translated("taking rights away", remedy=f"Run DROP OWNED BY {', '.join(names)}."):
        _insist(
            session,
            sql.SQL("{}; drop owned by {}").format(sql.SQL(load_sql("transfer/quiet")), roles),
        )


def remove_old(server: Server) -> None:
    """Remove what transfers that were killed left behind; where that fails it does no harm."""
    with suppress(EntrypointError, psycopg.Error):
        with closing(server.open()) as admin:
            params = {"prefix": PREFIX, "note": _NOTE}
            names = [name for (name,) in admin.rows("transfer/old_throwaways", params)]
        for name in filter(_OURS.fullmatch, names):
            remove(server, [name])
