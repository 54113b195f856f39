"""The errors that end a start or a command, each with its exit code and its remedy.

`make docs` writes docs/reference/exit-codes.md from the docstrings. 0 is success, 1 is a bug.
"""

from typing import Final


def plural(number: int, noun: str) -> str:
    """A count with its noun: ``1 table``, ``2 tables``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


class EntrypointError(Exception):
    """An expected failure.

    ``message`` says what happened and with which value. ``remedy`` is one imperative sentence that
    names the variable or command to change. The log adds ``fields``. None of them holds a secret.
    """

    exit_code: int = 1
    step: str = "entrypoint"  # the step that failed: the first word of the event that reports it
    elapsed_s: float | None = None  # seconds that the step took until it failed

    def __init__(self, message: str, *, remedy: str, **fields: object) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.fields = fields


class UsageError(EntrypointError):
    """The service has no command, or a command's arguments are wrong; nothing has happened yet.

    A chain (``&&``) counts as no command, because no shell sees it.

    Start again: no.
    """

    exit_code = 2


class SettingsError(EntrypointError):
    """The configuration is missing or wrong; ``problems`` lists all problems.

    Start again: no.
    """

    exit_code = 3

    def __init__(self, problems: list[str], *, remedy: str, **fields: object) -> None:
        one = len(problems) == 1
        message = problems[0] if one else f"{len(problems)} settings are missing or wrong"
        super().__init__(
            message, remedy=remedy, **({} if one else {"problems": problems}), **fields
        )
        self.problems = problems


class UnreachableError(EntrypointError):
    """The server, a route to it, or a gate was not ready before the deadline.

    Or the kernel had no processes (``--pids-limit``, ``ulimit -u``), memory or disk space left.

    Start again: yes.
    """

    exit_code = 4


class RefusedError(EntrypointError):
    """The server or a pooler refused: password, ``pg_hba.conf``, privilege, TLS or ``options``.

    Or libpq refused a parameter of the URL, a gate's certificate names another host, or the kernel
    refused threads (an old seccomp profile) or open files (``ulimit -n``, from 5 on).

    Start again: no.
    """

    exit_code = 5


class LockError(EntrypointError):
    """The start did not get the lock in time, or lost it while it worked.

    Start again: yes.
    """

    exit_code = 6


class PushError(EntrypointError):
    """The push failed, took too long, proved no success, or tried to lose rows.

    Its changes until then stay in the database.

    Start again: when the push is corrected.
    """

    exit_code = 7


class SeedError(EntrypointError):
    """The seed failed or took too long, or ``seed.check`` finds no row after it.

    The schema stays pushed, and the next start seeds again.

    Start again: when the seed is corrected.
    """

    exit_code = 8


class MisplacedError(EntrypointError):
    """``verify`` found objects in a database where they do not belong.

    With ``verify.at_start = "fail"`` a start ends so after its push; the schema stays pushed.

    Start again: when the objects are moved.
    """

    exit_code = 9


class TransferError(EntrypointError):
    """A transfer failed or met an obstacle; the message says what it had moved before.

    Start again: when its obstacle is gone.
    """

    exit_code = 10


NOT_EXECUTABLE: Final = 126
NOT_FOUND: Final = 127


class ExecError(EntrypointError):
    """The service's program does not exist (127) or cannot be executed (126).

    The start checks this before it does any work.

    Start again: no.
    """

    def __init__(self, message: str, *, code: int, remedy: str, **fields: object) -> None:
        super().__init__(message, remedy=remedy, **fields)
        self.exit_code = code


class Terminated(BaseException):
    """A signal ended the program: 143 for SIGTERM.

    Start again: yes.
    """

    # A BaseException, because a retry loop must not swallow it.

    step: str = "entrypoint"
    elapsed_s: float | None = None
    outcome: str = ""  # what the start or command had done before the signal, if it knows
    remedy: str = ""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum
        self.fields: dict[str, object] = {}

    @property
    def message(self) -> str:
        """The signal, and what the start or command had done before."""
        import signal

        ended = f"ended by {signal.Signals(self.signum).name}"
        return f"{ended}; {self.outcome}" if self.outcome else ended

    @property
    def exit_code(self) -> int:
        """128+n, as in shells and container runtimes."""
        return 128 + self.signum
