"""A push is believed when no evidence speaks against it, and each kind of evidence is enough."""

from __future__ import annotations

from typing import Any

import pytest

from entrypoint.postgres.ledger import Damage
from entrypoint.postgres.loss import Loss
from entrypoint.postgres.snapshot import Constraint, Snapshot, Table
from entrypoint.start.endings import Ending
from entrypoint.start.tool_output import ToolResult
from entrypoint.start.verdict import Evidence, blocking, damage, judge, standing


def snapshot(
    *names: str, indexes: tuple[str, ...] = (), unproved: tuple[str, ...] = ()
) -> Snapshot:
    """Tables with these names; invalid indexes, and constraints of the first that are NOT VALID."""
    tables = {
        oid: Table(oid, "public", name, "r", oid, 0, readable=True)
        for oid, name in enumerate(names)
    }
    return Snapshot(
        tables,
        {},
        {oid: Constraint(0, name, valid=False) for oid, name in enumerate(unproved)},
        {},
        dict(enumerate(indexes)),
    )


BEFORE = snapshot("rpg_items", "others")
FINE = Evidence(
    ended=None,
    output=ToolResult("drizzle-kit: succeeded", succeeded=True),
    refused=False,
    before=BEFORE,
    after=BEFORE,
    loss=Loss(),
)
LOSS = Loss(
    tables=("rpg_items",), of_rows={"rpg_items": frozenset({"rpg_items", "public.rpg_items"})}
)
HELD = Damage("index rpg_name", 0, "f", "v2", "then")
CODE = Ending("the push command exited with code 1", "Correct what its lines say.")
NOT_DONE = ToolResult("psql reported an error: no", succeeded=False, remedy="Correct it.")


def verdict(
    evidence: Evidence,
    *,
    prefixes: tuple[str, ...] = ("rpg_",),
    on_loss: str = "refuse",
    allowed: tuple[str, ...] = (),
    bookkeeping: tuple[str, ...] | None = None,
) -> Ending | None:
    return judge(
        evidence, prefixes=prefixes, on_loss=on_loss, allowed=allowed, bookkeeping=bookkeeping
    )


FOR: list[tuple[Evidence, dict[str, Any]]] = [
    (FINE, {}),
    (FINE._replace(output=ToolResult()), {}),
    (FINE._replace(before=snapshot()), {}),
    (FINE, {"prefixes": ()}),
    (FINE, {"prefixes": ("shop_", "other")}),
    (FINE._replace(loss=LOSS), {"on_loss": "warn"}),
    (FINE._replace(loss=LOSS), {"allowed": ("rpg_items",)}),
    (FINE._replace(loss=LOSS), {"allowed": ("x", "public.rpg_items")}),
    (FINE._replace(loss=Loss(tables=("others",), rows={"rpg_items": 3})), {}),
    (
        FINE._replace(
            before=snapshot("rpg_a", indexes=("i",)), after=snapshot("rpg_a", indexes=("i",))
        ),
        {},
    ),
    (FINE._replace(after=snapshot("rpg_a", unproved=("c",))), {}),
    (FINE._replace(connected=True), {}),
    (FINE._replace(after=snapshot("rpg_a", "_prisma_migrations")), {}),
    (FINE._replace(after=snapshot("kept")), {"prefixes": (), "bookkeeping": ("theirs",)}),
]


@pytest.mark.parametrize(("evidence", "settings"), FOR)
def test_believed(evidence: Evidence, settings: dict[str, Any]) -> None:
    """Nothing speaks against it, or what does is allowed or was there before."""
    assert verdict(evidence, **settings) is None


