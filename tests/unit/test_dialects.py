"""Connection strings of every driver: what they mean, why they are refused, and that none leaks."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from urllib.parse import quote, unquote

import psycopg
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from entrypoint.config.conninfo import INVISIBLE, MAX_NAME_BYTES, PASSED_ON, Conninfo
from entrypoint.config.dialects import MAX_CHARACTERS, ConninfoError, parse, with_database

BASE = {"user": "u", "password": "pw", "host": "db", "dbname": "app"}
SERVER = {"user": "u", "password": "pw", "dbname": "app"}

ACCEPTED: dict[str, dict[str, str]] = {
    # libpq
    "postgres://u:pw@db/app": BASE,
    "postgresql://u:pw@db:5433/app": {**BASE, "port": "5433"},
    "postgresql://u:pw@db:/app": BASE,
    "POSTGRES://u:pw@db/app": BASE,
    "PostgreSQL://u:pw@db/app": BASE,
    "postgresql://db/app": {"host": "db", "dbname": "app"},
    "postgresql://u@db/app": {"user": "u", "host": "db", "dbname": "app"},
    "postgresql://u:@db/app": {"user": "u", "host": "db", "dbname": "app"},
    "postgresql://@db/app": {"host": "db", "dbname": "app"},
    "postgresql://:pw@db/app": {"password": "pw", "host": "db", "dbname": "app"},
    "postgresql://db/app?user=u&password=pw": BASE,
    "postgresql://x:y@db/app?user=u&password=pw": BASE,
    "postgresql://u:pw@db:1/app?host=other&port=2": {**SERVER, "host": "other", "port": "2"},
    "postgresql://u:pw@db/app?sslmode=verify-full&sslrootcert=/ca.pem": {
        **BASE,
        "sslmode": "verify-full",
        "sslrootcert": "/ca.pem",
    },
    "postgresql://u:pw@db/app?sslcert=/c.pem&sslkey=/k.pem&sslpassword=k": {
        **BASE,
        "sslcert": "/c.pem",
        "sslkey": "/k.pem",
        "sslpassword": "k",
    },
    "postgresql://u:pw@db/app?channel_binding=require&target_session_attrs=any": {
        **BASE,
        "channel_binding": "require",
        "target_session_attrs": "any",
    },
    "postgresql://u:pw@db/app?options=-c%20search_path%3Da": {
        **BASE,
        "options": "-c search_path=a",
    },
    "postgresql://u:pw@db/app?options=-c search_path=a": {**BASE, "options": "-c search_path=a"},
    "postgresql://u:pw@db/app?options=-c search_path=a --work_mem=4MB&sslmode=require": {
        **BASE,
        "options": "-c search_path=a --work_mem=4MB",
        "sslmode": "require",
    },
    "postgresql://u:pw@db/app?application_name=finance service&sslmode=require": {
        **BASE,
        "sslmode": "require",
    },
    "postgresql://u:pw@db/app?application_name=x&connect_timeout=0&client_encoding=latin1": BASE,
    "postgresql://u:pw@db/app?sslmode=": BASE,
    "postgresql://u:pw@db/app?": BASE,
    "postgresql://u:pw@db/app?&&=&x": BASE,
    # several hosts, addresses, sockets
    "postgresql://u:pw@a:1,b:2/app": {
        **SERVER,
        "host": "a,b",
        "port": "1,2",
        "target_session_attrs": "read-write",
    },
    "postgresql://u:pw@a,b:2/app?target_session_attrs=primary": {
        **SERVER,
        "host": "a,b",
        "port": "5432,2",
        "target_session_attrs": "primary",
    },
    "postgresql://u:pw@a,b/app?port=5433": {
        **SERVER,
        "host": "a,b",
        "port": "5433",
        "target_session_attrs": "read-write",
    },
    "postgresql://u:pw@[::1]:5433/app": {**SERVER, "host": "::1", "port": "5433"},
    "postgresql://u:pw@[fe80::1%25eth0]/app": {**SERVER, "host": "fe80::1%eth0"},
    "postgresql://u:pw@[::1],[2001:db8::2]:5433/app": {
        **SERVER,
        "host": "::1,2001:db8::2",
        "port": "5432,5433",
        "target_session_attrs": "read-write",
    },
    "postgresql://u:pw@10.0.0.1/app?hostaddr=10.0.0.2": {
        **SERVER,
        "host": "10.0.0.1",
        "hostaddr": "10.0.0.2",
    },
    "postgresql://u:pw@/app?hostaddr=10.0.0.2": {**SERVER, "hostaddr": "10.0.0.2"},
    "hostaddr=10.0.0.1,::1 port=1,2 user=u password=pw dbname=app": {
        **SERVER,
        "hostaddr": "10.0.0.1,::1",
        "port": "1,2",
        "target_session_attrs": "read-write",
    },
    "postgresql:///app?host=/run/postgresql": {"dbname": "app", "host": "/run/postgresql"},
    "postgresql:///app?host=/run/postgresql&port=5433&user=u": {
        "user": "u",
        "dbname": "app",
        "host": "/run/postgresql",
        "port": "5433",
    },
    "postgresql://u:pw@%2Frun%2Fpostgresql:5433/app": {
        **SERVER,
        "host": "/run/postgresql",
        "port": "5433",
    },
    "postgresql://u:pw@%2frun%2fa%25b/app": {**SERVER, "host": "/run/a%b"},
    # what is escaped, and what need not be
    "postgresql://us%40er:p%40%2F%3F%23%25%20w@db/app": {
        **BASE,
        "user": "us@er",
        "password": "p@/?#% w",
    },
    "postgresql://u:a:b@db/app": {**BASE, "password": "a:b"},
    "postgresql://u:$PASSWORD@db/app": {**BASE, "password": "$PASSWORD"},
    "postgresql://u:a%24%7Bb%7D@db/app": {**BASE, "password": "a${b}"},
    "postgresql://u:p+w@db/app": {**BASE, "password": "p+w"},
    "postgresql://u:p\"'`<>&=[]\\@db/app": {**BASE, "password": "p\"'`<>&=[]\\"},
    "postgresql://ü:µ%C2%B5@db/ñ": {**BASE, "user": "ü", "password": "µµ", "dbname": "ñ"},
    "postgresql://u:pw@db/%61%2Fb%24": {**BASE, "dbname": "a/b$"},
    "postgresql://u:pw@db/" + 63 * "x": {**BASE, "dbname": 63 * "x"},
    "postgresql://u:pw@db/app?x=".ljust(MAX_CHARACTERS, "x"): BASE,
    # an @ in a parameter is no password's
    "postgresql://u:pw@db/app?application_name=me@home": BASE,
    "postgresql://u:pw@db/app?options=-c%20role%3Da@b/c": {**BASE, "options": "-c role=a@b/c"},
    "postgresql://u@db/app?password=a@b": {**BASE, "password": "a@b"},
    "postgresql://db/app?user=u&password=a@b": {**BASE, "password": "a@b"},
    # Prisma
    "postgresql://u:pw@db/app?schema=public&connection_limit=5&pool_timeout=3&pgbouncer=true": BASE,
    "postgresql://u:pw@db/app?sslaccept=strict&sslcert=./server-ca.pem&sslidentity=./c.p12": BASE,
    # node-postgres
    "postgresql://u:pw@db/app?ssl=true": {**BASE, "sslmode": "require"},
    "postgresql://u:pw@db/app?ssl=1": {**BASE, "sslmode": "require"},
    "postgresql://u:pw@db/app?ssl=0": {**BASE, "sslmode": "disable"},
    "postgresql://u:pw@db/app?ssl=false": {**BASE, "sslmode": "disable"},
    "postgresql://u:pw@db/app?ssl=no-verify": {**BASE, "sslmode": "require"},
    "postgresql://u:pw@db/app?sslmode=no-verify": {**BASE, "sslmode": "require"},
    "postgresql://u:pw@db/app?uselibpqcompat=true&sslmode=require": {**BASE, "sslmode": "require"},
    "postgresql://u:pw@db/app?sslmode=disable&ssl=true": {**BASE, "sslmode": "disable"},
    "postgresql://u:pw@db/app?sslmode=REQUIRE": {**BASE, "sslmode": "require"},
    # postgres.js
    "postgres://u:pw@db/app?ssl=prefer&max=3&idle_timeout=20": {**BASE, "sslmode": "prefer"},
    # SQLAlchemy
    "postgresql+psycopg://u:pw@db/app": BASE,
    "postgresql+asyncpg://u:pw@db/app": BASE,
    "postgres+psycopg2://u:pw@db/app": BASE,
    # keywords and values
    "host=db user=u password=pw dbname=app": BASE,
    "  host = db  user=u\npassword=pw dbname=app".replace("\n", " ").strip(): BASE,
    r"host=db user=u password='it\'s a \\ w' dbname='my app'": {
        **BASE,
        "password": r"it's a \ w",
        "dbname": "my app",
    },
    "host=::1 port='' dbname=app": {"host": "::1", "dbname": "app"},
    "host=/run/postgresql dbname=app sslmode=disable": {
        "host": "/run/postgresql",
        "dbname": "app",
        "sslmode": "disable",
    },
}


@pytest.mark.parametrize(("text", "params"), ACCEPTED.items(), ids=lambda value: str(value)[:60])
def test_accepted(text: str, params: dict[str, str]) -> None:
    """Each form means exactly these parameters of libpq."""
    assert parse(text).params == params


@pytest.mark.parametrize("text", ACCEPTED, ids=lambda value: value[:60])
def test_another_database(text: str) -> None:
    """Every accepted string can name another database, and means the same otherwise."""
    found = parse(with_database(text, "b"))

    assert found == parse(text).with_database("b")


@pytest.mark.parametrize("text", ACCEPTED, ids=lambda value: value[:60])
def test_accepted_by_libpq(text: str) -> None:
    """What we make of each form is taken by libpq as it is."""
    params = parse(text).params
    made = psycopg.conninfo.make_conninfo(**params)
    assert psycopg.conninfo.conninfo_to_dict(made) == params


@pytest.mark.parametrize("text", ACCEPTED, ids=lambda value: value[:60])
def test_accepted_round_trip(text: str) -> None:
    """Written as a URL and read again, each means the same."""
    conninfo = parse(text)
    read = parse(conninfo.reveal())
    assert read.addresses == conninfo.addresses
    assert {**read.params, "port": ""} == {**conninfo.params, "port": ""}


@pytest.mark.parametrize("password", [*(f"pw{char}" for char in ";,>`\u2019"), "=", "pw=", "pw=pw"])
def test_a_password_of_key_value_is_whatever_it_is(password: str) -> None:
    """Its last character is no stray one, and an = in it makes no variable's name of its key."""
    for text in (
        f"host=db user=u dbname=app password={password}",
        f"password={password} host=db user=u dbname=app",
        f"password='{password}' host=db user=u dbname=app",
    ):
        assert parse(text).params == {**BASE, "password": password}


