"""Whose an object is by its name, and whether it may be where it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrypoint.config import registry as services
from entrypoint.config.registry import Service, claimant
from entrypoint.postgres.objects import Object
from entrypoint.postgres.placement import DEFAULT, Stray, in_default, in_own

REGISTRY = services.load()
RPG = REGISTRY["gaqno-rpg-service"]
SSO = REGISTRY["gaqno-sso-service"]

LONGEST = {
    "short": Service("short", "short_db", ("a_",), "tenant"),
    "long": Service("long", "long_db", ("a_b_", "z_"), "tenant"),
    "none": Service("none", "none_db", (), "tenant"),
}


def table(name: str, schema: str = "public") -> Object:
    """A table."""
    return Object("table", schema, name)


NAMES = [
    ("rpg_", "gaqno-rpg-service"),
    ("rpg_x", "gaqno-rpg-service"),
    ("dnd_x", "gaqno-rpg-service"),
    ("rpg_sso_x", "gaqno-rpg-service"),
    ("omni_x", "gaqno-omnichannel-service"),
    ("rpg_\n\u202e", "gaqno-rpg-service"),
    ("rpg", None),
    ("rpgx", None),
    ("rpg-x", None),
    ("RPG_x", None),
    ("Rpg_x", None),
    (" rpg_x", None),
    ("_rpg_x", None),
    ("x_rpg_x", None),
    ("r\u0440g_x", None),  # a Cyrillic letter
    ("ai", None),
    ("aiX", None),
    ("", None),
]


@pytest.mark.parametrize(("name", "owner"), NAMES, ids=repr)
def test_a_prefix_is_literal(name: str, owner: str | None) -> None:
    """Neither case nor `_` is bent, and it stands at the beginning."""
    found = claimant(name, REGISTRY)
    assert (found and found.name) == owner


@pytest.mark.parametrize(
    ("name", "owner"),
    [("a_x", "short"), ("a_b", "short"), ("a_b_x", "long"), ("z_x", "long"), ("b_x", None)],
)
def test_the_longest_prefix_wins(name: str, owner: str | None) -> None:
    """In whichever order the registry has them."""
    for registry in (LONGEST, dict(reversed(LONGEST.items()))):
        found = claimant(name, registry)
        assert (found and found.name) == owner


@given(st.text(max_size=20), st.sampled_from(sorted(REGISTRY)), st.text(max_size=5))
def test_whatever_follows_a_prefix(rest: str, name: str, schema: str) -> None:
    """The rest of the name and the schema do not matter."""
    service = REGISTRY[name]
    for prefix in service.prefixes:
        assert claimant(prefix + rest, REGISTRY) == service
        assert in_own([table(prefix + rest, schema)], service.database, service, REGISTRY) == []


def test_everything_in_the_default_database_is_misplaced() -> None:
    """Each object once, in its order, whoever's it is."""
    objects = [table("rpg_x"), table("plain"), Object("function", "public", "sso_f", "integer")]

    strays = in_default(objects, REGISTRY)

    assert [stray.object for stray in strays] == objects
    assert [stray.service for stray in strays] == [RPG, None, SSO]
    assert {(stray.database, stray.misplaced) for stray in strays} == {(DEFAULT, True)}


def test_in_a_service_s_own() -> None:
    """Another's is misplaced, nobody's is not known to be; its own is neither."""
    objects = [table("rpg_x"), table("sso_x"), table("plain"), table("dnd_x", "app")]

    strays = in_own(objects, RPG.database, RPG, REGISTRY)

    assert [(stray.object.name, stray.service, stray.misplaced) for stray in strays] == [
        ("sso_x", SSO, True),
        ("plain", None, False),
    ]
    assert {stray.database for stray in strays} == {RPG.database}


def test_without_prefixes_only_others_are_known() -> None:
    """A service that claims none may name its tables as it likes, but not as another does."""
    own = LONGEST["none"]

    strays = in_own([table("x"), table("a_b_x")], own.database, own, LONGEST)

    assert [(stray.object.name, stray.service) for stray in strays] == [("a_b_x", LONGEST["long"])]


def test_a_service_that_nobody_registered() -> None:
    """Nothing is known of its database."""
    assert in_own([table("rpg_x"), table("plain")], "orders_db", None, REGISTRY) == []


SHARING = {
    "a": Service("a", "a_db", ("a_",), "tenant", names=("outbox", "kind")),
    "b": Service("b", "b_db", ("b_",), "tenant", names=("app.outbox", "audit.log")),
}
"""Two services that have an outbox each."""


def names(strays: list[Stray]) -> list[str]:
    """What was found."""
    return [stray.object.label() for stray in strays]


def test_a_name_is_a_service_s_in_its_own_database_alone() -> None:
    """Bare it counts in any schema; in a neighbour's database and in the default one it is told."""
    objects = [table("outbox"), table("outbox", "app"), table("log", "audit"), table("log")]
    a, b = SHARING.values()

    assert names(in_own(objects, a.database, a, SHARING)) == ["audit.log", "log"]
    assert names(in_own(objects, b.database, b, SHARING)) == ["outbox", "log"]
    assert [stray.service for stray in in_default(objects, SHARING)] == [None] * 4
    assert [len(stray.sharing) for stray in in_default(objects, SHARING)] == [1, 2, 1, 0]


