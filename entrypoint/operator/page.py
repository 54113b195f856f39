"""Answers as a page: one HTML file that loads nothing, for a CI artifact or a wiki.

Its only source is the answer, as `--json` prints it. `printable` escapes names from the server as
on a terminal, and the template escapes them for HTML.
"""

import base64
import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from .. import __version__
from ..errors import plural
from . import render
from .render import age, counted, sized
from .report import Concern, Failure, Finding, Holder, ServiceStatus, Status, Verification, Work
from .tables import printable

_TEMPLATES: Final = Path(__file__).with_name("pages")


def of(answer: Status | Verification) -> str:
    """The page of an answer. Takes a second and at most a few MB for 500 databases."""
    if isinstance(answer, Status):
        name, facts = "status.html", _facts_of_status(answer)
    else:
        name, facts = "verify.html", _facts_of_verify(answer)
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_final,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(sentences=_sentences, sized=sized)
    style = (_TEMPLATES / "page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return environment.get_template(name).render(
        server=answer.server,
        at=answer.at,
        made=f"{datetime.fromisoformat(answer.at):%Y-%m-%d %H:%M:%S} UTC",
        version=__version__,
        style=Markup(style),  # noqa: S704  a file of the package
        digest=digest,
        **facts,
    )


def _final(value: object) -> object:
    """Escape a value for the page, except for our own markup."""
    if isinstance(value, Markup):
        return value
    return printable(value) if isinstance(value, str) else value


def _sentences(text: str) -> Markup:
    """Markup in which a browser breaks no option and no name at a hyphen."""
    plain, whole = Markup("{}"), Markup('<span class="word">{}</span>')
    words = ((whole if "-" in word else plain).format(word) for word in printable(text).split(" "))
    return Markup(" ").join(words)


_NAMED: Final = 5


class Bar(NamedTuple):
    """A size in words, and its share of the largest on the page, in per cent."""

    text: str
    share: float


class Fact(NamedTuple):
    """A sentence of the summary."""

    state: str  # `bad`, `warn` or `fine`; the words say the same
    text: str


def scaled(sizes: Iterable[int | None]) -> Iterator[Bar]:
    """Each size beside the largest of them."""
    sizes = list(sizes)
    largest = max((size for size in sizes if size), default=1)
    for size in sizes:
        yield Bar(sized(size), max(1.0, round(100 * size / largest, 1)) if size else 0.0)


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def of_failures(failures: Sequence[Failure]) -> list[Fact]:
    """A sentence about the databases that the command could not look at, if there are any."""
    names = [failure.database for failure in failures]
    text = f"The command could not look at {plural(len(names), 'database')}: {listed(names)}"
    return [Fact("bad", text)] * bool(names)


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


