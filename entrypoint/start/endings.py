"""Describes how a push or seed ended, and the remedy."""

import re
import signal
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from ..process import cgroups
from ..process.child import Finished


class Ending(NamedTuple):
    """What went wrong with a program, and the remedy."""

    message: str
    remedy: str
    certain: bool = False  # whether the cause is certain, whatever the program's lines say


_SEE_LINES: Final = "Correct what its lines say and start again."
_HEAP: Final = re.compile(r"JavaScript heap out of memory")

_MEMORY: Final = (
    "Give the container more memory (docker run --memory, Coolify's and Kubernetes' memory limit), "
    "or the program less to do at once. Node takes less with NODE_OPTIONS=--max-old-space-size=MB."
)

_KILLED: Final[dict[int, tuple[str, str]]] = {
    signal.SIGILL: (
        "the CPU does not know an instruction of it",
        (
            "Use a build of the program, or of its native module, for older CPUs, or give the "
            "virtual machine the host's CPU type."
        ),
    ),
    signal.SIGABRT: ("it gave up", _SEE_LINES),
    signal.SIGBUS: (
        "memory that it had mapped was not there",
        "Look whether a disk or /dev/shm is full: docker run --shm-size gives it more.",
    ),
    signal.SIGKILL: (
        "somebody killed it, and not the kernel for the memory of this container",
        (
            "Find out who: the platform, somebody with kill -9, or the host, whose log (dmesg) "
            "tells when it had no memory left itself."
        ),
    ),
    signal.SIGSEGV: (
        "it crashed",
        (
            "Install its packages in the image that they run in: a native module that is made for "
            "another C library (Alpine's, Debian's) or version crashes so."
        ),
    ),
    signal.SIGSYS: (
        "the container's seccomp profile forbids a system call of it",
        "Update Docker and libseccomp on the host, or allow the call in the profile.",
    ),
    signal.SIGTERM: ("somebody ended it, not this program", "Find out who, and start again."),
    signal.SIGXCPU: ("it took more CPU time than it may", "Raise ulimit -t."),
    signal.SIGXFSZ: ("it wrote a larger file than it may", "Raise ulimit -f."),
}
"""By signal, what it means if the kernel or another process ends the program with it."""

_KILLED_UNSEEN: Final = (
    "somebody killed it, or the kernel did for want of memory, which this container cannot see",
    f"If nobody did, it was the memory, and the host's log (dmesg) says so. {_MEMORY}",
)
"""SIGKILL's meaning where the kernel's OOM kills are not visible."""

_CODES: Final = {
    126: (
        "what a shell says of a program that it may not execute",
        (
            "Look in its lines which one, and run chmod +x for it in the image, or name its "
            "interpreter."
        ),
    ),
    127: (
        "what a shell says of a program that it does not find",
        (
            "Look in its lines which one, and add it to the image: what npm installs is in "
            "node_modules/.bin, and what is a dev dependency is not in an image made without those."
        ),
    ),
}

_POOL: Final = (
    "End its connections when it is done: await pool.end() (pg), await knex.destroy(), await "
    "dataSource.destroy() (TypeORM), await sequelize.close(), await prisma.$disconnect(), "
    "engine.dispose() (SQLAlchemy)."
)


_UNBLOCK: Final = (
    "End that session with pg_terminate_backend(pid), or wait until it is done, and start again."
)

_FORGOTTEN: Final = (
    "Let it commit or roll back: in between it waits for something else, or nobody told it to."
)

_ELSEWHERE: Final = (
    "Look in its lines for what else it waits for: another host, an answer, a program that it "
    "started. Raise {}.timeout only if it was still at work."
)


def told(step: str, finished: Finished, timeout_s: float) -> Ending | None:
    """Return what went wrong with a step's program; None if it exited with code 0."""
    code = finished.returncode
    if finished.timed_out:
        how = f"the {step} command was not done within {timeout_s:.0f} s and was ended"
    elif not code:
        return None
    else:
        how = f"the {step} command " + (
            f"was ended by signal {-code}" if code < 0 else f"exited with code {code}"
        )
    if ending := _of_container(how, finished):
        return ending
    if finished.timed_out:
        return _late(step, how, finished)
    return _by_code(how, code, oom_known=finished.oom_kills is not None)


