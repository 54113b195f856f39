"""A real PgBouncer in front of a server, as a throw-away process."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.support.program import until
from tests.support.server import Endpoint, as_server_user, give

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
"""Where it is installed, if it is."""


class Pooler(Endpoint):
    """PgBouncer on a free loopback port; a context manager that ends it and removes its files."""

    def __init__(  # noqa: PLR0913  what a pooler is configured by
        self,
        server: Endpoint,
        *,
        mode: str,
        auth: str,
        users: Mapping[str, str],
        retry: str = "server_login_retry = 1",
        databases: Sequence[str] = ("*",),
    ) -> None:
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            port = free.getsockname()[1]
        super().__init__("127.0.0.1", port, server.superuser, server.password)
        self._folder = Path(
            tempfile.mkdtemp(prefix="pooler-", dir="/tmp")
        )  # readable to the server's user
        self._retry = retry
        self._databases = databases
        self._write(server, mode, auth, users)
        assert PROGRAM is not None
        self._process = subprocess.Popen(
            [PROGRAM, "-q", str(self._folder / "pgbouncer.ini")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **as_server_user(),
        )
        until(self._listens, "PgBouncer listens")

    def _write(self, server: Endpoint, mode: str, auth: str, users: Mapping[str, str]) -> None:
        where = f"host={server.host} port={server.port}"
        served = "\n".join(
            f"{each} {where}" if " = " in each else f"{each} = {where}" for each in self._databases
        )
        ini = f"""
            [databases]
            alias_db = host={server.host} port={server.port} dbname=postgres
            {served}
            [pgbouncer]
            listen_addr = 127.0.0.1
            listen_port = {self.port}
            unix_socket_dir =
            pool_mode = {mode}
            auth_type = {auth}
            auth_file = {self._folder}/users.txt
            {self._retry}
            logfile = {self._folder}/log
        """
        lines = [f'"{name}" "{password}"\n' for name, password in users.items()]
        (self._folder / "pgbouncer.ini").write_text("\n".join(map(str.strip, ini.splitlines())))
        (self._folder / "users.txt").write_text("".join(lines))
        for path in (self._folder, *self._folder.iterdir()):
            give(path)

    def _listens(self) -> bool:
        with closing(socket.socket()) as probe:
            return probe.connect_ex((self.host, self.port)) == 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder)
