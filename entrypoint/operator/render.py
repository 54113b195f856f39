"""Answers in words and tables for people, and as JSON for machines."""

import json
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple, TypeVar

from pydantic import BaseModel

from .. import log
from ..errors import EntrypointError, Terminated, plural
from . import report
from .tables import Section, columns, draw, printable

_Key = TypeVar("_Key", bound=Hashable)
_AGES: Final = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def as_json(answer: BaseModel) -> str:
    """One object in ASCII, so that no terminal acts on its content."""
    return json.dumps(answer.model_dump(mode="json"), indent=2) + "\n"


def failed(error: EntrypointError | Terminated) -> report.Failed:
    """A failure as data, with the same fields as in the log."""
    fields = {
        "error": error.message,
        "remedy": error.remedy,
        "exit_code": error.exit_code,
        "details": error.fields,
    }
    return report.Failed.model_validate(log.masked(fields))


def verification(answer: report.Verification, width: int | None) -> str:
    """Findings in their order, on a terminal by database, and a line for each service."""
    findings = answer.findings
    if width is None:  # each line is complete, for grep
        sections = [_found(findings, place=True)]
    else:
        sections = [
            _found(those, f"{name}: {_levels(those)}")
            for name, those in grouped(findings, lambda found: found.database).items()
        ]
    last = f"{plural(len(answer.databases), 'database')} on {answer.server}: {_levels(findings)}"
    last += f", {plural(len(answer.failures), 'failure')}" if answer.failures else ""
    return draw([*sections, _by_service(findings), _failed(answer.failures)], width, last)


def _found(findings: Iterable[report.Finding], title: str = "", *, place: bool = False) -> Section:
    heads = columns("level, database, what, whose, #rows, #size, ~what to do")
    rows = [
        (
            found.level,
            found.database if place else "",
            f"{found.kind} {found.object}" if found.object else found.finding,
            found.service or "",
            counted(found.rows),
            sized(found.size_bytes),
            found.remedy if found.object else f"{found.message}. {found.remedy}",
        )
        for found in findings
    ]
    return Section(heads, rows, title, leading=3)


def _levels(findings: Iterable[report.Finding]) -> str:
    levels = Counter(found.level for found in findings)
    return f"{levels['misplaced']} misplaced, {plural(levels['notice'], 'notice')}"


def grouped(
    findings: Iterable[report.Finding], key: Callable[[report.Finding], _Key]
) -> dict[_Key, list[report.Finding]]:
    """Group the findings by ``key``, in their order."""
    found: dict[_Key, list[report.Finding]] = {}
    for each in findings:
        found.setdefault(key(each), []).append(each)
    return found


class Tally(NamedTuple):
    """Numbers of the findings about one service."""

    service: str
    misplaced: int
    notices: int
    rows: int | None
    size_bytes: int | None


def tallies(findings: Iterable[report.Finding]) -> Iterator[Tally]:
    """A tally of each service, and at the end one of findings without a service."""
    services = grouped(findings, lambda found: found.service)
    for name in sorted(services, key=lambda name: name is None):
        found = Counter(each.level for each in services[name])
        # A quarantine and a whole database have a size, too, but are no strays.
        strays = [each for each in services[name] if each.level == "misplaced" and each.object]
        rows, sizes = (
            sum(known) if (known := [number for number in numbers if number is not None]) else None
            for numbers in ([each.rows for each in strays], [each.size_bytes for each in strays])
        )
        yield Tally(name or "nobody's", found["misplaced"], found["notice"], rows, sizes)


def _by_service(findings: Sequence[report.Finding]) -> Section:
    heads = columns("service, #misplaced, #notices, #rows, #size")
    rows = [
        (name, counted(misplaced), counted(notices), counted(rows), sized(size))
        for name, misplaced, notices, rows, size in tallies(findings)
    ]
    return Section(heads, rows)


def creations(answer: report.Creations, width: int | None) -> str:
    """A line for each database."""
    words = {"missing": "would be created"}
    rows = [
        (each.database, each.service, words.get(each.result, each.result))
        for each in answer.databases
    ]
    heads = columns("database, service, result")
    failures = [each.failure for each in answer.databases if each.failure]
    return draw([Section(heads, rows, leading=3), _failed(failures)], width)


