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
from contextlib import closing
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.server import Server, ServerError

SERVICE = ROOT / "examples" / "python-service"
BIN = Path(sys.executable).parent
COMMAND = ["entrypoint", "run", "--", "python3", "server.py"]
TENANT = "6f1c2b3a-9d4e-4f50-8a61-7b2c3d4e5f60"
PASSWORD = secrets.token_hex(8)
SEEDED = {"notes_authors": 2, "notes_notes": 3}
TIMEOUT_S = 30.0
WIDTH = shutil.get_terminal_size((100, 24)).columns

LISTENING = re.compile(r"listening on \S+:(\d+) \(pid (\d+)\)")
EVENT = re.compile(r"[\d-]{10}T(?P<time>[\d:.]{,12})\S*Z \[(?P<level>\w+) *\] (?P<rest>.*)")


class NotAsClaimedError(Exception):
    """Something is not as the demo says."""


class Start:
    """One container start; what the program and the service write is printed as it is read."""

    def __init__(self, url: str, label: str, shown: str) -> None:
        self.prefix, self.shown, self.log = f"  {label}| ", re.compile(shown), ""
        self.began = time.monotonic()
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
            raise NotAsClaimedError("the service listens")
        claim(int(found[2]) == self.process.pid, f"its PID is the one that was started, {found[2]}")
        return int(found[1]), time.monotonic() - self.began

    def exit_code(self, signum: int | None = None) -> int:
        """Block until it ends, after sending it a signal if one is given."""
        if signum is not None:
            self.process.send_signal(signum)
        self._read()
        code = self.process.wait()
        self.too_late.cancel()
        return code

    def at(self, event: str) -> datetime:
        """When it logged an event."""
        found = re.search(rf"^(\S+) \[\w+ *\] {re.escape(event)}\b", self.log, re.MULTILINE)
        if not found:
            raise NotAsClaimedError(f"{event} is logged")
        return datetime.fromisoformat(found[1])

    def _read(self, until: re.Pattern[str] | None = None) -> None:
        for line in self.process.stdout or ():
            self.log += line
            if self.shown.search(line):
                say(readable(line.rstrip(), self.prefix))
            if until and until.search(line):
                break


class Stage:
    """A server with a role that may create databases, and the starts that it has seen."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.starts: list[Start] = []
        self.ask(f"create role notes login createdb password '{PASSWORD}'")

    def start(self, database: str, *, host: str = "", label: str = "", shown: str = "") -> Start:
        """Start the service on a database."""
        host = host or f"{self.server.host}:{self.server.port}"
        url = f"postgresql://notes:{PASSWORD}@{host}/{database}"
        say(f"  {label}$ DATABASE_URL={url.replace(PASSWORD, '****')} \\")
        say(f"  {label}  SEED_TENANT_ID={TENANT} {' '.join(COMMAND)}")
        self.starts.append(Start(url, label, shown))
        return self.starts[-1]

    def ask(self, query: str, database: str = "postgres") -> list[Any]:
        """Ask the server as its superuser, past the program; the first column."""
        with self.server.connect(database) as connection:
            cursor = connection.execute(query.encode())
            return [row[0] for row in cursor] if cursor.description else []

    def rows(self, database: str) -> dict[str, int]:
        """How many rows each table of a database has."""
        tables = self.ask("select relname from pg_stat_user_tables order by 1", database)
        return {name: self.ask(f'select count(*) from "{name}"', database)[0] for name in tables}  # noqa: S608

    def close(self) -> None:
        """End every start that still runs."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C would leave some of them
        for start in self.starts:
            start.exit_code(signal.SIGTERM)


def say(text: str = "") -> None:
    """Print at once and in one piece, for threads print too."""
    print(f"{text}\n", end="", flush=True)


def act(number: int, title: str, text: str) -> None:
    """Print what comes."""
    say(f"\n{number}. {title}\n")
    say(textwrap.indent(textwrap.fill(text, min(WIDTH, 100) - 3), "   ") + "\n")


def claim(true: object, what: str) -> None:
    """Tick off what is as it should be; the demo ends where it is not."""
    if not true:
        raise NotAsClaimedError(what)
    say(f"  ok: {what}")


def readable(line: str, prefix: str) -> str:
    """Cut a line to the terminal's width; an error is wrapped instead, to be read in full."""
    event = EVENT.match(line)
    if event:
        line = f"{event['time']} {event['rest'].replace(' service=demo-notes-service', '')}"
    if event and event["level"] == "error":
        return textwrap.fill(line, WIDTH, initial_indent=prefix, subsequent_indent=prefix)
    line = prefix + line
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 3]}..."