USED = [
    (("rpg_x",), 0),
    (("plain", "dnd_x"), 0),
    (("plain",), 1),
    (("sso_x",), 1),
    ((), 1),
]


@pytest.mark.parametrize("kind", ["type", "sequence", "function", "procedure", "aggregate"])
@pytest.mark.parametrize("name", ["mood", "sso_mood"])
@pytest.mark.parametrize(("users", "told"), USED)
def test_what_a_service_s_own_uses_follows_it(
    kind: str, name: str, users: tuple[str, ...], told: int
) -> None:
    """Whatever its name is; what only others use, or nobody, is told."""
    each = Object(kind, "public", name, used_by=users)
    assert len(in_own([each], RPG.database, RPG, REGISTRY)) == told


@pytest.mark.parametrize(
    ("users", "service"),
    [
        (("rpg_x", "dnd_y"), RPG),
        (("rpg_x", "sso_y"), None),
        (("rpg_x", "plain"), None),
        (("plain",), None),
        ((), None),
    ],
)
def test_what_one_service_s_objects_use_in_the_default_database(
    users: tuple[str, ...], service: Service | None
) -> None:
    """It is that service's where nobody else uses it, and goes along with its transfer."""
    [stray] = in_default([Object("type", "public", "mood", used_by=users)], REGISTRY)

    assert (stray.service, stray.follows) == (service, service is not None)
    assert ("gaqno-rpg-service's, whose objects use it" in stray.message()) == stray.follows
    assert ("transfer gaqno-rpg-service." in stray.remedy()) == stray.follows


@pytest.mark.parametrize("kind", ["table", "view", "foreign table", "materialized view"])
def test_a_table_follows_nobody(kind: str) -> None:
    """Its rows are somebody's, so it is known by its own name."""
    each = Object(kind, "public", "mood", used_by=("rpg_x",))
    assert len(in_own([each], RPG.database, RPG, REGISTRY)) == 1


def test_what_a_listed_table_uses_follows_it() -> None:
    """A name of the registry stands for what it needs, too."""
    each = Object("type", "public", "status", used_by=("outbox",))
    assert in_own([each], "a_db", SHARING["a"], SHARING) == []
    assert names(in_own([each], "b_db", SHARING["b"], SHARING)) == ["status"]


MUST = "that database must contain no application's object"

WHOSE = "without any service's prefix, and its name does not say whose it is: the registry has it"

IF_IT_IS = (
    "If it is {}'s, add {!r} to the names of its row in the registry, or a prefix; if not, find "
    "out which service uses it before you drop it."
)

WITH = (
    "Find out which service it belongs to, and run entrypoint transfer SERVICE --with app.outbox, "
    "where SERVICE is a or b."
)

SENTENCES = [
    (
        in_default([table("rpg_x")], REGISTRY)[0],
        f"the table 'rpg_x' in 'postgres' is gaqno-rpg-service's; {MUST}",
        "Run entrypoint transfer gaqno-rpg-service.",
    ),
    (
        in_default([table("x\n", "app")], REGISTRY)[0],
        rf"the table 'app.x\n' in 'postgres' is without any service's prefix; {MUST}",
        "Move it to the database of the service that uses it, or drop it.",
    ),
    (
        in_own([Object("function", "public", "sso_f", "integer")], "d", RPG, REGISTRY)[0],
        "the function 'sso_f(integer)' in 'd' is gaqno-sso-service's",
        "Move it to 'gaqno_sso_db', or drop it.",
    ),
    (
        in_own([Object("procedure", "public", "p", "")], "d", RPG, REGISTRY)[0],
        "the procedure 'p()' in 'd' is without any service's prefix",
        IF_IT_IS.format("gaqno-rpg-service", "p"),
    ),
    (
        in_default([table("outbox", "app")], SHARING)[0],
        f"the table 'app.outbox' in 'postgres' is {WHOSE} for a and b; {MUST}",
        WITH,
    ),
    (
        in_default([Object("type", "public", "kind")], SHARING)[0],
        f"the type 'kind' in 'postgres' is {WHOSE} for a; {MUST}",
        "Move it to the database of the service that uses it, or drop it.",
    ),
    (
        in_own([table("kind")], "b_db", SHARING["b"], SHARING)[0],
        f"the table 'kind' in 'b_db' is {WHOSE} for a",
        IF_IT_IS.format("b", "kind"),
    ),
]


@pytest.mark.parametrize(("stray", "message", "remedy"), SENTENCES)
def test_what_is_said_of_it(stray: Stray, message: str, remedy: str) -> None:
    """A sentence with the object, where it is and whose; what to do is an imperative."""
    assert stray.message() == message
    assert stray.remedy() == remedy
