"""The ledger: what the service pushed and seeded, kept in the database itself.

Schema tools drop or refuse tables that they do not know, so the ledger is no table. It is one line
of JSON, marked ``entrypoint:``, at the end of the database's comment, below the text that people
wrote there; ``pg_dump -C`` takes it along. The start writes it at the very end of the transaction
that holds the lock: the commit records and releases at once, and nobody can write in between.
"""

import json
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..errors import RefusedError
from .sql import load_sql

if TYPE_CHECKING:
    from .session import Session

VERSION: Final = 2  # the format; `parse` also reads version 1, and nothing overwrites a later one
MARK: Final = "entrypoint:"
MAX_PUSHES: Final = 20  # distinct pushes that the ledger keeps of each service
MAX_RELEASES: Final = 20  # releases that the ledger keeps of each push
MAX_BRANCH: Final = 200  # characters
_STAMP: Final = "%Y-%m-%dT%H:%M:%SZ"
_INSTANT: Final = (
    r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3])(:[0-5][0-9]){2}Z"
)
MAX_LOSSES: Final = 10
MAX_DAMAGES: Final = 50
_OF: Final = " of "  # separates a tenant from its service in a database of several services
NO_PUSH: Final = "-"  # the fingerprint of a service without a push; its releases stand under it
LONGEST_S: Final = 1e9  # seconds; a longer push, or no number, is no entry of this program
LOOKS: Final = 3  # tries at a schema that somebody is changing, until its fingerprint is unknown
LOOK_AGAIN_S: Final = 0.2


class PushRecord(NamedTuple):
    """The last successful push with one fingerprint; `catalog` is the schema's after it."""

    fingerprint: str
    catalog: str
    releases: tuple[str, ...]  # the releases that carried it, the newest last
    host: str
    at: str
    elapsed_s: float
    service: str | None = None
    older: bool = False  # whether a newer release had pushed before it

    @property
    def release(self) -> str | None:
        """The newest release that carried it."""
        return self.releases[-1] if self.releases else None


class Who(NamedTuple):
    """The service that starts, as the ledger knows it."""

    service: str | None
    release: str | None
    fingerprint: str | None  # the push's; `NO_PUSH` without a push, None to compare nothing


# The types of a push's fields in JSON.
_PUSH: Final[dict[str, Any]] = {
    **PushRecord.__annotations__,
    "releases": list,
    "elapsed_s": int | float,
}


class Damage(NamedTuple):
    """Something that a failed push left half made, or something whose rows it lost."""

    what: str  # `index NAME`, or the label of a table or column
    rows: int  # lost rows; 0 for something half made
    fingerprint: str
    release: str | None
    at: str


class Losses(NamedTuple):
    """What one push lost, whether or not it succeeded: a line for each loss."""

    lost: tuple[str, ...]
    release: str | None
    host: str
    at: str


class Mark(NamedTuple):
    """Whose preview a database is, and when the preview last started."""

    service: str
    preview: str  # the pull request's number, or what Dokploy has in its place
    branch: str | None
    at: str


class Seen(NamedTuple):
    """A state of the catalogs' rows, and the fingerprint of the schema that they then described."""

    state: str
    catalog: str
    entry: str = ""  # the xmin of the comment that has this; a dump makes a comment with another


