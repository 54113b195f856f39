"""What tools say comes to the right verdict: every line was recorded from the tool it is of."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrypoint import log
from entrypoint.config import tools
from entrypoint.postgres.refusal import REFUSES
from entrypoint.process.output import MAX_LINE, Lines
from entrypoint.start import tool_output
from entrypoint.start.tool_output import MAX_QUOTE, OutputParser, ToolResult, known
from tests.unit.foreign import FOREIGN

if TYPE_CHECKING:
    from entrypoint.config.tools import Tool


def result(*lines: str, success: str = "", failure: str = "") -> ToolResult:
    """What a child's lines come to."""
    parser = OutputParser(
        re.compile(success) if success else None, re.compile(failure) if failure else None
    )
    for line in lines:
        parser.feed(line)
    return parser.result()


def run(text: str) -> ToolResult:
    """The same of a whole recording, whose blank lines are not told."""
    return result(*filter(None, text.split("\n")))


BEGIN = """No config path provided, using default 'drizzle.config.js'
Reading config file '/app/drizzle.config.js'
Using 'pg' driver for database querying
"""
PULL = f"{BEGIN}[⣷] Pulling schema from database...\n"
PULLED = f"{PULL}\x1b[2K\x1b[1G[✓] Pulling schema from database...\n"
PULLED_021 = f"drizzle-kit: v0.21.4\ndrizzle-orm: v0.30.10\n\n{PULLED.rstrip()}"  # no line break
RC_PULLED = PULLED.replace("Using", "Reading schema files:\n/app/schema.js\n\nUsing")
LOSS = f"""{PULLED} Warning  Found data-loss statements:
· You're about to delete email column in rpg_users table with 2 items

THIS ACTION WILL CAUSE DATA LOSS AND CANNOT BE REVERTED

Do you still want to push changes?
"""
TTY = """Error: Interactive prompts require a TTY terminal (process.stdin.isTTY or \
process.stdout.isTTY is false). This can happen when running in CI, piped input, or \
non-interactive shells.
    at render10 (/app/node_modules/drizzle-kit/bin.cjs:1450:31)
"""
CAST = """error: column "label" cannot be cast automatically to type integer
    at /app/node_modules/pg-pool/index.js:45:11
    at async pgPush (/app/node_modules/drizzle-kit/bin.cjs:82768:13) {
  length: 181,
  severity: 'ERROR',
  code: '42804',
  hint: 'You might need to specify "USING label::integer".',
}
"""
PRISMA = """Loaded Prisma config from prisma.config.js.
Prisma schema loaded from prisma/schema.prisma
Datasource "db": PostgreSQL database "rpg", schema "public" at "db:5432"
"""
MIGRATING = """> Migrating files:
> - 1700000000001_one
### MIGRATION 1700000000001_one (UP) ###
create table one(id int);
INSERT INTO "public"."pgmigrations" (name, run_on) VALUES ('1700000000001_one', NOW());
"""
TYPEORM = """query: SELECT * FROM "migrations" "migrations" ORDER BY "id" DESC
1 migrations are already loaded in the database.
2 migrations were found in the source code.
One1700000000001 is the last executed migration. It was executed on Tue Nov 14 2023 22:13:20.
1 migrations are new migrations must be executed.
query: START TRANSACTION
query: create table rpg_logs (id integer primary key)
"""
TYPEORM_RECORDS = """query: INSERT INTO "migrations"("timestamp", "name") VALUES ($1, $2) \
-- PARAMETERS: [1700000000002,"More1700000000002"]
"""
SEQUELIZE = """
Sequelize CLI [Node: 20.20.2, CLI: 6.6.5, ORM: 6.37.8]

Loaded configuration file "config.js".
"""
MIKRO = """ts-node not installed, support for working with TS files might not work
\x1b[90m[migrator] \x1b[39mProcessing 'Migration2_more'
"""
MIKRO_HELP = """mikro-orm migration:up

Migrate up to the latest version

Options:
      --config                  Set path to the ORM configuration file   [array]
"""
KYSELY = "\u25d0 Starting migration to latest\n"

CONTEXT = """INFO  [alembic.runtime.migration] Context impl PostgresqlImpl.
INFO  [alembic.runtime.migration] Will assume transactional DDL.
"""
PERFORM = """Operations to perform:
  Apply all migrations: contenttypes, rpg
Running migrations:
"""
TRACE = """Traceback (most recent call last):
  File "/app/psycopg/cursor.py", line 117, in execute
psycopg.errors.UndefinedTable: relation "nowhere" does not exist
LINE 1: insert into nowhere values (1)
                    ^

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
"""

