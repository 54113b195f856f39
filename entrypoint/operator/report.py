"""What the operators' commands answer; the models are the schema of ``--json``."""

from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Finding(_Model):
    """Something that `verify` found; sizes in bytes, rows estimated."""

    level: Literal["misplaced", "notice"]
    finding: Literal[
        "stray_object",
        "foreign_object",
        "unprefixed_object",
        "database_missing",
        "database_unclaimed",
        "owner",
        "public_create",
        "public_connect",
        "encoding",
        "collation_version",
        "drift",
        "invalid_index",
        "guard",
        "older_release",
        "damage",
        "tenant_twice",
        "ledger",
        "quarantine",
    ]
    database: str
    service: str | None = None
    """Whose it is."""

    kind: str | None = None
    object: str | None = None
    rows: int | None = None
    size_bytes: int | None = None
    message: str
    remedy: str


class Failure(_Model):
    """A database that could not be looked at."""

    database: str
    exit_code: int
    message: str
    remedy: str


class Verification(_Model):
    """The answer of `verify`."""

    format: Literal[1] = 1
    server: str
    databases: list[str]
    """Those that were looked at."""

    findings: list[Finding]
    failures: list[Failure]


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
    dry_run: bool
    databases: list[Creation]


class LastPush(_Model):
    """The newest push in a ledger."""

    at: str
    release: str | None
    host: str
    elapsed_s: float


class Holder(_Model):
    """Who has the lock of a database."""

    application_name: str
    pid: int
    client_addr: str | None
    since: str | None
    doing: str
    """``push``, ``seed``, or ``between steps``; and what its sessions wait for."""


class ServiceStatus(_Model):
    """One service."""

    service: str
    database: str
    exists: bool
    size_bytes: int | None = None
    tables: int | None = None
    sessions: int | None = None
    last_push: LastPush | None = None
    tenants: list[str] = []
    drift: bool | None = None
    """Whether the schema is another one than after the last push; null where nobody knows."""

    holder: Holder | None = None
    failure: Failure | None = None


class Status(_Model):
    """The answer of `status`."""

    format: Literal[1] = 1
    server: str
    services: list[ServiceStatus]


class MovedObject(_Model):
    """A relation that moves, or moved."""

    kind: str
    object: str
    reason: str
    """``prefix``, ``child of ...``, ``of ...`` (a sequence's table), or ``asked for``."""

    rows: int | None = None
    """Counted when it was moved, estimated in a plan."""

    checksum: str | None = None
    """Order-free, over every row as text; the same on both sides."""

    size_bytes: int


class Obstacle(_Model):
    """What stands in the way of a transfer."""

    name: str
    """What ``--allow`` takes."""

    message: str
    remedy: str
    allowable: bool
    allowed: bool


Result: TypeAlias = Literal["planned", "moved", "nothing to move", "undone", "dropped"]


class Transferred(_Model):
    """The answer of `transfer`."""

    format: Literal[1] = 1
    service: str
    source: str
    target: str
    result: Result
    objects: list[MovedObject] = []
    along: list[str] = []
    """Types and functions that the target gets too."""

    extensions: list[str] = []
    settings: list[str] = []
    large_objects: int = 0
    stays: list[str] = []
    left_out: list[str] = []
    """Of what moves, what the target does not get: lines of the dump's contents."""

    obstacles: list[Obstacle] = []
    size_bytes: int = 0
    estimate_s: float = 0.0
    facts: int = 0
    """Compared, and the same on both sides."""

    durations_s: dict[str, float] = {}
    quarantine: list[str] = []
    kept_database: str | None = None
    url: str | None = None
    next: list[str] = []
