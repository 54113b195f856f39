"""Step 5, before the seed: find its tenant at another service's URL or in its database."""

import json
import re
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any, Final

from .. import log, timelimit
from ..config.conninfo import Conninfo
from ..config.keys import LOOKUP_URL, UUID, shortened
from ..config.settings import Lookup
from ..config.urls import safe
from ..errors import EntrypointError, RefusedError, SeedError, UnreachableError
from ..postgres.cause import ConnectError, Kind
from ..postgres.opening import ATTEMPT_TIMEOUT_S
from ..postgres.session import Session, translated
from ..retry import Backoff, Wait
from .steps import since

Connect = Callable[[Conninfo, float], Session]  # within these seconds; raises `ConnectError`
SHORTEST_S: Final = 1.0  # seconds that an attempt has at least, even at the deadline
QUERY_TIMEOUT_S: Final = 10.0  # seconds for the query at most

_NOT_YET: Final = ("3D000", "3F000", "42P01", "42703")
"""SQLSTATEs of a missing database, schema, table or column: its service may be creating it."""

_PASSING: Final = ("40", "55")  # classes of SQLSTATEs that a retry may cure: conflicts and locks
_NO_PRIVILEGE: Final = "42501"
_CORRECT: Final = "Correct seed.tenant_lookup, or set SEED_TENANT_ID."
_INDEX = re.compile(r"[0-9]{1,9}")


class _NotYetError(Exception):
    """There is no tenant yet; the text says why."""


def find(lookup: Lookup, server: Conninfo, connect: Connect, check: Callable[[], object]) -> str:
    """Return the tenant's UUID in lower case, once the lookup's URL or database has it.

    ``server`` is the database's server and the role for the query. Blocks up to
    ``lookup.timeout_s`` seconds and one short attempt; calls ``check`` before each attempt, and
    raises what it raises. Raises `UnreachableError` at the deadline; at once, `RefusedError` for a
    missing permission and `SeedError` for an answer that is not one tenant.
    """
    source = safe(lookup.url) if lookup.url else str(lookup.database)
    deadline = time.monotonic() + lookup.timeout_s
    about = f"the tenant at {source}: "
    wait = Wait("tenant.retry_scheduled", Backoff(deadline), about=about, source=source)
    while True:
        check()
        try:
            found = _found(lookup, server, connect, deadline)
        except _NotYetError as error:
            cause = str(error)
        except EntrypointError as error:
            error.message = f"the tenant's lookup at {source}: {error.message}"
            raise
        else:
            fields = {"tenant_id": found, "source": source, "elapsed_s": since(wait.started)}
            log.event("info", "tenant.found", **fields)
            return found
        if not wait.pause(cause):
            raise UnreachableError(
                f"the start found no tenant at {source} within {wait.waited_s:.1f} s: {cause}",
                remedy="Set SEED_TENANT_ID, create the tenant, or raise the timeout of "
                "seed.tenant_lookup.",
                attempts=wait.backoff.attempts,
            )


def _found(lookup: Lookup, server: Conninfo, connect: Connect, deadline: float) -> str:
    """Make one attempt. Raises `_NotYetError`, and what `find` raises at once."""
    if lookup.url:
        found = _asked(lookup.url, lookup.field, _left_s(deadline, ATTEMPT_TIMEOUT_S))
    else:
        found = _queried(server.with_database(str(lookup.database)), lookup, connect, deadline)
    if not isinstance(found, str) or not UUID.fullmatch(found):
        raise SeedError(f"{shortened(found)} is not a UUID", remedy=_CORRECT)
    return found.lower()


def _left_s(deadline: float, most_s: float) -> float:
    return min(most_s, max(SHORTEST_S, deadline - time.monotonic()))


def _asked(url: str, field: str, timeout_s: float) -> object:
    from .. import http_client

    try:
        answer = timelimit.run(lambda: http_client.ask(url, timeout_s), timeout_s)
    except http_client.RequestError as problem:
        if problem.permanent:
            raise RefusedError(problem.text, remedy=_CORRECT) from None
        raise _NotYetError(problem.text) from None
    except TimeoutError:  # the resolver took too long
        raise _NotYetError(f"no answer within {timeout_s:.2g} s") from None
    if not 200 <= answer.status < 300:  # noqa: PLR2004  HTTP's
        redirect = "; the lookup follows no redirect" if answer.location else ""
        raise _NotYetError(f"answered {answer.status}{redirect}")
    if len(answer.body) >= http_client.MAX_BODY:
        raise SeedError("the answer is longer than 1 MiB", remedy=_CORRECT)
    if not answer.body.strip():
        raise _NotYetError("the answer is empty")
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        raise SeedError("the answer is not JSON", remedy=_CORRECT) from None
    return _at(field, found)


