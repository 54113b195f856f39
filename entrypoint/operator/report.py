"""What the operators' commands answer; the models are the schema of ``--json``."""

import shlex
from collections.abc import Mapping
from typing import Any, Final, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, model_validator


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


Level: TypeAlias = Literal["misplaced", "notice"]

FINDINGS: Final[Mapping[str, Mapping[Level, str]]] = {
    "stray_object": {
        "misplaced": "A table, view, sequence, type or function in the `postgres` database. Its "
        "prefix, or an object that uses it, says whose it is."
    },
    "foreign_object": {"misplaced": "In a service's database, with another service's prefix."},
    "unprefixed_object": {"notice": "In a service's database, without any service's prefix."},
    "database_missing": {"misplaced": "The service has no database."},
    "database_unclaimed": {
        "notice": "A database in no row of the registry. Templates and the databases of "
        "`verify.ignore` and `--ignore` do not count."
    },
    "owner": {
        "misplaced": "Another role than the registry's `owner` owns the database. `create` fails, "
        "too, with exit code 5.",
        "notice": "The registry names no `owner`, and another role than that of the tables owns "
        "the database.",
    },
    "public_create": {"notice": "Every role may create objects in schema `public`."},
    "public_connect": {"notice": "Every role may connect to the database."},
    "encoding": {"notice": "The database is not UTF8."},
    "collation_version": {"notice": "Another version of the collation library sorted its texts."},
    "drift": {"notice": "The schema has changed since the last push."},
    "invalid_index": {"notice": "PostgreSQL does not use the index."},
    "guard": {"notice": "An inert trigger of a push's guard, left by a crash of the server."},
    "older_release": {"notice": "An older release made the last push."},
    "damage": {"notice": "Damage of a failed push remains: something half made, or rows lost."},
    "tenant_twice": {"notice": "A tenant is in the ledger twice."},
    "ledger": {"notice": "The ledger is unreadable."},
    "quarantine": {"notice": "The objects that a transfer moved are still in the source."},
    "transfer_database": {
        "notice": "A database that a move or an undo put aside (`…__replaced`, `…__undone`), or "
        "that a transfer is filling, or left when something killed it."
    },
}
"""Everything that `verify` can find: by name and level, what it means."""


class Finding(_Model):
    """Something that `verify` found."""

    level: Level
    """``misplaced`` makes `verify` end with 9, ``notice`` only with ``--strict``."""

    finding: str
    """Its name, one of those on the page of findings."""

    database: str
    service: str | None = None
    kind: str | None = None
    """What kind of object, such as ``table``."""

    object: str | None = None
    """Its name, with a schema outside of ``public``."""

    rows: int | None = None
    """As the planner estimates."""

    size_bytes: int | None = None
    """With its indexes and its TOAST table."""

    message: str
    remedy: str

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.level not in FINDINGS.get(self.finding, {}):
            raise ValueError(f"{self.finding} is no finding of level {self.level}")
        return self


class Failure(_Model):
    """A database that the command could not look at."""

    database: str
    exit_code: int
    message: str
    remedy: str


class Verification(_Model):
    """The answer of `verify`."""

    format: Literal[1] = 1
    server: str
    """Host and port."""

    at: str
    """When, by the server's clock, in UTC."""

    databases: list[str]
    """Those that the command looked at."""

    findings: list[Finding]
    failures: list[Failure]
    """The databases that it could not look at."""


class Creation(_Model):
    """What `create` did about one database."""

    service: str
    database: str
    result: Literal["created", "exists", "missing", "failed"]
    """``missing`` is what a dry run says of one that it would create."""

    failure: Failure | None = None


class Creations(_Model):
    """The answer of `create`."""

    format: Literal[1] = 1
    server: str
    """Host and port."""

    dry_run: bool
    databases: list[Creation]


class LastPush(_Model):
    """The newest push in a ledger."""

    at: str
    """When it ended, in UTC."""

    release: str | None
    host: str
    """The container's host name."""

    elapsed_s: float


class Holder(_Model):
    """Who has the lock of a database."""

    application_name: str
    """``entrypoint/<service>/<host>``."""

    pid: int
    client_addr: str | None
    """Its address; null for a Unix socket."""

    since: str | None
    """When it got the lock, in UTC."""

    doing: str
    """``push``, ``seed``, or ``between steps``; and what its sessions wait for."""


class Work(_Model):
    """A session that is at work."""

    application_name: str
    pid: int
    since: str | None
    """When its transaction began, or a transfer's session, in UTC."""


Concern: TypeAlias = Literal["missing", "drifted", "damaged", "kept", "waiting", "transaction"]
"""The database is not there; its schema is not that of its last push; a failed push left something
half made, or lost it; a transfer keeps something; sessions wait for locks, or a transaction is
open, for longer than `status.WAIT_S` and `status.OPEN_S`."""


