"""A push is believed when no witness speaks against it, and each of them is enough."""

from __future__ import annotations

from typing import Any

import pytest

from entrypoint.postgres.loss import Loss
from entrypoint.postgres.snapshot import Constraint, Snapshot, Table
from entrypoint.startup.verdict import Witnesses, Wrong, judge
from entrypoint.startup.words import Said


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
FINE = Witnesses(
    ended=None,
    said=Said("drizzle-kit: succeeded", succeeded=True),
    refused=False,
    before=BEFORE,
    after=BEFORE,
    loss=Loss(),
)
LOSS = Loss(
    tables=("rpg_items",), of_rows={"rpg_items": frozenset({"rpg_items", "public.rpg_items"})}
)
CODE = ("the push command exited with code 1", "Correct what its lines say.")
NOT_DONE = Said("psql reported an error: no", succeeded=False, remedy="Correct it.")


def verdict(
    seen: Witnesses,
    *,
    prefixes: tuple[str, ...] = ("rpg_",),
    on_loss: str = "refuse",
    allowed: tuple[str, ...] = (),
) -> Wrong | None:
    return judge(seen, prefixes=prefixes, on_loss=on_loss, allowed=allowed)


FOR: list[tuple[Witnesses, dict[str, Any]]] = [
    (FINE, {}),
    (FINE._replace(said=Said()), {}),
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
    (
        FINE._replace(
            before=snapshot("rpg_a", unproved=("c",)), after=snapshot("rpg_a", unproved=("c",))
        ),
        {},
    ),
]


@pytest.mark.parametrize(("seen", "settings"), FOR)
def test_believed(seen: Witnesses, settings: dict[str, Any]) -> None:
    """Nothing speaks against it, or what does is allowed or was there before."""
    assert verdict(seen, **settings) is None


AGAINST = [
    (
        "a code",
        FINE._replace(ended=CODE),
        ("the push command exited with code 1", "Correct what its lines say."),
    ),
    (
        "a code and a word",
        FINE._replace(ended=CODE, said=NOT_DONE),
        ("the push command exited with code 1: psql reported an error: no", "Correct it."),
    ),
    (
        "a word",
        FINE._replace(said=NOT_DONE),
        ("the push command exited with code 0, but psql reported an error: no", "Correct it."),
    ),
    (
        "a refusal that was hidden",
        FINE._replace(refused=True),
        (
            (
                "the push wanted to lose the rows of a table or column that its lines do not name "
                "and was refused; nothing of them is lost"
            ),
            "Set ENTRYPOINT_ALLOW_LOSS=NAME for one start if they may go, or correct",
        ),
    ),
    (
        "a refusal that was told",
        FINE._replace(said=Said(refused=("rpg_items", "rpg_heroes.level"))),
        (
            (
                "the push wanted to lose the rows of rpg_items, rpg_heroes.level and was refused; "
                "nothing of them is lost"
            ),
            "Set ENTRYPOINT_ALLOW_LOSS=rpg_items,rpg_heroes.level for one start",
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
            "the push command exited with code 0, but left half made: index rpg_name",
            "Drop what is invalid",
        ),
    ),
    (
        "a constraint",
        FINE._replace(after=snapshot("rpg_items", unproved=("cheap",))),
        (
            "the push command exited with code 0, but left half made: constraint rpg_items.cheap",
            "Drop what is invalid (or VALIDATE",
        ),
    ),
    (
        "a loss",
        FINE._replace(loss=LOSS),
        (
            "the push lost the rows of rpg_items, which nothing could refuse",
            "Restore them from a backup; set ENTRYPOINT_ADMIN_URL",
        ),
    ),
]


@pytest.mark.parametrize(
    ("seen", "wrong"), [row[1:] for row in AGAINST], ids=[r[0] for r in AGAINST]
)
def test_each_witness_alone(seen: Witnesses, wrong: tuple[str, str]) -> None:
    """One that speaks against a push is enough, with its words and its remedy."""
    found = verdict(seen)

    assert found is not None
    assert found.message.startswith(wrong[0])
    assert found.remedy.startswith(wrong[1])


def test_an_empty_database_without_prefixes() -> None:
    """Who is not in the registry must have a table, whatever its name."""
    found = verdict(FINE._replace(after=snapshot()), prefixes=())
    assert found == Wrong(
        "the push command exited with code 0, but there is no table in the database",
        "Correct push.command, or the database that it connects to.",
    )


def test_the_worst_is_told_first() -> None:
    """A refusal, then the program's own word, then the schema, then what is lost."""
    worst = FINE._replace(
        refused=True,
        ended=CODE,
        said=NOT_DONE,
        after=snapshot("others", indexes=("i",)),
        loss=LOSS,
    )
    told = []
    steps: list[dict[str, Any]] = [
        {"refused": False},
        {"ended": None},
        {"said": Said()},
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
        "the push wanted to lose",
        "the push command exited with code 1: psql",
        "the push command exited with code 0, but psql",
        "the push command exited with code 0, but there is no",
        "the push command exited with code 0, but left half made",
        "the push lost the rows of rpg_items",
    ]
    assert [
        begins for begins, text in zip(beginnings, told, strict=True) if text.startswith(begins)
    ] == (beginnings)


def test_what_is_allowed_excuses_nothing_else() -> None:
    """A loss that is only told and a name that may go leave the other witnesses as they are."""
    for seen in (FINE._replace(ended=CODE), FINE._replace(refused=True)):
        assert verdict(seen, on_loss="warn", allowed=("rpg_items",)) is not None
    two = LOSS._replace(of_rows={**LOSS.of_rows, "others": frozenset({"others"})})
    found = verdict(FINE._replace(loss=two), allowed=("others",))
    assert found is not None
    assert "the rows of rpg_items, which" in found.message


def test_what_was_allowed_stays_allowed() -> None:
    """The remedy for another refusal repeats the names that this start already had."""
    seen = FINE._replace(said=Said(refused=("rpg_items",)))
    found = judge(seen, prefixes=(), on_loss="refuse", allowed=("rpg users",))
    assert found is not None
    assert "ENTRYPOINT_ALLOW_LOSS=rpg users,rpg_items for one start" in found.remedy
