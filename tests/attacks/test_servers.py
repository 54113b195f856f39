"""Servers that mean harm: what a gate, a webhook's receiver, a probe or a PostgreSQL answers."""

from __future__ import annotations

import gzip
import json
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import pytest

from tests.process.test_health import health
from tests.support.program import Program, python
from tests.support.site import CA, Site, http
from tests.support.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.conftest import RoleFactory
    from tests.support.server import Endpoint

ASK = """
import json, re, sys
from entrypoint import http_client
try:
    answer = http_client.ask(sys.argv[1], 2)
    said = f"{answer.status} {answer.reason} {len(answer.body)}"
except http_client.RequestError as failure:
    said = failure.text
peak_kb = re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]
print(json.dumps([said, int(peak_kb) // 1024]))
"""

NAIVE = """
import sys, httpx
print(len(httpx.get(sys.argv[1], timeout=2).content))
"""

MOST_MB = 200
"""What one request may take of memory, with Python and its libraries; bombs have gigabytes."""

HEAD = b"HTTP/1.1 200 OK\r\n"


class Endless:
    """Sends a beginning and then the same over and over, until the other side has enough."""

    def __init__(self, first: bytes, then: Callable[[int], bytes], *, reads: bool = True) -> None:
        self.first, self.then, self.reads = first, then, reads
        self.received = bytearray()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            if self.reads:
                self.received += connection.recv(65536)
            connection.sendall(self.first)
            number = 0
            while piece := self.then(number):
                connection.sendall(piece)
                number += 1


def always(piece: bytes) -> Callable[[int], bytes]:
    """The same for ever."""
    return lambda _: piece


def once(_: int) -> bytes:
    """Nothing more: it hangs up."""
    return b""


BOMB = gzip.compress(bytes(1 << 26))
"""64 MiB in 64 KiB."""

HOSTILE: dict[str, tuple[bytes, Callable[[int], bytes]]] = {
    "an endless body": (HEAD + b"\r\n", always(b"x" * 65536)),
    "endless chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", always(b"1\r\nx\r\n" * 9000)),
    "a chunk of exabytes": (
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\n",
        always(b"x" * 65536),
    ),
    "endless headers": (HEAD, lambda number: b"X-%d: y\r\n" % number * 1000),
    "a header without an end": (HEAD + b"X: ", always(b"y" * 65536)),
    "a status line without an end": (b"HTTP/1.1 200 ", always(b"O" * 65536)),
    "endless 1xx": (b"", always(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)),
    "a bomb of gzip": (
        HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB) + BOMB,
        once,
    ),
    "less than it said": (HEAD + b"Content-Length: 1000\r\n\r\nx", once),
    "HTTP/0.9": (b"<html>well</html>", once),
    "a protocol switched": (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", always(b"x" * 65536)),
    "two lengths": (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", once),
}


@pytest.mark.parametrize(("first", "then"), HOSTILE.values(), ids=HOSTILE)
def test_an_answer_is_bounded(first: bytes, then: Callable[[int], bytes]) -> None:
    """One request ends in seconds and takes no more memory than its first mebibyte needs."""
    with Endless(first, then) as server:
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-I", "-c", ASK, f"http://127.0.0.1:{server.port}/"],
            check=True,
            capture_output=True,
            timeout=30,
        )
        assert time.monotonic() - started < 20  # the answers have no end
    said, peak_mb = json.loads(done.stdout)
    assert peak_mb < MOST_MB, said
    assert said.isprintable()


def test_the_control_unpacks_a_bomb() -> None:
    """A client that unpacks takes all that a bomb holds."""
    first, then = HOSTILE["a bomb of gzip"]
    with Endless(first, then) as server:
        url = f"http://127.0.0.1:{server.port}/"
        argv = [sys.executable, "-I", "-c", NAIVE, url]
        done = subprocess.run(argv, check=True, capture_output=True, timeout=30)
    assert int(done.stdout) == 1 << 26


@pytest.mark.parametrize(("first", "then"), HOSTILE.values(), ids=HOSTILE)
def test_a_probe_is_bounded(tmp_path: Path, first: bytes, then: Callable[[int], bytes]) -> None:
    """`entrypoint health` says one line in time, whatever the service has become."""
    with Endless(first, then) as server:
        url = f"http://127.0.0.1:{server.port}/"
        limited = ["prlimit", "--as=1000000000"]
        found = health(tmp_path, "--url", url, "--timeout", "2", through=limited)
    assert found.line.isprintable()


