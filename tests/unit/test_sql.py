"""The rules for our SQL, held over its files and the code: where it stands, what it may say.

Each check is shown to find a text that breaks it.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from entrypoint.postgres import leftovers, lock, quarantine
from entrypoint.postgres.sql import SEARCH_PATH, load_sql
from entrypoint.transfer import rehearsal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2] / "entrypoint"


class Text(NamedTuple):
    """A string of the program, with `{}` for what is put into it."""

    module: str
    text: str
    bare: bool = False
    """Whether it is given to `execute` as it is, outside of a transaction of ours."""


def texts(module: str, source: str) -> list[Text]:
    """Every string that is no docstring."""
    return list(_texts(module, ast.parse(source), inside=False))


def _texts(module: str, node: ast.AST, *, inside: bool) -> Iterator[Text]:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return  # a docstring
    if isinstance(node, ast.With):
        inside = inside or any("transaction(" in ast.unparse(item) for item in node.items)
    if isinstance(node, ast.Call) and node.args:
        called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        first = _flat(node.args[0]) or _loaded(node.args[0])
        if called in ("execute", "row", "rows") and first is not None and not inside:
            yield Text(module, first, bare=True)
    text = _flat(node)
    if text is not None:
        yield Text(module, text)
        return
    for child in ast.iter_child_nodes(node):
        yield from _texts(module, child, inside=inside)


def _flat(node: ast.AST) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_flat(part) or "{}" for part in node.values)
    return None


def _loaded(node: ast.AST) -> str | None:
    names = [each.value for each in ast.walk(node) if isinstance(each, ast.Constant)]
    return next((load_sql(name) for name in names if name in QUERIES), None)


def included(file: str, text: str) -> set[str]:
    """The files that a file puts in."""
    return {
        str((ROOT / file).parent.joinpath(name).resolve().relative_to(ROOT))
        for name in re.findall(r"\\ir (\S+)", text)
    }


CODE: Final = {str(path.relative_to(ROOT)): path.read_text() for path in sorted(ROOT.rglob("*.py"))}

FILES: Final = {
    str(path.relative_to(ROOT)): path.read_text() for path in sorted(ROOT.rglob("*.sql"))
}

QUERIES: Final = {
    f"{folder}/{name}": file
    for file in FILES
    for folder, name in [file.removesuffix(".sql").split("/sql/")]
}
"""The files by the names that the code has for them."""

OURS: Final = [
    *(text for module, source in CODE.items() for text in texts(module, source)),
    *(Text(file, re.sub(r"\A(--.*\n)+", "", text)) for file, text in FILES.items()),
]


def matching(pattern: str) -> Callable[[Text], bool]:
    """A check for what a pattern finds, but for what a file answers for."""
    return lambda text: not text.bare and bool(re.search(pattern, text.text, re.IGNORECASE))


def unqualified(statement: str) -> list[str]:
    """Names and operators in a query that the session's search_path decides on."""
    query = re.sub(r"'(?:[^']|'')*'", "''", statement)
    query = re.sub(r"%s|\{\}", " ", query)
    query = re.sub(r"(?i)\boperator\s*\(\s*pg_catalog\.[^)]+\)", " ", query)
    called = re.findall(r"(?<![.\w])([a-z_]\w*)\s*\(", query, re.IGNORECASE)
    read = re.findall(r"\b(?:from|join)\s+(?!pg_catalog\.)([a-z_]\w*)", query, re.IGNORECASE)
    cast = re.findall(r"::\s*(?!pg_catalog\.)\w+", query)
    return [*called, *read, *cast, *re.findall(r"[=<>~|&!+/-]+", query)]


def decided_by_the_path(text: Text) -> bool:
    """A query outside of a transaction of ours, in which a pooler's session has any path."""
    starts = re.match(r"(?i)\s*(select|with|table|values)\b", text.text)
    return bool(text.bare and starts and unqualified(text.text))


