"""What was pushed and seeded, kept in the database itself.

The service's database holds only the service's tables: schema tools drop or refuse what they do not
know. So the ledger is no table. It is one line of JSON, marked ``entrypoint:``, at the end of the
database's own comment, under whatever people wrote there; it travels with ``pg_dump -C``. It is
written in the transaction that holds the lock, at its very end: the commit records and releases at
once, and nobody can write between.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from psycopg import sql

from . import catalog
from .session import Session, first_rows, translated

VERSION: Final = 1
"""Of the format. A ledger of a later one is neither believed nor overwritten."""

MARK: Final = "entrypoint:"

MAX_PUSHES: Final = 20

READ: Final = """
select pg_catalog.shobj_description(oid, 'pg_database'),
       pg_catalog.pg_has_role(datdba, 'USAGE')
from pg_catalog.pg_database where datname = pg_catalog.current_database()
"""
"""The comment, and whether we may change it."""


@dataclass(frozen=True)
class Push:
    """One push that succeeded. ``catalog`` is the schema's fingerprint right after it."""

    fingerprint: str
    catalog: str
    release: str | None
    host: str
    at: str
    elapsed_s: float


@dataclass(frozen=True)
class Ledger:
    """The last pushes, the newest last, and by tenant the fingerprint of its seed and when."""

    pushes: tuple[Push, ...] = ()
    seeds: dict[str, tuple[str, str]] = field(default_factory=dict)
    problem: str | None = None
    """Why what stood there was not believed."""

    writable: bool = True
    """Whether this program may write it: it is the owner's, and of no later format."""

    def pushed(self, push: Push) -> "Ledger":
        """With one more push, and no more than the last 20."""
        return replace(self, pushes=(*self.pushes, push)[-MAX_PUSHES:])

    def seeded(self, tenant: str, fingerprint: str, at: str) -> "Ledger":
        """With a tenant's seed."""
        return replace(self, seeds={**self.seeds, tenant: (fingerprint, at)})

    @property
    def last(self) -> Push | None:
        """The newest push."""
        return self.pushes[-1] if self.pushes else None


def parse(comment: str | None, *, owner: bool = True) -> Ledger:
    """Read the ledger in a database's comment. Never raises: what cannot be read is empty."""
    _, line = split(comment or "")
    if not line:
        return Ledger(writable=owner)
    try:
        data = json.loads(line)
        version = data["v"]
        if version != VERSION:
            later = isinstance(version, int) and version > VERSION
            return Ledger(problem=f"its format is {version!r}", writable=owner and not later)
        pushes = tuple(Push(**push) for push in data["pushes"])
        seeds = {
            str(tenant): (str(seed[0]), str(seed[1])) for tenant, seed in data["seeds"].items()
        }
    except (ValueError, TypeError, KeyError, LookupError, AttributeError, RecursionError) as error:
        return Ledger(problem=f"it cannot be read ({type(error).__name__})", writable=owner)
    return Ledger(pushes, seeds, writable=owner)


def split(comment: str) -> tuple[str, str]:
    """A comment's human text, and the ledger's JSON without its mark (empty if there is none)."""
    head, newline, tail = comment.rpartition("\n")
    if tail.startswith(MARK):
        return head + newline, tail.removeprefix(MARK)
    return comment, ""


def render(comment: str, ledger: Ledger) -> str:
    """The comment with this ledger in it, people's text untouched."""
    text, _ = split(comment)
    if text and not text.endswith("\n"):
        text += "\n"
    data = {"v": VERSION, "pushes": [vars(push) for push in ledger.pushes], "seeds": ledger.seeds}
    return text + MARK + json.dumps(data, separators=(",", ":"))


@dataclass(frozen=True)
class Found:
    """What a database says of itself: its ledger, and its schema's fingerprint now."""

    ledger: Ledger
    catalog: str


PROBE: Final = f"{catalog.SETTINGS};{READ};{catalog.FINGERPRINT}"
"""For `open_session`; its rows are for `found`."""


def found(rows: Sequence[Sequence[Any]]) -> Found:
    """Read the rows of `PROBE`."""
    _, (comment, owner), (fingerprint,) = rows
    return Found(parse(comment, owner=owner), fingerprint)


def look(session: Session) -> Found:
    """The same in a session whose transaction is open, which is left as it was.

    Raises `UnreachableError` when the connection is gone.
    """
    with translated("reading the ledger", remedy="Start again."):
        # What a savepoint set locally goes with it, among it the search_path.
        rows = first_rows(session.connection, f"savepoint look;{PROBE};rollback to look;")
    return found(rows)


def write(session: Session, ledger: Ledger) -> None:
    """Put the ledger into the comment, in the session's open transaction.

    Reads the comment again first, so that what people wrote meanwhile stays. Raises
    `RefusedError` when the server does not let us, `UnreachableError` when the connection is gone;
    nothing is written then, and the transaction goes on.
    """
    connection = session.connection
    with translated("writing the ledger", remedy="Start again."), connection.transaction():
        row = connection.execute(READ).fetchone()
        text = render(row[0] or "" if row else "", ledger)
        statement = sql.SQL("comment on database {} is {}")
        connection.execute(statement.format(sql.Identifier(session.database), sql.Literal(text)))
