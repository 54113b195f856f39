"""What programs make of a text when they quote or encode it, undone: so that `log` finds secrets.

Pure. Imported with the first line that has an escape in it, so that no warm start pays for it.
"""

import re
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

_DEPTH: Final = 2
"""How often a text may have been quoted: JSON in JSON, a URL in a URL, JSON in a shell's word."""


class Quoting(NamedTuple):
    """One way to quote."""

    pattern: re.Pattern[str]
    plain: Callable[[re.Match[str]], str]
    """What stood there before it was quoted."""


class Reading(NamedTuple):
    """A text with escapes undone, and which, in their order."""

    text: str
    kinds: tuple[Quoting, ...]


_LETTERS: Final = {
    "n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v",
    "a": "\a", "e": "\x1b", "E": "\x1b", "0": "\0",
}  # fmt: skip


def _bytes(numbers: bytes) -> str:
    return numbers.decode("utf-8", "surrogateescape")


def _percent(match: re.Match[str]) -> str:
    return _bytes(bytes.fromhex(match[0].replace("%", "")))


def _character(code: int) -> str:
    return chr(code) if code < 0x110000 else "\ufffd"  # noqa: PLR2004  the last of Unicode


def _codes(digits: str) -> list[int]:
    """The numbers of a run of escapes of two hexadecimal or three octal digits."""
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
        return _character(int(code.strip("Uu{}"), 16))
    return _LETTERS.get(letter, letter)


def _backslash_of_bytes(match: re.Match[str]) -> str:
    return _bytes(bytes(_codes(match[1]))) if match[1] else _backslash(match)


def _entity(match: re.Match[str]) -> str:
    import html

    return html.unescape(match[0])


_BACKSLASH = re.compile(
    r"((?:\\(?:x[0-9a-fA-F]{2}|[0-3][0-7]{2}))+)|((?:\\u[0-9a-fA-F]{4})+)"
    r"|\\(U[0-9a-fA-F]{8}|u\{[0-9a-fA-F]{1,6}\})|\\(.)",
    re.DOTALL,
)

_KINDS: Final = (
    Quoting(re.compile("(?:%[0-9a-fA-F]{2})+"), _percent),  # URLs
    Quoting(_BACKSLASH, _backslash),  # JSON, repr, util.inspect, libpq's conninfo, "" in a shell
    Quoting(_BACKSLASH, _backslash_of_bytes),  # repr of bytes, od, $'' in a shell
    Quoting(
        re.compile(r"""'(?:\\'|"'")'|''|\"\""""), lambda match: match[0][-1]
    ),  # '' of a shell, SQL
    Quoting(re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,8});"), _entity),  # HTML
)


def readings(text: str) -> Iterator[Reading]:
    """What a text may have been before somebody quoted it, once or twice.

    Takes time in proportion to its length, a tenth of a millisecond for a usual line.
    """
    yield from _readings(Reading(text, ()), _DEPTH)


def _readings(reading: Reading, depth: int) -> Iterator[Reading]:
    for kind in _KINDS:
        text, count = kind.pattern.subn(kind.plain, reading.text)
        if count:
            undone = Reading(text, (*reading.kinds, kind))
            yield undone
            if depth > 1:
                yield from _readings(undone, depth - 1)


def sources(text: str, kinds: tuple[Quoting, ...]) -> tuple[list[int], list[int]]:
    """Where in ``text`` each character of a reading of it begins, and where it ends."""
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