DONE = {
    "Knex 3.3.0 migrate:latest": "Batch 1 run: 1 migrations\n",
    "Knex 3.3.0 migrate:latest without one": "Already up to date\n",
    "Knex 3.3.0 migrate:up": "Batch 2 ran the following migrations:\n2_more.js\n",
    "Knex 3.3.0 after Acquire connection error": "Acquire connection error: Error: connect "
    "ECONNREFUSED 127.0.0.1:1\nBatch 1 run: 1 migrations\n",
    "TypeORM 1.1.1 migration:run": f"{TYPEORM}Migration More1700000000002 has been executed "
    "successfully.\nquery: COMMIT\n",
    "TypeORM 1.1.1 migration:run --fake": f"{TYPEORM}{TYPEORM_RECORDS}query: COMMIT\n",
    "TypeORM 0.3.31 migration:run without one": "No migrations are pending\n",
    "TypeORM 1.1.1 schema:sync": "query: COMMIT\nSchema synchronization finished successfully.\n",
    "Sequelize 6.6.5 db:migrate": f"{SEQUELIZE}== 2-more: migrating =======\n"
    "== 2-more: migrated (0.019s)\n",
    "Sequelize 6.6.5 db:migrate without one": f"{SEQUELIZE}No migrations were executed, database "
    "schema was already up to date.\n",
    "Sequelize 6.6.5 db:migrate:status": f"{SEQUELIZE}up 1-one.js\n",
    "Sequelize 6.6.5 db:create": f"{SEQUELIZE}Database shop created.\n",
    "MikroORM 6.6.7 schema:update": "\x1b[32mSchema successfully updated\x1b[39m\n",
    "MikroORM 7.2.1 migration:up": f"{MIKRO}\x1b[90m[migrator] \x1b[39mApplied 'Migration2_more'\n"
    "\x1b[32mSuccessfully migrated up to the latest version\x1b[39m\n",
    "MikroORM 6.6.7 migration:up without one": "Successfully migrated up to the latest version\n",
    "MikroORM 6.6.7 Migrator.up()": f"{MIKRO}[migrator] Applied 'Migration2_more'\n",
    "Kysely 0.29.9 migrate latest": f"{KYSELY}\u2714 Migration complete\n\u2139 Ran 1 migration:\n",
    "Kysely 0.28.19 migrate latest without one": f"{KYSELY}\u2139 Migration skipped: no new "
    "migrations found\n",
    "Kysely 0.28.19 migrate latest in CI": "[start] Starting migration to latest\n"
    "[success] Migration complete\n[info] Ran 1 migration:\n",
    "Kysely 0.28.19 Migrator": 'migration "1_one" was executed successfully\n',
    "drizzle-kit 0.21.4 push": f"{PULLED_021}[✓] Changes applied\n",
    "drizzle-kit 0.21.4 push without a change": f"{PULLED_021}[i] No changes detected\n",
    "drizzle-kit 0.31.11 push": f"{PULLED}[✓] Changes applied\n",
    "drizzle-kit 0.31.11 push without a change": f"{PULLED}[i] No changes detected\n",
    "drizzle-kit 0.31.11 push --force": f"{LOSS}[✓] Changes applied\n".replace(
        "Do you still want to push changes?\n", ""
    ),
    "drizzle-kit 0.31.8 push in colours": "\x1b[90mReading config file '/app/drizzle.config.js'"
    "\x1b[39m\n\x1b[90mUsing 'pg' driver for database querying\x1b[39m\n"
    "[⣷] Pulling schema from database...\n"
    "\x1b[2K\x1b[1G[\x1b[32m✓\x1b[39m] Pulling schema from database...\n"
    "[\x1b[32m✓\x1b[39m] Changes applied\n",
    "drizzle-kit 1.0.0-rc.5 push": f"{RC_PULLED}[✓] Changes applied\n",
    "drizzle-kit 1.0.0-rc.5 push without a change": f"{RC_PULLED}[i] No changes detected\n",
    "drizzle-kit 1.0.0-rc.5 push --output json": '{"status":"ok","dialect":"postgresql"}\n',
    "drizzle-kit migrate": f"{BEGIN}[✓] migrations applied successfully!\n",
    "drizzle-kit generate": f"{BEGIN}2 tables\n[✓] Your SQL migration file ➜ drizzle/0.sql 🚀\n",
    "Prisma 6.19.3 db push": f"{PRISMA}🚀  Your database is now in sync with your Prisma schema. "
    "Done in 193ms\nRunning generate... (Use --skip-generate to skip the generators)\n"
    "\x1b[2K\x1b[1A\x1b[2K\x1b[G\n",
    "Prisma 6.19.3 db push without a change": f"{PRISMA}The database is already in sync with the "
    "Prisma schema.\n",
    "Prisma 6.19.3 db push --accept-data-loss": f"{PRISMA}⚠️  There might be data loss when applying"
    " the changes:\n  • You are about to drop the column `email` on the `rpg_users` table\n"
    "🚀  Your database is now in sync with your Prisma schema. Done in 170ms\n",
    "Prisma 6.19.3 migrate deploy": f"{PRISMA}1 migration found in prisma/migrations\n"
    "The following migration(s) have been applied:\nmigrations/\n  └─ 20240101000000_one/\n"
    "    └─ migration.sql\nAll migrations have been successfully applied.\n",
    "Prisma 6.19.3 migrate deploy without one": f"{PRISMA}No pending migrations to apply.\n",
    "psql 15 waits for its server": 'psql: error: connection to server at "db", port 5432 failed: '
    "Connection refused\nCREATE TABLE\nINSERT 0 2\n count \n-------\n     2\n(1 row)\n\n",
    "node-pg-migrate 9.0.0 up": f"{MIGRATING}Migrations complete!\n",
    "node-pg-migrate 9.0.0 up without one": "No migrations to run!\nMigrations complete!\n",
    "Prisma 6.19.3 migrate resolve": f"{PRISMA}Migration 1_two marked as rolled back.\n",
    "Alembic 1.20.1 upgrade": f"{CONTEXT}INFO  [alembic.runtime.migration] "
    "Running upgrade  -> one\n",
    "Alembic 1.20.1 upgrade without one": CONTEXT,
    "dbmate 2.36.0 up": "Applying: 1_one.sql\nApplied: 1_one.sql in 2.324469ms\n",
    "Django 5.2.19 migrate": f"{PERFORM}  Applying contenttypes.0001_initial... OK\n"
    "  Applying rpg.0001_initial... OK\n",
    "Django 5.2.19 migrate without one": f"{PERFORM}  No migrations to apply.\n"
    "  Your models in app(s): 'rpg' have changes that are not yet reflected in a migration, and so "
    "won't be applied.\n",
    "Django 5.2.19 migrate, which prints": f"{PERFORM}  Applying rpg.0002_fill...filled\n OK\n",
    "Django 5.2.19 migrate, which prints no line": f"{PERFORM}  Applying a.0002_b...x OK\n",
    "Django 5.2.19 migrate -v 2": f"{PERFORM}  Applying rpg.0002_fill...filled\n OK (0.012s)\n",
    "Django 5.2.19 createsuperuser after it": f"{PERFORM}  No migrations to apply.\n"
    "CommandError: Error: That username is already taken.\n",
    "Alembic 1.20.1 check after it": f"{CONTEXT}{CONTEXT}FAILED: New upgrade operations detected: "
    "[('add_table', Table('x', MetaData()))]\n",
    "dbmate 2.36.0 create before it": 'Creating: shop\nError: pq: database "shop" already exists '
    "(42P04)\nApplying: 1_one.sql\nApplied: 1_one.sql in 2.324469ms\n",
    "dbmate 2.36.0 finds no connection left": 'Error: pq: too many connections for role "shop" '
    "(53300)\nApplying: 1_one.sql\nApplied: 1_one.sql in 2.324469ms\n",
    "Django 5.2.19 migrate, in two apps": f"{PERFORM}  Applying a.0001_initial... OK\n"
    f"{PERFORM}  No migrations to apply.\n",
}


@pytest.mark.parametrize("name", DONE)
def test_done(name: str) -> None:
    """A tool that says that it is done is believed, and named."""
    assert run(DONE[name]) == ToolResult(f"{name.split(maxsplit=1)[0]}: succeeded", succeeded=True)


ASKED = "asked a question and had no terminal"
ERROR = "reported an error"
MISSING = "found migrations in the database that this image does not have"
SILENT = "reported no success"

