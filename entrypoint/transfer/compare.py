"""Compare the facts of two databases: everything but rows, in the servers' words.

Servers of one version write a fact in the same words. Facts that differ between versions get a form
that both share (`_shared`), and only those.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from ..postgres.session import Session, translated
from ..postgres.sql import load_sql, quoted
from .obstacle import Problem, final
from .plan import Plan
from .source import PG_PROC, PG_TYPE, queried

if TYPE_CHECKING:
    from .source import Other, Relation

CLONES_SINCE: Final = 150000  # before, the server marks a partition's clone of a trigger internal
_RIGHTS: Final = "transfer/facts_of_rights"
_FACTS: Final = (
    *("transfer/facts_of_comments", "transfer/facts_of_state", "transfer/facts_of_strangers"),
    *("transfer/facts_of_rare_kinds", _RIGHTS),
)


class Scope(NamedTuple):
    """The objects to compare, by their OIDs on one side."""

    oids: list[int]
    types: list[int]
    functions: list[int]
    blobs: bool
    rights: bool
    ours: list[str]  # the transfer's own roles, whose rights are no facts
    kinds: list[str]
    names: list[str]  # the rarer kinds that the target gets, as pg_identify_object writes them
    left: list[int]  # constraints, indexes, triggers, rules, policies and statistics to leave out


def facts(session: Session, scope: Scope) -> set[str]:
    """Everything but rows and sequence positions, as text, in the session's open transaction."""
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
    lines = lines.replace("%", "%%").replace("%%(", "%(")  # only %( begins a parameter
    queries = [f"{lines} select text from line"]  # noqa: S608  texts of our own
    queries += [load_sql(each) for each in _FACTS if scope.rights or each != _RIGHTS]
    settings = load_sql("postgres/fingerprint_settings")
    with (
        translated("comparing facts", remedy="Run the transfer again."),
        session.savepoint(settings, undone=True),
    ):
        rows = [
            text
            for query in queries
            for (text,) in session.connection.execute(query.encode(), params).fetchall()
        ]
    # Schemas and extensions come with what needs them, so they are no facts of their own.
    return {row for row in rows if not row.startswith(("(schema,", "(extension,"))}


def scope_of(
    session: Session, plan: Plan, ours: list[str], *, powerful: bool, source: bool
) -> Scope:
    """The plan's objects by OID in this database; with rights and large objects if ``powerful``."""
    types = [each for each in plan.carried if each.key[0] == PG_TYPE]
    functions = [each for each in plan.carried if each.key[0] == PG_PROC]
    rare = [each for each in plan.carried if each.key[0] not in (PG_TYPE, PG_PROC)]
    words = [each.kind for each in rare], [each.identity for each in rare]
    groups: tuple[Sequence[Relation | Other], ...] = (plan.restored, types, functions)
    left: list[int] = []
    if source:
        found = [[each.key[1] for each in group] for group in groups]
        left = sorted({oid for _, oid in plan.left})
    else:
        params: list[list[str]] = []
        for group in groups:
            params += [[each.schema for each in group], [each.name for each in group]]
        [row] = queried(session, "looking at what was moved", "transfer/oids_by_name", params)
        found = [each or [] for each in row]
    oids, of_types, of_functions = found
    return Scope(oids, of_types, of_functions, powerful, powerful, ours, *words, left)


OBJECTS: Final = 10  # objects to report; the last one says how many more differ
SHOWN: Final = 4  # facts to report of one object
LENGTH: Final = 300  # characters to report of one fact
_BARE = re.compile(r"[a-z_][a-z0-9_$]*")
_IDENTIFIER: Final = r'(?:"(?:[^"]|"")*"|[^\W\d][\w$]*)'
_QUALIFIED = re.compile(rf"{_IDENTIFIER}\.{_IDENTIFIER}")
_INDEX = re.compile(rf"CREATE (?:UNIQUE )?INDEX ({_IDENTIFIER}) ON ")
_OF_RELATIONS: Final = ("relation", "columns", "inherits", "index", "sequence", "policy", "type")
"""Facts whose second and third fields are a schema and a name."""