class Ledger(NamedTuple):
    """The pushes, the current one last, and the fingerprint and time of each seed by its `key`."""

    pushes: tuple[PushRecord, ...] = ()  # distinct by service and fingerprint
    seeds: Mapping[str, tuple[str, str]] = MappingProxyType({})
    losses: tuple[Losses, ...] = ()  # the last pushes that lost something, the newest last
    damages: tuple[Damage, ...] = ()  # what failed pushes left, until somebody mends or allows it
    preview: Mark | None = None
    seen: Seen | None = None  # the schema when a start last wrote the ledger
    problem: str | None = None  # why `parse` did not believe the line
    writable: bool = True  # whether our role may write it, and no later format stands there

    def of(self, service: str | None) -> tuple[PushRecord, ...]:
        """The pushes of this service, and those without a service's name; all of them for None."""
        if service is None:
            return self.pushes
        return tuple(push for push in self.pushes if push.service in (None, service))

    def others(self, service: str | None) -> list[str]:
        """The names of other services that pushed to this database."""
        names = {push.service for push in self.pushes if push.service}
        return sorted(names - {service}) if service else []

    def pushed(self, push: PushRecord) -> "Ledger":
        """Add a push; it takes the place and the releases of one with its fingerprint."""
        same = [p for p in self.of(push.service) if p.fingerprint == push.fingerprint]
        earlier = [r for p in same for r in p.releases if r not in push.releases]
        releases = (*earlier, *push.releases)[-MAX_RELEASES:]
        pushes = [p for p in self.pushes if p not in same] + [push._replace(releases=releases)]
        own = [p for p in pushes if p.service == push.service]
        dropped = own[:-MAX_PUSHES]
        return self._replace(pushes=tuple(p for p in pushes if p not in dropped))

    def key(self, tenant: str | None, service: str | None) -> str:
        """A seed's key: the tenant, or a dash; and the service if other services pushed here."""
        name = (tenant or "-").lower()  # case does not matter in a UUID
        return f"{name}{_OF}{service}" if self.others(service) else name

    def seeded(self, key: str, fingerprint: str, at: str) -> "Ledger":
        """Add a tenant's seed."""
        return self._replace(seeds={**self.seeds, key: (fingerprint, at)})

    def tenant(self, fingerprint: str) -> str | None:
        """The tenant of the latest seed with this fingerprint."""
        seeded = [(at, key) for key, (by, at) in self.seeds.items() if by == fingerprint]
        return max(seeded)[1].partition(_OF)[0] if seeded else None

    def with_losses(self, losses: Losses) -> "Ledger":
        """Add what one more push lost."""
        return self._replace(losses=(*self.losses, losses)[-MAX_LOSSES:])

    @property
    def last(self) -> PushRecord | None:
        """The newest push, past services without one."""
        return next((p for p in reversed(self.pushes) if p.fingerprint != NO_PUSH), None)


def stamp(at: float) -> str:
    """An instant of ``time.time`` as the ledger has it, in UTC."""
    return time.strftime(_STAMP, time.gmtime(at))


def parse(comment: str | None, *, owner: bool = True) -> Ledger:
    """Read the ledger from a database's comment. Never raises: an unreadable ledger is empty."""
    _, line = split(comment or "")
    if not line:
        return Ledger(writable=owner)
    try:
        data = json.loads(line)
        version = data["v"]
        if version not in (1, VERSION) or isinstance(version, bool):
            later = isinstance(version, int | float) and version > VERSION
            problem = f"its format is {version!r:.40}"
            return Ledger(problem=problem, writable=owner and not later)
        pushes = data["pushes"]
        ledger = Ledger(tuple(map(_push, pushes)) if version == VERSION else _pushes_1(pushes))
        return ledger._replace(
            seeds={tenant: _seed(seed) for tenant, seed in data["seeds"].items()},
            losses=tuple(_losses(**losses) for losses in data.get("losses", ())),
            damages=tuple(_damage(**damage) for damage in data.get("damages", ())),
            preview=_mark(data.get("preview")),
            seen=_seen(data.get("seen")),
            writable=owner,
        )
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        return Ledger(problem=f"it cannot be read ({type(error).__name__})", writable=owner)


def _push(data: dict[str, Any]) -> PushRecord:
    if not all(isinstance(data[name], kind) for name, kind in _PUSH.items()):
        raise TypeError
    _check_texts(*data["releases"])
    if not 0 <= data["elapsed_s"] <= LONGEST_S:  # json also reads NaN and 400 digits
        raise ValueError
    return PushRecord(**{**data, "releases": tuple(data["releases"])})


