"""A live service beside a push, on DATABASE_URL: writes, empties its cache, swaps a table.

It does all of that by turns from an old connection and from a new one, writes a file `rounds` with
how many turns it has had, and ends when the file `stop` is there, or with a traceback at the first
error.
"""

import os
import time
from pathlib import Path

import psycopg

URL = os.environ["DATABASE_URL"]

SWAP = """
begin;
create table rpg_swap_new as select * from rpg_swap;
alter table rpg_swap rename to rpg_swap_old;
alter table rpg_swap_new rename to rpg_swap;
drop table rpg_swap_old;
commit
"""


def turn(connection: psycopg.Connection) -> None:
    connection.execute("insert into rpg_events values (clock_timestamp())")
    connection.execute("truncate rpg_cache")
    connection.execute("insert into rpg_cache values (1)")
    connection.execute(SWAP)


rounds = 0
with psycopg.connect(URL, autocommit=True) as old:
    while not Path("stop").exists():
        turn(old)
        with psycopg.connect(URL, autocommit=True) as new:
            turn(new)
        rounds += 1
        Path("rounds.draft").write_text(str(rounds))
        Path("rounds.draft").rename("rounds")
        time.sleep(0.05)