AGAINST = [
    (
        "a code",
        FINE._replace(ended=CODE),
        ("the push command exited with code 1", "Correct what its lines say."),
    ),
    (
        "a code and a word",
        FINE._replace(ended=CODE, output=NOT_DONE),
        ("the push command exited with code 1: psql reported an error: no", "Correct it."),
    ),
    (
        "a word",
        FINE._replace(output=NOT_DONE),
        ("the push command exited with code 0, but psql reported an error: no", "Correct it."),
    ),
    (
        "a refusal that was hidden",
        FINE._replace(refused=True),
        (
            (
                "the guard refused the push, which would lose the rows of a table or column that "
                "its lines do not name; no row is lost"
            ),
            "Correct the schema, or set ENTRYPOINT_ALLOW_LOSS=NAME for one start",
        ),
    ),
    (
        "a refusal that was told",
        FINE._replace(output=ToolResult(refused=("rpg_items", "rpg_heroes.level"))),
        (
            (
                "the guard refused the push, which would lose the rows of rpg_items, "
                "rpg_heroes.level; no row is lost"
            ),
            "Correct the schema, or set ENTRYPOINT_ALLOW_LOSS=rpg_items,rpg_heroes.level for one ",
        ),
    ),
    (
        "no table",
        FINE._replace(after=snapshot()),
        (
            (
                "the push command exited with code 0, but there is no table whose name begins with "
                "rpg_ in the database"
            ),
            "Correct push.command, or the database that it connects to, or the service's prefixes",
        ),
    ),
    (
        "no table of its own",
        FINE._replace(after=snapshot("rpgs", "my_rpg_items")),
        ("the push command exited with code 0, but there is no table whose name", "Correct push."),
    ),
    (
        "an index",
        FINE._replace(after=snapshot("rpg_items", indexes=("rpg_name",))),
        (
            "the push command exited with code 0, but left invalid: index rpg_name",
            "Correct the data that the index refuses, run DROP INDEX rpg_name, and start again.",
        ),
    ),
    (
        "no session",
        FINE._replace(connected=False),
        (
            "the push command exited with code 0, but never connected to the service's database",
            "Correct the URL that push.command uses",
        ),
    ),
    (
        "bookkeeping alone",
        FINE._replace(after=snapshot("_prisma_migrations", "SequelizeMeta")),
        ("the push command exited with code 0, but there is no table", "Correct push.command"),
    ),
    (
        "what an earlier push left",
        FINE._replace(held=(HELD, HELD._replace(what="rpg_heroes", rows=3))),
        (
            (
                "an earlier push (release v2, then) left invalid: index rpg_name and lost the "
                "rows of rpg_heroes; the damage is still there"
            ),
            "Correct the data that the index refuses, run DROP INDEX rpg_name, and start again. R",
        ),
    ),
    (
        "a loss",
        FINE._replace(loss=LOSS),
        (
            "the push lost the rows of rpg_items, and no guard could refuse it",
            "Correct the schema and restore the rows from a backup, or set ENTRYPOINT_ALLOW_LOSS=",
        ),
    ),
]


@pytest.mark.parametrize(
    ("evidence", "wrong"), [row[1:] for row in AGAINST], ids=[r[0] for r in AGAINST]
)
def test_each_witness_alone(evidence: Evidence, wrong: tuple[str, str]) -> None:
    """One that speaks against a push is enough, with its words and its remedy."""
    found = verdict(evidence)

    assert found is not None
    assert found.message.startswith(wrong[0])
    assert found.remedy.startswith(wrong[1])


@pytest.mark.parametrize(
    ("columns", "is_bookkeeping"),
    [
        (("id", "timestamp", "name"), True),
        (("id", "timestamp", "name", "bird"), False),
        ((), False),
    ],
)
def test_migrations_is_typeorms_by_its_columns(
    columns: tuple[str, ...], *, is_bookkeeping: bool
) -> None:
    """An application may have a table of that name, about birds."""
    after = snapshot("migrations")
    numbered = {(0, number): name for number, name in enumerate(columns, 1)}
    after = after._replace(columns=numbered)
    found = verdict(FINE._replace(after=after), prefixes=())
    assert (found is not None) == is_bookkeeping


def filled(rows: int | None, estimate: int = -1) -> Snapshot:
    """One table with so many rows, and a column."""
    table = Table(1, "public", "rpg_items", "r", 1, estimate, readable=True, rows=rows)
    return snapshot()._replace(tables={1: table}, columns={(1, 1): "level"})