@pytest.mark.parametrize("end", ["production", "-c", "a b", "-c search_path=b; drop"])
def test_what_is_no_option_is_not_taken_for_one(end: str) -> None:
    """A word behind options is refused, and the corrected URL does not lose them in silence."""
    with pytest.raises(ConninfoError) as caught:
        parse(f"postgresql://u:pw@db/app?options=-c search_path=a {end}")
    assert caught.value.more
    assert caught.value.corrected == GOOD


def test_variable_is_kept() -> None:
    """Remedies can name where the value came from."""
    assert parse("postgres://u@h/d", "FINANCE_DATABASE_URL").variable == "FINANCE_DATABASE_URL"


def test_passed_on_is_libpq_s() -> None:
    """What our own connection takes over is what libpq knows, and nothing that is ours to set."""
    known = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()}
    assert known >= PASSED_ON
    assert not PASSED_ON & {"application_name", "connect_timeout", "client_encoding"}


# Two halves of a password; neither may be seen, nor four characters of one in a row.
L, R = "Zx9Kq7Wv", "Tn3Rb8Yd"

AT, SLASH, HASH, ASK, BLANK = (
    f"has an unescaped {char!r} in the password; write {escape}"
    for char, escape in {"@": "%40", "/": "%2F", "#": "%23", "?": "%3F", " ": "%20"}.items()
)
EMPTY_HOST = "has an empty host"
HOST = "has a host that is no valid name or address"
PORT = "has a port that is not a number from 1 to 65535"
NO_AT = f"{PORT}, or a user and password without @ behind them"
NO_DATABASE = "names no database; libpq would use the user's name"
PATH = "has a / or # in the database's name; write %2F or %23, or remove what follows the name"
VARIABLE = (
    "contains an unexpanded variable (${...}, $$ or $(...)); write a literal $ in a password as %24"
)
DOLLAR = "has a $ in the database's name, from an unexpanded variable"
LONG = "names a database of more than 63 bytes, which PostgreSQL would silently cut"
QUOTES = "is wrapped in quotes; remove them"
SCHEME = "has a scheme other than postgresql://"
NEITHER = "is neither a URL nor key=value conninfo"
KEYWORDS = "is no valid key=value conninfo (libpq refuses it)"
UTF8 = "has bytes that are not UTF-8"
COUNT = "does not have one port for each host"
SSL = (
    "has an unknown {}; "
    "known are disable, allow, prefer, require, verify-ca, verify-full and no-verify"
)
PARAMETER = (
    "names the database by the parameter {}=, which libpq and node-postgres "
    "understand differently; name it in the path only"
)
GOOD = "postgresql://u:****@db/app"
NOTHING = "postgresql://USER:****@HOST/DATABASE"

