"""Why nobody lets us in: the kernel, our libpq, the server or a pooler, each with its words."""

from __future__ import annotations

import shutil
import socket
import struct
import threading
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import pytest
from psycopg import errors

from entrypoint.postgres import sqlstates
from tests.process.test_pooler import behind
from tests.support.pooler import PROGRAM
from tests.support.program import namespaces, python, with_hosts
from tests.support.server import Server
from tests.support.stage import Stage

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import RoleFactory
    from tests.support.program import Program

pooled = pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed")


def refused(program: Program) -> dict[str, Any]:
    """How a start ended that gave up at once, with nothing done."""
    assert program.wait(timeout=20) == 5, program.output
    assert program.all("wait.retry_scheduled") == []
    assert not {"lock.started", "push.started", "handoff.executed"} & {*program.names()}
    [failure] = [event for event in program.events if event["event"].endswith(".failed")]
    assert failure["exit_code"] == 5
    return failure


def with_parameters(stage: Stage, **parameters: str) -> str:
    """The stage's URL with these as well."""
    query = "&".join(f"{key}={quote(value, safe='')}" for key, value in parameters.items())
    return f"{stage.url}?{query}"


@pytest.fixture
def far(own_server: Server, tmp_path: Path) -> Stage:
    """A stage on a server that is reached by TCP only from a namespace with a way to it."""
    with own_server.connect() as connection:
        connection.execute("create role own login createdb password 'own-password'")
    return Stage(tmp_path, own_server, "own_db", "own", "own-password")


def through(stage: Stage) -> list[str]:
    """What starts the program where no address has a route until the stage's gate is there."""
    server = stage.server
    assert isinstance(server, Server)
    listens = f"{server.socket_dir}/.s.PGSQL.{server.port}"
    return [
        *namespaces("--net"),
        *python("far_server", str(stage.gate), str(server.port), listens),
    ]


@pytest.mark.parametrize("address", ["127.0.0.1", "203.0.113.9", "[2001:db8::9]"])
def test_an_address_without_a_route(far: Stage, address: str) -> None:
    """It is waited for, exit 4 says that the network has no way there, for IPv6 how to get one."""
    far.environ |= {
        "DATABASE_URL": far.url.replace("127.0.0.1", address),
        "ENTRYPOINT_WAIT_TIMEOUT": "0.5",
    }
    program = far.start(through=through(far))

    assert program.wait() == 4, program.output
    failure = program.one("wait.failed")
    assert "no route to the server" in failure["error"]
    assert failure["attempts"] > 1
    assert address.strip("[]") in failure["remedy"]
    assert ("IPv4 address" in failure["remedy"]) == ("[" in address)
    assert "own-password" not in program.output


def test_a_route_that_comes_later(far: Stage) -> None:
    """The start goes on when the network is there, and so do the second and the third."""
    program = far.start(through=through(far))
    assert "no route to the server" in program.until("wait.retry_scheduled")["cause"]
    far.gate.touch()

    assert program.wait() == 0, program.output
    for _ in range(2):
        assert far.start().wait() == 0


def test_a_wrong_parameter_where_no_route_is(far: Stage) -> None:
    """Where even the loopback has no way, nothing is said about parameters that may be right."""
    far.environ |= {
        "DATABASE_URL": with_parameters(far, keepalives_idle="30"),
        "ENTRYPOINT_WAIT_TIMEOUT": "0.5",
    }
    program = far.start(through=through(far))

    assert program.wait() == 4, program.output
    assert "no route to the server" in program.one("wait.failed")["error"]


def test_one_of_two_addresses_answers(far: Stage, tmp_path: Path) -> None:
    """What the server said at one address of a name decides, not that nobody was at the other."""
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.9 two.test\n127.0.0.1 two.test\n")
    far.environ["DATABASE_URL"] = far.url.replace("127.0.0.1", "two.test").replace("own-p", "no-p")

    failure = refused(far.start(through=with_hosts(hosts)))

    assert "28P01" in failure["error"]


OURS = {
    "channel_binding": "require",
    "require_auth": "md5",
    "keepalives_idle": "soon",
    "tcp_user_timeout": "x",
    "ssl_min_protocol_version": "TLSv9",
    "load_balance_hosts": "yes",
    "service": "no_such_service",
}