def _pushes_1(data: list[dict[str, Any]]) -> tuple[PushRecord, ...]:
    """Read version 1: each entry has one release and no service."""
    ledger = Ledger()
    for push in data:
        release = push["release"]
        rest = {name: value for name, value in push.items() if name != "release"}
        releases = [release] if release is not None else []
        more = {"releases": releases, "service": None, "older": False}
        ledger = ledger.pushed(_push({**rest, **more}))
    return ledger.pushes


def _check_texts(*values: object) -> None:
    if not all(isinstance(value, str) for value in values):
        raise TypeError


def _losses(lost: list[str], release: str | None, host: str, at: str) -> Losses:
    _check_texts(*lost, "" if release is None else release, host, at)
    return Losses(tuple(lost), release, host, at)


def _damage(what: str, rows: int, fingerprint: str, release: str | None, at: str) -> Damage:
    _check_texts(what, fingerprint, "" if release is None else release, at)
    if not isinstance(rows, int):
        raise TypeError
    return Damage(what, rows, fingerprint, release, at)


def _mark(data: Any) -> Mark | None:  # noqa: ANN401  any value of JSON
    """Read a mark; one that no start wrote counts as none, and spoils nothing else."""
    try:
        mark = Mark(**data)
        _check_texts(mark.service, mark.preview, "" if mark.branch is None else mark.branch)
        known = re.fullmatch(_INSTANT, mark.at)
    except (TypeError, ValueError):
        return None
    return mark._replace(branch=mark.branch and mark.branch[:MAX_BRANCH]) if known else None


def _seen(data: Any) -> Seen | None:  # noqa: ANN401  any value of JSON
    """Read what a start saw; anything else counts as nothing, and costs the next start a query."""
    try:
        seen = Seen(**data)
        _check_texts(*seen)
    except TypeError:
        return None
    return seen


def _seed(data: Any) -> tuple[str, str]:  # noqa: ANN401  any value of JSON
    if not isinstance(data, list):
        raise TypeError
    _check_texts(*data)
    fingerprint, at = data
    return fingerprint, at


def split(comment: str) -> tuple[str, str]:
    """Split a comment into people's text and the ledger's JSON, which is empty if there is none."""
    head, newline, tail = comment.rstrip().rpartition("\n")  # editors add a newline at the end
    if tail.startswith(MARK):
        return head + newline, tail.removeprefix(MARK)
    return comment, ""


def render(comment: str, ledger: Ledger) -> str:
    """Put the ledger into the comment and leave people's text as it is."""
    text, line = split(comment)
    if line and not line.startswith("{"):  # this program writes JSON objects only
        text = comment
    if text and not text.endswith("\n"):
        text += "\n"
    data: dict[str, Any] = {
        "v": VERSION,
        "pushes": [push._asdict() for push in ledger.pushes],
        "seeds": dict(ledger.seeds),
    }
    for name, values in (("losses", ledger.losses), ("damages", ledger.damages)):
        if values:
            data[name] = [value._asdict() for value in values]
    for name, value in (("preview", ledger.preview), ("seen", ledger.seen)):
        if value:
            data[name] = value._asdict()
    return text + MARK + json.dumps(data, separators=(",", ":"))


class Found(NamedTuple):
    """A database's ledger, and its schema's fingerprint now."""

    ledger: Ledger
    catalog: str | None  # None while somebody changes the schema
    stranger: str | None = None  # the owner if our role owns nothing here: the ledger may be forged
    leftovers: bool = False  # whether a guard left something that our role may remove
    state: str | None = None  # the catalogs' rows before `catalog`; None if it proves nothing

    @property
    def seen(self) -> Seen | None:
        """The state and the fingerprint, unless a later start should look for itself."""
        if self.leftovers or not self.state or not self.catalog:
            return None
        return Seen(self.state, self.catalog)