REFUSED: dict[str, tuple[list[str], str]] = {
    # an unescaped character in the password
    f"postgresql://u:{L}@{R}@db/app": ([AT], GOOD),
    f"postgresql://u:{L}/{R}@db/app": ([SLASH], GOOD),
    f"postgresql://u:{L}#{R}@db/app": ([HASH], GOOD),
    f"postgresql://u:{L}?{R}@db/app": ([ASK], GOOD),
    f"postgresql://u:{L} {R}@db/app": ([BLANK], GOOD),
    f"postgresql://u:{L}%{R}@db/app": (["has an unescaped '%' in the password; write %25"], GOOD),
    f"postgresql://u:{L}@{R}/@db/app": ([AT, SLASH], GOOD),
    f"postgresql://u:{L}@{R}/x?y=z@db:5432/app?sslmode=require": (
        [AT, SLASH, ASK],
        "postgresql://u:****@db:5432/app?sslmode=require",
    ),
    f"postgresql://u:{L}%00{R}@db/app": (["has a control character in the password"], GOOD),
    f"postgresql://u:{L}%ff{R}@db/app": (
        ["has percent-encoded bytes in the password that are not UTF-8"],
        GOOD,
    ),
    # a user that may be a user and a password
    f"postgresql://u%3A{L}@db/app": (
        ["has an escaped ':' in the user's name and no password; do not escape it"],
        "postgresql://USER:****@db/app",
    ),
    f"postgresql://u/{L}:{R}@db/app": (
        ["has an unescaped '/' in the user's name; write %2F"],
        "postgresql://USER:****@db/app",
    ),
    f"postgresql://{L}@{R}@db/app": (
        ["has an unescaped '@' in the user's name; write %40"],
        "postgresql://USER:****@db/app",
    ),
    # no @ at all: what looks like a host may be a user, and a port, a database or a parameter
    # the rest of a password
    f"postgresql://u:{L}/app": ([NO_AT], NOTHING),
    f"postgresql://u:{L}": ([NO_AT], NOTHING),
    f"postgresql://u:{L}/{R}": ([NO_AT], NOTHING),
    f"postgresql://u:12#{L}/{R}": ([NO_AT], NOTHING),
    f"postgresql://u:{L}?sslmode={R}": ([NO_AT], NOTHING),
    f"postgresql://u:{L}%40db/app": ([NO_AT], NOTHING),
    f"postgresql://{L}#{R}/app": ([HOST], NOTHING),
    f"postgresql://u%3A{L}%40db/{R}": ([HOST], NOTHING),
    f"postgresql://db/app?unknown=1&password={L}@{R}": (
        [
            "has an unescaped '/' in the user's name; write %2F",
            "has an unescaped '?' in the user's name; write %3F",
        ],
        NOTHING,
    ),
    # the server
    "postgresql:///app": ([EMPTY_HOST], "postgresql://USER:****@HOST/app"),
    f"postgresql://u:{L}@/app": ([EMPTY_HOST], "postgresql://u:****@HOST/app"),
    f"postgresql://u:{L}@:5432/app": ([EMPTY_HOST], "postgresql://u:****@HOST:5432/app"),
    f"postgresql://u:{L}@a,/app": ([EMPTY_HOST], "postgresql://u:****@a,HOST/app"),
    f"host='' password={L} dbname=app": ([EMPTY_HOST], "postgresql://USER:****@HOST/app"),
    f"postgresql://u:{L}@a..b/app": ([HOST], "postgresql://u:****@HOST/app"),
    f"postgresql://u:{L}@$HOST:5432/app": ([HOST], "postgresql://u:****@HOST:5432/app"),
    f"postgresql://u:{L}@db/app?host=a%20b": ([HOST], "postgresql://u:****@HOST/app"),
    f"host=a,b..c password={L} dbname=app": ([HOST], "postgresql://USER:****@a,HOST/app"),
    f"postgresql://u:{L}@[db]/app": ([HOST], "postgresql://u:****@HOST/app"),
    f"postgresql://u:{L}@[::1/app": ([HOST, PORT], "postgresql://u:****@HOST/app"),
    f"postgresql://u:{L}@[fe80::1%eth0]/app": (
        ["has an unescaped '%' in the host; write %25"],
        "postgresql://u:****@[fe80::1%25eth0]/app",
    ),
    f"postgresql://u:{L}@db:x/app": ([PORT], GOOD),
    f"postgresql://u:{L}@db:0/app": ([PORT], GOOD),
    f"postgresql://u:{L}@db:65536/app": ([PORT], GOOD),
    f"postgresql://u:{L}@db:54:32/app": ([PORT], GOOD),
    f"postgresql://u:{L}@db/app?port=x": ([PORT], GOOD),
    f"host=db user=u password={L} dbname=app port=x": ([PORT], GOOD),
    f"postgresql://u:{L}@a,b/app?port=1,2,3": ([COUNT], "postgresql://u:****@a,b/app"),
    # the database
    f"postgresql://u:{L}@db": ([NO_DATABASE], "postgresql://u:****@db/DATABASE"),
    f"postgresql://u:{L}@db/": ([NO_DATABASE], "postgresql://u:****@db/DATABASE"),
    f"host=db user=u password={L}": ([NO_DATABASE], "postgresql://u:****@db/DATABASE"),
    f"postgresql://u:{L}@db/app/": ([PATH], GOOD),
    f"postgresql://u:{L}@db/app#x": ([PATH], "postgresql://u:****@db/DATABASE"),
    f"postgresql://u:{L}@db//app": ([PATH, NO_DATABASE], "postgresql://u:****@db/DATABASE"),
    f"postgresql://u:{L}@db/app?dbname=app": ([PARAMETER.format("dbname")], GOOD),
    f"postgresql://u:{L}@db/app?dbname=x": (
        [PARAMETER.format("dbname")],
        "postgresql://u:****@db/DATABASE",
    ),
    f"postgresql://u:{L}@db/?database=x": (
        [PARAMETER.format("database")],
        "postgresql://u:****@db/x",
    ),
    f"postgresql://u:{L}@db/{64 * 'x'}": ([LONG], "postgresql://u:****@db/DATABASE"),
    f"postgresql://u:{L}@db/{32 * 'ü'}": ([LONG], "postgresql://u:****@db/DATABASE"),
    f"postgresql://u:{L}@db/a%00b": (
        ["has a control character in the database's name"],
        "postgresql://u:****@db/DATABASE",
    ),
    f"host=db user=u dbname=postgresql://u:{L}@x/app": (
        ["names a database that is itself a URL"],
        "postgresql://u:****@db/DATABASE",
    ),
    # variables that nobody expanded
    f"postgresql://u:${{{L}}}@db/app": ([VARIABLE], GOOD),
    f"postgresql://u:{L}$${R}@db/app": ([VARIABLE], GOOD),
    f"postgresql://u:$({L})@db/app": ([VARIABLE], GOOD),
    f"postgresql://${{USER}}:{L}@db/app": ([VARIABLE], "postgresql://USER:****@db/app"),
    f"postgresql://u:{L}@db/$DB": ([DOLLAR], "postgresql://u:****@db/DATABASE"),
    f"postgresql://u:{L}@db/${{DB}}": ([VARIABLE, DOLLAR], "postgresql://u:****@db/DATABASE"),
    f"host=db user=u password={L} dbname=$DB": ([DOLLAR], "postgresql://u:****@db/DATABASE"),
    f"host=db user=u password=${{{L}}} dbname=app": (
        ["contains an unexpanded variable (${...}, $$ or $(...))"],
        GOOD,
    ),
    # what stands around it
    f'"postgresql://u:{L}@db/app"': ([QUOTES], GOOD),
    f"'postgresql://u:{L}@db/app": ([QUOTES], GOOD),
    f"`postgresql://u:{L}@db/app`": ([QUOTES], GOOD),
    f"postgresql://u:{L}@db/app\n": (["begins or ends with a newline"], GOOD),
    f"\r\npostgresql://u:{L}@db/app": (["begins or ends with a newline"], GOOD),
    f" postgresql://u:{L}@db/app": (["begins or ends with white space"], GOOD),
    f'"postgresql://u:{L}@db/app"\n': (["begins or ends with a newline", QUOTES], GOOD),
    f"postgresql://u:{L}\n{R}@db/app": (["has more than one line"], GOOD),
    f"postgresql://u:{L}\0{R}@db/app": (["contains a control character"], GOOD),
    f"postgresql://u:{L}\udcff{R}@db/app": ([UTF8], GOOD),
    f"host=db user=u password={L}\udcff dbname=app": ([UTF8], GOOD),
    # parameters
    f"postgresql://u:{L}@db/app?sslmode={R}": ([SSL.format("sslmode")], GOOD),
    f"postgresql://u:{L}@db/app?ssl={R}&sslmode=allow": (
        [SSL.format("ssl")],
        f"{GOOD}?sslmode=allow",
    ),
    f"postgresql://u@db/app?password={L}%{R}": (
        ["has an unescaped '%' in its parameters; write %25"],
        GOOD,
    ),
    f"postgresql://u@db/app?password={L}%ff{R}": (
        ["has percent-encoded bytes in its parameters that are not UTF-8"],
        GOOD,
    ),
    f"postgresql://u@db/app?password={L}%00{R}": (
        ["has a control character in its parameters"],
        GOOD,
    ),
    # something else
    "": (["is empty"], NOTHING),
    " \n": (["begins or ends with a newline", "is empty"], NOTHING),
    "''": ([QUOTES, "is empty"], NOTHING),
    "\udcff": ([UTF8, "is empty"], NOTHING),
    "\0\0": (["contains a control character", "is empty"], NOTHING),
    f"mysql://u:{L}@db/app": ([SCHEME], GOOD),
    f"jdbc:postgresql://db/app?user=u&password={L}": ([SCHEME], GOOD),
    f"{L}://u:{R}@db/app": ([SCHEME], GOOD),
    f"postgresql:u:{L}@db/app": ([NEITHER], NOTHING),
    f"u:{L}@db/app": ([NEITHER], NOTHING),
    L: ([NEITHER], NOTHING),
    f"u:{L}=@db/app": ([KEYWORDS], NOTHING),
    f"password={L} {R}": ([KEYWORDS], NOTHING),
    f"password='{L} host=db": ([KEYWORDS], NOTHING),
    f"host=db password={L} {R}=x": ([KEYWORDS], NOTHING),
    f"postgresql://u:{L}@db/app".ljust(MAX_CHARACTERS + 1, "x"): (
        ["is longer than 8192 characters"],
        NOTHING,
    ),
    # several at once, each once
    f'"mysql://u:{L}@{R}@a..b:x,c..d:y/"': (
        [QUOTES, SCHEME, AT, NO_DATABASE, HOST, PORT],
        "postgresql://u:****@HOST,HOST/DATABASE",
    ),
}


