"""Events on stderr, as JSON or for a person at a terminal. This module masks every event.

stdout belongs to the service. A log that cannot be written (a closed or broken stderr) never stops
a start.
"""

import binascii
import os
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, Final

_Event = dict[str, Any]
_Renderer = Callable[[_Event], str]
MASK: Final = "****"
LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}

# Shorter secrets, and secrets that equal a name the log shows anyway, would mask half of every
# line. A password in a URL is masked at any length.
_SHORTEST_SECRET: Final = 4

# A word that may contain a URL with a password, and where the password begins in it.
_WORD = re.compile(r"[^\s\"'`<>]+")
_PASSWORD = re.compile(r"://[^:/@]*:")

# The next three are texts, which `re` compiles when a line first needs them.
# password=... in conninfo strings, query strings and environments. A value with an opening quote
# may have lost its closing one.
_KEYWORD: Final = (
    r"(?i)(password\s*=\s*)"
    r"('(?:[^'\\]|\\.)*'?|\"(?:[^\"\\]|\\.)*\"?|(?:[^\s&\"'`\\]|\\.)+)"
)

# The headers that HTTP clients print; a bare `Basic` counts if it decodes to user:password.
_AUTHORIZATION: Final = (
    r"(?i)(authorization[\"']{0,2}\s*[:=,]\s*[\"']?"
    r"(?:(?:basic|bearer|token|digest)\s+)?)[^\s\"',;]+"
)
_BASIC: Final = r"(?i)(\bbasic\s+)([A-Za-z0-9+/_-]{4,})={0,2}"
_ESCAPE = re.compile(r"[%\\&]|''|\"\"|'\"")  # what every quoted or escaped text contains
_ALPHABET: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=")
_URL_SAFE: Final = {ord("+"): "-", ord("/"): "_"}
_USUAL: Final = {ord("-"): "+", ord("_"): "/"}
_SHORTEST_CODE: Final = 6  # characters of base64 that identify a secret; words contain fewer
_LONGEST_ESCAPE: Final = 24  # for one character that is quoted twice, as %25F0%259F%2598%2580

# Control characters move a terminal's cursor; the others reverse the direction of its text.
_STEERING = "[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]"

_LEVEL_STYLES: Final = {"debug": "", "info": "", "warning": "\x1b[1;35m", "error": "\x1b[1;31m"}
"""Colours that are readable on light and on dark terminals; yellow and green are not."""

_KEYS: Final = "\x1b[36m"  # structlog's colour of field names, unreadable on a light terminal
_WIDTH: Final = 80  # columns of a terminal that reports no size
MAX_BYTES: Final = 16_384  # Docker splits a longer line and its end into pieces (moby#34855)
MAX_WORDS_BYTES: Final = 6_000  # of `error` and of `remedy`: more than anybody writes by hand
_HEAD: Final = ("timestamp", "level", "event")
_WORDS: Final = ("error", "remedy", "exit_code")
_CUT: Final = "... (cut)"
_LEAST_BYTES: Final = 100  # the least that a cut leaves of a field
_AT_THE_END: Final = frozenset({"tail", "traceback"})  # whose end says more than their beginning
_last: deque[str] = deque(maxlen=20)  # the last lines as written
_secrets: set[str] = set()
_codes: set[str] = set()  # the forms that the secrets have within base64 and hexadecimal words
_pattern: re.Pattern[str] | None = None
_bound: ContextVar[_Event | None] = ContextVar("bound", default=None)  # threads begin without it


def hide(secrets: Iterable[str], *, shown: Iterable[str] = ()) -> None:
    """Mask these secrets in every later event and in everything that `mask` gets.

    Masks each in every form that programs print: as it is, quoted or escaped up to twice (URLs,
    JSON, repr, shells, SQL, conninfo, HTML), and base64 or hexadecimal, of which it masks the whole
    word. ``shown`` are names that the log prints anyway, such as the user's and the database's.
    """
    global _pattern  # noqa: PLW0603  one set of secrets for the whole process
    _pattern = None
    names = set(shown)
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET and secret not in names:
            _secrets.update((secret, secret.replace(" ", "+")))  # as a form encodes a space
            _codes.update(_encoded(secret))


