"""What every session of ours begins with: libpq's parameters and the first statements.

A warm start imports this module and not psycopg.
"""

import math
import os
import re
from typing import Final

from ..config.conninfo import Conninfo
from . import authorities, resolve
from .sql import load_sql

ATTEMPT_TIMEOUT_S: Final = 5.0  # seconds for one attempt; a server that answers is faster
SHORTEST_TIMEOUT_S: Final = 2.0  # the least connect_timeout of libpq and psycopg, in seconds
PATIENCE_S: Final = 60.0  # seconds that a start's statements in one session wait in total
LOCK_WAIT_S: Final = 5.0  # seconds that one of these statements waits for another session's lock
PROBE_SHARE: Final = 0.6  # the probe's share of an attempt; the rest tells something without it
CANCELLED: Final = ("57014", "55P03")  # SQLSTATEs of an exceeded statement_timeout or lock_timeout
MAX_NAME: Final = 63  # characters of an application_name; PostgreSQL cuts off the rest
_KEEPALIVE: Final = {  # they notice a server that vanished within 25 s (idle + interval x count)
    "keepalives": "1",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "25000",
}
_PROBE_TIMEOUT: Final = "select pg_catalog.set_config('statement_timeout', '{0:.0f}', true)"


def application_name(service: str | None, suffix: str = "") -> str:
    """``entrypoint/<service>/<host>`` and a suffix, in the ASCII that PostgreSQL keeps as it is.

    A long name loses the beginning of its host, whose end tells replicas apart.
    """
    head = f"entrypoint/{service or '-'}"[:30]
    room = MAX_NAME - len(head) - len(suffix) - 1
    return re.sub(r"[^!-~]", "?", f"{head}/{host()[-room:]}{suffix}")


def host() -> str:
    """This container's host name."""
    return os.uname().nodename


def parameters(conninfo: Conninfo, timeout_s: float, name: str) -> dict[str, str]:
    """The parameters of a connection with ``name`` as its application_name.

    Blocks for up to ``timeout_s`` seconds to resolve host names. Raises `ConnectError` if none
    resolves.
    """
    return {
        **_KEEPALIVE,
        **authorities.trusted(resolve.addresses(conninfo, timeout_s)),
        "application_name": name,
        "client_encoding": "utf8",
        "connect_timeout": str(int(timeout_s)),
    }


def first_statements(pid: int, patience_s: float) -> tuple[str, int]:
    """What a session sets and asks first, and how many rows that returns.

    The last row is the database, whether the server is in recovery, whether the session is
    read-only, and the PID of the backend, which is not ``pid`` behind a pooler.
    """
    begin = load_sql("postgres/session_begin").format(pid=pid)
    if patience_s == math.inf:
        return begin, 2
    timeouts = load_sql("postgres/session_timeouts").format(
        patience_ms=patience_s * 1000, lock_wait_ms=LOCK_WAIT_S * 1000, pid=pid
    )
    return f"{timeouts};{begin}", 3


def limited(probe: str, timeout_s: float) -> str:
    """A probe's statements behind one that limits them, which returns a row too."""
    return f"{_PROBE_TIMEOUT.format(timeout_s * PROBE_SHARE * 1000)};{probe}"
