"""The settings of a start, as values.

Named tuples, because every container start pays for creating the classes: pydantic's import takes
45 ms, a third of psycopg's, a frozen dataclass 0.5 ms and a named tuple 0.1 ms.
"""

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from . import registry as services
from .conninfo import Conninfo
from .environment import Environment
from .keys import STEPS

if TYPE_CHECKING:
    from .previews import Preview

LEAST_GATE_S: Final = 1.0  # seconds; the shortest timeout, so that the start asks a gate once


class Push(NamedTuple):
    """How the start applies the schema; without a command there is nothing to push."""

    command: tuple[str, ...]
    inputs: tuple[str, ...]
    inputs_env: tuple[str, ...]  # variables whose values also decide what the push does
    inputs_root: str | None  # the folder besides the working directory into which links may lead
    timeout_s: float
    lock_timeout_s: float
    on_older: str
    on_loss: str
    allow_loss: tuple[str, ...]  # what this start's push may drop or empty despite its rows
    success: re.Pattern[str] | None
    failure: re.Pattern[str] | None


class Lookup(NamedTuple):
    """Where the start finds the tenant: in a field of a URL's JSON, or in a database."""

    url: str | None
    field: str
    database: str | None
    query: str | None
    timeout_s: float


class Seed(NamedTuple):
    """How the start seeds a tenant."""

    command: tuple[str, ...]
    inputs: tuple[str, ...]
    inputs_env: tuple[str, ...]
    inputs_root: str | None
    timeout_s: float
    when: str
    check: str | None
    tenant: str | None
    lookup: Lookup | None = None  # finds the tenant if `tenant` is None
    variable: str | None = None  # gives the seed its tenant, besides SEED_TENANT_ID

    @property
    def argv(self) -> tuple[str, ...]:
        """The command with ``{tenant_id}`` filled in."""
        return tuple(word.replace("{tenant_id}", self.tenant or "") for word in self.command)


class Gate(NamedTuple):
    """An endpoint that must respond before the start continues."""

    url: str
    timeout_s: float
    status: frozenset[int]  # the HTTP statuses that open it; empty means 200-299

    @property
    def longest_s(self) -> float:
        """Seconds until the start gives up on the gate."""
        return max(self.timeout_s, LEAST_GATE_S)


class Verify(NamedTuple):
    """What a start looks for after a push, and what it does about findings."""

    at_start: str
    bookkeeping: tuple[str, ...] | None  # tables of tools' records; None: the known tools'


class Incomplete(NamedTuple):
    """A missing setting, without which the start does or checks less than people may expect."""

    reason: str
    remedy: str


class Lying(NamedTuple):
    """The service's objects in a wrong database, and what to do before switching databases."""

    what: str
    first: str


Look = Callable[[Conninfo, services.Service, Mapping[str, services.Service]], Lying | None]
"""Looks for a service's objects in a database; returns None if there are none."""


class Settings(NamedTuple):
    """All settings of a start. Neither conninfos nor environments show a secret in their repr."""

    service: str | None
    preview: "Preview | None"  # the preview that this container belongs to
    registered: services.Service | None
    registry: Mapping[str, services.Service]  # every service, if one or a registry is named
    release: str | None
    release_ignored: str | None  # the value set as a release that identifies none
    database: Conninfo | None  # None only if both steps are skipped and no variable names one
    direct: Conninfo | None  # the same database without a pooler, for the lock and the push
    admin: Conninfo | None
    maintenance_databases: tuple[str, ...]
    lookup_server: Conninfo | None  # for the tenant's query, if not the service's own
    isolate: bool
    database_owner: str | None  # a role besides the service's own that may own the database
    extensions: tuple[str, ...]
    push: Push
    seed: Seed
    verify: Verify
    gates: tuple[Gate, ...]
    health_url: str | None
    health_problem: str | None  # why the URL in the settings cannot be used by a probe
    notifies: bool  # whether a start that fails calls a webhook
    wait_timeout_s: float
    lock_timeout_s: float
    skip: frozenset[str]
    force: frozenset[str]
    service_environment: Environment  # the container's without our secrets, with `_FILE` filled in
    push_environment: Environment  # the service's, with the direct URL in its variable
    incomplete: tuple[Incomplete, ...] = ()

    @property
    def idle(self) -> bool:
        """Whether no step has work, whatever the ledger says."""
        return all(self.no_work(step) for step in STEPS) and not self.extensions

    def no_work(self, step: str) -> str | None:
        """Why push or seed has no work, whatever the ledger says; None if it has."""
        if step in self.skip:
            return "ENTRYPOINT_SKIP"
        seed, command = self.seed, self.push.command if step == "push" else self.seed.command
        if step == "seed" and seed.when == "never":
            return "seed.when is never"
        if not command:
            return f"no {step}.command"
        if step == "seed" and seed.when == "tenant" and not seed.tenant and not seed.lookup:
            return "SEED_TENANT_ID is not set"
        return None
