"""Pushes of the shapes that real services have, with real Node: by hand, and beside migrations."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.support.drizzle.kit import PUSH, VERSIONS, install
from tests.support.live import live
from tests.support.npm import HAS_NODE
from tests.support.program import toml, until
from tests.support.stage import TENANT

if TYPE_CHECKING:
    from tests.support.program import Program
    from tests.support.stage import Stage

OLDEST, _, NEW, _ = VERSIONS

NODE = Path(__file__).parents[1] / "support" / "node"
"""Pushes, seeds and services, each a program for Node."""

USERS = "id integer not null primary key, name text not null, email text"

OLDER = "an older release: a newer one has pushed its schema since"

ONE: dict[str, Any] = {
    "enums": {"transaction_type": ["income", "expense"]},
    "tables": {
        "transactions": "id serial primary key, kind transaction_type not null, cents integer",
        "rpg_categories": "tenant_id uuid, name text, primary key (tenant_id, name)",
    },
    "columns": [],
    "indexes": [["transactions_kind", "transactions (kind)"]],
}
TWO = ONE | {
    "enums": {"transaction_type": ["income", "expense", "transfer"]},
    "columns": [["transactions", "note text"]],
    "indexes": [*ONE["indexes"], ["transactions_note", "transactions (note)"]],
}
THREE = TWO | {"columns": [*TWO["columns"], ["nowhere", "note text"]]}
"""A release whose push fails half way."""


class Schema(NamedTuple):
    """What a database has of the service's."""

    values: list[str]
    columns: set[str]
    indexes: set[str]


@pytest.fixture(params=["registered", "not registered"])
def finance(request: pytest.FixtureRequest, stage: Stage) -> Stage:
    """A service with a push-db.js and a seed-categories.js, in a registry or in none."""
    if not HAS_NODE:
        pytest.skip("Node is not installed")
    (stage.directory / "node_modules").symlink_to(install(NEW).node_modules)
    for name in ("push-db.js", "seed-categories.js"):
        shutil.copy(NODE / name, stage.directory)
    stage.push = ["node", "push-db.js"]
    stage.seed = ["node", "seed-categories.js", "{tenant_id}"]
    stage.sections["push"] = {"inputs": ["push-db.js", "schema.js"]}
    stage.sections["seed"] = {"inputs": ["seed-categories.js"]}
    if request.param == "registered":
        row: dict[str, object] = {"database": stage.database, "prefixes": ["rpg_"]}
        (stage.directory / "services.toml").write_text(toml({"demo": row}))
        stage.environ["ENTRYPOINT_SERVICES"] = "services.toml"
    return stage


def started(stage: Stage, name: str, schema: dict[str, Any]) -> Program:
    """Start a release."""
    text = f"module.exports = {json.dumps(schema)};\n"
    (stage.directory / "schema.js").write_text(text)
    stage.environ["ENTRYPOINT_RELEASE"] = name
    return stage.start("echo", "served")


def served(program: Program) -> str:
    """It ended with 0 and a service; why it pushed, or did not."""
    assert program.wait() == 0, program.output
    assert program.stdout == b"served\n"
    [event] = program.all("push.started") + program.all("push.skipped")
    ran = event["event"] == "push.started"
    return f"{'ran' if ran else 'skipped'}: {event['reason']}"


def earn(stage: Stage) -> None:
    """The service writes a row."""
    with stage.connect() as connection:
        connection.execute("insert into transactions (kind, cents) values ('income', 100)")


def kept(stage: Stage) -> tuple[int, int]:
    """How many rows there are of the service's and of its seed's."""
    query = (
        "select (select count(*) from transactions), (select count(*) from rpg_categories"
        " where tenant_id = %s)"
    )
    with stage.connect() as connection:
        row = connection.execute(query, [TENANT]).fetchone()
    assert row is not None
    return row[0], row[1]


def made(stage: Stage) -> Schema:
    """Look at the schema."""
    queries = (
        "select unnest(enum_range(null::transaction_type))::text",
        "select attname from pg_attribute where attrelid = 'transactions'::regclass and attnum > 0",
        "select indexrelid::regclass::text from pg_index where indrelid = 'transactions'::regclass",
    )
    with stage.connect() as connection:
        found = [[value for (value,) in connection.execute(q).fetchall()] for q in queries]
    return Schema(found[0], set(found[1]), set(found[2]))