NOT_DONE = {
    "Knex 3.3.0 fails": (
        (
            'migration file "2_half.js" failed\nmigration failed with error: alter table rpg_users'
            ' - invalid input syntax for type integer: "ann"\nerror: alter table rpg_users'
            ' - invalid input syntax for type integer: "ann"\n    at Parser.parseErrorMessage\n'
        ),
        f"{ERROR}: migration failed with error: alter table rpg_users - invalid",
    ),
    "Knex 3.3.0 finds its lock": (
        (
            "Can't take lock to run migrations: Migration table is already locked\nIf you are sure "
            "migrations are not running you can release the lock manually by running 'knex "
            "migrate:unlock'\nMigrationLocked: Migration table is already locked\n"
        ),
        "found its own lock, which a killed run leaves behind: Can't take lock",
    ),
    "Knex 3.3.0 misses a file": (
        "Error: The migration directory is corrupt, the following files are missing: 2_more.js\n",
        f"{MISSING}: Error: The migration directory is corrupt",
    ),
    "Kysely 0.28.19 misses a file": (
        (
            f"{KYSELY}\u2716 Migration failed with Error: corrupted migrations: previously "
            "executed migration 2_more is missing\n"
        ),
        f"{MISSING}: \u2716 Migration failed with Error: corrupted",
    ),
    "Sequelize 6.6.5 db:migrate:status": (
        f"{SEQUELIZE}up 1-one.js\ndown 2-more.js\n",
        "lists a migration that has not run: down 2-more.js",
    ),
    "TypeORM 1.1.1 fails": (
        (
            f"{TYPEORM}query failed: alter table rpg_users alter name type integer\n"
            'error: error: invalid input syntax for type integer: "ann"\nMigration '
            '"Half1700000000002" failed, error: invalid input syntax for type integer: "ann"\n'
            "query: ROLLBACK\nError during migration run:\nQueryFailedError: invalid input\n"
        ),
        f'{ERROR}: Migration "Half1700000000002" failed, error: invalid input syntax',
    ),
    "TypeORM 0.3.31 finds no database": (
        'Error during migration run:\nerror: database "nowhere" does not exist\n',
        f"{ERROR}: Error during migration run:",
    ),
    "TypeORM 0.3.31 ends too early": (TYPEORM, SILENT),
    "Sequelize 6.6.5 fails": (
        (
            f"{SEQUELIZE}== 2-half: migrating =======\n\n"
            'ERROR: invalid input syntax for type integer: "ann"\n'
        ),
        f"{ERROR}: ERROR: invalid input syntax",
    ),
    "Sequelize 6.6.5 ends too early": (f"{SEQUELIZE}== 2-half: migrating =======\n", SILENT),
    "Sequelize 6.6.5 ends in its second migration": (
        (
            f"{SEQUELIZE}== 1-one: migrating =======\n== 1-one: migrated (0.019s)\n\n"
            "== 2-half: migrating =======\n"
        ),
        SILENT,
    ),
    "MikroORM 6.6.7 fails": (
        (
            f"{MIKRO}{MIKRO_HELP}MigrationError: Migration Migration2_half (up) failed: Original "
            "error: alter table rpg_users - invalid input syntax\n    at runMicrotasks\n"
        ),
        f"{ERROR}: MigrationError: Migration Migration2_half (up) failed",
    ),
    "MikroORM 7.2.1 fails": (
        f'{MIKRO}{MIKRO_HELP}DriverException: invalid input syntax for type integer: "ann"\n',
        f"{ERROR}: DriverException: invalid input syntax",
    ),
    "MikroORM 6.6.7 finds no server": (
        f"{MIKRO_HELP}Error: connect ECONNREFUSED 127.0.0.1:1\n",
        f"{ERROR}: Error: connect ECONNREFUSED",
    ),
    "Kysely 0.29.9 fails": (
        (
            f'{KYSELY}\u2716 Migration failed with error: invalid input syntax @ "2_half"\n\n'
            " ERROR  invalid input syntax\n"
        ),
        f"{ERROR}: \u2716 Migration failed with error: invalid input syntax",
    ),
    "Kysely 0.28.19 Migrator fails": (
        (
            'migration "1_one" was executed successfully\nfailed to execute migration "2_half"\n'
            "failed to migrate\nerror: invalid input syntax\n"
        ),
        f'{ERROR}: failed to execute migration "2_half"',
    ),
    "drizzle-kit 0.21.4 changes a type": (f"{PULLED_021}{CAST}", f'{ERROR}: error: column "label"'),
    "drizzle-kit 0.21.4 drops a column": (
        f"{PULLED_021}{LOSS.removeprefix(PULLED)}\x1b[?25l\u276f No, abort\n",
        f"{ASKED}: Do you still want to push changes?",
    ),
    "drizzle-kit 0.21.4 adds a unique constraint": (
        (
            f"{PULLED_021}· You're about to add rpg_users_email_unique unique constraint to the "
            "table, which contains 2 items. If this statement fails, you will receive an error "
            "from the database. Do you want to truncate rpg_users table?\n"
        ),
        f"{ASKED}: · You're about to add rpg_users_email_unique",
    ),
    "drizzle-kit 0.21.4 renames a column": (
        (
            f"{PULLED_021}\x1b[?25l\nIs full_name column in rpg_users table created or renamed "
            "from another column?\n\u276f + full_name        create column\n"
        ),
        f"{ASKED}: Is full_name column",
    ),
    "drizzle-kit 0.21.4 finds no server": (
        f"{PULL.rstrip()}Error: connect ECONNREFUSED 127.0.0.1:1\n",
        f"{ERROR}: Error: connect ECONNREFUSED 127.0.0.1:1",
    ),
    "drizzle-kit 0.21.4 ends too early": (PULLED_021, SILENT),
    "drizzle-kit 0.31.11 drops a column": (f"{LOSS}{TTY}", f"{ASKED}: Do you still want to push"),
    "drizzle-kit 0.31.11 drops a column, stderr first": (f"{TTY}{LOSS}", f"{ASKED}: Error: Inter"),
    "drizzle-kit 0.31.11 renames a column": (f"{PULLED}{TTY}", f"{ASKED}: Error: Interactive"),
    "drizzle-kit 0.31.8 drops a column": (
        f"{LOSS}\x1b[?25l\u276f No, abort\n  Yes, I want to remove 1 column, ",
        f"{ASKED}: Do you still want to push changes?",
    ),
    "drizzle-kit 0.31.8 adds a unique constraint": (
        (
            f"{PULLED}· You're about to add rpg_users_email_unique unique constraint to the table, "
            "which contains 2 items. If this statement fails, you will receive an error from the "
            "database. Do you want to truncate rpg_users table?\n"
        ),
        f"{ASKED}: · You're about to add rpg_users_email_unique",
    ),
    "drizzle-kit 0.31.8 renames a table": (
        f"{PULLED}Is rpg_heroes table created or renamed from another table?\n",
        f"{ASKED}: Is rpg_heroes table",
    ),
    "drizzle-kit 0.31.11 changes a type": (f"{PULLED}{CAST}", f'{ERROR}: error: column "label"'),
    "drizzle-kit 0.31.11 changes a type, stderr first": (
        f"{CAST}{PULLED}",
        f'{ERROR}: error: column "label" cannot be cast automatically to type integer',
    ),
    "drizzle-kit 0.31.11 finds no server": (
        f"{PULL}\x1b[2K\x1b[1G[⣷] Pulling schema from database...\n",
        SILENT,
    ),
    "drizzle-kit 0.31.8 finds no server": (
        (
            f"{PULL}Error: connect ECONNREFUSED 127.0.0.1:52423\n"
            "    at /app/node_modules/pg-pool/index.js:45:11\n"
        ),
        f"{ERROR}: Error: connect ECONNREFUSED 127.0.0.1:52423",
    ),
    "drizzle-kit 0.31.11 finds no schema": (
        f"{BEGIN}Error  No schema files found for path config ['./schema.js']\n",
        f"{ERROR}: Error  No schema files found",
    ),
    "drizzle-kit 0.31.11 finds a broken schema": (
        f"{BEGIN}/app/schema.js:7\nconst = ;\n      ^\nSyntaxError: Unexpected token '='\n",
        f"{ERROR}: SyntaxError: Unexpected token '='",
    ),
    "drizzle-kit 0.31.11 finds a broken configuration": (BEGIN, SILENT),
    "drizzle-kit 1.0.0-rc.5 drops a column": (
        (
            f"{RC_PULLED}missing_hints: 1 unresolved decisions\n1. Confirm data loss  —  column  "
            "public.rpg_users.email  non-empty column\nRe-run with --hints '<json-array>'.\n"
        ),
        f"{ASKED}: missing_hints: 1 unresolved decisions",
    ),
    "drizzle-kit 1.0.0-rc.5 changes a type": (
        (
            f'{RC_PULLED}┌── query error: invalid input syntax for type integer: "sword"\n'
            'ALTER TABLE "rpg_items" ALTER COLUMN "label" SET DATA TYPE integer;\n└──\n'
        ),
        f"{ERROR}: ┌── query error: invalid input syntax",
    ),
    "drizzle-kit 1.0.0-rc.5 changes a type --output json": (
        '{"status":"error","error":{"code":"query_error","sql":"ALTER TABLE","params":[]}}\n',
        f'{ERROR}: {{"status":"error"',
    ),
    "drizzle-kit 1.0.0-rc.5 drops a column --output json": (
        '{"status":"missing_hints","unresolved":[{"type":"confirm_data_loss","kind":"column"}]}\n',
        f'{ASKED}: {{"status":"missing_hints"',
    ),
    "Prisma 6.19.3 drops a column": (
        (
            f"{PRISMA}⚠️  There might be data loss when applying the changes:\n"
            "Error: Use the --accept-data-loss flag to ignore the data loss warnings\n"
        ),
        "stopped before a change that loses data: ⚠️  There might be data loss",
    ),
    "Prisma 6.19.3 drops a column, stderr first": (
        f"Error: Use the --accept-data-loss flag to ignore the data loss warnings\n{PRISMA}",
        "stopped before a change that loses data: Error: Use the --accept-data-loss flag",
    ),
    "Prisma 6.19.3 migrates after a failure": (
        f"{PRISMA}Error: P3009\nmigrate found failed migrations in the target database\n",
        "stopped at a failed migration: Error: P3009",
    ),
    "Prisma 6.19.3 finds duplicates": (
        f"{PRISMA}Error: P2002\nUnique constraint failed on the fields: (`email`)\n",
        f"{ERROR}: Error: P2002",
    ),
    "Prisma 6.19.3 adds a column that rows have no value for": (
        (
            f"{PRISMA}Error: \n⚠️ We found changes that cannot be executed:\n"
            "  • Added the required column `nick` to the `rpg_users` table without a default value."
            " There are 2 rows in this table, it is not possible to execute this step.\n"
            "You may use the --force-reset flag to drop the database before push like prisma db "
            "push --force-reset\nAll data will be lost.\n"
        ),
        "stopped before a change that loses all data: ⚠️ We found changes",
    ),
    "node-pg-migrate 9.0.0 finds a migration before the last": (
        (
            "Error: Not run migration 1600000000002_zero is preceding already run migration "
            "1700000000001_one\n    at checkOrder (file:///app/node_modules/x.js:3539:40)\n"
        ),
        "has a migration that is older than the last one that ran: Error: Not run migration 16",
    ),
    "node-pg-migrate 9.0.0 finds another run": (
        (
            "Failed to release migration lock\n"
            "Error: Another migration is already running. Advisory lock mode is set to 'fail'.\n"
        ),
        "found its lock taken: Error: Another migration is already running",
    ),
    "Alembic 1.20.1 fails": (
        (
            f"{CONTEXT}INFO  [alembic.runtime.migration] Running upgrade one -> two\n{TRACE}"
            "sqlalchemy.exc.ProgrammingError: (psycopg.errors.UndefinedTable) relation "
            '"nowhere" does not exist\n[SQL: …]\n'
        ),
        f"{ERROR}: sqlalchemy.exc.ProgrammingError: (psycopg.errors.UndefinedTable)",
    ),
    "Alembic 1.20.1 meets a newer release": (
        (
            f"{CONTEXT}ERROR [alembic.util.messaging] Can't locate revision identified by 'three'\n"
            "FAILED: Can't locate revision identified by 'three'\n"
        ),
        "does not have the database's revision: ERROR [alembic.util.messaging]",
    ),
    "Alembic 1.20.1 has two heads": (
        (
            f"{CONTEXT}FAILED: Multiple head revisions are present for given argument 'head'; "
            "please specify a specific target revision, '<branchname>@head' to narrow to a specific"
            " head, or 'heads' for all heads\n"
        ),
        "has two migrations after the same one: FAILED: Multiple head revisions",
    ),
    "Alembic 1.20.1 is told to make more steps than there are": (
        f"{CONTEXT}FAILED: Relative revision +5 didn't produce 5 migrations\n",
        f"{ERROR}: FAILED: Relative revision +5 didn't produce 5 migrations",
    ),
    "dbmate 2.36.0 fails": (
        (
            "Applying: 2_two.sql\nApplied: 2_two.sql in 1.24643ms\nError: line: 3, column: 13, "
            'position: 53: pq: relation "nowhere" does not exist at position 3:13 (42P01)\n'
        ),
        f"{ERROR}: Error: line: 3, column: 13, position: 53: pq: relation",
    ),
    "dbmate 2.36.0 fails, stderr first": (
        (
            'Error: pq: invalid input syntax for type integer: "ann" (22P02)\n'
            "Applying: 2_half.sql\nApplied: 2_half.sql in 20.510265ms\n"
        ),
        f"{ERROR}: Error: pq: invalid input syntax",
    ),
    "dbmate 2.36.0 finds a server without TLS": (
        "Error: pq: SSL is not enabled on the server\n",
        f"{ERROR}: Error: pq: SSL is not enabled on the server",
    ),
    "Django 5.2.19 fails": (
        (
            f"{PERFORM}  Applying rpg.0001_one... OK\n  Applying rpg.0002_two...\n{TRACE}"
            'django.db.utils.ProgrammingError: relation "nowhere" does not exist\n'
        ),
        f"{ERROR}: django.db.utils.ProgrammingError: relation",
    ),
    "Django 5.2.19 misses a migration": (
        (
            f"{TRACE}django.db.migrations.exceptions.NodeNotFoundError: Migration rpg.0003_orphan "
            "dependencies reference nonexistent parent node ('rpg', '0002_gone')\n"
        ),
        f"{ERROR}: django.db.migrations.exceptions.NodeNotFoundError: Migration rpg.0003_orphan",
    ),
    "Django 5.2.19 fails in Python": (
        (
            f"{PERFORM}  Applying rpg.0001_one... OK\n  Applying rpg.0002_two...\n"
            "Traceback (most recent call last):\nValueError: no\n"
        ),
        SILENT,
    ),
    "Django 5.2.19 ends too early": (f"{PERFORM}  Applying rpg.0002_two...\n", SILENT),
    "Django 5.2.19 adds a column that rows have no value for": (
        (
            "It is impossible to add a non-nullable field 'nick' to user without specifying a "
            "default. This is because the database needs something to populate existing rows.\n"
            "Please select a fix:\n"
            " 1) Provide a one-off default now (will be set on all existing rows with a null value "
            "for this column)\n 2) Quit and manually define a default value in models.py.\n"
            f"Select an option: {TRACE}EOFError: EOF when reading a line\n"
        ),
        f"{ASKED}: It is impossible to add a non-nullable field 'nick' to user",
    ),
    "Django 5.2.19 renames a column": (
        "Was user.email renamed to user.mail (a TextField)? [y/N] ",
        f"{ASKED}: Was user.email renamed to user.mail (a TextField)? [y/N]",
    ),
    "Django 5.2.19 has two leaves": (
        (
            "CommandError: Conflicting migrations detected; multiple leaf nodes in the migration "
            "graph: (0003_two, 0003_zwei in rpg).\n"
            "To fix them run 'python manage.py makemigrations --merge'\n"
        ),
        "has two migrations after the same one: CommandError: Conflicting migrations detected",
    ),
    "node-pg-migrate 9.0.0 fails": (
        (
            f"{MIGRATING}Error executing:\ninsert into nowhere values (1);\n            ^^^^\n"
            'relation "nowhere" does not exist\n> Rolling back attempted migration ...\n'
        ),
        f"{ERROR}: Error executing:",
    ),
    "psql 15 fails half way": (
        (
            'CREATE TABLE\npsql:file.sql:2: ERROR:  relation "nowhere" does not exist\n'
            "LINE 1: insert into nowhere values (1);\n                    ^\nCREATE TABLE\n"
        ),
        f'{ERROR}: psql:file.sql:2: ERROR:  relation "nowhere" does not exist',
    ),
    "psql 15 reads stdin": (
        'ERROR:  relation "nowhere" does not exist\n',
        f'{ERROR}: ERROR:  relation "nowhere" does not exist',
    ),
    "psql 15 reads a file with a space in its name": (
        'psql:my file.sql:2: ERROR:  relation "nowhere" does not exist\n',
        f"{ERROR}: psql:my file.sql:2: ERROR:  relation",
    ),
    "psql 15 includes a file that is not there": (
        "CREATE TABLE\npsql:file.sql:1: error: gone.sql: No such file or directory\n",
        f"{ERROR}: psql:file.sql:1: error: gone.sql",
    ),
    "psql 15 finds no file": (
        "psql: error: gone.sql: No such file or directory\n",
        f"{ERROR}: psql: error: gone.sql",
    ),
    "psql 15 finds no file, in German": (
        "psql: Fehler: gone.sql: Datei oder Verzeichnis nicht gefunden\nCREATE TABLE\n",
        f"{ERROR}: psql: Fehler: gone.sql",
    ),
    "psql 15 finds no database, in Chinese": (
        (
            'psql: 错误: 连接到"127.0.0.1"上的服务器，端口15816失败：'  # noqa: RUF001  its own
            '致命错误:  数据库 "nodb" 不存在\n'
        ),
        f"{ERROR}: psql: 错误: 连接到",
    ),
    "psql 15 asks a server that speaks German": (
        (
            "CREATE TABLE\npsql:file.sql:2: FEHLER:  Syntaxfehler bei »nope«\nZEILE 1: nope;\n"
            "         ^\npsql:file.sql:4: HINWEIS:  Relation »b« existiert bereits, wird "
            "übersprungen\n"
        ),
        f"{ERROR}: psql:file.sql:2: FEHLER:  Syntaxfehler",
    ),
    # By the source of psql and libpq 10 and 11: nobody ran those.
    "psql 10 finds no server": (
        (
            "psql: could not connect to server: Connection refused\n"
            '\tIs the server running on host "127.0.0.1" and accepting\n'
            "\tTCP/IP connections on port 1?\n"
        ),
        f"{ERROR}: psql: could not connect to server",
    ),
    "psql 10 comes too early": (
        "psql: FATAL:  the database system is starting up\n",
        f"{ERROR}: psql: FATAL:  the database system is starting up",
    ),
    "psql 15 finds no server": (
        (
            'psql: error: connection to server at "db", port 5432 failed: Connection refused\n'
            "\tIs the server running on that host and accepting TCP/IP connections?\n"
        ),
        f"{ERROR}: psql: error: connection to server",
    ),
}


