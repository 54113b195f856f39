"""Every way a start can end, with its exit code and its remedy.

::

    BaseException
    |- Exception
    |  `- EntrypointError          never raised itself
    |     |- UsageError         2  no command, or one that cannot be meant
    |     |- SettingsError      3  missing or wrong configuration; lists every problem
    |     |- UnreachableError   4  not ready before the deadline (a restart may help)
    |     |- RefusedError       5  reachable, but no (a restart will not help)
    |     |- LockError          6  not acquired in time, or lost while held
    |     |- PushError          7  push-db failed, timed out, or could not be proved
    |     |- SeedError          8  the same for the seed
    |     |- MisplacedError     9  objects are in a database where they do not belong
    |     |- TransferError     10  nothing, or not everything, was moved
    |     `- ExecError    126/127  not executable / not found
    `- Terminated           128+n  ended by signal n

0 is done, 1 is a bug of ours (a traceback), 2 is an operator's wrong usage, too.
"""

from typing import Final


def plural(number: int, noun: str) -> str:
    """A number of things, in words: ``1 table``, ``2 tables``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


class EntrypointError(Exception):
    """An expected failure.

    ``message`` says what happened with which value, ``remedy`` is one imperative sentence that
    names the variable or the command that mends it, and ``fields`` are logged beside them. None
    of the three ever holds a secret.
    """

    exit_code: int = 1

    step: str = "entrypoint"
    """The step that failed, the first word of the event that says so."""

    elapsed_s: float | None = None
    """Seconds that the step took until it failed."""

    def __init__(self, message: str, *, remedy: str, **fields: object) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.fields = fields


class UsageError(EntrypointError):
    """The container's command is missing, or cannot be meant as it is; nothing was done."""

    exit_code = 2


class SettingsError(EntrypointError):
    """The configuration is missing or wrong; ``problems`` lists all that was found."""

    exit_code = 3

    def __init__(self, problems: list[str], *, remedy: str, **fields: object) -> None:
        one = len(problems) == 1
        message = problems[0] if one else f"{len(problems)} settings are missing or wrong"
        super().__init__(message, remedy=remedy, **fields)
        self.problems = problems
        if not one:
            self.fields = {"problems": problems, **fields}


class UnreachableError(EntrypointError):
    """The server, or a gate, was not ready before the deadline; starting again later may help."""

    exit_code = 4


class RefusedError(EntrypointError):
    """The server answered no (password, pg_hba, privilege); starting again will not help."""

    exit_code = 5


class LockError(EntrypointError):
    """The lock was not acquired in time, or was lost while held."""

    exit_code = 6


class PushError(EntrypointError):
    """The push failed, timed out, or could not be proved; what it did until then is there."""

    exit_code = 7


class SeedError(EntrypointError):
    """The service's seed failed or timed out; the schema is pushed, the next start seeds again."""

    exit_code = 8


class MisplacedError(EntrypointError):
    """Objects are in a database where they do not belong; everything is as it was pushed."""

    exit_code = 9


class TransferError(EntrypointError):
    """A transfer did not happen, or not to its end; the message says what was moved."""

    exit_code = 10


NOT_EXECUTABLE: Final = 126
NOT_FOUND: Final = 127


class ExecError(EntrypointError):
    """The service cannot be executed: 127 when it is not found, 126 when it cannot run."""

    def __init__(self, message: str, *, code: int, remedy: str, **fields: object) -> None:
        super().__init__(message, remedy=remedy, **fields)
        self.exit_code = code


class Terminated(BaseException):
    """A signal asked us to end. Not an Exception, so that no retry loop swallows it."""

    step: str = "entrypoint"
    elapsed_s: float | None = None
    outcome: str = ""
    """What was done before it, or was not, where somebody knows."""

    remedy: str = ""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum
        self.fields: dict[str, object] = {}

    @property
    def message(self) -> str:
        """What happened, for people."""
        import signal

        ended = f"ended by {signal.Signals(self.signum).name}"
        return f"{ended}; {self.outcome}" if self.outcome else ended

    @property
    def exit_code(self) -> int:
        """128+n, as shells and container runtimes report it."""
        return 128 + self.signum
