"""A transfer's answer as Markdown, which is the report."""

from collections.abc import Iterable, Iterator, Sequence

from ..operator.report import Transferred
from ..operator.tables import printable


def report(answer: Transferred) -> str:
    """Objects, counts, checksums, durations, what stays and why, and the next commands."""
    parts = [f"# {answer.service}: {answer.result}", f"From {answer.source} to {answer.target}."]
    parts += _tables(answer)
    if answer.obstacles:
        parts.append("## Obstacles")
        items = [
            f"`{each.name}`{' (agreed)' if each.allowed else ''}: {each.message}. {each.remedy}"
            for each in answer.obstacles
        ]
        parts.append(_list(items))
    sections = {
        "Also moves": [*answer.along, *(f"extension {name}" for name in answer.extensions)],
        "Database settings": answer.settings,
        "Stays in the source": answer.stays,
        "Not in the target": answer.left_out,
        "In quarantine, until --drop-quarantine": answer.quarantine,
        "Kept under another name": [answer.kept_database] if answer.kept_database else [],
        "Notes": answer.notes,
        "Next": [f"`{command}`" for command in answer.next],
    }
    for title, items in sections.items():
        if items:
            parts += [f"## {title}", _list(items)]
    if answer.durations_s:
        seconds = answer.durations_s.items()
        parts += ["## Seconds", _table(("phase", "s"), seconds)]
        parts.append(f"{answer.facts} facts and every row are the same in both.")
    if answer.url:
        parts.append(f"The service's DATABASE_URL is now `{answer.url}`.")
    return "\n\n".join(parts) + "\n"


def _tables(answer: Transferred) -> Iterator[str]:
    found: dict[tuple[str, ...], Sequence[Sequence[object]]] = {
        ("kind", "object", "why", "rows", "checksum", "bytes"): [
            (each.kind, each.object, each.reason, each.rows, each.checksum, each.size_bytes)
            for each in answer.objects
        ],
        ("rows of", "source", "target", "written since"): [
            (each.object, each.source, each.target, each.written) for each in answer.rows
        ],
        ("put aside", "owner", "bytes", "tables", "rows", "since"): [
            (each.database, each.owner, each.size_bytes, each.tables, each.rows, each.since)
            for each in answer.put_aside
        ],
    }
    for columns, rows in found.items():
        if rows:
            yield _table(columns, rows)


def _table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    heads = list(columns)
    lines = [heads, ["---"] * len(heads), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    return "" if value is None else printable(str(value)).replace("|", "\\|")


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"- {printable(item)}" for item in items)
