"""The tools that are run, in the order of the table in docs/tools.md."""

from __future__ import annotations

import sys

from tests.support.npm import PG
from tests.tools.tool import Tool, npm, pip, wheel

_BY_SCRIPT = ("sh", "push.sh")
_PYTHON = {"PYTHON": sys.executable, "PYTHONPATH": "site"}

_PRISMA = {
    "CHECKPOINT_DISABLE": "1",
    "PRISMA_HIDE_UPDATE_MESSAGE": "1",
    # It would download what its own configuration says it does not need.
    "PRISMA_QUERY_ENGINE_LIBRARY": "/bin/true",
    "PRISMA_SCHEMA_ENGINE_BINARY": "/bin/true",
}


def _typeorm(version: str) -> Tool:
    push = ("node", "node_modules/typeorm/cli.js", "migration:run", "-d", "data-source.js")
    return Tool("TypeORM", version, push, npm({"typeorm": version, "pg": PG}), "typeorm")


def _mikro_orm(version: str, node: str) -> Tool:
    names = ("cli", "core", "postgresql", "migrations")
    packages = {f"@mikro-orm/{name}": version for name in names}
    push = (node, "node_modules/@mikro-orm/cli/cli.js", "migration:up")
    install = npm(packages, newer=node != "node")
    return Tool("MikroORM", version, push, install, "mikro-orm", {"NO_COLOR": "1"})


def _kysely(version: str, cli: str, file: str, node: str) -> Tool:
    push = (
        node,
        f"node_modules/kysely-ctl/dist/{file}",
        "migrate",
        "latest",
        "--no-outdated-check",
    )
    packages = {"kysely": version, "kysely-ctl": cli, "pg": PG}
    return Tool("Kysely", version, push, npm(packages, newer=node != "node"), "kysely")


TOOLS = [
    Tool(
        "Knex",
        "3.3.0",
        ("node", "node_modules/knex/bin/cli.js", "migrate:latest"),
        npm({"knex": "3.3.0", "pg": PG}),
        "knex",
    ),
    _typeorm("0.3.31"),
    _typeorm("1.1.1"),
    Tool(
        "Sequelize",
        "6.6.5",
        ("node", "node_modules/sequelize-cli/lib/sequelize", "db:migrate"),
        npm({"sequelize": "6.37.8", "sequelize-cli": "6.6.5", "pg": PG}),
        "sequelize",
        mend="drop table rpg_logs",
    ),
    _mikro_orm("6.6.7", "node"),
    _mikro_orm("7.2.1", "bin/node"),
    _kysely("0.28.19", "0.19.0", "bin.js", "node"),
    _kysely("0.29.9", "0.21.0", "bin.mjs", "bin/node"),
    Tool(
        "Kysely",
        "0.28.19 Migrator",
        ("node", "migrate.js"),
        npm({"kysely": "0.28.19", "pg": PG}),
        "kysely-migrator",
    ),
    Tool(
        "node-pg-migrate",
        "9.0.0",
        ("node", "node_modules/node-pg-migrate/bin/node-pg-migrate.js", "up"),
        npm({"node-pg-migrate": "9.0.0", "pg": PG}),
    ),
    Tool(
        "Prisma",
        "6.19.3",
        _BY_SCRIPT,
        npm({"prisma": "6.19.3", "@prisma/adapter-pg": "6.19.3", "pg": PG}),
        folder="prisma",
        environ=_PRISMA,
    ),
    Tool(
        "Alembic",
        "1.20.1",
        (sys.executable, "-m", "alembic", "upgrade", "head"),
        pip(
            {
                "alembic": "1.20.1",
                "sqlalchemy": "2.1.9",
                "mako": "1.4.3",
                "markupsafe": "3.0.4",
            }
        ),
        folder="alembic",
        environ=_PYTHON,
    ),
    Tool(
        "Django",
        "5.2.19",
        _BY_SCRIPT,
        pip({"django": "5.2.19", "asgiref": "3.13.0", "sqlparse": "0.6.1"}),
        folder="django",
        environ=_PYTHON,
    ),
    Tool("dbmate", "2.36.0", _BY_SCRIPT, npm({"dbmate": "2.36.0"})),
    Tool("psql", "18", _BY_SCRIPT, wheel),
]

_ORMS = ("Knex", "TypeORM", "Sequelize", "MikroORM", "Kysely")
ORMS = {t.name: t for t in TOOLS if t.name in _ORMS and " " not in t.version}
"""The newest version of each ORM of Node, by name."""