@pytest.mark.parametrize("name", OURS)
def test_a_parameter_that_libpq_refuses(stage: Stage, name: str) -> None:
    """Exit 5 at once with the parameter's name; the remedy takes it out, and the start succeeds."""
    stage.environ["DATABASE_URL"] = with_parameters(stage, **{name: OURS[name]})
    program = stage.start()

    failure = refused(program)

    assert name in failure["remedy"]
    assert "DATABASE_URL" in failure["remedy"]
    assert "libpq" in failure["error"]
    assert stage.password not in program.output
    del stage.environ["DATABASE_URL"]
    assert stage.start().wait() == 0


def test_a_refused_parameter_of_a_server_that_is_down(far: Stage) -> None:
    """No server is needed to know that it is wrong: exit 5 at once."""
    assert isinstance(far.server, Server)
    far.server.stop()
    far.environ["DATABASE_URL"] = with_parameters(far, keepalives_idle="soon")

    assert "keepalives_idle" in refused(far.start())["remedy"]


def test_tls_without_being_asked(stage: Stage) -> None:
    """A server that wants to be asked for TLS tells so by its answer to the question."""
    parameters = {"sslnegotiation": "direct", "sslmode": "require"}
    stage.environ["DATABASE_URL"] = with_parameters(stage, **parameters)

    assert "sslnegotiation" in refused(stage.start())["remedy"]


SETTINGS = {
    "42601": "project=ep-blue-sky-1",  # Neon's, left over after a move
    "42704": "-c no_such_setting=1",
    "55P02": "-c shared_buffers=1MB",
    "22023": "-c work_mem=much",
    "42501": "-c log_min_messages=debug1",
}


@pytest.mark.parametrize("code", SETTINGS)
def test_options_that_the_server_refuses(stage: Stage, code: str) -> None:
    """Exit 5 at once; the remedy is about options, not a timeout or a GRANT, and mends it."""
    stage.environ["DATABASE_URL"] = with_parameters(stage, options=SETTINGS[code])
    failure = refused(stage.start())

    assert f"({code})" in failure["error"]
    assert "options in DATABASE_URL" in failure["remedy"]
    assert "TIMEOUT" not in failure["remedy"]
    assert "GRANT" not in failure["remedy"]
    del stage.environ["DATABASE_URL"]
    assert stage.start().wait() == 0


@pooled
def test_options_that_the_pooler_refuses(stage: Stage) -> None:
    """PgBouncer's own words, and how it can be made to take them."""
    for through_it in behind(stage, mode="transaction", auth="scram-sha-256"):
        through_it.environ["DATABASE_URL"] += "?options=-c%20work_mem%3D8MB"
        failure = refused(through_it.start())
        assert "a pooler said: unsupported startup parameter: options" in failure["error"]
        assert "ignore_startup_parameters" in failure["remedy"]


def test_a_login_trigger_that_refuses(own_server: Server, tmp_path: Path) -> None:
    """The error's words are told and not those of a notice; the remedy's statement mends it."""
    with own_server.connect() as connection:
        connection.execute("create role own login createdb password 'own-password'")
        connection.execute("create database own_db owner own")
    with own_server.connect("own_db") as connection:
        connection.execute(
            """create function nobody() returns event_trigger language plpgsql as $$
            begin
              if session_user <> 'postgres' then
                raise notice 'welcome to own_db'; raise exception 'not before noon';
              end if;
            end $$"""
        )
        connection.execute("create event trigger shut on login execute function nobody()")
        connection.execute("alter event trigger shut enable always")
    stage = Stage(tmp_path, own_server, "own_db", "own", "own-password")

    failure = refused(stage.start())

    assert "not before noon (P0001)" in failure["error"]
    assert "welcome" not in failure["error"]
    assert "ALTER EVENT TRIGGER ... DISABLE" in failure["remedy"]
    with own_server.connect("own_db") as connection:
        connection.execute("alter event trigger shut disable")
    assert stage.start().wait() == 0


