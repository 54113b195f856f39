"""Undo the quoting of programs, for `log`, which imports this at the first escape. Pure."""

import html
import re
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

_DEPTH: Final = 2
"""How many layers of quoting are undone: JSON in JSON, a URL in a URL, JSON in a shell word."""


class Quoting(NamedTuple):
    """One way in which programs quote a text."""

    pattern: re.Pattern[str]
    plain: Callable[[re.Match[str]], str]  # the text that a match stands for


class Reading(NamedTuple):
    """A text after some escapes were undone, and which ones, in order."""

    text: str
    kinds: tuple[Quoting, ...]


_LETTERS: Final = {
    "n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v",
    "a": "\a", "e": "\x1b", "E": "\x1b", "0": "\0",
}  # fmt: skip


def _bytes(numbers: bytes) -> str:
    return numbers.decode("utf-8", "surrogateescape")


def _codes(digits: str) -> list[int]:
    return [
        int(each[1:], 16) if each[0] == "x" else int(each, 8) & 0xFF
        for each in digits.split("\\")[1:]
    ]


def _backslash(match: re.Match[str]) -> str:
    numbers, units, code, letter = match.groups()
    if numbers:
        return "".join(map(chr, _codes(numbers)))
    if units:
        data = bytes.fromhex(units.replace("\\u", ""))
        return data.decode("utf-16-be", "surrogatepass")
    if code:
        number = int(code.strip("Uu{}"), 16)
        return chr(number) if number < 0x110000 else "\ufffd"  # noqa: PLR2004  the last of Unicode
    return _LETTERS.get(letter, letter)


def _backslash_of_bytes(match: re.Match[str]) -> str:
    return _bytes(bytes(_codes(match[1]))) if match[1] else _backslash(match)


_BACKSLASH = re.compile(
    r"((?:\\(?:x[0-9a-fA-F]{2}|[0-3][0-7]{2}))+)|((?:\\u[0-9a-fA-F]{4})+)"
    r"|\\(U[0-9a-fA-F]{8}|u\{[0-9a-fA-F]{1,6}\})|\\(.)",
    re.DOTALL,
)

_KINDS: Final = (
    Quoting(  # URLs
        re.compile("(?:%[0-9a-fA-F]{2})+"),
        lambda match: _bytes(bytes.fromhex(match[0].replace("%", ""))),
    ),
    Quoting(_BACKSLASH, _backslash),  # JSON, repr, util.inspect, libpq's conninfo, "" in a shell
    Quoting(_BACKSLASH, _backslash_of_bytes),  # repr of bytes, od, $'' in a shell
    Quoting(
        re.compile(r"""'(?:\\'|"'")'|''|\"\""""), lambda match: match[0][-1]
    ),  # '' of a shell, SQL
    Quoting(
        re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,8});"),
        lambda match: html.unescape(match[0]),
    ),  # HTML
)


def readings(text: str, kinds: tuple[Quoting, ...] = (), depth: int = _DEPTH) -> Iterator[Reading]:
    """Yield what the text was before a program quoted it once or twice; 0.1 ms for a usual line."""
    for kind in _KINDS:
        plain, count = kind.pattern.subn(kind.plain, text)
        if count:
            yield Reading(plain, (*kinds, kind))
            if depth > 1:
                yield from readings(plain, (*kinds, kind), depth - 1)


def sources(text: str, kinds: tuple[Quoting, ...]) -> tuple[list[int], list[int]]:
    """Return where in ``text`` each character of its reading begins, and where it ends."""
    starts, ends = list(range(len(text))), list(range(1, len(text) + 1))
    for kind in kinds:
        words: list[str] = []
        begins: list[int] = []
        stops: list[int] = []
        at = 0
        for match in kind.pattern.finditer(text):
            start, end = match.span()
            plain = kind.plain(match)
            words += text[at:start], plain
            begins += starts[at:start] + [starts[start]] * len(plain)
            stops += ends[at:start] + [ends[end - 1]] * len(plain)
            at = end
        text = "".join([*words, text[at:]])
        starts, ends = begins + starts[at:], stops + ends[at:]
    return starts, ends
