"""`entrypoint url`, and secrets: a password is shown where it is asked for, and nowhere else."""

from __future__ import annotations

import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from tests.operator.conftest import RPG, RPG_DB, SERVICES

if TYPE_CHECKING:
    from tests.operator.conftest import Answer, Operator

CANARY = "canary p@ss:w/o#r?d%$'\"\\&=+ é"


def of(answer: Answer) -> str:
    """The one line that it printed."""
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.endswith("\n")
    assert answer.out.count("\n") == 1
    return answer.out.rstrip("\n")


def params(url: str) -> dict[str, Any]:
    """What libpq understands by a URL."""
    return {key: value for key, value in conninfo_to_dict(url).items() if value is not None}


def test_masked_unless_asked(operator: Operator) -> None:
    """The password is stars; with --show-password the URL connects to the service's database."""
    where = f"@127.0.0.1:{operator.server.port}/{RPG_DB}"
    assert of(operator.run("url", RPG)) == f"postgresql://postgres:****{where}"

    shown = of(operator.run("url", RPG, "--show-password"))
    assert shown.endswith(where)
    with psycopg.connect(shown) as connection:
        assert connection.info.dbname == RPG_DB


def test_every_service_has_its_own(operator: Operator) -> None:
    """The registry's database replaces the URL's; no connection is made."""
    url = "postgresql://u:canary-password@nowhere.invalid/anything"
    for service, database in SERVICES.items():
        text = of(operator.run("url", service, environ={"DATABASE_URL": url}))
        assert text == f"postgresql://u:****@nowhere.invalid/{database}"


@pytest.mark.parametrize(
    ("password", "user", "database"),
    [
        ("simple-password", "user", "demo_db"),
        (CANARY, "user", "demo_db"),
        ("a@b:c/d", "us@er:na/me", "demo_db"),
        ("${HOME}$$`id`;!", "user", "we\"ird d'b; #?/%"),
        ("%41%zz", "user", "üñí\u202ecode"),
    ],
)
def test_special_characters(operator: Operator, password: str, user: str, database: str) -> None:
    """Percent-encoded, so that libpq and a shell's env file understand exactly what was meant."""
    environ = {
        **operator.registry(("demo", database, [])),
        "DATABASE_URL": f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@db:5433/x",
    }
    text = of(operator.run("url", "demo", "--show-password", environ=environ))

    expected = {"user": user, "password": password, "host": "db", "port": "5433"}
    assert params(text) == {**expected, "dbname": database}
    line = of(operator.run("url", "demo", "--show-password", "--env", environ=environ))
    assert line == f"DATABASE_URL={text}"
    path = operator.directory / "env"
    path.write_text(line)
    script = f'set -eu; . {shlex.quote(str(path))}; printf %s "$DATABASE_URL"'
    done = subprocess.run(["bash", "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout == text


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (
            "postgresql://u:canary-pw@a,b:5433/x",
            "postgresql://u:****@a:5432,b:5433/gaqno_rpg_db?target_session_attrs=read-write",
        ),
        (
            "postgresql://u:canary-pw@a:5432,[::1]:5433/x?target_session_attrs=any",
            "postgresql://u:****@a:5432,[::1]:5433/gaqno_rpg_db?target_session_attrs=any",
        ),
        ("postgresql://u@h/", "postgresql://u@h/gaqno_rpg_db"),
        ("postgresql://h", "postgresql://h/gaqno_rpg_db"),
        (
            "postgresql://u:canary-pw@h/x?sslmode=require&sslpassword=canary-2",
            "postgresql://u:****@h/gaqno_rpg_db?sslmode=require",
        ),
        (
            "host=h port=6543 user=u password='canary-pw' dbname=x sslmode=require",
            "postgresql://u:****@h:6543/gaqno_rpg_db?sslmode=require",
        ),
    ],
)
def test_every_form_of_url(operator: Operator, url: str, shown: str) -> None:
    """Several hosts, IPv6, parameters, key=value conninfo; a secret among them is left out."""
    text = of(operator.run("url", RPG, environ={"DATABASE_URL": url}))
    assert text == shown
    assert "canary" not in text


