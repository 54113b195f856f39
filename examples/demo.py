"""What `make demo` runs: container starts of a real service on a real, empty PostgreSQL server.

Every act says what it shows, runs the program as a container would, and then looks for itself: at
exit codes, into the database, over HTTP. The first thing that is not as claimed ends it with 1. It
needs nothing but the virtual environment that it runs in: no network, no Docker.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.server import Server, ServerError

SERVICE = ROOT / "examples" / "python-service"
BIN = Path(sys.executable).parent
TENANT = "6f1c2b3a-9d4e-4f50-8a61-7b2c3d4e5f60"
PASSWORD = secrets.token_hex(8)
TIMEOUT_S = 30.0
WIDTH = shutil.get_terminal_size((100, 24)).columns

LISTENING = re.compile(r"listening on \S+:(\d+) \(pid (\d+)\)")
EVENT = re.compile(r"(\S+Z) \[(\w+) *\] ([a-z_.]+)(.*)")


class NotAsClaimedError(Exception):
    """Something is not as the demo says."""


class Start:
    """One container start; what the program and the service write is printed as it is read."""

    def __init__(self, url: str, *, label: str = "", shown: str = "") -> None:
        self.label, self.shown = label, re.compile(shown)
        self.log = ""
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [BIN / "entrypoint", "run", "--", "python3", "server.py"],
            cwd=SERVICE,
            env={
                "PATH": f"{BIN}:{os.environ.get('PATH', os.defpath)}",
                "DATABASE_URL": url,
                "SEED_TENANT_ID": TENANT,
                "HOST": "127.0.0.1",
                "PORT": "0",  # a free one, and the service says which
                "ENTRYPOINT_LOG_FORMAT": "console",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # Ctrl-C is the demo's, which then ends this
        )
        self.too_late = threading.Timer(TIMEOUT_S, self.process.kill)
        self.too_late.start()

    def listening(self) -> tuple[int, float]:
        """Block until the service listens; its port, and seconds since the start."""
        self._read(until=LISTENING)
        found = LISTENING.search(self.log)
        if not found:
            raise NotAsClaimedError("the service does not listen")
        claim(int(found[2]) == self.process.pid, f"the service has PID {found[2]}, the one started")
        return int(found[1]), time.monotonic() - self.began

    def get(self, port: int, path: str) -> Any:  # noqa: ANN401 - JSON
        """Ask the service, and return what it answers with 200."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read().decode()
        connection.close()
        claim(response.status == http.HTTPStatus.OK, f"GET {path} answers 200: {body[:50]}")
        return json.loads(body)

    def stop(self) -> int:
        """Do as `docker stop`, SIGTERM to the process that was started; return its exit code."""
        self.process.terminate()
        return self.exit_code()

    def exit_code(self) -> int:
        """Block until it ends."""
        self._read()
        code = self.process.wait()
        self.too_late.cancel()
        return code

    def at(self, name: str) -> datetime:
        """When it logged that event."""
        for when, _, event, _ in EVENT.findall(self.log):
            if event == name:
                return datetime.fromisoformat(when)
        raise NotAsClaimedError(f"no event {name}")

    def _read(self, until: re.Pattern[str] | None = None) -> None:
        for line in self.process.stdout or ():
            self.log += line
            if self.shown.search(line):
                say(shortened(line.rstrip(), f"  {self.label}| "))
            if until and until.search(line):
                break


class Stage:
    """A server with a role that may create databases, and the starts that it has seen."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.starts: list[Start] = []
        with server.connect() as connection:
            connection.execute(f"create role notes login createdb password '{PASSWORD}'".encode())

    def start(self, database: str, *, host: str = "", **options: str) -> Start:
        """Start the service on a database."""
        host = host or f"{self.server.host}:{self.server.port}"
        self.starts.append(Start(f"postgresql://notes:{PASSWORD}@{host}/{database}", **options))
        return self.starts[-1]

    def ask(self, query: str, database: str = "postgres") -> list[Any]:
        """Ask the server as its superuser, past the program; return the first column."""
        with self.server.connect(database) as connection:
            return [row[0] for row in connection.execute(query.encode())]

    def holds(self, database: str) -> tuple[list[str], list[int]]:
        """Tables of a database, and how many rows each has."""
        tables = self.ask("select tablename from pg_tables where schemaname = 'public' order by 1", database)
        return tables, [self.ask(f'select count(*) from "{name}"', database)[0] for name in tables]  # noqa: S608

    def close(self) -> None:
        """End every start that still runs."""
        for start in self.starts:
            start.stop()


def say(text: str = "") -> None:
    """Print in one piece, at once."""
    print(f"{text}\n", end="", flush=True)


