"""The page of `status`: services, who is at work, and a time line of pushes."""

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from ..errors import plural
from . import render
from .page_facts import Bar, Fact, listed, of_failures, scaled
from .render import age, counted, sized
from .report import Concern, Failure, Holder, ServiceStatus, Status, Work

PUSHES: Final = 100  # pushes on the time line; the table of services has all of them
_MINUTE: Final = 60.0

_TICKS: Final = (
    ("1 min", _MINUTE),
    ("1 h", 3600.0),
    ("1 day", 86400.0),
    ("1 week", 7 * 86400.0),
    ("1 month", 30 * 86400.0),
    ("1 year", 365 * 86400.0),
    ("10 years", 3650 * 86400.0),
)

_APART: Final = 16.0  # per cent of the time line that a tick's words take on a telephone


class Job(NamedTuple):
    """A session at work in a database."""

    service: str
    database: str
    what: str
    who: str
    since: str


class PushRow(NamedTuple):
    """A push on the time line."""

    service: str
    at: str
    ago: str
    release: str
    took: str
    place: float | None  # per cent from the left, which is long ago; None without a timestamp


def facts(answer: Status) -> dict[str, Any]:
    """What the template of `status` needs."""
    now = datetime.fromisoformat(answer.at)
    rows = answer.services
    failures = [row.failure for row in rows if row.failure]
    pushes, ticks, left_out = _pushes(rows, now)
    return {
        "facts": _stated(rows, failures),
        "services": [
            _service(row, bar, now)
            for row, bar in zip(rows, scaled(row.size_bytes for row in rows), strict=True)
        ],
        "jobs": [job for row in rows for job in _jobs(row, now)],
        "pushes": pushes,
        "ticks": ticks,
        "left_out": left_out,
        "kept": render.left(rows).rows,
        "failures": failures,
    }


def _stated(rows: Sequence[ServiceStatus], failures: Sequence[Failure]) -> list[Fact]:
    there = [row.database for row in rows if row.exists]
    missing = [row.database for row in rows if not row.exists]
    drifted = [row.database for row in rows if row.drift]
    moving = [row.database for row in rows if row.transfer]
    kept = [each for row in rows for each in (*(k.name for k in row.quarantines), *row.put_aside)]
    told = [
        ("bad", f"{_are(missing, 'database')} missing:", missing),
        ("warn", f"{_are(drifted, 'schema', 'has', 'have')} drifted since the last push:", drifted),
        ("bad", "A failed push left damage in", _concerned(rows, "damaged")),
        ("warn", "Sessions wait for locks in", [row.database for row in rows if row.waiting]),
        ("warn", "A transaction has been open for long in", _concerned(rows, "transaction")),
        ("warn", f"{_are(moving, 'transfer')} under way:", moving),
    ]
    facts = of_failures(failures)
    facts += [Fact(state, f"{text} {listed(names)}") for state, text, names in told if names]
    if not facts:
        facts.append(Fact("fine", "Nothing is missing, nothing has drifted, nobody waits"))
    if kept:
        facts.append(Fact("warn", f"Kept by transfers: {listed(kept)}"))
    size = sized(sum(row.size_bytes or 0 for row in rows))
    facts.append(Fact("", f"{plural(len(there), 'database')}, {size} in all"))
    return facts


def _concerned(rows: Iterable[ServiceStatus], concern: Concern) -> list[str]:
    return [row.database for row in rows if concern in row.concerns]


def _are(names: Sequence[str], noun: str, one: str = "is", many: str = "are") -> str:
    return f"{plural(len(names), noun)} {one if len(names) == 1 else many}"


def _service(row: ServiceStatus, size: Bar, now: datetime) -> dict[str, Any]:
    last = row.last_push
    state, kind = {True: ("drifted", "warn"), False: ("as pushed", "fine"), None: ("", "")}[
        row.drift
    ]
    if row.failure:
        state, kind = "not looked at", "bad"
    elif not row.exists:
        state, kind = "missing", "bad"
    return {
        "name": row.service,
        "database": row.database,
        "state": state,
        "kind": kind,
        "size": size,
        "tables": counted(row.tables),
        "sessions": counted(row.sessions),
        "waiting": counted(row.waiting or None),
        "tenants": counted(len(row.tenants)) if row.exists else "",
        "pushed": f"{age(last.at, now)} ago" if last else "never" if row.exists else "",
    }


def _jobs(row: ServiceStatus, now: datetime) -> Iterator[Job]:
    def job(what: str, work: Holder | Work) -> Job:
        address = getattr(work, "client_addr", None)
        who = f"{work.application_name or 'no name'}, pid {work.pid}"
        return Job(
            row.service,
            row.database,
            what,
            f"{who}, from {address}" if address else who,
            age(work.since, now) if work.since else "",
        )

    if row.holder:
        yield job(f"has the lock: {row.holder.doing}", row.holder)
    if row.transfer:
        yield job("moves objects into it", row.transfer)
    if row.oldest_transaction:
        yield job("has the oldest transaction", row.oldest_transaction)
    if row.waiting:
        what = "waits" if row.waiting == 1 else "wait"
        who = plural(row.waiting, "session")
        yield Job(row.service, row.database, f"{what} for another session's lock", who, "")


def _pushes(
    rows: Sequence[ServiceStatus], now: datetime
) -> tuple[list[PushRow], list[tuple[str, float]], str]:
    """The pushes, the newest first, ticks, and a note; the scale is logarithmic."""
    pushed = [
        (row, row.last_push, _seconds(row.last_push.at, now)) for row in rows if row.last_push
    ]
    pushed.sort(key=lambda each: math.inf if each[2] is None else each[2])
    shown = pushed[:PUSHES]
    longest = max([7200.0, *(s * 1.3 for _, _, s in shown if s is not None)])

    def place(seconds: float) -> float:
        return round(100 * (1 - math.log1p(seconds / _MINUTE) / math.log1p(longest / _MINUTE)), 1)

    ticks: list[tuple[str, float]] = []
    for word, seconds in _TICKS:
        at = place(seconds)
        last = ticks[-1][1] if ticks else 100.0
        if _APART / 2 <= at <= last - _APART:
            ticks.append((word, at))
    more = len(pushed) - len(shown)
    return (
        [
            PushRow(
                row.service,
                last.at,
                f"{age(last.at, now)} ago",
                last.release or "",
                f"{last.elapsed_s:.1f} s",
                None if seconds is None else place(seconds),
            )
            for row, last, seconds in shown
        ],
        ticks,
        f"The page leaves out {more:,} older pushes" if more else "",
    )


def _seconds(moment: str, now: datetime) -> float | None:
    """None if the ledger has no timestamp there."""
    try:
        return max(0.0, (now - datetime.fromisoformat(moment)).total_seconds())
    except (TypeError, ValueError):
        return None
