"""What the operators' commands answer; the models are the schema of ``--json``."""

import shlex
from collections.abc import Mapping
from typing import Any, Final, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, model_validator

from ..errors import RefusedError, UnreachableError


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
    "preview_unmarked": {
        "notice": "A database with the name of a preview's that has not its mark, so `previews` "
        "never drops it."
    },
    "transfer_database": {
        "notice": "A database that a move or an undo put aside (`…__replaced`, `…__undone`), or "
        "that a transfer is filling, or left when something killed it."
    },
}
"""The meaning of everything that `verify` can find, by name and level."""


class Finding(_Model):
    """Something that `verify` found."""

    level: Level  # `misplaced` makes `verify` end with 9, `notice` only with `--strict`
    finding: str  # its name, one of those on the page of findings
    database: str
    service: str | None = None
    kind: str | None = None  # what kind of object, such as `table`
    object: str | None = None  # its name, with a schema outside of `public`
    rows: int | None = None  # the planner's estimate
    size_bytes: int | None = None  # with its indexes and its TOAST table
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


def failure(database: str, error: RefusedError | UnreachableError) -> Failure:
    """A database that the command could not look at, as data."""
    return Failure(
        database=database, exit_code=error.exit_code, message=error.message, remedy=error.remedy
    )


class Verification(_Model):
    """The answer of `verify`."""

    format: Literal[1] = 1
    server: str  # host and port
    at: str  # the time by the server's clock, in UTC
    databases: list[str]  # the databases that the command looked at
    findings: list[Finding]
    failures: list[Failure]  # the databases that it could not look at


class Creation(_Model):
    """The result of `create` for one database."""

    service: str
    database: str
    result: Literal["created", "exists", "missing", "failed"]
    """A dry run says ``missing`` of a database that it would create."""

    failure: Failure | None = None


class Creations(_Model):
    """The answer of `create`."""

    format: Literal[1] = 1
    server: str  # host and port
    dry_run: bool
    databases: list[Creation]


class LastPush(_Model):
    """The newest push in a ledger."""

    at: str  # the time at which it ended, in UTC
    release: str | None
    host: str  # the container's host name
    elapsed_s: float


class Holder(_Model):
    """The session that has the lock of a database."""

    application_name: str  # `entrypoint/<service>/<host>`
    pid: int
    client_addr: str | None  # its address; null for a Unix socket
    since: str | None  # when it got the lock, in UTC
    doing: str  # `push`, `seed`, or `between steps`; and whether its sessions wait for a lock


class Work(_Model):
    """A session that is at work."""

    application_name: str
    pid: int
    since: str | None  # when its transaction began, or a transfer's session, in UTC


Concern: TypeAlias = Literal["missing", "drifted", "damaged", "kept", "waiting", "transaction"]
"""``missing``: the database does not exist. ``drifted``: its schema is not that of the last push.
``damaged``: a failed push left something half made, or lost rows. ``kept``: a transfer keeps
something. ``waiting``, ``transaction``: sessions wait for locks, or a transaction is open, for
longer than `status.WAIT_S` and `status.OPEN_S`."""


class Kept(_Model):
    """A schema in which a transfer keeps what it moved."""

    database: str
    name: str

    def remedy(self, service: str) -> str:
        """The beginning of a sentence that says how to remove it."""
        from ..postgres.placement import DEFAULT

        place = "" if self.database == DEFAULT else f" --from {shlex.quote(self.database)}"
        return f"Run entrypoint transfer {shlex.quote(service)}{place} --drop-quarantine"


class ServiceStatus(_Model):
    """One service."""

    service: str
    database: str
    exists: bool
    size_bytes: int | None = None  # on the server's disk
    tables: int | None = None
    sessions: int | None = None
    last_push: LastPush | None = None  # the newest push in the ledger
    tenants: list[str] = []  # tenants that the ledger has as seeded
    drift: bool | None = None  # whether the schema differs from the last push's; null if unknown
    holder: Holder | None = None  # the session that has the lock
    waiting: int | None = None  # how many sessions wait for another session's lock
    oldest_transaction: Work | None = None  # the oldest transaction that the role may see
    transfer: Work | None = None  # the session of a transfer that moves something into the database
    quarantines: list[Kept] = []  # schemas of the default database in which transfers keep objects
    put_aside: list[str] = []  # databases that a move or an undo put aside
    previews: list[str] = []  # databases of its previews
    concerns: list[Concern] = []  # why `--fail` fails; a failure has an exit code of its own
    failure: Failure | None = None  # why the command could not look at it


class Status(_Model):
    """The answer of `status`."""

    format: Literal[1] = 1
    server: str  # host and port
    at: str  # the time by the server's clock, in UTC
    services: list[ServiceStatus]


class Shortcoming(_Model):
    """Something that `check` found."""

    level: Literal["error", "warning"]  # an `error` would end a start, and ends `check` with 3
    message: str
    remedy: str


