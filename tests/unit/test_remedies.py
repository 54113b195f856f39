"""What a remedy says is done here, and must help: connection strings, and names of ours."""

from __future__ import annotations

import ast
import base64
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from entrypoint.cli.parser import commands
from entrypoint.config import load as config
from entrypoint.config.dialects import ConninfoError, parse
from entrypoint.config.environment import Environment
from entrypoint.config.keys import IN_ENVIRONMENT, IN_FILE, OUR_SECRETS
from entrypoint.errors import SettingsError
from tests.process import test_bad_input, test_secrets
from tests.unit import test_dialects, test_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

MODULES = (test_dialects, test_settings, test_bad_input, test_secrets)
"""Tests that are given connection strings."""

MEANT = {"app", "d", "x", "gaqno_finance_db"}
"""The databases that whoever wrote those strings had in mind."""

FILLED = {"USER": "u", "HOST": "db", "DATABASE": "meant_db"}
"""What somebody puts into the places that a remedy leaves open."""


def given(module: ModuleType) -> Iterator[str]:
    """Every text in a parametrization of a module's tests."""
    for function in vars(module).values():
        for mark in getattr(function, "pytestmark", []):
            if mark.name == "parametrize":
                yield from texts(mark.args[1])


def texts(value: Any) -> Iterator[str]:  # noqa: ANN401  whatever a test is given
    if isinstance(value, bytes):
        yield value.decode("utf-8", "surrogateescape")
    elif isinstance(value, str):
        yield value.replace("{raw}", "p@w:x").replace("{escaped}", "p%40w")
    elif isinstance(value, dict):
        yield from texts([*value.keys(), *value.values()])
    elif hasattr(value, "__iter__"):
        for each in value:
            yield from texts(each)


def refused(text: str) -> bool:
    """Whether this is a connection string, and one that cannot be used."""
    if "://" not in text and "=" not in text:
        return False
    try:
        parse(text)
    except ConninfoError:
        return True
    return False


REFUSED = sorted({text for module in MODULES for text in given(module) if refused(text)})


def test_the_suite_has_refused_urls() -> None:
    """The collection finds what the tests of connection strings are given."""
    assert len(REFUSED) > 100
    assert {*test_dialects.REFUSED} & {*REFUSED}


def remedied(folder: Path, text: str) -> str | None:
    """The database that is used when a value is set, or when its remedy is followed to the letter.

    None where the remedy leaves the database open, and says so.
    """
    try:
        found = load(folder, text.replace("\0", "").encode("utf-8", "surrogateescape"))
    except SettingsError as error:
        remedy = error.remedy
    else:
        return found
    url = re.search(r"Set DATABASE_URL to (\S+) ", remedy)
    assert url, remedy
    filled = re.sub("USER|HOST|DATABASE", lambda place: FILLED[place[0]], url[1])
    assert (filled != url[1]) == ("capitals" in remedy)
    return load(folder, filled.replace("****", "pw").encode())


def load(folder: Path, value: bytes) -> str | None:
    database = config.load(Environment({b"DATABASE_URL": value}), folder).database
    assert database is not None
    return None if database.database == FILLED["DATABASE"] else database.database


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:60])
def test_a_refused_url_s_remedy_is_accepted(tmp_path: Path, text: str) -> None:
    """Each refused URL of the suite, corrected as told, is accepted and names what was meant."""
    assert remedied(tmp_path, text) in {None, *MEANT}


def coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