_OF_TEXTS: Final = ("function", "trigger", "rule", "statistics")  # a statement names the object
_ANEW: Final = "Recreate it in the source with the statements of pg_dump --schema-only, or drop it."
NOT_NULL_ROWS_SINCE: Final = 18
"""Since this version a NOT NULL is a constraint with a name (on a domain since 17). Older versions
mark the column or the domain, and that mark is a fact, too."""

MAINTAIN_SINCE: Final = 17  # since this version ALL on a table includes MAINTAIN
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
"""The fields of each fact with SQL that the server deparsed."""

_DEFAULT: Final = 11  # the same field of a column
_RECORD = re.compile(r'[(]((?:"(?:[^"]|"")*"|[^"()])*)[)]')
_FIELD = re.compile(r'(?:^|,)((?:"(?:[^"]|"")*"|[^",])*)')
_QUOTED = re.compile(r'"((?:[^"]|"")*)"')

# Names, constants and operators. The pattern skips a column's relation, which FROM names.
_WORD = re.compile(
    r"""(?:(?!(?:new|old)\.)(?:"(?:[^"]|"")*"|[^\W\d]\w*)\.)*"""
    r"""('(?:[^']|'')*'|"(?:[^"]|"")*"|[\w$]+(?:\.\d+)?|[-+*/<>=~!@#%^&|`?]+)"""
)
_NAME = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|[\w$]+""")
_EVERY: Final = ("arwdDxt", "a*r*w*d*D*x*t*")  # ALL on a table before MAINTAIN, as servers write it
_ELEMENT = re.compile(r'"((?:[^"\\]|\\.)*)"|([^",{}]+)')
_ITEM = re.compile(r'((?:"(?:[^"]|"")*"|[^"=])*)=([^/]*)(.*)', re.DOTALL)


class Difference(NamedTuple):
    """A fact of one side only."""

    side: str  # `source` or `target`
    fact: str


def differences(
    source: set[str], target: set[str], majors: tuple[int, int] = (0, 0)
) -> list[Difference]:
    """Facts of one side only, except for objects that stay in the source.

    Between major versions, two facts are the same if their shared forms are.
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
    """A fact in words that both versions use; empty if one of them cannot state it."""
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
    """Privileges without MAINTAIN, if ALL or the owner's default includes it."""
    for inside, bare in _ELEMENT.findall(items):
        item = re.sub(r"\\(.)", r"\1", inside, flags=re.DOTALL) or bare
        if match := _ITEM.fullmatch(item):
            role, letters, grantor = match.groups()
            others = letters.replace("m*", "").replace("m", "")
            if others in _EVERY or _QUOTED.sub(_bare, role) == owner:
                letters = others
            if letters:
                yield f"{role}={letters}{grantor}"


def _words(text: str) -> tuple[list[str], list[str]]:
    """The words of an SQL text in order, and its names.

    Only versions before 16 qualify a column if the query has a single relation.
    """
    return _WORD.findall(text), sorted({*_NAME.findall(text)})


def records(fact: str) -> list[list[str]]:
    """The fields of each record in a row of records, as PostgreSQL writes them."""
    return [
        [_QUOTED.sub(_bare, field).replace("\\\\", "\\") for field in _FIELD.findall(record)]
        for record in _RECORD.findall(fact)
    ]


def _bare(match: re.Match[str]) -> str:
    return match[1].replace('""', '"')


def problems(differences: Sequence[Difference]) -> Iterator[Problem]:
    """A problem for each object that a restore makes differently."""
    found: dict[str, list[Difference]] = {}
    for each in differences:
        found.setdefault(subject(each.fact), []).append(each)
    left = len(found) - OBJECTS
    for number, (name, those) in enumerate(found.items(), 1):
        message, remedy = _told(name, those)
        if number == OBJECTS and left > 0:
            message += f" (and {left} more objects differ)"
        yield final(f"facts:{name}", message, remedy)
        if number == OBJECTS:
            return


