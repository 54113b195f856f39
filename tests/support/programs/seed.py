"""A seed for tests: one row for the tenant of its first argument, then the words of `push.py`."""

import os
import runpy
import sys
from pathlib import Path

import libpq  # type: ignore[import-not-found]  # it lies beside this script

tenant = sys.argv.pop(1)
with libpq.Connection(os.environ["DATABASE_URL"]) as connection:
    statement = "insert into rpg_heroes values ($1, 'Ada') on conflict do nothing returning 1"
    print("inserted", len(connection.execute(statement, [tenant])), flush=True)
os.environ["RUN_NAME"] = "seed"
runpy.run_path(str(Path(__file__).with_name("push.py")))
