"""The service registry: which database belongs to which service."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from entrypoint.config import registry
from entrypoint.config.registry import RegistryError, Service, misfit, misspelt, namesake

if TYPE_CHECKING:
    from pathlib import Path

ROWS = [
    Service("gaqno-sso-service", "gaqno_sso_db", ("sso_",), "always"),
    Service("gaqno-ai-service", "gaqno_ai_db", ("ai_",), "never"),
    Service("gaqno-finance-service", "gaqno_finance_db", ("finance_",), "tenant"),
    Service("gaqno-pdv-service", "gaqno_pdv_db", ("pdv_",), "never"),
    Service("gaqno-rpg-service", "gaqno_rpg_db", ("rpg_", "dnd_"), "always"),
    Service("gaqno-omnichannel-service", "gaqno_omnichannel_db", ("omni_",), "tenant"),
]


def test_shipped_registry() -> None:
    """The six services of the system, each with its database, prefixes and seed."""
    assert list(registry.load().values()) == ROWS
    assert list(registry.load()) == [row.name for row in ROWS]


def test_registry_of_one_s_own(tmp_path: Path) -> None:
    """Only the database is needed: no prefixes, and a seed for the tenant, are the defaults."""
    path = tmp_path / "services.toml"
    path.write_text('[orders]\ndatabase = "orders_db"\n')
    assert registry.load(path) == {"orders": Service("orders", "orders_db", (), "tenant")}


def test_the_owner_of_a_database(tmp_path: Path) -> None:
    """A role's name, exactly as it is written; none in the shipped registry."""
    path = tmp_path / "services.toml"
    path.write_text('[orders]\ndatabase = "orders_db"\nowner = "Or\\"ders"\n')
    assert registry.load(path)["orders"].owner == 'Or"ders'
    assert {row.owner for row in registry.load().values()} == {None}


def test_names_that_services_share(tmp_path: Path) -> None:
    """Several may list one, and one prefix may begin with another's: the longest wins."""
    path = tmp_path / "services.toml"
    path.write_text(
        "[a]\ndatabase = 'a_db'\nprefixes = ['a_']\nnames = ['outbox']\n"
        "[b]\ndatabase = 'b_db'\nprefixes = ['a_b_', 'a_b_']\nnames = ['outbox', 'x.log']\n"
    )
    a, b = registry.load(path).values()

    assert registry.sharing(["outbox"], {"a": a, "b": b}) == [a, b]
    assert registry.sharing(["log", "x.log"], {"a": a, "b": b}) == [b]
    assert registry.sharing(["log"], {"a": a, "b": b}) == []
    assert registry.claimant("outbox", {"a": a, "b": b}) is None


LONGEST = "a prefix of b; write it among the prefixes, of which the longest wins"

BROKEN = {
    "no TOML": (
        b"[a\n",
        ["is not valid TOML: Expected ']' at the end of a table declaration (at line 1, column 3)"],
    ),
    "no UTF-8": (
        b"\xff",
        ["is not UTF-8 (at line 1, byte 0)"],
    ),
    "nested": (b"a = " + b"[" * 100_000, ["is nested too deeply"]),
    "no table": (b"a = 1", ["a: is not a table"]),
    "no database": (b"[a]\n[b]\n", ["a: database must be a name", "b: database must be a name"]),
    "wrong types": (
        b"[a]\ndatabase = 1\nprefixes = 'a_'\nseed = 'often'\n",
        [
            "a: database must be a name",
            "a: seed must be one of tenant, always, never",
            "a: prefixes must be a list of strings",
        ],
    ),
    "empty prefix": (
        b"[a]\ndatabase = 'x'\nprefixes = ['']\n",
        ["a: prefixes must be a list of strings"],
    ),
    "unknown keys": (
        b"[a]\ndatabase = 'x'\nprefix = 'a_'\ndb = 'x'\n",
        [
            "a: unknown key 'db'; the nearest is 'database'",
            "a: unknown key 'prefix'; the nearest is 'prefixes'",
        ],
    ),
    "names": (
        b"[a]\ndatabase = 'x'\nnames = 'outbox'\n[b]\ndatabase = 'y'\nnames = ['']\n",
        ["a: names must be a list of strings", "b: names must be a list of strings"],
    ),
    "no service": (b"# none yet\n", ["has no service in it"]),
    "the server's own": (
        b"[a]\ndatabase = 'postgres'\n[b]\ndatabase = 'template1'\n",
        [
            "a: database 'postgres' is the server's own, no service's",
            "b: database 'template1' is the server's own, no service's",
        ],
    ),
    "too long": (
        f"[a]\ndatabase = '{'x' * 64}'\n[b]\ndatabase = '{'x' * 63}'\n".encode(),
        ["a: database is longer than 63 bytes"],
    ),
    "patterns": (
        b"[a]\ndatabase = 'x'\nprefixes = ['a_%', 'b_*', 'c%_']\n",
        [
            "a: prefix 'a_%' is literal, not a pattern: leave '%' out",
            "a: prefix 'b_*' is literal, not a pattern: leave '*' out",
        ],
    ),
    "two of one prefix": (
        b"""
        a = { database = 'x', prefixes = ['s_', 't_'] }
        b = { database = 'y', prefixes = ['u_', 't_'] }
        c = { database = 'x', prefixes = ['t_'] }
        """,
        [
            "b: prefix 't_' is also a's",
            "c: database 'x' is also a's",
            "c: prefix 't_' is also a's",
        ],
    ),
    "a name with a prefix": (
        b"""
        a = { database = 'x', prefixes = ['a_'], names = ['a_x', 'b_x', 'app.b_y', 'b'] }
        b = { database = 'y', prefixes = ['b_'] }
        """,
        [
            f"a: the name 'b_x' begins with {LONGEST}",
            f"a: the name 'app.b_y' begins with {LONGEST}",
        ],
    ),
    "owner": (
        b"[a]\ndatabase = 'x'\nowner = ''\n[b]\ndatabase = 'y'\nowner = ['r']\n",
        ["a: owner must be a role's name", "b: owner must be a role's name"],
    ),
    "two owners": (
        b"[a]\ndatabase = 'x'\n[b]\ndatabase = 'x'\n",
        ["b: database 'x' is also a's"],
    ),
}