def _of_container(how: str, finished: Finished) -> Ending | None:
    if finished.oom_kills:
        limit = cgroups.memory_limit()
        kills = finished.oom_kills
        what = "a process" if kills == 1 else f"{kills} processes"
        most = (
            f"which may have {limit / (1 << 20):,.0f} MiB"
            if limit
            else "which has no limit in sight"
        )
        return Ending(
            f"{how}: the kernel killed {what} of this container, {most}, "
            "because there was no memory left",
            _MEMORY if limit else f"Give the host more memory. {_MEMORY}",
            certain=True,
        )
    if finished.pids_refused > 0:
        limit = cgroups.pids_limit()
        return Ending(
            f"{how}: "
            + (
                f"this container may have {limit} processes and threads, and one more was refused"
                if limit
                else "one more process or thread was refused, and this container has no limit in "
                "sight: its pod has one"
            ),
            "Raise its limit (docker run --pids-limit, pids_limit in compose, podPidsLimit of the "
            "kubelet): Node alone takes a dozen.",
            certain=True,
        )
    if any(map(_HEAP.search, finished.tail)):
        return Ending(
            f"{how}: Node's own limit of its heap was reached",
            "Set NODE_OPTIONS=--max-old-space-size=MB to more (about three quarters of what the "
            "container may have), or give the program less to do at once.",
            certain=True,
        )
    return None


def _by_code(how: str, code: int, *, oom_known: bool) -> Ending:
    # Shells, npm and others exit with 128 + n if signal n ended their child.
    number = -code if code < 0 else code - 128
    known = _CODES.get(code) or _KILLED.get(number)
    if number == signal.SIGKILL and not oom_known:
        known = _KILLED_UNSEEN
    if known:
        what, remedy = known
        name = "" if code in _CODES else f"{signal.Signals(number).name}, "
        return Ending(f"{how} ({name}{what})", remedy, remedy != _SEE_LINES)
    return Ending(how, _SEE_LINES)


def _late(step: str, message: str, finished: Finished) -> Ending:
    clue, remedy = finished.clue or (
        "",
        f"Find out what it waited for in the lines above, or raise {step}.timeout.",
    )
    return Ending(f"{message}{clue and ': '}{clue}", remedy)


def doing(found: dict[str, Any], step: str, *, hidden: bool) -> tuple[str, str] | None:
    """What a program's sessions do, and the remedy; ``hidden``: a pooler may hide some."""
    if "sessions" not in found:
        return None
    sessions = found["sessions"]
    if blocked := found.get("blocked_by"):
        waits = next((each["waits_for"] for each in sessions if each["waits_for"]), "a lock")
        return f"it waits for {waits}, which {_who(blocked)} has in the way", _UNBLOCK
    if not sessions:
        return None if hidden else ("it has no session in the database", _ELSEWHERE.format(step))
    # The server hides the state of other roles' sessions, and of all without track_activities.
    hides = any(each["state"] is None or each["state_s"] is None for each in sessions)
    return None if hides else _of(sessions, step)


def _of(sessions: list[dict[str, Any]], step: str) -> tuple[str, str]:
    for each in sessions:
        if each["state"] in ("active", "fastpath function call"):
            return (
                (
                    f"a statement of it ({each['kind'] or 'of another kind'}) has been at work for "
                    f"{each['state_s']:.0f} s"
                ),
                f"Raise {step}.timeout if that is what it takes, or make it faster.",
            )
    open_ones = [each for each in sessions if each["state"] != "idle"]
    since_s = min(each["state_s"] for each in open_ones or sessions)
    if open_ones:
        return f"it has been idle in a transaction for {since_s:.0f} s", _FORGOTTEN
    which = "its session has" if len(sessions) == 1 else f"its {len(sessions)} sessions have"
    return (
        (
            f"{which} been idle for {since_s:.0f} s: it may be done, and not end because its "
            "connections are open"
        ),
        _POOL,
    )


def _who(blocked: Iterable[dict[str, Any]]) -> str:
    first = next(iter(blocked))
    name = first["application_name"] or "a session"
    return f"{name} (pid {first['pid']}, from {first['client_addr'] or 'a local socket'})"