def test_several_hosts_connect(operator: Operator) -> None:
    """A URL with a server that is gone before one that is there leads to the one that is there."""
    port = operator.server.port
    url = operator.url.replace(f"127.0.0.1:{port}", f"127.0.0.1:1,127.0.0.1:{port}")

    shown = of(operator.run("url", RPG, "--show-password", environ={"DATABASE_URL": url}))

    with psycopg.connect(shown) as connection:
        assert (connection.info.dbname, connection.info.port) == (RPG_DB, port)
    assert operator.run("verify", environ={"DATABASE_URL": url}).code == 0


def test_a_socket_s_folder(operator: Operator) -> None:
    """A Unix socket is a host like any other."""
    folder, port = operator.server.socket_dir, operator.server.port
    environ = {"DATABASE_URL": f"host={folder} port={port} user=postgres"}

    shown = of(operator.run("url", RPG, environ=environ))

    with psycopg.connect(shown) as connection:
        assert connection.info.dbname == RPG_DB
    assert operator.run("verify", environ=environ).code == 0


def test_where_the_url_comes_from(operator: Operator) -> None:
    """--server, ENTRYPOINT_ADMIN_URL, DATABASE_URL, each also from a file; PG* say nothing."""
    (operator.directory / "url").write_text("postgresql://file@h/x\n")
    environ = {
        "DATABASE_URL": "postgresql://plain@h/x",
        "PGHOST": "elsewhere",
        "PGPASSWORD": "pg-pw",
    }
    admin = {**environ, "ENTRYPOINT_ADMIN_URL": "postgresql://admin@h/x"}
    for words, variables, user in (
        ([], environ, "plain"),
        ([], admin, "admin"),
        (["--server", "postgresql://named@h/x"], admin, "named"),
        ([], {"DATABASE_URL": "", "DATABASE_URL_FILE": "url"}, "file"),
        ([], {**environ, "ENTRYPOINT_ADMIN_URL_FILE": "url"}, "file"),
    ):
        answer = operator.run("url", RPG, "--show-password", *words, environ=variables)
        assert of(answer) == f"postgresql://{user}@h/{RPG_DB}"


@pytest.mark.parametrize(
    "words",
    [["verify"], ["status", "--json"], ["create"], ["url", RPG]],
    ids=" ".join,
)
@pytest.mark.parametrize("how", ["good", "wrong", "malformed", "server"])
def test_the_password_stays_where_it_is(operator: Operator, words: list[str], how: str) -> None:
    """Whatever happens, it is on neither descriptor, in none of its forms."""
    user = f"canary_{operator.directory.name}"
    secret = sql.Literal(CANARY).as_string(None)
    operator.execute(f'create role "{user}" superuser login password {secret}')
    password = quote(CANARY if how != "wrong" else f"{CANARY} wrong", safe="")
    at = "%40" if how == "malformed" else "@"
    url = f"postgresql://{user}:{password}{at}127.0.0.1:{operator.server.port}/postgres"
    named = ["--server", url] if how == "server" else []
    environ = {"DATABASE_URL": "" if how == "server" else url}

    answer = operator.run(*words, *named, environ=environ)

    refused = 5 if how == "wrong" and words[0] != "url" else 0
    assert answer.code == (3 if how == "malformed" else refused)
    said = answer.out + answer.err
    for form in (CANARY, quote(CANARY, safe=""), quote(CANARY), "canary p", "canary%20p"):
        assert form not in said


@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&-"])
def test_a_closed_descriptor(operator: Operator, closed: str) -> None:
    """Who closes stdin or stdout gets no traceback."""
    command = shlex.join([sys.executable, "-I", "-m", "entrypoint", "url", RPG])
    done = subprocess.run(
        ["sh", "-c", f"{command} {closed}"],
        env={"DATABASE_URL": operator.url, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, b"")