def altering(stage: Stage) -> list[Any]:
    """The sessions that change a table."""
    return [row for row in stage.sessions() if row[3].startswith("ALTER TABLE")]


FIRST = Schema(
    ["income", "expense"], {"id", "kind", "cents"}, {"transactions_pkey", "transactions_kind"}
)
SECOND = Schema(
    ["income", "expense", "transfer"],
    FIRST.columns | {"note"},
    FIRST.indexes | {"transactions_note"},
)


def test_releases_of_a_push_by_hand(finance: Stage) -> None:
    """Releases, restarts, a rollback and a revert push exactly when they should, and lose none."""
    assert served(started(finance, "v1", ONE)) == "ran: first"
    assert made(finance) == FIRST
    earn(finance)
    assert served(started(finance, "v1", ONE)) == "skipped: unchanged"

    assert served(started(finance, "v2", TWO)) == "ran: changed"
    assert made(finance) == SECOND
    assert served(started(finance, "v2", TWO)) == "skipped: unchanged"

    assert served(started(finance, "v1", ONE)) == f"skipped: {OLDER}"
    assert served(started(finance, "v2", TWO)) == "skipped: unchanged"

    # It takes nothing away, so the schema is what it was.
    assert served(started(finance, "v3", ONE)) == "ran: changed"
    assert made(finance) == SECOND
    assert served(started(finance, "v3", ONE)) == "skipped: unchanged"
    assert kept(finance) == (1, 2)


def test_a_warm_start_after_a_push_by_hand(finance: Stage) -> None:
    """The second start takes no lock, though the first one's progress was written over itself."""
    first = started(finance, "v1", ONE)
    served(first)
    assert any("Database schema pushed" in e["line"] for e in first.all("push.printed"))

    second = started(finance, "v1", ONE)

    assert served(second) == "skipped: unchanged"
    assert not {"lock.acquired", "push.started", "seed.started"} & set(second.names())


def test_a_push_by_hand_that_fails_half_way(finance: Stage) -> None:
    """It ends three starts with 7, the release before still serves, and the next one mends it."""
    served(started(finance, "v1", ONE))
    earn(finance)

    for _ in range(3):
        broken = started(finance, "v2", THREE)
        assert broken.wait() == 7
        assert "exited with code 1" in broken.one("push.failed")["error"]
        assert kept(finance) == (1, 2)

    served(started(finance, "v1", ONE))
    assert served(started(finance, "v3", TWO)).startswith("ran: ")
    assert made(finance) == SECOND
    assert kept(finance) == (1, 2)


def test_sigterm_in_the_middle_of_a_push_by_hand(finance: Stage) -> None:
    """It ends with 143 and no session; the next start does what is missing."""
    served(started(finance, "v1", ONE))
    earn(finance)
    with finance.connect() as reader, reader.transaction():
        reader.execute("select from transactions")
        program = started(finance, "v2", TWO)
        until(lambda: altering(finance), "the push waits for the table")
        program.signal(signal.SIGTERM)

        assert program.wait() == 143
        assert altering(finance) == []

    assert served(started(finance, "v2", TWO)).startswith("ran: ")
    assert made(finance) == SECOND
    assert kept(finance) == (1, 2)


def test_a_live_service_beside_a_push_by_hand(finance: Stage) -> None:
    """It meets no error and loses no row, and what it empties and swaps fails neither release."""
    finance.environ["ENTRYPOINT_ADMIN_URL"] = finance.server.url()
    served(started(finance, "v1", ONE))
    earn(finance)
    more = TWO | {"columns": [*TWO["columns"], ["transactions", "account text"]]}

    with live(finance.url, finance.directory) as goes_on:
        for name, schema in ("v2", TWO), ("v3", more):
            with finance.connect() as reader, reader.transaction():
                reader.execute("select from transactions")
                program = started(finance, name, schema)
                until(lambda: altering(finance), "the push waits for the table")
                goes_on()
            assert served(program) == "ran: changed"
            assert "live.board" in program.one("push.loss_found")["by_others"]

    assert made(finance) == SECOND._replace(columns=SECOND.columns | {"account"})
    assert kept(finance) == (1, 2)


