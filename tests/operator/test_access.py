"""Which server operators' commands look at, as whom, and what they say of what they may not see."""

from __future__ import annotations

import re
import socket
import subprocess
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from entrypoint.config.environment import Environment
from entrypoint.operator.server import find, retold
from entrypoint.postgres import cause
from tests.operator.conftest import RPG, RPG_DB, SERVICES, create_database, create_role
from tests.support.program import until
from tests.support.server import Server
from tests.unit.test_sql import texts

if TYPE_CHECKING:
    from tests.operator.conftest import Operator

COMMANDS = ["verify", "status", "create"]


@pytest.fixture
def nowhere() -> str:
    """The URL of a port on which nobody listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    return f"postgresql://nobody:canary-password@127.0.0.1:{port}/nothing"


def port(operator: Operator) -> str:
    """How its server is named in an answer."""
    return f"127.0.0.1:{operator.server.port}"


@pytest.mark.parametrize("command", ["verify", "create"])
def test_which_server(operator: Operator, nowhere: str, command: str) -> None:
    """--server wins over ENTRYPOINT_ADMIN_URL, and that over DATABASE_URL."""
    admin, url = "ENTRYPOINT_ADMIN_URL", operator.url
    words = [command, "--json", "--service", RPG]
    for answer in (
        operator.run(*words),
        operator.run(*words, environ={admin: url, "DATABASE_URL": nowhere}),
        operator.run(*words, "--server", url, environ={admin: nowhere, "DATABASE_URL": nowhere}),
        operator.run(*words, "--server", url, environ={"DATABASE_URL": ""}),
    ):
        assert (answer.code, answer.json["server"], answer.err) == (0, port(operator), "")


def test_a_variable_that_the_file_names(operator: Operator, nowhere: str) -> None:
    """`database_url` of entrypoint.toml decides where the service's URL is."""
    (operator.directory / "entrypoint.toml").write_text('database_url = ["SERVICE_URL"]\n')
    environ = {"SERVICE_URL": operator.url, "DATABASE_URL": nowhere}
    assert operator.run("verify", environ=environ).code == 0


@pytest.mark.parametrize("variable", ["DATABASE_URL", "ENTRYPOINT_ADMIN_URL"])
def test_secrets_in_files(operator: Operator, variable: str) -> None:
    """A _FILE twin names a file with the URL; both at once is an error."""
    (operator.directory / "url").write_text(f"{operator.url}\n")
    environ = {"DATABASE_URL": "", f"{variable}_FILE": "url"}
    assert operator.run("verify", environ=environ).code == 0

    answer = operator.run("verify", environ={variable: operator.url, f"{variable}_FILE": "url"})
    assert answer.code == 3
    assert f"{variable} and {variable}_FILE are both set" in answer.failed()["error"]


def test_libpq_s_variables_do_not_steer(operator: Operator, nowhere: str) -> None:
    """PG* of the shell are for psql."""
    (operator.directory / "pg_service.conf").write_text("[there]\nhost=/nonexistent\n")
    environ = {
        "PGHOST": "/nonexistent",
        "PGHOSTADDR": "192.0.2.1",
        "PGPORT": "1",
        "PGDATABASE": "template1",
        "PGUSER": "nobody",
        "PGPASSWORD": "wrong",
        "PGOPTIONS": "-c default_transaction_isolation=nonsense",
        "PGSSLMODE": "verify-full",
        "PGAPPNAME": "psql",
        "PGSERVICE": "there",
        "PGSERVICEFILE": "pg_service.conf",
        "PGTARGETSESSIONATTRS": "standby",
        "PGCLIENTENCODING": "SQL_ASCII",
    }
    for command in ("verify", "create"):
        assert operator.run(command, environ=environ).code == 0
    answer = operator.run("verify", environ={**environ, "DATABASE_URL": nowhere})
    assert answer.code == 4


