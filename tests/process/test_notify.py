"""The last word: a webhook hears of every start that fails, and of nothing else."""

from __future__ import annotations

import json
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from psycopg import sql

from tests.process.test_rails import imported
from tests.process.test_secrets import ADMIN_CANARY, CANARY, assert_hidden
from tests.support.program import Program, alive, deaf_names, python, until
from tests.support.site import CA, HANG, Site, dripping, http

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import RoleFactory
    from tests.support.site import Answer
    from tests.support.stage import Stage

HOOK = "/services/T0/c4n4ry-of-a-hook"
FIELDS = ["service", "step", "code", "message", "remedy", "lines", "release", "host", "at"]


@pytest.fixture
def receiver() -> Iterator[Site]:
    """Takes what it is told."""
    with Site(http("204 No Content")) as site:
        yield site


@pytest.fixture
def telling(stage: Stage, receiver: Site) -> Stage:
    """A stage with a webhook."""
    stage.environ["ENTRYPOINT_NOTIFY_URL"] = receiver.url(HOOK)
    stage.environ["SOURCE_COMMIT"] = "abc123"
    return stage


def posted(receiver: Site) -> dict[str, Any]:
    """The body of the only request."""
    [request] = receiver.requests
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.startswith(f"POST {HOOK} HTTP/1.1\r\n".encode())
    assert b"content-type: application/json" in head.lower()
    data: dict[str, Any] = json.loads(body)
    return data


