"""Services of the shapes that the system has: where all is well, nothing warns."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import pytest
from psycopg import sql

from tests.process.test_real_push import NODE
from tests.support.drizzle.kit import PUSH, VERSIONS, install
from tests.support.npm import HAS_NODE
from tests.support.program import Program
from tests.support.stage import TENANT, Stage

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.server import Server

OLDEST, _, NEW, _ = VERSIONS

SEED = """
const { Client } = require('pg');
const tenant = TENANT;
async function main() {
  const client = new Client({ connectionString: process.env.DATABASE_URL });
  await client.connect();
  await client.query(
    "INSERT INTO TABLE VALUES ($1, 'first') ON CONFLICT DO NOTHING",
    [tenant],
  );
  await client.end();
}
main().catch((error) => { console.error(error); process.exit(1); });
"""


class Shape(NamedTuple):
    """A service whose push-db.js is written by hand."""

    name: str
    database: str
    schema: dict[str, object]
    seeded: str
    """The table of its seed: a tenant, and a name."""

    tenant: str
    """Where its seed reads the tenant, in JavaScript."""

    registry: str | None = None
    """Of one's own."""

    seed: dict[str, object] | None = None
    """What it says of its seed besides the command."""


ROWS = "tenant_id text, name text, primary key (tenant_id, name)"

FINANCE = Shape(
    "gaqno-finance-service",
    "gaqno_finance_db",
    {
        "enums": {
            "transaction_type": ["income", "expense"],
            "transaction_status": ["pending", "paid"],
            "account_type": ["bank", "cash"],
            "recurrence": ["none", "monthly"],
        },
        "tables": {
            "finance_categories": ROWS,
            "finance_transactions": "id serial primary key, kind transaction_type not null, "
            "status transaction_status default 'pending', every recurrence[]",
            "finance_accounts": "id serial primary key, kind account_type not null",
        },
        "columns": [],
        "indexes": [["transactions_kind", "finance_transactions (kind)"]],
    },
    "finance_categories",
    "process.argv[2]",
)

RPG = Shape(
    "gaqno-rpg-service",
    "gaqno_rpg_db",
    {
        "enums": {"ability": ["str", "dex"]},
        "tables": {
            "rpg_worlds": ROWS,
            "dnd_classes": "id serial primary key, main ability",
        },
        "columns": [],
        "indexes": [],
    },
    "rpg_worlds",
    "process.env.SEED_TENANT_ID || 'everybody'",
)

DROPSHIPPING = Shape(
    "gaqno-dropshipping-service",
    "gaqno_dropshipping_db",
    {
        "enums": {"outbox_status": ["new", "sent"], "order_status": ["open", "done"]},
        "tables": {
            "dropshipping_suppliers": ROWS,
            "dropshipping_orders": "id serial primary key, status order_status",
            "outbox": "id serial primary key, status outbox_status default 'new', body text",
        },
        "columns": [],
        "indexes": [["outbox_status_idx", "outbox (status)"]],
    },
    "dropshipping_suppliers",
    "process.env.TENANT_ID",
    """
    [gaqno-dropshipping-service]
    database = "gaqno_dropshipping_db"
    prefixes = ["dropshipping_"]
    names = ["outbox"]

    [gaqno-shop-service]
    database = "gaqno_shop_db"
    prefixes = ["shop_"]
    names = ["outbox"]
    """,
    {"tenant_variable": "TENANT_ID"},
)

SHAPES = [FINANCE, RPG, DROPSHIPPING]


def staged(directory: Path, server: Server, name: str, database: str) -> Stage:
    """A service of that name, and a role that may create its database."""
    if not HAS_NODE:
        pytest.skip("Node is not installed")
    with server.connect() as connection:
        connection.execute("create role service login createdb password 'its-password'")
    stage = Stage(directory, server, database, "service", "its-password")
    stage.top["service"] = name
    return stage


def laid(shape: Shape, stage: Stage) -> None:
    """Put what a runner's last stage copies beside `dist` into the folder."""
    (stage.directory / "node_modules").symlink_to(install(NEW).node_modules)
    shutil.copy(NODE / "push-db.js", stage.directory)
    seed = SEED.replace("= TENANT", f"= {shape.tenant}").replace(
        "INTO TABLE", f"INTO {shape.seeded}"
    )
    (stage.directory / "seed.js").write_text(seed)
    stage.push = ["node", "push-db.js"]
    stage.seed = ["node", "seed.js", *(["{tenant_id}"] if "argv" in shape.tenant else [])]
    stage.sections["push"] = {"inputs": ["push-db.js", "schema.js"]}
    stage.sections["seed"] = {"inputs": ["seed.js"], **(shape.seed or {})}
    if shape.registry:
        (stage.directory / "services.toml").write_text(shape.registry)
        stage.top["services"] = "services.toml"


