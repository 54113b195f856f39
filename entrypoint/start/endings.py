"""Describes how a push or seed ended, and the remedy."""

import re
import signal
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from ..process import procfs
from ..process.child import Finished


class Ending(NamedTuple):
    """What went wrong with a program, and the remedy."""

    message: str
    remedy: str
    certain: bool = False  # whether the cause is certain, whatever the program's lines say


SEE_LINES: Final = "Correct the error in its lines and start again."
_HEAP: Final = re.compile(r"JavaScript heap out of memory")

_MEMORY: Final = (
    "Give the container more memory (docker run --memory, Coolify's and Kubernetes' memory limit), "
    "or let the program do less at once. NODE_OPTIONS=--max-old-space-size=MB limits Node's heap."
)

_KILLED: Final[dict[int, Ending]] = {  # if the kernel or another process sends it
    signal.SIGILL: Ending(
        "the CPU lacks an instruction that the program uses",
        "Use a build of the program, or of its native module, for older CPUs, or give the "
        "virtual machine the host's CPU type.",
    ),
    signal.SIGABRT: Ending("the program aborted", SEE_LINES),
    signal.SIGBUS: Ending(
        "the kernel could not provide memory that the program had mapped",
        "Check whether a disk or /dev/shm is full: docker run --shm-size enlarges /dev/shm.",
    ),
    signal.SIGKILL: Ending(
        "another process killed it, not the kernel for the memory of this container",
        "Find out who killed it: the platform, a person with kill -9, or the host's kernel, "
        "whose log (dmesg) shows when the host itself ran out of memory.",
    ),
    signal.SIGSEGV: Ending(
        "the program crashed",
        "Install its packages in the image that runs them: a native module that is built for "
        "another C library (Alpine's, Debian's) or version crashes this way.",
    ),
    signal.SIGSYS: Ending(
        "the container's seccomp profile forbids a system call of the program",
        "Update Docker and libseccomp on the host, or allow the call in the profile.",
    ),
    signal.SIGTERM: Ending(
        "another process ended it, not entrypoint",
        "Find out which process did, and start again.",
    ),
    signal.SIGXCPU: Ending("the program exceeded its CPU time", "Raise ulimit -t."),
    signal.SIGXFSZ: Ending("the program exceeded the size of a file", "Raise ulimit -f."),
}

_KILLED_UNSEEN: Final = Ending(  # SIGKILL's meaning where the kernel's OOM kills are not visible
    "another process or, for lack of memory, the kernel killed it: this container cannot see which",
    f"Look in the host's log (dmesg), which shows a kill by the kernel. {_MEMORY}",
)

_CODES: Final = {
    126: Ending(
        "a shell may not execute a program",
        "Look for the program in its lines, and run chmod +x for it in the image, or name its "
        "interpreter.",
    ),
    127: Ending(
        "a shell did not find a program",
        "Look for the program in its lines, and add it to the image: npm installs programs in "
        "node_modules/.bin, and an image without dev dependencies lacks theirs.",
    ),
}

_POOL: Final = (
    "Close its connections at its end: await pool.end() (pg), await knex.destroy(), await "
    "dataSource.destroy() (TypeORM), await sequelize.close(), await prisma.$disconnect(), "
    "engine.dispose() (SQLAlchemy)."
)

_UNBLOCK: Final = (
    "End that session with pg_terminate_backend(pid), or wait for its end, and start again."
)

_FORGOTTEN: Final = (
    "Let it commit or roll back: inside the transaction it waits for something else, or its code "
    "never ends the transaction."
)

_ELSEWHERE: Final = (
    "Check its lines for another wait: for a host, an answer, or a program that it started. Raise "
    "{}.timeout only if it was still working."
)