@pytest.mark.parametrize(("text", "expected"), REFUSED.items(), ids=lambda value: str(value)[:60])
def test_refused(text: str, expected: tuple[list[str], str]) -> None:
    """Each form is refused with these words and this corrected URL."""
    with pytest.raises(ConninfoError) as caught:
        parse(text)
    assert (caught.value.problems, caught.value.corrected) == expected


def fragments(secret: str) -> set[str]:
    return {secret[start : start + 4] for start in range(len(secret) - 3)}


@pytest.mark.parametrize("text", [t for t in REFUSED if L in t], ids=lambda value: value[:60])
def test_refusal_tells_no_secret(text: str) -> None:
    """No four characters of a password stand in the problems, the URL or the exception."""
    with pytest.raises(ConninfoError) as caught:
        parse(text)
    error = caught.value
    said = unquote(f"{error.problems} {error.corrected} {error!r} {error} {error.args}")
    assert not [part for part in fragments(L) | fragments(R) if part in said]
    assert error.__context__ is None
    assert error.__cause__ is None


@pytest.mark.parametrize("corrected", sorted({url for _, url in REFUSED.values()}))
def test_corrected_is_accepted(corrected: str) -> None:
    """What a refusal proposes would not be refused in its turn."""
    assert parse(corrected.replace("****", "pw")).params["dbname"]