class Checked(_Model):
    """The answer of `check`."""

    format: Literal[1] = 1
    service: str | None
    uid: int  # the user as whom it checked what a user may read and write
    problems: list[Shortcoming]


class PlannedStep(_Model):
    """What a start would do with the push or the seed."""

    action: Literal["run", "skip"]
    reason: str  # as the start's own event has it: `first`, `changed`, `drift`, `unchanged`, …
    tenant: str | None = None  # the seed's tenant, if it is known without a lookup


class Planned(_Model):
    """The answer of `plan`."""

    format: Literal[1] = 1
    service: str | None
    server: str | None = None  # host and port; null if the settings skip every step
    database: str | None = None
    exists: bool | None = None  # whether the start would find the database
    unclear: str | None = None  # what a pooler says that may hide an existing database
    extensions: list[str] = []  # extensions that the start would create
    push: PlannedStep
    seed: PlannedStep
    last_push: LastPush | None = None  # the service's last push in the ledger


class PreviewDatabase(_Model):
    """The database of one preview of a service."""

    service: str
    preview: str  # the pull request's number, or what Dokploy has in its place
    database: str
    branch: str | None  # as the platform calls it
    started: str | None  # when the preview last started, in UTC; it says so once an hour at most
    size_bytes: int | None  # on the server's disk
    sessions: int  # how many clients it has
    marked: bool  # whether its ledger says that it is a preview's; no other is ever dropped
    result: Literal["kept", "to drop", "dropped", "in use", "failed"] = "kept"
    """``to drop`` is the answer of a dry run. ``in use``: it is old enough for
    `--drop-older-than`, and has clients."""

    failure: Failure | None = None


class Previews(_Model):
    """The answer of `previews`."""

    format: Literal[1] = 1
    server: str  # host and port
    at: str  # the time by the server's clock, in UTC
    previews: list[PreviewDatabase]


class Failed(_Model):
    """Why a command did not do its work."""

    error: str
    remedy: str
    exit_code: int
    details: dict[str, Any]  # the other fields of the event in the log


class Unanswered(_Model):
    """The answer of a command that failed before it had another."""

    format: Literal[1] = 1
    failed: Failed


class MovedObject(_Model):
    """A relation that moves, or moved."""

    kind: str  # such as `table`
    object: str  # its name, with a schema outside of `public`
    reason: str  # `prefix`, `child of ...`, `of ...` (a sequence's table), or `asked for`
    rows: int | None = None  # the number of rows that moved, or an estimate in a plan
    checksum: str | None = None  # over every row as text, in any order; the same on both sides
    size_bytes: int  # with its indexes and its TOAST table


class Obstacle(_Model):
    """What stands in the way of a transfer."""

    name: str  # the name for `--allow`
    message: str
    remedy: str
    allowable: bool  # whether `--allow` may name it
    allowed: bool


class TableRows(_Model):
    """A table's rows on both sides; null if a side has no such table, or nobody counted."""

    object: str
    source: int | None  # in the quarantine, or back in their place
    target: int | None  # in the service's database, or in the database that keeps them
    written: int | None
    """Rows inserted, updated or deleted in the target since the transfer filled it, as its server
    counted; null if the server has lost count."""


class PutAside(_Model):
    """A database that a move or an undo put aside."""

    database: str
    owner: str
    size_bytes: int | None  # on the server's disk
    tables: int | None  # how many; null if the role cannot look into it
    rows: int | None  # counted; null if the role could not count all of them in time
    since: str  # the time of the move or the undo, in UTC


Result: TypeAlias = Literal[
    "planned", "refused", "moved", "nothing to move", "undone", "dropped", "nothing to drop"
]


class Transferred(_Model):
    """The answer of `transfer`."""

    format: Literal[1] = 1
    service: str  # the objects' service
    source: str  # host, port and database
    target: str  # host, port and database
    result: Result
    objects: list[MovedObject] = []
    along: list[str] = []  # types and functions that the target also gets
    extensions: list[str] = []  # extensions that the target gets
    settings: list[str] = []  # settings of the database that the target gets
    large_objects: int = 0
    stays: list[str] = []  # objects that the source keeps
    left_out: list[str] = []  # lines of the dump's contents that the target does not get
    obstacles: list[Obstacle] = []
    size_bytes: int = 0  # the size of everything that moves
    estimate_s: float = 0.0  # seconds that the move may take
    facts: int = 0  # facts that the transfer compared, the same on both sides
    durations_s: dict[str, float] = {}  # seconds, by phase
    quarantine: list[str] = []  # schemas that keep the moved objects in the source
    kept_database: str | None = None  # the database that the target replaced
    rows: list[TableRows] = []  # only after an undo or a removal
    put_aside: list[PutAside] = []  # databases that `--drop-aside` has removed, or would remove
    notes: list[str] = []  # what else a person should know
    url: str | None = None  # the target's URL, without a password
    next: list[str] = []  # command lines, as a shell takes them
    failed: Failed | None = None  # why the command failed despite an answer: an obstacle, a signal