def get(port: int, path: str) -> Any:  # noqa: ANN401 - JSON
    """Ask a service; what it answers with 200."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read().decode()
    claim(response.status == http.HTTPStatus.OK, f"GET {path.partition('?')[0]}: 200 {body[:60]}")
    return json.loads(body)


def wrong_url(stage: Stage) -> str:
    """Act 1."""
    act(
        1,
        "A wrong DATABASE_URL",
        "The default database `postgres` must hold no application "
        "table. Such a URL is refused before any connection: there is no host `db` here at all.",
    )
    start = stage.start("postgres", host="db")
    claim(start.exit_code() == 3, "exit code 3: the settings are wrong, a restart will not help")
    claim("remedy=" in start.log and "wait.started" not in start.log, "it says what to do instead")
    return "a wrong DATABASE_URL was refused with exit code 3, before any connection"


def first_start(stage: Stage) -> str:
    """Act 2."""
    act(
        2,
        "The first start, on an empty server",
        "The database is created, the service's own "
        "push_db.py makes the tables, seed.py the tenant's rows, and then the program becomes the "
        "service by exec: same process, same PID. SIGTERM, as `docker stop` sends it, reaches it.",
    )
    claim("demo_notes_db" not in stage.ask("select datname from pg_database"), "no database yet")
    start = stage.start("demo_notes_db")
    port, seconds = start.listening()
    claim(stage.rows("demo_notes_db") == SEEDED, f"rows in the database: {SEEDED}")
    claim(stage.rows("postgres") == {}, "the default database has no table")
    get(port, "/v1/health")
    notes = get(port, f"/v1/notes?tenant={TENANT}")["notes"]
    claim(len(notes) == SEEDED["notes_notes"], f"{len(notes)} notes are served")
    claim(start.exit_code(signal.SIGTERM) == 0, "SIGTERM: the service's exit code, 0")
    return f"an empty server had database, tables, rows and a service after {seconds:.1f} s"


def second_start(stage: Stage) -> str:
    """Act 3."""
    act(
        3,
        "The second start",
        "Everything is there, so push and seed change nothing. That is "
        "every restart and every deployment without a new schema.",
    )
    start = stage.start("demo_notes_db")
    seconds = start.listening()[1]
    claim("push-db: no changes" in start.log, "the push changed nothing")
    claim("seed: inserted 0 rows" in start.log, "the seed inserted nothing")
    claim(stage.rows("demo_notes_db") == SEEDED, f"rows in the database: {SEEDED}")
    claim(start.exit_code(signal.SIGTERM) == 0, "SIGTERM: exit code 0")
    return f"the second start changed nothing and served after {seconds:.1f} s"


def three_replicas(stage: Stage) -> str:
    """Act 4."""
    act(
        4,
        "Three replicas at once",
        "On another empty database. A lock in that database lets one "
        "work while the others wait; then each has its turn and finds the work done. Only the "
        "events that tell it are shown.",
    )
    shown = r"database.created|lock\.|(push|seed)\.output|listening"
    starts = [stage.start("demo_race_db", label=f"{n}", shown=shown) for n in (1, 2, 3)]
    with ThreadPoolExecutor() as pool:
        ready = list(pool.map(Start.listening, starts))
    turns = sorted((start.at("lock.acquired"), start.at("seed.finished")) for start in starts)
    claim(all(a[1] <= b[0] for a, b in pairwise(turns)), "each began after the one before was done")
    log = "".join(start.log for start in starts)
    claim(log.count("created table notes_notes") == 1, "one of them made the tables")
    claim(log.count("push-db: no changes") == 2, "the other two found them")
    claim(stage.rows("demo_race_db") == SEEDED, f"rows in the database: {SEEDED}")
    for port, _ in ready:
        get(port, "/v1/health")
    codes = [start.exit_code(signal.SIGTERM) for start in starts]
    claim(codes == [0, 0, 0], "SIGTERM: exit code 0, three times")
    return f"three replicas took turns under the lock; the last served after {max(ready)[1]:.1f} s"


def play(server: Server) -> None:
    """All acts after the server's, and the summary."""
    with closing(Stage(server)) as stage:
        said = [a(stage) for a in (wrong_url, first_start, second_start, three_replicas)]
        claim(not any(PASSWORD in start.log for start in stage.starts), "no password in any line")
    say("\nAll of it was checked:\n")
    for line in (*said, "the service kept the PID and got the SIGTERM; no line held the password"):
        say(f"  - {line}")
    say("\nRead on in README.md; the service is in examples/python-service.")


def main() -> int:
    """Play; 1 when something is not as claimed, 130 after Ctrl-C."""
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, lambda number, _: sys.exit(128 + number))
    try:
        act(
            0,
            "An empty PostgreSQL server",
            "A real one, from a Python wheel, on a free port of this "
            "machine and only for this demo. The role `notes` may create databases.",
        )
        began = time.monotonic()
        with Server.start() as server:
            say(f"  ready on port {server.port} after {time.monotonic() - began:.1f} s")
            play(server)
    except (NotAsClaimedError, ServerError) as error:
        say(f"\nNot as claimed: {error}" if isinstance(error, NotAsClaimedError) else f"\n{error}")
        return 1
    except KeyboardInterrupt:
        say("\nStopped, and everything that it started.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
