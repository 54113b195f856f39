"""A connection string's meaning as a value."""

from __future__ import annotations

import pytest
from psycopg import pq

from entrypoint.config.conninfo import PASSED_ON, Conninfo, is_host, is_port, template
from entrypoint.config.dialects import parse
from entrypoint.config.environment import Environment
from entrypoint.transfer import tools

FULL = Conninfo(
    {
        "user": "bob",
        "password": "s3cr3t-w0rd",
        "host": "db",
        "port": "5433",
        "dbname": "app_db",
        "sslmode": "require",
        "options": "-c role=private",
        "sslpassword": "k3y-w0rd",
    },
    "FINANCE_DATABASE_URL",
)


def test_parts() -> None:
    """User, database and variable are what was given."""
    assert (FULL.user, FULL.database, FULL.variable) == ("bob", "app_db", "FINANCE_DATABASE_URL")


def test_missing_parts_are_empty() -> None:
    """What is not named is an empty text, and the port is PostgreSQL's."""
    nothing = Conninfo({})
    assert (nothing.user, nothing.database, nothing.secrets) == ("", "", [])
    assert nothing.addresses == [("", 5432)]


SERVERS = [
    ({"host": "db"}, [("db", 5432)], "db:5432"),
    ({"host": "db", "port": "5433"}, [("db", 5433)], "db:5433"),
    ({"host": "a,b"}, [("a", 5432), ("b", 5432)], "a:5432,b:5432"),
    ({"host": "a,b", "port": "1"}, [("a", 1), ("b", 1)], "a:1,b:1"),
    ({"host": "a,b", "port": "1,2"}, [("a", 1), ("b", 2)], "a:1,b:2"),
    ({"host": "a,b", "port": ",2"}, [("a", 5432), ("b", 2)], "a:5432,b:2"),
    ({"host": "::1", "port": "1"}, [("::1", 1)], "[::1]:1"),
    ({"host": "/run/pg"}, [("/run/pg", 5432)], "/run/pg:5432"),
    ({"hostaddr": "10.0.0.1"}, [("10.0.0.1", 5432)], "10.0.0.1:5432"),
    ({"host": "db", "hostaddr": "10.0.0.1"}, [("db", 5432)], "db:5432"),
]


@pytest.mark.parametrize(("params", "addresses", "where"), SERVERS)
def test_addresses(params: dict[str, str], addresses: list[tuple[str, int]], where: str) -> None:
    """Every server has its host and port, for programs and for people."""
    conninfo = Conninfo(params)
    assert conninfo.addresses == addresses
    assert conninfo.where() == where


def test_other_database() -> None:
    """with_database changes the name alone, and the original not at all."""
    other = FULL.with_database("postgres")
    assert other.params == {**FULL.params, "dbname": "postgres"}
    assert other.variable == FULL.variable
    assert FULL.database == "app_db"


def test_secrets() -> None:
    """Both passwords are secrets, and the one in the URL also as it was written there."""
    assert FULL.secrets == ["s3cr3t-w0rd", "k3y-w0rd"]
    assert parse("postgres://bob:a%40b@db/app_db").secrets == ["a@b", "a%40b"]
    assert parse("postgres://bob@db/app_db").secrets == []


@pytest.mark.parametrize(
    ("params", "url"),
    [
        (FULL.params, "postgresql://bob:****@db:5433/app_db?sslmode=require"),
        ({"host": "db", "dbname": "x"}, "postgresql://db/x"),
        ({"host": "db", "password": "pw"}, "postgresql://:****@db/"),
        ({"host": "a,b", "port": "1"}, "postgresql://a:1,b:1/"),
        ({"host": "a,b", "port": "1,2"}, "postgresql://a:1,b:2/"),
        (
            {"hostaddr": "::1,::2", "port": "1,2"},
            "postgresql:///?hostaddr=%3A%3A1%2C%3A%3A2&port=1%2C2",
        ),
    ],
)
def test_safe(params: dict[str, str], url: str) -> None:
    """For people: no password, no parameter that could be private."""
    assert Conninfo(params).safe() == url


