"""What a container may not have: processes, threads, memory, system calls; and a lost command."""

from __future__ import annotations

import json
import shlex
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.support.engine import built, once

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import RoleFactory
    from tests.support.server import Endpoint

EPERM, ENOSYS = 1, 38
CLONE_THREAD = 0x10000


def denied(*names: str, number: int = EPERM, **rest: object) -> dict[str, object]:
    return {"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": number, **rest}


PROFILES = {
    "older than the C library": [denied("clone3")],
    "against threads": [
        denied("clone3", number=ENOSYS),
        denied(
            "clone",
            args=[
                {
                    "index": 0,
                    "value": CLONE_THREAD,
                    "valueTwo": CLONE_THREAD,
                    "op": "SCMP_CMP_MASKED_EQ",
                }
            ],
        ),
    ],
    "against what we can do without": [
        denied("memfd_create", "pidfd_open", "ptrace", "close_range")
    ],
}


@pytest.fixture
def options(server: Endpoint, database: str, role: RoleFactory) -> list[str]:
    """What every start here gets: a server by its name, and a push that makes a table."""
    owner = role("createdb")
    url = server.url(database, owner.name, owner.password).replace("127.0.0.1", "localhost")
    variables = {"DATABASE_URL": url, "SERVICE_NAME": "demo", "ENTRYPOINT_WAIT_TIMEOUT": "2"}
    # Nothing in the image speaks to a server, and what matters here ends before.
    variables["ENTRYPOINT_PUSH_COMMAND"] = "node -e 1"
    return [
        "--network",
        "host",
        *(word for v in variables.items() for word in ("--env", f"{v[0]}={v[1]}")),
    ]


def failure(image: str, options: list[str], *more: str) -> dict[str, Any]:
    """The one failure of a start in a container."""
    done = once(image, "true", options=[*options, *more], check=False)
    events = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert "Traceback" not in done.stderr
    [failed] = [event for event in events if event["event"].endswith(".failed")]
    assert failed["exit_code"] == done.returncode
    assert isinstance(failed, dict)
    return failed


class Refused(NamedTuple):
    """A limit of a container, and what is told of it."""

    options: list[str]
    event: str
    code: int
    error: str
    remedy: str


LIMITS = {
    "no thread": Refused(
        ["--pids-limit", "1"], "wait.failed", 4, "may run 1 processes and threads", "--pids-limit"
    ),
    "no child": Refused(
        ["--pids-limit", "2"], "push.failed", 4, "may run 2 processes and threads", "--pids-limit"
    ),
    "no thread of the child": Refused(
        ["--pids-limit", "6", "--env", "ENTRYPOINT_PUSH_TIMEOUT=5"],  # Node may wait for ever
        "push.failed",
        7,
        "the kernel refused a process or thread: this container may run 6 of them",
        "--pids-limit",
    ),
    "no thread of the user": Refused(
        ["--user", "52341", "--ulimit", "nproc=1:1"],
        "wait.failed",
        4,
        "user 52341 may run 1 processes",
        "--ulimit nproc",
    ),
    "no child of the user": Refused(
        ["--user", "52341", "--ulimit", "nproc=2:2"],
        "push.failed",
        4,
        "user 52341 may run 2 processes",
        "--ulimit nproc",
    ),
}


@pytest.mark.parametrize("limit", LIMITS)
def test_a_limit_of_processes_is_named(image: str, options: list[str], limit: str) -> None:
    """Wherever it is full, also in a child, the failure says which limit it is, and its remedy."""
    expected = LIMITS[limit]
    failed = failure(image, options, *expected.options)

    assert (failed["event"], failed["exit_code"]) == (expected.event, expected.code)
    assert expected.error in failed["error"]
    assert expected.remedy in failed["remedy"]


def profile(folder: Path, name: str) -> list[str]:
    """The options that give a container a seccomp profile."""
    path = folder / "profile.json"
    rules = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": PROFILES[name]}
    path.write_text(json.dumps(rules))
    return ["--security-opt", f"seccomp={path}"]


