"""A start with nothing to do asks libpq; with psycopg it would decide, log and connect the same."""

from __future__ import annotations

import ctypes.util
import re
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import pytest

from bench.proxy import Proxy
from tests.process.test_rails import imported
from tests.support.pooler import PROGRAM, Pooler
from tests.support.server import Server, give
from tests.support.site import CA, TLS
from tests.support.stage import Stage

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from tests.support.program import Program

LIBPQ = ("-X", "importtime", "-m", "entrypoint")

UNPROVED = """
from entrypoint.__main__ import main
from entrypoint.postgres import libpq
libpq.look = lambda *_: None
main()
"""

PSYCOPG = ("-X", "importtime", "-c", UNPROVED)
"""The same program, whose look through libpq never proves anything."""

HBA = """\
host    md5_db     all all md5
host    trust_db   all all trust
local   trust_db   all     trust
"""

HBA_OF_TLS = """\
hostssl   cert_db  all all cert
hostssl   tls_db   all all scram-sha-256
hostnossl tls_db   all all reject
"""

DEBIAN = next(iter(sorted(Path("/usr/lib/postgresql").glob("*"), reverse=True)), None)
"""A PostgreSQL that is built with TLS; the wheel's is not."""

NO_TLS = "there is no PostgreSQL with TLS"

ODD = "p@ss/w:rd #%41é&=?"
"""A password that every URL must escape."""


class Home(NamedTuple):
    """A server that asks each database's clients for something else, and a folder for each."""

    server: Server
    stages: dict[str, Stage]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Databases whose releases are pushed: every start has nothing to do."""
    folder = tmp_path_factory.mktemp("ways")
    with Server.start(settings={"log_connections": "on"}, prefix=DEBIAN) as server:
        for name in ("localhost.pem", "client.pem"):
            (server.data / name).write_bytes((TLS / name).read_bytes())
            give(server.data / name)
            (server.data / name).chmod(0o600)
        if DEBIAN:
            tls = dict.fromkeys(("ssl_cert_file", "ssl_key_file"), "localhost.pem")
            server.reload({"ssl": "on", "ssl_ca_file": "client.pem"} | tls)
        rest = "host all all all scram-sha-256"
        server.reload(hba=f"{HBA}{HBA_OF_TLS if DEBIAN else ''}{rest}")
        stages = {}
        kinds = ("scram", "md5", "trust", "odd", "read_only")
        for kind in (*kinds, *(("tls", "cert") if DEBIAN else ())):
            path = folder / kind
            path.mkdir()
            role, password = f"{kind}_role", ODD if kind == "odd" else f"{kind}-password"
            with server.connect() as connection:
                encryption = "md5" if kind == "md5" else "scram-sha-256"
                connection.execute(f"set password_encryption = '{encryption}'")
                connection.execute(f"create role {role} login password '{password}'")
                connection.execute(f"create database {kind}_db owner {role}")
            stage = Stage(path, server, f"{kind}_db", role, password)
            stage.environ = {"ENTRYPOINT_RELEASE": "v1", "ENTRYPOINT_WAIT_TIMEOUT": "20"}
            stage.environ["DATABASE_URL"] = CASES[FIRST.get(kind, kind)].url(server, stage)
            first = stage.start(command="prepare")
            assert first.wait() == 0, first.output
            stages[kind] = stage
        with server.connect() as connection:
            connection.execute("alter role read_only_role set default_transaction_read_only = on")
        yield Home(server, stages)


class Case(NamedTuple):
    """A way to write DATABASE_URL: of which stage, how, and the exit code of a start."""

    kind: str
    url: Callable[[Server, Stage], str]
    code: int = 0
    environ: dict[str, str] = {}  # noqa: RUF012  nobody changes it


def uri(
    query: str = "", host: str = "127.0.0.1:{port}", scheme: str = "postgresql", login: str = ""
) -> Callable[[Server, Stage], str]:
    """A URL of these parts, in which {port} and the folder of the socket are filled in."""

    def written(server: Server, stage: Stage) -> str:
        who = login or f"{stage.user}:{quote(stage.password, safe='')}"
        parts = f"{scheme}://{who}@{host}/{stage.database}{query}"
        return parts.replace("{port}", str(server.port)).replace(
            "{socket}", quote(str(server.socket_dir), safe="")
        )

    return written


def keywords(server: Server, stage: Stage) -> str:
    """Libpq's other form."""
    words = f"host=127.0.0.1 port={server.port} dbname={stage.database}"
    return f"{words} user={stage.user} password='{stage.password}'"