def _encoded(secret: str) -> set[str]:
    """The forms of a secret within base64 and hexadecimal, wherever the encoded text has it.

    Base64 writes three bytes as four characters, so a secret has three forms, one for each offset.
    The outer characters depend on the neighbours and are left out.
    """
    # Some surrogates stand for undecodable bytes (surrogateescape), others for themselves.
    own = any("\ud800" <= each < "\udc80" or "\udd00" <= each <= "\udfff" for each in secret)
    data = secret.encode("utf-8", "surrogatepass" if own else "surrogateescape")
    found = {data.hex(), data.hex().upper(), data.hex(" ")}
    for before in range(3):
        words = binascii.b2a_base64(bytes(before) + data, newline=False).decode()
        known = (before + len(data)) * 8 // 6
        inner = words[-(-before * 8 // 6) : known if before or known * 6 % 8 else None]
        inner = inner.rstrip("=")
        if len(inner) >= _SHORTEST_CODE:
            found |= {inner, inner.translate(_URL_SAFE)}
    return found


def longest_secret() -> int:
    """Characters of the longest masked form: how far a cut through a line must look ahead."""
    return _LONGEST_ESCAPE * max(map(len, _secrets), default=0)


def mask(text: str) -> str:
    """Mask secrets, passwords in URLs and the values of ``password=`` in a text."""
    if _secrets:
        text = _without_secrets(text)
    if "://" in text and "@" in text:
        text = _WORD.sub(_without_password, text)
    lower = text.lower()
    if "assword" in lower:
        text = re.sub(_KEYWORD, rf"\1{MASK}", text)
    if "authorization" in lower:
        text = re.sub(_AUTHORIZATION, rf"\1{MASK}", text)
    if "basic " in lower:
        text = re.sub(_BASIC, _without_credentials, text)
    return text


def _without_secrets(text: str) -> str:
    text = _secrets_pattern().sub(MASK, text)
    if _ESCAPE.search(text):
        text = _without_quoted(text)
    for code in _codes:
        if code in text:
            text = _without_code(text, code)
    return text


def _without_quoted(text: str) -> str:
    from . import escapes

    hidden: list[tuple[int, int]] = []
    for reading in escapes.readings(text):
        spans = [match.span() for match in _secrets_pattern().finditer(reading.text)]
        if spans:
            starts, ends = escapes.sources(text, reading.kinds)
            hidden += [(starts[start], ends[end - 1]) for start, end in spans]
    for start, end in sorted(_merged(hidden), reverse=True):
        text = f"{text[:start]}{MASK}{text[end:]}"
    return text


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def _without_code(text: str, code: str) -> str:
    """Mask the whole words that contain ``code``: the characters around it hold bits of it, too."""
    words: list[str] = []
    at = 0
    while (found := text.find(code, at)) >= 0:
        start, end = found, found + len(code)
        while start > at and text[start - 1] in _ALPHABET and text[start - 1] != "=":
            start -= 1
        while end < len(text) and text[end] in _ALPHABET:
            end += 1
        words += text[at:start], MASK
        at = end
    return "".join([*words, text[at:]])


def _without_credentials(match: re.Match[str]) -> str:
    """Mask ``Basic`` credentials; ordinary words may follow "basic" as well."""
    word = match[2].translate(_USUAL)
    try:
        plain = binascii.a2b_base64(word + "=" * (-len(word) % 4))
    except ValueError:
        return match[0]
    return f"{match[1]}{MASK}" if b":" in plain else match[0]


def _secrets_pattern() -> re.Pattern[str]:
    global _pattern  # noqa: PLW0603  compiled once for all secrets known so far
    if _pattern is None:
        longest_first = sorted(_secrets, key=len, reverse=True)
        _pattern = re.compile("|".join(map(re.escape, longest_first)))
    return _pattern


def _without_password(match: re.Match[str]) -> str:
    # Up to the last @, because an unescaped password may contain one.
    url, at, location = match[0].rpartition("@")
    begin = _PASSWORD.search(url) if at else None
    return f"{url[: begin.end()]}{MASK}@{location}" if begin else match[0]


def masked(value: object) -> object:
    """A JSON-like copy of a value with every text in it masked."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {key: masked(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return mask(str(value))


def printable(text: str) -> str:
    """Escape, as JSON does, the characters of ``text`` that control a terminal."""
    if text.isprintable():  # as most lines are, and the pattern takes a while to compile
        return text
    return re.sub(_STEERING, lambda match: f"\\u{ord(match[0]):04x}", text)


def _print_event(event: _Event) -> None:
    """Keep servers and children from controlling a terminal or faking a line of the log."""
    for key, value in event.items():
        if isinstance(value, str) and key != "traceback":
            event[key] = printable(value)
        elif isinstance(value, str):
            event[key] = "\n".join(map(printable, value.split("\n")))


def _clean_event(event: _Event) -> _Event:
    """Mask all; put time, level, event, error and remedy first, for people who read the line."""
    first: _Event = {key: masked(event.pop(key)) for key in (*_HEAD, *_WORDS) if key in event}
    return {**first, **{key: masked(value) for key, value in event.items()}}


def _render(render: _Renderer, event: _Event) -> str:
    """Render a line of fewer than `MAX_BYTES` bytes with its end; ``cut`` names shortened fields.

    Cuts the largest fields to one size, and `_WORDS` only if they exceed their own limit.
    """
    text = render(dict(event))
    if len(text) < MAX_BYTES // 6 or _excess(text) <= 0:  # a lone surrogate takes 6 bytes
        return text
    sizes = {key: _size(value) for key, value in event.items() if key not in _HEAD}
    cut: dict[str, Any] = {key: event[key] for key in _HEAD if key in event}
    cut |= {key: event[key] for key in _WORDS if key in event} | {"cut": []} | dict(event)
    for key in _WORDS:
        if sizes.get(key, 0) > MAX_WORDS_BYTES:
            _cut(cut, key, MAX_WORDS_BYTES, sizes)
    while (over := _excess(render(dict(cut)))) > 0:
        # The words come last: the console may render them longer than JSON does.
        rest = [key for key in sizes if key not in _WORDS and sizes[key] > _LEAST_BYTES]
        rest = rest or [key for key in sizes if sizes[key] > _LEAST_BYTES]
        if not rest:  # hundreds of fields
            last = list(cut)[-1]
            del cut[last]
            sizes.pop(last, None)
            cut["cut"].append(last)
            continue
        most = max(_LEAST_BYTES, _level([sizes[key] for key in rest], over))
        for key in rest:
            if sizes[key] > most:
                _cut(cut, key, most, sizes)
    return render(cut)


def _level(sizes: list[int], over: int) -> int:
    """The size to which larger fields must shrink to save ``over`` bytes together."""
    room = sum(sizes) - over
    for index, size in enumerate(sorted(sizes)):
        share = room // (len(sizes) - index)
        if size > share:
            return share
        room -= size
    return max(sizes)


def _cut(event: dict[str, Any], key: str, room: int, sizes: dict[str, int]) -> None:
    event[key] = _shortened(event[key], room, end=key in _AT_THE_END)
    sizes[key] = min(_size(event[key]), sizes[key] - 1, room)
    if key not in event["cut"]:
        event["cut"].append(key)


def _shortened(value: Any, room: int, *, end: bool = False) -> Any:  # noqa: ANN401  JSON's
    """The beginning, or the end, of a value in at most ``room`` bytes of JSON."""
    if isinstance(value, str):
        room -= len(_CUT)
        length = min(len(value), max(room, 0))
        part = value[-length:] if end and length else value[:length]
        while length and (size := _size(part)) > room:
            length = min(length - 1, length * room // size)
            part = value[-length:] if end and length else value[:length]
        return f"{_CUT}{part}" if end else f"{part}{_CUT}"
    if not isinstance(value, list | dict):
        return value
    pairs = list(value.items()) if isinstance(value, dict) else [("", item) for item in value]
    kept: list[tuple[str, Any]] = []
    half = room // 2  # an item without room is dropped, unless most of the room is still free
    for key, item in reversed(pairs) if end else pairs:
        size = _size(key) + _size(item)
        if size > room:
            if room >= half:
                kept.append((key, _shortened(item, room - _size(key), end=end)))
            break
        kept.append((key, item))
        room -= size
    if isinstance(value, dict):
        return dict(kept)
    items = [item for _, item in kept]
    return items[::-1] if end else items


def _excess(text: str) -> int:
    return len(_encoded_line(text)) + len("\n") - (MAX_BYTES - 1)


def _size(value: object) -> int:
    return len(_encoded_line(_json(value))) + len(", ")


def _encoded_line(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


_screen: list[Callable[[str], None]] = []


@contextmanager
def through(write: Callable[[str], None]) -> Iterator[None]:
    """Send every line to ``write``, which knows what moves on the terminal and writes above it."""
    _screen.append(write)
    try:
        yield
    finally:
        _screen.remove(write)


def _write(text: str) -> None:
    """Write whole lines to descriptor 2, and ignore failures: a start outlives its log."""
    _last.append(text)
    if _screen:
        _screen[-1](text)
        return
    data = _encoded_line(text)
    try:
        while data:
            data = data[os.write(2, data) :]
    except OSError:
        pass


def settings(environ: Mapping[str, str]) -> tuple[str | None, str, bool]:
    """Form, level and colours; wrong values get defaults, so that they can be reported."""
    form = environ.get("ENTRYPOINT_LOG_FORMAT")
    level = environ.get("ENTRYPOINT_LOG_LEVEL") or "info"
    coloured = not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
    level = level if level in LEVELS else "info"
    return form if form in ("json", "console") else None, level, coloured


def _json(event: object) -> str:
    """One line of UTF-8; `printable` escapes what JSON leaves and a terminal would obey."""
    import json

    return printable(json.dumps(event, ensure_ascii=False))


class _Form:
    """How this process logs, as `configure` says."""

    least = LEVELS["info"]
    render: _Renderer = staticmethod(_json)
    console = False


def configure(*, form: str | None, level: str, coloured: bool = True) -> None:
    """Log from ``level`` on, in a ``form``.

    The form is ``json``, ``console``, or None: the console on a terminal, in colours if
    ``coloured``, and JSON elsewhere.
    """
    _Form.least = LEVELS[level]
    _Form.console = form == "console" or (form is None and os.isatty(2))
    _Form.render = staticmethod(_console(form, coloured=coloured) if _Form.console else _json)


def _console(form: str | None, *, coloured: bool) -> _Renderer:
    coloured = coloured and form is None
    # By position, because structlog renamed the parameter of the event's width.
    renderer = _structlog().dev.ConsoleRenderer(
        24, colors=coloured, level_styles=_LEVEL_STYLES if coloured else None
    )
    render = partial(renderer, None, "")
    return partial(_on_a_terminal, render) if os.isatty(2) else render


def _on_a_terminal(render: _Renderer, event: _Event) -> str:
    """Render an event with its sentences below it, wrapped between words.

    A command at the end of a sentence keeps its own line, ready to paste. Objects are left out:
    only machines read them.
    """
    words: dict[str, list[str]] = {}
    for key, value in list(event.items()):
        lines = [value] if key in ("error", "remedy") and isinstance(value, str) else value
        if not isinstance(lines, list):
            continue
        if all(isinstance(line, str) for line in lines):
            words[key] = lines
        if key in words or any(isinstance(line, Mapping) for line in lines):
            del event[key]
    remedy = words.pop("remedy", [])  # the remedy comes last
    text = render(event).replace(_KEYS, "")
    for key, lines in (words | {"remedy": remedy}).items():
        head = f"  {key}".ljust(12)
        for line in lines:
            text += "".join(f"\n{each}" for each in _folded(head, printable(line)))
            head = " " * len(head)
    return text


def _folded(head: str, text: str) -> list[str]:
    import textwrap

    try:
        width = os.get_terminal_size(2).columns or _WIDTH
    except OSError:
        width = _WIDTH
    sentence, colon, command = text.rpartition(": entrypoint ")
    sentence = f"{sentence}:" if colon else text
    wrap = partial(textwrap.wrap, break_long_words=False, break_on_hyphens=False)
    width, indent = max(width, len(head) + 20), " " * (len(head) + 1)
    lines = wrap(sentence, width, initial_indent=f"{head} ", subsequent_indent=indent)
    return [*lines, f"  entrypoint {command}"] if colon else lines


def last_lines() -> list[str]:
    """The last 20 lines of the log, masked as written, without colours."""
    return [re.sub(r"\x1b\[[0-9;]*m", "", line.rstrip("\n")) for line in _last]


def bind(**context: object) -> None:
    """Add fields to every later event of this thread."""
    _bound.set({**(_bound.get() or {}), **context})


def event(level: str, name: str, **fields: object) -> None:
    """Log one event; ``name`` is ``noun.verb_past``, fields are snake_case with their units."""
    if LEVELS[level] < _Form.least:
        return
    whole = {**fields, "event": name, "level": level, "timestamp": _now()}
    cleaned = _clean_event({**whole, **(_bound.get() or {}), **whole})
    if _Form.console:
        _print_event(cleaned)
    _write(_render(_Form.render, cleaned) + "\n")


def _now() -> str:
    """The time as ``datetime.isoformat`` writes it; datetime's import takes 2 ms."""
    seconds, microseconds = divmod(time.time_ns() // 1000, 1_000_000)
    fraction = f".{microseconds:06d}" if microseconds else ""
    return time.strftime(f"%Y-%m-%dT%H:%M:%S{fraction}Z", time.gmtime(seconds))


def crash(error: BaseException) -> None:
    """Log an unexpected exception with its traceback, masked."""
    import traceback

    text = "".join(traceback.format_exception(error))
    event("error", "entrypoint.crashed", error=f"{type(error).__name__}: {error}", traceback=text)


def _structlog() -> Any:  # noqa: ANN401  a module has no better type
    # structlog.dev imports rich if it is installed: 0.04 s of every start for tracebacks that
    # nobody sees here. None in sys.modules means "not installed"
    # (https://docs.python.org/3/reference/import.html#the-module-cache), and structlog works
    # without rich.
    if "structlog" not in sys.modules and "rich" not in sys.modules:
        sys.modules["rich"] = None  # type: ignore[assignment]
        try:
            import structlog
        finally:
            del sys.modules["rich"]
    import structlog

    return structlog