def test_a_profile_that_is_older_than_the_c_library(
    base: str, image: str, options: list[str], tmp_path: Path
) -> None:
    """Glibc's threads are refused there: exit 5, update Docker; musl's are as always."""
    more = profile(tmp_path, "older than the C library")
    failed = failure(image, options, *more)

    if base.endswith("alpine"):
        assert failed["event"] == "push.failed"  # the next step, for other reasons
        return
    assert (failed["event"], failed["exit_code"]) == ("wait.failed", 5)
    assert "older than its C library" in failed["error"]
    assert "Update Docker" in failed["remedy"]


def test_a_profile_against_threads(image: str, options: list[str], tmp_path: Path) -> None:
    """No limit is full, so it is the profile: exit 5."""
    failed = failure(image, options, *profile(tmp_path, "against threads"))

    assert (failed["event"], failed["exit_code"]) == ("wait.failed", 5)
    assert "a seccomp profile refuses new processes" in failed["error"]


def test_a_profile_against_what_we_can_do_without(
    image: str, options: list[str], tmp_path: Path
) -> None:
    """A start goes on without memfd, pidfd and ptrace, also where it finds out why it waits."""
    more = profile(tmp_path, "against what we can do without")
    skip = ["--env", "ENTRYPOINT_PUSH_COMMAND=", "--env", "ENTRYPOINT_SKIP=push"]
    assert once(image, "true", options=[*options, *more, *skip]).returncode == 0
    url = ["--env", "DATABASE_URL=postgresql://u:p@localhost:1/d"]
    failed = failure(image, [*options, *more, *url])
    assert (failed["event"], failed["exit_code"]) == ("wait.failed", 4)


EAT = ["tail", "/dev/zero"]
"""What wants more memory than there is: it waits for the end of a line that has none."""


@pytest.mark.parametrize("through", ["", "a shell"])
def test_a_push_that_is_killed_for_memory(image: str, options: list[str], through: str) -> None:
    """The kernel's kill is told by its name with the container's limit, also through a shell."""
    argv = ["sh", "-c", f"{shlex.join(EAT)}; exit $?"] if through else EAT
    limit = ["--memory", "96m", "--memory-swap", "96m"]
    limit += ["--env", f"ENTRYPOINT_PUSH_COMMAND={shlex.join(argv)}"]
    failed = failure(image, options, *limit)

    assert (failed["event"], failed["exit_code"]) == ("push.failed", 7)
    assert "the kernel killed a process of this container, which may use 96 MiB" in failed["error"]
    assert "--memory" in failed["remedy"]
    assert "--max-old-space-size" in failed["remedy"]


ENTRYPOINT = '["/opt/entrypoint/bin/entrypoint", "run", "--"]'
LOST = {
    "an ENTRYPOINT in an image of one's own drops the CMD below": (
        'ENTRYPOINT []\nCMD ["node", "x.js"]\n',
        f"ENTRYPOINT {ENTRYPOINT}\n",
        (2, "there is no command"),
    ),
    "an ENTRYPOINT in the shell form swallows CMD": (
        "",
        'ENTRYPOINT /opt/entrypoint/bin/entrypoint run --\nCMD ["node", "x.js"]\n',
        (2, "there is no command"),
    ),
    "single quotes make a list a shell's text": (
        "",
        "CMD ['node', 'x.js']\n",
        (127, 'Set the container\'s command to ["node", "x.js"]'),
    ),
    "a command in one word": (
        "",
        'CMD ["node x.js"]\n',
        (127, 'Set the container\'s command to ["node", "x.js"]'),
    ),
}


@pytest.mark.parametrize("how", LOST)
def test_a_command_that_docker_loses(image: str, how: str) -> None:
    """Docker itself makes of these lines what is refused here, before any work."""
    below, above, (code, words) = LOST[how]
    options = ["--env", "DATABASE_URL=postgresql://u:p@192.0.2.1/d"]
    with ExitStack() as stack:
        base = stack.enter_context(built(None, dockerfile=f"FROM {image}\n{below}"))
        made = stack.enter_context(built(None, dockerfile=f"FROM {base}\n{above}"))
        done = once(made, options=options, check=False)

    failed = json.loads(done.stderr.splitlines()[-1])
    assert (failed["event"], failed["exit_code"], done.returncode) == (
        "settings.failed",
        code,
        code,
    )
    assert words in failed["error"] + failed["remedy"]
    assert "wait.started" not in done.stderr