def jdbc(server: Server, stage: Stage) -> str:
    """That of Java, whose URL has its user and password at the end."""
    url = f"jdbc:postgresql://127.0.0.1:{server.port}/{stage.database}"
    return f"{url}?user={stage.user}&password={stage.password}"


def passfile(mode: int) -> Callable[[Server, Stage], str]:
    """A password in a file, which libpq reads if nobody else may."""

    def written(server: Server, stage: Stage) -> str:
        path = stage.directory / f"passfile-{mode:o}"
        path.write_text(f"*:*:*:*:{stage.password}\n")
        path.chmod(mode)
        query = f"?passfile={quote(str(path), safe='')}"
        return uri(query, login=stage.user)(server, stage)

    return written


def certificate(server: Server, stage: Stage) -> str:
    """A certificate in place of a password."""
    path = stage.directory / "client.pem"
    path.write_bytes((TLS / "client.pem").read_bytes())
    path.chmod(0o600)
    mine = quote(str(path), safe="")
    return uri(f"?sslcert={mine}&sslkey={mine}", login=stage.user)(server, stage)


VERIFIED = f"?sslmode=verify-full&sslrootcert={quote(str(CA), safe='')}"

CASES: dict[str, Case] = {
    "scram": Case("scram", uri()),
    "md5": Case("md5", uri()),
    "trust": Case("trust", uri(login="trust_role")),
    "odd": Case("odd", uri()),
    "read_only": Case("read_only", uri(), 4),
    "a wrong password": Case("scram", uri(login="scram_role:wrong"), 5),
    "an unknown role": Case("scram", uri(login="nobody:x"), 5),
    "a password of no UTF-8": Case("scram", uri(login="scram_role:%e9"), 3),
    "TLS if there is": Case("tls", uri("?sslmode=require")),
    "no TLS where it is wanted": Case("tls", uri("?sslmode=disable"), 5),
    "TLS of node-postgres": Case("tls", uri("?sslmode=no-verify")),
    "verified": Case("tls", uri(VERIFIED, "localhost:{port}")),
    "verified, by another name": Case("tls", uri(VERIFIED), 5),
    "verified by the environment's": Case(
        "tls", uri("?sslmode=verify-full", "localhost:{port}"), 0, {"SSL_CERT_FILE": str(CA)}
    ),
    "verified by the system's": Case("tls", uri("?sslmode=verify-full", "localhost:{port}"), 5),
    "bound to the channel": Case("tls", uri("?sslmode=require&channel_binding=require")),
    "cert": Case("cert", certificate),
    "no certificate": Case("cert", uri(login="cert_role"), 5),
    "a password file": Case("scram", passfile(0o600)),
    "a password file of all": Case("scram", passfile(0o644), 5),
    "IPv6": Case("scram", uri(host="[::1]:{port}")),
    "a name of two addresses": Case("scram", uri(host="localhost:{port}")),
    "no name": Case("scram", uri(host="nobody.invalid:{port}"), 4),
    "a name and an address": Case("scram", uri("?hostaddr=127.0.0.1", "nobody.invalid:{port}")),
    "two servers": Case("scram", uri(host="127.0.0.1:1,127.0.0.1:{port}")),
    "two, the writing one": Case(
        "scram", uri("?target_session_attrs=read-write", "127.0.0.1:1,127.0.0.1:{port}")
    ),
    "two, a standby": Case("scram", uri("?target_session_attrs=standby"), 4),
    "nobody listens": Case("scram", uri(host="127.0.0.1:1"), 4),
    "the socket": Case("trust", uri("?host={socket}&port={port}", "", login="trust_role")),
    "options": Case("scram", uri("?options=-c%20statement_timeout%3D5s%20-c%20jit%3Doff")),
    "postgres": Case("scram", uri(scheme="postgres")),
    "SQLAlchemy": Case("scram", uri(scheme="postgresql+asyncpg")),
    "Prisma": Case("scram", uri("?schema=public&pgbouncer=true&connection_limit=1")),
    "jdbc": Case("scram", jdbc, 3),
    "keywords": Case("scram", keywords),
}

FIRST = {"tls": "TLS if there is", "read_only": "scram"}
"""The case by which a database is pushed, where none has its name or that one fails."""

VARYING = re.compile(
    r'"(timestamp|elapsed_s|waited_s|wait_for_s|timeout_s|attempts?)": [^,}]+|\d+\.\d+ s'
)