STEERING = "\x1b[2J\x1b]0;owned\x07\u009b31m\u202eevil"


UNSEEN = "\u009b31m\u202eevil"
"""Those among them that an HTTP library takes for letters."""


def clean(text: str) -> bool:
    """Whether a terminal has nothing to obey in it."""
    return not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)


@pytest.mark.parametrize("form", ["console", "json"])
@pytest.mark.parametrize(
    "answer",
    [
        http("302 Found", Location=f"/{STEERING}"),
        http("302 Found", Location=f"/{UNSEEN}"),
        http(f"503 {STEERING}"),
        f"HTTP/1.1 {STEERING}\r\n\r\n".encode(),
        http("302 Found", Location="file:///etc/passwd"),
    ],
    ids=["location", "unseen", "reason", "status line", "file"],
)
def test_a_gate_writes_on_no_terminal(tmp_path: Path, answer: bytes, form: str) -> None:
    """Nothing in the log, or in the probe's line, steers the terminal of who reads it."""
    with Site(answer) as site, Site(http()) as elsewhere:
        program = gated(tmp_path, site.url(), form)
        program.process.wait(30)
        found = health(tmp_path, environ={"ENTRYPOINT_STATE_DIR": str(tmp_path)})
    assert program.wait() == 4, program.output
    assert "a gate follows no redirect" in program.output or "answer" in program.output
    assert clean(program.output)
    assert clean(found.line)
    assert elsewhere.requests == []
    assert "root:" not in program.output


OBEDIENT = """
from entrypoint import log
log.printable = str
from entrypoint.__main__ import main
main()
"""


def test_the_control_writes_on_a_terminal(tmp_path: Path) -> None:
    """A log that only renders its events hands a server's escapes on."""
    with Site(http("302 Found", Location=f"/{UNSEEN}")) as site:
        program = gated(tmp_path, site.url(), launcher=("-c", OBEDIENT))
        assert program.wait() == 4
    assert not clean(program.output)


def gated(
    folder: Path,
    url: str,
    form: str = "json",
    launcher: Sequence[str] = ("-m", "entrypoint"),
    **environ: str,
) -> Program:
    """A start with one gate, for two seconds."""
    (folder / "entrypoint.toml").write_text(f'[[gates]]\nurl = "{url}"\ntimeout = 2\n')
    given = {
        "PATH": "/usr/bin:/bin",
        "DATABASE_URL": "postgres://u:canary-pw@127.0.0.1:1/d",
        "ENTRYPOINT_LOG_FORMAT": form,
        "ENTRYPOINT_STATE_DIR": str(folder),
        **environ,
    }
    words = ["run", "--", "true"]
    return Program.start(*words, environ=given, directory=folder, launcher=launcher)


def test_no_password_goes_where_a_redirect_leads(tmp_path: Path) -> None:
    """The gate's own server gets the URL's user and password, and nobody else does."""
    with Site(http()) as thief, Site(http("307 Away", Location=thief.url())) as site:
        program = gated(tmp_path, site.url().replace("://", "://ada:canary-gate@"))
        assert program.wait() == 4
    assert b"authorization: basic" in site.requests[0].lower()
    assert thief.requests == []
    assert "canary" not in program.output


def test_garbage_in_place_of_tls(tmp_path: Path) -> None:
    """It is waited out as TLS that fails."""
    with Endless(b"\x16\x03\x01\xff\xff", always(b"\xff" * 65536)) as server:
        url = f"https://localhost:{server.port}/"
        program = gated(tmp_path, url, SSL_CERT_FILE=str(CA))
        assert program.wait() == 4
    assert "TLS" in program.one("gates.failed")["error"]


def message(kind: bytes, body: bytes) -> bytes:
    """One of PostgreSQL's."""
    return kind + struct.pack("!I", len(body) + 4) + body


def fields(text: bytes, code: bytes = b"57P03", severity: bytes = b"FATAL") -> bytes:
    return b"S" + severity + b"\0V" + severity + b"\0C" + code + b"\0M" + text + b"\0\0"


