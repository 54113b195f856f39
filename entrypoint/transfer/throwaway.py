"""Roles that live as long as a transfer, so that others' code runs with no more rights than theirs.

A restore, a comparison and even the planning of a query run code of the tables' owners: checks,
defaults, generated columns, functions of indexes (with constant arguments even while a query is
planned), views. A superuser's session would run it as a superuser. SET ROLE does not help, because
the code can RESET ROLE. So roles run it that log in themselves and may do nothing else. The
*writer* owns what a restore makes, until nobody can be the writer any more. The *reader* may read
what moves, in read-only transactions. They are two, because the writer's code may change the
writer's password, and must be out before the comparison.
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
from ..config.conninfo import Conninfo
from ..errors import EntrypointError, RefusedError, Terminated, TransferError
from ..operator.server import Server
from ..postgres.session import Session, translated
from ..postgres.sql import load_sql, quoted
from .locks import batches
from .plan import Plan
from .source import queried

PREFIX: Final = "entrypoint_transfer_"
READERS: Final = 8  # sessions that a reader may have besides pg_dump's jobs
END_S: Final = 10.0  # seconds in which the sessions of a locked-out role must end
GRANT_S: Final = 1.0  # seconds that a GRANT waits for another session's
SHORTEST_S: Final = 3600.0  # seconds that a role can log in, at least, if nobody removes it
_INHERIT_SINCE: Final = 160000  # since this version each membership says whether it inherits
_OURS: Final = re.compile(f"{PREFIX}[0-9a-f]{{16}}")
_NOTE: Final = "a transfer's own, of the session "  # in a role's comment, before its maker's


class Throwaway(NamedTuple):
    """A role of a transfer."""

    name: str
    server: Server  # the server as this role logs in to it


class Terms(NamedTuple):
    """The limits of a role."""

    sessions: int
    seconds: float  # how long it can log in, or `SHORTEST_S` if that is longer
    bypass_rls: bool  # whether it sees rows that policies hide from all but a table's owner


class Hands(NamedTuple):
    """Roles to read, fill and check with; one without a name is the operator's, as is ``admin``."""

    reader: Throwaway
    writer: Throwaway
    checker: Throwaway
    admin: Session


@contextmanager
def reading(server: Server, database: str, plan: Plan) -> Iterator[Server]:
    """Yield the server as a role that may read what moves, for the time before a move."""
    with closing(server.session(database)) as admin, _removing() as made:
        role = make(admin, server, Terms(1, 0, hidden(admin, plan)), made)
        may_read(admin, role.name, plan)
        yield role.server


@contextmanager
def counting(
    admin: Session, server: Server, oids: Sequence[int], *, bypass_rls: bool
) -> Iterator[Server]:
    """Yield the server as a role that may read only these tables of the session's database."""
    with _removing() as made:
        role = make(admin, server, Terms(1, 0, bypass_rls), made)
        _grant(admin, role.name, "transfer/grant_to_connect", {"database": admin.database})
        _grant(admin, role.name, "transfer/grants_to_read", {"oids": list(oids), "functions": []})
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
    """Yield the roles of one transfer, on each side that is ``apart`` from the operator's role.

    The session in the source is in no transaction yet. Raises `RefusedError`.
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
                # The same name, because a dump contains the reader's rights on large objects.
                like = reader if reader.name else None
                checker = make(there, target, Terms(READERS, seconds, bypass), made, like)
        yield Hands(reader, writer, checker, there)


Made = list[tuple[Server, str]]  # roles, each with its server as the operator sees it


@contextmanager
def _removing() -> Iterator[Made]:
    """Remove the listed roles in the end; if that fails, the next transfer does it."""
    made: Made = []
    try:
        yield made
    finally:
        for server in {id(each): each for each, _ in made}.values():
            with suppress(EntrypointError, psycopg.Error):
                remove(server, [name for each, name in made if each is server])


def _come_in(role: Throwaway, database: str) -> None:
    """Log in once before locking anything: a server may ask for something other than a password."""
    try:
        role.server.session(database).close()
    except RefusedError as error:
        raise RefusedError(
            f"a role that the transfer created cannot log in: {error.message}",
            remedy="Allow every role to log in by scram-sha-256 from here (pg_hba.conf), or use "
            "--server to name the role that owns what moves.",
        ) from None


def make(
    admin: Session, server: Server, terms: Terms, made: Made, like: Throwaway | None = None
) -> Throwaway:
    """Make a role without rights, and note it in ``made`` for its removal.

    ``like`` is the same role on another server, or on this one by another address. Raises
    `RefusedError`.
    """
    name = like.name if like else PREFIX + secrets.token_hex(8)
    password = secrets.token_urlsafe(32)
    if like:
        password = like.server.conninfo.params["password"]
    log.hide([password])
    pgconn = admin.connection.pgconn
    # Send a verifier in place of the password, which the server's log may show.
    verifier = pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
    until = max(SHORTEST_S, terms.seconds)
    with translated("making a role for the transfer", remedy="Run the command again."):
        [(_, _, maker, _)] = admin.rows("transfer/own_backend")
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
        except Terminated:  # the server makes it anyway
            made.append((server, name))
            raise
        else:
            made.append((server, name))
    left = ("passfile", "sslpassword")
    params = {key: value for key, value in server.conninfo.params.items() if key not in left}
    params |= {"user": name, "password": password}
    conninfo = Conninfo(params, server.conninfo.variable, in_file=server.conninfo.in_file)
    return Throwaway(name, replace(server, conninfo=conninfo))


def may_read(admin: Session, role: str, plan: Plan | None = None) -> None:
    """Let a role read what the plan moves, or everything, in the session's database.

    The role evaluates with its own rights only. `remove` and `revoke_all` take them away. A dump
    from an older snapshot does not see the grants, but it can read, except large objects.
    """
    oids = functions = None
    if plan is not None:
        left = {each.oid for each in plan.not_copied}
        copied = (each for each in plan.source.relations.values() if not each.extension)
        oids = [each.oid for each in copied if each.oid not in left]
        functions = plan.used_functions()
    _grant(admin, role, "transfer/grants_to_read", {"oids": oids, "functions": functions or []})


def may_read_all(admin: Session, role: str) -> None:
    """Let a role that evaluates nothing read all tables, by a membership that blocks no session."""
    with translated("letting a role read", remedy="Run the command again."):
        member = f"GRANT pg_read_all_data TO {quoted(role)}"
        if admin.server_version >= _INHERIT_SINCE:
            member += " WITH INHERIT TRUE"
        else:
            member = f"ALTER ROLE {quoted(role)} INHERIT; {member}"
        admin.connection.execute(member.encode())


def may_read_objects(admin: Session, role: str) -> None:
    """Let a role connect to the session's database and read its large objects."""
    _grant(admin, role, "transfer/grants_to_read_objects", {"database": admin.database})