def test_no_operator_is_told_of_a_container() -> None:
    """Nor of the variable by which a start waits longer: of all that is said of servers."""
    folder = Path(cause.__file__).parent
    said = {text for path in folder.glob("*.py") for _, text, _ in texts("", path.read_text())}
    waits = {text for text in said if "raise ENTRYPOINT_WAIT_TIMEOUT" in text}
    here = {text for text in said if re.search(r"\b(this|the) container\b", text)}
    assert len(waits) > 3
    assert len(here) > 3
    for text in waits | here:
        assert "container" not in retold(text)
        assert "ENTRYPOINT_WAIT_TIMEOUT" not in retold(text)


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unreachable_server(operator: Operator, nowhere: str, command: str) -> None:
    """Exit 4, one event that names the server, and nothing that looks like an answer."""
    answer = operator.run(command, environ={"DATABASE_URL": nowhere})

    assert (answer.code, answer.out) == (4, "")
    failed = answer.failed()
    assert (failed["event"], failed["level"]) == (f"{command}.failed", "error")
    assert nowhere.partition("@")[2].partition("/")[0] in failed["error"]
    reached = "Check that the server runs and that this machine can reach it."
    assert failed["remedy"] == reached
    assert "canary-password" not in answer.err


@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_password(operator: Operator, command: str) -> None:
    """Exit 5 at once, whichever databases there are to try."""
    url = operator.server.url("postgres", "postgres", "canary-password")
    answer = operator.run(command, environ={"DATABASE_URL": url})

    assert (answer.code, answer.out) == (5, "")
    assert "28P01" in answer.failed()["error"]
    assert "DATABASE_URL" in answer.failed()["remedy"]
    assert "canary-password" not in answer.err


def test_no_server_at_all(operator: Operator) -> None:
    """Exit 3, and where one may be named."""
    for words in (["verify"], ["url", RPG]):
        answer = operator.run(*words, environ={"DATABASE_URL": ""})
        assert (answer.code, answer.out) == (3, "")
        assert "--server URL, ENTRYPOINT_ADMIN_URL or DATABASE_URL" in answer.failed()["remedy"]


def test_an_unknown_service(operator: Operator) -> None:
    """Exit 3 with the nearest name, whatever the command; every problem at once."""
    for words in (["create", "--service"], ["url"]):
        for name in ("gaqno-rgp-service", "rpg"):
            answer = operator.run(*words, name)
            assert (answer.code, answer.out) == (3, "")
            assert answer.failed()["error"].endswith(f"the nearest is {RPG}")
    answer = operator.run("verify", "--service", "x", "--service", "y", "--server", "http://h")
    problems = answer.failed()["problems"]
    assert [problem.split()[0] for problem in problems] == ["--server", "the", "the"]


def test_a_broken_registry(operator: Operator) -> None:
    """Exit 3 with what is wrong in it."""
    (operator.directory / "services.toml").write_text("[a]\nprefix = ['a_']\n")
    answer = operator.run("verify", environ={"ENTRYPOINT_SERVICES": "services.toml"})
    assert answer.code == 3
    assert all("ENTRYPOINT_SERVICES: a: " in p for p in answer.failed()["problems"])


def forbidden(answer: Any) -> list[str]:  # noqa: ANN401  verify's failures or status' rows
    """The databases that could not be looked at, each with exit 5 and a remedy."""
    failures = answer.json.get("failures") or [row["failure"] for row in answer.json["services"]]
    found = [failure for failure in failures if failure]
    assert {failure["exit_code"] for failure in found} <= {5}
    assert all("GRANT CONNECT" in failure["remedy"] for failure in found)
    return [failure["database"] for failure in found]


