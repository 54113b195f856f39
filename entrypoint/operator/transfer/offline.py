"""A transfer while nobody is connected: the server copies the database, then the copy is pruned.

Several times faster than a dump. What somebody writes to the source between the copy and the locks
is found by the comparison that follows: such rows are younger than the copy.
"""

import time
from contextlib import closing
from typing import Final

import psycopg
from psycopg import sql

from ...errors import EntrypointError, TransferError
from ...postgres.session import Session, translated
from ..server import Server
from . import quarantine
from .destination import Target
from .plan import Plan
from .source import quoted
from .target import drop

TIMEOUT_S: Final = 10.0
"""Seconds in which the source must be without sessions."""

_STRATEGY_SINCE: Final = 150000

_NEXT: Final = """
select (pg_catalog.txid_snapshot_xmax(pg_catalog.txid_current_snapshot()) & 4294967295)::text
"""

_CONNECTED: Final = """
select coalesce(string_agg(format('%%s (%%s, pid %%s)', coalesce(nullif(application_name, ''),
  'no name'), usename, pid), ', '), 'somebody')
from pg_catalog.pg_stat_activity where datname = %s and pid <> pg_backend_pid()
"""


# A schema's owner may drop what others own in it.
_OWNERS: Final = """
select role from (
  select pg_get_userbyid(datdba) from pg_database
  where datname = current_database() and not datistemplate
  union
  select pg_get_userbyid(owner) from (
    select relowner, relnamespace from pg_class where oid = any (%(relations)s)
    union all select proowner, pronamespace from pg_proc where oid = any (%(others)s)
    union all select typowner, typnamespace from pg_type where oid = any (%(others)s)
  ) as each (owner, space) join pg_namespace n on n.oid = space
  where not pg_has_role(nspowner, 'usage')
  union
  select pg_get_userbyid(nspowner) from pg_namespace where nspname = any (%(schemas)s)
) as needed (role) where not pg_has_role(role, 'usage') order by 1
"""


def owners(session: Session, plan: Plan) -> list[str]:
    """The roles that copying the source and pruning the copy needs, and this one does not have."""
    params = {
        "relations": [each.oid for each in plan.not_copied],
        "others": [oid for _, oid in plan.left_out],
        "schemas": [each.schema for each in quarantine.find(session)],
    }
    with translated("looking at the role's rights", remedy="Start again."):
        rows = session.connection.execute(_OWNERS, params).fetchall()
    return [name for (name,) in rows]


def copy(server: Server, source: str, target: Target) -> str:
    """Copy a database that nobody is connected to into the incoming one.

    Returns a transaction's number, as an xid: what has a lower one is in the copy. New connections
    to the source wait until it is done. Raises `TransferError` when somebody is connected for
    `TIMEOUT_S` seconds.
    """
    deadline = time.monotonic() + TIMEOUT_S
    with closing(_beside(server, source)) as admin:
        drop(admin, target.incoming)
        statement = sql.SQL("create database {} template {} owner {}").format(
            sql.Identifier(target.incoming), sql.Identifier(source), sql.Identifier(target.owner)
        )
        if admin.server_version >= _STRATEGY_SINCE:
            statement += sql.SQL(" strategy file_copy")
        with translated(f"copying {source!r}", remedy="Let the role copy it: it must own it."):
            while True:
                try:
                    row = admin.connection.execute(_NEXT).fetchone()
                    admin.connection.execute(statement)
                except psycopg.errors.ObjectInUse:  # the server itself waited for 5 s
                    if time.monotonic() > deadline:
                        raise _busy(admin, source) from None
                    continue
                return str(row[0] if row else 0)


def _beside(server: Server, source: str) -> Session:
    """A session in another database than the source."""
    others = [name for name in server.maintenance if name != source]
    for name in [*others, "template1"]:
        try:
            return server.session(name)
        except EntrypointError:
            continue
    raise TransferError(
        f"there is no other database than {source!r} to copy it from",
        remedy="Set ENTRYPOINT_MAINTENANCE_DATABASE to one that this role may connect to.",
    )


def _busy(admin: Session, source: str) -> TransferError:
    row = admin.connection.execute(_CONNECTED, [source]).fetchone()
    return TransferError(
        f"somebody is connected to {source!r}: {row[0] if row else 'somebody'}",
        remedy="Stop what is connected, or transfer without --offline.",
    )


def prune(session: Session, plan: Plan) -> None:
    """Remove from the copy what is not the service's: everything that stays in the source."""
    statements = [
        f"DROP {each.sql_kind()} IF EXISTS {each.quoted()} CASCADE"
        for each in plan.not_copied
        if each.owner_table is None
    ]
    statements += [
        f"DROP {plan.source.others[key].kind} IF EXISTS {plan.source.others[key].identity} CASCADE"
        for key in plan.left_out
    ]
    statements += [f"DROP PUBLICATION {quoted(each.name)}" for each in plan.unpublished]
    statements += [
        f"DROP SCHEMA {quoted(each.schema)} CASCADE" for each in quarantine.find(session)
    ]
    with translated("pruning the copy", remedy="Run the transfer again, without --offline."):
        connection = session.connection
        connection.execute("begin")
        for statement in statements:
            connection.execute(statement.encode())
        connection.execute("commit")
