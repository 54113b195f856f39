"""A push for tests: makes two tables, and writes down that it ran, when, and as whom.

Arguments, in the order in which they are done, after the tables:

- `sql STATEMENT`; `try STATEMENT` hides the server's error, `tell STATEMENT` prints it as
  node-postgres does, and both go on;
- `say TEXT`, `complain TEXT` (on stderr), `half TEXT` (without its end), `say-url`, `say-port`,
  `say-options`, `say-environ NAME`, `say-peak` (the most memory that its parent had), `ready`
  (prints "ready (pid N)"), `flood LINES`, `flood-mb MEGABYTES` (first a line without an end);
- `sleep SECONDS`, `hang`, `wait-for FILE`, `exit CODE`, `ignore-sigterm`, `close-pipes`;
- `daemon` leaves a process in its group; `escape FILE` one that left group and session, and goes on
  making tables when it has written its pid and its session's to the file; `escape-to FILE
  STATEMENT` one that runs the statement; `witness FILE` says what has become of it.
"""

import os
import re
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import libpq  # type: ignore[import-not-found]  # it lies beside this script

SCHEMA = """
create table if not exists runs (
  id int generated always as identity, what text, started timestamptz default clock_timestamp(),
  ended timestamptz);
create table if not exists rpg_heroes (tenant_id uuid, name text, primary key (tenant_id, name));
"""

LINE = b"x" * 199 + b"\n"


def act(words: list[str], connection: libpq.Connection) -> None:
    while words:
        word = words.pop(0)
        if speak(word, words, connection) or leave(word, words, connection):
            continue
        if word == "sleep":
            time.sleep(float(words.pop(0)))
        elif word == "hang":
            signal.pause()
        elif word == "wait-for":
            wait_for(words.pop(0))
        elif word == "exit":
            sys.exit(int(words.pop(0)))
        elif word == "ignore-sigterm":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        elif word == "close-pipes":
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
        elif word == "sql":
            connection.execute(words.pop(0))
        elif word in ("try", "tell"):
            attempt(words.pop(0), connection, tell=word == "tell")
        else:
            sys.exit(f"unknown word {word}")


def speak(word: str, words: list[str], connection: libpq.Connection) -> bool:
    """Do a word that writes; whether it was one."""
    if word == "say":
        print(words.pop(0), flush=True)
    elif word == "complain":
        print(words.pop(0), file=sys.stderr, flush=True)
    elif word == "half":
        print(words.pop(0), end="", flush=True)
    elif word == "say-url":
        print("connecting to", os.environ["DATABASE_URL"], flush=True)
        print("password is", connection.password, file=sys.stderr, flush=True)
    elif word == "say-options":
        print("PGOPTIONS", os.environ.get("PGOPTIONS", "is not set"), flush=True)
    elif word == "say-environ":
        name = words.pop(0)
        print(name, os.environ.get(name, "is not set"), flush=True)
    elif word == "say-port":
        print("port", connection.port, flush=True)
    elif word == "say-peak":
        status = Path(f"/proc/{os.getppid()}/status").read_text()
        print("peak", *re.findall(r"VmHWM:\s+(\d+) kB", status), flush=True)
    elif word == "ready":
        print(f"ready (pid {os.getpid()})", flush=True)
    elif word == "flood":
        for number in range(int(words.pop(0))):
            print(f"line {number} " + "x" * 60)
    elif word == "flood-mb":
        flood(int(words.pop(0)))
    else:
        return False
    return True


def leave(word: str, words: list[str], connection: libpq.Connection) -> bool:
    """Do a word that leaves something behind, or is done there; whether it was one."""
    if word == "daemon":
        subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL)
    elif word == "escape":
        escape(words.pop(0), "go-on")
    elif word == "escape-to":
        path, statement = words[:2]
        del words[:2]
        escape(path, "sql", statement)
    elif word == "announce":
        path = words.pop(0)
        Path(f"{path}.draft").write_text(f"{os.getpid()} {connection.pid}")
        Path(f"{path}.draft").rename(path)
    elif word == "go-on":
        for number in count():
            connection.execute(f"create table rpg_later_{number} (id int)")
            time.sleep(0.02)
    elif word == "witness":
        witness(words.pop(0), connection)
    else:
        return False
    return True


def wait_for(path: str) -> None:
    while not Path(path).exists():
        time.sleep(0.02)


def attempt(statement: str, connection: libpq.Connection, *, tell: bool) -> None:
    try:
        connection.execute(statement)
    except libpq.Error as error:
        if tell:
            print(f"error: {error.primary}", file=sys.stderr, flush=True)


def flood(megabytes: int) -> None:
    for number in range(megabytes):
        block = b"x" * 200 if number < megabytes * 9 // 10 else LINE
        left = memoryview(block * 5000)
        while left:
            left = left[os.write(1, left) :]


def escape(path: str, *words: str) -> None:
    """Start this program again in a session of its own, with nobody for a parent."""
    argv = [sys.executable, __file__, "announce", path, *words]
    script = 'setsid "$0" "$@" </dev/null >/dev/null 2>&1 &'
    subprocess.run(["sh", "-c", script, *argv], check=True, env={**os.environ, "RUN_NAME": "later"})
    wait_for(path)


def witness(path: str, connection: libpq.Connection) -> None:
    pid, session = Path(path).read_text().split()
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
        state = status.rpartition(")")[2].split()[0]
    except FileNotFoundError:
        state = "gone"
    sessions = len(connection.execute("select 1 from pg_stat_activity where pid = $1", [session]))
    print(f"daemon {'dead' if state in ('gone', 'Z') else state}, {sessions} sessions", flush=True)


def main() -> None:
    # PGAPPNAME and PGOPTIONS reach libpq from the environment, as they reach node-postgres.
    with libpq.Connection(os.environ["DATABASE_URL"]) as connection:
        connection.execute(SCHEMA)
        what = os.environ.get("RUN_NAME", "push")
        number = connection.execute("insert into runs (what) values ($1) returning id", [what])
        act(sys.argv[1:], connection)
        connection.execute("update runs set ended = clock_timestamp() where id = $1", number)


main()