def test_full_slots_have_their_own_remedy(own_server: Server, tmp_path: Path) -> None:
    """53300 is waited for, and what limits the connections is named."""
    with own_server.connect() as connection:
        connection.execute(
            "create role own login createdb connection limit 0 password 'own-password'"
        )
    stage = Stage(tmp_path, own_server, "own_db", "own", "own-password")
    stage.environ["ENTRYPOINT_WAIT_TIMEOUT"] = "0.5"
    program = stage.start()

    assert program.wait() == 4
    assert "CONNECTION LIMIT" in program.one("wait.failed")["remedy"]
    with own_server.connect() as connection:
        connection.execute("alter role own connection limit -1")
    assert stage.start().wait() == 0


class Says:
    """What answers a login with these bytes: a pooler that cannot be had here."""

    def __init__(self, answer: bytes, tls: bytes = b"N", first: bytes = b"") -> None:
        self.answer, self.tls, self.first = answer, tls, first
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"postgres://u:s3cr3t-p@127.0.0.1:{self._listener.getsockname()[1]}/d"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), closing(connection):
            if len(connection.recv(8)) == 8:
                connection.sendall(self.tls)
            connection.recv(4096)
            connection.sendall(self.answer)
            connection.recv(4096)  # a query, or the end
            connection.sendall(self.first)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def message(kind: bytes, **fields: str | bytes) -> bytes:
    """A message of the protocol whose fields have a letter each, in this order."""
    body = b""
    for letter, value in fields.items():
        body += letter.encode() + (value.encode() if isinstance(value, str) else value) + b"\0"
    body += b"\0"
    return kind + struct.pack("!i", len(body) + 4) + body


def error(code: str, text: str | bytes) -> bytes:
    """An ErrorResponse as poolers write it: no word of a file, line or routine."""
    return message(b"E", S="FATAL", V="FATAL", C=code, M=text)


READY = b"Z\0\0\0\5I"
AUTHENTICATED = b"R\0\0\0\x08\0\0\0\0"

REFUSING = {
    # supavisor: lib/supavisor/client_handler.ex before 71eb86b7, HandlerHelpers.send_error
    "Supavisor": (error("XX000", "Tenant or user not found"), "Tenant or user not found"),
    # supavisor: error.ex, protocol/server.ex encode_error_message, which sorts the fields
    "Supavisor now": (
        message(b"E", C="XX000", M="(ENOTFOUND) tenant/user u.x not found", S="FATAL"),
        "(ENOTFOUND) tenant/user u.x not found",
    ),
    # pgcat: client.rs, messages.rs error_response, which goes on with ReadyForQuery
    "pgcat": (
        error("58000", 'No pool configured for database: "d", user: "u"') + READY,
        'No pool configured for database: "d", user: "u"',
    ),
    # pgbouncer: client.c set_pool, objects.c disconnect_client
    "PgBouncer": (error("08P01", "no such user: u"), "no such user: u"),
}


@pytest.mark.parametrize(("answer", "words"), REFUSING.values(), ids=REFUSING)
def test_a_pooler_that_refuses(stage: Stage, answer: bytes, words: str) -> None:
    """Exit 5 at once with its words; the remedy is about user, password, name, and a way past."""
    with Says(answer) as pooler:
        stage.environ["DATABASE_URL"] = pooler.url
        program = stage.start()
        failure = refused(program)

    assert f"a pooler said: {words}" in failure["error"]
    assert "the user" in failure["remedy"]
    assert "the database's name in DATABASE_URL" in failure["remedy"]
    assert "ENTRYPOINT_DIRECT_URL" in failure["remedy"]
    assert "server runs" not in failure["remedy"]
    assert "s3cr3t-p" not in program.output


WAITING = {
    # odyssey: frontend.c, KIWI_CONNECTION_FAILURE
    "Odyssey": (error("08006", "failed to connect to remote server c1"), "in front of the server"),
    # supavisor has it in its max_connections_error.ex
    "Supavisor": (
        error("XX000", "(EMAXCONN) max client connections reached, limit: 200"),
        "the pooler's",
    ),
    # supavisor: lib/supavisor/client_handler.ex before there was that file
    "Supavisor before": (error("XX000", "Max client connections reached"), "the pooler's"),
    "Supavisor's sessions": (
        error("XX000", "MaxClientsInSessionMode: max clients reached - in Session mode"),
        "the pooler's",
    ),
}