def test_quick_pushes_beside_a_live_service(finance: Stage) -> None:
    """A push may be over before anybody has seen its mark; what others lost is theirs still."""
    finance.environ["ENTRYPOINT_ADMIN_URL"] = finance.server.url()
    served(started(finance, "v0", ONE))
    earn(finance)
    losses = set()
    with live(finance.url, finance.directory) as goes_on:
        for number in range(1, 7):
            goes_on()
            program = started(finance, f"v{number}", (ONE, TWO)[number % 2])
            assert program.wait() == 0, program.output
            losses |= {
                name for loss in program.all("push.loss_found") for name in loss["by_others"]
            }
    assert losses <= {"live.board", "live.cache"}
    assert kept(finance) == (1, 2)


@pytest.fixture
def shop(stage: Stage) -> Stage:
    """A service with drizzle-kit 0.21 and migrations, which it runs itself when it starts."""
    if not HAS_NODE:
        pytest.skip("Node is not installed")
    install(OLDEST).lay(stage.directory, {"rpg_users": USERS})
    shutil.copy(NODE / "migrating.js", stage.directory)
    stage.push = PUSH
    stage.sections["push"] = {"inputs": ["schema.js"]}
    stage.environ |= {"ENTRYPOINT_RELEASE": "v1", "ENTRYPOINT_SKIP": "seed"}
    return stage


def migration(stage: Stage) -> None:
    """Make one of what schema.js has now."""
    command = [*PUSH[:-1], "generate"]
    subprocess.run(command, check=True, cwd=stage.directory, capture_output=True)


def ann(stage: Stage) -> None:
    """Write a user."""
    with stage.connect() as connection:
        connection.execute("insert into rpg_users values (1, 'ann', null)")


def users(stage: Stage) -> list[tuple[Any, ...]]:
    """Read them."""
    with stage.connect() as connection:
        return connection.execute("select * from rpg_users").fetchall()


def nicknamed(stage: Stage) -> None:
    """Make a second release, with a column more in its schema and in its migrations."""
    install(OLDEST).lay(stage.directory, {"rpg_users": f"{USERS}, nick text"})
    migration(stage)
    stage.environ["ENTRYPOINT_RELEASE"] = "v2"


def test_a_service_that_migrates_too(shop: Stage) -> None:
    """Its bookkeeping is drift once: the next start pushes, changes nothing, and is the last."""
    migration(shop)
    reasons = [served(shop.start("node", "migrating.js")) for _ in range(4)]

    assert reasons == ["ran: first", "ran: drift", "skipped: unchanged", "skipped: unchanged"]
    with shop.connect() as connection:
        assert connection.execute("select from drizzle.__drizzle_migrations").rowcount == 1


def test_a_column_that_a_push_and_a_migration_add(shop: Stage) -> None:
    """Who makes it second fails, which is the service: its own error tells, and no row is lost."""
    migration(shop)
    served(shop.start("node", "migrating.js"))
    ann(shop)
    nicknamed(shop)

    program = shop.start("node", "migrating.js")

    assert program.wait() == 1
    assert program.one("push.finished")["catalog"] == "changed"
    assert "handoff.executed" in program.names()
    assert 'column "nick" of relation "rpg_users" already exists' in program.output
    assert users(shop) == [(1, "ann", None, None)]


def test_migrations_as_the_push(shop: Stage) -> None:
    """Where the push is what the service would run, the service finds nothing left to migrate."""
    shop.push = [*PUSH[:-1], "migrate"]
    shop.sections["push"] = {"inputs": ["drizzle/**"]}
    migration(shop)
    first = [served(shop.start("node", "migrating.js")) for _ in range(2)]
    ann(shop)
    nicknamed(shop)
    second = [served(shop.start("node", "migrating.js")) for _ in range(2)]

    assert first == ["ran: first", "skipped: unchanged"]
    assert second == ["ran: changed", "skipped: unchanged"]
    assert users(shop) == [(1, "ann", None, None)]


def test_two_replicas_of_a_push_by_hand(finance: Stage) -> None:
    """On a server without the database both serve, and one of them pushes."""
    pair = [started(finance, "v1", ONE) for _ in range(2)]

    assert sorted(map(served, pair)) == ["ran: first", "skipped: unchanged"]
    assert made(finance) == FIRST
    assert kept(finance) == (0, 2)