DAMAGES: dict[str, Callable[[str], str]] = {
    "remark": lambda url: f"{url} # production",
    "remark of a word": lambda url: f"{url} #production",
    "remark with an @": lambda url: f"{url} # ask me@example.com",
    "slashes": lambda url: f"{url} // production",
    "dashes": lambda url: f"{url} -- production",
    "bracket": lambda url: f"{url} (production)",
    "word": lambda url: f"{url} production",
    "tab": lambda url: f"{url}\tproduction",
    "no-break space": lambda url: f"{url}\u00a0# production",
    "semicolon": lambda url: f"{url};",
    "comma": lambda url: f"{url},",
    "quotes": lambda url: f'"{url}"',
    "single quotes": lambda url: f"'{url}'",
    "backticks": lambda url: f"`{url}`",
    "smart quotes": lambda url: f"\u201c{url}\u201d",
    "smart single quotes": lambda url: f"\u2018{url}\u2019",
    "angle brackets": lambda url: f"<{url}>",
    "first quote": lambda url: f'"{url}',
    "last quote": lambda url: f'{url}"',
    "last smart quote": lambda url: f"{url}\u201d",
    "quotes and remark": lambda url: f'"{url}" # production',
    "quotes and semicolon": lambda url: f'"{url}";',
    "export": lambda url: f"export DATABASE_URL={url}",
    "export with quotes": lambda url: f"export DATABASE_URL='{url}'; # production",
    "name": lambda url: f"DATABASE_URL={url}",
    "name with blanks": lambda url: f"DATABASE_URL = {url}",
    "YAML": lambda url: f"DATABASE_URL: {url}",
    "YAML in a list": lambda url: f'- DATABASE_URL="{url}"',
    "Dockerfile": lambda url: f"ENV DATABASE_URL={url}",
    "psql": lambda url: f"psql '{url}'",
    "psql with options": lambda url: f'psql -X -d "{url}"',
    "JSON": lambda url: json.dumps({"url": url}),
    "JSON of two": lambda url: json.dumps({"a": "postgres://u:pw@h/one", "b": url}),
    "base64": coded,
    "base64 with a newline": lambda url: coded(url + "\n"),
    "newline": lambda url: f"{url}\n",
    "CRLF": lambda url: f"{url}\r\n",
    "CR": lambda url: f"{url}\r",
    "blanks": lambda url: f"  {url}  ",
    "BOM": lambda url: f"\ufeff{url}",
    "zero width": lambda url: f"{url}\u200b",
    "zero width joiner": lambda url: f"\u200d{url}\u2060",
    "no-break spaces": lambda url: f"\u00a0{url}\u00a0",
    "second line": lambda url: f"{url}\nOTHER=1",
    "second line of a remark": lambda url: f"{url}\n# production",
    "second line of a word": lambda url: f"{url}\nmore",
    "first line of a remark": lambda url: f"# production\n{url}",
    "two of them": lambda url: f"{url}\npostgres://u:pw@other/one",
    "two of them on a line": lambda url: f"{url},postgres://u:pw@other/one",
    "two names": lambda url: f"A={url}\nB=postgres://u:pw@other/one",
    "surrogate": lambda url: f"{url}\udcff",
    "zero width inside": lambda url: url.replace("app", "a\u200bpp"),
    "escaped zero width inside": lambda url: url.replace("app", "a%E2%80%8Bpp"),
    "newline inside": lambda url: url.replace("app", "a\npp"),
    "wrapped": lambda url: url.replace("db/", "d\nb/"),
    "escaped blank": lambda url: url.replace("app", "app%20"),
    "escaped blank before": lambda url: url.replace("app", "%20app"),
    "escaped newline": lambda url: url.replace("app", "app%0A"),
    "escaped no-break space": lambda url: url.replace("app", "app%C2%A0"),
    "half an escape": lambda url: url.replace("app", "app%2"),
    "slash": lambda url: url.replace("app", "app/"),
    "path": lambda url: url.replace("app", "app/production"),
    "fragment": lambda url: url.replace("app", "app#production"),
    "blank": lambda url: url.replace("app", "app production"),
    "twice": lambda url: url.replace("app", "app?dbname=other"),
    "JDBC": lambda url: f"jdbc:{url}",
    "variable": lambda url: url.replace("app", "${DB:-app}"),
    "no database": lambda url: url.replace("app", ""),
}

