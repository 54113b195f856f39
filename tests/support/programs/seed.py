"""A seed for tests: one row for the tenant of its first argument, then the words of `push.py`."""

import os
import runpy
import sys
from pathlib import Path

import psycopg

tenant = sys.argv.pop(1)
with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
    statement = "insert into rpg_heroes values (%s, 'Ada') on conflict do nothing"
    print("inserted", connection.execute(statement, [tenant]).rowcount, flush=True)
os.environ["RUN_NAME"] = "seed"
runpy.run_path(str(Path(__file__).with_name("push.py")))
