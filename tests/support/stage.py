"""A service to start: its folder, its settings, its database on a server, and its environment."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.support.program import Program, python, toml

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg

    from tests.support.server import Endpoint

TENANT = "6f1c2b3a-9d4e-4f50-8a61-7b2c3d4e5f60"


@dataclass
class Stage:
    """What one test starts; every part may be changed before `start`."""

    directory: Path
    server: Endpoint
    database: str
    user: str
    password: str
    push: list[str] = field(default_factory=lambda: python("push"))
    seed: list[str] = field(default_factory=lambda: python("seed", "{tenant_id}"))
    sections: dict[str, dict[str, object]] = field(default_factory=dict)
    top: dict[str, object] = field(default_factory=dict)
    """Keys of entrypoint.toml that stand in no section."""
    gates: list[dict[str, object]] = field(default_factory=list)
    environ: dict[str, str] = field(default_factory=dict)
    started: list[Program] = field(default_factory=list)

    @property
    def url(self) -> str:
        """What DATABASE_URL is unless `environ` says something else."""
        return self.server.url(self.database, self.user, self.password)

    @property
    def gate(self) -> Path:
        """The file that `push.py`'s word `wait-for` waits for; `touch` it to let the push go on."""
        return self.directory / "go"

    def write_settings(self) -> None:
        """Write entrypoint.toml; a start that reads it meanwhile finds one or the other whole."""
        push = {"command": self.push, **self.sections.get("push", {})}
        seed = {"command": self.seed, **self.sections.get("seed", {})}
        rest = {key: value for key, value in self.sections.items() if key not in ("push", "seed")}
        top = {"service": "demo", **self.top}
        text = toml({**rest, "push": push, "seed": seed, "gates": self.gates}, **top)
        draft = self.directory / "entrypoint.toml.draft"
        draft.write_text(text)
        draft.rename(self.directory / "entrypoint.toml")

    def start(self, *argv: str, command: str = "run", **options: Any) -> Program:  # noqa: ANN401  Popen's own
        """Start the program, with `true` as the service unless an argv is given."""
        self.write_settings()
        environ = {
            "PATH": os.environ["PATH"],
            "DATABASE_URL": self.url,
            "SEED_TENANT_ID": TENANT,
            "ENTRYPOINT_WAIT_TIMEOUT": "20",
            **self.environ,
        }
        words = ["run", "--", *(argv or ("true",))] if command == "run" else [command]
        program = Program.start(*words, environ=environ, directory=self.directory, **options)
        self.started.append(program)
        return program

    def close(self) -> None:
        """End what a failed test left running."""
        for program in self.started:
            if program.process.poll() is None:
                program.process.kill()
            program.wait()

    def connect(self) -> psycopg.Connection[Any]:
        """Look at the service's database as the superuser, in autocommit mode."""
        return self.server.connect(self.database)

    def runs(self, what: str) -> list[tuple[Any, Any]]:
        """When each push or seed of `programs/push.py` began and ended, in order of their start."""
        with self.connect() as connection:
            query = "select started, ended from runs where what = %s order by started"
            return connection.execute(query, [what]).fetchall()

    def sessions(self) -> list[tuple[Any, ...]]:
        """Sessions in the service's database but the one that asks."""
        with self.connect() as connection:
            return connection.execute(
                "select pid, application_name, state, query from pg_stat_activity"
                " where datname = %s and pid <> pg_backend_pid()",
                [self.database],
            ).fetchall()

    def locks(self) -> int:
        """How many advisory locks are held or waited for in the service's database."""
        with self.connect() as connection:
            row = connection.execute(
                "select count(*) from pg_locks where locktype = 'advisory' and database ="
                " (select oid from pg_database where datname = %s)",
                [self.database],
            ).fetchone()
        assert row is not None
        return int(row[0])


def service(*words: str) -> list[str]:
    """The argv of `programs/service.py`, isolated so that it sees what it was given."""
    return [sys.executable, "-I", *python("service", *words)[1:]]
