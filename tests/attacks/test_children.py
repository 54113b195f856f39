"""A child that steals: what push and seed, somebody's dependencies, can find of our secrets.

X5: a push read ENTRYPOINT_ADMIN_URL in /proc/<parent>/environ and in the parent's memory. It runs
as our user, so the kernel lets it, unless the parent is not dumpable.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from psycopg import sql

from tests.process.test_health import AS_STRANGER
from tests.support.program import namespaces, python
from tests.support.site import Site, http
from tests.support.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import RoleFactory
    from tests.support.program import Program
    from tests.support.server import Endpoint

ADMIN = "adm1n-k4nary"
HOOK = "h00k-k4nary"

PYTHON = shutil.which("python3", path="/usr/bin:/usr/local/bin") or sys.executable
"""One that every user may run; that of the tests may be in root's home."""

TAKEN_AWAY = """
from entrypoint.process import child
child._shield = lambda: None
from entrypoint.__main__ import main
main()
"""

UNSHIELDED = ("-c", TAKEN_AWAY)
"""The program with its defence taken away."""

SELF = """
import ctypes, os, resource, sys
print("dumpable", ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
print("core", resource.getrlimit(resource.RLIMIT_CORE))
print("owner", os.stat("/proc/self/environ").st_uid == os.getuid())
print("descriptors", sorted(map(int, os.listdir("/proc/self/fd")))[:-1])
print("readable", b"DATABASE_URL=" in open("/proc/self/environ", "rb").read())
"""


@pytest.fixture
def stage(server: Endpoint, database: str, role: RoleFactory) -> Iterator[Stage]:
    """A stage with secrets of ours, in a folder that every user may look into."""
    owner = role("createdb")
    with server.connect() as connection:
        names = map(sql.Identifier, (database, owner.name))
        connection.execute(sql.SQL("create database {} owner {}").format(*names))
    with tempfile.TemporaryDirectory() as directory, Site(http()) as receiver:
        Path(directory).chmod(0o755)
        made = Stage(Path(directory), server, database, owner.name, owner.password)
        with made.connect() as connection:  # a push is to make one, and spies make none
            connection.execute("create table made (id int)")
        admin = server.url("postgres", owner.name, owner.password)
        mark = f"{'&' if '?' in admin else '?'}application_name={ADMIN}"
        made.environ = {
            "ENTRYPOINT_ADMIN_URL": admin + mark,
            # Nobody can tell then that spies do not connect.
            "ENTRYPOINT_DIRECT_URL": made.url,
            "ENTRYPOINT_NOTIFY_URL": receiver.url(f"/{HOOK}"),
        }
        made.push = made.seed = [PYTHON, *python("spy", ADMIN[::-1], HOOK[::-1])[1:]]
        made.sections = {"push": {"success": "looked in"}}
        yield made
        for program in made.started:
            if program.process.poll() is None:
                program.process.kill()
            program.wait()


def root() -> list[str]:
    """What makes a program root and PID 1 in a container that has no CAP_SYS_PTRACE."""
    return [
        *namespaces("--pid", "--fork", "--kill-child", "--mount-proc"),
        *("setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"),
    ]


def ordinary() -> list[str]:
    """What makes a program an ordinary user's; Python may be in root's home."""
    if os.geteuid():
        return []
    argv = [*AS_STRANGER, sys.executable, "-I", "-c", "import socket"]
    if subprocess.run(argv, check=False, capture_output=True).returncode:
        pytest.skip("another user cannot run this Python")
    return AS_STRANGER


USERS = pytest.mark.parametrize("user", [root, ordinary])


def said(program: Program, word: str) -> set[str]:
    """What the spies said with this first word."""
    lines = [e["line"] for step in ("push", "seed") for e in program.all(f"{step}.printed")]
    return {line for line in lines if line.startswith(word)}


@USERS
def test_a_child_finds_nothing(stage: Stage, user: Callable[[], list[str]]) -> None:
    """Neither in environments and argvs, nor in its parent's memory, descriptors and state."""
    program = stage.start("true", through=user())
    program.wait()

    assert len(said(program, "looked in")) > 0, program.output
    assert said(program, "found in") == set()
    assert said(program, "inherits") == set()
    assert program.all("seed.printed"), "the seed looked too"
    assert "process.not_protected" not in program.names()


@USERS
def test_a_child_finds_it_where_nothing_is_closed(
    stage: Stage, user: Callable[[], list[str]]
) -> None:
    """The control: an equal user reads the environment and the memory of a dumpable parent."""
    program = stage.start("true", through=user(), launcher=UNSHIELDED)
    program.wait()

    assert said(program, "found in") >= {"found in the parent's environ"}, program.output
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    if not scope.exists() or scope.read_text().strip() == "0":
        assert said(program, "found in") >= {
            "found in the parent's memory",
            "found in the parent's memory by call",
            "found in a trace of the parent",
        }


@USERS
def test_seccomp_that_refuses(stage: Stage, user: Callable[[], list[str]]) -> None:
    """The environment that /proc shows has no secret all the same, and a warning says the rest."""
    program = stage.start("true", through=[*python("no_prctl"), *user()])
    program.wait()

    assert said(program, "looked in"), program.output
    assert "found in the parent's environ" not in said(program, "found in")
    warning = program.one("process.not_protected")
    assert warning["level"] == "warning"
    assert "seccomp" in warning["remedy"]


@USERS
def test_the_service_is_as_without_us(stage: Stage, user: Callable[[], list[str]]) -> None:
    """After a push and by exec it is dumpable, owns its /proc, and has its limits."""
    argv = [PYTHON, "-I", "-c", SELF]
    program = stage.start(*argv, through=user())
    assert program.wait() == 0, program.output
    environ = {"DATABASE_URL": "x"}
    alone = subprocess.run(
        [*user(), *argv], env=environ, check=True, capture_output=True, stdin=subprocess.DEVNULL
    )

    assert program.stdout == alone.stdout
    assert b"dumpable 1\n" in program.stdout
    assert b"readable True\n" in program.stdout


def test_a_failure_after_a_push_is_still_told(stage: Stage) -> None:
    """The webhook's URL is out of the environment by then, and known to us all the same."""
    stage.push = ["false"]
    program = stage.start("true", through=ordinary())

    assert program.wait() == 7
    assert program.one("notify.sent")["status"] == 200
    assert HOOK not in program.output