@pytest.mark.parametrize(("content", "problems"), BROKEN.values(), ids=BROKEN)
def test_broken_registry(tmp_path: Path, content: bytes, problems: list[str]) -> None:
    """Every problem of a registry file is named, with its service or its line."""
    path = tmp_path / "services.toml"
    path.write_bytes(content)
    with pytest.raises(RegistryError) as caught:
        registry.load(path)
    assert caught.value.problems == problems


def test_unreadable_registry(tmp_path: Path) -> None:
    """A file that is missing or a folder is a problem of the registry, not a crash."""
    with pytest.raises(RegistryError, match="No such file"):
        registry.load(tmp_path / "none.toml")
    with pytest.raises(RegistryError, match="Is a directory"):
        registry.load(tmp_path)


FINANCE = "gaqno-finance-service"
DEFAULT = "'postgres', the server's default, which must hold no application table"

MISFITS = [
    ("gaqno_finance_db", FINANCE, None),
    ("anything", "orders", None),
    ("anything", None, None),
    ("gaqno_rpg_db", None, None),
    ("Postgres", None, None),
    ("postgres", None, (DEFAULT, None)),
    ("postgres", "orders", (DEFAULT, None)),
    ("postgres", FINANCE, (DEFAULT, "gaqno_finance_db")),
    (
        "template0",
        None,
        ("'template0', a template of the server, which must hold no application table", None),
    ),
    (
        "template1",
        FINANCE,
        (
            "'template1', a template of the server, which must hold no application table",
            "gaqno_finance_db",
        ),
    ),
    (
        "gaqno_rpg_db",
        FINANCE,
        (
            "'gaqno_rpg_db', which belongs to gaqno-rpg-service, not to gaqno-finance-service",
            "gaqno_finance_db",
        ),
    ),
    (
        "gaqno_rpg_db",
        "orders",
        ("'gaqno_rpg_db', which belongs to gaqno-rpg-service, not to 'orders'", None),
    ),
    (
        "finance",
        FINANCE,
        (
            "'finance', but the registry gives gaqno-finance-service 'gaqno_finance_db'",
            "gaqno_finance_db",
        ),
    ),
    (
        "GAQNO_FINANCE_DB",
        FINANCE,
        (
            "'GAQNO_FINANCE_DB', but the registry gives gaqno-finance-service 'gaqno_finance_db'",
            "gaqno_finance_db",
        ),
    ),
]


@pytest.mark.parametrize(("database", "name", "expected"), MISFITS)
def test_misfit(database: str, name: str | None, expected: tuple[str, str | None] | None) -> None:
    """A service may use its own database, an unregistered one any that is nobody's."""
    found = misfit(database, name, registry.load())
    assert (found and (found.why, found.right)) == expected


def test_a_misfit_of_a_name_that_lies() -> None:
    """Who is not registered may be called anything: it is quoted, and cut."""
    found = misfit("gaqno_rpg_db", "x\n\x1b[2J" + "y" * 5000, registry.load())
    assert found is not None
    assert r"not to 'x\n\x1b[2Jyyy" in found.why
    assert len(found.why) < 250


SPELLINGS = [
    (FINANCE, None),
    ("gaqno-finanse-service", FINANCE),
    ("gaqno-finance-servise", FINANCE),
    ("gaqno_finance_service", FINANCE),
    ("finance-service", FINANCE),
    ("gaqno-pvd-service", "gaqno-pdv-service"),
    ("gaqno-omnichanel-service", "gaqno-omnichannel-service"),
    # of the same family, and a service of its own
    ("gaqno-hr-service", None),
    ("gaqno-crm-service", None),
    ("gaqno-billing-service", None),
    ("gaqno-inventory-service", None),
    ("gaqno-hr", None),
    # of no family
    ("orders", None),
    ("api", None),
    ("api-service", None),
    ("a", None),
    ("", None),
    ("x" * 100_000, None),
]


@pytest.mark.parametrize(("name", "meant"), SPELLINGS, ids=lambda value: str(value)[:30])
def test_misspelt(name: str, meant: str | None) -> None:
    """A slip of the pen is recognized, another service of the same family is not taken for one."""
    assert misspelt(name, registry.load()) == meant


@pytest.mark.parametrize(
    ("name", "meant"),
    [("order", "orders"), ("ordres", "orders"), ("orders", None), ("others", None)],
)
def test_misspelt_in_small_registries(name: str, meant: str | None) -> None:
    """One row is enough to notice a slip, and none notices nothing."""
    row = Service("orders", "orders_db", (), "tenant")
    assert misspelt(name, {"orders": row}) == meant
    assert misspelt(name, {}) is None


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("finance", FINANCE),
        ("rpg-service", "gaqno-rpg-service"),
        ("gaqno_pdv", "gaqno-pdv-service"),
        (FINANCE, None),
        ("hr-service", None),
        ("finance-ai", None),
        ("service", None),
        ("", None),
        ("x" * 100_000, None),
    ],
    ids=lambda value: str(value)[:30],
)
def test_namesake(name: str, meant: str | None) -> None:
    """A name without the words that all have is a hint; two of them, or none, are none."""
    assert namesake(name, registry.load()) == meant
    assert namesake(name, {}) is None
