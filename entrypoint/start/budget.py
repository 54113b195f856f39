"""The longest time that a start can take: how long a platform must wait for one."""

from typing import Final

from ..config.keys import STEPS
from ..config.settings import Settings

# The most that each part takes beyond the configured timeouts. A warm start does not import the
# modules that the numbers come from, so tests compare them.

CONNECT_S: Final = 6.0
"""Seconds of a connection attempt that begins at its deadline: 2 each to resolve the name, to
connect, and to find out why that failed."""

DATABASE_S: Final = 107.0
"""Seconds beyond the wait for the server: four such attempts (the database, two maintenance
databases, the database again), 20 until a new database accepts us, and CREATE DATABASE itself."""

LOCK_S: Final = 17.0  # beyond the wait for the lock: a session after a broken one, and the last try
QUERIES_S: Final = 60.0  # seconds of all our statements in the lock's session: `opening.PATIENCE_S`
EXTENSIONS_S: Final = 122.0  # of all extensions' scripts, for each role that may create some
VERIFY_S: Final = 12.0  # seconds to look at the default database in an open session
CHECK_S: Final = 46.0  # seconds of `seed.check`: two runs before a seed, one after it
GUARD_S: Final = 24.0  # seconds to open, arm and disarm a guard's session

END_S: Final = 32.0
"""Seconds until nothing is left of a child after its timeout: 10 from SIGTERM to SIGKILL, its
pipes, its sessions on the server, and a session to end those."""

LOOKUP_S: Final = 8.0  # of the last attempt to find the tenant: connection and query

DIRECT_S: Final = 65.0
"""Seconds with a direct URL: five more connection attempts, by the service's URL and past its
pooler, a query for the place in each session, and 20 until a pooler notices a new database."""

LAST_WORD_S: Final = 5.0  # seconds of the webhook


def longest_s(config: Settings) -> float:
    """The sum of `waits`; each silent address of a server adds up to 5 s for every session."""
    return sum(waits(config).values())


def waits(config: Settings) -> dict[str, float]:
    """The most seconds of each part of a start; parts that cannot run are left out."""
    parts = {"last word": LAST_WORD_S} if config.notifies else {}
    if config.skip >= set(STEPS):
        return parts
    if config.gates:
        parts["gates"] = max(gate.longest_s for gate in config.gates)
    parts["server"] = config.wait_timeout_s + DATABASE_S
    if not config.idle:
        parts["lock"] = config.lock_timeout_s + LOCK_S
        parts["queries"] = QUERIES_S
    roles = 2 if config.admin else 1
    if config.extensions:
        parts["extensions"] = roles * (config.wait_timeout_s + CONNECT_S + EXTENSIONS_S)
    if not config.no_work("push"):
        guards = 0 if config.push.on_loss == "warn" else roles
        verify_s = CONNECT_S + VERIFY_S
        parts["push"] = config.push.timeout_s + END_S + guards * GUARD_S + verify_s
    if not config.no_work("seed"):
        check_s = CHECK_S if config.seed.check else 0
        parts["seed"] = config.seed.timeout_s + END_S + check_s
        if config.seed.lookup:
            parts["tenant"] = config.seed.lookup.timeout_s + LOOKUP_S
    return {**parts, **_connection(config)}


def _connection(config: Settings) -> dict[str, float]:
    if config.direct:
        return {"connection": CONNECT_S + DIRECT_S}
    return {} if config.idle else {"connection": CONNECT_S}
