"""What else may be wrong with a service's database, besides misplaced objects. Pure."""

from collections import Counter
from collections.abc import Iterator
from functools import partial

from ..config.registry import Service
from ..postgres.databases import Database
from ..postgres.leftovers import NAME
from ..postgres.sql import quoted
from .look import Look
from .report import Finding


def of_database(database: Database, service: Service) -> Iterator[Finding]:
    """Notices about the database's row in the server's catalog."""
    name = database.name
    notice = partial(_notice, name, service)
    yield from wrong_owner(database, service)
    if database.public_may_connect:
        yield notice(
            "public_connect",
            f"every role may connect to {name!r}",
            f"Run REVOKE CONNECT ON DATABASE {quoted(name)} FROM PUBLIC.",
        )
    if database.encoding != "UTF8":
        yield notice(
            "encoding",
            f"the database {name!r} has the encoding {database.encoding}, not UTF8",
            "Dump the database, recreate it with ENCODING 'UTF8', and restore the dump.",
        )
    if database.collation_stale:
        yield notice(
            "collation_version",
            f"another version of the collation library sorted the texts in {name!r}",
            f"Run REINDEX DATABASE {quoted(name)}, then ALTER DATABASE {quoted(name)} "
            "REFRESH COLLATION VERSION.",
        )


def wrong_owner(database: Database, service: Service) -> Iterator[Finding]:
    """A finding, misplaced, if the owner is another role than the registry says."""
    if service.owner and database.owner != service.owner:
        name, owner = database.name, service.owner
        found = _notice(
            name,
            service,
            "owner",
            f"the database {name!r} is owned by {database.owner!r}, not by {owner!r}",
            "Find out who created the database and what it contains. If it is the service's, run "
            f"ALTER DATABASE {quoted(name)} OWNER TO {quoted(owner)}; otherwise, drop it.",
        )
        yield found.model_copy(update={"level": "misplaced"})


def of_schema(database: Database, service: Service, seen: Look) -> Iterator[Finding]:
    """Notices about the content: indexes, owners, and the schema against the ledger."""
    name = database.name
    notice = partial(_notice, name, service)
    for index in seen.invalid_indexes:
        yield notice(
            "invalid_index",
            f"the index {index} in {name!r} is invalid, so PostgreSQL does not use it",
            f"Run REINDEX INDEX CONCURRENTLY {index}, or drop it.",
        )
    if seen.found.leftovers:
        yield notice(
            "guard",
            f"triggers of a push's guard are still in {name!r}, inert unless a push is running",
            f"Start {service.name}, which removes the triggers. To remove an admin's event "
            f"trigger, run ALTER EXTENSION plpgsql DROP EVENT TRIGGER {NAME}; DROP EVENT TRIGGER "
            f"{NAME}.",
        )
    if statement := seen.public_may.get("create"):
        yield notice(
            "public_create",
            f"every role that may connect to {name!r} may create objects in its schema public",
            f"Run {statement} in {name!r}.",
        )
    others = [owner for owner in seen.table_owners if owner != database.owner]
    if others and not service.owner:
        yield notice(
            "owner",
            f"the database {name!r} is owned by {database.owner!r}, tables in it by "
            f"{', '.join(map(repr, others))}: only the database's owner can write the ledger",
            f"Run ALTER DATABASE {quoted(name)} OWNER TO {quoted(others[0])}.",
        )
    yield from _of_ledger(name, service, seen)


def _of_ledger(name: str, service: Service, seen: Look) -> Iterator[Finding]:
    book, last = seen.found.ledger, seen.found.ledger.last
    notice = partial(_notice, name, service)
    if book.problem:
        yield notice(
            "ledger",
            f"the next start ignores the ledger of {name!r}: {book.problem}",
            "No action needed: that start pushes, seeds and rewrites the ledger.",
        )
    if last and seen.found.catalog not in (None, last.catalog):
        yield notice(
            "drift",
            f"the schema of {name!r} has changed since its last push ({last.at})",
            f"Start {service.name}, which pushes again.",
        )
    if last and last.older:
        yield notice(
            "older_release",
            f"an older release made the last push of {name!r} ({last.at}, release {last.release})",
            "Deploy the newer release again; no action is needed if you meant to go back.",
        )
    if book.damages:
        yield notice(
            "damage",
            f"a failed push of {name!r} (release {book.damages[0].release}, {book.damages[0].at}) "
            f"left half made, or lost: {', '.join(each.what for each in book.damages)}",
            f"Start {service.name}, which looks again and says what to do.",
        )
    for tenant, count in Counter(tenant.lower() for tenant in book.seeds).items():
        if count > 1:
            yield notice(
                "tenant_twice",
                f"the ledger of {name!r} has the tenant {tenant} {count} times, in different case",
                "Check the tenant's rows for duplicates, and write SEED_TENANT_ID in lower case.",
            )


def _notice(database: str, service: Service, finding: str, message: str, remedy: str) -> Finding:
    return Finding(
        level="notice",
        finding=finding,
        database=database,
        service=service.name,
        message=message,
        remedy=remedy,
    )
