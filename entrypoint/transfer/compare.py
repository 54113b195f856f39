"""The facts of a database in the server's words: everything but rows, which `rows` compares."""

from typing import TYPE_CHECKING, Final, NamedTuple

from ..postgres.session import Session, translated
from ..postgres.sql import load_sql
from .graph import PG_PROC, PG_TYPE
from .plan import Plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .source import Other, Relation

CLONES_SINCE: Final = 150000  # before, the server marks a partition's clone of a trigger internal
_RIGHTS: Final = "transfer/facts_of_rights"

_FACTS: Final = (
    "transfer/facts_of_comments",
    "transfer/facts_of_state",
    "transfer/facts_of_strangers",
    "transfer/facts_of_rare_kinds",
    _RIGHTS,
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
