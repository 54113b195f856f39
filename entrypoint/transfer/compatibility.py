"""What the target's server lacks; an operator can agree to do without some of it."""

import re
from collections.abc import Iterator
from typing import Final

from ..postgres.session import Session, translated
from ..postgres.sql import quoted
from .obstacle import Problem, final
from .plan import Plan
from .source import queried
from .target import Lacks, Target, refused, row

PROVIDERS: Final = {
    "i": ("icu", 15, "collprovider = 'i'"),
    "b": ("builtin", 17, "collprovider = 'b' and colllocale = %(locale)s"),
}
"""Locale providers besides libc: name, first major version, and the condition for a locale."""


def look(
    source: Session, there: Session, plan: Plan, target: Target, *, other: bool
) -> tuple[Target, list[Problem]]:
    """Find what the target's server lacks, and note in the target what the operator may do without.

    ``other`` says whether the target's server is not the source's. Raises `RefusedError` and
    `UnreachableError`.
    """
    [(user, may, mighty)] = queried(there, "looking at the role", "transfer/own_rights")
    problems = [] if not other else [*_roles(source, there, plan)]
    if other and not may:
        problems.append(
            final(
                "target_rights",
                f"the role {quoted(user)} may not create databases on the target's server",
                f"Run ALTER ROLE {quoted(user)} CREATEDB there.",
            )
        )
    if other and not mighty and {relation.owner for relation in plan.relations} != {user}:
        problems.append(
            final(
                "target_owner",
                f"on the target's server the role {quoted(user)} is neither a superuser nor the "
                "owner of all that moves",
                "Use --to to name a superuser, or the owner if one role owns it all.",
            )
        )
    problems += _extensions(source, there, plan, mighty=mighty)
    doing = "looking for tablespaces"
    used = queried(source, doing, "transfer/used_tablespaces", [[*plan.moving]])
    asked = [[name for (name,) in used]]
    spaces = queried(there, doing, "transfer/missing_tablespaces", asked)
    problems += [
        Problem(
            f"tablespace:{name}",
            f"the target's server has no tablespace {quoted(name)} in which the role may create",
            "Run CREATE TABLESPACE or GRANT CREATE ON TABLESPACE there, or agree: the default "
            "tablespace gets all that moves.",
        )
        for (name,) in spaces
    ]
    if other:
        problems += _locale(source, there)
        problems += _collations(source, there, plan)
        problems += _of_versions(source, there, plan)
    settings = refused(there, target, plan, user)
    problems += [
        Problem(
            f"setting:{name}" if role is None else f"setting:{name} of {role}",
            f"the target's server does not accept the setting {name}"
            f"{'' if role is None else f' of the role {quoted(role)}'}: {why}",
            f"Run ALTER {'DATABASE' if role is None else f'ROLE {quoted(role)} IN DATABASE'} "
            f"{quoted(source.database)} RESET {quoted(name)} in the source, or agree: the "
            "target goes without it.",
        )
        for (role, name), why in settings.items()
    ]
    lacks = Lacks(bool(spaces), frozenset(settings))
    return target._replace(lacks=lacks), problems


def _roles(source: Session, there: Session, plan: Plan) -> Iterator[Problem]:
    staying = [each.oid for each in plan.staying] + [key[1] for key in plan.left_out]
    rows = queried(source, "looking for roles", "transfer/needed_roles", {"staying": staying})
    used = {name for (name,) in rows} | {relation.owner for relation in plan.relations}
    used |= {role for role, _ in plan.source.settings if role}
    if missing := queried(there, "looking for roles", "transfer/missing_roles", [sorted(used)]):
        names = [quoted(name) for (name,) in missing]
        yield final(
            "roles",
            f"the target's server does not have the roles {', '.join(names)}",
            f"Run {'; '.join(f'CREATE ROLE {name}' for name in names)} there, or run pg_dumpall "
            "--roles-only here and its output there.",
        )


def _extensions(source: Session, there: Session, plan: Plan, *, mighty: bool) -> Iterator[Problem]:
    names, doing = [[*plan.extensions]], "looking for extensions"
    rows = queried(there, doing, "transfer/available_extensions", names)
    found = {name: rest for name, *rest in rows}
    for name, version in queried(source, doing, "transfer/extension_versions", names):
        default, privileged = found.get(name, (None, False))
        if default is None:
            yield final(
                f"extension:{name}",
                f"what moves needs the extension {quoted(name)}, which the target's server does "
                "not have",
                f"Install it there; the source has version {version}.",
            )
        elif privileged and not mighty:
            yield final(
                f"extension:{name}",
                f"only a superuser may create the extension {quoted(name)} in the target, and what "
                "moves needs it",
                "Use --to to name a superuser, or --server if the target is on the same server.",
            )
        elif _number(default) < _number(version):
            yield Problem(
                f"extension:{name}",
                f"the source has version {version} of the extension {quoted(name)}, and the "
                f"target's server creates {default}",
                "Install the newer one there, or agree: the target gets the older one, and the "
                "restore of what it lacks fails.",
            )


