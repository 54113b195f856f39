"""The page of `verify`: the findings by database and by service."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from ..errors import plural
from . import render
from .page_facts import Bar, Fact, listed, of_failures, scaled
from .render import counted, sized
from .report import Finding, Verification

MOST: Final = 1000  # findings on a page, shared out among the databases
LEAST: Final = 3  # findings of each database, however many databases there are


class ObjectRow(NamedTuple):
    """A finding about an object."""

    level: str
    what: str
    rows: str
    size: Bar
    remedy: str


class OwnerPart(NamedTuple):
    """The findings about one service in a database."""

    service: str
    objects: Sequence[ObjectRow]
    remedy: str  # the remedy of every object; empty if they differ
    others: Sequence[Finding]


class Group(NamedTuple):
    """The findings in a database."""

    database: str
    summary: str
    parts: Sequence[OwnerPart]
    left_out: str


def facts(answer: Verification) -> dict[str, Any]:
    """What the template of `verify` needs."""
    findings = answer.findings
    groups = _by_database(answer)
    return {
        "facts": _verified(answer),
        "services": _services(findings),
        "groups": list(_groups(groups)),
        "clean": [name for name in answer.databases if name not in groups],
        "failures": answer.failures,
    }


def _by_database(answer: Verification) -> dict[str, list[Finding]]:
    """In the answer's order, but misplaced objects first, because a long list is cut."""
    return {
        name: sorted(those, key=lambda found: found.level != "misplaced")
        for name, those in render.grouped(answer.findings, lambda found: found.database).items()
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


def _groups(places: dict[str, list[Finding]]) -> Iterator[Group]:
    most = max(LEAST, MOST // max(1, len(places)))
    shown = {name: those[:most] for name, those in places.items()}
    sizes = [f.size_bytes for those in shown.values() for f in those if f.object]
    bars = scaled(sizes)
    for name, those in shown.items():
        levels = Counter(found.level for found in places[name])
        more = len(places[name]) - len(those)
        by_service = render.grouped(those, lambda found: found.service)
        yield Group(
            name,
            f"{levels['misplaced']:,} misplaced, {plural(levels['notice'], 'notice')}",
            [_part(service, found, bars) for service, found in by_service.items()],
            f"The page leaves out {more:,} findings" if more else "",
        )


def _part(service: str | None, findings: Sequence[Finding], bars: Iterator[Bar]) -> OwnerPart:
    objects = [found for found in findings if found.object]
    remedies = {found.remedy for found in objects}
    return OwnerPart(
        service or "nobody's",
        [
            ObjectRow(
                found.level,
                f"{found.kind} {found.object}",
                counted(found.rows),
                bar,
                found.remedy,
            )
            for found, bar in zip(objects, bars, strict=False)
        ],
        remedies.pop() if len(remedies) == 1 else "",
        [found for found in findings if not found.object],
    )
