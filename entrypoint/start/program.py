"""Runs the push's or seed's program under the lock, and leaves nothing of it behind."""

import errno
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from .. import log
from ..config.environment import Environment
from ..errors import PushError, RefusedError, SeedError, UnreachableError
from ..health import progress
from ..postgres import blockers, opening, sessions
from ..postgres.lock import Held
from ..postgres.session import Session
from ..process import child
from . import endings

MAX_EVENTS: Final = 10_000  # lines of one child that are logged; more would push out other events

_REMEDIES: Final = {  # remedies by the errno of a program that cannot be started
    errno.ENOENT: "Correct {command}, or add the program, or the interpreter that its first line "
    "names, to the image.",
    errno.EACCES: "Run chmod +x for the program in the image, or name its interpreter first in "
    "{command}, as in node push-db.js.",
    errno.ENOEXEC: "Name the program's interpreter first in {command}, as in node push-db.js, or "
    "use a program that is built for this image's platform.",
}

_CHECKS_CLIENT_SINCE = 140000  # the first server version with client_connection_check_interval


@dataclass(frozen=True)
class ChildContext:
    """A child's surroundings: the lock, the environment and the sessions."""

    held: Held
    environ: Environment
    service: str | None
    reconnect: Callable[[], Session]  # opens a session with the child's role in its database
    same_role: bool  # whether the lock's session may end the child's sessions
    pooled: bool  # whether the child connects through a pooler, which refuses PGOPTIONS
    lock_timeout_s: float
    added: Mapping[str, str] = field(default_factory=dict)  # additional variables for the child


class Task(NamedTuple):
    """The program of a step."""

    step: str
    error: type[PushError | SeedError]
    argv: tuple[str, ...]
    timeout_s: float

    def failure(self, finished: child.Finished) -> endings.Ending | None:
        """Return what went wrong with the program; None if nothing did."""
        return endings.told(self.step, finished, self.timeout_s)


def named(context: ChildContext, task: Task) -> str:
    """Make a run's application_name; its random suffix differs from every other replica's."""
    return opening.application_name(context.service, f"/{task.step}-{secrets.token_hex(3)}")


def run(
    task: Task,
    context: ChildContext,
    on_line: Callable[[str], object],
    watches: Sequence[child.Watch] = (),
    name: str | None = None,
) -> child.Finished:
    """Run one program under the lock; ``name`` is from `named`.

    Passes each line unmasked to ``on_line``, and logs up to `MAX_EVENTS` lines as
    ``<step>.printed``. After each silent minute ``<step>.stalled`` says what its sessions wait for.
    A lost lock or watch ends the program. Afterwards, whatever happened, ends its sessions while we
    still hold the lock.

    Raises ``task.error`` if the program cannot be started, `LockError` if the lock is lost, a
    watch's exceptions, `Terminated`, and `UnreachableError` or `RefusedError` for what the kernel
    refuses (`kernel.refusal`).
    """
    name = name or named(context, task)
    events = _ChildEvents(task.step, name, context, on_line)
    program = child.Program(
        task.argv, _environ(context, name).block(), f"PGAPPNAME={name}".encode(), task.timeout_s
    )
    progress.detail("")  # the start no longer waits
    callbacks = child.Callbacks(events.line, events.silence, events.end, events.late)
    try:
        return child.run(program, callbacks, [context.held, *watches])
    except OSError as problem:
        from ..process import kernel

        # The kernel's refusal is not the program's fault, unless it concerns the program's file.
        refused = kernel.refusal(problem) if problem.errno != errno.EPERM else None
        command = f"{task.step}.command"
        raise refused or task.error(
            f"cannot start the {task.step} command {task.argv[0]!r}: {problem.strerror}",
            remedy=_REMEDIES.get(problem.errno or 0, "Correct {command}.").format(command=command),
        ) from None


@dataclass
class _ChildEvents:
    step: str
    name: str
    context: ChildContext
    on_line: Callable[[str], object]
    lines: int = 0
    silent: bool = False

    def line(self, stream: str, line: str) -> None:
        self.lines += 1
        if self.silent:
            self.silent = False
            progress.detail("")
        if self.lines <= MAX_EVENTS:
            log.event("info", f"{self.step}.printed", stream=stream, line=line)
        self.on_line(line)

    def silence(self, silent_s: float, ports: set[int]) -> None:
        found = self._sessions(ports)
        self.silent = True
        progress.detail("the program prints nothing", silent_s)
        if clue := endings.doing(found, self.step, hidden=self.context.pooled):
            found = {"reason": clue[0], "remedy": clue[1], **found}
        log.event("warning", f"{self.step}.stalled", silent_s=round(silent_s, 1), **found)

    def late(self, ports: set[int]) -> tuple[str, str] | None:
        return endings.doing(self._sessions(ports), self.step, hidden=self.context.pooled)

    def _sessions(self, ports: set[int]) -> dict[str, Any]:
        context = self.context
        return blockers.find(context.held.session, self.name, () if context.pooled else ports)

    def end(self, ports: set[int]) -> None:
        if self.lines > MAX_EVENTS:
            fields = {"lines": self.lines, "lines_logged": MAX_EVENTS}
            log.event("warning", f"{self.step}.output_truncated", **fields)
        try:
            ended = _end_sessions(self.context, self.name, ports)
        except (UnreachableError, RefusedError) as problem:
            log.event(
                "error",
                f"{self.step}.sessions_not_ended",
                application_name=self.name,
                error=problem.message,
                remedy=problem.remedy,
            )
        else:
            if ended:
                log.event(
                    "info", f"{self.step}.sessions_ended", application_name=self.name, count=ended
                )


def _end_sessions(context: ChildContext, name: str, ports: set[int]) -> int:
    """End the child's sessions from the lock's session, or from a new one if that is gone."""
    if context.pooled:
        ports = set()  # the server sees the pooler's ports, which any client may share
    if context.same_role:
        with suppress(UnreachableError):
            return sessions.end(context.held.session, name, ports)
    with closing(context.reconnect()) as session:
        return sessions.end(session, name, ports)


def _environ(context: ChildContext, name: str) -> Environment:
    added = {"PGAPPNAME": name, **context.added}
    if not context.pooled:
        # Ours come first, because the last setting of an option wins and the image may set it. The
        # mark finds the sessions of a client that sets its own application_name.
        options = [
            f"-c lock_timeout={int(context.lock_timeout_s * 1000)}",
            f"-c entrypoint.push={sessions.mark(name)}",
        ]
        if context.held.session.server_version >= _CHECKS_CLIENT_SINCE:
            options.append("-c client_connection_check_interval=1000")
        added["PGOPTIONS"] = " ".join([*options, context.environ.get("PGOPTIONS", "")]).strip()
    return context.environ.changed(added=added)
