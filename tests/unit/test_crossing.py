"""What becomes of each unit when a service moves, and what that is called; without a server."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrypoint.config.registry import Service
from entrypoint.transfer.archive import select
from entrypoint.transfer.crossing import APART
from entrypoint.transfer.obstacle import Problem, agreed, unique
from entrypoint.transfer.plan import Plan, make
from entrypoint.transfer.source import (
    PG_CLASS,
    PG_EXTENSION,
    PG_PROC,
    PG_TYPE,
    Edge,
    Graph,
    Key,
    Named,
    Other,
    Part,
    Relation,
    Source,
    Strange,
    Subject,
    Text,
    names_in,
)

RPG = Service("rpg", "rpg_db", ("rpg_",), "never")
REGISTRY = {"rpg": RPG, "sso": Service("sso", "sso_db", ("sso_",), "never")}
NAMES = ("rpg_a", "rpg_b", "sso_a", "sso_b", "plain")
PG_OPERATOR, PG_AM = 2617, 2601


def relation(oid: int, name: str, kind: str = "r") -> Relation:
    """One in schema public, of the role that looks."""
    return Relation(
        oid, "public", name, kind, 0, 0, (), None, 0, *(False, False), owner="me", identity=name
    )


def other(key: Key, kind: str, name: str, *, trigger: bool = False) -> Other:
    """A type, function or the like."""
    return Other(key, kind, "public", name, f"public.{name}", "", "me", trigger, None, None)


def uses(user: Key, used: Key, kind: str = "", *, soft: bool = False) -> Edge:
    """An edge from a unit, or from a part of that kind."""
    part = Part(kind, "part", (9, used[1]), "part") if kind else None
    return Edge(user, used, part, used, soft=soft)


def planned(
    units: list[Relation | Other],
    *edges: Edge,
    strange: dict[Key, Strange] | None = None,
    extensions: dict[Key, str] | None = None,
) -> Plan:
    """The plan of the service's move out of a source that has nothing else."""
    source = Source(
        {each.oid: each for each in units if isinstance(each, Relation)},
        {each.key: each for each in units if isinstance(each, Other)},
        Graph(edges, strange or {}),
        frozenset(),
        (),
        (),
        extensions or {},
        (),
        0,
        (),
        "UTF8",
        ("C", "C"),
        "me",
        "me",
        superuser=False,
    )
    return make(source, RPG, REGISTRY)


def names(plan: Plan) -> dict[str, bool]:
    """Its obstacles, and whether they can be agreed to."""
    return {each.name: each.allowable for each in plan.crossing}


OURS, THEIRS = (PG_CLASS, 1), (PG_CLASS, 2)
TABLES: list[Relation | Other] = [relation(1, "rpg_t"), relation(2, "sso_t")]


@pytest.mark.parametrize("kind", [*APART, "default", "generated", "column", "check"])
def test_a_part_of_what_stays_can_be_agreed_to(kind: str) -> None:
    """Whatever part of another's table needs what moves, it is named after the part."""
    assert names(planned(TABLES, uses(THEIRS, OURS, kind))) == {f"{kind}:sso_t.part": True}


@pytest.mark.parametrize("kind", [*APART, "default", "generated", "column", "check"])
def test_a_part_of_what_moves_is_left_out_if_a_dump_has_it_apart(kind: str) -> None:
    """What stands in a CREATE TABLE cannot be agreed to; the rest the target does not get."""
    plan = planned(TABLES, uses(OURS, THEIRS, kind))
    assert names(plan) == {f"{kind}:rpg_t.part": kind in APART}
    assert ((9, 2) in plan.unrestorable()) == (kind in APART)


def test_a_type_that_others_use_is_kept_and_what_it_needs(  # the docstring is the claim
) -> None:
    """A function of the service's that another's index calls stays, with the type it takes."""
    function, kind = (PG_PROC, 3), (PG_TYPE, 4)
    units = [*TABLES, other(function, "FUNCTION", "rpg_f"), other(kind, "TYPE", "rpg_kind")]
    plan = planned(units, uses(THEIRS, function, "index"), uses(function, kind))
    assert names(plan) == {"index:sso_t.part": True}
    assert plan.own == ()
    assert {each.name for each in plan.carried} == {"rpg_f", "rpg_kind"}