def test_a_forbidden_database(operator: Operator) -> None:
    """It spoils its own row and the exit code; the strays of the others are told as ever."""
    url = create_role(operator.server, "partial")
    others = [name for name in SERVICES.values() if name != RPG_DB]
    for name in others:
        operator.execute(f"grant connect on database {name} to partial")
    operator.execute("create table sso_stray (id int)", "gaqno_ai_db")
    environ = {"DATABASE_URL": url}

    answer = operator.run("verify", "--json", environ=environ)
    assert answer.code == 5
    assert forbidden(answer) == [RPG_DB]
    assert answer.json["databases"] == ["postgres", *others]
    assert [found["object"] for found in answer.findings] == ["sso_stray"]

    assert (
        operator.run("verify", environ=environ)
        .out.splitlines()[-1]
        .endswith("1 misplaced, 0 notices, 1 failure")
    )
    assert operator.run("verify", "--service", RPG, environ=environ).code == 5
    assert operator.run("verify", "--service", "gaqno-sso-service", environ=environ).code == 0

    answer = operator.run("status", "--json", environ=environ)
    assert answer.code == 5
    assert forbidden(answer) == [RPG_DB]
    assert {row["database"]: row["tables"] for row in answer.rows} == {
        **dict.fromkeys(others, 0),
        "gaqno_ai_db": 1,
        RPG_DB: None,
    }
    assert [row["size_bytes"] is None for row in answer.rows if row["database"] == RPG_DB] == [True]


def test_a_database_that_takes_no_connections(operator: Operator) -> None:
    """Refused by the server for everybody: could not be looked at."""
    operator.execute(f"alter database {RPG_DB} allow_connections false")
    try:
        answer = operator.run("verify", "--json")
    finally:
        operator.execute(f"alter database {RPG_DB} allow_connections true")
    assert answer.code == 5
    assert [failed["database"] for failed in answer.json["failures"]] == [RPG_DB]
    assert RPG_DB not in answer.json["databases"]


def fleet(stranger: Operator) -> None:
    """Create the six databases."""
    for name in SERVICES.values():
        create_database(stranger.server, name)


def test_a_role_with_one_database(stranger: Operator) -> None:
    """May not connect to `postgres`: it gets an answer about its own, and exit 5 for the rest."""
    fleet(stranger)
    create_role(stranger.server, "rpg")
    stranger.execute("revoke connect on database postgres from public")
    stranger.execute(f"alter database {RPG_DB} owner to rpg")
    stranger.execute("create table sso_stray (id int)", RPG_DB)
    environ = {"DATABASE_URL": stranger.server.url(RPG_DB, "rpg", "its-password")}

    answer = stranger.run("verify", "--json", environ=environ)
    assert answer.code == 5
    assert answer.json["databases"] == [RPG_DB]
    assert forbidden(answer) == ["postgres", *(n for n in SERVICES.values() if n != RPG_DB)]
    assert "sso_stray" in [found["object"] for found in answer.findings]

    answer = stranger.run("status", "--json", "--service", RPG, environ=environ)
    assert (answer.code, [row["tables"] for row in answer.rows]) == (0, [1])
    assert stranger.run("create", environ=environ).code == 0


@pytest.mark.parametrize("how", ["missing", "forbidden"])
def test_another_maintenance_database(stranger: Operator, how: str) -> None:
    """Where `postgres` is missing or forbidden, `defaultdb` does."""
    create_database(stranger.server, "defaultdb")
    create_role(stranger.server, "admin", "createdb")
    stranger.execute("grant connect on database defaultdb to admin")
    if how == "missing":
        stranger.execute("drop database postgres", "defaultdb")
    else:
        stranger.execute("revoke connect on database postgres from public")
    environ = {"DATABASE_URL": stranger.server.url("ignored", "admin", "its-password")}

    assert stranger.run("create", environ=environ).code == 0
    answer = stranger.run("verify", "--json", environ=environ)
    assert answer.findings == []
    assert answer.code == (0 if how == "missing" else 5)
    assert answer.json["databases"] == list(SERVICES.values())
    assert stranger.run("status", environ=environ).code == 0


def test_a_named_maintenance_database(stranger: Operator) -> None:
    """ENTRYPOINT_MAINTENANCE_DATABASE is the one, and is claimed by it."""
    fleet(stranger)
    create_database(stranger.server, "upkeep")
    environ = {"ENTRYPOINT_MAINTENANCE_DATABASE": "upkeep"}
    stranger.execute("drop database postgres", "upkeep")

    answer = stranger.run("verify", "--json", "--strict", environ=environ)
    assert (answer.code, answer.findings) == (0, [])
    assert answer.json["databases"] == list(SERVICES.values())
    assert stranger.run("verify", environ={"DATABASE_URL": stranger.server.url("no")}).code == 5


