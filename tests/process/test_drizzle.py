"""Starts with real drizzle-kit, in the versions that services have."""

from __future__ import annotations

import os
import subprocess
import uuid
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from psycopg import sql

from tests.support.drizzle import documented
from tests.support.drizzle.kit import PUSH, VERSIONS, Kit, install
from tests.support.drizzle.outcome import Outcome, asked, check, done, erred, failed, refused
from tests.support.drizzle.trial import Scenario, Trial
from tests.support.drizzle.world import look
from tests.support.live import live
from tests.support.npm import HAS_NODE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.drizzle.world import Schema
    from tests.support.server import Endpoint
    from tests.support.stage import Stage

OLDEST, *CURRENT = VERSIONS
OLD, NEW, RC = CURRENT

KEY = "id integer not null primary key"
USERS = f"{KEY}, name text not null, email text"
ITEMS = f"{KEY}, owner integer references rpg_users, label text"
BASE = {"rpg_users": USERS, "rpg_items": ITEMS}
LOGS = {"rpg_logs": f"{KEY}, line text"}
NICK = {"rpg_users": f"{USERS}, nick text"}
ADDED = BASE | NICK | LOGS
CAST = ADDED | {"rpg_items": ITEMS.replace("label text", "label integer")}
LEVEL = BASE | {"rpg_users": f"{USERS}, level integer not null"}
UNIQUE = BASE | {"rpg_users": f"{USERS} unique"}
COLUMN_RENAMED = BASE | {"rpg_users": USERS.replace("name", "full_name")}
TABLE_RENAMED = {"rpg_users": USERS, "rpg_things": ITEMS}
NO_EMAIL = BASE | {"rpg_users": USERS.removesuffix(", email text")}
NO_ITEMS = {"rpg_users": USERS}

USER_ROWS = ("insert into rpg_users values (1, 'ann', 'x'), (2, 'bob', 'x')",)
ROWS = (*USER_ROWS, "insert into rpg_items values (10, 1, 'sword'), (11, 2, 'x')")
LEGACY = (*ROWS, "create table legacy (id integer not null primary key)")
LEGACY_ROWS = (*LEGACY, "insert into legacy values (1)")

FORCE = "--force"
DROP = '[{"type":"confirm_data_loss","kind":"column","entity":["public","rpg_users","email"]}]'
RENAME = (
    '[{"type":"rename","kind":"column","from":["public","rpg_users","name"],'
    '"to":["public","rpg_users","full_name"]}]'
)


def image(wanted: Schema, *flags: str, **more: Any) -> Scenario:  # noqa: ANN401  Scenario's own
    return Scenario(wanted, flags, **{"before": ROWS, **more})


DONE = done()
SILENT = failed(1, "drizzle-kit reported no success")
WHICH = asked(0, "Is full_name column in rpg_users table created or renamed")
TTY = asked(0, "Error: Interactive prompts require a TTY terminal")
CONFIRM = asked(0, "Do you still want to push changes?")
TRUNCATE = asked(0, "· You're about to add rpg_users_email_unique unique constraint")
HINTS = asked(2, "missing_hints: 1 unresolved decisions")
TWO_HINTS = asked(2, "missing_hints: 2 unresolved decisions")
TEXT = erred(0, 'error: column "label" cannot be cast automatically to type integer', BASE | LOGS)
SWORD = erred(
    1, '┌── query error: invalid input syntax for type integer: "sword"', BASE | LOGS | NICK
)
NULLS = erred(1, '┌── query error: column "level" of relation "rpg_users" contains null values')
TWICE = erred(1, '┌── query error: could not create unique index "rpg_users_email_key"')
CLOSED = "Error: connect ECONNREFUSED 127.0.0.1:1"
UNREACHED = (erred(0, CLOSED), SILENT, erred(1, CLOSED))
MISSING = 'error: database "nowhere" does not exist'
NOWHERE = (erred(0, MISSING), SILENT, erred(1, MISSING))
NO_TABLE = "exited with code 0, but there is no table in the database"
EMPTIED = done(tables=["rpg_items", "rpg_users"])._replace(error=NO_TABLE, left={})
USERS_KEPT, EMAIL_KEPT = refused("rpg_users"), refused("rpg_users.email")
ITEMS_KEPT, LEGACY_KEPT = refused("rpg_items"), refused("legacy")
ONE_KEPT = Outcome(0, "entrypoint refuses to lose the rows of rpg_", "lose the rows of rpg_")
EMAIL_KEPT_RC = refused("rpg_users.email", 1)
EMAIL_GONE = done(columns=["rpg_users.email"])
ITEMS_GONE, LEGACY_GONE = done(tables=["rpg_items"]), done(tables=["legacy"])


