"""The settings of a start and of its steps, as values, and how long it can take with them.

Named tuples, because every container start pays for making their classes: pydantic's import costs
45 ms, a third of psycopg's, a frozen dataclass 0.5 ms and a named tuple 0.1 ms.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from .environment import Environment
from .fields import STEPS
from .postgres.conninfo import Conninfo
from .services import Service

# What the parts of a start take beyond the timeouts that people set, at most. The modules that
# take it cannot be imported here: tests hold the numbers to theirs.

CONNECT_S: Final = 6.0
"""Seconds of an attempt to connect that is begun at its deadline: 2 each to resolve the name, to
connect, and to find out why that failed."""

DATABASE_S: Final = 45.0
"""Seconds past the wait for the server: four such attempts (at the database, at two to create it
from, at it again), 15 for a new database to let us in, and a template that is in use."""

LOCK_S: Final = 7.0
"""Seconds past the wait for the lock: whose session breaks then opens another one."""

GUARD_S: Final = 24.0
"""Seconds in which a session to guard a push from is opened, armed and disarmed."""

END_S: Final = 32.0
"""Seconds until nothing is left of a child whose time is up: 10 from SIGTERM to SIGKILL, its pipes,
its sessions on the server, and a session to end those from."""

LOOKUP_S: Final = 8.0
"""Seconds of an attempt to find the tenant that is begun at its deadline: to connect, to ask."""

LAST_WORD_S: Final = 5.0
"""Seconds for the webhook."""

LEAST_GATE_S: Final = 1.0
"""Seconds for a gate whose timeout is shorter, so that it is asked at all."""


class Push(NamedTuple):
    """How the service's schema is applied; no command means that there is none."""

    command: tuple[str, ...]
    inputs: tuple[str, ...]
    timeout_s: float
    lock_timeout_s: float
    on_older: str
    on_loss: str
    allow_loss: tuple[str, ...]
    """Tables and columns that may go with rows in them, for this start."""

    success: re.Pattern[str] | None
    failure: re.Pattern[str] | None


class Lookup(NamedTuple):
    """Where a tenant is looked up: at a URL, by a field of its JSON, or in a database."""

    url: str | None
    field: str
    database: str | None
    query: str | None
    timeout_s: float


class Seed(NamedTuple):
    """How the tenant's rows are made."""

    command: tuple[str, ...]
    inputs: tuple[str, ...]
    timeout_s: float
    when: str
    check: str | None
    tenant: str | None
    lookup: Lookup | None = None
    """Who knows the tenant where `tenant` is None."""

    @property
    def argv(self) -> tuple[str, ...]:
        """The command with its ``{tenant_id}`` filled in."""
        return tuple(word.replace("{tenant_id}", self.tenant or "") for word in self.command)


class Gate(NamedTuple):
    """Something that must answer before the start goes on."""

    url: str
    timeout_s: float
    status: frozenset[int]
    """The HTTP statuses that open it; none named stands for 200-299."""

    @property
    def longest_s(self) -> float:
        """Seconds after which it counts as shut."""
        return max(self.timeout_s, LEAST_GATE_S)


class Verify(NamedTuple):
    """What a start looks for after a push, and what it does about what it finds."""

    at_start: str
    bookkeeping: tuple[str, ...] | None
    """Tables that are the tools' own; None for those of the known tools."""


class Settings(NamedTuple):
    """What one start was told. Neither conninfos nor environments show a secret in their repr."""

    service: str | None
    registered: Service | None
    registry: Mapping[str, Service]
    """All services, where one was named."""

    release: str | None
    database: Conninfo | None
    """The service's database; None only where everything is skipped and no variable names one."""

    direct: Conninfo | None
    """The same past a pooler, for the lock and the push."""

    admin: Conninfo | None
    maintenance_databases: tuple[str, ...]
    isolate: bool
    extensions: tuple[str, ...]
    push: Push
    seed: Seed
    verify: Verify
    gates: tuple[Gate, ...]
    health_url: str | None
    health_problem: str | None
    """Why a probe cannot know where to ask, although a URL is named."""

    notifies: bool
    """Whether a webhook hears of a start that fails."""

    wait_timeout_s: float
    lock_timeout_s: float
    skip: frozenset[str]
    force: frozenset[str]
    service_environment: Environment
    """The container's, less our secrets; what came from a ``_FILE`` is in its variable."""

    push_environment: Environment
    """The same, with the direct URL in the database's variable."""

    @property
    def idle(self) -> bool:
        """Whether there is no work at all, whatever the ledger says."""
        return all(self.no_work(step) for step in STEPS) and not self.extensions

    @property
    def budget_s(self) -> float:
        """Seconds after which a start is over at the latest.

        All of `waits`, in turn. What comes on top is small with a server that is well: how long it
        takes for our own queries, CREATE EXTENSION and ``seed.check``. Of a server with several
        addresses each that is silent adds up to 5 s whenever a session is opened.
        """
        return sum(self.waits.values())

    @property
    def waits(self) -> dict[str, float]:
        """Seconds that each part of a start takes at most; what cannot run is left out."""
        waits = {"last word": LAST_WORD_S} if self.notifies else {}
        if self.skip >= set(STEPS):
            return waits
        if self.gates:
            waits["gates"] = max(gate.longest_s for gate in self.gates)
        waits["server"] = self.wait_timeout_s + DATABASE_S
        if not self.idle:
            waits["lock"] = self.lock_timeout_s + LOCK_S
        if self.extensions:
            waits["extensions"] = self.wait_timeout_s + CONNECT_S
        if not self.no_work("push"):
            guards = 0 if self.push.on_loss == "warn" else 2 if self.admin else 1
            waits["push"] = self.push.timeout_s + END_S + guards * GUARD_S + CONNECT_S
        if not self.no_work("seed"):
            waits["seed"] = self.seed.timeout_s + END_S
            if self.seed.lookup:
                waits["tenant"] = self.seed.lookup.timeout_s + LOOKUP_S
        return waits

    def no_work(self, step: str) -> str | None:
        """Why push or seed has no work, whatever the ledger says."""
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