def told(step: str, finished: Finished, timeout_s: float) -> Ending | None:
    """Return what went wrong with a step's program; None if it exited with code 0."""
    code = finished.returncode
    if finished.timed_out:
        how = f"the start ended the {step} command, which did not finish within {timeout_s:.0f} s"
    elif not code:
        return None
    else:
        end = f"was ended by signal {-code}" if code < 0 else f"exited with code {code}"
        how = f"the {step} command {end}"
    if ending := _of_container(how, finished):
        return ending
    if finished.timed_out:
        remedy = f"Check the lines above for the cause of the wait, or raise {step}.timeout."
        clue, remedy = finished.clue or ("", remedy)
        return Ending(f"{how}{clue and ': '}{clue}", remedy)
    return _by_code(how, code, oom_known=finished.oom_kills is not None)


def _of_container(how: str, finished: Finished) -> Ending | None:
    if finished.oom_kills:
        limit = procfs.memory_limit()
        what = "a process" if finished.oom_kills == 1 else f"{finished.oom_kills} processes"
        most = f"may use {limit / (1 << 20):,.0f} MiB" if limit else "has no visible limit"
        return Ending(
            f"{how}: the kernel killed {what} of this container, which {most}, because no memory "
            "was left",
            _MEMORY if limit else f"Give the host more memory. {_MEMORY}",
            certain=True,
        )
    if finished.pids_refused > 0:
        limit = procfs.pids_limit()
        most = f"may run {limit} of them" if limit else "has no visible limit, so its pod has one"
        return Ending(
            f"{how}: the kernel refused a process or thread: this container {most}",
            "Raise its limit (docker run --pids-limit, pids_limit in compose, podPidsLimit of the "
            "kubelet): Node alone takes a dozen.",
            certain=True,
        )
    if any(map(_HEAP.search, finished.tail)):
        return Ending(
            f"{how}: Node reached its own limit of the heap",
            "Raise NODE_OPTIONS=--max-old-space-size=MB to about three quarters of the container's "
            "memory limit, or let the program do less at once.",
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
        name = "" if code in _CODES else f"{signal.Signals(number).name}, "
        certain = known.remedy != SEE_LINES
        return Ending(f"{how} ({name}{known.message})", known.remedy, certain)
    return Ending(how, SEE_LINES)


def doing(found: dict[str, Any], step: str, *, hidden: bool) -> tuple[str, str] | None:
    """What a program's sessions do, and the remedy; ``hidden``: a pooler may hide some."""
    if "sessions" not in found:
        return None
    sessions = found["sessions"]
    if blocked := found.get("blocked_by"):
        waits = next((each["waits_for"] for each in sessions if each["waits_for"]), "a lock")
        return f"it waits for {waits}, and {_who(blocked)} blocks it", _UNBLOCK
    if not sessions:
        return None if hidden else ("it has no session in the database", _ELSEWHERE.format(step))
    # The server hides the state of other roles' sessions, and of all without track_activities.
    hides = any(each["state"] is None or each["state_s"] is None for each in sessions)
    return None if hides else _of(sessions, step)


def _of(sessions: list[dict[str, Any]], step: str) -> tuple[str, str]:
    for each in sessions:
        if each["state"] in ("active", "fastpath function call"):
            kind = each["kind"] or "of another kind"
            clue = f"its statement ({kind}) has been running for {each['state_s']:.0f} s"
            return clue, f"Raise {step}.timeout if the statement needs so long, or make it faster."
    open_ones = [each for each in sessions if each["state"] != "idle"]
    since_s = min(each["state_s"] for each in open_ones or sessions)
    if open_ones:
        return f"it has been idle in a transaction for {since_s:.0f} s", _FORGOTTEN
    which = "its session has" if len(sessions) == 1 else f"its {len(sessions)} sessions have"
    why = "its work may be finished, and its open connections keep it from ending"
    return f"{which} been idle for {since_s:.0f} s: {why}", _POOL


def _who(blocked: Iterable[dict[str, Any]]) -> str:
    first = next(iter(blocked))
    name = first["application_name"] or "a session"
    return f"{name} (pid {first['pid']}, from {first['client_addr'] or 'a local socket'})"