@pytest.mark.parametrize("name", NOT_DONE)
def test_not_done(name: str) -> None:
    """A tool that began and reported no success is not believed, and what it said told."""
    text, begins = NOT_DONE[name]
    said = run(text)

    assert said.succeeded is False
    assert said.text.startswith(f"{name.split(maxsplit=1)[0]} {begins}")
    assert said.remedy


NOBODY = {
    "nothing": "",
    "psql 15 without an error": "CREATE TABLE\nINSERT 0 2\n"
    'psql:file.sql:3: NOTICE:  relation "one" already exists, skipping\n',
    "a program that caught its errors": "Error: no cache, going on\nerror: retrying\n"
    "TypeError: ignored\nError executing:\n",
    "a program of Go": 'Error: pq: duplicate key value violates unique constraint "a" (23505)\n',
    "a program of the service's": "applied 3 changes\nin sync\nall migrations applied\n",
    "a program that tells its state": '{"status":"error"}\n{"status":"pending"}\n',
    "words in the middle of a line": "now: [✓] Changes applied\nthe ERROR:  was mine\n",
}


@pytest.mark.parametrize("name", NOBODY)
def test_nobody_that_we_know(name: str) -> None:
    """A program without a known tool's sign is judged by other evidence, whatever it says."""
    assert run(NOBODY[name]) == ToolResult("not recognised")


