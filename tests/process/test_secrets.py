"""A canary password reaches no output, argv, file, or process that has no need of it."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from psycopg import sql

from tests.support.program import Program, python
from tests.support.stage import Stage, service

if TYPE_CHECKING:
    from pathlib import Path

CANARY = "k4nary/P@ss:w#rd%?\"'\\ü"
ADMIN_CANARY = "adm1n-k4nary"

SPY = """
for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline 2>/dev/null; echo; done
env
"""


def forms(secret: str) -> list[str]:
    """Every way in which somebody may have written it, and its halves."""
    half = len(secret) // 2
    return [secret, quote(secret, safe=""), quote(secret), secret[:half], secret[half:]]


def assert_hidden(text: str, *secrets: str) -> None:
    for secret in secrets:
        for form in forms(secret):
            assert form not in text


@pytest.fixture
def canary(stage: Stage) -> Stage:
    """A stage whose role has the canary as its password, and an admin with one of his own."""
    stage.password = CANARY
    with stage.server.connect() as connection:
        statement = sql.SQL("alter role {} password {}")
        connection.execute(statement.format(sql.Identifier(stage.user), CANARY))
    stage.environ["ENTRYPOINT_LOG_LEVEL"] = "debug"
    return stage


def files_with(folder: Path, secret: str) -> list[str]:
    """Which files below a folder hold a secret."""
    return [
        str(path)
        for path in folder.rglob("*")
        if path.is_file() and any(form.encode() in path.read_bytes() for form in forms(secret)[:2])
    ]


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_push_that_prints_its_url(canary: Stage, form: str) -> None:
    """What the child says is masked, whole or in parts, also when it fails."""
    canary.environ["ENTRYPOINT_LOG_FORMAT"] = form
    canary.push = python("push", "say-url", "exit", "1")
    program = canary.start(*service())

    assert program.wait() == 7
    assert "****" in program.output
    assert "connecting to" in program.output
    assert_hidden(program.output, CANARY)
    assert files_with(canary.directory, CANARY) == []


def test_no_argv_and_no_needless_environment(canary: Stage) -> None:
    """The admin's URL is in nobody's environment and argv; the service's URL in no argv."""
    canary.environ["ENTRYPOINT_ADMIN_URL"] = canary.server.url().replace(
        canary.server.password, quote(canary.server.password)
    )
    canary.push = ["sh", "-c", f"{shlex.join(canary.push)}; {SPY}"]
    canary.seed = ["true"]
    program = canary.start("sh", "-c", SPY)

    assert program.wait() == 0, program.output
    seen = "\n".join(event["line"] for event in program.all("push.printed"))
    assert "DATABASE_URL=****" in seen
    for text in (program.stdout.decode(), seen):
        assert "ENTRYPOINT_ADMIN_URL" not in text
        assert canary.server.password not in text
    argvs = program.stdout.decode().partition("DATABASE_URL=")[0]
    assert_hidden(argvs.partition("PATH=")[0], CANARY)


@pytest.mark.parametrize(
    "url",
    [
        "postgres://u:{raw}@127.0.0.1:1/d",
        "postgres://u:{raw}@127.0.0.1:port/d",
        "postgres://u:{escaped}@127.0.0.1:1/postgres",
        "postgres://u:{escaped}@/d",
        "postgres://u:{escaped}",
        "'postgres://u:{escaped}@127.0.0.1:1/d'",
        "u:{escaped}@127.0.0.1/d",
        "host=127.0.0.1 port=1 dbname=d user=u password='{escaped}",
        "host=127.0.0.1 port=x dbname=d user=u password={escaped}",
        "postgres://u@127.0.0.1:1/d?password={escaped}&sslmode=nope",
        "jdbc:postgresql://127.0.0.1/d?user=u&password={escaped}",
        "{raw}",
    ],
)
@pytest.mark.parametrize("name", ["DATABASE_URL", "ENTRYPOINT_ADMIN_URL", "ENTRYPOINT_DIRECT_URL"])
def test_a_wrong_url_is_refused_without_quoting_it(stage: Stage, url: str, name: str) -> None:
    """Whatever is wrong with it."""
    value = url.format(raw=CANARY, escaped=quote(CANARY, safe=""))
    stage.environ |= {name: value, "ENTRYPOINT_LOG_LEVEL": "debug", "ENTRYPOINT_WAIT_TIMEOUT": "0"}
    program = stage.start()

    assert program.wait() == 3 or (name == "ENTRYPOINT_ADMIN_URL" and program.wait() in (0, 4))
    assert_hidden(program.output, CANARY)


def test_a_wrong_password_is_not_in_the_refusal(canary: Stage) -> None:
    """The messages of libpq quote the URL in places."""
    canary.password = CANARY + "x"
    program = canary.start()

    assert program.wait() == 5
    assert_hidden(program.output, CANARY)


def test_a_crash_of_ours_is_masked(canary: Stage) -> None:
    """A bug's traceback goes through the mask like everything else."""
    canary.environ |= {"ENTRYPOINT_SERVICES": "services.toml"}
    (canary.directory / "services.toml").write_text("demo = 1")
    program = canary.start()

    assert program.wait() == 3
    assert_hidden(program.output, CANARY)


def test_debug_level_says_no_more(canary: Stage) -> None:
    """A whole start at debug level, environment with every secret form."""
    path = canary.directory.parent / f"{canary.directory.name}-secret"
    path.write_text(canary.url + "\n")
    environ = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL_FILE": str(path),
        "ENTRYPOINT_ADMIN_URL": canary.url.replace(canary.database, "postgres"),
        "ENTRYPOINT_DIRECT_URL": canary.url,
        "ENTRYPOINT_LOG_LEVEL": "debug",
        "SEED_TENANT_ID": "6f1c2b3a-9d4e-4f50-8a61-7b2c3d4e5f60",
    }
    canary.push = python("push", "say-url")
    canary.write_settings()
    program = Program.start("run", "--", "env", environ=environ, directory=canary.directory)

    assert program.wait() == 0, program.output
    assert_hidden(program.stderr.decode(), CANARY)
    assert f"DATABASE_URL={canary.url}\n" in program.stdout.decode()
    assert "ENTRYPOINT_ADMIN_URL" not in program.stdout.decode()
    path.unlink()


FLOOD = """
import os, sys
for number in range(12_000):
    print("line", number, "of", os.environ["DATABASE_URL"])
print("psql:x.sql:1: ERROR:  in", os.environ["DATABASE_URL"], flush=True)
sys.exit(3)
"""


def test_lines_past_the_last_that_is_logged(canary: Stage) -> None:
    """They are not masked one by one, but what of them gets into the error is."""
    script = canary.directory / "push.py"
    script.write_text(FLOOD)
    canary.push = [sys.executable, str(script)]
    program = canary.start()

    assert program.wait() == 7
    failed = program.one("push.failed")
    assert failed["error"].endswith("ERROR:  in ****")
    assert failed["tail"][-2] == "line 11999 of ****"
    assert program.one("push.output_truncated")["lines"] == 12_001
    assert_hidden(program.output, CANARY)