def function_without_path(text: Text) -> bool:
    """A function is made, and its body looks names up in whichever path its caller has."""
    makes = matching(r"\bcreate\s+(or\s+replace\s+)?(function|procedure)\b")
    return makes(text) and not matching(r"\bset\s+search_path\b")(text)


def in_the_code(text: Text) -> bool:
    """A statement of several lines stands in a module, and not in a file of its own."""
    several = r"(?i)\s*(begin|create|do|select|set|with)\b.*\n\s*\S"
    return not text.module.endswith(".sql") and not text.bare and bool(re.match(several, text.text))


definer = matching(r"\bsecurity\s+definer\b")
path = matching(r"\bset\s+(local\s+|session\s+)?search_path\b|\(\s*'search_path'\s*,")
relation = matching(r"\b(select|delete|copy)\b[^;]*\b(from|join)\s+(only\s+)?(\{\w*\}|%I)")
registered = matching(r"(%s|%\(\w+\)s|\{\w*\})::(pg_catalog\.)?reg\w+")

PATHS = {
    "postgres/session.py": "the one place",
    "postgres/sql/session_begin.sql": "the first statement of every session",
    "postgres/sql/lock_begin.sql": "the same path, in the transaction that holds the lock",
    "operator/sql/look_begin.sql": "the same path, in a transaction that only looks",
    "postgres/sql/fingerprint_settings.sql": "with what else a fingerprint depends on",
    "postgres/sql/create_event_trigger.sql": "a function's own",
    "operator/script.py": "the same path, in a session of a person's",
    "transfer/source.py": "the same path, while it reads the catalogs",
    "transfer/preflight.py": "the empty one of a restore, as the transfer's own role",
}

RELATIONS = {
    "postgres/sql/refuse_drop.sql": "rows of a table, for its owner only",
    "postgres/snapshot.py": "rows of a table, where its owner is as powerful as we are",
    "transfer/rows.py": "a transfer counts as its own role, or as the owner of the tables",
    "transfer/swap.py": "a sequence, which evaluates nothing",
    "transfer/preflight.py": "what a restore evaluates, as the transfer's own role",
}

REGISTERED = {"transfer/swap.py": "a name that format('%I') quoted"}

BARE = {
    "postgres/ownership.py": "in its caller's transaction",
    "postgres/refusal.py": "a guard has no pooler",
    "postgres/guard.py": "a guard has no pooler",
    "transfer/": "a transfer has no pooler",
}

RULES: list[tuple[str, Callable[[Text], bool], dict[str, str], str]] = [
    ("in the code", in_the_code, {}, 's = """\nselect 1\nfrom pg_class\n"""'),
    ("definer", definer, {}, 's = "create function f() returns int SECURITY  DEFINER as"'),
    ("path", path, PATHS, 's = "set local search_path = public"'),
    ("path by call", path, PATHS, "s = \"select set_config('search_path', '', true)\""),
    ("function", function_without_path, {}, 's = f"create function {name}() returns int as {b}"'),
    ("relation", relation, RELATIONS, 's = f"select count(*) from only {table}"'),
    ("relation in a body", relation, RELATIONS, "s = \"execute format('select from %I')\""),
    ("registered", registered, REGISTERED, 's = "select pg_catalog.setval(%s::regclass, 1)"'),
    ("bare name", decided_by_the_path, BARE, 'c.execute("select 1 from pg_database")'),
    ("bare call", decided_by_the_path, BARE, 'c.execute("select now()")'),
    ("bare type", decided_by_the_path, BARE, 'c.execute("select %s::text")'),
    (
        *("bare operator", decided_by_the_path, BARE),
        'c.execute("select from pg_catalog.pg_database where datname = %s")',
    ),
]

NAMES = [name for name, *_ in RULES]


def allowed(module: str, reasons: dict[str, str]) -> bool:
    """Whether a module, or its folder, is listed with its reason."""
    return any(
        module == name or (name.endswith("/") and module.startswith(name)) for name in reasons
    )


