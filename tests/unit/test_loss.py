"""What a push lost follows from two looks at the database, and what is there again is no loss."""

from __future__ import annotations

from typing import Any

import pytest

from entrypoint.postgres.loss import MAX_TOLD, Loss, compare, invalid_indexes, not_validated
from entrypoint.postgres.snapshot import MAX_ROWS, Constraint, Snapshot, Table

NOTHING = Snapshot({}, {}, {}, {}, {})


ITEMS = Table(1, "public", "rpg_items", "r", filenode=1, estimate=-1, readable=True, rows=3)


def table(oid: int, name: str = "rpg_items", rows: int | None = 3, **more: Any) -> Table:  # noqa: ANN401  its fields
    return ITEMS._replace(oid=oid, name=name, rows=rows, **more)


def tables(*made: Table, **more: Any) -> Snapshot:  # noqa: ANN401  its fields
    """A database with these tables, and what else a snapshot has."""
    return NOTHING._replace(tables={one.oid: one for one in made}, **more)


def test_nothing_is_lost_by_nothing() -> None:
    """A database that did not change has lost nothing, and there is nothing to tell."""
    full = tables(
        ITEMS,
        columns={(1, 1): "id"},
        constraints={9: Constraint(1, "pk", valid=True)},
        enum_values={(7, "red"): "colour"},
        invalid_indexes={5: "i"},
    )
    assert compare(full, full, ["rpg_"]) == Loss()
    assert compare(NOTHING, full, ["rpg_"]) == Loss()
    assert (Loss().fields(), Loss().told(), Loss().unallowed([])) == ({}, [], [])


@pytest.mark.parametrize(
    ("rows", "lost"),
    [(3, {"rpg_items": 3}), (0, {}), (None, {})],
)
def test_a_table(rows: int | None, lost: dict[str, int]) -> None:
    """One that is gone is a loss, of rows where it had some, or may have had some."""
    loss = compare(tables(table(1, rows=rows)), NOTHING)

    assert loss.tables == ("rpg_items",)
    assert loss.rows == lost
    assert loss.of_rows.keys() == ({"rpg_items"} if rows != 0 else set())


def test_a_table_that_is_made_anew() -> None:
    """The same name with another OID has none of its rows."""
    loss = compare(tables(ITEMS), tables(table(2)))
    assert (loss.tables, loss.unallowed([])) == (("rpg_items",), ["rpg_items"])


def test_a_rename() -> None:
    """A table, a column or a schema under a new name is the same by its OID and its number."""
    before = tables(ITEMS, columns={(1, 1): "id", (1, 2): "name"})
    after = tables(
        table(1, "shop_items", schema="shop"), columns={(1, 1): "item_id", (1, 2): "name"}
    )
    assert compare(before, after, ["rpg_"]) == Loss()


@pytest.mark.parametrize("rows", [3, 0, None])
def test_a_column(rows: int | None) -> None:
    """One that is gone from a table is a loss of rows where the table had some."""
    before = tables(table(1, rows=rows), columns={(1, 1): "id", (1, 2): "level"})
    loss = compare(before, tables(table(1, rows=rows), columns={(1, 1): "id", (1, 3): "level"}))

    assert (loss.columns, loss.tables, loss.rows) == (("rpg_items.level",), (), {})
    assert loss.unallowed([]) == ([] if rows == 0 else ["rpg_items.level"])


def test_the_columns_of_a_table_that_went() -> None:
    """They are not told one by one."""
    assert compare(tables(ITEMS, columns={(1, 1): "id"}), NOTHING).columns == ()


@pytest.mark.parametrize(
    ("before", "after", "lost"),
    [
        (3, 0, 3),
        (3, 1, 2),
        (3, 3, 0),
        (3, 9, 0),
        (0, 0, 0),
        (None, 0, 0),
        (3, None, 0),
        (MAX_ROWS, MAX_ROWS, 0),
        (MAX_ROWS, MAX_ROWS - 1, 70_001),
        (MAX_ROWS, 0, 80_000),
        (MAX_ROWS - 1, 0, MAX_ROWS - 1),
    ],
)
def test_rows(before: int | None, after: int | None, lost: int) -> None:
    """Rows that went are counted where both looks could count; of many, about so many."""
    loss = compare(
        tables(table(1, rows=before, estimate=80_000)),
        tables(table(1, rows=after, estimate=80_000)),
    )
    assert loss.rows.get("rpg_items", 0) == lost
    assert loss.of_rows == {}


