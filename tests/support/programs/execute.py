"""A push that connects to DATABASE_URL, and executes the statements that are its arguments."""

import os
import sys

import libpq  # type: ignore[import-not-found]  # it lies beside this script

with libpq.Connection(os.environ["DATABASE_URL"]) as connection:
    for statement in sys.argv[1:]:
        connection.execute(statement)
