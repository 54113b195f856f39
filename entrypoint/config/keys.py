"""The settings of one step each, as values.

Named tuples, because every container start pays for making their classes: pydantic's import costs
45 ms, a third of psycopg's, a frozen dataclass 0.5 ms and a named tuple 0.1 ms.
"""

import re
from typing import Final, NamedTuple

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