SEVERITIES = {  # by src/backend/po of PostgreSQL 10 to 18, all of its languages
    "English, Spanish, Japanese": ("ERROR FATAL PANIC", "WARNING NOTICE INFO LOG DEBUG"),
    "French": ("ERREUR FATAL PANIC", "ATTENTION NOTICE"),
    "Georgian": ("შეცდომა ფატალური პანიკა", "გაფრთხილება ინფორმაცია ჟურნალი"),
    "German": ("FEHLER FATAL PANIK", "WARNUNG HINWEIS"),
    "Indonesian": ("ERROR FATAL PANIK", "PERINGATAN NOTICE"),
    "Italian": ("ERRORE FATALE PANICO", "ATTENZIONE NOTIFICA"),
    "Korean": ("오류 치명적오류 손상", "경고 알림 정보 로그"),
    "Polish": ("BŁĄD KATASTROFALNY PANIKA", "OSTRZEŻENIE UWAGA INFORMACJA"),
    "Portuguese": ("ERRO FATAL PÂNICO", "ADVERTÊNCIA AVISO NOTA"),
    "Russian": ("ОШИБКА ВАЖНО ПАНИКА", "ПРЕДУПРЕЖДЕНИЕ ЗАМЕЧАНИЕ СООБЩЕНИЕ"),
    "Swedish": ("FEL FATALT PANIK", "VARNING NOTIS LOGG"),
    "Turkish": ("HATA ÖLÜMCÜL KRİTİK", "UYARI NOT BİLGİ"),
    "Turkish, both": ("HATA_(ERROR) ÖLÜMCÜL_(FATAL) KRİTİK_(PANIC)", "UYARI"),
    "Ukrainian": ("ПОМИЛКА ФАТАЛЬНО ПАНІКА", "ПОПЕРЕДЖЕННЯ ПОВІДОМЛЕННЯ"),
    "Chinese": ("错误 致命错误 比致命错误还过分的错误 灾难性错误", "警告 注意 信息 日志"),
    "Chinese of Taiwan": ("錯誤 致命錯誤 嚴重錯誤", "警告 注意 資訊 日誌"),
}


