"""The longest that a start can take, for those who say how long a platform waits for one."""

from typing import Final

from ..config.keys import STEPS
from ..config.settings import Settings

# What the parts of a start take beyond the timeouts that people set, at most. A warm start does not
# import the modules that take it: tests hold the numbers to theirs.

CONNECT_S: Final = 6.0
"""Seconds of an attempt to connect that is begun at its deadline: 2 each to resolve the name, to
connect, and to find out why that failed."""

DATABASE_S: Final = 107.0
"""Seconds past the wait for the server: four such attempts (at the database, at two to create it
from, at it again), 20 for a new database to let us in, and CREATE DATABASE itself."""

LOCK_S: Final = 17.0
"""Seconds past the wait for the lock: whose session breaks then opens another one, and the server's
answer to the last try."""

QUERIES_S: Final = 60.0
"""Seconds of all that we ask in the session that has the lock: `session.PATIENCE_S`."""

EXTENSIONS_S: Final = 122.0
"""Seconds for the scripts of all extensions, for each role that may create some."""

VERIFY_S: Final = 12.0
"""Seconds for the look at the default database, once a session is open."""

CHECK_S: Final = 46.0
"""Seconds for ``seed.check``: twice before a seed, once after it."""

GUARD_S: Final = 24.0
"""Seconds in which a session to guard a push from is opened, armed and disarmed."""

END_S: Final = 32.0
"""Seconds until nothing is left of a child whose time is up: 10 from SIGTERM to SIGKILL, its pipes,
its sessions on the server, and a session to end those from."""

LOOKUP_S: Final = 8.0
"""Seconds of an attempt to find the tenant that is begun at its deadline: to connect, to ask."""

DIRECT_S: Final = 65.0
"""Seconds with a direct URL: five more attempts to connect, as the service will and past its
pooler, the question where that is in each session, and 20 for a pooler to believe that a database
was created."""

LAST_WORD_S: Final = 5.0
"""Seconds for the webhook."""


def longest_s(config: Settings) -> float:
    """Seconds after which a start is over at the latest.

    All of `waits`, in turn; our own statements are among them. Of a server with several addresses
    each that is silent adds up to 5 s whenever a session is opened.
    """
    return sum(waits(config).values())


def waits(config: Settings) -> dict[str, float]:
    """Seconds that each part of a start takes at most; what cannot run is left out."""
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