OK = message(b"R", struct.pack("!I", 0))
VERSION = message(b"S", b"server_version\x0018.0\0") + message(b"S", b"client_encoding\0UTF8\0")
READY = message(b"K", struct.pack("!II", 1, 2)) + message(b"Z", b"I")
NOTICE = message(b"N", fields(STEERING.encode(), b"01000", b"WARNING"))

COLUMN = b"x\0" + struct.pack("!IhIhih", 0, 0, 25, -1, -1, 0)
"""A column of text, as RowDescription has it."""

POSTGRES: dict[str, tuple[bytes, Callable[[int], bytes]]] = {
    "a huge error": (message(b"E", fields(b"x" * (1 << 24))), once),
    "an error that steers": (message(b"E", fields(STEERING.encode())), once),
    "an error that quotes": (message(b"E", fields(b"no canary-pw here")), once),
    "endless notices": (OK, always(NOTICE * 100)),
    "endless parameters": (
        OK,
        lambda number: b"".join(
            message(b"S", b"x%d\0%s\0" % (number * 50 + each, b"y" * 900)) for each in range(50)
        ),
    ),
    "an answer that does not come": (OK + VERSION + READY, always(NOTICE * 100)),
    "an answer that does not end": (
        OK + VERSION + READY + message(b"T", struct.pack("!H", 1) + COLUMN),
        always(message(b"D", struct.pack("!Hi", 1, 900) + b"x" * 900) * 50),
    ),
    "garbage for an answer": (OK + VERSION + READY, always(b"\xff\x00garbage" * 100)),
    "a length of gigabytes": (b"R\x7f\xff\xff\xff", always(b"\0" * 65536)),
}


@pytest.mark.parametrize(("first", "then"), POSTGRES.values(), ids=POSTGRES)
def test_a_postgresql(tmp_path: Path, first: bytes, then: Callable[[int], bytes]) -> None:
    """A start ends with 4 or 5, in time, in bounded memory, and with nothing of it in the log."""
    with Endless(first, then) as server:
        program = connecting(tmp_path, server.port, release="v1")
        code = program.wait(60)
    assert code in (4, 5), program.output[:3000]
    assert "entrypoint.crashed" not in program.names()
    assert "canary" not in program.output
    assert clean(program.output)


@pytest.mark.parametrize(
    "asked", [struct.pack("!I", 3), struct.pack("!I", 5) + b"salt"], ids=["clear text", "md5"]
)
def test_a_password_is_not_told_to_everybody(tmp_path: Path, asked: bytes) -> None:
    """With `require_auth` in the URL no server gets it or its MD5; without, the control does."""
    for query, told in (("&require_auth=scram-sha-256", False), ("", True)):
        with Recording(message(b"R", asked)) as server:
            program = connecting(tmp_path, server.port, query)
            assert program.wait(60) in (4, 5), program.output
        assert (b"p" in server.kinds) == told
        assert "canary" not in program.output


class Recording(Endless):
    """Asks for a password once, and notes what kinds of messages come back."""

    def __init__(self, asked: bytes) -> None:
        super().__init__(asked, once)
        self.kinds = b""

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            connection.recv(65536)
            connection.sendall(self.first)
            self.kinds += connection.recv(1)


def connecting(
    folder: Path, port: int, query: str = "", release: str = "", wait_s: int = 3
) -> Program:
    """A start that has three seconds, and a gigabyte of addresses and more."""
    url = f"postgres://u:canary-pw@127.0.0.1:{port}/d?sslmode=disable&gssencmode=disable{query}"
    environ = {"PATH": "/usr/bin:/bin", "DATABASE_URL": url, "ENTRYPOINT_WAIT_TIMEOUT": f"{wait_s}"}
    environ |= {"ENTRYPOINT_RELEASE": release, "ENTRYPOINT_PUSH_COMMAND": "true"} if release else {}
    limited = ["prlimit", "--as=2000000000"]
    return Program.start("run", "--", "true", environ=environ, directory=folder, through=limited)


def row(*values: tuple[int, bytes]) -> bytes:
    """A result of one row, of these types' OIDs and texts."""
    columns = b"".join(b"x\0" + struct.pack("!IhIhih", 0, 0, oid, -1, -1, 0) for oid, _ in values)
    fields = b"".join(struct.pack("!i", len(text)) + text for _, text in values)
    count = struct.pack("!H", len(values))
    parts = (b"T", count + columns), (b"D", count + fields), (b"C", b"SELECT 1\0")
    return b"".join(message(*part) for part in parts)