def deaf() -> str:
    """A URL of a server that is not there."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        return f"postgres://u:p@127.0.0.1:{closed.getsockname()[1]}/d"


def unreachable(stage: Stage) -> None:
    stage.environ |= {"DATABASE_URL": deaf(), "ENTRYPOINT_WAIT_TIMEOUT": "0"}


def refused(stage: Stage) -> None:
    stage.password = "wrong"


def unset(stage: Stage) -> None:
    stage.environ["DATABASE_URL"] = ""


def push_fails(stage: Stage) -> None:
    stage.push = python("push", "say", "half of it", "exit", "1")


def seed_fails(stage: Stage) -> None:
    stage.seed = python("seed", "{tenant_id}", "exit", "1")


class Failure(NamedTuple):
    """How a start is made to fail, and what is told of it."""

    breaks: Callable[[Stage], None]
    step: str
    code: int
    message: str


FAILURES = [
    Failure(unset, "settings", 3, "DATABASE_URL is empty"),
    Failure(unreachable, "wait", 4, "was not ready after"),
    Failure(refused, "wait", 5, "(28P01)"),
    Failure(push_fails, "push", 7, "the push command exited with code 1"),
    Failure(seed_fails, "seed", 8, "the seed command exited with code 1"),
]


@pytest.mark.parametrize("expected", FAILURES, ids=[str(each.code) for each in FAILURES])
@pytest.mark.parametrize("command", ["run", "prepare"])
def test_a_start_that_fails_is_told(
    telling: Stage, receiver: Site, expected: Failure, command: str
) -> None:
    """What failed, where, what to do, and the last lines, as the log has them."""
    expected.breaks(telling)
    program = telling.start(command=command)

    assert program.wait() == expected.code
    data = posted(receiver)
    failure = program.one(f"{expected.step}.failed")
    assert list(data) == FIELDS
    assert (data["service"], data["step"], data["code"]) == ("demo", expected.step, expected.code)
    assert expected.message in data["message"]
    assert (data["message"], data["remedy"]) == (failure["error"], failure["remedy"])
    assert (data["release"], data["host"]) == ("abc123", socket.gethostname())
    assert data["at"][:10] == failure["timestamp"][:10]
    events = [json.loads(line) for line in data["lines"]]
    assert events == program.events[:-1][-20:]
    assert events[-1] == failure
    assert program.events[-1]["event"] == "notify.sent"
    assert program.one("notify.sent")["status"] == 204


@pytest.mark.parametrize("words", [[], ["run", "--"], ["run"], ["node", "x.js"], ["prepare", "x"]])
def test_a_container_without_a_command_is_told(
    telling: Stage, receiver: Site, words: list[str]
) -> None:
    """Nobody reads the log of a container that cannot even begin, so the webhook hears of it."""
    telling.write_settings()
    environ = {"DATABASE_URL": telling.url, **telling.environ}
    program = Program.start(*words, environ=environ, directory=telling.directory)

    assert program.wait() == 2
    data = posted(receiver)
    assert (data["step"], data["code"]) == ("settings", 2)
    assert data["message"] == program.one("settings.failed")["error"]


def test_a_service_that_is_not_found_is_told(telling: Stage, receiver: Site) -> None:
    """Before the settings are read."""
    assert telling.start("no-such-program").wait() == 127
    assert (posted(receiver)["code"], posted(receiver)["step"]) == (127, "settings")


def test_a_crash_of_ours_is_told(telling: Stage, receiver: Site, tmp_path: Path) -> None:
    """Exit 1, with the traceback among the lines."""
    (tmp_path / "broken").mkdir()
    script = tmp_path / "broken" / "crash.py"
    script.write_text(
        "import sys\n"
        "from entrypoint import __main__\n"
        "from entrypoint.start import wait\n"
        "def until_answered(*_, **__): raise ZeroDivisionError('postgres://u:hunter2@h/d')\n"
        "wait.until_answered = until_answered\n"
        "__main__.main()\n"
    )
    telling.write_settings()
    environ = {
        "PATH": "/usr/bin:/bin",
        "DATABASE_URL": telling.url,
        "ENTRYPOINT_NOTIFY_URL": receiver.url(HOOK),
        "ENTRYPOINT_PUSH_COMMAND": "true",
    }
    words, launcher = ["run", "--", "true"], [str(script)]
    folder = telling.directory
    program = Program.start(*words, environ=environ, directory=folder, launcher=launcher)
    telling.started.append(program)

    assert program.wait() == 1, program.output
    data = posted(receiver)
    assert (data["step"], data["code"]) == ("entrypoint", 1)
    assert data["message"] == "ZeroDivisionError: postgres://u:****@h/d"
    assert "crash.py" in data["lines"][-1]
    assert "hunter2" not in json.dumps(data)


def test_sigterm_ends_the_push_before_it_is_told(telling: Stage, receiver: Site) -> None:
    """A rollback is a start that failed; nothing of it runs any more when somebody hears of it."""
    telling.push = python("push", "ready", "sleep", "60")
    seen: list[bool] = []
    program = telling.start()
    pid = int(program.until("push.printed")["line"].split()[-1].rstrip(")"))

    def answer(_request: bytes) -> bytes:
        seen.append(alive(pid))
        return http("204 No Content")

    receiver.answer = answer
    program.signal(signal.SIGTERM)

    assert program.wait() == 143
    assert seen == [False]
    data = posted(receiver)
    assert (data["step"], data["code"], data["remedy"]) == ("push", 143, None)
    assert data["message"] == "ended by SIGTERM"


@pytest.mark.parametrize("dies", [push_fails, None], ids=["failed", "terminated"])
def test_a_signal_ends_the_last_word(
    telling: Stage, receiver: Site, dies: Callable[[Stage], None] | None
) -> None:
    """Nobody who wants to be gone waits for a webhook; the exit code stays."""
    receiver.answer = HANG
    telling.push = python("push", "ready", "sleep", "60")
    if dies:
        dies(telling)
    program = telling.start()
    if not dies:
        program.until("push.printed")
        program.signal(signal.SIGTERM)
    until(lambda: receiver.requests, "the request")
    program.signal(signal.SIGTERM)

    assert program.wait(timeout=2) == (7 if dies else 143)


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (HANG, "no answer within 5 s"),
        (dripping(http("200 OK")), "no answer within 5 s"),
        (http("500 Internal Server Error"), "the receiver answered 500"),
        (http("302 Found", Location="/"), "the receiver answered 302"),
        (b"SSH-2.0-x\r\n", "no valid HTTP answer"),
    ],
    ids=["hangs", "drips", "500", "redirect", "garbage"],
)
def test_a_receiver_that_does_not_listen_changes_nothing(
    telling: Stage,
    receiver: Site,
    answer: Answer | None,
    cause: str,
) -> None:
    """The exit code is the start's; one warning says why nobody heard."""
    receiver.answer = answer
    unset(telling)
    program = telling.start()

    assert program.wait(timeout=20) == 3
    event = program.one("notify.failed")
    assert (event["level"], program.names()[-1]) == ("warning", "notify.failed")
    assert cause in event["cause"]
    assert len(receiver.requests) == 1
    assert "c4n4ry" not in program.output


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("http://127.0.0.1:1/{hook}", "refused"),
        ("http://no-such-host.invalid/{hook}", "does not resolve"),
        ("https://localhost:{port}/{hook}", "certificate"),
    ],
)
def test_a_receiver_that_cannot_be_reached_changes_nothing(
    telling: Stage, url: str, cause: str
) -> None:
    """Nobody there, no such name, or somebody else's certificate."""
    with Site(http(), certificate="elsewhere") as other:
        telling.environ |= {
            "ENTRYPOINT_NOTIFY_URL": url.format(port=other.port, hook="c4n4ry-of-a-hook"),
            "SSL_CERT_FILE": str(CA),
        }
        unset(telling)
        program = telling.start()

        assert program.wait(timeout=20) == 3
        assert cause in program.one("notify.failed")["cause"]
        assert other.requests == []
        assert "c4n4ry" not in program.output