@pytest.mark.parametrize("estimate", [-1, 0, 12])
def test_an_estimate_that_is_too_small(estimate: int) -> None:
    """It does not make less of what was counted."""
    loss = compare(tables(table(1, rows=MAX_ROWS, estimate=estimate)), NOTHING)
    assert loss.rows == {"rpg_items": MAX_ROWS}


@pytest.mark.parametrize(
    ("before", "after", "truncated"),
    [
        (table(1), table(1, rows=0, filenode=2), True),
        (table(1, rows=None), table(1, rows=0, filenode=2), True),
        (table(1), table(1, rows=0), False),  # rows that DELETE took
        (table(1), table(1, filenode=2), False),  # VACUUM FULL, or a column's new type
        (table(1), table(1, rows=None, filenode=2), False),
        (table(1, rows=0), table(1, rows=0, filenode=2), False),
    ],
)
def test_truncate(before: Table, after: Table, *, truncated: bool) -> None:
    """A table that is empty in a new file was truncated, and that is a loss like a drop."""
    loss = compare(tables(before), tables(after))
    assert loss.unallowed([]) == (["rpg_items"] if truncated else [])
    assert loss.tables == ()


@pytest.mark.parametrize(
    ("name", "prefixes", "foreign"),
    [
        ("rpg_items", ["rpg_"], False),
        ("rpgs", ["rpg_"], True),
        ("rpgxitems", ["rpg_"], True),
        ("RPG_items", ["rpg_"], True),
        ("my_rpg_items", ["rpg_"], True),
        ("shop_items", ["rpg_", "shop_"], False),
        ("others", [], False),
        ("a%c", ["a%"], False),
        ("abc", ["a%"], True),
    ],
)
def test_a_table_of_somebody_elses(name: str, prefixes: list[str], *, foreign: bool) -> None:
    """A prefix is the literal beginning of a name; without any no table is foreign."""
    loss = compare(tables(table(1, name)), NOTHING, prefixes)

    assert loss.tables == (name,)
    assert loss.foreign_tables == ((name,) if foreign else ())


KEY = Constraint(1, "rpg_items_pk", valid=True)


@pytest.mark.parametrize(
    ("after", "lost"),
    [
        ({9: KEY}, ()),
        ({10: KEY}, ()),
        ({9: KEY._replace(name="items_pk")}, ()),
        ({10: KEY._replace(valid=False)}, ()),
        ({10: KEY._replace(name="items_pk")}, ("rpg_items.rpg_items_pk",)),
        ({10: KEY._replace(table=2)}, ("rpg_items.rpg_items_pk",)),
        ({}, ("rpg_items.rpg_items_pk",)),
    ],
)
def test_a_constraint(after: dict[int, Constraint], lost: tuple[str, ...]) -> None:
    """Renamed, or made anew under its name on its table, it is not lost; and it has no rows."""
    both = [ITEMS, table(2, "others")]
    loss = compare(tables(*both, constraints={9: KEY}), tables(*both, constraints=after))

    assert loss.constraints == lost
    assert loss.unallowed([]) == []


def test_the_constraints_of_a_table_that_went() -> None:
    """It went with them."""
    assert compare(tables(ITEMS, constraints={9: KEY}), NOTHING).constraints == ()


@pytest.mark.parametrize(
    ("after", "lost"),
    [
        ({(7, "red"): "colour", (7, "blue"): "colour"}, ()),
        ({(8, "red"): "colour", (8, "blue"): "colour"}, ()),
        ({(7, "red"): "paint", (7, "blue"): "paint"}, ()),
        ({(8, "red"): "colour"}, ("colour.blue",)),
        ({(8, "red"): "paint", (8, "blue"): "paint"}, ("colour.red", "colour.blue")),
        ({}, ("colour.red", "colour.blue")),
    ],
)
def test_enum_values(after: dict[tuple[int, str], str], lost: tuple[str, ...]) -> None:
    """A type that is renamed, or made anew under its name, keeps the values that it has again."""
    before = {(7, "red"): "colour", (7, "blue"): "colour"}
    loss = compare(NOTHING._replace(enum_values=before), NOTHING._replace(enum_values=after))
    assert loss.enum_values == lost