# Name, scenario, and what comes of it with OLD, NEW and RC. OLD waits ten seconds at a question
# before it gives up, so it is asked three.
MATRIX: list[tuple[str, Scenario, Outcome | None, Outcome | None, Outcome | None]] = [
    ("fresh", image(BASE, before=None, role="plain"), DONE, DONE, DONE),
    ("no-change", image(BASE), DONE, DONE, DONE),
    ("additive", image(ADDED, role="plain"), DONE, DONE, DONE),
    ("additive-stdin-closed", image(ADDED, stdin="<&-"), DONE, DONE, DONE),
    ("bad-cast-half-way", image(CAST), TEXT, TEXT, SWORD),
    ("not-null", image(LEVEL), None, CONFIRM, NULLS),
    ("not-null-force", image(LEVEL, FORCE), USERS_KEPT, USERS_KEPT, NULLS),
    ("not-null-plain", image(LEVEL, FORCE, role="plain"), USERS_KEPT, USERS_KEPT, NULLS),
    ("duplicates", image(UNIQUE), None, TRUNCATE, TWICE),
    ("duplicates-force", image(UNIQUE, FORCE), TRUNCATE, TRUNCATE, TWICE),
    ("column-renamed-stdin-open", image(COLUMN_RENAMED, stdin="<>stdin"), WHICH, TTY, HINTS),
    ("column-renamed-hints", image(COLUMN_RENAMED, "--hints", RENAME), None, None, DONE),
    ("table-renamed", image(TABLE_RENAMED), None, TTY, HINTS),
    ("column-dropped", image(NO_EMAIL), CONFIRM, CONFIRM, HINTS),
    ("column-dropped-force", image(NO_EMAIL, FORCE), EMAIL_KEPT, EMAIL_KEPT, HINTS),
    ("column-dropped-hints", image(NO_EMAIL, "--hints", DROP), None, None, EMAIL_KEPT_RC),
    ("empty-column", image(NO_EMAIL, before=()), EMAIL_GONE, EMAIL_GONE, EMAIL_GONE),
    ("empty-column-force", image(NO_EMAIL, FORCE, before=()), EMAIL_GONE, EMAIL_GONE, EMAIL_GONE),
    ("table-dropped", image(NO_ITEMS), None, CONFIRM, HINTS),
    ("table-dropped-force", image(NO_ITEMS, FORCE), ITEMS_KEPT, ITEMS_KEPT, HINTS),
    ("table-dropped-admin", image(NO_ITEMS, FORCE, role="admin"), ITEMS_KEPT, ITEMS_KEPT, HINTS),
    ("empty-table", image(NO_ITEMS, before=USER_ROWS), ITEMS_GONE, ITEMS_GONE, ITEMS_GONE),
    ("unknown", image(BASE, before=LEGACY_ROWS), None, CONFIRM, HINTS),
    ("unknown-force", image(BASE, FORCE, before=LEGACY_ROWS), LEGACY_KEPT, LEGACY_KEPT, HINTS),
    ("unknown-empty", image(BASE, before=LEGACY), LEGACY_GONE, LEGACY_GONE, LEGACY_GONE),
    ("unreachable", image(ADDED, elsewhere="closed port"), *UNREACHED),
    ("no-database", image(ADDED, elsewhere="missing database"), *NOWHERE),
    ("no-exports-force", image({}, FORCE), ONE_KEPT, ONE_KEPT, TWO_HINTS),
    ("no-exports-empty", image({}, before=()), EMPTIED, EMPTIED, EMPTIED),
]
CELLS = [
    pytest.param(version, scenario, outcome, id=f"{version}-{name}")
    for name, scenario, *outcomes in MATRIX
    for version, outcome in zip(CURRENT, outcomes, strict=True)
    if outcome
]