def subject(fact: str) -> str:
    """The object of a fact, as SQL writes it with ``public`` in the search_path."""
    fields = records(fact)[0]
    kind, rest = fields[0], fields[1:]
    name = rest[0]
    if kind in _OF_RELATIONS:
        name = _identity(*rest[:2])
    elif kind == "constraint":
        name = _identity(*(rest[:2] if rest[1] else rest[2:4]))
    elif kind == "rights":
        name = _whose(records(rest[0])[0])
    elif internal := _internal(fields):
        name = _identity(*internal[:2])
    elif kind in _OF_TEXTS:
        match = _QUALIFIED.search(rest[-1])
        name = match[0] if match else kind
    elif kind == "comment":
        name = rest[1]
    elif kind in ("object", "carried"):
        name = " ".join(rest[:2])
    return name.removeprefix("public.")


def _whose(what: Sequence[str]) -> str:
    if what[0] == "default":
        return "default rights"
    if what[0] in ("type", "function"):
        return what[1]
    return what[0] if "." in what[0] else _identity(*what[:2])


def _identity(schema: str, name: str) -> str:
    words = [name] if schema == "public" else [schema, name]
    return ".".join(each if _BARE.fullmatch(each) else quoted(each) for each in words)


def _internal(fields: Sequence[str]) -> Sequence[str]:
    """Schema, table and constraint of a trigger that enforces a constraint; otherwise nothing."""
    if fields[0] == "trigger" and fields[-1].startswith("("):
        return records(fields[-1])[0]
    return ()


def _told(name: str, those: Sequence[Difference]) -> tuple[str, str]:
    here, there = (
        [column for each in those if each.side == side for column in _columns(each.fact)]
        for side in ("source", "target")
    )
    if here != there and sorted(here) == sorted(there):
        return _reordered(name, [each[0] for each in here], [each[0] for each in there])
    shown = [f"only in the {each.side}: {each.fact[:LENGTH]}" for each in those[:SHOWN]]
    shown += [f"{len(those) - SHOWN} more"] if len(those) > SHOWN else []
    remedy = _ANEW
    if invalid := _invalid(those):
        words = "; ".join(f"REINDEX INDEX {each}" for each in invalid)
        return (
            f"{', '.join(invalid)} of {name} is not valid, and a restore does not create it",
            f"Wait if a session is building it; otherwise run {words}, or drop it.",
        )
    if all(_internal(records(each.fact)[0]) for each in those):
        remedy = (
            f"Run ALTER TABLE {name} ENABLE TRIGGER ALL: a restore enables the triggers that "
            "enforce constraints. Then disable each other trigger by its name again."
        )
    return f"a restore creates {name} differently, without an error: {'; '.join(shown)}", remedy


def _invalid(those: Sequence[Difference]) -> list[str]:
    """The invalid indexes if nothing else differs: a dump has every index but these."""
    found = []
    for each in those:
        kind, *fields = records(each.fact)[0]
        match = next(filter(None, map(_INDEX.match, fields)), None)
        if each.side != "source" or kind != "index" or match is None:
            return []
        found.append(f"{quoted(fields[0])}.{match[1]}")
    return found


def _columns(fact: str) -> list[list[str]]:
    first, *columns = records(fact)
    return columns if first[0] == "columns" else []


def _reordered(name: str, here: Sequence[str], there: Sequence[str]) -> tuple[str, str]:
    """A new column comes last, so name the columns to make anew, in their order."""
    place, kept = -1, 0
    for column in there:
        if here.index(column) < place:
            break
        place, kept = here.index(column), kept + 1
    late = ", ".join(there[kept:])
    message = (
        f"a restore puts the columns of {name} in another order, its parents' first: "
        f"{', '.join(there)} instead of {', '.join(here)}"
    )
    remedy = (
        f"Recreate {late} of {name}, in this order: ALTER TABLE ... RENAME COLUMN to another "
        "name, ADD COLUMN, UPDATE, DROP COLUMN, and everything that depends on it. For a column "
        "that a parent has, too, run ALTER TABLE ... NO INHERIT first, and INHERIT at the end."
    )
    return message, remedy
