"""A push for tests: makes two tables, and writes down that it ran, when, and as whom.

Arguments: `sleep SECONDS`, `wait-for FILE`, `exit CODE`, `ignore-sigterm`, `say TEXT`, `say-url`,
`say-options`, `say-port`, `flood LINES`,
`daemon`, `sql STATEMENT`, `ready` (prints "ready (pid N)"), in the order in which they are done,
after the tables.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg

SCHEMA = """
create table if not exists runs (
  id int generated always as identity, what text, started timestamptz default clock_timestamp(),
  ended timestamptz);
create table if not exists rpg_heroes (tenant_id uuid, name text, primary key (tenant_id, name));
"""


def act(words: list[str], connection: psycopg.Connection) -> None:
    while words:
        word = words.pop(0)
        if word == "sleep":
            time.sleep(float(words.pop(0)))
        elif word == "wait-for":
            while not Path(words[0]).exists():
                time.sleep(0.02)
            words.pop(0)
        elif word == "exit":
            sys.exit(int(words.pop(0)))
        elif word == "ignore-sigterm":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        elif word == "say":
            print(words.pop(0), flush=True)
        elif word == "say-url":
            print("connecting to", os.environ["DATABASE_URL"], flush=True)
            print("password is", connection.info.password, file=sys.stderr, flush=True)
        elif word == "say-options":
            print("PGOPTIONS", os.environ.get("PGOPTIONS", "is not set"), flush=True)
        elif word == "say-port":
            print("port", connection.info.port, flush=True)
        elif word == "flood":
            for number in range(int(words.pop(0))):
                print(f"line {number} " + "x" * 60)
        elif word == "daemon":
            subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL)
        elif word == "sql":
            connection.execute(words.pop(0))
        elif word == "ready":
            print(f"ready (pid {os.getpid()})", flush=True)
        else:
            sys.exit(f"unknown word {word}")


def main() -> None:
    # PGAPPNAME and PGOPTIONS reach libpq from the environment, as they reach node-postgres.
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(SCHEMA)
        what = os.environ.get("RUN_NAME", "push")
        row = connection.execute("insert into runs (what) values (%s) returning id", [what])
        number = row.fetchone()
        act(sys.argv[1:], connection)
        connection.execute("update runs set ended = clock_timestamp() where id = %s", number)


main()