def test_database_may_be_left_out() -> None:
    """Where another database is meant anyway, none need be named."""
    assert parse("postgres://u@h", needs_database=False).database == ""
    assert parse("host=h", needs_database=False).params == {"host": "h"}


# What passwords are made of: letters that no message of ours has, and all that is special in URLs.
LETTERS = "QXZJ"
raw_passwords = st.text(st.sampled_from(LETTERS + "@/#%?:&=$ \"'[]{}()\\+,;.|<>^`~!*-_ü\n\0"))


@settings(max_examples=500)
@given(raw_passwords)
@example("Q@X/Z?J=@")
@example("/Q@X")
@example("Q@[Z")
@example("?Q=/@X/")
def test_unescaped_passwords(password: str) -> None:
    """Whatever stands unescaped in a password, it is understood or refused, and never shown."""
    try:
        conninfo = parse(f"postgresql://user:{password}@host:5432/db?sslmode=require")
    except ConninfoError as error:
        said = unquote(f"{error.problems} {error.corrected} {error!r}")
    else:
        assert conninfo.params.get("password", "") == unquote(password)
        assert (conninfo.user, conninfo.where(), conninfo.database) == ("user", "host:5432", "db")
        said = unquote(f"{conninfo!r} {conninfo.safe()} {conninfo.where()}")
    assert not set(LETTERS) & set(said)