@pytest.mark.parametrize(
    ("what", "rows", "now", "allowed", "stands"),
    [
        ("index i", 0, snapshot("rpg_a", indexes=("i",)), (), True),
        ("index i", 0, snapshot("rpg_a", indexes=("i",)), ("i", "index i"), True),
        ("index i", 0, snapshot("rpg_a", indexes=("j",)), (), False),
        ("rpg_items", 3, snapshot(), (), True),
        ("rpg_items", 3, filled(0), (), True),
        ("rpg_items", 3, filled(2), (), True),
        ("rpg_items", 3, filled(None), (), True),
        ("rpg_items", 3, filled(3), (), False),
        ("rpg_items", 20_000, filled(10_000, 20_000), (), False),
        ("rpg_items", 0, filled(1), (), False),
        ("rpg_items", 3, filled(0), ("rpg_items",), False),
        ("rpg_items", 3, snapshot(), ("public.rpg_items",), False),
        ("rpg_items", 3, snapshot(), ("rpg",), True),
        ("rpg_items.level", 3, filled(3), (), False),
        ("rpg_items.name", 3, filled(3), (), True),
        ("rpg_items.name", 3, filled(3), ("rpg_items.name",), False),
        ("sales.orders", 3, snapshot(), ("sales.orders",), False),
    ],
)
def test_damage_stands_until_it_is_mended_or_allowed(
    what: str, rows: int, now: Snapshot, allowed: tuple[str, ...], *, stands: bool
) -> None:
    """An index until it is gone or valid, rows until as many are back, or their name may go."""
    left = HELD._replace(what=what, rows=rows)
    found = standing([left], now, on_loss="refuse", allowed=allowed)
    assert found == ([left] if stands else [])
    if not what.startswith("index"):
        assert standing([left], now, on_loss="warn", allowed=()) == []


def test_what_a_push_has_left() -> None:
    """Invalid indexes, and what went with rows in it and may not."""
    loss = LOSS._replace(rows={"rpg_items": 3})
    evidence = FINE._replace(after=snapshot("rpg_a", indexes=("i",)), loss=loss)
    assert damage(evidence, on_loss="refuse", allowed=()) == {"index i": 0, "rpg_items": 3}
    assert damage(evidence, on_loss="refuse", allowed=("rpg_items",)) == {"index i": 0}
    assert damage(evidence, on_loss="warn", allowed=()) == {"index i": 0}


def test_damage_is_held_against_who_did_it_and_who_is_new() -> None:
    """A release that was there before can run; nothing is known of one without a fingerprint."""
    assert blocking([HELD], "f", {"a", "f"}) == [HELD]
    assert blocking([HELD], "new", {"a"}) == [HELD]
    assert blocking([HELD], "a", {"a"}) == []
    assert blocking([HELD], "", ()) == [HELD]


def test_an_empty_database_without_prefixes() -> None:
    """Who is not in the registry must have a table, whatever its name."""
    found = verdict(FINE._replace(after=snapshot()), prefixes=())
    assert found == Ending(
        "the push command exited with code 0, but there is no table in the database",
        "Correct push.command, or the database that it connects to.",
    )


def test_the_worst_is_told_first() -> None:
    """A refusal, then the program's own word, then the schema, then what is lost."""
    worst = FINE._replace(
        refused=True,
        ended=CODE,
        output=NOT_DONE,
        after=snapshot("others", indexes=("i",)),
        loss=LOSS,
    )
    told = []
    steps: list[dict[str, Any]] = [
        {"refused": False},
        {"ended": None},
        {"output": ToolResult()},
        {"after": snapshot("rpg_a", indexes=("i",))},
        {"after": BEFORE},
        {"loss": Loss()},
    ]
    for better in steps:
        found = verdict(worst)
        assert found is not None
        told.append(found.message)
        worst = worst._replace(**better)
    assert verdict(worst) is None
    beginnings = [
        "the guard refused the push",
        "the push command exited with code 1: psql",
        "the push command exited with code 0, but psql",
        "the push command exited with code 0, but there is no",
        "the push command exited with code 0, but left invalid",
        "the push lost the rows of rpg_items",
    ]
    assert [
        begins for begins, text in zip(beginnings, told, strict=True) if text.startswith(begins)
    ] == (beginnings)


def test_what_is_allowed_excuses_nothing_else() -> None:
    """A loss that is only told and a name that may go leave the other evidence as it is."""
    for evidence in (FINE._replace(ended=CODE), FINE._replace(refused=True)):
        assert verdict(evidence, on_loss="warn", allowed=("rpg_items",)) is not None
    two = LOSS._replace(of_rows={**LOSS.of_rows, "others": frozenset({"others"})})
    found = verdict(FINE._replace(loss=two), allowed=("others",))
    assert found is not None
    assert "the rows of rpg_items, and no guard" in found.message


def test_what_was_allowed_stays_allowed() -> None:
    """The remedy for another refusal repeats the names that this start already had."""
    evidence = FINE._replace(output=ToolResult(refused=("rpg_items",)))
    found = judge(evidence, prefixes=(), on_loss="refuse", allowed=("rpg users",))
    assert found is not None
    assert "ENTRYPOINT_ALLOW_LOSS=rpg users,rpg_items for one start" in found.remedy
