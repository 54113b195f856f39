"""Other sessions in the source or the target: those that write, and all that are connected."""

import time
from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

from ..operator.server import NAME, Server
from ..postgres import blockers
from ..postgres.session import Session, translated
from . import locks
from .obstacle import WRITERS, Problem
from .plan import Plan
from .source import queried

WINDOW_S: Final = 1.0  # seconds to count rows, at least
LONGEST_S: Final = 2.4
"""Seconds after which the counters have even a steady writer's rows: a server process reports them
once a second, after a transaction, and before PostgreSQL 15 others see them half a second later."""

LEAVE_S: Final = 5.0  # seconds to wait for sessions to leave a database
_NOW: Final = "select clock_timestamp(), current_setting('track_counts')::bool"
_WRITING: Final = ("RowExclusiveLock", "ShareRowExclusiveLock", "ExclusiveLock")


class Person(NamedTuple):
    """Sessions of one application name, role and address."""

    name: str
    role: str
    address: str | None  # None if the role may not see it

    def words(self, count: int) -> str:
        """Describe so many sessions for people."""
        where = f", from {self.address}" if self.address else ""
        times = f" x {count}" if count > 1 else ""
        return f"{self.name} (role {self.role}{where}){times}"


class _Seen(NamedTuple):
    at_s: float
    rows: dict[int, int]  # rows written so far, by table
    doing: Counter[Person]  # sessions that did something since the first look
    hidden: Counter[Person]
    idle: Counter[Person]


class WriterWatch(NamedTuple):
    """A watch for sessions that write to what a plan moves, from `begin` on; `close` ends it."""

    session: Session  # in the source, in no transaction: there the counters stand still
    plan: Plan
    counts: bool  # whether the server counts rows (track_counts)
    asked: dict[str, object]
    first: _Seen

    def problems(self) -> list[Problem]:
        """Report sessions that write, and locks that keep readers out.

        Blocks until `WINDOW_S` seconds after `begin`, or `LONGEST_S` if a session did something
        that the server may count late. Raises `RefusedError` and `UnreachableError`.
        """
        found = self._look(WINDOW_S)
        if not self._written(found) and (found.doing or found.hidden):
            found = self._look(LONGEST_S)
        return [*locks.locked(self.session, self.plan), *self._writers(found)]

    def close(self) -> None:
        """End the session. Idempotent."""
        self.session.close()

    def _look(self, after_s: float) -> _Seen:
        time.sleep(max(0.0, self.first.at_s + after_s - time.monotonic()))
        return _look(self.session, self.asked)

    def _written(self, found: _Seen) -> dict[str, int]:
        """Rows by table since the first look; a reset of the counters may hide some."""
        before, relations = self.first.rows, self.plan.source.relations
        more = {oid: rows - before.get(oid, rows) for oid, rows in found.rows.items()}
        written = {relations[oid].label(): rows for oid, rows in more.items() if rows > 0}
        return dict(sorted(written.items(), key=lambda each: -each[1]))

    def _writers(self, found: _Seen) -> Iterator[Problem]:
        holders = [
            each
            for each in blockers.of_relations(self.session, list(self.plan.moving), "ShareLock")
            if each.mode in _WRITING
        ]
        written = self._written(found)
        said = []
        if holders:
            words, _ = blockers.told(holders)
            count = len({each.who() for each in holders})
            are = "session is" if count == 1 else "sessions are"
            said.append(f"{count} {are} writing to what moves: {words}")
        if written:
            said.append(_rate(written, found.at_s - self.first.at_s))
            who = _words(found.doing) or _words(found.hidden)
            said.append(f"by {', '.join(who)}" if who else "by sessions that come and go")
        elif not self.counts and (found.doing or found.hidden):
            who = _words(found.doing + found.hidden)
            said.append(
                "the server counts no rows (track_counts), and these sessions were active: "
                + ", ".join(who)
            )
        if said:
            if idle := _words(found.idle):
                said.append(f"connected and idle: {', '.join(idle)}")
            yield Problem(
                WRITERS,
                "; ".join(said),
                "Stop the service, or agree: the writers wait for the locks of the move, and then "
                "fail with 42P01 because the tables are gone.",
            )


def begin(server: Server, session: Session, plan: Plan) -> WriterWatch:
    """Begin to count others' writes to moving tables. ``session`` is the transfer's in the source.

    Blocks for a connection only. Raises `RefusedError` and `UnreachableError`.
    """
    own = server.session(session.database)
    try:
        with translated("looking for writers", remedy="Run the command again."):
            [(since, counts)] = own.connection.execute(_NOW).fetchall()
        asked = {
            "since": since,
            "ours": [each.connection.info.backend_pid for each in (own, session)],
            "name": NAME,
            "oids": [each.oid for each in plan.relations if each.kind in "rpm"],
        }
        return WriterWatch(own, plan, counts, asked, _look(own, asked))
    except BaseException:
        own.close()
        raise


def _look(session: Session, asked: dict[str, object]) -> _Seen:
    at_s = time.monotonic()
    doing, hidden, idle = (Counter[Person]() for _ in range(3))
    counted = queried(session, "looking for writers", "transfer/write_counters", asked)
    people = queried(session, "looking for writers", "transfer/writers_here", asked)
    for name, role, address, did in people:
        kind = hidden if did is None else doing if did else idle
        kind[Person(name, role, address)] += 1
    return _Seen(at_s, dict(counted), doing, hidden, idle)


def _rate(written: dict[str, int], seconds: float) -> str:
    shown = ", ".join(f"{name} {rows}" for name, rows in [*written.items()][:5])
    more = f" and {len(written) - 5} more tables" if len(written) > 5 else ""  # noqa: PLR2004
    rows = sum(written.values())
    were = "row was" if rows == 1 else "rows were"
    return f"{rows} {were} written to what moves in {seconds:.1f} s ({shown}{more})"


def _words(people: Counter[Person], most: int = 10) -> list[str]:
    found = [each.words(count) for each, count in people.most_common(most)]
    rest = len(people) - len(found)
    return [*found, f"{rest} more kinds"] if rest > 0 else found


_PREPARED: Final = "select gid from pg_catalog.pg_prepared_xacts where database = %s"


def connected(session: Session, database: str) -> list[str]:
    """Describe the sessions that keep a database from a rename; ``session`` is in another one."""
    with translated("looking for sessions", remedy="Run the command again."):
        people = session.rows("transfer/sessions_in", [database])
        prepared = session.connection.execute(_PREPARED, [database]).fetchall()
    found = _words(Counter(Person(*each) for each in people))
    return [*found, *(f"the prepared transaction {gid!r}" for (gid,) in prepared)]


def leave(session: Session, database: str, seconds: float = LEAVE_S) -> list[str]:
    """Wait until no session is connected to a database; return those left after ``seconds``.

    The server itself would wait as long for a rename, while this session holds its locks.
    """
    deadline = time.monotonic() + seconds
    while (found := connected(session, database)) and time.monotonic() < deadline:
        time.sleep(locks.PAUSE_S)
    return found