printable = st.characters(exclude_categories=["Cc", "Cs"])
names = st.text(printable, min_size=1, max_size=20)
labels = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,20}", fullmatch=True)
hosts = st.one_of(
    st.lists(labels, min_size=1, max_size=3).map(".".join),
    st.ip_addresses().map(str),
    st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters=",")).map(
        lambda text: f"/{text}"
    ),
)


def is_odd(name: str) -> bool:
    """Whether a database's name looks like another one, and is refused for it."""
    return name != name.strip() or bool(re.search(f"[{INVISIBLE}]", name))


@st.composite
def conninfos(draw: st.DrawFn) -> Conninfo:
    """Any meaning that a connection string may have."""
    user, password = draw(st.none() | names), draw(st.none() | names)
    database = draw(names.filter(lambda name: "://" not in name and not is_odd(name)))
    assume(len(database.encode()) <= MAX_NAME_BYTES)
    assume(password or ":" not in (user or ""))
    servers = draw(st.lists(hosts, min_size=1, max_size=3))
    params = {"user": user, "password": password, "dbname": database, "host": ",".join(servers)}
    if draw(st.booleans()):
        params["port"] = ",".join(str(draw(st.integers(1, 65535))) for _ in servers)
    if len(servers) > 1:
        params["target_session_attrs"] = draw(st.sampled_from(["read-write", "any"]))
    params["options"] = draw(st.none() | names)
    params["sslmode"] = draw(st.none() | st.sampled_from(["disable", "require", "verify-full"]))
    return Conninfo({key: value for key, value in params.items() if value})