def told(program: Program) -> list[str]:
    """Its log without the clock; of attempts that repeat themselves one."""
    lines = program.stderr.decode().splitlines()
    found = [VARYING.sub("", line) for line in lines if line.startswith("{")]
    return [line for before, line in zip(["", *found], found, strict=False) if line != before]


AUTHORIZED = re.compile(r"connection authorized: (.*)")


def ways(stage: Stage, server: Server, code: int) -> tuple[Program, Program]:
    """A start through libpq and one through psycopg, which ended alike, logged and connected so."""
    done: list[Program] = []
    connected: list[list[str]] = []
    for launcher in (LIBPQ, PSYCOPG):
        before = server.log.stat().st_size
        program = stage.start(launcher=launcher)
        assert program.wait() == code, program.output
        done.append(program)
        with server.log.open() as log:
            log.seek(before)
            connected.append(AUTHORIZED.findall(log.read()))
    first, second = done
    if code != 4:
        assert told(first) == told(second)
        assert connected[0] == connected[1]
    else:  # both wait for a second, and ask as often as they come to it
        assert set(told(first)) == set(told(second))
        assert set(connected[0]) == set(connected[1])
    assert code or len(connected[0]) == 1
    return first, second


@pytest.mark.parametrize("name", CASES)
def test_both_ways_agree(home: Home, name: str) -> None:
    """The same exit code and the same log; the same one connection, with the same name and TLS."""
    case = CASES[name]
    if case.kind not in home.stages:
        pytest.skip(NO_TLS)
    stage = home.stages[case.kind]
    stage.environ["DATABASE_URL"] = case.url(home.server, stage)
    given = dict(stage.environ)
    stage.environ |= case.environ | ({"ENTRYPOINT_WAIT_TIMEOUT": "1"} if case.code == 4 else {})
    try:
        first, second = ways(stage, home.server, case.code)
    finally:
        stage.environ = given
    in_full = case.code in (4, 5) or name == "keywords"  # psycopg parses those
    assert ("psycopg" in imported(first)) == in_full
    assert ("psycopg" in imported(second)) == (case.code != 3)


@pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed")
@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_both_ways_agree_behind_a_pooler(home: Home, mode: str) -> None:
    """It is seen, and one of its connections serves both."""
    stage = home.stages["scram"]
    users = {stage.user: stage.password}
    with Pooler(home.server, mode=mode, auth="scram-sha-256", users=users) as pooler:
        stage.environ["DATABASE_URL"] = pooler.url(stage.database, stage.user, stage.password)
        first, second = (stage.start(launcher=each) for each in (LIBPQ, PSYCOPG))
        assert (first.wait(), second.wait()) == (0, 0)
    assert told(first) == told(second)
    assert first.one("database.finished")["pooled"] is True
    assert "psycopg" not in imported(first)


@pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed")
def test_an_alias_that_leads_to_a_proved_database(home: Home) -> None:
    """Where all is done, but not in the database that the URL names, the start ends with 3."""
    stage = home.stages["scram"]
    users, alias = {stage.user: stage.password}, [f"other_db = dbname={stage.database}"]
    with Pooler(
        home.server, mode="session", auth="scram-sha-256", users=users, databases=alias
    ) as pooler:
        stage.environ["DATABASE_URL"] = pooler.url("other_db", stage.user, stage.password)
        program = stage.start()
        assert program.wait() == 3, program.output
    assert f"leads to '{stage.database}'" in program.one("database.failed")["error"]


def test_a_change_is_left_to_psycopg(home: Home) -> None:
    """A new release, a check of the seed, a direct URL: what is not proved is done in full."""
    stage = home.stages["scram"]
    stage.environ["DATABASE_URL"] = stage.url
    for change in ({"ENTRYPOINT_FORCE": "push"}, {"ENTRYPOINT_DIRECT_URL": stage.url}):
        changed = stage.environ | change
        stage.environ, given = changed, stage.environ
        try:
            program = stage.start(launcher=LIBPQ)
            assert program.wait() == 0, program.output
        finally:
            stage.environ = given
        assert "psycopg" in imported(program)
    program = stage.start(launcher=LIBPQ)
    assert program.wait() == 0
    assert "psycopg" not in imported(program)


@pytest.mark.parametrize("variable", ["PGHOST", "PGOPTIONS", "PGSERVICE", "PGSSLMODE", "PGUSER"])
def test_variables_of_libpq_steer_neither_way(home: Home, variable: str) -> None:
    """The service gets them; our connection does not see them."""
    stage = home.stages["scram"]
    stage.environ["DATABASE_URL"] = stage.url
    stage.environ[variable] = "nonsense"
    try:
        first, _ = ways(stage, home.server, 0)
    finally:
        del stage.environ[variable]
    assert "psycopg" not in imported(first)


