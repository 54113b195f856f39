"""Why there is no connection, as a value: what to do about it, and the words for people."""

from enum import Enum
from typing import Final, NamedTuple


class Kind(Enum):
    """What to do about a failure."""

    TRANSIENT = "transient"
    """It may heal: wait."""

    PASSED = "passed"
    """It has healed between two attempts: try again at once."""

    REFUSED = "refused"
    """It will not heal by waiting: stop."""

    MISSING = "missing"
    """The server is there, the database is not: create it."""

    UNCLEAR = "unclear"
    """A pooler's 08P01, which may mean a missing database or a server that is down."""


class Cause(NamedTuple):
    """Why there is no connection: safe text for people, and the server's code if it sent one."""

    kind: Kind
    text: str
    remedy: str
    """With ``{url}`` where the name of the conninfo's variable belongs."""

    sqlstate: str | None = None

    silent: bool = False
    """Whether nothing answered, so that another attempt takes its whole timeout."""

    unreached: bool = False
    """Whether nobody was reached at all: another address of the same host may know more."""


CHECK_SERVER: Final = (
    "Check that the server runs and can be reached from this container, or raise "
    "ENTRYPOINT_WAIT_TIMEOUT."
)


CHECK_SILENCE: Final = (
    "Check that the server runs and can be reached from this container, and where a pooler stands "
    "before it, from there; or raise ENTRYPOINT_WAIT_TIMEOUT."
)


def no_answer(timeout_s: float) -> Cause:
    """Nothing came back within ``timeout_s`` seconds."""
    text = f"no answer within {timeout_s:.0f} s"
    return Cause(Kind.TRANSIENT, text, CHECK_SILENCE, silent=True)


class ConnectError(Exception):
    """There is no usable connection; ``cause`` says why and whether waiting helps."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause.text)
        self.cause = cause
