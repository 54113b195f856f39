"""The service cannot tell that we were there."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.program import Program, namespaces
from tests.support.stage import TENANT, Stage, service

PROC = Path("/proc")


def directly(argv: list[str], **options: Any) -> bytes:  # noqa: ANN401  Popen's own
    """What the same program writes when it is started without us."""
    return bytes(subprocess.run(argv, stdout=subprocess.PIPE, check=False, **options).stdout)


def hexed(entries: list[bytes]) -> list[str]:
    return [entry.hex() for entry in entries]


def test_the_environment_is_the_containers_byte_for_byte(stage: Stage) -> None:
    """Same variables in the same order, odd ones too, but for our secrets; no LC_CTYPE of ours."""
    stage.write_settings()
    environ = {
        b"PATH": os.environb[b"PATH"],
        b"DATABASE_URL": stage.url.encode(),
        b"SEED_TENANT_ID": TENANT.encode(),
        b"LATIN1": b"caf\xe9 \xff",
        b"EMPTY": b"",
        b"NEW\xe9LINE": b"a\nb=c",
        b"HOST": b"0.0.0.0",
        b"PORT": b"4003",
        b"PGHOST": b"somewhere",
        b"PYTHONPATH": b"/nowhere",
        b"ENTRYPOINT_ADMIN_URL": stage.server.url().encode(),
        b"ENTRYPOINT_DIRECT_URL": stage.url.encode(),
        b"ENTRYPOINT_LOG_LEVEL": b"debug",
    }
    program = Program.start("run", "--", *service(), environ=environ, directory=stage.directory)

    assert program.wait() == 0, program.output
    ours = {b"ENTRYPOINT_ADMIN_URL", b"ENTRYPOINT_DIRECT_URL"}
    expected = hexed([name + b"=" + value for name, value in environ.items() if name not in ours])
    assert json.loads(program.stdout)["environ"] == expected


@pytest.mark.parametrize("ignored", [(), ("INT", "QUIT"), ("HUP",)], ids=str)
def test_signals_as_without_us(stage: Stage, ignored: tuple[str, ...]) -> None:
    """SigBlk, SigIgn and SigCgt equal those of the same command without us."""
    argv = ["grep", "-E", "^Sig(Blk|Ign|Cgt)", "/proc/self/status"]

    def arrange() -> None:
        for name in ignored:
            signal.signal(signal.Signals[f"SIG{name}"], signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})

    program = stage.start(*argv, preexec_fn=arrange)

    assert program.wait() == 0
    assert program.stdout == directly(argv, preexec_fn=arrange)


def test_only_the_three_descriptors(stage: Stage) -> None:
    """0-2 and nothing of ours; what the platform left open is closed too."""
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)  # noqa: FBT003  os has no keyword for it
    try:
        program = stage.start(*service(), pass_fds=[writer])
        assert program.wait() == 0
    finally:
        os.close(reader)
        os.close(writer)
    # The service's own look at /proc/self/fd is the fourth.
    assert json.loads(program.stdout)["fds"] == [0, 1, 2, 3]


def test_a_descriptor_above_the_limit(stage: Stage) -> None:
    """One that was opened before somebody lowered the limit is closed like the others."""
    high = fcntl.fcntl(2, fcntl.F_DUPFD, 300)

    def lower() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))

    os.set_inheritable(high, True)  # noqa: FBT003  os has no keyword for it
    try:
        program = stage.start(*service(), close_fds=False, preexec_fn=lower)
        assert program.wait() == 0, program.output
    finally:
        os.close(high)
    assert json.loads(program.stdout)["fds"] == [0, 1, 2, 3]


def test_pid_argv_cwd_and_umask(stage: Stage) -> None:
    """All as the container gave them; argv with blanks, quotes, nothing, dashes and odd bytes."""
    words = ["", "two words", "'quotes\"", "--", "-x", os.fsdecode(b"caf\xe9")]
    argv = service("tell", *words)
    program = stage.start(*argv, umask=0o077)

    assert program.wait() == 0
    seen = json.loads(program.stdout)
    assert seen["pid"] == program.process.pid
    assert seen["argv"] == hexed([os.fsencode(word) for word in argv])
    assert seen["cwd"] == str(stage.directory)
    assert seen["umask"] == "0077"


@pytest.mark.parametrize("code", [0, 1, 2, 64, 126, 127, 254, 255])
def test_the_exit_code_is_the_services(stage: Stage, code: int) -> None:
    """Nothing stands between it and the container."""
    stage.environ["ENTRYPOINT_SKIP"] = "push,seed"

    assert stage.start("sh", "-c", f"exit {code}").wait() == code


def test_signals_reach_the_service(stage: Stage) -> None:
    """SIGUSR1 is handled by it, SIGTERM ends it, by signal and not by a code of ours."""
    program = stage.start(*service("serve-and-say"))
    program.until("service.ready")

    program.signal(signal.SIGUSR1)
    program.until("service.signalled", signal="SIGUSR1")
    program.signal(signal.SIGTERM)

    assert program.wait() == -signal.SIGTERM


def no_interpreter(folder: Path) -> list[str]:
    path = folder / "script"
    path.write_bytes(b"#!/usr/bin/env-of-nowhere node\r\n")
    path.chmod(0o755)
    return [str(path)]


def not_executable(folder: Path) -> list[str]:
    path = folder / "script"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o644)
    return ["./script"]


def no_first_line(folder: Path) -> list[str]:
    path = folder / "script"
    path.write_text("echo hello\n")
    path.chmod(0o755)
    return [str(path)]


def a_folder(folder: Path) -> list[str]:
    return [str(folder)]


def absent(_: Path) -> list[str]:
    return ["no-such-program"]


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (absent, 127),
        (no_interpreter, 127),
        (not_executable, 126),
        (no_first_line, 126),
        (a_folder, 126),
    ],
)
def test_126_and_127_come_before_any_database_work(stage: Stage, make: Any, code: int) -> None:  # noqa: ANN401  Popen's own
    """The server is not even asked."""
    program = stage.start(*make(stage.directory))

    assert program.wait() == code
    assert program.one("settings.failed")["exit_code"] == code
    assert program.one("settings.failed")["remedy"]
    assert "wait.started" not in program.names()


def test_a_binary_that_the_kernel_refuses(stage: Stage) -> None:
    """Only the kernel can tell: 126, and said, at the very end."""
    path = stage.directory / "program"
    path.write_bytes(b"\x7fELF of another machine\0\0")
    path.chmod(0o755)
    stage.environ["ENTRYPOINT_SKIP"] = "push,seed"
    program = stage.start(str(path))

    assert program.wait() == 126
    assert "platform" in program.one("handoff.failed")["remedy"]


def test_nothing_to_execute_is_usage(stage: Stage) -> None:
    """`run --` without a command exits 2."""
    program = Program.start("run", "--", environ=stage.environ, directory=stage.directory)

    assert program.wait() == 2
    assert program.stdout == b""


def test_no_zombie_is_left_to_the_service(stage: Stage) -> None:
    """As PID 1 we collect what the push left behind."""
    stage.push = ["sh", "-c", f"{shlex.join(stage.push)}; (sleep 0.2; sleep 0.1) & echo done"]
    stage.seed = ["true"]
    stage.write_settings()
    script = "grep -c '^State:.Z' /proc/[0-9]*/status | grep -v ':0'; echo pid $$"
    argv = namespaces("--pid", "--fork", "--mount-proc", "--kill-child")
    argv += [sys.executable, "-I", "-m", "entrypoint", "run", "--", "sh", "-c", script]
    finished = subprocess.run(
        argv,
        cwd=stage.directory,
        env={"PATH": os.environ["PATH"], "DATABASE_URL": stage.url},
        capture_output=True,
        check=False,
    )

    assert finished.stdout == b"pid 1\n", finished


def test_sigterm_reaches_us_as_pid_1(stage: Stage) -> None:
    """PID 1 without a handler would ignore it: `docker stop` would hang."""
    stage.push = ["sh", "-c", "echo ready; sleep 60"]
    stage.write_settings()
    argv = namespaces("--pid", "--fork", "--mount-proc")
    argv += [sys.executable, "-I", "-m", "entrypoint", "run", "--", "true"]
    program = Program(
        subprocess.Popen(
            argv,
            cwd=stage.directory,
            env={"PATH": os.environ["PATH"], "DATABASE_URL": stage.url},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    )
    program.until("push.output", line="ready")
    [inner] = (
        (PROC / str(program.process.pid) / "task" / str(program.process.pid) / "children")
        .read_text()
        .split()
    )

    os.kill(int(inner), signal.SIGTERM)

    assert program.wait(timeout=5) == 143
