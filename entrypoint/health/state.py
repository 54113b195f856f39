"""The state file that a start leaves for `entrypoint health`: its folder, name, format and trust.

Every probe imports this module, so it imports little of the standard library and nothing of ours.
"""

import os
import stat

VERSION = "entrypoint 1"  # the first line; every other line is a key, a space and a value
STARTED, PREPARED, FAILED = "started", "prepared", "failed"  # after a start; all others are steps
_PREFIX = "entrypoint-"
_WHO = {"pid": "began", "main": "main_began"}  # of each process, the key of its start time
_MAX_BYTES = 1 << 14


class suppress:  # noqa: N801  as contextlib's, whose import is a quarter of a probe
    """Ignore these errors in the body."""

    def __init__(self, *errors: type[BaseException]) -> None:
        self._errors = errors

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        return kind is not None and issubclass(kind, self._errors)


def folders() -> list[str]:
    """Folders that may hold the state; the start uses the first writable one."""
    named = os.environ.get("ENTRYPOINT_STATE_DIR")
    if named:
        return [named]
    return ["/run", "/dev/shm", os.environ.get("TMPDIR") or "/tmp"]  # noqa: S108  its owner is checked


def name() -> str:
    """The state's file name, one for each mount namespace.

    A container's processes and probes share a mount namespace; containers that share a network, a
    PID namespace or a folder do not. The kernel reuses the number of a namespace that is gone, so
    `read` also compares the main process.
    """
    try:
        namespace = os.readlink("/proc/self/ns/mnt")
    except OSError:
        namespace = ""
    return f"{_PREFIX}{''.join(filter(str.isdigit, namespace)) or 0}"


def writer() -> dict[str, str]:
    """The writer's keys: this process and its oldest ancestor, the main process or one exec'd."""
    pid = oldest = os.getpid()
    with suppress(OSError, IndexError):
        while _stat(parent := int(_stat(oldest)[1])):
            oldest = parent
    first, last = process(pid)[1], process(oldest)[1]
    return {"pid": str(pid), "began": first, "main": str(oldest), "main_began": last}


def is_of_another(state: dict[str, str], own: dict[str, str]) -> bool:
    """Whether a state belongs to a start other than the `writer`'s and is still valid.

    It is valid while that start or its service runs. If the writer was exec'd into the container,
    it is valid while the container's main process runs.
    """
    return any(_lives(state, who) and state.get(who) != own[who] for who in _WHO)


def read() -> dict[str, str] | None:
    """Return the state of a start that is alive, else the latest; None if none can be trusted.

    Raises PermissionError if the only state is another user's and unreadable.
    """
    found: list[tuple[bool, int, dict[str, str]]] = []
    kept: PermissionError | None = None
    for folder in folders():
        path = f"{folder}/{name()}"
        try:
            about, state = _load(path)
        except PermissionError as error:
            if os.path.lexists(path):  # the file is unreadable, not the folder
                kept = error
            continue
        except OSError:
            continue
        if not state or not _is_trusted(state, about.st_uid):
            continue
        # A state whose processes are gone is another container's.
        if not state.get("main_began") or any(_lives(state, who) for who in _WHO):
            found.append((lives(state), about.st_mtime_ns, state))
    if kept and not found:
        raise kept
    return max(found, key=lambda each: each[:2])[2] if found else None


def _load(path: str) -> tuple[os.stat_result, dict[str, str]]:
    """Return a file's status and the state in it, empty if it holds none. Raises OSError."""
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        about = os.fstat(file)
        data = os.read(file, _MAX_BYTES) if stat.S_ISREG(about.st_mode) else b""
    finally:
        os.close(file)
    first, *lines = data.decode("utf-8", "replace").split("\n")
    if first != VERSION:
        return about, {}
    return about, {key: value for key, _, value in (each.partition(" ") for each in lines if each)}


def _is_trusted(state: dict[str, str], owner: int) -> bool:
    """Whether the file's owner may speak for the container; anybody may write to a shared folder.

    To root, only root and the user of the start or of its main process may.
    """
    ours = os.geteuid()
    if owner in (0, ours):
        return True
    return not ours and any(_lives(state, who) and owner == _user(state, who) for who in _WHO)


def lives(state: dict[str, str]) -> bool:
    """Whether the process that wrote the state, or the service that it became, is running."""
    return _lives(state, "pid")


def _lives(state: dict[str, str], who: str) -> bool:
    running, began = process(int(number(state, who)))
    written = state.get(_WHO[who])
    return running and (not began or not written or began == written)


def _user(state: dict[str, str], who: str) -> int:
    try:
        return os.stat(f"/proc/{int(number(state, who))}").st_uid
    except OSError:
        return -1


def process(pid: int) -> tuple[bool, str]:
    """Whether a process runs, and when it began in the kernel's ticks; empty if unknown.

    The kernel reuses a PID, but not with the same start time (proc_pid_stat(5), field 22).
    """
    if pid <= 0:
        return False, ""
    try:
        fields = _stat(pid)
        return fields[0] not in (b"Z", b"X"), fields[19].decode()
    except (FileNotFoundError, ProcessLookupError):
        if os.path.exists("/proc/self/stat"):
            return False, ""
    except (OSError, IndexError):
        pass  # /proc hides other users' processes (hidepid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False, ""
    except PermissionError:
        pass
    return True, ""


def _stat(pid: int) -> list[bytes]:
    """The fields of /proc/PID/stat from the third on. Raises OSError."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()


def number(values: dict[str, str], key: str) -> float:
    """A value as a number, or 0."""
    try:
        return float(values.get(key, 0))
    except ValueError:
        return 0.0


def replace(folder: str, values: dict[str, str]) -> None:
    """Write a state atomically, readable for all unless its URL may be secret. Raises OSError."""
    lines = [VERSION, *(f"{key} {' '.join(value.split())}" for key, value in values.items())]
    path = f"{folder}/{name()}"
    beside = f"{path}.{os.getpid()}"
    with suppress(FileNotFoundError):
        os.unlink(beside)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    secret = any(each in values.get("url", "") for each in "@?")
    file = os.open(beside, flags, 0o600 if secret else 0o644)
    try:
        with open(file, "wb") as stream:
            stream.write(("\n".join(lines) + "\n").encode("utf-8", "backslashreplace"))
        os.replace(beside, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(beside)
        raise


def remove(folder: str) -> None:
    """Remove the state from a folder, if possible."""
    with suppress(OSError):
        os.unlink(f"{folder}/{name()}")


def forget_former_lives(folder: str) -> None:
    """Remove the states that this container left before a restart.

    Looks only in the container's own root file system, since a shared folder may hold other
    containers' states, and removes only files of our user whose processes are all gone.
    """
    with suppress(OSError):
        if os.stat(folder).st_dev != os.stat("/").st_dev:
            return
        for each in os.listdir(folder):
            if _is_name(each) and each != name():
                with suppress(OSError):
                    _forget(f"{folder}/{each}")


def _forget(path: str) -> None:
    about, state = _load(path)
    lost = state and about.st_uid == os.geteuid() and not any(_lives(state, who) for who in _WHO)
    if lost:
        os.unlink(path)


def _is_name(text: str) -> bool:
    numbers = text.removeprefix(_PREFIX).split(".")
    return text.startswith(_PREFIX) and len(numbers) <= 2 and all(map(str.isdecimal, numbers))  # noqa: PLR2004
