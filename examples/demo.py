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
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.support.server import Server, ServerError

SERVICE = Path(__file__).resolve().parent / "python-service"
BIN = Path(sys.executable).parent
COMMAND = ["entrypoint", "run", "--", "python3", "server.py"]
TENANT = "6f1c2b3a-9d4e-4f50-8a61-7b2c3d4e5f60"
PASSWORD = secrets.token_hex(8)
SEEDED = {"notes_authors": 2, "notes_notes": 3}
WRONG_SETTINGS = 3
TIMEOUT_S = 30.0
WIDTH = shutil.get_terminal_size((100, 24)).columns

LISTENING = re.compile(r"listening on \S+:(\d+) \(pid (\d+)\)")
HEAD = re.compile(r"^\S+T([\d:.]{,12})\S*Z \[\w+ *\] ")
TURN = re.compile(r"^(\S+Z) .* (?:lock\.acquired|seed\.finished) ", re.MULTILINE)


class Start:
    """One container start; what program and service write is printed as it is read."""

    def __init__(self, url: str, label: str, shown: str) -> None:
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
        self.too_late.start()

    def listening(self) -> int:
        """Block until the service listens; on which port."""
        self._read(until=LISTENING)
        self.seconds = time.monotonic() - self.began
        port, pid = (LISTENING.findall(self.log) or [("0", "none: it does not listen")])[0]
        claim(pid == str(self.process.pid), f"the service's PID is the one that was started, {pid}")
        return int(port)

    def exit_code(self, signum: int | None = None) -> int:
        """Block until it ends, after sending it a signal if one is given."""
        if signum is not None:
            self.process.send_signal(signum)
        self._read()
        code = self.process.wait()
        self.too_late.cancel()
        return code

    def _read(self, until: re.Pattern[str] | None = None) -> None:
        for line in self.process.stdout or ():
            self.log += line
            if self.shown.search(line):
                say(readable(line, f"  {self.label}| "))
            if until and until.search(line):
                break


class Stage:
    """A server with a role that may create databases, and the starts that it has seen."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.starts: list[Start] = []
        self.ask(f"create role notes login createdb password '{PASSWORD}'")

    def start(self, database: str, host: str = "", *, label: str = "", shown: str = "") -> Start:
        """Start the service on a database."""
        host = host or f"{self.server.host}:{self.server.port}"
        self.starts.append(Start(f"postgresql://notes:{PASSWORD}@{host}/{database}", label, shown))
        return self.starts[-1]

    def ask(self, query: str, database: str = "postgres") -> list[Any]:
        """Ask the server as its superuser, past the program; the first column."""
        with self.server.connect(database) as connection:
            cursor = connection.execute(query.encode())
            return [row[0] for row in cursor] if cursor.description else []

    def rows(self, database: str) -> dict[str, int]:
        """How many rows each table of a database has."""
        tables = self.ask("select relname from pg_stat_user_tables", database)
        return {name: self.ask(f'select count(*) from "{name}"', database)[0] for name in tables}  # noqa: S608

    def close(self) -> None:
        """End every start that still runs."""
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, signal.SIG_IGN)  # a second Ctrl-C would leave some of them
        for start in self.starts:
            start.exit_code(signal.SIGTERM)


def wrong_url(stage: Stage) -> str:
    """A wrong DATABASE_URL.

    The default database, postgres, must hold no application table. A URL that leads there is
    refused before any connection is tried: there is no host `db` here at all.
    """
    start = stage.start("postgres", "db")
    claim(start.exit_code() == WRONG_SETTINGS, "exit code 3, settings: a restart will not help")
    claim("remedy=" in start.log and "wait.started" not in start.log, "it says what to do instead")
    return "a wrong DATABASE_URL was refused with exit code 3, before any connection"


def first_start(stage: Stage) -> str:
    """The first start, on an empty server.

    The database is created, the service's own push_db.py makes its tables, its seed.py the rows of
    a tenant, and then the program becomes the service by exec: same process, same PID. So SIGTERM,
    which `docker stop` sends, reaches the service itself.
    """
    claim("demo_notes_db" not in stage.ask("select datname from pg_database"), "no database yet")
    start = stage.start("demo_notes_db")
    port = start.listening()
    claim(stage.rows("demo_notes_db") == SEEDED, f"rows in its database: {SEEDED}")
    claim(stage.rows("postgres") == {}, "no table in the default database")
    get(port, "/v1/health")
    notes = get(port, f"/v1/notes?tenant={TENANT}")["notes"]
    claim(len(notes) == SEEDED["notes_notes"], f"{len(notes)} notes are served")
    claim(start.exit_code(signal.SIGTERM) == 0, "after SIGTERM the service's exit code, 0")
    return f"an empty server had database, tables, rows and a service after {start.seconds:.1f} s"


def second_start(stage: Stage) -> str:
    """The second start.

    Everything is there, so push and seed change nothing: every restart, and every deployment
    without a new schema.
    """
    start = stage.start("demo_notes_db")
    start.listening()
    claim("push-db: no changes" in start.log, "the push changed nothing")
    claim("seed: inserted 0 rows" in start.log, "the seed inserted nothing")
    claim(stage.rows("demo_notes_db") == SEEDED, f"rows in its database: {SEEDED}")
    claim(start.exit_code(signal.SIGTERM) == 0, "after SIGTERM exit code 0")
    return f"the second start changed nothing, and served after {start.seconds:.1f} s"


def three_replicas(stage: Stage) -> str:
    """Three replicas at once.

    On another empty database. A lock in it lets one of them work while the others wait; then each
    has its turn and finds the work done. Only the lines that tell this story are shown.
    """
    shown = r"database.created|lock\.|(push|seed)\.output|listening"
    starts = [stage.start("demo_race_db", label=label, shown=shown) for label in "123"]
    with ThreadPoolExecutor() as pool:
        ports = list(pool.map(Start.listening, starts))
    turns = sorted([datetime.fromisoformat(at) for at in TURN.findall(s.log)] for s in starts)
    instants = [instant for turn in turns for instant in turn]
    claim(instants == sorted(instants), "each got the lock after the one before was done")
    made = [start.label for start in starts if "created table notes_notes" in start.log]
    claim(len(made) == 1, f"one made the tables: {made}")
    claim(stage.rows("demo_race_db") == SEEDED, f"rows in its database: {SEEDED}")
    for port in ports:
        get(port, "/v1/health")
    claim(not any(s.exit_code(signal.SIGTERM) for s in starts), "after SIGTERM exit code 0 each")
    return f"three replicas took turns, all serving after {max(s.seconds for s in starts):.1f} s"


def main() -> None:
    """Start a server, announce every act by its docstring, play it, and sum up."""
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, lambda number, _: sys.exit(128 + number))
    acts = (wrong_url, first_start, second_start, three_replicas)
    say("\n0. An empty PostgreSQL server, for this demo only. A role there may create databases.")
    with Server.start() as server, closing(Stage(server)) as stage:
        shown = []
        for number, act in enumerate(acts, 1):
            say(f"\n{number}. {inspect.getdoc(act)}\n")
            shown.append(act(stage))
        claim(not any(PASSWORD in start.log for start in stage.starts), "no password in any line")
    say("\nWhat you saw, all of it checked:\n")
    for line in (*shown, "the service kept the PID and got the SIGTERM; no line had the password"):
        say(f"  - {line}")
    say("\nRead on in README.md; the service is in examples/python-service.")


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
    line = prefix + HEAD.sub(r"\1 ", line).replace(" service=demo-notes-service", "").rstrip()
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
