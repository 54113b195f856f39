"""The service registry: which database belongs to which service."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from entrypoint import services
from entrypoint.services import RegistryError, Service, misfit, misspelt

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
    assert list(services.load().values()) == ROWS
    assert list(services.load()) == [row.name for row in ROWS]


def test_registry_of_one_s_own(tmp_path: Path) -> None:
    """Only the database is needed: no prefixes, and a seed for the tenant, are the defaults."""
    path = tmp_path / "services.toml"
    path.write_text('[orders]\ndatabase = "orders_db"\n')
    assert services.load(path) == {"orders": Service("orders", "orders_db", (), "tenant")}


def test_the_owner_of_a_database(tmp_path: Path) -> None:
    """A role's name, exactly as it is written; none in the shipped registry."""
    path = tmp_path / "services.toml"
    path.write_text('[orders]\ndatabase = "orders_db"\nowner = "Or\\"ders"\n')
    assert services.load(path)["orders"].owner == 'Or"ders'
    assert {row.owner for row in services.load().values()} == {None}


BROKEN = {
    "no TOML": (b"[a\n", ["Expected ']' at the end of a table declaration (at line 1, column 3)"]),
    "no UTF-8": (
        b"\xff",
        ["'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"],
    ),
    "nested": (b"a = " + b"[" * 100_000, ["is nested too deeply"]),
    "no table": (b"a = 1", ["a: is not a table"]),
    "no database": (b"[a]\n[b]\n", ["a: database must be a name", "b: database must be a name"]),
    "wrong types": (
        b"[a]\ndatabase = 1\nprefixes = 'a_'\nseed = 'often'\n",
        [
            "a: database must be a name",
            "a: prefixes must be a list of strings",
            "a: seed must be one of tenant, always, never",
        ],
    ),
    "empty prefix": (
        b"[a]\ndatabase = 'x'\nprefixes = ['']\n",
        ["a: prefixes must be a list of strings"],
    ),
    "unknown keys": (
        b"[a]\ndatabase = 'x'\nprefix = 'a_'\ndb = 'x'\n",
        ["a: unknown key 'db'", "a: unknown key 'prefix'"],
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
        services.load(path)
    assert caught.value.problems == problems


def test_unreadable_registry(tmp_path: Path) -> None:
    """A file that is missing or a folder is a problem of the registry, not a crash."""
    with pytest.raises(RegistryError, match="No such file"):
        services.load(tmp_path / "none.toml")
    with pytest.raises(RegistryError, match="Is a directory"):
        services.load(tmp_path)


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
        ("'gaqno_rpg_db', which belongs to gaqno-rpg-service, not to orders", None),
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
    found = misfit(database, name, services.load())
    assert (found and (found.why, found.right)) == expected


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
    assert misspelt(name, services.load()) == meant


@pytest.mark.parametrize(
    ("name", "meant"),
    [("order", "orders"), ("ordres", "orders"), ("orders", None), ("others", None)],
)
def test_misspelt_in_small_registries(name: str, meant: str | None) -> None:
    """One row is enough to notice a slip, and none notices nothing."""
    row = Service("orders", "orders_db", (), "tenant")
    assert misspelt(name, {"orders": row}) == meant
    assert misspelt(name, {}) is None
