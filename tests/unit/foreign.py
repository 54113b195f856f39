"""Lines that other programs write, and that name no tool and no failure."""

from __future__ import annotations

from typing import Final

FOREIGN: Final = {
    "uvicorn": """INFO:     Started server process [7]
INFO:     127.0.0.1:52710 - "GET /health HTTP/1.1" 200 OK
WARNING:  StatReload detected changes in 'app.py'. Reloading...
ERROR:    [Errno 98] error while attempting to bind on address ('0.0.0.0', 8000): in use
ERROR:    Exception in ASGI application
CRITICAL: giving up""",
    "gunicorn": "[2026-11-29 16:00:00 +0000] [7] [ERROR] Worker (pid:9) was sent SIGKILL!",
    "Python's logging": """ERROR:root:no cache, going on
CRITICAL:root:disk
ERROR:sqlalchemy.pool:Exception during reset
ERROR: a formatter of its own
ERROR\ttab separated
ERROR   app.models  padded""",
    "a traceback that was caught": """Traceback (most recent call last):
  File "/app/push.py", line 3, in <module>
psycopg.errors.DuplicateTable: relation "rpg_items" already exists
sqlalchemy.exc.ProgrammingError: (psycopg.errors.DuplicateTable) relation "x" already exists
django.db.utils.OperationalError: connection is bad""",
    "Java": """2026-11-29 16:00:00,123 ERROR [main] c.e.Application - cannot cache
16:00:00.123 [main] ERROR c.e.Application -- cannot cache
[ERROR] Failed to execute goal
[main] ERROR org.hibernate.engine.jdbc.spi.SqlExceptionHelper - ERROR: relation "a" does not exist
org.postgresql.util.PSQLException: ERROR: relation "a" does not exist
ERROR: relation "a" does not exist
ERROR: Could not find a version""",
    "Ruby": """E, [2026-11-29T16:00:00.123456 #7] ERROR -- : no cache
PG::UndefinedTable: ERROR:  relation "a" does not exist
LINE 1: select 1 from a""",
    "Go": """time="2026-11-29T16:00:00Z" level=error msg="pq: relation does not exist"
2026/11/29 16:00:00 ERROR no cache err="pq: no"
2026/11/29 16:00:00 pq: relation "a" does not exist
E1129 16:00:00.123456       7 main.go:3] no cache
panic: runtime error: index out of range""",
    "Rust": "error[E0425]: cannot find `x`\nerror: could not compile `app`\n[ERROR app] no",
    "PHP": """   ERROR  SQLSTATE[42P01]: Undefined table: 7 ERROR:  relation "a" does not exist.
PHP Fatal error:  Uncaught Exception
[2026-11-29 16:00:00] production.ERROR: SQLSTATE[42P01]: no""",
    "Node": """(node:7) Warning: Accessing non-existent property
(node:7) [DEP0040] DeprecationWarning: The `punycode` module is deprecated.
{"level":50,"time":1764432000000,"pid":7,"msg":"error: relation does not exist"}
{"level":"error","message":"ERROR:  relation does not exist"}
{"status":"error","error":"it broke"}
[Nest] 7  - 11/29/2026, 4:00:00 PM   ERROR [ExceptionHandler] no cache
error: relation "a" does not exist
Error: no cache, going on
TypeError: ignored
npm ERR! code ELIFECYCLE
npm error Lifecycle script `push` failed with error:
npm warn exec The following package was not found and will be installed: x
> demo@1.0.0 push
> node push-db.js""",
    "the server's log": """2026-11-29 16:00:00.123 UTC [33] ERROR:  relation "a" does not exist
2026-11-29 16:00:00.123 UTC [33] STATEMENT:  select 1 from a
2026-11-29 16:00:00.123 UTC [1] LOG:  database system is ready to accept connections
postgres@rpg [33] FATAL:  terminating connection due to administrator command
db-1  | ERROR:  relation "a" does not exist
<33>FEHLER:  nein""",
    "a table's content": """ id |               line
----+----------------------------------
  1 | ERROR:  relation does not exist
  2 | psql:f.sql:3: ERROR:  no
  3 | [✓] Changes applied
(3 rows)
1|ERROR:  relation does not exist
1,psql: error: no""",
    "an echo of SQL": """CREATE TABLE a (id int);
insert into log values ('ERROR:  no');
-- ERROR:  in a comment
raise exception 'ERROR:  no';
CREATE TABLE
INSERT 0 1
UPDATE 3""",
    "a changelog": """- psql: an error counts in every language
* `psql:f.sql:3: ERROR:  x` is told
## Error: handling
    ERROR:  an indented example""",
    "shells and curl": """sh: 1: foo: not found
curl: (7) Failed to connect to localhost port 80
fatal: not a git repository (or any of the parent directories): .git
error: pathspec 'x' did not match any file(s) known to git
pg_isready: no response
db:5432 - no response""",
    "what the server says beside errors": """NOTICE:  relation "a" already exists, skipping
WARNING:  there is no transaction in progress
HINWEIS:  Relation »a« existiert bereits, wird übersprungen
WARNUNG:  keine Transaktion offen
psql:f.sql:3: NOTICE:  relation "a" already exists, skipping
psql:f.sql:3: HINWEIS:  Relation »a« existiert bereits
psql:f.sql:3: WARNING:  there is no transaction in progress
psql: warning: extra command-line argument "x" ignored
psql: Warnung: überflüssiges Kommandozeilenargument »x« ignoriert""",
    "Rails": """== 20260101000000 CreateItems: migrating ======================================
-- create_table(:items)
   -> 0.0020s
== 20260101000000 CreateItems: migrated (0.0020s) =============================""",
    "a script of the service's own": """Starting migration to latest
Migration complete
Migration skipped: nothing is new
failed to migrate
Batch 3 is done
Schema successfully created in 3 s
Successfully migrated 3 tables""",
    "git": "Already up to date.\nAlready up-to-date.",
}