@pytest.mark.parametrize("soft", [False, True])
def test_an_unclaimed_type_follows_who_alone_uses_it(*, soft: bool) -> None:
    """It moves with what needs it; a word in a text alone takes nothing away from anybody."""
    kind = (PG_TYPE, 3)
    plan = planned([*TABLES, other(kind, "TYPE", "mood")], uses(OURS, kind, "column", soft=soft))
    assert [each.name for each in plan.own] == ([] if soft else ["mood"])
    shared = uses(THEIRS, kind, "column")
    both = planned([*TABLES, other(kind, "TYPE", "mood")], uses(OURS, kind, "column"), shared)
    assert both.own == ()
    assert names(both) == {}


def test_what_cannot_be_without_another_s_table_stays() -> None:
    """An operator over a function over a table that stays is not in the target, nor an obstacle."""
    function, operator = (PG_PROC, 3), (PG_OPERATOR, 4)
    units = [*TABLES, other(function, "FUNCTION", "f"), other(operator, "OPERATOR", "@@@")]
    plan = planned(units, uses(function, THEIRS), uses(operator, function))
    assert plan.left_out == {function, operator}
    assert names(plan) == {}


def test_a_view_over_a_lost_view_is_lost() -> None:
    """Each is told by itself, because neither arrives."""
    first, second = relation(3, "rpg_v", "v"), relation(4, "rpg_w", "v")
    plan = planned([*TABLES, first, second], uses(first.key, THEIRS), uses(second.key, first.key))
    assert names(plan) == {"view:rpg_v": True, "view:rpg_w": True}
    assert plan.broken == {3, 4}


@pytest.mark.parametrize("known", [True, False])
def test_an_unknown_kind_beside_what_moves_is_refused(*, known: bool) -> None:
    """An edge to a catalog that the plan does not know is an obstacle in the server's words."""
    strange = (PG_AM, 3)
    plan = planned(
        TABLES, uses(OURS, strange), strange={strange: Strange("access method x", known)}
    )
    expected = {"table:rpg_t": False} if known else {"unknown:access method x": False}
    assert names(plan) == expected


def test_an_unknown_kind_of_others_is_nobody_s_matter() -> None:
    """What only staying tables need stops nothing."""
    strange = (PG_AM, 3)
    plan = planned(TABLES, uses(THEIRS, strange), strange={strange: Strange("x", known=False)})
    assert names(plan) == {}


def test_extensions_are_those_that_something_needs() -> None:
    """One that a needed one requires comes too; one of another's table does not."""
    keys = [(PG_EXTENSION, oid) for oid in (10, 11, 12)]
    plan = planned(
        TABLES,
        uses(OURS, keys[0], "column"),
        uses(keys[0], keys[1]),
        uses(THEIRS, keys[2], "column"),
        extensions=dict(zip(keys, ("a", "b", "c"), strict=True)),
    )
    assert plan.extensions == ("a", "b")


UNITS: list[Relation | Other] = [
    *(relation(oid, name) for oid, name in enumerate(NAMES, 1)),
    *(relation(oid, f"{name}_v", "v") for oid, name in enumerate(NAMES, 11)),
    *(other((PG_TYPE, oid), "TYPE", name) for oid, name in enumerate(NAMES, 21)),
    *(other((PG_PROC, oid), "FUNCTION", f"{name}_f") for oid, name in enumerate(NAMES, 31)),
    *(other((PG_OPERATOR, oid), "OPERATOR", f"{name}_o") for oid, name in enumerate(NAMES, 41)),
]
KEYS = [each.key for each in UNITS]


@st.composite
def edges(draw: st.DrawFn) -> Edge:
    """Any edge between two units."""
    user, used = draw(st.sampled_from(KEYS)), draw(st.sampled_from(KEYS))
    table = user[0] == PG_CLASS and user[1] < 11
    kind = draw(st.sampled_from([*APART, "check", "column"])) if table else ""
    return uses(user, used, kind, soft=draw(st.booleans()))