def checked(answer: report.Checked, width: int | None) -> str:
    """A line for each problem, errors first."""
    ordered = sorted(answer.problems, key=lambda each: each.level)
    rows = [(each.level, f"{each.message}. {each.remedy}") for each in ordered]
    levels = Counter(each.level for each in ordered)
    last = f"{plural(levels['error'], 'error')}, {plural(levels['warning'], 'warning')}"
    return draw([Section(columns("level, ~problem"), rows)], width, last)


def planned(answer: report.Planned, width: int | None) -> str:
    """A line for each step, and the last push."""
    last = answer.last_push
    rows = [
        ("database", "" if answer.exists is not False else "create", answer.unclear or ""),
        ("extensions", "create" if answer.extensions else "", ", ".join(answer.extensions)),
        ("push", answer.push.action, answer.push.reason),
        ("seed", answer.seed.action, answer.seed.reason),
    ]
    about = f"{answer.database} on {answer.server}" if answer.server else "nothing to look at"
    if last:
        ago = age(last.at, datetime.now(UTC))
        about += f"; last push {ago} ago, release {last.release or 'unknown'}"
    shown = [row for row in rows if row[1]]
    return draw([Section(columns("step, would, why"), shown)], width, about)


def annotations(answer: report.Checked) -> str:
    """The problems as commands of a GitHub workflow, which shows them beside the run."""
    lines = []
    for each in answer.problems:
        text = f"{each.message}. {each.remedy}"
        for char, escape in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A")):
            text = text.replace(char, escape)
        lines.append(f"::{each.level} title=entrypoint check::{printable(text)}\n")
    return "".join(lines)


def previews(answer: report.Previews, width: int | None) -> str:
    """A line for each preview's database."""
    now = datetime.fromisoformat(answer.at)
    rows = [
        (
            each.service,
            each.preview,
            each.database,
            each.branch or "",
            sized(each.size_bytes),
            counted(each.sessions),
            f"{age(each.started, now)} ago" if each.started else "unknown: no mark",
            "" if each.result == "kept" else each.result,
        )
        for each in answer.previews
    ]
    heads = columns("service, preview, database, branch, #size, #sessions, last start, result")
    failures = [each.failure for each in answer.previews if each.failure]
    total = sum(each.size_bytes or 0 for each in answer.previews)
    last = f"{plural(len(rows), 'preview')} on {answer.server}, {sized(total)}"
    return draw([Section(heads, rows, leading=3), _failed(failures)], width, last)


def status(answer: report.Status, width: int | None, *, fail: bool = False) -> str:
    """A row for each service; ``fail`` adds why the exit code is 9."""
    heads = columns(
        "service, database, #size, #tables, #sessions, last push, release, #took, schema, "
        "#tenants, #previews, ~lock, #waiting, ~oldest transaction, ~transfer"
    )
    now = datetime.fromisoformat(answer.at)
    rows = [_status(row, now) for row in answer.services]
    failures = [row.failure for row in answer.services if row.failure]
    last = [f"{answer.server}, {now:%Y-%m-%d %H:%M:%S} UTC"]
    if fail:
        wanting = [row for row in answer.services if row.concerns]
        last += [f"{row.service} needs attention: {', '.join(row.concerns)}" for row in wanting]
    return draw(
        [Section(heads, rows, leading=2), left(answer.services), _failed(failures)], width, *last
    )


def _status(row: report.ServiceStatus, now: datetime) -> tuple[str, ...]:
    if not row.exists:
        transfer = _working(row.transfer, now)
        return (row.service, f"{row.database} (missing)", *[""] * 12, transfer)
    last, holder = row.last_push, row.holder
    return (
        row.service,
        row.database,
        sized(row.size_bytes),
        counted(row.tables),
        counted(row.sessions),
        f"{age(last.at, now)} ago" if last else "never",
        (last.release or "") if last else "",
        f"{last.elapsed_s:.1f} s" if last else "",
        "drifted" if row.drift else "",
        counted(len(row.tenants)),
        counted(len(row.previews) or None),
        f"{_working(holder, now)}: {holder.doing}" if holder else "",
        counted(row.waiting or None),
        _working(row.oldest_transaction, now),
        _working(row.transfer, now),
    )


