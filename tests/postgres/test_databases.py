"""Creating a database, as the server sees it."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

from entrypoint.config.conninfo import Conninfo
from entrypoint.postgres import databases
from entrypoint.postgres.session import open_session

if TYPE_CHECKING:
    from tests.support.server import Endpoint


def test_a_statement_timeout_does_not_end_it(server: Endpoint, database: str) -> None:
    """It is the role's, for its service's queries; a disk may take longer for a database."""
    params = {"host": server.host, "port": str(server.port), "dbname": "postgres"}
    params |= {"user": server.superuser, "password": server.password}
    with closing(open_session(Conninfo(params), 5, application_name="test")) as session:
        session.connection.execute("set statement_timeout = '10ms'")
        deadline = time.monotonic() + 60
        made = [
            databases.create(
                session, database, owner=server.superuser, isolate=True, deadline=deadline
            )
            for _ in range(2)
        ]
    assert made == [True, False]