@pytest.mark.parametrize(("answer", "remedy"), WAITING.values(), ids=WAITING)
def test_a_pooler_that_is_waited_for(stage: Stage, answer: bytes, remedy: str) -> None:
    """What may pass is waited for, exit 4, with the pooler's words."""
    with Says(answer) as pooler:
        stage.environ |= {"DATABASE_URL": pooler.url, "ENTRYPOINT_WAIT_TIMEOUT": "0.5"}
        program = stage.start()
        assert program.wait() == 4, program.output

    failure = program.one("wait.failed")
    assert "a pooler said: " in failure["error"]
    assert remedy in failure["remedy"]


def test_a_pooler_that_does_not_say_what_is_wrong(stage: Stage) -> None:
    """Neon's proxy has one code for all: it is waited for, with its words and how to get past."""
    words = "Control plane request failed"  # neon: proxy/src/stream.rs throw_error, XX000
    with Says(error("XX000", words)) as pooler:
        stage.environ |= {"DATABASE_URL": pooler.url, "ENTRYPOINT_WAIT_TIMEOUT": "0.5"}
        program = stage.start()
        assert program.wait(timeout=60) == 4, program.output

    failure = program.one("database.failed")
    assert f"a pooler said: {words}" in failure["error"]
    assert "ENTRYPOINT_DIRECT_URL" in failure["remedy"]


def test_a_server_that_cannot_fork(stage: Stage) -> None:
    """Its postmaster says so in the oldest protocol, without a code: waited for, with its words."""
    words = "could not fork new process for connection: Resource temporarily unavailable"
    with Says(
        f"E{words}\n\0".encode(), tls=b""
    ) as server:  # postmaster.c report_fork_failure_to_client
        stage.environ |= {
            "DATABASE_URL": f"{server.url}?sslmode=disable",
            "ENTRYPOINT_WAIT_TIMEOUT": "0.5",
        }
        program = stage.start()
        assert program.wait() == 4, program.output

    assert f"the server said: {words}" in program.one("wait.failed")["error"]


NASTY = "über\x1b[31m".encode() + b"\xff\xfe\r\n\tx " + b"y" * 20_000


def test_the_words_are_the_error_s_and_clean(stage: Stage) -> None:
    """No notice before it, no control character, no line end, and a bounded length."""
    notice = message(b"N", S="NOTICE", V="NOTICE", C="00000", M="maintenance on Sunday")
    with Says(AUTHENTICATED + notice + error("28P01", NASTY) + notice) as pooler:
        stage.environ["DATABASE_URL"] = pooler.url
        failure = refused(stage.start())

    assert "über [31m" in failure["error"]
    assert "maintenance" not in failure["error"]
    assert failure["error"].isprintable()
    assert len(failure["error"]) < 600
    assert "the password in DATABASE_URL" in failure["remedy"]


def test_a_certificate_that_is_not_there(stage: Stage, tmp_path: Path) -> None:
    """What libpq has against the files is quoted, and no password."""
    with Says(b"", tls=b"S") as server:
        missing = tmp_path / "client.crt"
        missing.write_text("")
        url = f"{server.url}?sslmode=require&sslcert={missing}&sslkey=/nowhere/client.key"
        stage.environ["DATABASE_URL"] = url
        program = stage.start()
        failure = refused(program)

    assert str(missing) in failure["error"]
    assert "certificates" in failure["remedy"]
    assert "s3cr3t-p" not in program.output


NOT_AT_A_LOGIN = {
    *("02 03 09 0B 0F 0L 0P 0Z 10 20 21 24 26 27 2B 2D 34 3B 3F 44 54 72 HV".split()),  # noqa: SIM905
}
"""Classes of errcodes.txt that only statements raise."""


def test_every_code_has_a_verdict() -> None:
    """No class of errcodes.txt was forgotten: it has a line, or no login meets it."""
    classes = {code[:2] for code in errors._sqlcodes if code[2:].isalnum() and len(code) == 5}  # noqa: SLF001
    numbers = {each for each in classes if each[0].isdigit() or each in ("F0", "HV", "P0", "XX")}
    known = {code[:2] for code in sqlstates.CODES}

    assert numbers - known == NOT_AT_A_LOGIN
    assert not known & NOT_AT_A_LOGIN
    for verdict in sqlstates.CODES.values():
        assert verdict.remedy.format(url="DATABASE_URL")