def _working(session: report.Holder | report.Work | None, now: datetime) -> str:
    if session is None:
        return ""
    since = f", for {age(session.since, now)}" if session.since else ""
    return f"{session.application_name or 'no name'}, pid {session.pid}{since}"


def left(services: Iterable[report.ServiceStatus]) -> Section:
    """What transfers keep until somebody removes it."""
    rows = []
    for each in services:
        for kept in each.quarantines:
            drop = f"{kept.remedy(each.service)}, or --undo."
            rows.append((each.service, f"schema {kept.name} in {kept.database}", drop))
        for name in each.put_aside:
            drop = f"Run entrypoint transfer {each.service} --drop-aside."
            rows.append((each.service, f"database {name}", drop))
    heads = columns("service, kept by transfers, ~what removes it")
    return Section(heads, rows, leading=2)


def age(moment: str, now: datetime) -> str:
    """How long ago a timestamp is, in the largest unit that fits: ``3 min``; other text stays."""
    try:
        seconds = (now - datetime.fromisoformat(moment)).total_seconds()
    except (TypeError, ValueError):
        return moment
    for unit, size in _AGES:
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return "0 s"


def transferred(answer: report.Transferred, width: int | None) -> str:
    """What moved or would move, and what comes next."""
    moves = Section(
        columns("moves, kind, why, #rows, #size"),
        [
            (each.object, each.kind, each.reason, counted(each.rows), sized(each.size_bytes))
            for each in answer.objects
        ],
    )
    obstacles = Section(
        columns("in the way, agreed, ~why"),
        [
            (each.name, "yes" if each.allowed else "", f"{each.message}. {each.remedy}")
            for each in answer.obstacles
        ],
    )
    rows = Section(
        columns("rows of, #source, #target, #written since"),
        [
            (each.object, counted(each.source), counted(each.target), counted(each.written))
            for each in answer.rows
        ],
    )
    aside = Section(
        columns("put aside, owner, #size, #tables, #rows, since"),
        [_aside(each) for each in answer.put_aside],
    )
    places = f"from {answer.source} to {answer.target}"
    if answer.put_aside:
        places = f"beside {answer.target}"
    lines = [f"{answer.service}: {answer.result}, {places}"]
    if answer.estimate_s and answer.result == "planned":
        size, count = sized(answer.size_bytes), plural(len(moves.rows), "object")
        lines.append(f"{count}, {size}, about {answer.estimate_s:.0f} s without writers")
    lines += [f"in quarantine: {schema}" for schema in answer.quarantine]
    lines += [f"kept: {answer.kept_database}"] if answer.kept_database else []
    lines += answer.notes
    # A command is one line, however long, so that a person can paste it.
    commands = "".join(f"next: {printable(command)}\n" for command in answer.next)
    return draw([moves, obstacles, rows, aside], width, *lines) + commands


def _aside(each: report.PutAside) -> tuple[str, ...]:
    unknown = "unknown" if each.rows is None else counted(each.rows)
    since = f"{age(each.since, datetime.now(UTC))} ago"
    tables = "unknown" if each.tables is None else counted(each.tables)
    return (each.database, each.owner, sized(each.size_bytes), tables, unknown, since)


def _failed(failures: Iterable[report.Failure]) -> Section:
    heads = columns("could not look at, #exit code, ~why, ~what to do")
    rows = [(each.database, str(each.exit_code), each.message, each.remedy) for each in failures]
    return Section(heads, rows)


def counted(number: int | None) -> str:
    """A number with thousands separators; empty for None."""
    return "" if number is None else f"{number:,}"


def sized(size: int | None) -> str:
    """Bytes in the largest unit that fits: ``456 kB``, ``1.2 GB``; empty for None."""
    if size is None:
        return ""
    amount = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1024:  # noqa: PLR2004  as pg_size_pretty counts
            return f"{amount:.1f} GB" if unit == "GB" else f"{amount:.0f} {unit}"
        amount /= 1024
    return f"{amount:,.1f} TB"
