"""`make demo` runs this: container starts of a real service on a real, empty PostgreSQL server.

Each act says what it shows, runs the program as a container would, and checks every claim: by exit
codes, in the database, over HTTP. The first claim that fails ends the demo with exit code 1.
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
    """One container start; the demo prints the lines of program and service as it reads them."""

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
                "PORT": "0",  # the service takes a free one and prints it
                "ENTRYPOINT_LOG_FORMAT": "console",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C reaches only the demo, which then ends the start
        )
        self.too_late = threading.Timer(TIMEOUT_S, self.process.kill)
        self.too_late.daemon = True
        self.too_late.start()

    def serving(self) -> int:
        """Block until the service listens, and check its health; returns its port."""
        self._read(until=LISTENING)
        self.seconds = time.monotonic() - self.began
        port, pid = (LISTENING.findall(self.log) or [("0", "0")])[0]
        claim(int(pid) == self.process.pid, "the service listens, with the PID that was started")
        claim("[warning" not in self.log, "the log has no warning")
        get(int(port), "/v1/health")
        return int(port)

    def exit_code(self, signum: int | None = None) -> int:
        """Send the process a signal, if there is one, and block until it ends."""
        if signum is not None:
            self.process.send_signal(signum)
        self._read()
        self.process.wait()
        self.too_late.cancel()
        claim(PASSWORD not in self.log, "no line of the log has the password")
        return self.process.returncode

    def close(self) -> None:
        """End the process if it still runs, because a claim failed or somebody stopped the demo."""
        if self.process.poll() is None:
            for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(
                    signum, signal.SIG_IGN
                )  # a second Ctrl-C would leave the process running
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

    The default database, postgres, must contain no application table, and services.toml gives this
    service another database. The start refuses the URL, shows the right one, and creates nothing.
    """
    with closing(Start(server, "postgres")) as start:
        claim(start.exit_code() == WRONG_SETTINGS, "exit code 3, settings: no restart can help")
        claim(
            f"/{DATABASE} (" in start.log and "wait.started" not in start.log,
            "the error has the right URL",
        )
    claim(
        DATABASE not in ask(server, "select datname from pg_database"),
        "the server has no new database",
    )
    return "the start refused a wrong DATABASE_URL with exit code 3, and showed the right one"


def first_start(server: Server) -> str:
    """The first start, on an empty server.

    The program creates the database, the service's own push_db.py creates its tables, and seed.py a
    tenant's rows. Then the program becomes the service by exec. It stays one process, so `docker
    stop` sends its SIGTERM to the service itself.
    """
    claim(DATABASE not in ask(server, "select datname from pg_database"), "no database yet")
    with closing(Start(server)) as start:
        port = start.serving()
        claim(rows(server, DATABASE) == SEEDED, f"rows in its database: {SEEDED}")
        claim(rows(server, "postgres") == {}, "no table in the default database")
        notes = get(port, f"/v1/notes?tenant={TENANT}")["notes"]
        claim(len(notes) == SEEDED["notes_notes"], f"the service answers with {len(notes)} notes")
        claim(start.exit_code(signal.SIGTERM) == 0, "after SIGTERM the service's exit code, 0")
    return f"an empty server had database, tables, rows and a service after {start.seconds:.1f} s"


def second_start(server: Server) -> str:
    """The second start.

    The ledger in the database's comment proves that nothing has changed, so the program runs
    neither push nor seed, as at every restart and every deployment without a new schema.
    """
    with closing(Start(server)) as start:
        start.serving()
        claim(
            re.search(r"push\.skipped .*unchanged", start.log), "no push, because nothing changed"
        )
        claim(
            re.search(r"seed\.skipped .*seeded", start.log),
            "no seed, because the tenant has its rows",
        )
        claim("lock." not in start.log, "no lock: one connection, one query, exec")
        claim(rows(server, DATABASE) == SEEDED, f"rows in its database: {SEEDED}")
        claim(start.exit_code(signal.SIGTERM) == 0, "after SIGTERM exit code 0")
    return f"the second start changed nothing, and served after {start.seconds:.1f} s"