# OLDEST knows no --force, and looks for no loss where a table is empty.
OLDEST_MATRIX: list[tuple[str, Scenario, Outcome]] = [
    ("fresh", image(BASE, before=None, role="plain"), DONE),
    ("no-change", image(BASE), DONE),
    ("additive", image(ADDED, role="plain"), DONE),
    ("bad-cast-half-way", image(CAST, before=()), TEXT),
    ("column-dropped", image(NO_EMAIL), CONFIRM),
    ("column-dropped-force", image(NO_EMAIL, FORCE), failed(1, "not recognised")),
    ("unreachable", image(ADDED, elsewhere="closed port"), erred(0, CLOSED)),
]
CELLS += [
    pytest.param(OLDEST, scenario, outcome, id=f"{OLDEST}-{name}")
    for name, scenario, outcome in OLDEST_MATRIX
]
AGAIN = [
    pytest.param(version, scenario, outcome, id=f"{version}-{name}")
    for version, name, scenario, outcome in [
        *((NEW, name, scenario, outcome) for name, scenario, _, outcome, _ in MATRIX),
        *((OLDEST, name, scenario, outcome) for name, scenario, outcome in OLDEST_MATRIX),
    ]
    if outcome and outcome.error and (version == NEW or "bad-cast" in name)
]
"""What fails, of one version, and with OLDEST what stops half way: started three times."""

ONCE = [each for each in CELLS if each.id not in {again.id for again in AGAIN}]


# Without a superuser's guard nobody can tell who swapped a table, so those of `plain` get one. With
# the live service's tables a database is not empty, as that of the last cell is.
BESIDE = [
    pytest.param(
        version,
        replace(each, role=each.role.replace("plain", "admin")),
        outcome,
        id=f"{version}-{name}",
    )
    for version, name, each, outcome in [
        *((NEW, name, scenario, outcome) for name, scenario, _, outcome, _ in MATRIX),
        (OLDEST, "additive", image(ADDED), DONE),
    ]
    if outcome and outcome is not EMPTIED and each.before is not None
]


def test_the_documentation_has_every_case() -> None:
    """Its table tells of each case and version that is tested here, what the tests expect."""
    outcomes = {name: dict(zip(CURRENT, expected, strict=True)) for name, _, *expected in MATRIX}
    for name, _, outcome in OLDEST_MATRIX:
        outcomes[name][OLDEST] = outcome
    rows: dict[str, dict[str, set[str]]] = {}
    for row, names in documented.CASES.items():
        for name in names:
            for version, told in outcomes.pop(name).items():
                if told:
                    rows.setdefault(row, {}).setdefault(version, set()).add(documented.cell(told))
    assert outcomes == {}

    table = documented.cells()
    assert list(table) == list(documented.CASES)
    for row in [*table][:-2]:
        assert {v: {told} for v, told in table[row].items() if told} == rows[row]


class Templates(Protocol):
    """Gives a version, installed, and a database with `BASE` as that version pushed it."""

    def __call__(self, version: str) -> tuple[Kit, str]:
        """The same two every time."""


class Begin(Protocol):
    """Gives a service on a version, with a database as the scenario has it before."""

    def __call__(self, version: str, scenario: Scenario) -> Trial:
        """Nothing is started yet."""


@pytest.fixture(scope="session")
def templates(server: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Templates]:
    """What all tests begin with, made once."""
    if not HAS_NODE:
        pytest.skip("Node is not installed")
    names: list[str] = []

    @cache
    def template(version: str) -> tuple[Kit, str]:
        kit, name = install(version), f"template_{uuid.uuid4().hex[:12]}"
        with server.connect() as connection:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        names.append(name)
        directory = tmp_path_factory.mktemp("template")
        kit.lay(directory, BASE)
        environ = {**os.environ, "DATABASE_URL": server.url(name)}
        subprocess.run(PUSH, check=True, cwd=directory, env=environ, capture_output=True)
        with server.connect(name) as connection:
            assert look(connection).tables == BASE
        return kit, name

    yield template
    for name in names:
        with server.connect() as connection:
            connection.execute(sql.SQL("drop database {}").format(sql.Identifier(name)))


@pytest.fixture
def begin(templates: Templates, stage: Stage) -> Begin:
    """Make the test's service."""

    def prepared(version: str, scenario: Scenario) -> Trial:
        trial = Trial(stage, *templates(version))
        trial.prepare(scenario)
        return trial

    return prepared


@pytest.mark.parametrize(("version", "scenario", "outcome"), ONCE)
def test_a_push(begin: Begin, version: str, scenario: Scenario, outcome: Outcome) -> None:
    """The service starts on exactly its image's schema and keeps every row, or does not start."""
    check(begin(version, scenario).start(scenario), outcome)