def test_a_deaf_name_server_changes_nothing(stage: Stage) -> None:
    """The resolver would wait 10 s for it, whatever the last word's own deadline is."""
    stage.environ["ENTRYPOINT_NOTIFY_URL"] = f"http://hooks.invalid{HOOK}"
    unset(stage)
    started = time.monotonic()
    program = stage.start(through=deaf_names(stage.directory))

    assert program.wait(timeout=20) == 3
    assert time.monotonic() - started < 9
    assert program.one("notify.failed")["cause"] == "no answer within 5 s"
    assert "c4n4ry" not in program.output


def test_the_webhook_may_be_the_image_s_or_a_file_s(stage: Stage, receiver: Site) -> None:
    """`notify.url` in the file, and the variable's `_FILE` twin."""
    refused(stage)
    stage.sections["notify"] = {"url": receiver.url(HOOK)}
    assert stage.start().wait() == 5
    del stage.sections["notify"]
    secret = stage.directory / "hook"
    secret.write_text(f"{receiver.url(HOOK)}\n")
    stage.environ["ENTRYPOINT_NOTIFY_URL_FILE"] = str(secret)
    assert stage.start().wait() == 5
    assert len(receiver.requests) == 2


def test_settings_that_are_wrong_everywhere_else_are_told(stage: Stage, receiver: Site) -> None:
    """The URL is enough: a file that is no TOML, unknown variables, a wrong registry."""
    stage.write_settings()
    (stage.directory / "entrypoint.toml").write_text("service = [")
    environ = {
        "PATH": "/usr/bin:/bin",
        "ENTRYPOINT_NOTIFY_URL": receiver.url(HOOK),
        "ENTRYPOINT_WAIT_TIMEOUT": "soon",
        "ENTRYPOINT_SERVICES": "no-such-file",
        "ENTRYPOINT_WHAT": "1",
        "SERVICE_NAME": "named",
    }
    program = Program.start("run", "--", "true", environ=environ, directory=stage.directory)
    stage.started.append(program)

    assert program.wait() == 3
    data = posted(receiver)
    assert (data["service"], data["release"]) == ("named", None)
    assert len(json.loads(data["lines"][-1])["problems"]) >= 4


def test_a_start_that_succeeds_tells_nobody(telling: Stage, receiver: Site) -> None:
    """Neither does the service that fails after it, nor a start without a webhook."""
    assert telling.start("false").wait() == 1
    telling.environ["ENTRYPOINT_NOTIFY_URL"] = ""
    refused(telling)
    program = telling.start()
    assert program.wait() == 5
    assert [name for name in program.names() if name.startswith("notify.")] == []
    assert receiver.requests == []


def test_only_who_tells_pays_for_it(telling: Stage) -> None:
    """No start that succeeds imports what tells, no failure without a webhook what speaks HTTP."""
    launcher = ("-X", "importtime", "-m", "entrypoint")
    well = telling.start(launcher=launcher)
    assert well.wait() == 0
    assert imported(well).isdisjoint(
        {"httpx", "entrypoint.start.notify", "entrypoint.start.tenant"}
    )
    unset(telling)
    telling.environ["ENTRYPOINT_NOTIFY_URL"] = ""
    silent = telling.start(launcher=launcher)
    assert silent.wait() == 3
    assert "entrypoint.start.notify" in imported(silent)
    assert "httpx" not in imported(silent)


