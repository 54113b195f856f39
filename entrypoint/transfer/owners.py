"""Who owns what a restore made: its writer first, and at the end who owns it in the source."""

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

# A multirange goes with its range in some minor versions, and is refused then.
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
"""What ALTER calls an object otherwise than pg_identify_object does."""


def hand_over(source: Session, target: Session, plan: Plan, writer: str, public: str) -> None:
    """Give each object of the writer's in the target to the role that owns it in the source.

    ``public`` gets the schema of that name if the source has none. Evaluates nothing. Raises
    `TransferError` for what the source does not have: something that was evaluated made it, and it
    belongs to nobody.
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
            f"{plural(len(rest), 'object')} cannot be given to the right owner: "
            f"{', '.join(rest[:10])}",
            remedy="Report it with these objects, please; the source is as it was.",
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
            f"something in the source made {plural(len(strange), 'object')} while it was restored: "
            f"{', '.join(strange[:10])}",
            remedy="Look at the functions that the service's tables call; nothing was moved.",
        )
    statements = [
        f"ALTER {_KINDS.get(kind, kind.upper())} {name} OWNER TO {quoted(owners[kind, name])}"
        for kind, name in keys
    ]
    with translated("giving each object to its owner", remedy="Run the transfer again."):
        # A table's indexes, sequences and TOAST are locked with it until the transaction ends.
        for batch in batches(statements):
            target.connection.execute("; ".join(batch).encode())
