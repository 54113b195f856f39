"""Finds the connection string in a text that somebody copied with its surroundings. Pure.

Env files, shells, YAML, cloud consoles and chat programs add quotes, names, comments and invisible
characters. Only a text that is no plain URL needs this module.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from .conninfo import INVISIBLE, PASSED_ON, UNKNOWN

HIDDEN: Final = "\x01"  # replaces each control character and each byte that is not UTF-8
QUOTES: Final = "\"'`\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb\u2032\u2033<>"
_LAYERS: Final = 6  # how many layers may surround the string
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_UNDECODED = re.compile(r"[\ud800-\udfff]")
_ODD = re.compile(f"[{INVISIBLE}]")
_BREAK = re.compile(rf"[\s\x01{INVISIBLE}]")
_AT_ENDS = re.compile(rf"[\s{INVISIBLE}]*(.*?)[\s{INVISIBLE}]*", re.DOTALL)
_URL = re.compile(r"(jdbc:)?[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_POSTGRES = re.compile(r"postgres(ql)?(\+[a-z0-9_]+)?://", re.IGNORECASE)
_REMARKS_BEFORE = re.compile(r"(?:#[^\n]*\n\s*)+")
_NAME = re.compile(
    r"(?:(?:export|set|ENV|ARG|-e|--env|-)\s+)*\$?[A-Za-z_][A-Za-z0-9_.-]{0,99}[\"']?"
    rf"(?:\s*=\s*|\s*:\s+)(?=[{QUOTES}]?(?:[a-z][a-z0-9+.-]*://|[a-z]+\s*=|\{{))",
    re.IGNORECASE,
)
_KEY = re.compile(rf"(?:{'|'.join({*PASSED_ON, 'application_name'})})\s*=")
"""The beginning of key=value: `password=abc=` has a password that ends with an equals sign."""

_COMMAND = re.compile(r"(?:\S*/)?(?:psql|pg_dump|pg_restore|pg_isready)\s+(?:-[a-z-]+[=\s]\s*)*")
_REMARK = re.compile(
    r"(?<=\S)(?:\s+(?:#|//|--(?![\w.]+=)|;|\(|<)|\s*[\r\n]\s*(?:export\s+)?[A-Za-z_][A-Za-z0-9_]*=).*",
    re.DOTALL,
)
_PASSWORD_LAST = re.compile(r"(?![\"`<]).*\bpassword\s*=\s*[^\s']+", re.DOTALL)
_SWITCH: Final = r"(?:-c *|--)[\w.]+=[^\s&]*"
_BLANKS_BELONG = re.compile(  # parameters with blanks, which node-postgres accepts
    rf"[?&](?:options={_SWITCH}(?: +{_SWITCH})*|application_name=[\w .-]+)(?=&|$)"
)

_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}")


class _Layer(NamedTuple):
    problem: str
    find: Callable[[str], str | None]
    """Return the text inside the layer; None without such a layer, "" if its content is unclear."""


def unwrapped(text: str) -> tuple[str, list[str]]:
    """Return the connection string in ``text``, and the problems of its surroundings.

    In the string, `HIDDEN` replaces control characters and bytes that are not UTF-8.
    """
    found = _AT_ENDS.fullmatch(text)
    bare = found[1] if found else ""
    problems = list(_ends(text, bare))
    for _ in range(_LAYERS):
        layer, inner = next(_layers(bare), (None, ""))
        if layer is None:
            break
        problems.append(layer.problem)
        bare = inner.strip()
        if not bare and layer.problem != _QUOTED:
            return "", problems
    problems += _within(bare)
    if not _URL.match(bare):
        bare = re.sub(r"\s", " ", bare)  # libpq treats them alike
    bare = re.sub(r"[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff]", HIDDEN, bare)
    if not bare.strip(HIDDEN):
        return "", [*problems, "is empty"]
    return bare, problems


def _ends(text: str, bare: str) -> Iterator[str]:
    if text == bare:
        return
    start = text.find(bare) if bare else 0
    around = text[:start] + text[start + len(bare) :]
    if odd := _ODD.search(around):
        yield f"begins or ends with an invisible character ({code(odd[0])})"
    if around.isspace() or re.search(r"[\r\n]", around):
        what = "a newline" if re.search(r"[\r\n]", around) else "white space"
        yield f"begins or ends with {what}"


def _within(text: str) -> Iterator[str]:
    if _CONTROL.search(text):
        lines = re.search(r"[\r\n]", text)
        yield "has more than one line" if lines else "contains a control character"
    if _UNDECODED.search(text):
        yield "has bytes that are not UTF-8"
    if odd := _ODD.search(text):
        yield (
            f"has an invisible character ({code(odd[0])}) in it, as editors and chats leave them; "
            "write it percent-encoded if it belongs there"
        )


def has_another(userinfo: str, location: str) -> bool:
    """Whether a second connection string follows, so that either may be the right one."""
    return any(map(_POSTGRES.search, (userinfo, location.partition("?")[0])))


def whole(location: str, problems: list[str]) -> str:
    """Return the location without a part that is not valid as written, and without what follows it.

    Its last name is uncertain then: `app more` may be one name, or a name and a comment.
    """
    query = location.find("?") if "?" in location else len(location)
    there = {at for each in _BLANKS_BELONG.finditer(location, query) for at in range(*each.span())}
    breaks = (each for each in _BREAK.finditer(location) if each.start() not in there)
    found = next(breaks, None)
    if not found:
        return location
    if found[0] in (" ", "\t"):
        problems.append(
            "has white space behind the host; write %20 if a name has it, or remove what follows"
        )
    before = location[: found.start()]
    if "?" in before:
        cut = max(before.rfind("&"), before.find("?"))
        return before if before[cut + 1 :].startswith("options=") else before[:cut]
    server, slash, _ = before.partition("/")
    return f"{server if slash else 'HOST'}/{UNKNOWN}"


def code(char: str) -> str:
    """A character's code point, as editors show it."""
    return f"U+{ord(char):04X}"