@settings(max_examples=300)
@given(conninfos())
def test_round_trip(conninfo: Conninfo) -> None:
    """What is written as a URL means the same when it is read again."""
    assert parse(conninfo.reveal()) == conninfo


@settings(max_examples=300)
@given(conninfos())
def test_libpq_reads_the_same(conninfo: Conninfo) -> None:
    """The URL that we write means to libpq what it means to us."""
    read = psycopg.conninfo.conninfo_to_dict(conninfo.reveal())
    if not str(read.get("port", "")).strip(","):  # an empty port for each host
        read.pop("port", None)
    assert read == conninfo.params


@given(conninfos(), names)
def test_safe_hides_the_password(conninfo: Conninfo, password: str) -> None:
    """What is shown is the same whatever the password, and a password is in it by chance only."""
    shown = Conninfo({**conninfo.params, "password": password}).safe()
    other = Conninfo({**conninfo.params, "password": "pw"}).safe()
    assert shown == other
    assert "options" not in shown
    rest = other.replace("****", " ")
    assume(password not in rest and quote(password, safe="") not in rest)
    assert password not in shown.replace("****", " ")


SCRAPS = (  # noqa: SIM905  sixty lines otherwise
    "postgres:// postgresql:// POSTGRES:// x:// :// @ : / ? # % %zz %ff %00 %2F %40 & = + , ; $ ${ "
    "$$ $( [ ] [:: ' \" ` \\ host= port= user= dbname= database= password= sslmode= ssl= service= "
    "localhost 5432 0 99999 app u pw ::1 ../.. \0 \x1f \x7f \udcff \ud800 \u2028 \ufeff é"
).split(" ")
pasted = st.lists(st.sampled_from([*SCRAPS, " ", "\n", "\t"]), max_size=20).map("".join)
binary = st.binary(max_size=200).map(lambda data: data.decode("utf-8", "surrogateescape"))


