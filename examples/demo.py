"""What `make demo` runs: container starts of a real service on a real, empty PostgreSQL server.

Every act says what it shows, runs the program as a container would, and looks for itself: at exit
codes, into the database, over HTTP. The first thing that is not as claimed ends it with 1.
"""

import http.client
import inspect
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
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.support.server import Server, ServerError

SERVICE = Path(__file__).resolve().parent / "python-service"
BIN = Path(sys.executable).parent
COMMAND = ["entrypoint", "run", "--", "python3", "server.py"]
TENANT = "6f1c2b3a-9d4e-4f50-8a61-7b2c3d4e5f60"
PASSWORD = secrets.token_hex(8)
DATABASE = "demo_notes_db"  # the registry's, in services.toml
SEEDED = {"notes_authors": 2, "notes_notes": 3}
WRONG_SETTINGS = 3
TIMEOUT_S = 30.0
WIDTH = shutil.get_terminal_size((100, 24)).columns

LISTENING = re.compile(r"listening on \S+:(\d+) \(pid (\d+)\)")
HEAD = re.compile(r"^\S+T([\d:.]{,12})\S*Z \[\w+ *\] (\S+) *")


class Start:
    """One container start; what program and service write is printed as it is read."""

    def __init__(
        self, server: Server, database: str = DATABASE, *, label: str = "", shown: str = ""
    ) -> None:
        url = f"postgresql://notes:{PASSWORD}@{server.host}:{server.port}/{database}"
        say(f"  {label}$ DATABASE_URL={url.replace(PASSWORD, '****')} \\")
        say(f"  {label}  SEED_TENANT_ID={TENANT} {' '.join(COMMAND)}")
        self.label, self.shown, self.log = label, re.compile(shown), ""
        self.began, self.seconds = time.monotonic(), 0.0
        self.process = subprocess.Popen(
            [BIN / COMMAND[0], *COMMAND[1:]],
            cwd=SERVICE,
            env={
                "PATH": f"{BIN}:{os.environ.get('PATH', os.defpath)}",
                "DATABASE_URL": url,
                "SEED_TENANT_ID": TENANT,
                "HOST": "127.0.0.1",
                "PORT": "0",  # a free one; the service says which
                "ENTRYPOINT_LOG_FORMAT": "console",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C is the demo's, which then ends this
        )
        self.too_late = threading.Timer(TIMEOUT_S, self.process.kill)
        self.too_late.daemon = True
        self.too_late.start()

    def serving(self) -> int:
        """Block until the service listens, and ask for its health; returns its port."""
        self._read(until=LISTENING)
        self.seconds = time.monotonic() - self.began
        port, pid = (LISTENING.findall(self.log) or [("0", "0")])[0]
        claim(int(pid) == self.process.pid, "the service listens, with the PID that was started")
        claim("[warning" not in self.log, "no warning: there is nothing to say")
        get(int(port), "/v1/health")
        return int(port)

    def exit_code(self, signum: int | None = None) -> int:
        """Block until it ends, after sending it a signal if one is given."""
        if signum is not None:
            self.process.send_signal(signum)
        self._read()
        self.process.wait()
        self.too_late.cancel()
        claim(PASSWORD not in self.log, "no line of it has the password")
        return self.process.returncode

    def close(self) -> None:
        """End it if it runs because the demo went wrong or was stopped."""
        if self.process.poll() is None:
            for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(signum, signal.SIG_IGN)  # a second Ctrl-C would leave it running
            self.exit_code(signal.SIGTERM)

    def _read(self, until: re.Pattern[str] | None = None) -> None:
        for line in self.process.stdout or ():
            self.log += line
            if self.shown.search(line):
                say(readable(line, f"  {self.label}| "))
            if until and until.search(line):
                break


def wrong_url(server: Server) -> str:
    """A wrong DATABASE_URL.

    The default database, postgres, must hold no application table, and services.toml gives this
    service another one. A URL that leads there is refused, with the right one, and nothing is made.
    """
    with closing(Start(server, "postgres")) as start:
        claim(start.exit_code() == WRONG_SETTINGS, "exit code 3, settings: no restart will help")
        claim(
            f"/{DATABASE} (" in start.log and "wait.started" not in start.log, "it says what will"
        )
    claim(DATABASE not in ask(server, "select datname from pg_database"), "nothing was made")
    return "a wrong DATABASE_URL was refused with exit code 3, and the right one told"


def first_start(server: Server) -> str:
    """The first start, on an empty server.

    The database is created, the service's own push_db.py makes its tables and seed.py a tenant's
    rows. Then the program becomes the service by exec: the same process, which SIGTERM, sent by
    `docker stop`, reaches directly.
    """
    claim(DATABASE not in ask(server, "select datname from pg_database"), "no database yet")
    with closing(Start(server)) as start:
        port = start.serving()
        claim(rows(server, DATABASE) == SEEDED, f"rows in its database: {SEEDED}")
        claim(rows(server, "postgres") == {}, "no table in the default database")
        notes = get(port, f"/v1/notes?tenant={TENANT}")["notes"]
        claim(len(notes) == SEEDED["notes_notes"], f"{len(notes)} notes are served")
        claim(start.exit_code(signal.SIGTERM) == 0, "after SIGTERM the service's exit code, 0")
    return f"an empty server had database, tables, rows and a service after {start.seconds:.1f} s"


def second_start(server: Server) -> str:
    """The second start.

    The ledger in the database's comment proves that nothing has changed, so nothing is run: every
    restart, and every deployment without a new schema.
    """
    with closing(Start(server)) as start:
        start.serving()
        claim(re.search(r"push\.skipped .*unchanged", start.log), "no push: nothing changed")
        claim(re.search(r"seed\.skipped .*seeded", start.log), "no seed: the tenant has it")
        claim("lock." not in start.log, "no lock: one connection, one query, exec")
        claim(rows(server, DATABASE) == SEEDED, f"rows in its database: {SEEDED}")
        claim(start.exit_code(signal.SIGTERM) == 0, "after SIGTERM exit code 0")
    return f"the second start changed nothing, and served after {start.seconds:.1f} s"


def three_replicas(server: Server) -> str:
    """Three replicas at once.

    The database was dropped, so the server is empty again. A lock in it lets one of them work while
    the others wait; then they find the work done and go straight on. Only the lines that tell this
    story are shown.
    """
    ask(server, f"drop database {DATABASE}")
    shown = r"database.created|lock\.|(push|seed)\.(output|finished|skipped)|listening"
    with ExitStack() as stack, ThreadPoolExecutor() as pool:
        new = (Start(server, label=label, shown=shown) for label in "123")
        starts = [stack.enter_context(closing(start)) for start in new]
        list(pool.map(Start.serving, starts))
        for work in ("push", "seed"):
            did = "".join(start.label for start in starts if f"{work}.finished" in start.log)
            claim(len(did) == 1, f"one did the {work}, replica {did}")
        claim(rows(server, DATABASE) == SEEDED, f"rows in its database: {SEEDED}")
        claim(not any(s.exit_code(signal.SIGTERM) for s in starts), "after SIGTERM exit code 0")
    return (
        f"three replicas did the work once; all served after {max(s.seconds for s in starts):.1f} s"
    )


def main() -> None:
    """Start a server, announce every act by its docstring, play it, and sum up."""
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, lambda number, _: sys.exit(128 + number))
    say("\n0. An empty PostgreSQL server, for this demo only. A role there may create databases.")
    with Server.start() as server:
        ask(server, f"create role notes login createdb password '{PASSWORD}'")
        shown = []
        for number, act in enumerate((wrong_url, first_start, second_start, three_replicas), 1):
            say(f"\n{number}. {inspect.getdoc(act)}\n")
            shown.append(act(server))
    say("\nWhat you saw, all of it checked:\n")
    for line in (*shown, "the service kept the PID and got the SIGTERM; no line had the password"):
        say(f"  - {line}")
    say("\nRead on in docs/tutorial.md; the service is in examples/python-service.")