@pytest.mark.parametrize(("check", "reasons"), [(c, r) for _, c, r, _ in RULES], ids=NAMES)
def test_the_code_keeps_the_rule(check: Callable[[Text], bool], reasons: dict[str, str]) -> None:
    """No text of the program breaks it, but in the modules that are listed with a reason."""
    broken = {text for text in OURS if check(text) and not allowed(text.module, reasons)}
    assert broken == set()


@pytest.mark.parametrize(("check", "source"), [(c, s) for _, c, _, s in RULES], ids=NAMES)
def test_a_text_that_breaks_it_is_found(check: Callable[[Text], bool], source: str) -> None:
    """The control: the same check finds a text that breaks the rule."""
    assert [text for text in texts("x.py", source) if check(text)]


@pytest.mark.parametrize(
    ("check", "reasons"), [(path, PATHS), (relation, RELATIONS), (registered, REGISTERED)]
)
def test_no_exception_is_stale(check: Callable[[Text], bool], reasons: dict[str, str]) -> None:
    """A module that is listed with a reason still needs it."""
    assert {text.module for text in OURS if check(text)} == set(reasons)


def test_what_comes_before_the_path_is_qualified() -> None:
    """The first message of every session names the schema of each function and operator."""
    begin = load_sql("postgres/session_begin")
    assert unqualified(begin) == []
    assert set(unqualified(begin.replace("operator(pg_catalog.<>)", "<>"))) == {"<>"}


@pytest.mark.parametrize("file", [name for name in PATHS if name.endswith(".sql")])
def test_a_file_sets_the_path_of_the_code(file: str) -> None:
    """Where a file sets a path, it is `SEARCH_PATH`."""
    found = re.findall(r"search_path(?: =|',) '?((?:\w+, )*\w+)", FILES[file])
    assert found == [SEARCH_PATH]


def test_the_lock_of_the_files_is_that_of_the_code() -> None:
    """Who holds the lock is asked for the key that a start takes."""
    query = load_sql("postgres/lock_holders")
    high, low = re.findall(r"l\.(?:classid|objid) = (\d+)", query)
    assert (int(high) << 32) + int(low) == lock.KEY


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        (leftovers.NAME, r"entrypoint_\w*[^_\W]"),
        (quarantine.MARK, r"(?<=')entrypoint moved[^']*"),
        (rehearsal.MARK, r"__[a-z]+_"),
    ],
)
def test_a_name_in_a_file_is_that_of_the_code(name: str, pattern: str) -> None:
    """What the files call a guard, a quarantine and a rehearsal is what the code does."""
    found = {each for text in FILES.values() for each in re.findall(pattern, text)}
    assert name in found
    assert {each.removesuffix("_truncate") for each in found} == {name}


@pytest.mark.parametrize("file", FILES)
def test_a_file_says_first_what_it_answers(file: str) -> None:
    """The first line of each file is a sentence of its own, and the server does not get it."""
    title = FILES[file].splitlines()[0]
    assert re.fullmatch(r"-- [A-Z].+\.", title)
    assert [name for name, text in FILES.items() if text.startswith(f"{title}\n")] == [file]
    [query] = [query for query, name in QUERIES.items() if name == file]
    assert not load_sql(query).startswith("--")
    assert "\\ir" not in load_sql(query)


def test_each_file_is_used_and_each_that_is_used_is_there() -> None:
    """No query is left over, and no name leads nowhere."""
    names = {name for text in CODE.values() for name in re.findall(r"[\"']([\w/]+)[\"']", text)}
    used = {file for query, file in QUERIES.items() if query in names}
    used |= {name for file, text in FILES.items() for name in included(file, text)}
    assert used == set(FILES)


def test_a_transaction_of_ours_sets_the_path_first() -> None:
    """A query in one may use short names; outside of one the same text is found."""
    query = 'c.execute("select now()")'
    assert any(map(decided_by_the_path, texts("x.py", query)))
    inside = texts("x.py", f"with session.transaction():\n    {query}")
    assert not any(map(decided_by_the_path, inside))