def _grant(admin: Session, role: str, query: str, params: dict[str, object]) -> None:
    """Wait only shortly for another session's GRANT, because writers may be locked out."""
    shortly = f"set local lock_timeout = {int(GRANT_S * 1000)}"
    with translated("letting a role read", remedy="Run the command again."):
        rows = admin.rows(query, params)
        grants = [f"GRANT {right} ON {on} TO {quoted(role)}" for right, on in rows]
        for batch in batches(grants):
            begin = [shortly, load_sql("transfer/quiet")]
            _insist(admin, "; ".join([*begin, *batch]).encode())


def _insist(admin: Session, statement: sql.Composed | bytes) -> None:
    """Try again if another session, such as a transfer's, changes the same row of a catalog."""
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
    """Whether the session's role is a superuser."""
    query = "select rolsuper from pg_catalog.pg_roles where rolname = current_user"
    with translated("looking at the role", remedy="Run the command again."):
        return session.connection.execute(query).fetchone() == (True,)


def hidden(session: Session, plan: Plan) -> bool:
    """Whether policies may hide rows of the source from a role that does not bypass them."""
    asked = [[*plan.source.relations]]
    [(may,)] = queried(session, "looking at row-level security", "transfer/hidden_rows", asked)
    return bool(may)


def lock_out(admin: Session, name: str) -> None:
    """End the role's sessions, and make sure that nobody can log in as it.

    Code that it evaluated may have changed its password. Blocks until its sessions have ended.
    Raises `TransferError` after `END_S` seconds.
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
                    remedy="End it with pg_terminate_backend, and run the transfer again.",
                )
            time.sleep(0.005)


def remove(server: Server, names: Sequence[str]) -> None:
    """Remove roles of a transfer, with their rights and sessions.

    An object that somebody made while logged in as one of them goes, too, in any database. A killed
    transfer's database stays: the next transfer to that target drops it. Raises `RefusedError`.
    """
    with closing(server.open()) as admin, ExitStack() as stack:
        # If a crash of the server brings a role back, the next transfer removes it.
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
    """The roles that exist; the server may still be making one for an interrupted session."""
    deadline = time.monotonic() + GRANT_S
    query = "select rolname::text from pg_catalog.pg_roles where rolname = any (%s)"
    while True:
        found = [name for (name,) in admin.connection.execute(query, [list(names)]).fetchall()]
        if len(found) == len(names) or time.monotonic() > deadline:
            return found
        time.sleep(0.005)


def revoke_all(session: Session, *names: str) -> None:
    """Revoke what roles that own nothing may do in the session's database."""
    roles = sql.SQL(", ").join(map(sql.Identifier, names))
    with translated("taking rights away", remedy=f"Run DROP OWNED BY {', '.join(names)}."):
        _insist(
            session,
            sql.SQL("{}; drop owned by {}").format(sql.SQL(load_sql("transfer/quiet")), roles),
        )


def remove_old(server: Server) -> None:
    """Remove the roles of killed transfers; a failure does no harm."""
    with suppress(EntrypointError, psycopg.Error):
        with closing(server.open()) as admin:
            params = {"prefix": PREFIX, "note": _NOTE}
            names = [name for (name,) in admin.rows("transfer/old_throwaways", params)]
        for name in filter(_OURS.fullmatch, names):
            remove(server, [name])
