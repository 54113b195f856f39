"""What was pushed and seeded, kept in the database itself.

The service's database holds only the service's tables: schema tools drop or refuse what they do not
know. So the ledger is no table. It is one line of JSON, marked ``entrypoint:``, at the end of the
database's own comment, under whatever people wrote there; it travels with ``pg_dump -C``. It is
written in the transaction that holds the lock, at its very end: the commit records and releases at
once, and nobody can write between.
"""

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from psycopg import sql
from psycopg.errors import InternalError_, LockNotAvailable

from .session import Session, first_rows, translated
from .sql import load_sql

VERSION: Final = 2
"""Of the format. A ledger of a later one is neither believed nor overwritten; the first is read."""

MARK: Final = "entrypoint:"

MAX_PUSHES: Final = 20
"""Distinct pushes that are kept of each service."""

MAX_RELEASES: Final = 20
"""Releases that are kept of each push."""

MAX_LOSSES: Final = 10

MAX_DAMAGES: Final = 50

_OF: Final = " of "
"""Between a tenant and the service that seeded it, in a database of several."""

NO_PUSH: Final = "-"
"""The fingerprint under which a service without a push has its releases."""

LONGEST_S: Final = 1e9
"""Seconds that a push may have taken; more, or no number, is none that we have written."""

LOOKS: Final = 3
"""How often a schema that is being changed is looked at before it counts as unknown."""

LOOK_AGAIN_S: Final = 0.2
"""Seconds between two looks at a schema that is being changed."""

_PASSING: Final = (InternalError_, LockNotAvailable)
"""What the server says of an object that was dropped while it was described (XX000), and of one
that stays locked for longer than the role's lock_timeout."""


class PushRecord(NamedTuple):
    """What succeeded with one fingerprint, the last time; `catalog` is the schema's after it."""

    fingerprint: str
    catalog: str
    releases: tuple[str, ...]
    """Those that carried it, the newest last."""

    host: str
    at: str
    elapsed_s: float
    service: str | None = None
    """Whose push it was; None for one without a name."""

    older: bool = False
    """Whether it was pushed although a newer one had been."""

    @property
    def release(self) -> str | None:
        """The newest release that carried it."""
        return self.releases[-1] if self.releases else None


class Who(NamedTuple):
    """Who starts, as the ledger knows it."""

    service: str | None
    release: str | None
    fingerprint: str | None
    """Of the push; `NO_PUSH` for a service without one, None where nothing can be compared."""


_PUSH: Final[dict[str, Any]] = {
    "fingerprint": str,
    "catalog": str,
    "releases": list,
    "host": str,
    "at": str,
    "elapsed_s": int | float,
    "service": str | None,
    "older": bool,
}
"""What a `Push` looks like in JSON."""


class Damage(NamedTuple):
    """Something that a failed push left half made, or the rows of which it lost."""

    what: str
    """``index NAME``, or the label of a table or column."""

    rows: int
    """That were lost; 0 for what is half made."""

    fingerprint: str
    """Of the push that did it."""

    release: str | None
    at: str


class Losses(NamedTuple):
    """What one push lost, whether or not it succeeded; a line each."""

    lost: tuple[str, ...]
    release: str | None
    host: str
    at: str


class Ledger(NamedTuple):
    """The pushes, the current one last, and by `key` the fingerprint of a seed and when."""

    pushes: tuple[PushRecord, ...] = ()
    """Distinct by service and fingerprint."""

    seeds: Mapping[str, tuple[str, str]] = MappingProxyType({})
    losses: tuple[Losses, ...] = ()
    """Of the last pushes that lost something, the newest last."""

    damages: tuple[Damage, ...] = ()
    """What failed pushes left, as long as nobody has mended or allowed it."""

    problem: str | None = None
    """Why what stood there was not believed."""

    writable: bool = True
    """Whether this program may write it: it is the owner's, and of no later format."""

    def of(self, service: str | None) -> tuple[PushRecord, ...]:
        """The pushes that may be this service's; where a name is missing, nothing tells."""
        if service is None:
            return self.pushes
        return tuple(push for push in self.pushes if push.service in (None, service))

    def others(self, service: str | None) -> list[str]:
        """The other services that pushed to this database."""
        names = {push.service for push in self.pushes if push.service}
        return sorted(names - {service}) if service else []

    def pushed(self, push: PushRecord) -> "Ledger":
        """With this push as the current one, and the releases that carried the same before it.

        It takes the place of an earlier one with its fingerprint. Of each service the last 20 stay.
        """
        same = [p for p in self.of(push.service) if p.fingerprint == push.fingerprint]
        earlier = [r for p in same for r in p.releases if r not in push.releases]
        releases = (*earlier, *push.releases)[-MAX_RELEASES:]
        pushes = [p for p in self.pushes if p not in same] + [push._replace(releases=releases)]
        own = [p for p in pushes if p.service == push.service]
        dropped = own[:-MAX_PUSHES]
        return self._replace(pushes=tuple(p for p in pushes if p not in dropped))

    def key(self, tenant: str | None, service: str | None) -> str:
        """That of a seed: the tenant, or a dash where there is none; beside others' its service."""
        name = (tenant or "-").lower()  # a UUID's case says nothing
        return f"{name}{_OF}{service}" if self.others(service) else name

    def seeded(self, key: str, fingerprint: str, at: str) -> "Ledger":
        """With a tenant's seed."""
        return self._replace(seeds={**self.seeds, key: (fingerprint, at)})

    def tenant(self, fingerprint: str) -> str | None:
        """Who was seeded with this fingerprint; the latest, if several were."""
        seeded = [(at, key) for key, (by, at) in self.seeds.items() if by == fingerprint]
        return max(seeded)[1].partition(_OF)[0] if seeded else None

    def with_losses(self, losses: Losses) -> "Ledger":
        """With what one more push lost."""
        return self._replace(losses=(*self.losses, losses)[-MAX_LOSSES:])

    @property
    def last(self) -> PushRecord | None:
        """The newest push."""
        return next((p for p in reversed(self.pushes) if p.fingerprint != NO_PUSH), None)