@pytest.mark.parametrize("language", SEVERITIES)
@pytest.mark.parametrize("before", ["", "psql:<stdin>:3: ", "psql:my file.sql:3: "])
def test_the_server_s_language(language: str, before: str) -> None:
    """An error is one in every language that PostgreSQL speaks, a warning and a notice is none."""
    errors, others = SEVERITIES[language]
    for word in errors.split():
        assert run(f"{before}{word.replace('_', ' ')}:  x").succeeded is False, word
    for word in others.split():
        assert run(f"{before}{word}:  x").succeeded is not False, word


OWN = [  # by src/bin/psql/po of PostgreSQL 12 to 18
    *["error: ", "fatal: ", "Fehler: ", "Fatal: ", "erreur : ", "fatal : ", "errore: ", "erro: "],
    *["fel: ", "fatalt: ", "hata (error): ", "ölümcül (fatal): ", "ошибка: ", "важно: "],
    *["помилка: ", "збій: ", "σφάλμα: ", "κρίσιμο: ", "შეცდომა: ", "エラー: ", "致命的エラー: "],
    *["错误: ", "致命的: ", "錯誤: ", "오류: ", "심각: "],
]
WARNINGS = [
    *["warning: ", "Warnung: ", "attention : ", "avviso: ", "aviso: ", "varning: "],
    *["precaución: ", "предупреждение: ", "попередження: ", "προειδοποίηση: ", "გაფრთხილება: "],
    *["警告: ", "경고: ", "hint: ", "detail: ", "Tipp: "],
]


@pytest.mark.parametrize("before", ["psql: ", "psql:f.sql:3: "])
def test_psql_s_own_language(before: str) -> None:
    """The same of what psql says of itself."""
    for word in OWN:
        assert run(f"{before}{word}x").succeeded is False, word
    for word in WARNINGS:
        assert run(f"{before}{word}x") == ToolResult("not recognised"), word


REFUSED = NOT_DONE["psql 15 finds no server"][0]
SQL_ERROR = "psql:f.sql:2: ERROR:  no\n"

WAITED = [  # what psql said, whether the push had a session, and whether it is believed
    (f"{REFUSED}CREATE TABLE", None, True),
    (f"{REFUSED}INSERT 0 1", None, True),
    (f"{REFUSED}(1 row)", None, True),
    (f"{REFUSED}(2 Zeilen)", None, True),
    (f"{REFUSED}psql:f.sql:1: NOTICE:  x", None, True),
    (f"{REFUSED}psql:f.sql:1: HINWEIS:  x", None, True),
    (f"{REFUSED}{REFUSED}{REFUSED}CREATE TABLE", None, True),
    (f"{REFUSED}waiting for db", None, False),
    (f"{REFUSED}waiting for db", False, False),
    (f"{REFUSED}waiting for db", True, True),  # it said nothing more: psql -q
    (f"CREATE TABLE\n{REFUSED}", True, False),  # its second file never came
    (f"CREATE TABLE\n{REFUSED}CREATE TABLE", True, True),
    (f"{REFUSED}{SQL_ERROR}", True, False),
    (f"{REFUSED}{SQL_ERROR}CREATE TABLE", True, False),
    (f"{SQL_ERROR}CREATE TABLE", True, False),
    (f"{SQL_ERROR}{REFUSED}CREATE TABLE", True, False),
    (f"CREATE TABLE\n{SQL_ERROR}(1 row)\nCREATE TABLE", True, False),
    ("psql: error: gone.sql: No such file or directory\nCREATE TABLE", True, False),
    ("psql: FATAL:  the database system is starting up\nCREATE TABLE", None, True),
]


@pytest.mark.parametrize(("text", "connected", "believed"), WAITED)
def test_a_failure_that_was_waited_out(
    text: str, *, connected: bool | None, believed: bool
) -> None:
    """What could not connect is undone by a run that could; what failed in SQL never is."""
    parser = OutputParser()
    for line in text.splitlines():
        parser.feed(line)
    said = parser.result(connected=connected)

    assert said.succeeded is believed
    assert said.text.startswith("psql: succeeded" if believed else f"psql {ERROR}: psql:")


def test_of_two_failures_the_graver_is_told() -> None:
    """A failure to connect may have been waited out, one of SQL behind it was not."""
    assert run(f"{REFUSED}{SQL_ERROR}").text == f"psql {ERROR}: {SQL_ERROR.strip()}"
    assert run(f"{SQL_ERROR}{REFUSED}").text == f"psql {ERROR}: {SQL_ERROR.strip()}"


AGAIN = [
    ([PULLED, CAST, PULLED, "[✓] Changes applied"], True),
    ([PULLED, "[✓] Changes applied", CAST], False),
    ([PULLED, "[✓] Changes applied", BEGIN], False),
    ([PULLED, "[✓] Changes applied", BEGIN, "[i] No changes detected"], True),
    ([BEGIN, "Your SQL migration file ➜ 0.sql", BEGIN], False),
    ([BEGIN, "Your SQL migration file ➜ 0.sql", BEGIN, "migrations applied successfully!"], True),
    ([PULLED, CAST, "[✓] Changes applied", CAST], False),
    ([MIGRATING, "Error executing:", MIGRATING], False),
    ([MIGRATING, "Error executing:", MIGRATING, "Migrations complete!"], True),
    ([PRISMA, "Error: P1001: Can't reach database server", PRISMA], False),
]


@pytest.mark.parametrize(("parts", "succeeded"), AGAIN)
def test_the_last_word_counts(parts: list[str], succeeded: bool) -> None:  # noqa: FBT001
    """A script may try again, and a tool that begins again after its success must end again."""
    assert run("\n".join(parts)).succeeded is succeeded


def test_of_two_errors_the_first_is_told() -> None:
    """What comes after it is its consequence."""
    text = f"{PULLED}error: the cause\nerror: the consequence\n"
    assert run(text).text.endswith("error: the cause")