@pooled
@pytest.mark.parametrize("auth", ["md5", "plain"])
def test_a_wrong_password_behind_older_authentication(stage: Stage, auth: str) -> None:
    """PgBouncer's one code for everything hides it no longer: exit 5 at once, and its words."""
    for through_it in behind(stage, mode="transaction", auth=auth):
        url = through_it.environ["DATABASE_URL"]
        through_it.environ["DATABASE_URL"] = url.replace(
            f":{quote(stage.password, safe='')}@", ":x@"
        )
        failure = refused(through_it.start())
        assert "authentication failed" in failure["error"]
        assert "the password" in failure["remedy"]


@pooled
def test_a_database_that_was_dropped_behind_the_pooler(stage: Stage) -> None:
    """PgBouncer lets the role in as before and says at the first query that there is none."""
    for through_it in behind(stage, mode="transaction", auth="scram-sha-256"):
        assert through_it.start().wait() == 0
        with stage.server.connect() as connection:
            connection.execute(f"drop database {stage.database} with (force)".encode())
        program = through_it.start()

        assert program.wait(timeout=60) == 0, program.output
        assert program.one("database.finished")["created"] is True


LET_IN = [
    # pgcat: client.rs, no server of the pool answers the first query
    (
        error("58000", "could not get connection from the pool - AllServersDown"),
        "ENTRYPOINT_DIRECT_URL",
    ),
    # supavisor has it in its checkout_timeout_error.ex
    (error("XX000", "(ECHECKOUTTIMEOUT) unable to check out connection"), "ENTRYPOINT_DIRECT_URL"),
]


@pytest.mark.parametrize(("answer", "remedy"), LET_IN, ids=["pgcat", "Supavisor"])
def test_a_pooler_that_lets_in_and_then_fails(stage: Stage, answer: bytes, remedy: str) -> None:
    """Its words at the first query are told as those at the login are."""
    with Says(AUTHENTICATED + READY, first=answer) as pooler:
        stage.environ |= {"DATABASE_URL": pooler.url, "ENTRYPOINT_WAIT_TIMEOUT": "0.5"}
        program = stage.start()
        assert program.wait(timeout=60) == 4, program.output

    [failure] = [event for event in program.events if event["event"].endswith(".failed")]
    assert "a pooler said: " in failure["error"]
    assert remedy in failure["remedy"]


def test_a_function_of_the_server_that_is_forbidden(far: Stage) -> None:
    """What every role may use was taken away: exit 5 at once, and a GRANT of it mends that."""
    with far.server.connect() as connection:
        connection.execute("create database own_db owner own")
    function = "function pg_catalog.pg_is_in_recovery()"
    for name in ("postgres", "own_db"):
        with far.server.connect(name) as connection:
            connection.execute(f"revoke execute on {function} from public".encode())

    failure = refused(far.start())

    assert "pg_is_in_recovery (42501)" in failure["error"]
    with far.server.connect("own_db") as connection:
        connection.execute(f"grant execute on {function} to own".encode())
    assert far.start().wait() == 0


def create_refused(stage: Stage) -> dict[str, Any]:
    """A start that could not create the database, and left none behind."""
    failure = refused(stage.start())
    assert failure["event"] == "database.failed"
    with stage.server.connect() as connection:
        query = "select from pg_database where datname = %s"
        assert connection.execute(query, [stage.database]).rowcount == 0
    return failure


def statements(remedy: str) -> list[str]:
    """What a remedy says to run."""
    return remedy.removeprefix("Run ").split(", or ")[0].split("; ")


def run(stage: Stage, remedy: str) -> None:
    """Do what a remedy says, as the superuser."""
    with stage.server.connect() as connection:
        for statement in statements(remedy):
            connection.execute(statement.encode())


def owner(stage: Stage) -> str:
    """Whose the stage's database is."""
    with stage.server.connect() as connection:
        query = "select pg_get_userbyid(datdba) from pg_database where datname = %s"
        row = connection.execute(query, [stage.database]).fetchone()
    assert row is not None
    return str(row[0])