PUBLIC = tables(table(1), columns={(1, 2): "level"})
OTHER = tables(table(1, schema="old"), columns={(1, 2): "level"})


@pytest.mark.parametrize(
    ("before", "allowed"),
    [
        (PUBLIC, ["rpg_items", "public.rpg_items"]),
        (OTHER, ["rpg_items", "old.rpg_items"]),
    ],
)
def test_a_tables_names(before: Snapshot, allowed: list[str]) -> None:
    """It may be allowed with and without its schema, and by no other's name."""
    loss = compare(before, NOTHING)
    [label] = loss.unallowed([])

    assert label == allowed[before is OTHER]
    assert [name for name in allowed if loss.unallowed([name])] == []
    for name in (
        "rpg_item",
        "items",
        "rpg_items.level",
        "else.rpg_items",
        "RPG_ITEMS",
        "public",
        "",
    ):
        assert loss.unallowed([name]) == [label]


@pytest.mark.parametrize(
    ("before", "schema", "label"),
    [(PUBLIC, "public", "rpg_items.level"), (OTHER, "old", "old.rpg_items.level")],
)
def test_a_columns_names(before: Snapshot, schema: str, label: str) -> None:
    """It may be allowed with its table, by itself, and each with and without the schema."""
    loss = compare(before, before._replace(columns={}))
    names = ["rpg_items.level", "rpg_items"]
    names += [f"{schema}.{name}" for name in names]

    assert loss.unallowed([]) == [label]
    assert [name for name in names if loss.unallowed([name])] == []
    for name in ("level", "rpg_items.name", f"{schema}.level", "else.rpg_items.level"):
        assert loss.unallowed([name]) == [label]


def test_what_is_told() -> None:
    """The event has what is not empty; the ledger has the rows first, and not everything."""
    before = tables(
        ITEMS,
        table(2, "others", 0),
        *(table(oid, f"t{oid:02}") for oid in range(10, 40)),
        columns={(2, 1): "id"},
        constraints={9: Constraint(2, "pk", valid=True)},
        enum_values={(7, "red"): "colour"},
    )
    loss = compare(before, tables(ITEMS, table(2, "others", 0)), ["rpg_"])

    assert loss.fields().keys() == {
        "tables",
        "foreign_tables",
        "columns",
        "constraints",
        "enum_values",
        "rows",
    }
    assert len(loss.told()) == MAX_TOLD
    assert loss.told()[0] == "3 rows of t10"
    assert loss._replace(rows={"a": 1, "b": 1_000}).told()[:2] == ["1 row of a", "1,000 rows of b"]
    few = compare(before._replace(tables={1: ITEMS, 2: before.tables[2]}), tables(before.tables[2]))
    assert few.told() == [
        "3 rows of rpg_items",
        "table rpg_items",
        "column others.id",
        "constraint others.pk",
        "enum value colour.red",
    ]


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ({}, {5: "i"}, ["i"]),
        ({5: "i"}, {5: "i"}, []),
        ({5: "i"}, {6: "i"}, ["i"]),
        ({5: "i"}, {}, []),
    ],
)
def test_an_invalid_index(before: dict[int, str], after: dict[int, str], found: list[str]) -> None:
    """A new one is half made; one that was there is not this push's."""
    looks = [NOTHING._replace(invalid_indexes=indexes) for indexes in (before, after)]
    assert invalid_indexes(*looks) == found


NOT_VALID = KEY._replace(valid=False)


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ({}, {9: NOT_VALID}, ["rpg_items.rpg_items_pk"]),
        ({9: KEY}, {10: NOT_VALID}, ["rpg_items.rpg_items_pk"]),
        ({9: NOT_VALID}, {9: NOT_VALID}, []),
        ({9: NOT_VALID}, {10: NOT_VALID}, []),
        ({9: NOT_VALID}, {9: KEY}, []),
        ({}, {9: KEY}, []),
        ({9: NOT_VALID}, {}, []),
    ],
)
def test_a_constraint_that_is_not_valid(
    before: dict[int, Constraint], after: dict[int, Constraint], found: list[str]
) -> None:
    """A new one is told; one that was so before is not, nor made anew under its name."""
    looks = [tables(ITEMS, constraints=constraints) for constraints in (before, after)]
    assert not_validated(*looks) == found