BOOL, INT, TEXT = 16, 23, 25
ONE = row((TEXT, b"x"))
TWO = row((TEXT, b"x"), (TEXT, b"x"))
WHERE = row((TEXT, b"d"), (BOOL, b"f"), (BOOL, b"f"), (INT, b"1"))

STRANGE = {
    "one column each": ONE * 9,
    "no row": message(b"C", b"SELECT 0\0") * 9,
    "too few rows": TWO * 2 + WHERE + ONE,
    "a ledger of two columns": TWO * 2 + WHERE + ONE * 2 + TWO + ONE * 2,
    "a ledger that is a number": TWO * 2
    + WHERE
    + ONE * 2
    + row((INT, b"7"), (BOOL, b"t"), (TEXT, b""))
    + row((BOOL, b"f"))
    + ONE,
    "a flood of results": message(b"N", b"M" + bytes(1 << 24)) + message(b"C", b"\0") * (1 << 21),
    "a flood of notices": message(b"N", b"M" + bytes(1 << 24)) + message(b"N", b"\0") * (1 << 21),
}
"""Answers to every question, of a server that lets everybody in."""


class Strange(Endless):
    """Answers so."""

    def __init__(self, answer: bytes) -> None:
        super().__init__(OK + VERSION + READY, once)
        self.answer = answer

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            connection.recv(65536)
            connection.sendall(self.first)
            while connection.recv(65536):
                connection.sendall(self.answer + message(b"Z", b"I"))


@pytest.mark.parametrize("answer", STRANGE.values(), ids=STRANGE)
def test_an_answer_of_another_shape_is_no_proof(tmp_path: Path, answer: bytes) -> None:
    """Who answers so is no PostgreSQL, and is told so, in time."""
    with Strange(answer) as server:
        program = connecting(tmp_path, server.port, release="v1")
        assert program.wait(60) in (4, 5), program.output
    assert "entrypoint.crashed" not in program.names()


def test_the_right_url_mends_what_a_stranger_answered(
    tmp_path: Path, server: Endpoint, database: str, role: RoleFactory
) -> None:
    """Three starts end with 5; after what the remedy says, one pushes, and the next has no work."""
    owner = role("createdb")
    stage = Stage(tmp_path, server, database, owner.name, owner.password)
    stage.environ["ENTRYPOINT_RELEASE"] = "v1"
    with Strange(STRANGE["one column each"]) as stranger:
        query = "sslmode=disable&gssencmode=disable"
        stage.environ["DATABASE_URL"] = f"postgres://u:p@127.0.0.1:{stranger.port}/d?{query}"
        for _ in range(3):
            program = stage.start()
            assert program.wait() == 5, program.output
            failed = program.events[-1]
            assert "which must lead to a PostgreSQL server" in failed["remedy"]
            assert "DATABASE_URL" in failed["remedy"]

    del stage.environ["DATABASE_URL"]
    for event in ("push.finished", "push.skipped"):
        program = stage.start()
        assert program.wait() == 0, program.output
        assert event in program.names()


def test_a_signal_between_notices_is_not_lost(tmp_path: Path) -> None:
    """Whatever libpq is fed with at that moment, SIGTERM ends the start, and the log is JSON."""
    with Endless(OK + VERSION, always(NOTICE * 100)) as server:
        program = connecting(tmp_path, server.port, release="v1", wait_s=60)
        program.until("wait.started")
        time.sleep(0.5)  # somewhere in the look, or after it
        program.signal(signal.SIGTERM)
        assert program.wait(30) == 143, program.output[:3000]
    assert [line for line in program.stderr.splitlines() if not line.startswith(b"{")] == []


@pytest.mark.parametrize("first", [0, 1_000, 2_000])
def test_garbage_is_no_proof_and_no_crash(first: int) -> None:
    """Of servers whose messages are changed at random, libpq and we survive every one."""
    argv = [sys.executable, "-I", *python("garbage", str(first), "150")[1:]]
    limited = ["prlimit", "--as=2000000000"]
    done = subprocess.run(
        [*limited, *argv], capture_output=True, text=True, timeout=120, check=True
    )
    assert 0 < int(done.stdout) < 150  # some were left as they are, some were not
    assert done.stderr == ""