def parse_or_refuse(text: str) -> Conninfo | ConninfoError:
    try:
        return parse(text)
    except ConninfoError as error:
        return error


@settings(max_examples=1000)
@given(st.text(max_size=200) | binary | pasted | pasted.map(lambda text: f"postgres://{text}"))
def test_nothing_but_a_refusal(text: str) -> None:
    """Any text is understood and can be written again, or refused with problems and a URL."""
    outcome = parse_or_refuse(text)
    if isinstance(outcome, ConninfoError):
        assert outcome.problems
        assert outcome.problems == list(dict.fromkeys(outcome.problems))
        assert outcome.corrected.startswith("postgresql://")
        assert len(str(outcome)) < 2000
    else:
        assert parse(outcome.reveal()).addresses == outcome.addresses
        assert outcome.where()


LARGE = {
    "text": "x",
    "at": "@",
    "slash": "/",
    "host": "h:x,",
    "label": "a.",
    "colon": ":",
    "bracket": "[",
    "percent": "%",
    "escape": "%2F",
    "dollar": "$",
    "parameter": "a=b&",
    "quote": "'",
    "backslash": "\\",
    "newline": "\n",
    "nul": "\0",
    "blank": " ",
    "url": "postgres://u:p@h/d?",
}


@pytest.mark.parametrize("size", [MAX_CHARACTERS, 1_000_000])
@pytest.mark.parametrize(
    "begin", ["", "postgres://", "postgres://u:p@", "postgres://h/d?", "host="]
)
@pytest.mark.parametrize("scrap", LARGE.values(), ids=LARGE)
def test_large(begin: str, scrap: str, size: int) -> None:
    """Input of any size is read within a blink, and what is said about it stays short."""
    text = (begin + scrap * size)[:size]
    started = time.process_time()
    try:
        said = parse(text).safe()
    except ConninfoError as error:
        said = str(error)
    assert time.process_time() - started < 0.5
    assert len(said) < 2000


@pytest.mark.parametrize(
    ("text", "pays"),
    [("postgresql://u:p%40w@db:5432/app?sslmode=require", False), ("'postgres://u@db/app'", True)],
)
def test_a_plain_url_pays_for_nothing(text: str, *, pays: bool) -> None:
    """What finds quotes and remarks is not imported where there can be none."""
    code = (
        "import sys\nfrom entrypoint.config import dialects\n"
        "try:\n    dialects.parse(sys.argv[1])\nexcept ValueError:\n    pass\n"
        "print('entrypoint.config.pasted' in sys.modules)"
    )
    argv = [sys.executable, "-c", code, text]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout == f"{pays}\n"
