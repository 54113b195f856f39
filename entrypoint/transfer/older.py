"""What moves and an older server cannot have, or a newer one would have otherwise."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from ..postgres.session import Session, translated
from .plan import Plan
from .preflight import Problem


class _Kind(NamedTuple):
    since: int
    """The major version since which there is such a thing."""

    name: str
    what: str
    """With its label in it."""

    remedy: str
    query: str
    """Which one answers with labels, and what the remedy has to name, of relations ``oids``."""


_KINDS: Final = (
    _Kind(
        18,
        "virtual",
        "the column {} is generated and virtual",
        "Run ALTER TABLE {1} DROP COLUMN {2}, and add it again as STORED.",
        "transfer/virtual_columns",
    ),
    _Kind(
        18,
        "not_null",
        "NOT NULL {} is not valid",
        "Run ALTER TABLE {1} VALIDATE CONSTRAINT {2}.",
        "transfer/not_null_not_valid",
    ),
    _Kind(
        18,
        "not_null",
        "NOT NULL {} is not inherited",
        "Run ALTER TABLE {1} ALTER CONSTRAINT {2} INHERIT.",
        "transfer/not_null_not_inherited",
    ),
    _Kind(
        18,
        "comment",
        "NOT NULL {} has a comment",
        "Run COMMENT ON CONSTRAINT {2} ON {1} IS NULL.",
        "transfer/not_null_comments",
    ),
    _Kind(
        18,
        "constraint",
        "the constraint {} is not enforced, or has WITHOUT OVERLAPS or PERIOD",
        "Run ALTER TABLE {1} DROP CONSTRAINT {2}.",
        "transfer/constraints_of_18",
    ),
    _Kind(
        17,
        "maintain",
        "somebody has MAINTAIN, and not ALL, of {}",
        "Run REVOKE MAINTAIN ON {1} FROM {2}.",
        "transfer/maintain_rights",
    ),
    _Kind(
        15,
        "index",
        "the index {} takes nulls for equal (NULLS NOT DISTINCT)",
        "Make it again without that.",
        "transfer/nulls_not_distinct",
    ),
    _Kind(
        15,
        "view",
        "the view {} reads with the rights of who asks (security_invoker)",
        "Run ALTER VIEW {1} RESET (security_invoker).",
        "transfer/security_invoker_views",
    ),
)

NOT_NULL_INHERITED_SINCE: Final = 18


def problems(source: Session, there: Session, plan: Plan) -> Iterator[Problem]:
    """What is known of two versions; a rehearsal tells the rest. Nothing where they are one.

    Raises `RefusedError` and `UnreachableError`.
    """
    old, new = source.server_version // 10000, there.server_version // 10000
    params = {"oids": [*plan.moving]}
    for kind in _KINDS:
        if not new < kind.since <= old:
            continue
        with translated("looking at what is new", remedy="Start again."):
            rows = source.rows(kind.query, params)
        for label, *names in rows:
            yield Problem(
                f"{kind.name}:{label}",
                f"{kind.what.format(repr(label))}, which the target's server does not know: it is "
                f"of version {new}, and there is such since {kind.since}",
                kind.remedy.format(label, *names),
                allowable=False,
            )
    if old < NOT_NULL_INHERITED_SINCE <= new:
        with translated("looking at NOT NULL", remedy="Start again."):
            rows = source.rows("transfer/nullable_children", params)
        for label, table, column in rows:
            yield Problem(
                f"not_null:{label}",
                f"{label!r} may be null and its parent's may not: since version "
                f"{NOT_NULL_INHERITED_SINCE} a NOT NULL is inherited",
                f"Run ALTER TABLE {table} ALTER COLUMN {column} SET NOT NULL, or DROP NOT NULL of "
                "the parent's.",
                allowable=False,
            )
