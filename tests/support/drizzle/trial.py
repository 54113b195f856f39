"""Starts a service whose push is drizzle-kit's, and looks at its database before and after."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from psycopg import sql

from tests.support.drizzle.kit import PUSH
from tests.support.drizzle.world import World, look

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.support.drizzle.kit import Kit
    from tests.support.drizzle.world import Schema
    from tests.support.program import Program
    from tests.support.stage import Stage

GUARDS = """
select evtname from pg_event_trigger union all
select tgname from pg_trigger where not tgisinternal union all
select proname from pg_proc where pronamespace in (select oid from pg_namespace
  where nspname like 'pg\\_temp%')
"""


@dataclass(frozen=True)
class Scenario:
    """The schema in the image, what is in the database before, and how the start is started."""

    wanted: Schema
    flags: tuple[str, ...] = ()
    before: tuple[str, ...] | None = ()
    """Statements on a database with the schema before; None where there is no database yet."""

    role: str = "superuser"
    """`superuser`; `plain`, which owns all; `admin`, which is plain with ENTRYPOINT_ADMIN_URL."""

    stdin: str = ""
    """A redirection of the whole start's; `<>stdin` is a pipe that nobody closes."""

    elsewhere: str = ""
    """Where the push connects to, unlike us: `closed port` or `missing database`."""


class Ended(NamedTuple):
    """A start that came to its end."""

    program: Program
    code: int
    before: World
    after: World


@dataclass
class Trial:
    """One service with one version of drizzle-kit."""

    stage: Stage
    kit: Kit
    template: str
    """A database with the schema before, as this version itself pushed it."""

    def prepare(self, scenario: Scenario) -> None:
        """Make the database, as far as there is one before the start."""
        stage = self.stage
        if scenario.role == "superuser":
            stage.user, stage.password = stage.server.superuser, stage.server.password
        owner = stage.user
        if scenario.role == "admin":
            stage.environ["ENTRYPOINT_ADMIN_URL"] = stage.server.url()
        if scenario.before is None:
            return
        create = sql.SQL("create database {} template {} owner {}")
        alter = sql.SQL("alter table {} owner to {}")
        names = map(sql.Identifier, (stage.database, self.template, owner))
        with stage.server.connect() as connection:
            connection.execute(create.format(*names))
        with stage.connect() as connection:
            for table in look(connection).tables:
                names = map(sql.Identifier, (table, owner))
                connection.execute(alter.format(*names))
            for statement in scenario.before:
                connection.execute(statement.encode())

    def start(self, scenario: Scenario, *, may_lose: Collection[str] = ()) -> Ended:
        """Start once, to the end.

        Of every start it is true that the service is started if and only if the exit code is 0;
        that the schema in the database is then the image's; that no row is lost, but for those of
        the tables in ``may_lose``; and that the guard leaves nothing behind.
        """
        before = self._look()
        program = self._start(scenario)
        code = program.wait()
        after = self._look()
        served = program.stdout == b"served\n"
        assert served == (code == 0) == ("handoff.executed" in program.names()), program.output
        assert not served or after.tables == scenario.wanted, program.output
        assert [row for row in before.lost(after) if row[0] not in may_lose] == [], program.output
        return Ended(program, code, before, after)

    def _start(self, scenario: Scenario) -> Program:
        stage = self.stage
        self.kit.lay(stage.directory, scenario.wanted)
        stage.push = [*self._elsewhere(scenario), *PUSH, *scenario.flags]
        stage.environ["ENTRYPOINT_SKIP"] = "seed"
        through: list[str] = []
        if scenario.stdin:
            if not (stage.directory / "stdin").exists():
                os.mkfifo(stage.directory / "stdin")
            through = ["sh", "-c", f'exec "$@" {scenario.stdin}', "sh"]
        return stage.start("echo", "served", through=through)

    def _elsewhere(self, scenario: Scenario) -> list[str]:
        stage = self.stage
        urls = {
            "closed port": stage.url.replace(f":{stage.server.port}/", ":1/"),
            "missing database": stage.server.url("nowhere"),
        }
        return ["env", f"DATABASE_URL={urls[scenario.elsewhere]}"] if scenario.elsewhere else []

    def _look(self) -> World:
        stage = self.stage
        with stage.server.connect() as connection:
            known = "select from pg_database where datname = %s"
            if not connection.execute(known, [stage.database]).rowcount:
                return World({}, {})
        with stage.connect() as connection:
            assert connection.execute(GUARDS).fetchall() == []
            return look(connection)