def test_a_role_that_acts_as_another(stage: Stage, role: RoleFactory) -> None:
    """ALTER ROLE ... SET role: the other one lacks CREATEDB, is named, and owns the database."""
    other = role().name
    with stage.server.connect() as connection:
        connection.execute(f"alter role {stage.user} nocreatedb")
        connection.execute(f"grant {other} to {stage.user}")
        connection.execute(f"alter role {stage.user} set role = {other}")

    failure = create_refused(stage)

    assert f"as role '{other}'" in failure["error"]
    assert statements(failure["remedy"]) == [f'ALTER ROLE "{other}" CREATEDB']
    run(stage, failure["remedy"])
    program = stage.start()
    assert program.wait() == 0, program.output
    assert program.one("database.created")["owner"] == owner(stage) == other
    assert stage.start().wait() == 0


def test_an_admin_creates_for_a_role_that_acts_as_another(stage: Stage, role: RoleFactory) -> None:
    """The database belongs to the role that the service acts as, so that it may push there."""
    other = role().name
    with stage.server.connect() as connection:
        connection.execute(f"grant {other} to {stage.user}")
        connection.execute(f"alter role {stage.user} set role = {other}")
    stage.environ["ENTRYPOINT_ADMIN_URL"] = stage.server.url()
    for _ in range(2):
        program = stage.start()
        assert program.wait() == 0, program.output
    assert owner(stage) == other


def test_an_admin_who_lacks_both_rights(stage: Stage, role: RoleFactory) -> None:
    """CREATEDB and the membership are both named, and nothing else is needed."""
    admin = role()
    stage.environ["ENTRYPOINT_ADMIN_URL"] = stage.server.url("postgres", admin.name, admin.password)
    failure = create_refused(stage)

    assert len(statements(failure["remedy"])) == 2
    run(stage, failure["remedy"])
    assert stage.start().wait() == 0
    assert owner(stage) == stage.user


def test_a_server_without_template0(far: Stage) -> None:
    """The remedy makes it again, and the start creates the database."""
    with far.server.connect() as connection:
        connection.execute("alter database template0 is_template false")
        connection.execute("drop database template0")
    failure = create_refused(far)

    assert "(3D000)" in failure["error"]
    run(far, failure["remedy"])
    assert far.start().wait() == 0


def test_a_template0_that_a_crash_left_half(far: Stage) -> None:
    """What a DROP DATABASE that was cut short leaves is no template; the remedy makes it again."""
    with far.server.connect() as connection:
        connection.execute("update pg_database set datconnlimit = -2 where datname = 'template0'")
    failure = create_refused(far)

    assert "(55000)" in failure["error"]
    run(far, failure["remedy"])
    assert far.start().wait() == 0


def test_a_template0_that_is_no_template(far: Stage) -> None:
    """Nobody but its owner may copy it, which is no lack of the role's: the remedy mends it."""
    with far.server.connect() as connection:
        connection.execute("alter database template0 is_template false")

    run(far, create_refused(far)["remedy"])

    assert far.start().wait() == 0


def test_a_session_in_template0(far: Stage) -> None:
    """It is waited for; then the remedy says who is in the way, and how to keep them out."""
    with far.server.connect() as connection:
        connection.execute("alter database template0 allow_connections true")
    far.environ["ENTRYPOINT_WAIT_TIMEOUT"] = "1"
    with far.server.connect("template0"):
        failure = create_refused(far)

    assert "(55006)" in failure["error"]
    assert "template0" in failure["remedy"]
    assert "CREATEDB" not in failure["remedy"]
    with far.server.connect() as connection:
        connection.execute("alter database template0 allow_connections false")
    assert far.start().wait() == 0


def test_files_that_the_server_has_lost(far: Stage) -> None:
    """A template whose files are missing is no matter of rights: the server's log is named."""
    server = far.server
    assert isinstance(server, Server)
    with server.connect() as connection:
        row = connection.execute("select oid from pg_database where datname = 'template0'")
        [(oid,)] = row.fetchall()
    server.stop()
    shutil.rmtree(server.data / "base" / str(oid))
    server.resume()

    failure = create_refused(far)

    assert "(58P01)" in failure["error"]
    assert "log" in failure["remedy"]
    assert "CREATEDB" not in failure["remedy"]