def _layers(text: str) -> Iterator[tuple[_Layer, str]]:
    for layer in _LAYERS_KNOWN:
        inner = layer.find(text)
        if inner is not None:
            yield layer, inner


def _without_remarks(text: str) -> str | None:
    match = _REMARKS_BEFORE.match(text)
    return text[match.end() :] if match else None


def _of_json(text: str) -> str | None:
    if text[:1] not in ("{", "["):
        return None
    import json

    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    found = {each for each in _texts(value) if "://" in each or "=" in each}
    return found.pop() if len(found) == 1 else ""


def _texts(value: Any) -> Iterator[str]:  # noqa: ANN401  JSON's
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)


def _of_base64(text: str) -> str | None:
    word = "".join(text.split())
    if not _BASE64.fullmatch(word):
        return None
    import binascii

    usual = word.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        plain = binascii.a2b_base64(usual + "=" * (-len(usual) % 4)).decode()
    except ValueError:
        return None
    return plain if _URL.match(plain.strip().strip(QUOTES)) else None


def _of_command(text: str) -> str | None:
    match = _COMMAND.match(text)
    rest = text[match.end() :] if match else ""
    return rest if _URL.match(rest.lstrip(QUOTES)) else None


def _of_assignment(text: str) -> str | None:
    match = _NAME.match(text)
    rest = text[match.end() :] if match else ""
    if not match or (_KEY.match(text) and not _URL.match(rest.lstrip(QUOTES))):
        return None
    return rest


def _without_remark(text: str) -> str | None:
    """The text before a comment; a comment with an @ may be the end of a password."""
    match = _REMARK.search(text)
    if not match or "@" in match[0]:
        return None
    if not _URL.match(text.lstrip(QUOTES)) and (
        "=" in match[0].partition("\n")[0] or text[: match.start()].count("'") % 2
    ):
        return None
    return text[: match.start()]


def _without_end(text: str) -> str | None:
    if text[-1:] not in (";", ",") or _is_password_s(text):
        return None
    return text.rstrip(";, ")


def _is_password_s(text: str) -> bool:
    """Whether the text is key=value and ends with a password's last character."""
    return not _URL.match(text) and _PASSWORD_LAST.fullmatch(text) is not None


def _of_quotes(text: str) -> str | None:
    """The text between quotes, one of which may be lost; key=value has quotes of its own."""
    ends = QUOTES if _URL.match(text) else QUOTES.replace("'", "")
    if _is_password_s(text):
        return None
    if text[:1] in tuple(QUOTES) or (text and text[-1:] in tuple(ends)):
        return text.strip(f"{QUOTES} \t\r\n")
    return None


_QUOTED: Final = "is wrapped in quotes; remove them"

_LAYERS_KNOWN: Final = (
    _Layer("has a remark before it", _without_remarks),
    _Layer("is JSON, and must be the URL in it alone", _of_json),
    _Layer("is a URL in base64, and must be the URL itself", _of_base64),
    _Layer("is a command of psql's, and must be the URL in it alone", _of_command),
    _Layer("begins with a variable's name, which is no part of the value", _of_assignment),
    _Layer("has a remark behind it; remove it", _without_remark),
    _Layer("ends with a ; or a , (written %3B or %2C if it belongs there)", _without_end),
    _Layer(_QUOTED, _of_quotes),
)