def parse(comment: str | None, *, owner: bool = True) -> Ledger:
    """Read the ledger in a database's comment. Never raises: what cannot be read is empty."""
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
            writable=owner,
        )
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        return Ledger(problem=f"it cannot be read ({type(error).__name__})", writable=owner)


def _push(data: dict[str, Any]) -> PushRecord:
    if not all(isinstance(data[name], kind) for name, kind in _PUSH.items()):
        raise TypeError
    if not all(isinstance(release, str) for release in data["releases"]):
        raise TypeError
    if not 0 <= data["elapsed_s"] <= LONGEST_S:  # json reads NaN, too, and 400 digits
        raise ValueError
    return PushRecord(**{**data, "releases": tuple(data["releases"])})


def _pushes_1(data: list[dict[str, Any]]) -> tuple[PushRecord, ...]:
    """Those of the first format, which had each push, with one release and no service."""
    ledger = Ledger()
    for push in data:
        release = push["release"]
        rest = {name: value for name, value in push.items() if name != "release"}
        releases = [release] if release is not None else []
        more = {"releases": releases, "service": None, "older": False}
        ledger = ledger.pushed(_push({**rest, **more}))
    return ledger.pushes


def _losses(lost: list[str], release: str | None, host: str, at: str) -> Losses:
    if not all(isinstance(text, str) for text in [*lost, release or "", host, at]):
        raise TypeError
    return Losses(tuple(lost), release, host, at)


def _damage(what: str, rows: int, fingerprint: str, release: str | None, at: str) -> Damage:
    if not all(isinstance(text, str) for text in [what, fingerprint, release or "", at]):
        raise TypeError
    if not isinstance(rows, int):
        raise TypeError
    return Damage(what, rows, fingerprint, release, at)


def _seed(data: Any) -> tuple[str, str]:  # noqa: ANN401  whatever JSON holds
    if not isinstance(data, list) or not all(isinstance(text, str) for text in data):
        raise TypeError
    fingerprint, at = data
    return fingerprint, at


def split(comment: str) -> tuple[str, str]:
    """A comment's human text, and the ledger's JSON without its mark (empty if there is none)."""
    head, newline, tail = comment.rstrip().rpartition("\n")  # editors add a newline at the end
    if tail.startswith(MARK):
        return head + newline, tail.removeprefix(MARK)
    return comment, ""


def render(comment: str, ledger: Ledger) -> str:
    """The comment with this ledger in it, people's text untouched."""
    text, line = split(comment)
    if line and not line.startswith("{"):  # never a ledger of ours
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
    return text + MARK + json.dumps(data, separators=(",", ":"))


class Found(NamedTuple):
    """What a database says of itself: its ledger, and its schema's fingerprint now."""

    ledger: Ledger
    catalog: str | None
    """None when somebody is changing the schema, so that it cannot be looked at."""

    stranger: str | None = None
    """The owner, where neither the database nor anything in it is ours: what it says of itself may
    be invented."""

    leftovers: bool = False
    """Whether something of a guard is there that our role may remove."""


UNKNOWN: Final = Found(Ledger(), None)
"""For who has no need to look."""


def found(rows: Sequence[Sequence[Any]]) -> Found:
    """Read the rows of the query ``probe``."""
    _, (comment, owner, stranger), (leftovers,), (fingerprint,) = rows
    return Found(parse(comment, owner=owner), fingerprint, stranger, leftovers)


def look(session: Session) -> Found:
    """The same in a session whose transaction is open, which is left as it was.

    Blocks for some seconds while the schema is being changed, then tells the ledger alone. Raises
    `UnreachableError` when the connection is gone.
    """
    with translated("reading the ledger", remedy="Start again."):
        for _ in range(LOOKS):
            with suppress(*_PASSING):
                return _look(session)
            time.sleep(LOOK_AGAIN_S)
        [(comment, owner, stranger)] = first_rows(session.connection, load_sql("postgres/ledger"))
    return Found(parse(comment, owner=owner), None, stranger)


def _look(session: Session) -> Found:
    with session.transaction(undone=True):  # with what it sets, among it the search_path
        return found(first_rows(session.connection, load_sql("postgres/probe")))


def write(session: Session, ledger: Ledger) -> None:
    """Put the ledger into the comment, in the session's open transaction.

    Reads the comment again first, so that what people wrote meanwhile stays. Raises
    `RefusedError` when the server does not let us, `UnreachableError` when the connection is gone;
    nothing is written then, and the transaction goes on.
    """
    connection = session.connection
    with translated("writing the ledger", remedy="Start again."), connection.transaction():
        row = connection.execute(load_sql("postgres/ledger")).fetchone()
        text = render(row[0] or "" if row else "", ledger)
        statement = sql.SQL("comment on database {} is {}")
        connection.execute(statement.format(sql.Identifier(session.database), sql.Literal(text)))