def _at(field: str, value: Any) -> object:  # noqa: ANN401  whatever JSON holds
    """Follow a path with dots; a list with one element stands for that element."""
    for name in field.split("."):
        while isinstance(value, list) and not _INDEX.fullmatch(name):
            value = _only(value)
        if isinstance(value, list):
            value = value[int(name)] if int(name) < len(value) else None
        elif isinstance(value, dict) and name in value:
            value = value[name]
        elif value is not None:
            raise SeedError(f"the answer has no field {shortened(field)}", remedy=_CORRECT)
    while isinstance(value, list):
        value = _only(value)
    if value is None:
        raise _NotYetError(f"the answer has no value at {shortened(field)}")
    return value


def _queried(conninfo: Conninfo, lookup: Lookup, connect: Connect, deadline: float) -> str:
    """Ask a database.

    The query may call functions of the database's owner with our role's rights. So the role must
    not be a mighty one, and the transaction is read-only, from which no function can escape.
    """
    session = _opened(conninfo, connect, _left_s(deadline, ATTEMPT_TIMEOUT_S))
    timeout_s = _left_s(deadline, QUERY_TIMEOUT_S)
    # The server applies its own timeout, so its error comes first if it responds at all.
    limit = timelimit.Limit(session.connection.fileno(), timeout_s + SHORTEST_S)
    try:
        with closing(session), closing(limit), translated("the query failed", remedy=_CORRECT):
            rows = _rows(session, str(lookup.query), timeout_s)
    except UnreachableError as error:
        passed = f"no answer to the query within {timeout_s:.2g} s"
        raise _NotYetError(passed if limit.passed else error.message) from None
    except RefusedError as error:
        code = str(error.fields.get("sqlstate", ""))
        if code in _NOT_YET or code[:2] in _PASSING:
            raise _NotYetError(error.message) from None
        if code == _NO_PRIVILEGE:
            error.remedy = _grant(conninfo)
            raise
        raise SeedError(error.message, remedy=_CORRECT, **error.fields) from None
    if rows is None:
        raise RefusedError(
            f"the role {conninfo.user!r} is a superuser or may use the server's files and programs "
            "or end sessions, so the start runs no query as this role",
            remedy=f"Set {LOOKUP_URL} to a role that may only CONNECT to {conninfo.database!r} and "
            "SELECT from the query's tables.",
        )
    row = _only(rows)
    if not row:
        raise SeedError("the query has no column", remedy=_CORRECT)
    if row[0] is None:
        raise _NotYetError("the row has no value")
    return str(row[0])


def _opened(conninfo: Conninfo, connect: Connect, timeout_s: float) -> Session:
    try:
        return connect(conninfo, timeout_s)
    except ConnectError as error:
        cause = error.cause
        if cause.kind is not Kind.REFUSED:
            raise _NotYetError(cause.text) from None
        right = cause.sqlstate == _NO_PRIVILEGE
        remedy = _grant(conninfo) if right else cause.remedy.format(url=conninfo.source)
        raise RefusedError(cause.text, remedy=remedy) from None


def _rows(session: Session, query: str, timeout_s: float) -> list[tuple[Any, ...]] | None:
    """Fetch two rows at most: a second is too many. None if our role's rights could do harm."""
    connection = session.connection
    connection.read_only = True
    with session.transaction(undone=True):
        if any(mighty for (mighty,) in session.rows("start/is_mighty") or [(True,)]):
            return None
    with session.transaction(names="default", undone=True):
        connection.execute(f"set local statement_timeout = {timeout_s * 1000:.0f}")
        with connection.cursor("entrypoint_tenant") as cursor:
            return cursor.execute(query).fetchmany(2)


def _grant(conninfo: Conninfo) -> str:
    remedy = (
        f'Run GRANT CONNECT ON DATABASE "{conninfo.database}" and GRANT SELECT ON the query\'s '
        f'tables TO "{conninfo.user}"'
    )
    if conninfo.variable == LOOKUP_URL:
        return f"{remedy}."
    return f"{remedy}, or set {LOOKUP_URL} to a role that may read them."


def _only(values: list[Any]) -> Any:  # noqa: ANN401  whatever it holds
    """The only element. Raises `_NotYetError` if there is none, `SeedError` if there are more."""
    if not values:
        raise _NotYetError("there is no tenant yet")
    if len(values) > 1:
        raise SeedError(
            "there is more than one tenant",
            remedy="Narrow seed.tenant_lookup to one tenant, or set SEED_TENANT_ID.",
        )
    return values[0]