@pytest.mark.parametrize("command", ["verify", "status", "create"])
def test_an_operator_s_command_tells_nobody(stage: Stage, receiver: Site, command: str) -> None:
    """Who sits before it sees for himself."""
    environ = {"PATH": "/usr/bin", "ENTRYPOINT_NOTIFY_URL": receiver.url(HOOK)}
    program = Program.start(command, environ=environ, directory=stage.directory)
    stage.started.append(program)

    assert program.wait() == 3
    assert receiver.requests == []


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_secret_is_told(telling: Stage, receiver: Site, role: RoleFactory, form: str) -> None:
    """Neither a password nor the webhook's own URL, nor a terminal's colours."""
    telling.password = CANARY
    admin = role("superuser").name
    with telling.server.connect() as connection:
        statement = sql.SQL("alter role {} password {}")
        for name, password in ((telling.user, CANARY), (admin, ADMIN_CANARY)):
            connection.execute(statement.format(sql.Identifier(name), password))
    hook = telling.environ["ENTRYPOINT_NOTIFY_URL"]
    telling.environ |= {
        "ENTRYPOINT_LOG_FORMAT": form,
        "ENTRYPOINT_LOG_LEVEL": "debug",
        "ENTRYPOINT_ADMIN_URL": telling.server.url("postgres", admin, ADMIN_CANARY),
    }
    words = ["say", f"hook {hook}", "say", f"admin {ADMIN_CANARY}", "say", "\x1b[31mred\x1b[0m"]
    telling.push = python("push", "say-url", *words, "exit", "1")
    program = telling.start()

    assert program.wait() == 7
    data = posted(receiver)
    text = json.dumps(data, ensure_ascii=False)
    assert "connecting to" in text
    assert "hook ****" in text
    assert_hidden(text, CANARY, ADMIN_CANARY, "c4n4ry-of-a-hook")
    assert_hidden(program.output, CANARY, ADMIN_CANARY, "c4n4ry-of-a-hook")
    assert "\x1b" not in "".join(data["lines"])
    assert all("\n" not in line for line in data["lines"])
    assert len(data["lines"]) <= 20


def test_only_the_last_lines_are_told(telling: Stage, receiver: Site) -> None:
    """Twenty of them, the failure's the last one."""
    telling.push = python("push", "flood", "100", "exit", "1")
    program = telling.start()

    assert program.wait() == 7
    lines = posted(receiver)["lines"]
    assert len(lines) == 20
    assert json.loads(lines[-1])["event"] == "push.failed"
    assert json.loads(lines[0])["line"].startswith("line 81 ")


LONG = """
import sys
sys.stdout.reconfigure(encoding="utf-8")
for number in range(60):
    print(number, "\\x1b[31m\\x00\U0001f600 \\"quoted\\" \\\\" * 2000)
sys.exit(1)
"""


def test_long_lines_are_whole_documents(telling: Stage, receiver: Site) -> None:
    """A push that fails with much to say: no line is one that Docker would break, here or there."""
    script = telling.directory / "push.py"
    script.write_text(LONG)
    telling.push = [sys.executable, str(script)]
    program = telling.start()

    assert program.wait() == 7
    written = bytes(program.stderr).splitlines(keepends=True)
    assert max(map(len, written)) < 16_384
    assert all(isinstance(json.loads(line), dict) for line in written)
    failed = program.one("push.failed")
    assert failed["error"] == "the push command exited with code 1"
    assert (failed["remedy"], failed["exit_code"], failed["cut"]) == (
        "Correct the error in its lines and start again.",
        7,
        ["tail"],
    )
    assert failed["tail"][-1].startswith("... (cut)")
    assert program.all("push.printed")[0]["cut"] == ["line"]
    data = posted(receiver)
    assert (data["message"], data["code"]) == (failed["error"], 7)
    assert len(data["lines"]) == 20
    assert json.loads(data["lines"][-1])["event"] == "push.failed"
    assert max(len(line.encode()) for line in data["lines"]) < 16_384