def _number(version: str) -> list[int]:
    return [int(each) for each in re.findall(r"\d+", version)]


def _locale(source: Session, there: Session) -> Iterator[Problem]:
    """Only CREATE DATABASE can tell whether the other system has a locale of libc."""
    words = row(source, source.database)[1]
    if (found := words.get("datlocprovider", "c")) not in PROVIDERS:
        return
    provider, since, condition = PROVIDERS[found]
    locale = words.get("datlocale") or words["daticulocale"]
    with translated("looking for locales", remedy="Run the command again."):
        known = there.server_version // 10000 >= since
        if known:
            query = f"select exists (select from pg_catalog.pg_collation where {condition})"  # noqa: S608  ours
            [(known,)] = there.connection.execute(query.encode(), {"locale": locale}).fetchall()
    if not known:
        yield final(
            f"collation:{locale}",
            f"the source sorts texts by the {provider} locale {locale}, which the target's "
            f"server (version {there.server_version // 10000}) does not have",
            "Move to a server that has it, or dump and restore the source into another locale.",
        )


def _collations(source: Session, there: Session, plan: Plan) -> Iterator[Problem]:
    doing = "looking for collations"
    params = {"oids": [*plan.moving], "types": [each.key[1] for each in plan.carried]}
    used = queried(source, doing, "transfer/used_collations", params)
    asked = [[name for (name,) in used], plan.source.encoding]
    for (name,) in queried(there, doing, "transfer/missing_collations", asked):
        yield final(
            f"collation:{name}",
            f"what moves uses the collation {quoted(name)}, which the target's server "
            "does not have",
            "Give the columns another one (ALTER TABLE ... ALTER ... TYPE ... COLLATE ...), or "
            "move to a server whose system had the locale at initdb.",
        )


# For each: the first major version that has it, the kind of its obstacle, what it is (``{}`` is the
# label), the remedy, and a query that returns the label, and the names for the remedy, of ``oids``.
_KINDS: Final = (
    (
        18,
        "virtual",
        "the column {} is a virtual generated column",
        "Run ALTER TABLE {1} DROP COLUMN {2}, and add it again as STORED.",
        "transfer/virtual_columns",
    ),
    (
        18,
        "not_null",
        "NOT NULL {} is not valid",
        "Run ALTER TABLE {1} VALIDATE CONSTRAINT {2}.",
        "transfer/not_null_not_valid",
    ),
    (
        18,
        "not_null",
        "NOT NULL {} is not inherited",
        "Run ALTER TABLE {1} ALTER CONSTRAINT {2} INHERIT.",
        "transfer/not_null_not_inherited",
    ),
    (
        18,
        "comment",
        "NOT NULL {} has a comment",
        "Run COMMENT ON CONSTRAINT {2} ON {1} IS NULL.",
        "transfer/not_null_comments",
    ),
    (
        18,
        "constraint",
        "the constraint {} is not enforced, or has WITHOUT OVERLAPS or PERIOD",
        "Run ALTER TABLE {1} DROP CONSTRAINT {2}.",
        "transfer/constraints_of_18",
    ),
    (
        17,
        "maintain",
        "a role has MAINTAIN, but not ALL, on {}",
        "Run REVOKE MAINTAIN ON {1} FROM {2}.",
        "transfer/maintain_rights",
    ),
    (
        15,
        "index",
        "the index {} treats nulls as equal (NULLS NOT DISTINCT)",
        "Recreate it without NULLS NOT DISTINCT.",
        "transfer/nulls_not_distinct",
    ),
    (
        15,
        "view",
        "the view {} reads with the rights of the role that queries it (security_invoker)",
        "Run ALTER VIEW {1} RESET (security_invoker).",
        "transfer/security_invoker_views",
    ),
)
NOT_NULL_INHERITED_SINCE: Final = 18


def _of_versions(source: Session, there: Session, plan: Plan) -> Iterator[Problem]:
    """Report what an older server lacks, as far as versions tell; a rehearsal finds the rest."""
    old, new = source.server_version // 10000, there.server_version // 10000
    params = {"oids": [*plan.moving]}
    for since, kind, what, remedy, query in _KINDS:
        if not new < since <= old:
            continue
        rows = queried(source, "looking at what is new", query, params)
        for label, *names in rows:
            yield final(
                f"{kind}:{label}",
                f"{what.format(repr(label))}, which the target's server does not know: its version "
                f"is {new}, and PostgreSQL has this since {since}",
                remedy.format(label, *names),
            )
    if old < NOT_NULL_INHERITED_SINCE <= new:
        rows = queried(source, "looking at NOT NULL", "transfer/nullable_children", params)
        for label, table, column in rows:
            yield final(
                f"not_null:{label}",
                f"{label!r} allows nulls and its parent's does not: since version "
                f"{NOT_NULL_INHERITED_SINCE} a child inherits NOT NULL",
                f"Run ALTER TABLE {table} ALTER COLUMN {column} SET NOT NULL, or DROP NOT NULL on "
                "the parent.",
            )