def test_every_tool_must_be_done() -> None:
    """A script that runs two is believed when both are, and says so."""
    done = f"{PULLED}[✓] Changes applied\n{MIGRATING}Migrations complete!\n"

    assert run(done) == ToolResult("drizzle-kit and node-pg-migrate: succeeded", succeeded=True)
    assert run(f"{done}ERROR:  no\n").text == "psql reported an error: ERROR:  no"
    assert run(f"{done}{PRISMA}").text == f"Prisma {SILENT}"


@pytest.mark.parametrize(
    "line",
    [
        "[✓] Changes applied",
        "\x1b[32m[✓] Changes applied\x1b[39m",
        "[\x1b[32m✓\x1b[39m] Changes applied",
        "\x1b[1;32m[✓]\x1b[0m \x1b[1mChanges applied\x1b[0m",
        "[⣷] Applying...\r[✓] Changes applied",
        "[⣷] Applying...\x1b[2K\x1b[1G[✓] Changes applied\x1b[?25h",
        "\x1b[2K\x1b[1A\x1b[2K\x1b[G[✓] Changes applied",
    ],
)
def test_what_terminals_are_told(line: str) -> None:
    """Colours, and a spinner that writes over its line, hide no word."""
    assert result("Reading config file", line).succeeded is True


@pytest.mark.parametrize("end", ["\r", "\x1b[2K\x1b[1G", "\x1b[1G"])
def test_a_word_that_was_overwritten(end: str) -> None:
    """It was said all the same, and a later one counts."""
    assert result(f"Reading config file{end}error: no{end}[⣷] ...").succeeded is False
    assert result(f"Reading config file{end}error: no{end}[✓] Changes applied").succeeded is True


def test_a_long_error_is_quoted_in_part() -> None:
    """A field of the log is no page."""
    said = result("Reading config file", "error: " + "x" * 5000)
    assert said.text == f"drizzle-kit {ERROR}: error: {'x' * (MAX_QUOTE - 7)}"


LABELS = [
    ("rpg_items", ("rpg_items",)),
    ("rpg_items, rpg_heroes.level", ("rpg_items", "rpg_heroes.level")),
    ("old.items", ("old.items",)),
]


@pytest.mark.parametrize(
    "line",
    [
        "error: {}",
        "psql:file.sql:1: ERROR:  {}",
        "psycopg.errors.RaiseException: {}",
        "\x1b[31merror: {}\x1b[39m",
        '{{"status":"error","message":"{}"}}',
    ],
)
@pytest.mark.parametrize(("labels", "refused"), LABELS)
def test_a_refusal_is_heard(labels: str, refused: tuple[str, ...], line: str) -> None:
    """Whatever tool passes the server's error on, its names are found."""
    names = labels.replace(" ", "")
    text = f"entrypoint refuses to lose the rows of {labels}; allow it once with X={names}"

    assert result(line.format(text)).refused == refused
    assert result(line.format(text), line.format(text), success="x").refused == refused


def test_refusals_are_collected_in_order() -> None:
    """Each name once, and beside whatever else was said."""
    text = "ERROR:  entrypoint refuses to lose the rows of {}; allow it"
    said = result(*(text.format(names) for names in ("b", "a, b", "c")))

    assert said.refused == ("b", "a", "c")
    assert said.succeeded is False
    assert result("[✓] Changes applied").refused == ()


@pytest.mark.parametrize(
    ("lines", "patterns", "text", "succeeded"),
    [
        (["all done"], {"success": "done$"}, "push.success: succeeded", True),
        (["done"], {"success": "^all"}, "no line matches push.success", False),
        ([], {"success": "x"}, "no line matches push.success", False),
        (["[✓] Changes applied"], {"success": "x"}, "no line matches push.success", False),
        (["Reading config file", "x"], {"success": "x"}, "push.success: succeeded", True),
        (["ERROR:  no", "x"], {"success": "x"}, "push.success: succeeded", True),
        (["x", "it broke"], {"success": "x", "failure": "b"}, "push.failure: it broke", False),
        (["it broke", "b"], {"failure": "b"}, "push.failure: it broke", False),
        (["x"], {"failure": "b"}, "not recognised", None),
        (["[✓] Changes applied"], {"failure": "b"}, "drizzle-kit: succeeded", True),
        (["\x1b[31mbroke\x1b[0m"], {"failure": "^broke$"}, "push.failure: broke", False),
    ],
)
def test_words_of_ones_own(
    lines: list[str], patterns: dict[str, str], text: str, *, succeeded: bool | None
) -> None:
    """`push.success` stands in for the known tools, `push.failure` wins over everything."""
    said = result(*lines, **patterns)
    assert (said.text, said.succeeded) == (text, succeeded)


PIECES = [
    "Reading config file",
    "Pulling schema from database",
    "Error: ",
    "error: ",
    "missing_hints",
    "> Migrating files:",
    "Error executing:",
    'Datasource "db": PostgreSQL database',
    "psql:f:1: ERROR:  ",
    "FATAL:  ",
    "entrypoint refuses to lose the rows of ",
    "; allow it",
    "\x1b[2K",
    "\x1b[1G",
    "\x1b[",
    "\r",
    "[✓] ",
    "applied",
]
SUCCESS = re.compile("|".join(w for tool in tools.load() for w in tool.success), re.MULTILINE)
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\r")

LINES = st.lists(
    st.one_of(
        st.text(st.characters(exclude_characters="\n")),
        st.lists(st.sampled_from(PIECES)).map("".join),
    )
)


@given(LINES)
def test_no_success_without_its_word(lines: list[str]) -> None:
    """Whatever a child says, nothing is raised, and only a tool's own success is one."""
    said = result(*lines)
    tool_output = "\n".join(ESCAPES.sub(by, line) for line in lines for by in ("", "\n"))

    assert said.succeeded is not True or SUCCESS.search(tool_output)
    assert (said.succeeded is False) == bool(said.remedy)


@given(LINES, st.sampled_from(["applied", "Error", "x", "^x"]))
def test_a_failure_of_ones_own_cannot_be_talked_away(lines: list[str], failure: str) -> None:
    """A line that `push.failure` matches ends it, whatever comes before and after."""
    said = result(*lines, "x applied Error", "", *lines, failure=failure)
    assert said.succeeded is False


def test_every_word_is_looked_for() -> None:
    """The words that are looked for in a flood of lines are those of the tools."""
    at_start, anywhere = known().any.at_start.split("|"), known().any.anywhere.split("|")
    for each in known().tools:
        for word in each.tool.words():
            assert {*word.split("|")} <= {*(at_start if word[0] == "^" else anywhere)}