@pytest.mark.parametrize(("version", "scenario", "outcome"), AGAIN)
def test_the_second_and_third_start_after_a_failure(
    begin: Begin, version: str, scenario: Scenario, outcome: Outcome
) -> None:
    """Each ends with 7 again for the same reason on what the last one left, and loses none."""
    trial = begin(version, scenario)
    first = trial.start(scenario)
    check(first, outcome)

    for _ in range(2):
        ended = trial.start(scenario)

        assert ended.code == 7
        assert outcome.error in ended.program.one("push.failed")["error"]
        assert ended.after == ended.before == first.after


@pytest.mark.parametrize(("version", "scenario", "outcome"), BESIDE)
def test_a_live_service_beside_a_push(
    begin: Begin, version: str, scenario: Scenario, outcome: Outcome
) -> None:
    """It meets no error and loses no row, and no push fails for what it empties and swaps."""
    trial = begin(version, scenario)
    stage = trial.stage
    trial.kit.lay(stage.directory, scenario.wanted)
    with live(stage.url, stage.directory):
        ended = trial.start(scenario)

    assert ended.code == (7 if outcome.error else 0), ended.program.output
    told = ended.program.one("push.failed" if outcome.error else "push.finished")
    assert outcome.error in told.get("error", "")
    assert outcome.output in told["output"]


@pytest.mark.parametrize("broken", [image(CAST), image(NO_ITEMS, FORCE)], ids=["cast", "loss"])
@pytest.mark.parametrize("version", CURRENT)
def test_a_corrected_image(begin: Begin, version: str, broken: Scenario) -> None:
    """It starts on whatever its predecessor's failed push left, and needs no hand."""
    trial = begin(version, broken)
    assert trial.start(broken).code == 7

    check(trial.start(image(ADDED)), DONE)


def test_what_may_be_dropped(begin: Begin) -> None:
    """ENTRYPOINT_ALLOW_LOSS lets the named table go, and the column beside it only when named."""
    scenario = image(NO_ITEMS | {"rpg_users": NO_EMAIL["rpg_users"]}, FORCE)
    trial = begin(NEW, scenario)
    trial.stage.environ["ENTRYPOINT_ALLOW_LOSS"] = "rpg_items"

    check(
        trial.start(scenario, may_lose={"rpg_items"}),
        EMAIL_KEPT._replace(
            left=NO_ITEMS, loss={"tables": ["rpg_items"], "rows": {"rpg_items": 2}}
        ),
    )

    trial.stage.environ["ENTRYPOINT_ALLOW_LOSS"] = "rpg_items,rpg_users.email"

    ended = trial.start(scenario, may_lose={"rpg_users"})
    check(ended, EMAIL_GONE)
    assert ended.after.rows == {"rpg_users": [(1, "ann"), (2, "bob")]}


def test_what_may_be_truncated(begin: Begin) -> None:
    """A table that is named may be emptied, but not the one that its TRUNCATE would take along."""
    trial = begin(NEW, image(LEVEL, FORCE))
    trial.stage.environ["ENTRYPOINT_ALLOW_LOSS"] = "rpg_users"

    check(trial.start(image(LEVEL, FORCE)), ITEMS_KEPT)

    trial.stage.environ["ENTRYPOINT_ALLOW_LOSS"] = "rpg_users,rpg_items"

    check(
        trial.start(image(LEVEL, FORCE), may_lose=BASE.keys()),
        done(rows={"rpg_items": 2, "rpg_users": 2}),
    )


def test_a_loss_that_is_only_told(begin: Begin) -> None:
    """With push.on_loss = "warn" the rows go, the service starts, and a warning says how many."""
    trial = begin(OLD, image(LEVEL, FORCE))
    trial.stage.sections["push"] = {"on_loss": "warn"}

    ended = trial.start(image(LEVEL, FORCE), may_lose=BASE.keys())

    check(ended, done(rows={"rpg_items": 2, "rpg_users": 2}))
    assert ended.program.one("push.loss_found")["level"] == "warning"


def test_a_drop_that_nothing_could_refuse(begin: Begin) -> None:
    """Without a superuser's role the start says so before, and fails after the drop."""
    trial = begin(NEW, image(NO_ITEMS, FORCE, role="plain"))

    ended = trial.start(image(NO_ITEMS, FORCE, role="plain"), may_lose={"rpg_items"})

    lost = "the push lost the rows of rpg_items, and no guard could refuse it"
    check(
        ended,
        DONE._replace(
            error=lost, left=NO_ITEMS, loss={"tables": ["rpg_items"], "rows": {"rpg_items": 2}}
        ),
    )
    names = ended.program.names()
    assert names.index("guard.not_armed") < names.index("push.printed")