def ask(server: Server, query: str, database: str = "postgres") -> list[Any]:
    """Ask as the superuser, past the program; the first column."""
    with server.connect(database) as connection:
        cursor = connection.execute(query.encode())
        return [row[0] for row in cursor] if cursor.description else []


def rows(server: Server, database: str) -> dict[str, int]:
    """How many rows each table of a database has."""
    tables = ask(server, "select relname from pg_stat_user_tables", database)
    return {name: ask(server, f'select count(*) from "{name}"', database)[0] for name in tables}  # noqa: S608


def claim(true: object, what: str) -> None:
    """Tick off what is as it should be; the demo ends where it is not."""
    if not true:
        sys.exit(f"\nNot as claimed: {what}")
    say(f"  ok: {what}")


def get(port: int, path: str) -> Any:  # noqa: ANN401 - JSON
    """Ask a service; what it answers with 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read().decode()  # to its end, which closes the connection
    claim(response.status == http.HTTPStatus.OK, f"GET {path.partition('?')[0]}: 200 {body[:60]}")
    return json.loads(body)


def readable(line: str, prefix: str) -> str:
    """Cut a line to the terminal's width; what has a remedy is wrapped, to be read in full."""
    line = HEAD.sub(lambda head: f"{head[1]} {head[2]:<18} ", line)
    line = prefix + line.replace(" service=demo-notes-service", "").rstrip()
    if "remedy=" in line:
        return textwrap.fill(line, WIDTH, subsequent_indent=prefix)
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 3]}..."


def say(text: str) -> None:
    """Print at once and in one piece, for threads print too."""
    print(f"{text}\n", end="", flush=True)


if __name__ == "__main__":
    try:
        main()
    except ServerError as error:
        sys.exit(f"\n{error}")
    except KeyboardInterrupt:
        say("\nStopped, with all that was started.")
        sys.exit(130)