def release(shape: Shape, stage: Stage, name: str, *columns: list[str]) -> None:
    """Make it a release, with these columns more."""
    schema = json.dumps(shape.schema | {"columns": columns})
    (stage.directory / "schema.js").write_text(f"module.exports = {schema};\n")
    stage.environ["ENTRYPOINT_RELEASE"] = name


def quiet(program: Program) -> str:
    """It ended with 0 and said nothing that is a warning; whether it pushed and seeded, and why."""
    assert program.wait() == 0, program.output
    assert [event for event in program.events if event["level"] not in ("debug", "info")] == []
    steps = ("push.started", "push.skipped", "seed.started", "seed.skipped")
    reasons = {name: program.all(name)[0]["reason"] for name in steps if program.all(name)}
    return ", ".join(f"{name} {reason}" for name, reason in reasons.items())


def clean(stage: Stage) -> None:
    """An operator finds nothing, not even a notice."""
    environ = {"PATH": os.environ["PATH"], "DATABASE_URL": stage.server.url()}
    look = ("verify", "--strict", "--json", "--service", str(stage.top["service"]))
    program = Program.start(*look, environ=environ, directory=stage.directory)
    assert program.wait() == 0, program.output
    assert json.loads(program.stdout)["findings"] == []


NOTHING = "push.skipped unchanged, seed.skipped seeded"


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_a_service_of_the_system(shape: Shape, tmp_path: Path, own_server: Server) -> None:
    """First start, restart, a new release with an admin's URL, and restart: no warning in any."""
    stage = staged(tmp_path, own_server, shape.name, shape.database)
    laid(shape, stage)
    release(shape, stage, "v1")

    assert quiet(stage.start()) == "push.started first, seed.started first"
    assert quiet(stage.start()) == NOTHING
    query = sql.SQL("select * from {}").format(sql.Identifier(shape.seeded))
    with stage.connect() as connection:
        assert connection.execute(query).fetchall() == [(TENANT, "first")]
    clean(stage)

    stage.environ["ENTRYPOINT_ADMIN_URL"] = own_server.url()
    release(shape, stage, "v2", [shape.seeded, "note text"])
    assert quiet(stage.start()) == "push.started changed, seed.skipped seeded"
    assert quiet(stage.start()) == NOTHING
    clean(stage)


def test_a_service_that_seeds_always(tmp_path: Path, own_server: Server) -> None:
    """The registry says so of RPG: without any tenant it is seeded once, and nothing warns."""
    stage = staged(tmp_path, own_server, RPG.name, RPG.database)
    laid(RPG, stage)
    release(RPG, stage, "v1")
    stage.environ["SEED_TENANT_ID"] = ""

    assert quiet(stage.start()) == "push.started first, seed.started first"
    assert quiet(stage.start()) == NOTHING
    with stage.connect() as connection:
        worlds = connection.execute("select tenant_id from rpg_worlds").fetchall()
    assert worlds == [("everybody",)]
    clean(stage)


def test_the_shop_s_service(tmp_path: Path, own_server: Server) -> None:
    """drizzle-kit 0.21 pushes, and the service migrates: drift once, and no warning in any."""
    stage = staged(tmp_path, own_server, "gaqno-shop-service", "gaqno_shop_db")
    columns = "tenant_id text not null, name text not null"
    install(OLDEST).lay(stage.directory, {"shop_orders": columns, "outbox": columns})
    shutil.copy(NODE / "migrating.js", stage.directory)
    seed = SEED.replace("= TENANT", "= process.env.TENANT_ID").replace(
        "INTO TABLE", "INTO shop_orders"
    )
    (stage.directory / "seed.js").write_text(seed)
    (stage.directory / "services.toml").write_text(str(DROPSHIPPING.registry))
    stage.top["services"] = "services.toml"
    stage.push, stage.seed = PUSH, ["node", "seed.js"]
    stage.sections["push"] = {"inputs": ["schema.js"]}
    stage.sections["seed"] = {"tenant_variable": "TENANT_ID"}
    stage.environ |= {"ENTRYPOINT_RELEASE": "v1", "ENTRYPOINT_ADMIN_URL": own_server.url()}
    command = [*PUSH[:-1], "generate"]
    subprocess.run(command, check=True, cwd=stage.directory, capture_output=True)

    reasons = [quiet(stage.start("node", "migrating.js")) for _ in range(4)]

    assert reasons == [
        "push.started first, seed.started first",
        "push.started drift, seed.skipped seeded",
        NOTHING,
        NOTHING,
    ]
    clean(stage)