VALID = [text for text, params in test_dialects.ACCEPTED.items() if params["dbname"] == "app"]


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_url_leads_to_no_other_database(
    tmp_path: Path, damage: Callable[[str], str]
) -> None:
    """A valid URL that was damaged leads, accepted or corrected, to its own database or to none."""
    found = {text: remedied(tmp_path, damage(text)) for text in VALID if damage(text) != text}
    assert {text: name for text, name in found.items() if name not in (None, "app")} == {}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_url_tells_no_secret(damage: Callable[[str], str]) -> None:
    """No four characters of a password are shown, whatever stands around its URL."""
    halves = test_dialects.L, test_dialects.R
    parts = {part for half in halves for part in test_dialects.fragments(half)}
    for text in VALID:
        for password in ("".join(halves), " # ".join(halves), "@".join(halves)):
            damaged = damage(text.replace("pw", password))
            try:
                said = str(parse(damaged).safe())
            except ConninfoError as error:
                said = f"{error.problems} {error.corrected} {error!r} {error.__context__}"
            assert not [part for part in parts if part in said], damaged


# --- what remedies name is there

ROOT = Path(__file__).parents[2]


class Said(NamedTuple):
    """A text of the program's, with `{}` for what is put into it."""

    module: str
    text: str


def said(module: str, source: str) -> Iterator[Said]:
    """Every string that is no docstring; one that is built of several is one."""
    return _said(module, ast.parse(source))


def _said(module: str, node: ast.AST) -> Iterator[Said]:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return  # a docstring
    text = _flat(node)
    if text is not None:
        yield Said(module, text)
        return
    for child in ast.iter_child_nodes(node):
        yield from _said(module, child)


def _flat(node: ast.AST) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_flat(part) or "{}" for part in node.values)
    return None


SAID = [
    each
    for path in sorted((ROOT / "entrypoint").rglob("*.py"))
    for each in said(str(path.relative_to(ROOT)), path.read_text())
]
WRITTEN = [
    Said(str(path.relative_to(ROOT)), path.read_text())
    for folder in ("docs", "deploy", "examples")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in (".md", ".yml", ".yaml", ".toml") and "node_modules" not in path.parts
] + [Said(path.name, path.read_text()) for path in sorted(ROOT.glob("*.md"))]

VARIABLES = {*IN_ENVIRONMENT, *OUR_SECRETS, *(f"{name}_FILE" for name in OUR_SECRETS)}

FOREIGN = {
    "ENTRYPOINT_SERVICE_HOST",  # Kubernetes sets it for a Service called `entrypoint`
    "ENTRYPOINT_ROUNDS",  # the tests' campaign reads it
    "ENTRYPOINT_SEED",  # the same
    "ENTRYPOINT_PUSH_UNSET_ENV",  # a newcomer adds it in CONTRIBUTING.md
}


def unknown_variables(text: str) -> set[str]:
    """Variables of ours that nobody reads."""
    found = re.findall(r"(?<![A-Z_/])ENTRYPOINT_[A-Z][A-Z_]*[A-Z](?![A-Z_<{*])", text)
    return {*found} - VARIABLES - FOREIGN


def unknown_keys(text: str) -> set[str]:
    """Keys of the settings file that it does not have, in a text for people."""
    sections = {key.partition(".")[0] for key in IN_FILE if "." in key}
    begin = "|".join(sorted(sections))
    found = re.findall(rf"(?<![\w./:@-])(?:{begin})\.[a-z_]+(?![\w/(-]|\.\w)", text)
    steps = re.findall(r"\{\}\.([a-z_]+)(?![\w(-]|\.\w)", text) if " " in text else []
    keys = {key for key in found if " " in text and key not in IN_FILE}
    return keys | {f"{{}}.{key}" for key in steps if f"push.{key}" not in IN_FILE}


