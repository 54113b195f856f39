"""The owner of each restored object: first the writer, at the end its owner in the source."""

from collections.abc import Mapping
from typing import Any, Final

from ..errors import TransferError, plural
from ..postgres.session import Session, quoted, translated
from ..postgres.sql import load_sql
from .graph import PG_CLASS
from .lock_table import batches
from .plan import Plan

_ANY: Final = "objid >= 16384 or identity = 'public' or classid = 'pg_largeobject'::regclass"
_OF: Final = "owner = (select oid from pg_roles where rolname = %s)"

# In some minor versions a multirange follows its range, and the server refuses its own ALTER.
_FIRST: Final = (
    f"{_OF} and not exists (select from pg_type m where classid = 'pg_type'::regclass"
    " and m.oid = objid and typtype = 'm')"
)

_KINDS: Final = {
    "aggregate": "ROUTINE",
    "function": "ROUTINE",
    "procedure": "ROUTINE",
    "statistics object": "STATISTICS",
}
"""The kinds that ALTER names differently than pg_identify_object."""


def hand_over(source: Session, target: Session, plan: Plan, writer: str, public: str) -> None:
    """Give each object that the writer owns in the target to its owner in the source.

    The role ``public`` gets the schema public if the source has none. Evaluates nothing. Raises
    `TransferError` for an object that the source does not have, because evaluated code made it.
    """
    left = {*plan.unrestorable(), *((PG_CLASS, each.oid) for each in plan.not_copied)}
    with translated("looking for owners", remedy="Run the transfer again."):
        there = _owned(source, _ANY)
    owners = {("schema", "public"): public}
    owners |= {
        (kind, identity): owner
        for catalog, oid, kind, identity, owner in there
        if (catalog, oid) not in left
    }
    for which in (_FIRST, _OF):
        _give(target, owners, which, writer)
    with translated("looking for what is left", remedy="Run the transfer again."):
        rest = [each for (each,) in target.rows("transfer/left_with_owner", [writer])]
    if rest:
        raise TransferError(
            f"the transfer cannot give {plural(len(rest), 'object')} to the right owner: "
            f"{', '.join(rest[:10])}",
            remedy="Report this bug with these objects, please; the source is unchanged.",
        )


def _owned(session: Session, which: str, *params: str) -> list[tuple[Any, ...]]:
    query = load_sql("transfer/owned_objects").format(which=which)
    return session.connection.execute(query, params or None).fetchall()


def _give(target: Session, owners: Mapping[tuple[str, str], str], which: str, writer: str) -> None:
    with translated("looking for owners", remedy="Run the transfer again."):
        made = _owned(target, which, writer)
    keys = [(kind, identity) for _, _, kind, identity, _ in made]
    if strange := [f"{kind} {name}" for kind, name in keys if (kind, name) not in owners]:
        raise TransferError(
            f"code of the source created {plural(len(strange), 'object')} during the restore: "
            f"{', '.join(strange[:10])}",
            remedy="Check the functions that the service's tables call; nothing was moved.",
        )
    statements = [
        f"ALTER {_KINDS.get(kind, kind.upper())} {name} OWNER TO {quoted(owners[kind, name])}"
        for kind, name in keys
    ]
    with translated("giving each object to its owner", remedy="Run the transfer again."):
        # The transaction locks each table's indexes, sequences and TOAST, too.
        for batch in batches(statements):
            target.connection.execute("; ".join(batch).encode())