class Stalling(Proxy):
    """Passes so many bytes of the server on, and no more."""

    def __init__(self, server: Server, most: int) -> None:
        super().__init__(server.host, server.port)
        self.left = most
        self.stalled = threading.Event()
        if not most:
            self.stalled.set()

    def _pass_on(self, link: Any, *, from_client: bool) -> None:  # noqa: ANN401  the proxy's own
        if from_client and self.left:
            super()._pass_on(link, from_client=True)
        elif from_client:
            with suppress(OSError):
                if link.client.recv(1 << 16):
                    return
            self._close(link.client)
        else:
            data = link.server.recv(self.left) if self.left else b""
            link.client.sendall(data)
            self.left -= len(data)
            if not self.left:
                self._close(link.server)
                self.stalled.set()

    def _close(self, end: socket.socket) -> None:
        self._selector.unregister(end)
        end.close()


@pytest.mark.parametrize("most", [0, 1, 12, 24, 80, 130, 250, 400, 560, 700])
def test_a_signal_ends_the_look(home: Home, most: int) -> None:
    """Wherever the server falls silent, SIGTERM is answered by 143, and nothing is done."""
    stage = home.stages["scram"]
    with Stalling(home.server, most) as proxy:
        stage.environ["DATABASE_URL"] = uri("?sslmode=disable", f"127.0.0.1:{proxy.port}")(
            home.server, stage
        )
        program = stage.start()
        program.until("wait.started")
        assert proxy.stalled.wait(30)
        program.signal(signal.SIGTERM)
        assert program.wait(10) == 143, program.output
    assert program.names()[-1] == "wait.failed"
    assert "SIGTERM" in program.one("wait.failed")["error"]


def test_a_silent_server_costs_one_look(home: Home) -> None:
    """After it today's attempts follow, and their events."""
    stage = home.stages["scram"]
    with Stalling(home.server, 24) as proxy:
        stage.environ["DATABASE_URL"] = uri("?sslmode=disable", f"127.0.0.1:{proxy.port}")(
            home.server, stage
        )
        program = stage.start()
        assert program.wait() == 4, program.output
    assert "no answer within" in program.one("wait.failed")["error"]


@pytest.mark.parametrize("broken", ["missing", "garbage", "another library"])
def test_without_a_libpq_psycopg_does_it(home: Home, tmp_path: Path, broken: str) -> None:
    """A library that is not there, or is none, or lacks the functions: no proof and no word."""
    stage = home.stages["scram"]
    stage.environ["DATABASE_URL"] = stage.url
    folder = tmp_path / "psycopg_binary.libs"
    folder.mkdir()
    if broken == "garbage":
        (folder / "libpq-1.so").write_bytes(b"\x7fELF" + bytes(4000))
    elif broken == "another library":
        (folder / "libpq-1.so").symlink_to(ctypes.util.find_library("c") or "libc.so.6")
    instead = "from entrypoint.postgres import libpq\nlook = libpq.look\n"
    instead += (
        f"def elsewhere(*words):\n    kept, sys.path = sys.path, [{str(tmp_path)!r}]\n"
        "    try:\n        return look(*words)\n    finally:\n        sys.path = kept\n"
        "libpq.look = elsewhere\n"
    )
    code = f"import sys\nfrom entrypoint.__main__ import main\n{instead}main()"
    program = stage.start(launcher=("-X", "importtime", "-c", code))
    assert program.wait() == 0, program.output
    assert "psycopg" in imported(program)
    assert program.one("push.skipped")["reason"] == "unchanged"


DENIED = """
import ctypes, os, sys
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):  # PR_SET_MDWE, since Linux 6.3
    sys.exit(77)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_where_no_new_memory_is_executable(home: Home) -> None:
    """As under SELinux, or systemd's MemoryDenyWriteExecute: libpq is asked all the same."""
    stage = home.stages["scram"]
    stage.environ["DATABASE_URL"] = stage.url
    denied = [sys.executable, "-I", "-c", DENIED]
    program = stage.start(through=denied, launcher=("-X", "importtime", "-m", "entrypoint"))
    code = program.wait()
    if code == 77:
        pytest.skip("the kernel cannot refuse new executable memory")
    assert code == 0, program.output
    assert "psycopg" not in imported(program)
    assert program.one("push.skipped")["reason"] == "unchanged"
