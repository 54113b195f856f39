"""The tools that are run, in the order of the table in docs/tools.md."""

from __future__ import annotations

from tests.support.npm import PG
from tests.tools.tool import Tool, npm

TOOLS = [
    Tool(
        "knex",
        "3.3.0",
        ("node", "node_modules/knex/bin/cli.js", "migrate:latest"),
        npm({"knex": "3.3.0", "pg": PG}),
    ),
]