@given(st.lists(edges(), max_size=25))
def test_no_crossing_is_passed_over(found: list[Edge]) -> None:
    """Each crossing is told, once by name, and nothing arrives without what it needs."""
    plan = planned(UNITS, *(edge for edge in found if edge.user != edge.used))
    told = [each.name for each in plan.crossing]
    assert len({*told}) == len(told)
    moved = {(PG_CLASS, oid) for oid in plan.moving} | {each.key for each in plan.own}
    lost = {each.key for each in plan.staying} | plan.left_out
    lost |= {(PG_CLASS, oid) for oid in plan.broken}
    gone = plan.unrestorable()
    for edge in plan.source.graph.edges:
        who = UNITS[KEYS.index(edge.user)]
        shown = who.identity if isinstance(who, Other) else who.name
        if (edge.user in moved) != (edge.used in moved) and edge.used in moved:
            assert [name for name in told if shown in name]
        if edge.user in lost or edge.soft or edge.used not in lost:
            continue
        refused = [each for each in plan.crossing if shown in each.name and not each.allowable]
        assert refused or (edge.part and edge.part.key in gone)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("select * from rpg_t", {1}),
        ("select * from public.rpg_t x", {1}),
        ("select * from other.rpg_t", set()),
        ("select rpg_t.id", {1}),
        ("SELECT * FROM RPG_T", {1}),
        ('select * from "RPG_T"', set()),
        ('select * from "public" . "rpg_t"', {1}),
        ("execute 'insert into rpg_t values (1)'", {1}),
        ("select 1 -- rpg_t", set()),
        ("select '--' from rpg_t", {1}),
        ("select 1 -- don't\n from rpg_t", {1}),
        ("/* rpg_t */ select rpg_f", set()),
        ("select rpg_f (1)", {2}),
        ("select my_rpg_t, rpg_t2", set()),
    ],
)
def test_names_in_a_text(text: str, found: set[int]) -> None:
    """Tables by a word and functions by a call; in comments and in other schemas none."""
    named = [
        Named((0, 1), "public", "rpg_t", function=False),
        Named((0, 2), "public", "rpg_f", function=True),
        Named((0, 3), "other", "else", function=False),
    ]
    met = names_in([Text((0, 9), None, text)], named)
    assert {edge.used[1] for edge in met} == found


LISTING = """
1; 2606 50 FK CONSTRAINT public t user_fk o
2; 0 0 COMMENT public CONSTRAINT user_fk ON t o
3; 0 0 COMMENT public CONSTRAINT user_fk ON t2 o
4; 0 0 COMMENT public FUNCTION f(integer, text) o
5; 0 0 COMMENT public FUNCTION f(integer) o
6; 0 0 ACL public FUNCTION f(integer, text) o
7; 0 0 INDEX ATTACH public i o
8; 0 0 COMMENT public INDEX i o
9; 0 0 COMMENT public COLUMN v.id o
10; 0 0 COMMENT public COLUMN v2.id o
11; 0 0 COMMENT other COLUMN v.id o
12; 0 0 COMMENT - EXTENSION pg_trgm o
13; 0 0 COMMENT public CONSTRAINT c ON DOMAIN public.d o
14; 0 0 STATISTICS DATA public i
15; 0 0 STATISTICS DATA public i2
"""


@pytest.mark.parametrize(
    ("subject", "lines"),
    [
        (Subject("public", "fk", "user_fk", on="t"), [1, 2]),
        (Subject("public", "FUNCTION", "f(integer, text)"), [1, 4, 6]),
        (Subject("public", "index", "i", on="t"), [1, 7, 8, 14]),
        (Subject("public", "VIEW", "v"), [1, 9]),
        (Subject("-", "EXTENSION", "pg_trgm"), [1, 12]),
        (Subject("public", "DOMAIN", "d"), [1, 13]),
    ],
    ids=str,
)
def test_what_is_left_out_takes_its_own_comments_only(subject: Subject, lines: list[int]) -> None:
    """Another table's constraint of that name, or an overloaded function, keeps its comment."""
    left = select(LISTING.split("\n"), {(2606, 50): subject}).left
    assert [int(line.split(";")[0]) for line in left] == lines


def test_one_name_is_one_obstacle() -> None:
    """Who agrees to a name agrees to all that is said under it, and to nothing that nobody can."""
    one, two = Problem("a", "one", "Do."), Problem("a", "two", "Mend.", allowable=False)
    [both] = unique([one, two, one])
    assert (both.message, both.allowable) == ("one; two", False)
    assert unique([one, one]) == [one]
    for each, allowed in itertools.product((one, two), ({"a"}, {"all"}, {"b"})):
        assert agreed(each, allowed) == (each.allowable and "b" not in allowed)