def test_sizes_for_those_who_may_know(operator: Operator) -> None:
    """A monitoring role knows the size even of what it may not connect to."""
    url = create_role(operator.server, "monitor", "in role pg_monitor")

    rows = operator.run("status", "--json", environ={"DATABASE_URL": url}).rows

    assert all(row["size_bytes"] > 1_000_000 and row["failure"] for row in rows)


def written(server: Server) -> list[Any]:
    """Rows that were written in each database, once all sessions but this one are gone."""
    with server.connect() as connection:
        others = (
            "select from pg_stat_activity where datname is not null and pid <> pg_backend_pid()"
        )
        until(lambda: not connection.execute(others).rowcount, "all sessions are gone")
        query = (
            "select datname, tup_inserted, tup_updated, tup_deleted, temp_files, sessions_killed"
            " from pg_stat_database order by 1"
        )
        return connection.execute(query).fetchall()


def dump(server: Server) -> list[bytes]:
    """All databases as pg_dumpall writes them."""
    where = ["--host", str(server.socket_dir), "--port", str(server.port), "--username", "postgres"]
    command = [str(server.pg_bin / "pg_dumpall"), *where]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=60)
    lines = done.stdout.splitlines()
    return [line for line in lines if not line.startswith((b"\\restrict", b"\\unrestrict"))]


def test_nothing_is_written(operator: Operator) -> None:
    """By no command that only looks or prints: same rows, same dump of the server."""
    with Server.start(settings={"autovacuum": "off"}) as server:
        operator.server = server
        environ = {"DATABASE_URL": server.url()}
        assert operator.run("create", "--service", RPG, environ=environ).code == 0
        operator.execute("create table rpg_x (id int); create sequence s", RPG_DB)
        operator.execute("create table rpg_y (id int); create materialized view v as select 1")
        before, dumped = written(server), dump(server)

        looks = ["verify"], ["status"], ["create", "--dry-run"], ["url", RPG], ["env", RPG]
        scripts = ["create", "--sql"], ["verify", "--sql"]
        pages = ["verify", "--html", "verify.html"], ["status", "--html", "status.html"]
        answers = [operator.run(*words, environ=environ) for words in (*looks, *scripts, *pages)]

        assert [answer.code for answer in answers] == [9, 0, 0, 0, 0, 0, 0, 9, 0]
        assert dump(server) == dumped
        assert written(server) == before


def test_no_query_over_catalogs_is_compiled(operator: Operator) -> None:
    """A session of an operator's command has no JIT, which takes longer than what it compiles."""
    server = find(Environment({}), operator.server.url(), [], [])
    with closing(server.session("postgres")) as session:
        assert session.connection.execute("show jit").fetchall() == [("off",)]


@pytest.mark.parametrize("kind", ["standby", "read-only"])
def test_a_server_that_accepts_no_writes(stranger: Operator, kind: str) -> None:
    """It is looked at all the same; what writes is refused, with what to do."""
    stranger.execute("create table rpg_x (id int)")
    stranger.execute("create database gaqno_rpg_db")
    if kind == "standby":
        (stranger.server.data / "standby.signal").touch()
        stranger.server.restart()
    else:
        stranger.execute("alter role postgres set default_transaction_read_only = on")
    found = stranger.run("verify", "--json", "--service", RPG)
    assert (found.code, [f["object"] for f in found.findings if f["object"]]) == (9, ["rpg_x"])
    [row] = stranger.run("status", "--json", "--service", RPG).rows
    assert (row["exists"], row["tables"], row["failure"]) == (True, 0, None)
    refused = stranger.run("create")
    assert refused.code == 4
    words = "Point DATABASE_URL" if kind == "standby" else "Reset default_transaction_read_only"
    assert words in refused.failed()["remedy"]
