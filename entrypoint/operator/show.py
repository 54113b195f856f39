"""Answers as tables for people, and as JSON for machines.

What strangers named is shown escaped: a table's name with a newline, a quote or a terminal's escape
sequence cannot forge a row.
"""

import io
import json
from collections.abc import Iterable, Sequence
from typing import Final

from pydantic import BaseModel
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .report import Creations, Failure, ServiceStatus, Status, Transferred, Verification

WIDTH: Final = 160
"""Columns where there is no terminal to ask."""

_STYLES: Final = {"misplaced": "bold red", "notice": "yellow", "failed": "bold red"}


def as_json(answer: BaseModel) -> str:
    """One object in ASCII, so that no terminal acts on what is in it."""
    return json.dumps(answer.model_dump(mode="json"), indent=2) + "\n"


def verification(answer: Verification, width: int | None) -> str:
    """Findings, the misplaced ones first, with what to do."""
    order = {"misplaced": 0, "notice": 1}
    findings = sorted(answer.findings, key=lambda found: order[found.level])
    rows = [
        (
            found.level,
            found.database,
            f"{found.kind} {found.object}" if found.object else found.finding,
            found.service or "",
            _count(found.rows),
            _bytes(found.size_bytes),
            found.remedy if found.object else f"{found.message}. {found.remedy}",
        )
        for found in findings
    ]
    columns = ("level", "database", "what", "whose", "rows", "size", "what to do")
    misplaced = sum(found.level == "misplaced" for found in findings)
    last = (
        f"{_plural(len(answer.databases), 'database')} looked at on {answer.server}: "
        f"{misplaced} misplaced, {_plural(len(findings) - misplaced, 'notice')}"
        + (f", {len(answer.failures)} could not be looked at" if answer.failures else "")
    )
    return _tables(width, [(columns, rows), _failed(answer.failures)], last)


def creations(answer: Creations, width: int | None) -> str:
    """A line for each database."""
    words = {"missing": "would be created"}
    rows = [
        (each.database, each.service, words.get(each.result, each.result))
        for each in answer.databases
    ]
    failures = [each.failure for each in answer.databases if each.failure]
    return _tables(width, [(("database", "service", ""), rows), _failed(failures)])


def status(answer: Status, width: int | None) -> str:
    """A row for each service."""
    columns = ("service", "database", "size", "tables", "sessions", "last push", "tenants", "lock")
    failures = [row.failure for row in answer.services if row.failure]
    return _tables(width, [(columns, [_status(row) for row in answer.services]), _failed(failures)])


def transferred(answer: Transferred, width: int | None) -> str:
    """What moved or would, and what is next."""
    rows = [
        (each.object, each.kind, each.reason, _count(each.rows), _bytes(each.size_bytes))
        for each in answer.objects
    ]
    obstacles = [
        (each.name, "agreed" if each.allowed else "", f"{each.message}. {each.remedy}")
        for each in answer.obstacles
    ]
    lines = [f"{answer.service}: {answer.result}, from {answer.source} to {answer.target}"]
    if answer.result == "planned":
        size, seconds = _bytes(answer.size_bytes), answer.estimate_s
        lines.append(f"{len(rows)} objects, {size}, about {seconds:.0f} s without writers")
    lines += [f"in quarantine: {schema}" for schema in answer.quarantine]
    lines += [f"kept: {answer.kept_database}"] if answer.kept_database else []
    lines += [f"next: {command}" for command in answer.next]
    sections: list[_Section] = [
        (("moves", "kind", "why", "rows", "size"), rows),
        (("in the way", "", "why"), obstacles),
    ]
    return _tables(width, sections) + "".join(f"{printable(line)}\n" for line in lines)


def _status(row: ServiceStatus) -> tuple[str, ...]:
    if not row.exists:
        return (row.service, f"{row.database} (missing)", "", "", "", "", "", "")
    last, holder = row.last_push, row.holder
    pushed = f"{last.at} {last.release or '-'} {last.host} {last.elapsed_s:.1f} s" if last else "-"
    return (
        row.service,
        row.database,
        _bytes(row.size_bytes),
        _count(row.tables),
        _count(row.sessions),
        f"{pushed} (drifted)" if row.drift else pushed,
        _count(len(row.tenants)),
        f"{holder.application_name} since {holder.since}: {holder.doing}" if holder else "",
    )


_Section = tuple[Sequence[str], Sequence[Sequence[str]]]


def _failed(failures: Iterable[Failure]) -> _Section:
    columns = ("could not look at", "exit code", "why", "what to do")
    return columns, [(f.database, str(f.exit_code), f.message, f.remedy) for f in failures]


def _tables(width: int | None, sections: Iterable[_Section], last: str = "") -> str:
    out = io.StringIO()
    console = Console(file=out, width=width or WIDTH, force_terminal=width is not None)
    for columns, rows in sections:
        if not rows:
            continue
        table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(Text(printable(cell), _STYLES.get(cell, "")) for cell in row))
        console.print(table)
    if last:
        console.print(Text(printable(last)))
    return out.getvalue()


def printable(text: str) -> str:
    """The text with everything escaped that a terminal would not simply show."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _bytes(size: int | None) -> str:
    if size is None:
        return ""
    amount = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1024:  # noqa: PLR2004  as pg_size_pretty counts
            return f"{amount:.0f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TB"
