"""What a start was told, as values: the settings of each step, and all of them.

Named tuples, because every container start pays for making their classes: pydantic's import costs
45 ms, a third of psycopg's, a frozen dataclass 0.5 ms and a named tuple 0.1 ms.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from . import registry as services
from .conninfo import Conninfo
from .environment import Environment
from .keys import STEPS

LEAST_GATE_S: Final = 1.0
"""Seconds for a gate whose timeout is shorter, so that it is asked at all."""


class Push(NamedTuple):
    """How the service's schema is applied; no command means that there is none."""

    command: tuple[str, ...]
    inputs: tuple[str, ...]
    inputs_env: tuple[str, ...]
    """Variables whose values decide, too, what it does."""

    inputs_root: str | None
    """A folder into which links of the inputs may lead, besides the working directory."""

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
    inputs_env: tuple[str, ...]
    inputs_root: str | None
    timeout_s: float
    when: str
    check: str | None
    tenant: str | None
    lookup: Lookup | None = None
    """Who knows the tenant where `tenant` is None."""

    variable: str | None = None
    """Where the seed reads its tenant, besides SEED_TENANT_ID."""

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


class Incomplete(NamedTuple):
    """Something that nobody said, so that less is done or checked than somebody may think."""

    reason: str
    remedy: str


class Lying(NamedTuple):
    """What lies in a database that is the wrong one, and what to do before leaving it behind."""

    what: str
    first: str


Look = Callable[[Conninfo, services.Service, Mapping[str, services.Service]], Lying | None]
"""Looks for what a service has in a database; None where there is nothing."""


class Settings(NamedTuple):
    """What one start was told. Neither conninfos nor environments show a secret in their repr."""

    service: str | None
    registered: services.Service | None
    registry: Mapping[str, services.Service]
    """All services, where one was named."""

    release: str | None
    release_ignored: str | None
    """What was named as a release, and is none."""

    database: Conninfo | None
    """The service's database; None only where everything is skipped and no variable names one."""

    direct: Conninfo | None
    """The same past a pooler, for the lock and the push."""

    admin: Conninfo | None
    maintenance_databases: tuple[str, ...]
    lookup_server: Conninfo | None
    """Who asks for the tenant, and where, if not the service's own role."""

    isolate: bool
    database_owner: str | None
    """Whose a database may be that is there already, besides ours."""

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

    incomplete: tuple[Incomplete, ...] = ()

    @property
    def idle(self) -> bool:
        """Whether there is no work at all, whatever the ledger says."""
        return all(self.no_work(step) for step in STEPS) and not self.extensions

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
