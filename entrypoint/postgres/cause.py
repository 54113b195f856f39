"""Why a connection attempt failed, as a value: what to do about it, and text for people."""

from enum import Enum
from typing import Final, NamedTuple


class Kind(Enum):
    """What to do about a failed attempt."""

    TRANSIENT = "transient"  # wait: it may pass
    PASSED = "passed"  # try again at once: the second attempt succeeded
    REFUSED = "refused"  # stop: waiting does not help
    MISSING = "missing"  # create the database: the server answers, but does not have it
    UNCLEAR = "unclear"  # a pooler's catch-all: the database may be missing, or the server down


class Cause(NamedTuple):
    """Why an attempt failed: text without secrets, and the SQLSTATE if the server sent one."""

    kind: Kind
    text: str
    remedy: str  # `{url}` in it stands for the variable that holds the conninfo
    sqlstate: str | None = None
    silent: bool = False  # whether nothing answered: another attempt takes its whole timeout
    unreached: bool = False  # whether no server was reached; the host's next address may tell more


CHECK_SERVER: Final = (
    "Check that the server runs and that this container can reach it, or raise "
    "ENTRYPOINT_WAIT_TIMEOUT."
)

CHECK_SILENCE: Final = (
    "Check that the server runs and that this container can reach it, and a pooler in front of the "
    "server too; or raise ENTRYPOINT_WAIT_TIMEOUT."
)


def no_answer(timeout_s: float) -> Cause:
    """The cause if nothing came back within ``timeout_s`` seconds."""
    text = f"no answer within {timeout_s:.0f} s"
    return Cause(Kind.TRANSIENT, text, CHECK_SILENCE, silent=True)


class ConnectError(Exception):
    """There is no usable session; ``cause`` says why and whether waiting helps."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause.text)
        self.cause = cause
