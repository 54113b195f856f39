"""The answers of a transfer: its plan, its result, its refusal, and the report as Markdown."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from ..errors import TransferError
from .obstacle import agreed
from .preflight import Prepared
from .request import Request

if TYPE_CHECKING:
    from ..operator.report import Transferred
    from .move import Result

SHOWN: Final = 5  # obstacles that an error's sentence names; its fields have all of them


def done(
    request: Request, prepared: Prepared, moved: "Result", durations: Mapping[str, float]
) -> "Transferred":
    """The plan as an answer, with the result's counts and the next commands."""
    answer = describe(request, prepared)
    counted = {
        each.relation.label(): {"rows": each.rows, "checksum": each.checksum}
        for each in moved.counted
    }
    name = prepared.target.name
    return answer.model_copy(
        update={
            "result": "moved",
            "objects": [
                each.model_copy(update=counted.get(each.object)) for each in answer.objects
            ],
            "left_out": moved.left,
            "facts": moved.facts,
            "durations_s": dict(durations),
            "quarantine": moved.quarantine,
            "kept_database": moved.kept,
            "url": prepared.target.server.conninfo.with_database(name).safe(),
            "next": request.commands.moved(aside=moved.kept is not None),
        }
    )


class NotAgreedError(TransferError):
    """Problems that the operator did not agree to, with the plan as the answer."""

    def __init__(self, answer: "Transferred") -> None:
        left = [each for each in answer.obstacles if not each.allowed]
        final = [each for each in left if not each.allowable]
        [line] = answer.next
        what = f"the move has {len(left)} obstacles: {_some([each.name for each in left])}"
        if len(left) == 1:
            what = f"{left[0].message} ({left[0].name})"
        mend = _some([f"[{each.name}] {each.remedy}" for each in final], " ")
        remedy = f"Fix what --allow does not cover: {mend} Then run: {line}"
        super().__init__(
            what,
            remedy=remedy if final else f"Fix each, or agree to all of them: {line}",
            obstacles=[each.model_dump(exclude={"allowed"}) for each in left],
        )
        self.answer = answer


def _some(texts: Sequence[str], between: str = ", ") -> str:
    more = len(texts) - SHOWN
    return between.join([*texts[:SHOWN], *([f"and {more} more"] if more > 0 else [])])


def describe(request: Request, prepared: Prepared) -> "Transferred":
    """The plan as an answer."""
    from ..operator.report import MovedObject, Obstacle

    plan = prepared.plan
    return request.answer(
        "planned",
        objects=[
            MovedObject(
                kind="partitioned table" if each.kind == "p" else each.sql_kind().lower(),
                object=each.label(),
                reason=plan.moving[each.oid],
                rows=each.rows if each.kind in "rm" else None,
                size_bytes=each.size_bytes,
            )
            for each in plan.relations
        ],
        along=[f"{each.kind.lower()} {each.identity}" for each in plan.carried],
        extensions=list(plan.extensions),
        settings=[setting for _, setting in plan.source.settings],
        large_objects=plan.source.large_objects,
        stays=sorted(each.label() for each in plan.staying),
        obstacles=[
            Obstacle(**each._asdict(), allowed=agreed(each, request.allowed))
            for each in sorted(prepared.problems, key=lambda each: each.allowable)
        ],
        size_bytes=plan.size_bytes,
        estimate_s=plan.estimate_s,
        next=[request.commands.move(each.name for each in prepared.problems if each.allowable)],
    )


def markdown(answer: "Transferred") -> str:
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
        parts.append(f"{answer.facts} facts and every row are the same in both databases.")
    if answer.url:
        parts.append(f"The service's DATABASE_URL is now `{answer.url}`.")
    return "\n\n".join(parts) + "\n"


def _tables(answer: "Transferred") -> Iterator[str]:
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
    from ..operator.tables import printable

    return "" if value is None else printable(str(value)).replace("|", "\\|")


def _list(items: Iterable[str]) -> str:
    from ..operator.tables import printable

    return "\n".join(f"- {printable(item)}" for item in items)