@pytest.mark.parametrize("line", ["({}", "Applying: {}", "  Applying a.b...{}", "psql:{}", "== {}"])
@pytest.mark.parametrize("piece", ["1", ".", ":1: ", "a ", " OK"])
def test_a_long_line_takes_no_longer_than_its_length(line: str, piece: str) -> None:
    """A line of a hundred pages that is nearly a tool's is judged at once."""
    began = time.monotonic()
    result(*[line.format(piece * (MAX_LINE // len(piece)))] * 10)
    assert time.monotonic() - began < 5


READ = {  # in a version's source: nobody has made it say that
    "drizzle-kit": ["^No schema changes, nothing to"],
    "Prisma": [
        "^Database schema is up to date",
        "^Script executed successfully",
        r"^Error code: P\d",
    ],
    "MikroORM": ["^No changes required, schema is up-to-date"],
    "Sequelize": ["^No seeders found"],
    "TypeORM": ["^Migrations failed, error: "],
}
RECORDED = DONE | {name: text for name, (text, _) in NOT_DONE.items()}
SPOKEN = [each.tool for each in known().tools]


def lines_of(tool: Tool) -> list[str]:
    """Every recorded line of a tool, as the parser gets it."""
    texts = [text for name, text in RECORDED.items() if name.split(maxsplit=1)[0] == tool.name]
    parts = [
        part for text in texts for line in text.split("\n") for part in tool_output.parts(line)
    ]
    return [half for part in parts for half in tool_output.SPUN.split(part)]


@pytest.mark.parametrize("tool", SPOKEN, ids=lambda tool: tool.name)
def test_every_word_was_recorded(tool: Tool) -> None:
    """No word is guessed, and none outlives the version that said it."""
    recorded = lines_of(tool)
    unrecorded = [w for w in tool.words() if not any(re.search(w, line) for line in recorded)]
    assert unrecorded == READ.get(tool.name, [])


@pytest.mark.parametrize("name", RECORDED)
def test_a_recording_is_of_one_tool(name: str) -> None:
    """What one tool says is not taken for another's."""
    own = name.split(maxsplit=1)[0]
    said = run(RECORDED[name]).text
    assert own in said
    assert [tool.name for tool in SPOKEN if tool.name in said.partition(":")[0]] == [own]


@pytest.mark.parametrize("name", FOREIGN)
def test_others_lines_name_no_tool(name: str) -> None:
    """What a push writes besides is judged by other evidence, even if it looks like an error."""
    assert run(FOREIGN[name]) == ToolResult("not recognised")


ANYBODYS = ["Migrations complete!", "Migration complete", "No migrations are pending", "in sync"]


@pytest.mark.parametrize("success", ANYBODYS)
def test_a_success_in_others_words(success: str) -> None:
    """A script's success may be a tool's by chance; no error that it logs is that tool's then."""
    everything = "\n".join(FOREIGN.values())
    for text in (f"{success}\n{everything}", f"{everything}\n{success}\n{everything}"):
        assert run(text).succeeded is not False


def test_others_lines_before_a_success() -> None:
    """All of them together, before a tool that is done in the end, are no failure of it."""
    everything = "\n".join(FOREIGN.values())
    for name, text in DONE.items():
        assert run(f"{everything}\n{text}").succeeded is True, name


def test_what_is_kept_of_a_line_is_masked() -> None:
    """A failure's line, a tool's and the names in a refusal reach an error without a secret."""
    log.hide(["hunter2-pass"])
    parser = OutputParser(failure=re.compile("oh no"))
    parser.feed("\x1b[31mworking\roh no: hunter2-pass")
    assert parser.result().text == "push.failure: oh no: ****"
    parser = OutputParser()
    parser.feed("psql:x.sql:1: ERROR:  role hunter2-pass does not exist")
    assert parser.result().text.endswith("ERROR:  role **** does not exist")
    parser = OutputParser()
    parser.feed(f"ERROR:  {REFUSES} hunter2-pass, a; allow it")
    assert parser.result().refused == ("****", "a")


def test_a_late_failure_names_ones_own_words() -> None:
    """What a program prints after a success may be another's, and the remedy says how to tell."""
    late = run(f"{PULLED}[✓] Changes applied\nError: no cache\n")
    early = run(f"{PULLED}Error: no cache\n[✓] Changes applied\n{CAST}")

    assert "push.success" in late.remedy
    assert "push.success" in early.remedy
    assert "push.success" not in run(f"{PULLED}Error: no cache\n").remedy


def test_a_line_that_may_be_psql_s_names_ones_own_words() -> None:
    """A script may print what libpq says of an error that it dealt with; the prefix is psql's."""
    assert "push.success" in run("ERROR:  no\n").remedy
    assert "push.success" not in run("psql:f.sql:1: ERROR:  no\n").remedy
    assert "push.success" in run(REFUSED).remedy  # behind a pooler nobody knows what came then


def test_an_exception_behind_a_tool_that_ends_silently() -> None:
    """It may be the next program's: the remedy says how to tell."""
    assert "push.success" in run(f"{CONTEXT}sqlalchemy.exc.IntegrityError: no\n").remedy
    assert "push.success" in run("Applying: 1_a.sql\nError: pq: no (42P01)\n").remedy


ODD = {  # how the last word comes
    "CRLF": b"\r\nWORD\r\n",
    "progress": b"\n\r 1/3\r 2/3\r 3/3\rWORD\n",
    "a bar": b"\n[=>  ] 1/3\x1b[K\r[==> ] 2/3\x1b[K\rWORD",
    "an escape": b"\nPulling\x1b[2K\x1b[1GWORD\x1b[?25h\n",
    "colours": b"\n\x1b[1;32mWORD\x1b[0m\n",
    "a spinner for minutes": b"\n" + b"Pulling ...\r" * 20_000 + b"WORD",
    "the same by escapes": b"\n" + b"Pulling ...\x1b[2K\x1b[1G" * 9_000 + b"WORD",
    "a long line before it": b"\n" + b"x" * 500_000 + b"\nWORD",
    "no text": b"\n\xff\xfe\n\xc3\x28\x00\n\x00\nWORD\n",
}


def heard_by_pipe(data: bytes, size: int = 65_536) -> ToolResult:
    """What bytes come to that arrive in pieces of this size."""
    parser = OutputParser()
    lines = Lines("stdout", lambda _, line: parser.feed(line))
    for start in range(0, len(data), size):
        lines.feed(data[start : start + size])
    lines.close()
    return parser.result()


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("size", [7, 65_536])
def test_odd_output(name: str, size: int) -> None:
    """The parser finds a word however a pipe brings it."""
    for word, succeeded in (("[✓] Changes applied", True), ("error: no", False)):
        data = b"Reading config file" + ODD[name].replace(b"WORD", word.encode())
        assert heard_by_pipe(data, size).succeeded is succeeded


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32"])
def test_an_encoding_that_nobody_reads(encoding: str) -> None:
    """It is not recognised, and nothing is raised: the other evidence decides."""
    data = "Reading config file\nerror: no\n".encode(encoding)
    assert heard_by_pipe(data) == ToolResult("not recognised")


@pytest.mark.parametrize("end", ["\r", "\x1b[K"])
def test_a_secret_over_a_spinner_s_end(end: str) -> None:
    """One that has in it what overwrites a line is not kept in halves either."""
    log.hide([f"hunter2{end}-pass"])
    parser = OutputParser(failure=re.compile("pass"))
    parser.feed(f"a\rb hunter2{end}-pass c")
    assert "hunter" not in parser.result().text
    assert "pass" not in parser.result().text