@pytest.mark.parametrize("text", [repr(FULL), str(FULL), f"{FULL}", f"{[FULL]!r}"])
def test_representation_is_safe(text: str) -> None:
    """However it is printed, alone or in something else, no secret is."""
    assert "postgresql://bob:****@db:5433/app_db" in text
    assert "w0rd" not in text
    assert "private" not in text


def test_reveal() -> None:
    """For programs: everything, each part escaped."""
    assert FULL.reveal() == (
        "postgresql://bob:s3cr3t-w0rd@db:5433/app_db"
        "?sslmode=require&options=-c%20role%3Dprivate&sslpassword=k3y-w0rd"
    )
    odd = Conninfo({"user": "a@b", "password": "p:/?#[]@%", "host": "::1%eth0", "dbname": "x/y"})
    assert odd.reveal() == "postgresql://a%40b:p%3A%2F%3F%23%5B%5D%40%25@[::1%25eth0]/x%2Fy"


def test_equality_is_about_the_server() -> None:
    """Where it came from and how it was written makes no difference."""
    assert parse("postgres://u:%70w@h/d", "A") == parse("postgres://u:pw@h/d", "B")
    assert parse("postgres://u:pw@h/d") != parse("postgres://u:other@h/d")


@pytest.mark.parametrize(
    ("params", "url"),
    [
        ({}, "postgresql://USER:****@HOST/DATABASE"),
        ({"user": "", "host": "", "dbname": ""}, "postgresql://USER:****@HOST/DATABASE"),
        ({"user": "u", "password": "secret"}, "postgresql://u:****@HOST/DATABASE"),
        ({"hostaddr": "::1"}, "postgresql://USER:****@[::1]/DATABASE?hostaddr=%3A%3A1"),
        (
            {"host": "h", "port": "1", "schema": "s", "passfile": "secret"},
            "postgresql://USER:****@h:1/DATABASE?schema=s",
        ),
    ],
)
def test_template(params: dict[str, str], url: str) -> None:
    """What is certain is shown, what is missing has a placeholder, what is secret is masked."""
    assert template(params) == url


@pytest.mark.parametrize(
    "text",
    ["db", "db.example.com", "db.example.com.", "my_db-1", "10.0.0.1", "::1", "fe80::1%eth0", "/"],
)
def test_hosts(text: str) -> None:
    """Names, addresses and folders of sockets are hosts."""
    assert is_host(text)


@pytest.mark.parametrize(
    "text", ["", "-db", "a..b", ".", "a b", "$HOST", "[::1]", "a@b", "a:b", "é.fr", "a" * 64, "a\n"]
)
def test_no_hosts(text: str) -> None:
    """What no resolver could take is no host."""
    assert not is_host(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("1", True),
        ("5432", True),
        ("65535", True),
        ("65536", False),
        ("0", False),
        ("-1", False),
        (" 1", False),
        ("0x10", False),
        ("\u0661", False),
        ("\u00b2", False),
        ("9" * 5000, False),
    ],
)
def test_ports(text: str, expected: bool) -> None:  # noqa: FBT001  a column of the table
    """Ports are numbers from 1 to 65535 in ASCII; nothing stands for the default."""
    assert is_port(text) is expected


def test_a_tool_connects_as_we_do() -> None:
    """pg_dump gets every parameter of a URL for which libpq has a variable, and no stranger's."""
    options = {option.keyword.decode(): option.envvar for option in pq.Conninfo.get_defaults()}
    known = {name for name in PASSED_ON if options.get(name)}
    params = {name: f"the {name}" for name in PASSED_ON}
    environ = Environment({b"PGSSLMODE": b"disable", b"OTHER_URL": b"x", b"PATH": b"/bin"})
    runner = tools.Runner(environ, Conninfo(params), [], lambda _: None)

    found = runner._environ("app")  # noqa: SLF001  what a tool gets

    given = {options[name] for name in known}
    assert {name.encode() for name in found} == {*given, b"PATH"}
    assert found["PGREQUIREAUTH"] == "the require_auth"
    assert found["PGDATABASE"] == "app"
