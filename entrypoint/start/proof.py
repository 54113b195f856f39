"""Proves that a start has nothing to do: one look at its database, through libpq itself.

It knows two answers, *proved* and *don't know*. After the second the start goes on in `full`, which
looks again and tells what it meets.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from ..config.conninfo import Conninfo
from ..errors import RefusedError
from ..postgres import ledger, libpq, opening
from ..postgres.cause import ConnectError
from ..postgres.sql import load_sql
from .plan import Decision, StartPlan

LOOK_S: Final = 2.0  # seconds that the look may take, and a name server's answer as long

_QUERIES: Final[Mapping[str, Callable[[Sequence[Sequence[Any]]], ledger.Found | None]]] = {
    "postgres/look": ledger.recognized,
    "postgres/probe": ledger.found,
}
"""What the look asks until it is certain, and what makes sense of the answer."""


class Proved(NamedTuple):
    """A start whose steps have no work."""

    plan: StartPlan
    found: ledger.Found
    name: str  # of the database
    pooled: bool
    why: tuple[Decision, Decision]

    def database(self) -> dict[str, Any]:
        """The fields of the step `database`."""
        return {"created": False, "database": self.name, "pooled": self.pooled}

    def finish(self) -> None:
        """Log why nothing is done."""
        self.plan.warn_of_others(self.found, self.name)
        self.plan.tell_needless(self.found, self.why)


def look(plan: StartPlan, target: Conninfo, name: str) -> Proved | None:
    """Look whether nothing is to do, as application_name ``name``; None if that is not certain.

    Blocks for up to `LOOK_S` seconds, and as long for a name server, but no longer than the wait
    for the server may take. Raises nothing: an error of any kind is no proof.
    """
    if not plan.provable or plan.config.direct:  # a direct URL wants looks at two servers
        return None
    timeout_s = min(LOOK_S, plan.config.wait_timeout_s / 2)

    try:
        params = opening.parameters(target, timeout_s, name)
        return libpq.look(params, partial(_ask, plan, target, timeout_s), timeout_s)
    except (ConnectError, RefusedError, RuntimeError, TypeError):
        return None  # no name server, no thread to ask it, or rows of no PostgreSQL


def _ask(
    plan: StartPlan, target: Conninfo, timeout_s: float, pid: int, ask: libpq.Ask
) -> Proved | None:
    begin, _ = opening.first_statements(pid, opening.PATIENCE_S)
    for query, read in _QUERIES.items():
        # From the beginning each time: a pooler may have another backend for the second query.
        rows = ask(f"{begin};{opening.limited(load_sql(query), timeout_s)}")
        _, _, (database, in_recovery, read_only, backend_pid), _, *answer = rows
        # A pooler's alias may lead to another database.
        if in_recovery or read_only or database != target.database:
            return None
        if found := read(answer):
            # seed.check is for a session that goes on.
            why = None if found.leftovers else plan.needless(found, lambda *_: None)
            return why and Proved(plan, found, database, pid != backend_pid, why)
    return None