def _facts_of_status(answer: Status) -> dict[str, Any]:
    """What the template of `status` needs."""
    now = datetime.fromisoformat(answer.at)
    rows = answer.services
    failures = [row.failure for row in rows if row.failure]
    pushes, ticks, left_out = _pushes(rows, now)
    return {
        "facts": _stated(rows, failures),
        "services": [
            _service_row(row, bar, now)
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


def _service_row(row: ServiceStatus, size: Bar, now: datetime) -> dict[str, Any]:
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


def _jobs(row: ServiceStatus, now: datetime) -> Iterator[dict[str, str]]:
    """The sessions at work in a database."""

    def job(what: str, who: str, since: str = "") -> dict[str, str]:
        names = {"service": row.service, "database": row.database}
        return {**names, "what": what, "who": who, "since": since}

    def of(what: str, work: Holder | Work) -> dict[str, str]:
        address = getattr(work, "client_addr", None)
        who = f"{work.application_name or 'no name'}, pid {work.pid}"
        who += f", from {address}" if address else ""
        return job(what, who, age(work.since, now) if work.since else "")

    if row.holder:
        yield of(f"has the lock: {row.holder.doing}", row.holder)
    if row.transfer:
        yield of("moves objects into it", row.transfer)
    if row.oldest_transaction:
        yield of("has the oldest transaction", row.oldest_transaction)
    if row.waiting:
        what = "waits" if row.waiting == 1 else "wait"
        yield job(f"{what} for another session's lock", plural(row.waiting, "session"))


def _pushes(
    rows: Sequence[ServiceStatus], now: datetime
) -> tuple[list[dict[str, Any]], list[tuple[str, float]], str]:
    """The pushes, the newest first, ticks, and a note; the scale is logarithmic.

    A push's place is per cent from the left, which is long ago; None if it has no timestamp.
    """
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
    drawn = [
        {
            "service": row.service,
            "at": last.at,
            "ago": f"{age(last.at, now)} ago",
            "release": last.release or "",
            "took": f"{last.elapsed_s:.1f} s",
            "place": None if ago_s is None else place(ago_s),
        }
        for row, last, ago_s in shown
    ]
    more = len(pushed) - len(shown)
    return drawn, ticks, f"The page leaves out {more:,} older pushes" if more else ""


def _seconds(moment: str, now: datetime) -> float | None:
    """None if the ledger has no timestamp there."""
    try:
        return max(0.0, (now - datetime.fromisoformat(moment)).total_seconds())
    except (TypeError, ValueError):
        return None


MOST: Final = 1000  # findings on a page, shared out among the databases
LEAST: Final = 3  # findings of each database, however many databases there are


def _facts_of_verify(answer: Verification) -> dict[str, Any]:
    """What the template of `verify` needs."""
    findings = answer.findings
    groups = {  # misplaced objects first, because a long list is cut
        name: sorted(those, key=lambda found: found.level != "misplaced")
        for name, those in render.grouped(findings, lambda found: found.database).items()
    }
    return {
        "facts": _verified(answer),
        "services": _services(findings),
        "groups": list(_groups(groups)),
        "clean": [name for name in answer.databases if name not in groups],
        "failures": answer.failures,
    }


def _verified(answer: Verification) -> list[Fact]:
    levels = Counter(found.level for found in answer.findings)
    misplaced = [found for found in answer.findings if found.level == "misplaced"]
    facts = of_failures(answer.failures)
    if misplaced:
        places = list(dict.fromkeys(found.database for found in misplaced))
        size = sized(sum(found.size_bytes or 0 for found in misplaced if found.object))
        text = f"{levels['misplaced']:,} misplaced ({size}) in {listed(places)}"
        facts.append(Fact("bad", text))
    elif not facts:
        facts.append(Fact("fine", "Nothing is misplaced"))
    if levels["notice"]:
        facts.append(Fact("warn", plural(levels["notice"], "notice")))
    facts.append(Fact("", f"{plural(len(answer.databases), 'database')} in all"))
    return facts


def _services(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    found = [*render.tallies(findings)]
    return [
        {
            "name": each.service,
            "misplaced": counted(each.misplaced),
            "notices": counted(each.notices),
            "rows": counted(each.rows),
            "size": size,
        }
        for each, size in zip(found, scaled(each.size_bytes for each in found), strict=True)
    ]


def _groups(places: dict[str, list[Finding]]) -> Iterator[dict[str, Any]]:
    most = max(LEAST, MOST // max(1, len(places)))
    shown = {name: those[:most] for name, those in places.items()}
    bars = scaled([f.size_bytes for those in shown.values() for f in those if f.object])
    for name, those in shown.items():
        levels = Counter(found.level for found in places[name])
        more = len(places[name]) - len(those)
        by_service = render.grouped(those, lambda found: found.service)
        yield {
            "database": name,
            "summary": f"{levels['misplaced']:,} misplaced, {plural(levels['notice'], 'notice')}",
            "parts": [_part(service, found, bars) for service, found in by_service.items()],
            "left_out": f"The page leaves out {more:,} findings" if more else "",
        }


def _part(service: str | None, findings: Sequence[Finding], bars: Iterator[Bar]) -> dict[str, Any]:
    """The findings about one service in a database; no common remedy if the objects' differ."""
    objects = [found for found in findings if found.object]
    remedies = {found.remedy for found in objects}
    return {
        "service": service or "nobody's",
        "objects": [
            {
                "level": found.level,
                "what": f"{found.kind} {found.object}",
                "rows": counted(found.rows),
                "size": bar,
                "remedy": found.remedy,
            }
            for found, bar in zip(objects, bars, strict=False)
        ],
        "remedy": remedies.pop() if len(remedies) == 1 else "",
        "others": [found for found in findings if not found.object],
    }
