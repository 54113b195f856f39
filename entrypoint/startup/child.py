"""How push and seed run the service's own program: watched by the lock, with nothing left of it."""

import secrets
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass

from .. import log, process
from ..environment import Environment
from ..errors import EntrypointError, PushError, RefusedError, SeedError, UnreachableError
from ..postgres import sessions
from ..postgres.lock import Held
from ..postgres.session import Session

_CHECKS_CLIENT_SINCE = 140000
"""The first server version that knows client_connection_check_interval."""


@dataclass(frozen=True)
class Surroundings:
    """What a child runs in."""

    held: Held
    environ: Environment
    service: str | None
    reconnect: Callable[[], Session]
    """A new session as the role and in the database that the child uses."""

    same_role: bool
    """Whether the lock's session may end the child's sessions itself."""

    pooled: bool
    """Whether the child connects through a pooler, which refuses PGOPTIONS."""

    lock_timeout_s: float


def run(
    step: str,
    error: type[PushError | SeedError],
    argv: tuple[str, ...],
    timeout_s: float,
    around: Surroundings,
) -> process.Finished:
    """Run one program under the lock and judge it by how it ended.

    Its lines become ``<step>.output`` events. Its server sessions are ended when it is gone,
    whatever happened, while the lock is still ours. Raises ``error`` when it cannot be started,
    exits with another code than 0, or takes longer than ``timeout_s`` seconds; `LockError` when
    the lock is lost; `Terminated`.
    """
    # The number tells this child's sessions from those of a replica on the same host.
    name = sessions.application_name(around.service, f"/{step}-{secrets.token_hex(3)}")

    def tell(stream: str, line: str) -> None:
        log.event("info", f"{step}.output", stream=stream, line=line)

    def end_sessions(ports: set[int]) -> None:
        try:
            ended = _end_sessions(around, name, ports)
        except (UnreachableError, RefusedError) as problem:
            log.event(
                "error",
                f"{step}.sessions_left",
                application_name=name,
                error=problem.message,
                remedy=problem.remedy,
            )
        else:
            if ended:
                log.event("info", f"{step}.sessions_ended", application_name=name, count=ended)

    try:
        finished = process.run(
            argv,
            environ=_environ(around, name).block(),
            timeout_s=timeout_s,
            on_line=tell,
            watch=around.held,
            after=end_sessions,
        )
    except OSError as problem:
        raise error(
            f"the {step} command {argv[0]!r} cannot be started: {problem.strerror}",
            remedy=f"Correct {step}.command, or make the program executable in the image.",
        ) from None
    if finished.returncode or finished.timed_out:
        raise _failure(step, error, argv, timeout_s, finished)
    return finished


def _end_sessions(around: Surroundings, name: str, ports: set[int]) -> int:
    """End the child's sessions from the lock's own, or from a new one where that is gone."""
    if around.pooled:
        ports = set()  # the server sees the pooler's, which may be anybody's
    if around.same_role:
        with suppress(UnreachableError):
            return sessions.end(around.held.session, name, ports)
    with closing(around.reconnect()) as session:
        return sessions.end(session, name, ports)


def _failure(
    step: str,
    error: type[PushError | SeedError],
    argv: tuple[str, ...],
    timeout_s: float,
    finished: process.Finished,
) -> EntrypointError:
    code = finished.returncode
    if finished.timed_out:
        message = f"the {step} command was not done within {timeout_s:.0f} s and was ended"
        remedy = f"Find out what it waited for in the lines above, or raise {step}.timeout."
    else:
        how = f"was ended by signal {-code}" if code < 0 else f"exited with code {code}"
        message = f"the {step} command {how}"
        remedy = "Correct what its lines say and start again."
    return error(
        message,
        remedy=remedy,
        command=list(argv),
        returncode=code,
        tail=list(finished.tail),
    )


def _environ(around: Surroundings, name: str) -> Environment:
    added = {"PGAPPNAME": name}
    if not around.pooled:
        # Ours first: of two settings of one option the later wins, and the image's may.
        options = [f"-c lock_timeout={int(around.lock_timeout_s * 1000)}"]
        if around.held.session.server_version >= _CHECKS_CLIENT_SINCE:
            options.append("-c client_connection_check_interval=1000")
        added["PGOPTIONS"] = " ".join([*options, around.environ.get("PGOPTIONS", "")]).strip()
    return around.environ.changed(added=added)
