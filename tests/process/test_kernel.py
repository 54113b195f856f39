"""What the kernel refuses to a start has a cause, a remedy and an exit code, and no traceback."""

from __future__ import annotations

import errno
import json
import resource
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from entrypoint.errors import RefusedError, UnreachableError
from entrypoint.process import kernel
from tests.process.test_endings import MAKE, counted
from tests.support.program import namespaces

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.program import Program
    from tests.support.stage import Stage


def limited(what: int, most: int) -> Callable[[], None]:
    """What lowers a limit of the start's own process."""
    return lambda: resource.setrlimit(what, (most, most))


def names(stage: Stage) -> None:
    """Let the server's name be resolved, which takes a thread."""
    stage.environ["DATABASE_URL"] = stage.url.replace("127.0.0.1", "localhost")


def failed(program: Program, code: int) -> dict[str, object]:
    """The one failure of a start that ended with this code."""
    assert program.wait() == code, program.output
    [failure] = [event for event in program.events if event["event"].endswith(".failed")]
    assert "Traceback" not in program.output
    assert failure["exit_code"] == code
    return failure


@pytest.mark.parametrize("most", [5, 6, 7, 8, 9, 10, 11, 12])
def test_too_few_open_files(stage: Stage, most: int) -> None:
    """Wherever they run out the limit is named, and the next start, with more, goes on."""
    names(stage)
    stage.push, stage.seed = MAKE, ["true"]
    failure = failed(stage.start(preexec_fn=limited(resource.RLIMIT_NOFILE, most)), 5)

    assert failure["event"] in ("settings.failed", "wait.failed", "lock.failed", "push.failed")
    assert f"a process may open {most} files (ulimit -n)" in str(failure["error"])
    assert "--ulimit nofile=" in str(failure["remedy"])
    program = stage.start(preexec_fn=limited(resource.RLIMIT_NOFILE, 64))
    assert program.wait() == 0, program.output
    assert program.one("push.finished")


# With a few limits between, CPython itself aborts: "Cannot recover from MemoryErrors".
@pytest.mark.parametrize("megabytes", [24, 40])
def test_no_memory_to_begin_with(stage: Stage, megabytes: int) -> None:
    """Before there is a log, and before Python can even import, one line tells why."""
    stage.push, stage.seed = MAKE, ["true"]
    program = stage.start(preexec_fn=limited(resource.RLIMIT_AS, megabytes << 20))

    assert program.wait() in (4, 5), program.output
    [event] = program.events[-1:]
    assert event["exit_code"] == program.wait()
    assert "ulimit -v" in event["error"] + event["remedy"]


def test_no_memory_for_a_thread(stage: Stage) -> None:
    """The stack of the thread that resolves the server's name does not fit."""
    names(stage)
    failure = failed(stage.start(preexec_fn=limited(resource.RLIMIT_AS, 57 << 20)), 5)

    assert failure["event"] == "wait.failed"
    assert "can't start new thread" in str(failure["error"])
    assert "ulimit -v" in str(failure["remedy"])


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (OSError(errno.EMFILE, "x"), RefusedError, "ulimit -n"),
        (OSError(errno.ENFILE, "x"), UnreachableError, "fs.file-max"),
        (OSError(errno.ENOSPC, "x"), UnreachableError, "Free space"),
        (OSError(errno.EDQUOT, "x"), UnreachableError, "Free space"),
        (OSError(errno.EROFS, "x"), RefusedError, "tmpfs"),
        (OSError(errno.ENOMEM, "x"), UnreachableError, "memory"),
        (OSError(errno.EPERM, "x"), RefusedError, "profile"),
        (OSError(errno.ENOSYS, "x"), RefusedError, "libseccomp"),
        (MemoryError(), UnreachableError, "memory"),
        (ImportError("libpq.so: failed to map segment"), UnreachableError, "memory"),
        (ImportError("libpq.so: Too many open files"), RefusedError, "ulimit -n"),
    ],
    ids=repr,
)
def test_what_is_the_kernel_s(error: Exception, kind: type[Exception], words: str) -> None:
    """Each refusal is told by its cause, and whether it may heal by itself."""
    refused = kernel.refusal(error)

    assert isinstance(refused, kind)
    assert words in f"{refused.message} {refused.remedy}"


def test_a_module_that_does_without_another_in_vain() -> None:
    """What hashlib says where OpenSSL did not fit into memory is told by what came before it."""
    error = ImportError("cannot import name 'sha512' from 'hashlib'")
    error.__context__ = ImportError("_sha512.so: failed to map segment from shared object")

    refused = kernel.refusal(error)

    assert isinstance(refused, UnreachableError)
    assert "memory" in refused.message


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOENT, "x"),
        OSError(errno.EBADF, "x"),
        OSError("x"),
        RuntimeError("dictionary changed size during iteration"),
        ImportError("no module named x"),
        ValueError("x"),
    ],
    ids=repr,
)
def test_what_is_a_bug(error: Exception) -> None:
    """What is no refusal of the kernel's stays what it is."""
    assert kernel.refusal(error) is None


def test_a_pod_s_limit_of_processes(stage: Stage) -> None:
    """A thread that it refuses is no fault of a seccomp profile's, and may heal."""
    groups = counted(stage, "pids.events", "max 1\n")
    script = "from entrypoint.process import kernel\n"
    script += "kernel.last_word(OSError(11, 'Resource temporarily unavailable'))"
    done = subprocess.run(
        [*groups, sys.executable, "-c", script],
        capture_output=True,
        check=True,
        cwd=stage.directory,
    )
    event = json.loads(done.stderr)
    assert event["exit_code"] == 4
    assert "the pod of this container" in event["error"]
    assert "podPidsLimit" in event["remedy"]


@pytest.mark.parametrize("mount", ["-t tmpfs none /proc", "-t proc -o hidepid=2 proc /proc"])
def test_without_a_whole_proc(stage: Stage, mount: str) -> None:
    """Where /proc is missing, or hides others' processes, a start pushes, seeds and hands over."""
    stage.push, stage.seed = MAKE, ["true"]
    script = f'mount {mount} && exec "$0" "$@"'
    through = [*namespaces("--mount", "--pid", "--fork"), "sh", "-c", script]
    program = stage.start("echo", "served", through=through)

    assert program.wait() == 0, program.output
    assert program.stdout == b"served\n"
    assert program.one("push.finished")
    assert program.one("seed.finished")
    assert [event for event in program.events if event["level"] == "error"] == []


def test_a_program_that_is_not_there_is_the_push_s_fault(stage: Stage) -> None:
    """ENOENT and ENOEXEC are about the command, exit 7 with a remedy for it, not the kernel's."""
    path = stage.directory / "script"
    for text, remedy in (("#!/no/such/node\n", "the interpreter"), ("true\n", "interpreter first")):
        path.write_text(text)
        path.chmod(0o755)
        stage.push = ["./script"]
        failure = failed(stage.start(), 7)
        assert "cannot start the push command './script'" in str(failure["error"])
        assert remedy in str(failure["remedy"])


@pytest.mark.parametrize("text", ["plain", 'quotes " and \\', "two\nlines"])
def test_the_last_word_is_json(text: str) -> None:
    """What is told before there is a log can be read like all other events."""
    script = f"from entrypoint.process import kernel\nkernel.last_word(MemoryError({text!r}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    event = json.loads(done.stderr)
    assert (event["event"], event["exit_code"]) == ("entrypoint.failed", 4)
    assert "\n" not in event["error"]
