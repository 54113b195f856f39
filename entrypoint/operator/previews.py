"""The databases of previews: which there are, and which nobody needs any more.

A database counts as a preview's if its name is the one that previews of a service in the registry
get, and no row of the registry claims it. Only one whose ledger says the same is ever dropped.
"""

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from psycopg import sql

from ..config import previews
from ..config.keys import NUMBER
from ..config.registry import Service
from ..errors import RefusedError, SettingsError, UnreachableError
from ..files import read
from ..postgres import databases, ledger
from ..postgres.databases import Database
from ..postgres.ledger import Mark
from ..postgres.session import Session, translated
from ..postgres.sql import quoted
from . import look
from .report import Failure, PreviewDatabase, Previews, failure
from .server import NAME, Server

DROP_S: Final = 300.0  # seconds that one removal may take: the server makes a checkpoint first
LOCK_S: Final = 10.0  # seconds that it may wait for a lock of the database's owner
TRIES: Final = 3  # at a database whose clients come back
_LIMITS: Final = (
    f"set statement_timeout = {DROP_S * 1000:.0f}; set lock_timeout = {LOCK_S * 1000:.0f}"
)
MAX_FILE_BYTES: Final = 1 << 20
Agree = Callable[[Previews], object]  # shows a person what would go; raises without agreement


class Choice(NamedTuple):
    """Which previews to drop; a preview that no part names stays."""

    numbers: Collection[str] = ()
    older_s: float | None = None  # those whose last start is so many seconds ago
    open_numbers: Collection[str] | None = None  # all numbers but these
    force: bool = False  # whether to end the sessions of clients


def listed(server: Server) -> Previews:
    """The previews' databases of the selected services.

    Raises `RefusedError` or `UnreachableError` if the command cannot list the databases.
    """
    with closing(server.open()) as session:
        return _listed(session, server)


def of(database: Database, registry: Collection[Service]) -> tuple[Service, str] | None:
    """The service and the preview whose database has this name, which no row claims."""
    if any(service.database == database.name for service in registry):
        return None
    found = ((each, previews.of_database(database.name, each.database)) for each in registry)
    return next(((each, preview) for each, preview in found if preview), None)


def mark_of(database: Database, service: Service, preview: str) -> Mark | None:
    """The mark by which the database's ledger says that it is this preview's."""
    mark = ledger.parse(database.comment).preview
    return mark if mark and (mark.service, mark.preview) == (service.name, preview) else None


def drop(server: Server, choice: Choice, agree: Agree | None, *, dry_run: bool) -> Previews:
    """Drop the chosen previews' databases, one after the other.

    A database that cannot be dropped has a failure in the answer, and the others go all the same.
    Each may block for `DROP_S` seconds. Raises `RefusedError` or `UnreachableError` if the command
    cannot list the server's databases.
    """
    with closing(server.open()) as session:
        seen = _listed(session, server)
        now = datetime.fromisoformat(seen.at)
        rows = [each.model_copy(update=_chosen(each, choice, now)) for each in seen.previews]
        answer = seen.model_copy(update={"previews": rows})
        going = [each for each in rows if each.result == "to drop"]
        if dry_run or not going:
            return answer
        if agree:
            agree(answer)
        if not session.pooled:  # which would hand the settings to its next client
            with translated("removing a database", remedy="Run the command again."):
                session.connection.execute(_LIMITS.encode())
        done = {each.database: _dropped(session, each, choice) for each in going}
    return answer.model_copy(update={"previews": [done.get(row.database, row) for row in rows]})


def exit_code(answer: Previews) -> int:
    """0, or the greatest code of the failures."""
    return max((each.failure.exit_code for each in answer.previews if each.failure), default=0)


def seconds(text: str) -> float:
    """Read an age such as ``7d`` or ``12h``. Raises `ValueError`."""
    found = re.fullmatch(r"([0-9]{1,5})([dh])", text)
    if not found:
        raise ValueError(text)
    return float(found[1]) * (86400 if found[2] == "d" else 3600)