def three_replicas(server: Server) -> str:
    """Three replicas at once.

    The demo has dropped the database, so the server is empty again. A lock lets one replica push
    and seed while the others wait; then they find the work done and go on. The demo shows only the
    lines about that.
    """
    ask(server, f"drop database {DATABASE}")
    shown = r"database.created|lock\.|(push|seed)\.(printed|finished|skipped)|listening"
    with ExitStack() as stack, ThreadPoolExecutor() as pool:
        new = (Start(server, label=label, shown=shown) for label in "123")
        starts = [stack.enter_context(closing(start)) for start in new]
        list(pool.map(Start.serving, starts))
        for work in ("push", "seed"):
            did = "".join(start.label for start in starts if f"{work}.finished" in start.log)
            claim(len(did) == 1, f"one replica, number {did}, ran the {work}")
        claim(rows(server, DATABASE) == SEEDED, f"rows in its database: {SEEDED}")
        claim(not any(s.exit_code(signal.SIGTERM) for s in starts), "after SIGTERM exit code 0")
    last = max(start.seconds for start in starts)
    return f"three replicas pushed and seeded once; all served after {last:.1f} s"


def main() -> None:
    """Start a server, print the docstring of each act and run it, and sum up."""
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, lambda number, _: sys.exit(128 + number))
    say("\n0. An empty PostgreSQL server, for this demo only. A role there may create databases.")
    with Server.start() as server:
        ask(server, f"create role notes login createdb password '{PASSWORD}'")
        shown = []
        for number, act in enumerate((wrong_url, first_start, second_start, three_replicas), 1):
            say(f"\n{number}. {inspect.getdoc(act)}\n")
            shown.append(act(server))
    say("\nThe demo has checked all of this:\n")
    for line in (*shown, "the service kept the PID and got the SIGTERM; no line had the password"):
        say(f"  - {line}")
    say("\nRead on in docs/tutorial.md; the service is in examples/python-service.")


def ask(server: Server, query: str, database: str = "postgres") -> list[Any]:
    """Query the server as the superuser, without the program; returns the first column."""
    with server.connect(database) as connection:
        cursor = connection.execute(query.encode())
        return [row[0] for row in cursor] if cursor.description else []


def rows(server: Server, database: str) -> dict[str, int]:
    """Count the rows of each table of a database."""
    tables = ask(server, "select relname from pg_stat_user_tables", database)
    return {name: ask(server, f'select count(*) from "{name}"', database)[0] for name in tables}  # noqa: S608


def claim(true: object, what: str) -> None:
    """Print a claim that is true; end the demo at one that is not."""
    if not true:
        sys.exit(f"\nNot as claimed: {what}")
    say(f"  ok: {what}")


def get(port: int, path: str) -> Any:  # noqa: ANN401 - JSON
    """Send a GET request to a service; returns the JSON that came with 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read().decode()  # to its end, which closes the connection
    claim(response.status == http.HTTPStatus.OK, f"GET {path.partition('?')[0]}: 200 {body[:60]}")
    return json.loads(body)


def readable(line: str, prefix: str) -> str:
    """Cut a line to the terminal's width, or wrap it if it has a remedy."""
    line = HEAD.sub(lambda head: f"{head[1]} {head[2]:<18} ", line)
    line = prefix + line.replace(" service=demo-notes-service", "").rstrip()
    if "remedy=" in line:
        return textwrap.fill(line, WIDTH, subsequent_indent=prefix)
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 3]}..."


def say(text: str) -> None:
    """Print a line at once and in one piece, because threads print too."""
    print(f"{text}\n", end="", flush=True)


if __name__ == "__main__":
    try:
        main()
    except ServerError as error:
        sys.exit(f"\n{error}")
    except KeyboardInterrupt:
        say("\nStopped, with every process that the demo had started.")
        sys.exit(130)