class Kept(_Model):
    """A schema in which a transfer keeps what it moved."""

    database: str
    name: str

    def remedy(self, service: str) -> str:
        """The beginning of a sentence that removes it, of a service in the registry."""
        from ..postgres.placement import DEFAULT

        place = "" if self.database == DEFAULT else f" --from {shlex.quote(self.database)}"
        return f"Run entrypoint transfer {shlex.quote(service)}{place} --drop-quarantine"


class ServiceStatus(_Model):
    """One service."""

    service: str
    database: str
    exists: bool
    size_bytes: int | None = None
    """On the server's disk."""

    tables: int | None = None
    sessions: int | None = None
    last_push: LastPush | None = None
    """The newest push in the ledger."""

    tenants: list[str] = []
    """Those that the ledger has as seeded."""

    drift: bool | None = None
    """Whether the schema differs from that after the last push; null where nobody knows."""

    holder: Holder | None = None
    """Who has the lock."""

    waiting: int | None = None
    """How many sessions wait for somebody's lock."""

    oldest_transaction: Work | None = None
    """Of those that the role may see."""

    transfer: Work | None = None
    """Who moves something into the database."""

    quarantines: list[Kept] = []
    """Schemas of the default database in which transfers keep what they moved."""

    put_aside: list[str] = []
    """Databases that a move or an undo has put aside."""

    concerns: list[Concern] = []
    """What ``--fail`` fails for, besides a failure, which has a code of its own."""

    failure: Failure | None = None
    """Why the command could not look at it."""


class Status(_Model):
    """The answer of `status`."""

    format: Literal[1] = 1
    server: str
    """Host and port."""

    at: str
    """When, by the server's clock, in UTC."""

    services: list[ServiceStatus]


class Failed(_Model):
    """Why a command did not do what it was asked for."""

    error: str
    remedy: str
    exit_code: int
    details: dict[str, Any]
    """The other fields of the event in the log."""


class Unanswered(_Model):
    """The answer of a command that failed before it had another."""

    format: Literal[1] = 1
    failed: Failed


class MovedObject(_Model):
    """A relation that moves, or moved."""

    kind: str
    """Such as ``table``."""

    object: str
    """Its name, with a schema outside of ``public``."""

    reason: str
    """``prefix``, ``child of ...``, ``of ...`` (a sequence's table), or ``asked for``."""

    rows: int | None = None
    """Counted when it was moved, estimated in a plan."""

    checksum: str | None = None
    """Order-free, over every row as text; the same on both sides."""

    size_bytes: int
    """With its indexes and its TOAST table."""


class Obstacle(_Model):
    """What stands in the way of a transfer."""

    name: str
    """What ``--allow`` takes."""

    message: str
    remedy: str
    allowable: bool
    """Whether ``--allow`` may name it."""

    allowed: bool


class TableRows(_Model):
    """A table's rows on both sides; null where there is none, or where they were not counted."""

    object: str
    source: int | None
    """In the quarantine, or put back."""

    target: int | None
    """In the service's database, or where it is kept."""

    written: int | None
    """Rows inserted, updated or deleted in the target since it was filled, as its server
    counted; null where it has lost count."""


class PutAside(_Model):
    """A database that a move or an undo has put aside."""

    database: str
    owner: str
    size_bytes: int | None
    """On the server's disk."""

    tables: int | None
    """How many; null where nobody can look into it."""

    rows: int | None
    """Counted; null where not all of them could be, or not in time."""

    since: str
    """When it was put aside, in UTC."""


Result: TypeAlias = Literal[
    "planned", "refused", "moved", "nothing to move", "undone", "dropped", "nothing to drop"
]


class Transferred(_Model):
    """The answer of `transfer`."""

    format: Literal[1] = 1
    service: str
    """Whose objects they are."""

    source: str
    """Host, port and database."""

    target: str
    """Host, port and database."""

    result: Result
    objects: list[MovedObject] = []
    along: list[str] = []
    """Types and functions that the target gets too."""

    extensions: list[str] = []
    """Extensions that the target gets."""

    settings: list[str] = []
    """Settings of the database that the target gets."""

    large_objects: int = 0
    stays: list[str] = []
    """What the source keeps."""

    left_out: list[str] = []
    """Of what moves, what the target does not get: lines of the dump's contents."""

    obstacles: list[Obstacle] = []
    size_bytes: int = 0
    """Of everything that moves."""

    estimate_s: float = 0.0
    """Seconds that the move may take."""

    facts: int = 0
    """Compared, and the same on both sides."""

    durations_s: dict[str, float] = {}
    """Seconds, by phase."""

    quarantine: list[str] = []
    """Schemas that keep what was moved."""

    kept_database: str | None = None
    """The database that the target replaced."""

    rows: list[TableRows] = []
    """Of an undo and of a removal."""

    put_aside: list[PutAside] = []
    """What ``--drop-aside`` has removed, or would."""

    notes: list[str] = []
    """What else a person should know."""

    url: str | None = None
    """The target's, without a password."""

    next: list[str] = []
    """Command lines, as a shell takes them."""

    failed: Failed | None = None
    """Why it ended although there is an answer: it was refused, or ended by a signal."""