COMMANDS = {
    name: {*command._option_string_actions}  # noqa: SLF001  argparse has no public list
    for name, command in commands().items()
}
"""Our commands, and the options of each."""


def unknown_commands(text: str) -> set[str]:
    """Commands of ours that there are not, and options that they do not have."""
    told = re.findall(r"(?:\b[Rr]un|`|\n  |\$ |; )\s?entrypoint ([a-z{][\w{}-]*)([^`;\n]*)", text)
    found = re.findall(rf"\bentrypoint ({'|'.join(COMMANDS)})\b([^`;\n]*)", text)
    unknown = {name for name, _ in told if name not in COMMANDS and name != "{}"}
    for name, rest in {*told, *found}:
        options = re.findall(r"(?<!\S)--[a-z][a-z-]*", rest.partition(" -- ")[0])
        unknown |= {f"{name} {each}" for each in options if each not in COMMANDS.get(name, {each})}
    return unknown


CHECKS = {
    "variable": (unknown_variables, "Set ENTRYPOINT_LOCK_TIMEUOT higher."),
    "key": (unknown_keys, "Raise push.timeuot."),
    "key of a step": (unknown_keys, "Raise {}.timeuot."),
    "command": (unknown_commands, "Run entrypoint transfre {}."),
    "option": (unknown_commands, "Look first; entrypoint transfer {} --form {}"),
}


CHECKED = list(dict.fromkeys(check for check, _ in CHECKS.values()))


@pytest.mark.parametrize("check", CHECKED, ids=lambda check: check.__name__)
def test_what_the_program_names_is_there(check: Callable[[str], set[str]]) -> None:
    """Each variable, key, command and option in a text of the program's exists."""
    assert {(each.module, name) for each in SAID for name in check(each.text)} == set()


@pytest.mark.parametrize("check", [unknown_variables, unknown_commands], ids=lambda c: c.__name__)
def test_what_the_documents_name_is_there(check: Callable[[str], set[str]]) -> None:
    """The same for the pages and the files that people copy from."""
    assert {(each.module, name) for each in WRITTEN for name in check(each.text)} == set()


@pytest.mark.parametrize(("check", "text"), CHECKS.values(), ids=CHECKS)
def test_what_is_not_there_is_found(check: Callable[[str], set[str]], text: str) -> None:
    """The control: a misspelt name in a remedy is found."""
    assert check(text)


def test_the_texts_are_found() -> None:
    """The walk meets remedies that name a variable, a key and a command."""
    texts = "\n".join(each.text for each in SAID)
    assert "ENTRYPOINT_ALLOW_LOSS" in texts
    assert "push.success" in texts
    assert "entrypoint transfer" in texts


WRONG_URLS = [url for url, *_ in test_settings.WRONG_URLS]


@pytest.mark.parametrize("url", WRONG_URLS, ids=lambda url: url[:60])
def test_a_registered_service_s_remedy_is_accepted(tmp_path: Path, url: str) -> None:
    """Each wrong URL of a registered service leads, as corrected, to the registry's database."""
    (tmp_path / "entrypoint.toml").write_text("[push]\ncommand = []\n")
    variables = {b"SERVICE_NAME": test_settings.FINANCE.encode(), b"DATABASE_URL": url.encode()}
    with pytest.raises(SettingsError) as caught:
        config.load(Environment(variables), tmp_path)
    corrected = re.search(r"Set DATABASE_URL to (\S+) ", caught.value.remedy)
    assert corrected, caught.value.remedy
    filled = {**FILLED, "DATABASE": "gaqno_finance_db"}
    right = re.sub("USER|HOST|DATABASE", lambda place: filled[place[0]], corrected[1])
    variables[b"DATABASE_URL"] = right.replace("****", "pw").encode()
    found = config.load(Environment(variables), tmp_path).database
    assert found is not None
    assert found.database == "gaqno_finance_db"
