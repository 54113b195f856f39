"""Whether the target has what the source had, fact by fact; `rows` compares its rows.

Two servers of one version write a fact in the same words. Those of different versions do not: what
they tell in other words is brought into a form that they share (`_shared`), and only that.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from ..postgres.session import Session, translated
from ..postgres.sql import load_sql
from .plan import Plan

if TYPE_CHECKING:
    from .source import Other, Relation

PG_PROC: Final = 1255
PG_TYPE: Final = 1247

NOT_NULL_ROWS_SINCE: Final = 18
"""Since this version a NOT NULL is a constraint with a name, of a domain since 17; before that, a
mark on the column or the domain, which is compared too."""

MAINTAIN_SINCE: Final = 17
"""Since this version ALL of a table's privileges are one more."""

CLONES_SINCE: Final = 150000
"""Since this version a trigger that a partition has of its parent is not the server's own."""

_RIGHTS: Final = "transfer/facts_of_rights"

_FACTS: Final = (
    "transfer/facts_of_comments",
    "transfer/facts_of_state",
    "transfer/facts_of_strangers",
    "transfer/facts_of_rare_kinds",
    _RIGHTS,
)

_TEXTS: Final[Mapping[str, frozenset[int]]] = {
    "relation": frozenset({12, 13}),
    "constraint": frozenset({7}),
    "index": frozenset({8}),
    "type": frozenset({7}),
    "function": frozenset({1}),
    "trigger": frozenset({2}),
    "policy": frozenset({7, 8}),
    "rule": frozenset({2}),
    "statistics": frozenset({2}),
}
"""Which fields of a fact hold SQL that the server wrote from what it has parsed."""

_DEFAULT: Final = 11
"""Which field of a column does."""

_RECORD = re.compile(r'[(]((?:"(?:[^"]|"")*"|[^"()])*)[)]')

_FIELD = re.compile(r'(?:^|,)((?:"(?:[^"]|"")*"|[^",])*)')

_QUOTED = re.compile(r'"((?:[^"]|"")*)"')

# Names, constants and operators, but not which relation a column is of: a name behind FROM says it.
_WORD = re.compile(
    r"""(?:(?!(?:new|old)\.)(?:"(?:[^"]|"")*"|[^\W\d]\w*)\.)*"""
    r"""('(?:[^']|'')*'|"(?:[^"]|"")*"|[\w$]+(?:\.\d+)?|[-+*/<>=~!@#%^&|`?]+)"""
)

_NAME = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|[\w$]+""")

_EVERY: Final = ("arwdDxt", "a*r*w*d*D*x*t*")
"""What ALL of a table's privileges were before MAINTAIN, as the server writes them."""

_ELEMENT = re.compile(r'"((?:[^"\\]|\\.)*)"|([^",{}]+)')

_ITEM = re.compile(r'((?:"(?:[^"]|"")*"|[^"=])*)=([^/]*)(.*)', re.DOTALL)


class Difference(NamedTuple):
    """A fact that only one side has."""

    side: str
    """``source`` or ``target``"""

    fact: str


class Scope(NamedTuple):
    """What is compared, as OIDs of one side."""

    oids: list[int]
    types: list[int]
    functions: list[int]
    blobs: bool
    rights: bool
    ours: list[str]
    """Roles of the transfer's own, whose rights are no facts."""

    kinds: list[str]
    names: list[str]
    """What the target gets of the rarer kinds, as the server identifies it."""

    left: list[int]
    """Constraints, indexes, triggers, rules, policies and statistics that are not compared."""


def facts(session: Session, scope: Scope) -> set[str]:
    """Everything but rows and sequences' positions, as text; in the session's transaction."""
    params = scope._asdict()
    lines = load_sql("postgres/schema_lines")
    for name, condition in (
        ("relations", "and c.oid = any (%(oids)s)"),
        ("types", "and t.oid = any (%(types)s)"),
        ("functions", "and p.oid = any (%(functions)s)"),
        ("left constraints", "and k.oid <> all (%(left)s)"),
        ("left indexes", "and coalesce(pg_constraint.oid, indexrelid) <> all (%(left)s)"),
        ("left triggers", "and t.oid <> all (%(left)s) and tgconstraint <> all (%(left)s)"),
        ("left policies", "and pg_policy.oid <> all (%(left)s)"),
        ("left rules", "and w.oid <> all (%(left)s)"),
        ("left statistics", "and x.oid <> all (%(left)s)"),
    ):
        lines = lines.replace(f"/* {name} */", condition)
    if session.server_version < CLONES_SINCE:
        lines = lines.replace("tgisinternal", "(tgisinternal and tgparentid = 0)")
    lines = lines.replace("%", "%%").replace("%%(", "%(")  # else they would be parameters
    queries = [f"{lines} select text from line"]  # noqa: S608  texts of our own
    queries += [load_sql(each) for each in _FACTS if scope.rights or each != _RIGHTS]
    connection = session.connection
    with translated("comparing facts", remedy="Run the transfer again."):
        settings = load_sql("postgres/fingerprint_settings")
        connection.execute(f"savepoint facts; {settings}")
        rows = [
            text
            for query in queries
            for (text,) in connection.execute(query.encode(), params).fetchall()
        ]
        connection.execute("rollback to facts; release facts")
    # PostgreSQL 18 names what is in schema public's own rights; the schema itself comes with it.
    return {row for row in rows if not row.startswith(("(schema,", "(extension,"))}