UNKNOWN: Final = Found(Ledger(), None)  # for a caller that does not need to look


def found(rows: Sequence[Sequence[Any]]) -> Found:
    """Read a probe's rows. Raises `RefusedError` if no PostgreSQL sent them."""
    try:
        _, (comment, owner, stranger), (leftovers,), (*states, fingerprint), *again = rows
        state = states[0] if states and [*map(list, again)] == [states] else None
        return Found(parse(comment, owner=owner), fingerprint, stranger, leftovers, state)
    except (ValueError, AttributeError):
        raise RefusedError(
            "the answer about the ledger has other columns than PostgreSQL's",
            remedy="Correct the URL, which must lead to a PostgreSQL server.",
        ) from None


def recognized(rows: Sequence[Sequence[Any]]) -> Found | None:
    """Read the rows of the query ``look``; None unless the ledger has the schema's state.

    Raises ValueError if no PostgreSQL sent the rows.
    """
    _, (comment, owner, ours, entry), (state,) = rows
    book = parse(comment, owner=owner)
    if not ours or book.seen is None or (book.seen.state, book.seen.entry) != (state, entry):
        return None
    return Found(book, book.seen.catalog, state=state)


def look(session: "Session", *, to_record: bool = False) -> Found:
    """Run a probe in the session's open transaction, which stays as it was.

    The state is there only ``to_record`` it. Blocks for some seconds while somebody changes the
    schema, then returns the ledger alone. Raises `UnreachableError` if the connection is gone.
    """
    # Here and below: no warm start imports psycopg.
    from psycopg.errors import InsufficientPrivilege, InternalError_, LockNotAvailable

    from .session import first_rows, translated

    # About an object that somebody drops (XX000) or locks while the query describes it.
    passing = (InternalError_, LockNotAvailable)
    with translated("reading the ledger", remedy="Start again."):
        if to_record:
            with suppress(*passing, InsufficientPrivilege):  # somebody closed a catalog
                return _look(session, "postgres/probe_to_record")
        for _ in range(LOOKS):
            with suppress(*passing):
                return _look(session, "postgres/probe")
            time.sleep(LOOK_AGAIN_S)
        [(comment, owner, stranger)] = first_rows(session.connection, load_sql("postgres/ledger"))
    return Found(parse(comment, owner=owner), None, stranger)


def _look(session: "Session", query: str) -> Found:
    from .session import first_rows

    with session.transaction(undone=True):  # the probe sets the search_path
        return found(first_rows(session.connection, load_sql(query)))


def write(session: "Session", ledger: Ledger) -> None:
    """Put the ledger into the comment, in the session's open transaction.

    Reads the comment again first, so that people's latest text stays. Raises `RefusedError` if the
    server refuses, `UnreachableError` if the connection is gone; the comment is then as it was, and
    the transaction goes on.
    """
    from psycopg import sql

    from .session import translated

    connection = session.connection
    with translated("writing the ledger", remedy="Start again."), connection.transaction():
        row = connection.execute(load_sql("postgres/ledger")).fetchone()
        before, name = row[0] or "" if row else "", sql.Identifier(session.database)
        statement = sql.SQL("comment on database {} is {}")
        connection.execute(statement.format(name, sql.Literal(render(before, ledger))))
        if ledger.seen and (entry := _entry(session)):
            # The second comment has the xmin of the first, which is the same transaction's.
            ledger = ledger._replace(seen=ledger.seen._replace(entry=entry))
            connection.execute(statement.format(name, sql.Literal(render(before, ledger))))


def _entry(session: "Session") -> str | None:
    """The xmin of the database's comment; None for a role that may not see it."""
    from psycopg.errors import InsufficientPrivilege

    with suppress(InsufficientPrivilege), session.connection.transaction():
        for (xmin,) in session.connection.execute(load_sql("postgres/entry")):
            return str(xmin)
    return None