def numbers(path: str) -> frozenset[str]:
    """Read the numbers of open pull requests: JSON as ``gh`` writes it, or one in each line.

    Raises `SettingsError` for a file without any word: a tool that failed would leave it, and all
    previews would go. JSON's ``[]`` says that none is open.
    """
    try:
        text = read(path, MAX_FILE_BYTES).decode()
        words = _of_json(text) if text.lstrip().startswith("[") else text.split()
    except (OSError, ValueError, LookupError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else "it has other words than numbers"
        raise _unusable(path, str(why)) from None
    if not text.strip():
        raise _unusable(path, "it is empty, as if what writes it had failed")
    if not all(re.fullmatch(NUMBER, word) for word in words):
        raise _unusable(path, "it has other words than numbers")
    return frozenset(words)


def _unusable(path: str, why: str) -> SettingsError:
    remedy = "Write the numbers of all open pull requests into it, one in each line, or as JSON: "
    remedy += "gh pr list --limit 1000 --json number."
    return SettingsError([f"--drop-closed {path!r} cannot be used: {why}"], remedy=remedy)


def _of_json(text: str) -> list[str]:
    rows = json.loads(text)
    return [str(row["number"]) if isinstance(row, dict) else str(row) for row in rows]


def _listed(session: Session, server: Server) -> Previews:
    with look.snapshot(session):
        there = databases.find(session)
        with translated("counting sessions", remedy="Start again."):
            counts: dict[str, int] = dict(session.rows("operator/session_counts", [NAME]))
        at = look.moment(session)
    rows = [*_rows(there, server, counts)]
    return Previews(server=server.conninfo.where(), at=at, previews=rows)


def _rows(
    there: list[Database], server: Server, counts: Mapping[str, int]
) -> Iterator[PreviewDatabase]:
    for database in there:
        found = of(database, server.registry.values())
        if not found or found[0] not in server.selected:
            continue
        service, preview = found
        mark = mark_of(database, service, preview)
        yield PreviewDatabase(
            service=service.name,
            preview=preview,
            database=database.name,
            branch=mark.branch if mark else None,
            started=mark.at if mark else None,
            size_bytes=database.size_bytes,
            sessions=counts.get(database.name, 0),
            marked=mark is not None,
        )


def _chosen(row: PreviewDatabase, choice: Choice, now: datetime) -> dict[str, object]:
    named = row.preview in choice.numbers
    closed = (
        choice.open_numbers is not None
        and row.preview not in choice.open_numbers
        and bool(re.fullmatch(NUMBER, row.preview))
    )
    old = choice.older_s is not None and _age(row, now) > timedelta(seconds=choice.older_s)
    if not (named or closed or old):
        return {}
    if not row.marked:
        return {} if not named else {"result": "failed", "failure": _unmarked(row)}
    if row.sessions and old and not choice.force:
        return {"result": "in use"}  # a preview that runs for long is no leftover
    return {"result": "to drop"}


def _age(row: PreviewDatabase, now: datetime) -> timedelta:
    try:
        return now - datetime.fromisoformat(row.started or "")
    except ValueError:
        return timedelta(0)


def _unmarked(row: PreviewDatabase) -> Failure:
    error = RefusedError(
        f"the database {row.database!r} has the name of a preview's, but not its mark",
        remedy="Check what it contains; if you need none of it, run DROP DATABASE "
        f"{quoted(row.database)}.",
    )
    return failure(row.database, error)


def _dropped(session: Session, row: PreviewDatabase, choice: Choice) -> PreviewDatabase:
    try:
        _drop(session, row, force=choice.force)
    except (RefusedError, UnreachableError) as error:
        failed = failure(row.database, error)
        return row.model_copy(update={"result": "failed", "failure": failed})
    return row.model_copy(update={"result": "dropped"})


def _drop(session: Session, row: PreviewDatabase, *, force: bool) -> None:
    # A person may have thought for long: the name may be another database's by now.
    there = {each.name: each for each in databases.find(session)}
    if row.database not in there:
        return
    mark = ledger.parse(there[row.database].comment).preview
    seen = (row.service, row.preview, row.started)
    if mark is None or (mark.service, mark.preview, mark.at) != seen:
        raise RefusedError(
            f"the database {row.database!r} is another one now, or its preview has started again",
            remedy="Run entrypoint previews to see what it is.",
        )
    doing = f"dropping the database {row.database!r}"
    remedy = "Stop what is connected to it, or add --force; use --server to name its owner or a "
    statement = sql.SQL("drop database if exists {}").format(sql.Identifier(row.database))
    for left in range(TRIES if force else 1, 0, -1):
        if force:
            with translated(doing, remedy="Start again."):
                _end_sessions(session, row.database)
        try:
            # Not WITH (FORCE), which would end a start that has just come in.
            with translated(doing, remedy=f"{remedy}superuser."):
                session.connection.execute(statement)
        except RefusedError as error:
            if left == 1 or error.fields.get("sqlstate") != "55006":
                raise
        else:
            return


def _end_sessions(session: Session, database: str) -> None:
    """End the clients of a database. Raises `RefusedError` if a start is among them."""
    with session.transaction():
        starts = session.rows("operator/starts_at_work", [database])
        if not starts:
            session.rows("operator/end_clients", [database])
    if starts:
        raise RefusedError(
            f"dropping the database {database!r}: the start {starts[0][0]!r} is at work in it",
            remedy="Wait until that start has ended, or stop the preview's containers.",
        )