def differences(
    source: set[str], target: set[str], majors: tuple[int, int] = (0, 0)
) -> list[Difference]:
    """What only one of them has, but for objects that stay in the source.

    Between servers of two major versions, facts that both tell in words of their own are the same
    where their shared forms are.
    """
    here, there = sorted(source - target), sorted(target - source)
    if majors[0] != majors[1]:
        forms = [Counter(_shared(each, majors) for each in facts) for facts in (here, there)]
        same = forms[0] & forms[1]
        here, there = (_without(facts, same, majors) for facts in (here, there))
    return [
        *(Difference("source", fact) for fact in here if not fact.startswith("(object,")),
        *(Difference("target", fact) for fact in there),
    ]


def _without(facts: Sequence[str], same: Counter[str], majors: tuple[int, int]) -> list[str]:
    left, found = Counter(same), []
    for fact in facts:
        form = _shared(fact, majors)
        if left[form] > 0:
            left[form] -= 1
        elif form:
            found.append(fact)
    return found


def _shared(fact: str, majors: tuple[int, int]) -> str:
    """A fact in words that both versions have; none for what one of them cannot tell."""
    first, *columns = records(fact)
    name = first[0]
    older, newer = sorted(majors)
    if name == "columns":
        words = [[*each[:_DEFAULT], _words(each[_DEFAULT])] for each in columns]
        return repr((first, words))
    if name == "constraint" and older < NOT_NULL_ROWS_SINCE:
        if first[7].startswith("NOT NULL"):
            return ""  # the column, or the domain, says it too
    elif name == "rights" and older < MAINTAIN_SINCE <= newer:
        return repr((first[:3], list(_without_maintain(first[3], first[2]))))
    texts = _TEXTS.get(name, ())
    return repr([_words(each) if at in texts else each for at, each in enumerate(first)])


def _without_maintain(items: str, owner: str) -> Iterator[str]:
    """Privileges but for MAINTAIN, where it is a part of ALL, or its owner's by default."""
    for quoted, bare in _ELEMENT.findall(items):
        item = re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL) or bare
        if match := _ITEM.fullmatch(item):
            role, letters, grantor = match.groups()
            others = letters.replace("m*", "").replace("m", "")
            if others in _EVERY or _QUOTED.sub(_bare, role) == owner:
                letters = others
            if letters:
                yield f"{role}={letters}{grantor}"


def _words(text: str) -> tuple[list[str], list[str]]:
    """The words of an SQL text in their order, and the names that are in it.

    Before 16, and nowhere else, a column is written with its relation where there is no other.
    """
    return _WORD.findall(text), sorted({*_NAME.findall(text)})


def records(fact: str) -> list[list[str]]:
    """The fields of each record in a row of them, as PostgreSQL writes records."""
    return [
        [_QUOTED.sub(_bare, field).replace("\\\\", "\\") for field in _FIELD.findall(record)]
        for record in _RECORD.findall(fact)
    ]


def _bare(match: re.Match[str]) -> str:
    return match[1].replace('""', '"')


def scope_of(
    session: Session, plan: Plan, ours: list[str], *, powerful: bool, source: bool
) -> Scope:
    """The plan's objects by the OIDs that they have in this database.

    Rights and large objects are in it where a ``powerful`` session looks.
    """
    types = [each for each in plan.carried if each.key[0] == PG_TYPE]
    functions = [each for each in plan.carried if each.key[0] == PG_PROC]
    rare = [each for each in plan.carried if each.key[0] not in (PG_TYPE, PG_PROC)]
    words = [each.kind for each in rare], [each.identity for each in rare]
    if source:
        return Scope(
            [each.oid for each in plan.restored],
            [each.key[1] for each in types],
            [each.key[1] for each in functions],
            powerful,
            powerful,
            ours,
            *words,
            plan.left_oids(),
        )
    groups: tuple[Sequence[Relation | Other], ...] = (plan.restored, types, functions)
    params: list[list[str]] = []
    for group in groups:
        params += [[each.schema for each in group], [each.name for each in group]]
    with translated("looking at what was moved", remedy="Run the transfer again."):
        found = session.row("transfer/oids_by_name", params) or (None,) * 3
    oids, of_types, of_functions = (each or [] for each in found)
    return Scope(oids, of_types, of_functions, powerful, powerful, ours, *words, [])
